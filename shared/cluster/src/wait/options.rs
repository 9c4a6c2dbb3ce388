//! What is waited for, how, and the error of a wait.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::object::ObjectId;

/// An object to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The object.
    pub id: ObjectId,
    /// The version of its kind; `None` for the cluster's preferred one.
    pub version: Option<String>,
}

impl Target {
    /// An object, with the version of its kind.
    pub fn of(id: &ObjectId, version: &str) -> Self {
        Self {
            id: id.clone(),
            version: Some(version.to_owned()),
        }
    }
}

/// By which rules objects are assessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// A Job is ready when it is complete, anything else as kstatus says.
    #[default]
    Complete,
    /// A Job is ready when it runs (HC-WAIT-004).
    Running,
    /// A Job is ready when it is complete, a Pod when it succeeded, anything else at once (HE-HOOK-010, HC-WAIT-009).
    Hook,
}

/// How to wait.
#[derive(Clone, Debug, Default)]
pub struct WaitOptions {
    /// How long.
    pub timeout: Duration,
    /// Whether to end at the first object that has failed.
    pub fail_fast: bool,
    /// Jobs that delete themselves when they are complete: one that is gone is complete (RT-SSA-021).
    pub jobs_with_ttl: BTreeSet<ObjectId>,
    /// A label selector that matches all objects, if there is one: it saves requests.
    pub selector: Option<String>,
    /// Whether to read the objects of a kind by one request even if they are few.
    pub by_kind: bool,
    /// When an object is ready.
    pub rules: Rules,
}

/// Objects that did not become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// Some have failed, or were not ready when the time was over.
    NotReady {
        /// Whether the time was over; if not, waiting longer would not have helped.
        timed_out: bool,
        /// The objects, each with its state.
        objects: Vec<String>,
    },
    /// The kind of an object is namespaced, and the object has no namespace.
    NoNamespace {
        /// Its kind, with group.
        resource: String,
        /// Its name.
        name: String,
    },
}

/// Formats as upstream does (RT-SSA-020, KC-HEALTH-006).
impl Display for WaitError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady { timed_out, objects } => {
                let what = if *timed_out {
                    "timeout waiting for"
                } else {
                    "failed early due to stalled resources"
                };
                write!(f, "{what}: [{}]", objects.join(", "))
            }
            Self::NoNamespace { resource, name } => {
                write!(
                    f,
                    "resource {resource} {name} is namespace scoped, but namespace is not set"
                )
            }
        }
    }
}

impl std::error::Error for WaitError {}
