//! Maps every error of a reconcile of a HelmRepository to its condition, event and retry: the table to compare with the
//! ledger.

use std::io;
use std::time::Duration;

use flux_artifact::StorageError;
use flux_chart::index::IndexError;
use flux_http::{BuildError, SecretError};
use flux_publish::{
    FETCH_FAILED, InspectError, RemoveError, STORAGE_OPERATION_FAILED, StoreError, WriteError,
};
use flux_runtime::outcome::Cause;
use flux_runtime::{Failure, Pace, panics};

use super::fetch::FetchError;
use super::reason::HelmReason;
use crate::secrets::SecretReadError;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Inspect(#[from] InspectError),

    #[error(
        "invalid Helm repository URL: 'oci' URL scheme cannot be used with 'default' HelmRepository type"
    )]
    OciUrl,
    #[error("invalid Helm repository URL: {0}")]
    Url(String),
    #[error("failed to construct Helm client: scheme \"{0}\" not supported")]
    Scheme(String),
    #[error("failed to get authentication secret '{secret}'")]
    Secret {
        secret: String,
        #[source]
        source: SecretReadError,
    },
    #[error("failed to get TLS authentication secret '{secret}'")]
    TlsSecret {
        secret: String,
        #[source]
        source: SecretReadError,
    },
    #[error("failed to construct Helm client's TLS config")]
    Tls(#[source] SecretError),
    #[error("failed to detect authentication methods")]
    Methods(#[source] SecretError),
    #[error("failed to construct Helm client's TLS config")]
    Client(#[source] BuildError),

    #[error("failed to fetch Helm repository index")]
    Fetch(#[source] FetchError),
    #[error("failed to load Helm repository from index YAML: failed to load index")]
    Index(#[source] IndexError),
    /// The index is larger than the memory budget, so that a retry before the interval is pointless.
    #[error("failed to load Helm repository from index YAML: failed to load index")]
    IndexTooLarge {
        #[source]
        source: IndexError,
        interval: Duration,
    },

    #[error("failed to create artifact directory")]
    ArtifactDirectory(#[source] StorageError),
    #[error("failed to acquire lock for artifact")]
    Lock(#[source] StorageError),
    #[error("unable to get JSON index from chart repo")]
    Converted(#[source] io::Error),
    #[error("unable to save artifact to storage")]
    Store(#[source] WriteError),
    #[error("garbage collection for deleted resource failed")]
    Collect(#[from] RemoveError),
    #[error("a task of the reconcile ended early: {0}")]
    Task(String),
}

impl From<tokio::task::JoinError> for StepError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(panics::of_task(error))
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Directory(error) => Self::ArtifactDirectory(error),
            StoreError::Lock(error) => Self::Lock(error),
            StoreError::Rules(error) => Self::Store(io::Error::other(error).into()),
            StoreError::Write(error) => Self::Store(error),
        }
    }
}

impl StepError {
    /// The same error with its pace of retries: after the interval if an earlier try cannot succeed.
    pub(super) fn retried_after(self, interval: Duration) -> Self {
        match self {
            Self::Index(IndexError::Memory(exhausted)) if exhausted.is_too_large() => {
                let source = IndexError::Memory(exhausted);
                Self::IndexTooLarge { source, interval }
            }
            other => other,
        }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        use HelmReason as R;
        use StepError as E;
        match error {
            E::Inspect(_) | E::Task(_) => retry(R::Failed, error).quietly(),
            E::OciUrl | E::Url(_) => Self::stalled(R::URLInvalid, error).marking(FETCH_FAILED),
            E::Scheme(_) => Self::stalled(R::Failed, error).marking(FETCH_FAILED),
            E::Secret { .. } | E::TlsSecret { .. } | E::Tls(_) | E::Methods(_) | E::Client(_) => {
                retry(R::AuthenticationFailed, error).marking(FETCH_FAILED)
            }
            E::Fetch(_) => retry(R::Failed, error).marking(FETCH_FAILED),
            E::Index(_) => retry(R::IndexationFailed, error).marking(FETCH_FAILED),
            E::IndexTooLarge { interval, .. } => {
                Self::retry(R::IndexationFailed, error, Pace::Exactly(interval))
                    .marking(FETCH_FAILED)
            }
            E::ArtifactDirectory(_) => {
                retry(R::DirectoryCreationFailed, error).marking(STORAGE_OPERATION_FAILED)
            }
            E::Lock(_) => retry(R::Failed, error),
            E::Converted(_) | E::Store(_) => {
                retry(R::ArchiveOperationFailed, error).marking(STORAGE_OPERATION_FAILED)
            }
            E::Collect(_) => retry(R::GarbageCollectionFailed, error),
        }
    }
}

fn retry(reason: HelmReason, cause: impl Into<Cause>) -> Failure {
    Failure::retry(reason, cause, Pace::BackOff)
}

#[cfg(test)]
mod tests;
