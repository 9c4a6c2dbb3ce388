//! Maps every error of a reconcile of an ImageRepository to its condition, event and retry: the table to compare with the
//! ledger.

use std::time::Duration;

use flux_budget::Exhausted;
use flux_golang::regexp;
use flux_golang::strconv::quote;
use flux_registry::RegistryFault;
use flux_runtime::{Failure, Pace, panics};

use super::reason::RepositoryReason as R;
use crate::access::AccessError;
use crate::reference::ReferenceError;
use crate::store::StoreError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Image(#[from] ReferenceError),
    #[error("failed to configure authentication options")]
    Access(#[from] AccessError),
    #[error("failed to determine if it's scan time")]
    Decision(#[source] StoreError),
    #[error("scan failed")]
    Scan(#[source] ScanError),
    /// An earlier retry cannot succeed, or is not wanted by the registry.
    #[error("scan failed")]
    ScanLater {
        #[source]
        error: ScanError,
        wait: Duration,
    },
    #[error(transparent)]
    Delete(StoreError),
}

/// Why there are no tags.
#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Registry(RegistryFault),
    #[error("failed to compile regex {pattern}")]
    Exclusion {
        pattern: String,
        #[source]
        source: regexp::Error,
    },
    #[error(transparent)]
    Memory(#[from] Exhausted),
    #[error("failed to set tags for {}", quote(canonical))]
    Store {
        canonical: String,
        #[source]
        source: StoreError,
    },
    #[error("a task of the reconcile ended early: {0}")]
    Task(String),
}

impl From<tokio::task::JoinError> for ScanError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(panics::of_task(error))
    }
}

impl From<tokio::task::JoinError> for StoreError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(panics::of_task(error))
    }
}

/// The statuses that a retry soon does not mend, and that it makes worse where the registry counts requests (FR-N-062).
const REFUSALS: [u16; 3] = [401, 403, 429];

impl ScanError {
    /// The same error with its pace: when the registry wants to be asked again (FR-N-063), after the interval where an earlier
    /// try is pointless, but not later than the longest back-off after a refusal.
    pub(super) fn paced(self, interval: Duration, longest: Duration) -> StepError {
        let wait = match &self {
            Self::Registry(RegistryFault::Registry(error)) => {
                let asked = error.retry_after().filter(|wait| !wait.is_zero());
                let is_refused = error.status().is_some_and(|code| REFUSALS.contains(&code));
                match asked {
                    Some(wait) => Some(wait),
                    None if error.is_too_large() => Some(interval),
                    None if is_refused => Some(interval.min(longest)),
                    None => None,
                }
            }
            Self::Memory(exhausted) if exhausted.is_too_large() => Some(interval),
            _ => None,
        };
        match wait.filter(|wait| !wait.is_zero()) {
            Some(wait) => StepError::ScanLater { error: self, wait },
            None => StepError::Scan(self),
        }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        use StepError as E;
        match error {
            E::Image(_) => Self::stalled(R::ImageURLInvalid, error),
            E::Access(_) => Self::retry(R::AuthenticationFailed, error, Pace::BackOff),
            E::Decision(_) | E::Delete(_) => Self::retry(R::Failure, error, Pace::BackOff),
            E::Scan(_) => Self::retry(R::ReadOperationFailed, error, Pace::BackOff),
            E::ScanLater { wait, .. } => {
                Self::retry(R::ReadOperationFailed, error, Pace::Exactly(wait))
            }
        }
    }
}

#[cfg(test)]
mod tests;
