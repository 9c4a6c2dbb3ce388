//! Status conditions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Time, string_enum};

string_enum! {
    /// Whether a condition holds.
    ConditionStatus {
        /// It holds.
        True = "True",
        /// It does not hold.
        False = "False",
        /// Not known, or still being determined.
        Unknown = "Unknown",
    }
}

/// One aspect of an object's state, in the format that Kubernetes tools read (SC-PROC-106).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
#[schemars(!default)]
pub struct Condition {
    /// When the condition last changed.
    pub last_transition_time: Time,
    /// Human-readable description of the last transition; may be empty.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// The generation of the object that this condition was computed for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub observed_generation: Option<i64>,
    /// Machine-readable reason for the status, as one CamelCase word.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")
    )]
    pub reason: String,
    /// Whether the condition holds: True, False or Unknown.
    pub status: ConditionStatus,
    /// The aspect, in CamelCase, for example Ready.
    #[serde(rename = "type")]
    #[schemars(
        length(max = 316),
        regex(
            pattern = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
        )
    )]
    pub type_: String,
}
