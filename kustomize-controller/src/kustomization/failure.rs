//! Maps every error of a reconcile of a Kustomization to its reason, event and retry: the table to compare with the ledger.

use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::GoDuration;
use flux_artifact::{DigestMismatch, FetchError};
use flux_runtime::outcome::{Cause, Next, chain};
use flux_runtime::{Failure, Pace};
use flux_tenancy::ActingError;

use super::apply::ApplyError;
use super::build::BuildError;
use super::decryption::KeysError;
use super::deletion::DeletionError;
use super::dependencies::NotReady;
use super::fetch::FilesError;
use super::health::{HealthError, InvalidRules};
use super::inventory_room::NoRoom;
use super::plan::Timings;
use super::prune::PruneError;
use super::reason::KustomizationReason as R;
use super::source::SourceError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Rules(#[from] InvalidRules),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Dependency(#[from] NotReady),
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    Acting(#[from] ActingError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Room(#[from] NoRoom),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Prune(#[from] PruneError),
    #[error(transparent)]
    Health(#[from] HealthError),
    #[error(transparent)]
    Deletion(#[from] DeletionError),
    /// The status could not be written during the run; the failure comes from the runtime.
    #[error("{}", .0.cause)]
    Status(Box<Failure>),
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Status(Box::new(failure))
    }
}

impl StepError {
    /// The failure for an object with these timings: reason, message, event and pace of retries.
    pub(super) fn failure(self, timings: &Timings) -> Failure {
        use StepError as E;
        let Timings {
            interval,
            retry,
            requeue,
            ..
        } = *timings;
        let at_retry = Pace::Exactly(retry);
        match self {
            E::Rules(error) => Failure::stalled(R::InvalidCELExpression, error),

            E::Source(error) => match error {
                SourceError::Denied(_) => stalled(R::AccessDenied, error),
                SourceError::NoArtifact => {
                    let message = format!("{error}, {}", retrying(requeue));
                    Failure::waiting(R::ArtifactFailed, message, requeue)
                }
                SourceError::NotFound(_) => {
                    Failure::waiting(R::ArtifactFailed, error, retry).logged()
                }
                SourceError::Unavailable(..) | SourceError::Kind(..) => {
                    Failure::retry(R::ArtifactFailed, error, Pace::BackOff).quietly()
                }
            },
            E::Dependency(error @ NotReady::Invalid { .. }) => {
                Failure::stalled(R::InvalidCELExpression, error)
            }
            E::Dependency(error) => {
                Failure::waiting(R::DependencyNotReady, error, requeue).logged()
            }

            E::Files(FilesError::Fetch(error)) => fetching(error, interval, retry, requeue),
            E::Files(error) => Failure::retry(R::ArtifactFailed, error, at_retry),
            // Other runs hold the memory that this one needs and release it when they end.
            E::Build(error) if error.is_busy() => {
                Failure::retry(R::BuildFailed, error, Pace::BackOff)
            }
            E::Build(error) => Failure::retry(R::BuildFailed, error, at_retry),
            E::Keys(error) => Failure::retry(R::BuildFailed, error, at_retry),
            // Its event has another text.
            E::Acting(error) => Failure::retry(R::ReconciliationFailed, error, at_retry).quietly(),
            E::Room(error) => Failure::retry(R::ReconciliationFailed, error, at_retry),
            E::Apply(error) => Failure::retry(R::ReconciliationFailed, error, at_retry),
            E::Prune(error @ PruneError::Inventory(_)) => {
                Failure::retry(R::ReconciliationFailed, error, at_retry)
            }
            E::Prune(error) => Failure::retry(R::PruneFailed, error, at_retry),

            E::Health(HealthError::Status(failure)) | E::Status(failure) => *failure,
            E::Health(error @ HealthError::NotReady { .. }) => {
                Failure::retry(R::HealthCheckFailed, error, at_retry)
            }
            E::Health(error) => Failure::superseded(R::HealthCheckCanceled, error).quietly(),

            E::Deletion(error @ DeletionError::ShuttingDown) => {
                Failure::waiting(R::PruneFailed, error, Duration::ZERO)
            }
            E::Deletion(error) => Failure::retry(R::PruneFailed, error, Pace::BackOff).quietly(),
        }
    }

    /// The warning, if its text differs from that of the conditions (KC-REMOTE-006).
    pub(super) fn warning(&self) -> Option<(R, String)> {
        match self {
            Self::Acting(error) => {
                let text = format!("failed to build kube client: {}", chain(error));
                Some((R::ReconciliationFailed, text))
            }
            _ => None,
        }
    }

    /// The event, if its text differs from that of the conditions.
    pub(super) fn event(&self, timings: &Timings) -> Option<(R, String)> {
        match self {
            Self::Dependency(NotReady::Invalid { .. }) => None,
            // KC-DEP-006
            Self::Dependency(_) => Some((
                R::DependencyNotReady,
                dependencies_not_ready(timings.requeue),
            )),
            Self::Health(HealthError::Canceled { by }) => Some((
                R::HealthCheckCanceled,
                format!("Health checks canceled due to new reconciliation triggered by {by}"),
            )),
            _ => None,
        }
    }

    /// The log line in addition to the runtime's; `source` is the source as the log names it.
    pub(super) fn log_line(&self, timings: &Timings, source: &str) -> Option<String> {
        match self {
            Self::Source(SourceError::NotFound(_)) => Some(format!("Source '{source}' not found")),
            Self::Dependency(NotReady::Invalid { .. }) => None,
            Self::Dependency(_) => Some(dependencies_not_ready(timings.requeue)),
            Self::Health(HealthError::Canceled { .. }) => {
                Some("New reconciliation triggered, canceling health checks".to_owned())
            }
            _ => None,
        }
    }

    /// The status of the run in the history, if the failure has an entry of its own (KC-API-046).
    pub(super) fn history_status(&self) -> Option<R> {
        match self {
            Self::Room(_) | Self::Apply(_) | Self::Prune(PruneError::Inventory(_)) => {
                Some(R::ReconciliationFailed)
            }
            Self::Prune(_) => Some(R::PruneFailed),
            Self::Health(HealthError::NotReady { .. }) => Some(R::HealthCheckFailed),
            _ => None,
        }
    }
}

/// The failure for an artifact that could not be fetched.
fn fetching(
    error: Arc<FetchError>,
    interval: Duration,
    retry: Duration,
    requeue: Duration,
) -> Failure {
    let pace = match &*error {
        // KC-SRC-008: the source is rebuilding its artifact
        FetchError::NotFound => {
            let message = format!(
                "Source is not ready, artifact not found, {}",
                retrying(requeue)
            );
            return Failure::waiting(R::ArtifactFailed, message, requeue);
        }
        // KC-SRC-010: the status that names the digest is about to change
        FetchError::Digest(DigestMismatch::Differs(_)) => {
            let message = format!(
                "Source is not ready, artifact digest changed, {}",
                retrying(requeue)
            );
            return Failure::waiting(R::ArtifactFailed, message, requeue);
        }
        FetchError::Memory(exhausted) if exhausted.is_too_large() => Pace::Exactly(interval),
        // Other reconciles release their memory soon.
        FetchError::Memory(_) => Pace::BackOff,
        _ => Pace::Exactly(retry),
    };
    Failure::retry(R::ArtifactFailed, error, pace)
}

fn retrying(wait: Duration) -> String {
    format!("retrying in {}", GoDuration::from(wait))
}

fn dependencies_not_ready(requeue: Duration) -> String {
    format!(
        "Dependencies do not meet ready condition, {}",
        retrying(requeue)
    )
}

/// A stalled failure that leaves the generation unobserved (KC-API-033).
fn stalled(reason: R, cause: impl Into<Cause>) -> Failure {
    Failure {
        next: Next::Stalled {
            generation_observed: false,
        },
        ..Failure::stalled(reason, cause)
    }
}

#[cfg(test)]
mod tests;
