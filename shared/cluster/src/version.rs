//! The stored states of an object.

use serde_json::{Map, Value};

/// A stored state of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// `metadata.uid`: an object that was deleted and recreated has another one.
    pub uid: String,
    /// `metadata.resourceVersion`: every write changes it.
    pub resource_version: String,
}

impl Version {
    /// The state of an object as the server returned it; `None` if it lacks a uid or a resource version.
    pub fn of(object: &Map<String, Value>) -> Option<Self> {
        let metadata = object.get("metadata")?;
        let text = |key| Some(metadata.get(key)?.as_str()?.to_owned());
        Some(Self {
            uid: text("uid")?,
            resource_version: text("resourceVersion")?,
        })
    }
}
