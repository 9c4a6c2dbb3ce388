//! Maps every error of a reconcile of an ArtifactGenerator to its reason, event and retry: the table to compare with the
//! ledger.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use flux_artifact::FetchError;
use flux_runtime::outcome::{Notice, chain};
use flux_runtime::queue::Key;
use flux_runtime::{Failure, Pace};

use super::INTERVAL;
use super::access::AccessError;
use super::build::BuildError;
use super::namespaces::{MetadataError, NamespaceError};
use super::observe::ObserveError;
use super::path_pattern::PathPatternError;
use super::policy::Policy;
use super::publish::PublishError;
use super::reason::GeneratorReason as R;
use super::validation::ValidationError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Validation(#[from] ValidationError),
    #[error("get sources failed")]
    Observe(#[from] ObserveError),
    #[error("failed to create tmp dir")]
    Work(#[source] io::Error),
    #[error("fetch sources failed")]
    Fetch(#[source] FetchSourceError),
    #[error("failed to expand path pattern")]
    PathPattern(#[from] PathPatternError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("{}", sentences(.0))]
    Outputs(Vec<OutputFailure>),
    #[error("failed to delete ExternalArtifacts")]
    Remove(#[source] flux_objects::Error),
    /// The status could not be written during the run; the failure comes from the runtime.
    #[error("{}", .0.cause)]
    Status(Box<Failure>),
    /// A task ended without a result, which is a defect.
    #[error("a task of the reconcile ended early")]
    Task,
}

/// Why a source was not downloaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchSourceError {
    #[error(transparent)]
    Fetch(#[from] Arc<FetchError>),
    #[error("context deadline exceeded")]
    Deadline,
}

/// Why one artifact was not made.
#[derive(Debug)]
pub(super) struct OutputFailure {
    /// The name of the artifact.
    pub(super) name: String,
    /// Why.
    pub(super) error: OutputError,
}

/// Why an artifact was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error(transparent)]
    Build(BuildError),
    #[error(transparent)]
    Metadata(MetadataError),
    #[error(transparent)]
    Namespace(NamespaceError),
    #[error(transparent)]
    Publish(PublishError),
    /// Another generator has it (SW-ART-059, SW-ART-071).
    #[error("ExternalArtifact {key} is managed by ArtifactGenerator {owner}")]
    Conflict { key: Key, owner: String },
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Status(Box::new(failure))
    }
}

impl OutputError {
    fn reason(&self) -> R {
        match self {
            Self::Build(_) | Self::Metadata(_) => R::BuildFailed,
            Self::Conflict { .. } | Self::Namespace(NamespaceError::Conflict { .. }) => {
                R::OwnershipConflict
            }
            Self::Namespace(_) | Self::Publish(_) => R::ReconciliationFailed,
        }
    }

    fn verb(&self) -> &'static str {
        match self.reason() {
            R::BuildFailed => "build",
            _ => "reconcile",
        }
    }
}

/// The failures of a run as text, the first as upstream has it (SW-GEN-082, SW-GEN-083).
fn sentences(failures: &[OutputFailure]) -> String {
    let sentence = |failure: &OutputFailure| {
        let OutputFailure { name, error } = failure;
        format!("{name} {} failed: {}", error.verb(), chain(error))
    };
    let all: Vec<_> = failures.iter().map(sentence).collect();
    all.join("; ")
}

impl StepError {
    /// The failure of the run: reason, message, event and pace of retries.
    pub(super) fn failure(self, policy: &Policy) -> Failure {
        use StepError as E;
        // A wait of zero would have no end.
        let requeue = policy.requeue_dependency.max(Duration::from_millis(1));
        match self {
            E::Validation(error) => {
                let reason = if error.is_access() {
                    R::AccessDenied
                } else {
                    R::ValidationFailed
                };
                Failure::stalled(reason, error)
            }
            E::Observe(_) => {
                Failure::waiting(R::SourceFetchFailed, self, requeue).with_notice(Notice::Warning)
            }
            E::Fetch(ref error) => {
                let wait = if is_too_large(error) {
                    INTERVAL
                } else {
                    requeue
                };
                Failure::waiting(R::SourceFetchFailed, self, wait).with_notice(Notice::Warning)
            }
            E::PathPattern(_) => Failure::stalled(R::BuildFailed, self),
            E::Access(error @ AccessError::Denied { .. }) => {
                Failure::stalled(R::AccessDenied, error)
            }
            E::Access(error) => retry(R::ReconciliationFailed, error),
            E::Outputs(ref failures) => {
                let reason = failures
                    .first()
                    .map_or(R::BuildFailed, |first| first.error.reason());
                let all = failures.iter();
                let too_large = all.filter_map(|failure| match &failure.error {
                    OutputError::Build(error) => error.exhausted(),
                    _ => None,
                });
                // More memory than there is: only another source or spec helps.
                let pace = if too_large
                    .into_iter()
                    .any(flux_budget::Exhausted::is_too_large)
                {
                    Pace::Exactly(INTERVAL)
                } else {
                    Pace::BackOff
                };
                Failure::retry(reason, self, pace)
            }
            E::Status(failure) => *failure,
            E::Work(_) | E::Remove(_) | E::Task => retry(R::Failed, self),
        }
    }
}

fn is_too_large(error: &FetchSourceError) -> bool {
    match error {
        FetchSourceError::Fetch(error) => {
            matches!(&**error, FetchError::Memory(exhausted) if exhausted.is_too_large())
        }
        FetchSourceError::Deadline => false,
    }
}

fn retry(reason: R, error: impl Into<flux_runtime::outcome::Cause>) -> Failure {
    Failure::retry(reason, error, Pace::BackOff)
}

#[cfg(test)]
mod tests;
