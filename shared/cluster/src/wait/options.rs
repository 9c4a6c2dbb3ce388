//! The objects and options of a wait, and its error.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::expressions::CustomRules;
use crate::object::ObjectId;

/// An object to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The object.
    pub id: ObjectId,
    /// The version of its kind; `None` for the cluster's preferred one.
    pub version: Option<String>,
    /// The object as the last answer had it, if the caller has it: unless it is current, changes are watched from there
    /// on, which saves the request that lists it.
    pub stored: Option<Arc<Value>>,
}

impl Target {
    /// An object, with the version of its kind.
    pub fn of(id: &ObjectId, version: &str) -> Self {
        Self {
            id: id.clone(),
            version: Some(version.to_owned()),
            stored: None,
        }
    }
}

/// The rules by which objects are assessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// A Job is ready when it is complete, anything else by kstatus.
    #[default]
    Complete,
    /// A Job is ready when it is running (HC-WAIT-004).
    Running,
    /// A Job is ready when it is complete, a Pod when it has succeeded, anything else immediately (HE-HOOK-010,
    /// HC-WAIT-009).
    Hook,
}

/// Options of a wait.
#[derive(Clone, Debug, Default)]
pub struct WaitOptions {
    /// The timeout.
    pub timeout: Duration,
    /// Whether to end as soon as one object has failed.
    pub fail_fast: bool,
    /// Jobs that are deleted on completion by their TTL: one that is gone is complete (RT-SSA-021).
    pub jobs_with_ttl: BTreeSet<ObjectId>,
    /// A label selector that matches all objects, if there is one; it saves requests.
    pub selector: Option<String>,
    /// Whether to list the objects of a kind by one request even if they are few.
    pub by_kind: bool,
    /// The rules by which an object is ready.
    pub rules: Rules,
    /// Expressions that precede the rules for the kinds that they are for.
    pub custom: CustomRules,
    /// Whether to look for causes below the objects that did not become ready: their pods, their events.
    pub causes: bool,
}

/// Objects that did not become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// Some have failed, or were not ready at the timeout.
    NotReady {
        /// Whether the timeout was reached; if not, waiting longer would not have helped.
        timed_out: bool,
        /// The objects, each with its state.
        objects: Vec<String>,
        /// What was found about why, one text for an object. They are shown behind the text that is upstream's.
        causes: Vec<String>,
    },
    /// An object of a namespaced kind has no namespace.
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
            Self::NotReady {
                timed_out,
                objects,
                causes,
            } => {
                let what = if *timed_out {
                    "timeout waiting for"
                } else {
                    "failed early due to stalled resources"
                };
                write!(f, "{what}: [{}]", objects.join(", "))?;
                causes.iter().try_for_each(|cause| write!(f, "; {cause}"))
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
