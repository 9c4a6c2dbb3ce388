//! Computes from an object alone whether it is current, in progress or failed, as cli-utils' kstatus 1.2.2 does.
//!
//! ```
//! use flux_kstatus::{Status, assess};
//! use serde_json::json;
//!
//! let claim = json!({
//!     "apiVersion": "v1",
//!     "kind": "PersistentVolumeClaim",
//!     "metadata": { "name": "data" },
//!     "status": { "phase": "Pending" },
//! });
//! let assessment = assess(&claim, jiff::Timestamp::UNIX_EPOCH).unwrap();
//! assert_eq!(assessment.status, Status::InProgress);
//! assert_eq!(assessment.message, "PVC is not Bound. phase: Pending");
//! ```
//!
//! [`assess`] applies the rules for objects of any kind, then those of the object's kind, then its Ready condition.
//! [`assess_job`] is Flux's stricter rule for Jobs, [`assess_owner_of_pods`] the one for StatefulSets and ReplicaSets,
//! which have failed when one of their pods has. Reading objects and waiting for them is up to the caller; CEL
//! expressions over custom resources are not part of this crate.

#![forbid(unsafe_code)]

mod fields;
mod generic;
mod kinds;
mod pods;

use std::fmt::{self, Display, Formatter};

pub use generic::assess;
pub use kinds::job::assess_job;
pub use pods::assess_owner_of_pods;

/// The status of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It is not yet reconciled.
    InProgress,
    /// It is reconciled to its spec.
    Current,
    /// It is stuck.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It does not exist.
    NotFound,
    /// It cannot be determined.
    Unknown,
}

impl Status {
    /// The word used in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Current => "Current",
            Self::Failed => "Failed",
            Self::Terminating => "Terminating",
            Self::NotFound => "NotFound",
            Self::Unknown => "Unknown",
        }
    }
}

impl Display for Status {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The computed status of an object, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// The status.
    pub status: Status,
    /// The reason as one word; `None` for a current object.
    pub reason: Option<String>,
    /// Human-readable explanation.
    pub message: String,
}

impl Assessment {
    fn current(message: impl Into<String>) -> Self {
        Self {
            status: Status::Current,
            reason: None,
            message: message.into(),
        }
    }

    fn in_progress(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status: Status::InProgress,
            reason: Some(reason.into()),
            message: message.into(),
        }
    }

    fn failed(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            reason: Some(reason.into()),
            message: message.into(),
        }
    }
}

/// An object whose status has a form that the rules cannot read; it counts as [`Status::Unknown`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field does not have its documented type.
    #[error("{path} is not {expected}")]
    Malformed {
        /// The path of the field.
        path: String,
        /// The expected type.
        expected: &'static str,
    },
    /// A pod is in an unknown phase.
    #[error("unknown phase {0}")]
    UnknownPhase(String),
}
