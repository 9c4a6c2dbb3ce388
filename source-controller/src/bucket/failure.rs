//! Maps every error of a reconcile of a Bucket to its condition, event and retry: the table to compare with the ledger.

use std::io;
use std::time::Duration;

use flux_artifact::StorageError;
use flux_bucket::SasError;
use flux_budget::Exhausted;
use flux_ignore::IgnoreError;
use flux_publish::{
    FETCH_FAILED, InspectError, RemoveError, STORAGE_OPERATION_FAILED, StoreError, WriteError,
};
use flux_runtime::outcome::{Cause, Next};
use flux_runtime::{Failure, Pace, panics};

use super::identity::IdentityFault;
use super::reason::BucketReason;
use crate::secrets::{ReferredError, SecretReadError};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("failed to create temporary working directory")]
    WorkDirectory(#[source] io::Error),
    #[error(transparent)]
    Inspect(#[from] InspectError),

    #[error("failed to get secret '{secret}'")]
    Secret {
        secret: String,
        #[source]
        source: SecretReadError,
    },
    #[error("failed to get STS secret '{secret}'")]
    StsSecret {
        secret: String,
        #[source]
        source: SecretReadError,
    },
    #[error("failed to get proxy URL")]
    Proxy(#[source] ReferredError),
    #[error("failed to get TLS config")]
    Tls(#[source] ReferredError),
    #[error("failed to get STS TLS config")]
    StsTls(#[source] ReferredError),
    /// A Secret lacks a key; no value is shown.
    #[error("{0}")]
    SecretData(String),
    #[error("{}", .fault.prefix(.secret))]
    Credential {
        secret: String,
        #[source]
        fault: Box<CredentialFault>,
    },
    #[error(transparent)]
    Sas(SasError),
    #[error("failed to create Google credentials from secret")]
    ServiceAccount(#[source] flux_cloud::gcp::Error),
    #[error("AWS authentication failed")]
    Aws(#[source] IdentityFault),
    #[error(transparent)]
    Client(flux_bucket::Error),
    #[error("{0}")]
    Sts(String),
    #[error("failed to parse STS endpoint '{endpoint}': {why}")]
    StsEndpoint { endpoint: String, why: String },

    #[error("failed to confirm existence of '{bucket}' bucket")]
    Existence {
        bucket: String,
        #[source]
        source: Fault,
    },
    #[error("bucket '{0}' not found")]
    NotFound(String),
    #[error("failed to get Etag for '.sourceignore' object")]
    IgnoreFile(#[source] Fault),
    #[error("failed to read '.sourceignore'")]
    ReadRules(#[source] io::Error),
    #[error(transparent)]
    Rules(#[from] IgnoreError),
    #[error("indexation of objects from bucket '{bucket}' failed")]
    Index {
        bucket: String,
        #[source]
        source: Fault,
    },
    #[error("fetch from bucket '{bucket}' failed: failed to get '{key}' object")]
    Fetch {
        bucket: String,
        key: String,
        #[source]
        source: Fault,
    },
    /// An earlier retry cannot succeed.
    #[error("{error}")]
    Later {
        error: Box<StepError>,
        wait: Duration,
    },

    #[error("failed to create artifact directory")]
    ArtifactDirectory(#[source] StorageError),
    #[error("failed to acquire lock for artifact")]
    Lock(#[source] StorageError),
    #[error("unable to archive artifact to storage")]
    Archive(#[source] WriteError),
    #[error("garbage collection for deleted resource failed")]
    Collect(#[from] RemoveError),
    #[error("a task of the reconcile ended early: {0}")]
    Task(String),
}

/// Why the credentials of a Secret for Azure cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum CredentialFault {
    #[error(transparent)]
    Token(#[from] flux_cloud::azure::Error),
    #[error(transparent)]
    Account(flux_bucket::Error),
}

impl CredentialFault {
    fn prefix(&self, secret: &str) -> String {
        match self {
            Self::Token(_) => format!("failed to create token credential from '{secret}' Secret"),
            Self::Account(_) => {
                format!("failed to create shared credential from '{secret}' Secret data")
            }
        }
    }
}

/// Why an operation on a bucket failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("context deadline exceeded")]
    Timeout,
    #[error(transparent)]
    Store(Box<flux_bucket::Error>),
    #[error("listing objects from bucket '{bucket}' failed")]
    List {
        bucket: String,
        #[source]
        source: Box<Fault>,
    },
    #[error("the bucket has more than {0} objects, which is all that an artifact may have")]
    TooMany(usize),
    #[error(transparent)]
    Memory(#[from] Exhausted),
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    #[error(transparent)]
    Key(#[from] KeyFault),
}

impl Fault {
    /// The same for a list of the bucket.
    pub(super) fn of_list(self, bucket: &str) -> Self {
        Self::List {
            bucket: bucket.to_owned(),
            source: Box::new(self),
        }
    }

    /// The memory that was missing.
    fn exhausted(&self) -> Option<&Exhausted> {
        match self {
            Self::Memory(exhausted) => Some(exhausted),
            Self::List { source, .. } => source.exhausted(),
            Self::Store(error) => match &**error {
                flux_bucket::Error::Memory(exhausted)
                | flux_bucket::Error::Body(flux_http::BodyError::Memory(exhausted)) => {
                    Some(exhausted)
                }
                _ => None,
            },
            Self::Timeout | Self::TooMany(_) | Self::Ignore(_) | Self::Key(_) => None,
        }
    }

    /// Whether only another content of the bucket helps: a retry before the interval is pointless.
    fn is_of_content(&self) -> bool {
        match self {
            Self::TooMany(_) | Self::Key(_) => true,
            Self::Store(error) => matches!(
                **error,
                flux_bucket::Error::Key(_) | flux_bucket::Error::TooLarge(_)
            ),
            _ => self.exhausted().is_some_and(Exhausted::is_too_large),
        }
    }
}

/// Why an object cannot be a file beside the others.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyFault {
    #[error("filename is a directory: '{below}' is below it")]
    Folder { below: String },
    #[error("the object '{0}' has the same path")]
    Twice(String),
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
            StoreError::Rules(error) => Self::Archive(io::Error::other(error).into()),
            StoreError::Write(error) => Self::Archive(error),
        }
    }
}

impl StepError {
    /// The same error with its pace of retries: after the interval if an earlier try cannot succeed.
    pub(super) fn retried_after(self, interval: Duration) -> Self {
        let is_of_content = match &self {
            Self::Index { source, .. } | Self::Fetch { source, .. } | Self::IgnoreFile(source) => {
                source.is_of_content()
            }
            _ => false,
        };
        if is_of_content {
            return Self::Later {
                error: Box::new(self),
                wait: interval,
            };
        }
        self
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        use {BucketReason as R, StepError as E};
        match error {
            E::Later { error, wait } => {
                let failure = Self::from(*error);
                Self {
                    next: Next::Retry(Pace::Exactly(wait)),
                    ..failure
                }
            }
            E::WorkDirectory(_) | E::ArtifactDirectory(_) => {
                retry(R::DirectoryCreationFailed, error).marking(STORAGE_OPERATION_FAILED)
            }
            E::Inspect(_) | E::Task(_) => retry(R::Failed, error).quietly(),

            E::Secret { .. }
            | E::StsSecret { .. }
            | E::Proxy(_)
            | E::Tls(_)
            | E::StsTls(_)
            | E::SecretData(_)
            | E::Credential { .. }
            | E::Sas(_)
            | E::ServiceAccount(_)
            | E::Aws(_)
            | E::Client(_) => retry(R::AuthenticationFailed, error).marking(FETCH_FAILED),
            E::Sts(_) => Self::stalled(R::InvalidSTSConfiguration, error).marking(FETCH_FAILED),
            E::StsEndpoint { .. } => Self::stalled(R::URLInvalid, error).marking(FETCH_FAILED),

            E::Existence { .. }
            | E::NotFound(_)
            | E::IgnoreFile(_)
            | E::ReadRules(_)
            | E::Rules(_)
            | E::Index { .. }
            | E::Fetch { .. } => retry(R::BucketOperationFailed, error).marking(FETCH_FAILED),

            E::Lock(_) => retry(R::Failed, error),
            E::Archive(_) => {
                retry(R::ArchiveOperationFailed, error).marking(STORAGE_OPERATION_FAILED)
            }
            E::Collect(_) => retry(R::GarbageCollectionFailed, error),
        }
    }
}

fn retry(reason: BucketReason, cause: impl Into<Cause>) -> Failure {
    Failure::retry(reason, cause, Pace::BackOff)
}

#[cfg(test)]
mod tests;
