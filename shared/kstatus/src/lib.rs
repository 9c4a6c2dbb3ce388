//! Tells from an object alone whether it is as it should be, on its way, or stuck, as cli-utils' kstatus 1.2.2 does.
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
//! [`assess`] goes by the rules that hold for every object, then by those of its kind, then by its Ready condition.
//! [`assess_job`] is the stricter rule that Flux has for Jobs, [`assess_owner_of_pods`] the one for StatefulSets and
//! ReplicaSets, which are stuck when a pod of theirs is. Reading objects and waiting for them is the caller's work;
//! expressions over custom resources are another crate's.

#![forbid(unsafe_code)]

mod fields;
mod generic;
mod kinds;
mod pods;

use std::fmt::{self, Display, Formatter};

pub use generic::assess;
pub use kinds::job::assess_job;
pub use pods::assess_owner_of_pods;

/// How an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It is on its way.
    InProgress,
    /// It is as it should be.
    Current,
    /// It is stuck.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It does not exist.
    NotFound,
    /// It could not be told.
    Unknown,
}

impl Status {
    /// The word that messages use.
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

/// How an object stands, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// How it stands.
    pub status: Status,
    /// Why, as one word; none for an object that is as it should be.
    pub reason: Option<String>,
    /// Why, for people.
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
    /// A field has another type than every object's has.
    #[error("{path} is not {expected}")]
    Malformed {
        /// Where in the object.
        path: String,
        /// What should be there.
        expected: &'static str,
    },
    /// A pod is in a phase that nobody knows.
    #[error("unknown phase {0}")]
    UnknownPhase(String),
}
