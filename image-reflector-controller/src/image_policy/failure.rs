//! Maps every error of a reconcile of an ImagePolicy to its condition, event and retry: the table to compare with the ledger.

use std::time::Duration;

use flux_api::meta::GoDuration;
use flux_golang::strconv::quote;
use flux_oci::NameError;
use flux_references::ReadError;
use flux_registry::RegistryFault;
use flux_runtime::queue::Key;
use flux_runtime::{Failure, Pace};
use flux_tenancy::AccessDenied;

use super::reason::PolicyReason as R;
use crate::access::AccessError;
use crate::reference::ReferenceError;
use crate::selection::{FilterError, OrderError, SelectError};
use crate::store::StoreError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("spec.interval must be set when spec.digestReflectionPolicy is set to 'Always'")]
    NoInterval,
    #[error("failed to get the referred ImageRepository")]
    Repository(#[source] RepositoryError),
    #[error(transparent)]
    Image(ReferenceError),
    #[error("invalid policy")]
    Order(#[source] OrderError),
    #[error("failed to filter tags")]
    Filter(#[source] FilterError),
    #[error("failed to read tags from database")]
    Read(#[source] StoreError),
    #[error("retrying in {} error: no tags in database", rounded(*.0))]
    NoTags(Duration),
    #[error(transparent)]
    Select(SelectError),
    #[error("failed fetching digest of {image}:{tag}")]
    Digest {
        image: String,
        tag: String,
        #[source]
        source: Box<DigestError>,
    },
}

/// Why the ImageRepository cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepositoryError {
    /// References to other namespaces are switched off (IR-POL-040).
    #[error("cannot access 'ImageRepository/{0}', cross-namespace references have been blocked")]
    CrossNamespace(Key),
    /// It does not exist.
    #[error("referenced ImageRepository does not exist")]
    Missing(#[source] ReadError),
    /// It cannot be read (IR-POL-039).
    #[error(transparent)]
    Unreadable(ReadError),
    /// It does not allow the namespace of the policy (IR-POL-041, IR-POL-042).
    #[error("access denied")]
    Denied(#[source] AccessDenied),
    /// The labels of the namespace of the policy are unknown.
    #[error("access denied")]
    Namespace(#[source] flux_objects::Error),
}

/// Why the digest of a tag is unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum DigestError {
    #[error("failed parsing reference {}", quote(reference))]
    Reference {
        reference: String,
        #[source]
        source: NameError,
    },
    #[error("failed to configure authentication options")]
    Access(#[source] AccessError),
    #[error("failed fetching descriptor for {}", quote(reference))]
    Registry {
        reference: String,
        #[source]
        source: RegistryFault,
    },
}

impl DigestError {
    /// When the registry wants to be asked again, if it said so (FR-N-063).
    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Registry {
                source: RegistryFault::Registry(error),
                ..
            } => error.retry_after().filter(|wait| !wait.is_zero()),
            _ => None,
        }
    }
}

/// A duration without the fraction of a second, as upstream shows it.
fn rounded(duration: Duration) -> GoDuration {
    let half = Duration::from_millis(500);
    GoDuration::from(Duration::from_secs((duration + half).as_secs()))
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        use StepError as E;
        match &error {
            E::NoInterval => Self::stalled(R::IntervalNotConfigured, error),
            E::Image(_) => Self::stalled(R::ImageURLInvalid, error),
            E::Order(_) | E::Filter(_) => Self::stalled(R::InvalidPolicy, error),
            E::NoTags(recheck) => {
                let recheck = *recheck;
                Self::waiting(R::DependencyNotReady, error, recheck)
            }
            E::Repository(RepositoryError::Missing(_)) => {
                Self::retry(R::DependencyNotReady, error, Pace::BackOff)
            }
            E::Repository(RepositoryError::Unreadable(_)) | E::Read(_) | E::Select(_) => {
                Self::retry(R::Failure, error, Pace::BackOff)
            }
            E::Repository(_) => Self::retry(R::AccessDenied, error, Pace::BackOff),
            E::Digest { source, .. } => {
                let pace = source.retry_after().map_or(Pace::BackOff, Pace::Exactly);
                Self::retry(R::Failed, error, pace)
            }
        }
    }
}

#[cfg(test)]
mod tests;
