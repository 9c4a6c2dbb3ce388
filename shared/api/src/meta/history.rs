//! The history of a reconciler.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GoDuration, Time};

/// One entry of a reconciler's history: how often a given content ended in a given status (KC-API-042).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Snapshot {
    /// Digest of the content, as `<algorithm>:<checksum>`.
    pub digest: String,
    /// When this content first ended in this status.
    pub first_reconciled: Time,
    /// When this content last ended in this status.
    pub last_reconciled: Time,
    /// How long the last run took.
    pub last_reconciled_duration: GoDuration,
    /// The reason with which the last run ended.
    pub last_reconciled_status: String,
    /// Further facts about the content, such as its revision.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// The number of such runs.
    pub total_reconciliations: i64,
}
