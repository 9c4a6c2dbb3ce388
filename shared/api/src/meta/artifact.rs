//! The artifact of a source, as its status describes it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Time;

/// What a source has produced: an archive that can be downloaded, with its revision and digest (SC-PROC-105).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Artifact {
    /// Digest of the file, as `<algorithm>:<checksum>`.
    #[schemars(regex(pattern = r"^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$"))]
    pub digest: String,
    /// When the content last changed.
    pub last_update_time: Time,
    /// Further facts about the origin, such as the annotations of an OCI manifest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Path of the file below the root of the storage.
    pub path: String,
    /// Human-readable revision of the origin, such as `main@sha1:<commit>`.
    pub revision: String,
    /// Bytes in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
    /// Address from which consumers fetch the file.
    pub url: String,
}
