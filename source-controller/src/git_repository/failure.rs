//! Maps every error of a reconcile of a GitRepository to its condition, event and retry: the table to compare with the
//! ledger.

use std::io;
use std::time::Duration;

use flux_artifact::{
    DigestMismatch, ExtractError, PlaceError, RulesError, StorageError, UnpackError,
};
use flux_budget::Exhausted;
use flux_git::{AuthError, UrlError, VerifyError};
use flux_http::SecretError;
use flux_publish::{
    FETCH_FAILED, InspectError, RemoveError, SOURCE_VERIFIED, STORAGE_OPERATION_FAILED, StoreError,
    WriteError,
};
use flux_repository::{AccessError, LoginError};
use flux_runtime::outcome::{Cause, Next};
use flux_runtime::{Failure, Notice, Pace, panics};
use flux_tree::PathError;

use super::INCLUDE_UNAVAILABLE;
use super::reason::GitReason;
use crate::secrets::{ReferredError, SecretReadError};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("failed to create temporary working directory")]
    WorkDirectory(#[source] io::Error),
    #[error(transparent)]
    Inspect(#[from] InspectError),

    #[error("failed to configure proxy options")]
    Proxy(#[source] ReferredError),
    #[error("failed to parse url '{url}'")]
    Url {
        url: String,
        #[source]
        source: UrlError,
    },
    #[error("failed to get secret '{secret}'")]
    Secret {
        secret: String,
        #[source]
        source: SecretReadError,
    },
    #[error("failed to configure authentication options")]
    Auth(#[source] AuthError),
    #[error(
        "SSH identity key is encrypted but no 'password' field was provided in the secret '{0}'"
    )]
    Passphrase(String),
    #[error("secretRef '{0}' has github app data but provider is not set to github")]
    UnexpectedGitHubApp(String),
    #[error("secretRef with github app data must be specified when provider is set to github")]
    GitHubAppSecretMissing,
    #[error("secretRef with github app data must be specified when provider is set to github")]
    GitHubAppDataMissing,
    #[error(transparent)]
    GitHubAppKeys(SecretError),
    #[error("failed to configure authentication options")]
    Provider(#[from] LoginError),

    #[error(
        "could not get resource for include '{name}': GitRepository.source.toolkit.fluxcd.io \"{name}\" not found"
    )]
    IncludeMissing { name: String, recheck: Duration },
    #[error("no artifact available for include '{name}'")]
    IncludeWithoutArtifact { name: String, recheck: Duration },

    #[error("failed to create Git client")]
    Client(#[source] flux_git::Error),
    #[error("failed to checkout and determine revision")]
    Checkout(#[source] flux_git::Error),
    /// The repository is larger than the memory budget, so that a retry before the interval is pointless.
    #[error("failed to checkout and determine revision")]
    TooLarge {
        #[source]
        source: flux_git::Error,
        interval: Duration,
    },
    #[error("the files of the repository do not fit into memory")]
    Memory(#[source] Exhausted),
    #[error("the files of the repository do not fit into memory")]
    TooMany {
        #[source]
        source: Exhausted,
        interval: Duration,
    },
    #[error("git repository is empty")]
    Empty,
    #[error("no changes since last reconciliation: observed revision '{revision}'")]
    Unchanged {
        revision: String,
        interval: Duration,
    },
    #[error(
        "failed to sparse checkout directories : sparse checkout dir '{0}' does not exist in repository: lstat {0}: no such file or directory"
    )]
    SparseMissing(String),

    #[error("public keys secret error")]
    PublicKeys(#[source] SecretReadError),
    #[error("cannot verify tag object's signature if a tag reference is not specified")]
    NoTagToVerify,
    #[error("cannot verify signature of tag '{0}' since it is not signed")]
    TagNotSigned(String),
    #[error("signature verification of tag '{tag}' failed")]
    TagSignature {
        tag: String,
        #[source]
        source: VerifyError,
    },
    #[error("signature verification of commit '{commit}' failed")]
    CommitSignature {
        commit: String,
        #[source]
        source: VerifyError,
    },

    #[error("path calculation for include '{name}' failed")]
    IncludePath {
        name: String,
        #[source]
        source: PathError,
    },
    #[error("failed to copy '{name}' include from {from} to {to}")]
    IncludeCopy {
        name: String,
        from: String,
        to: String,
        #[source]
        source: Box<CopyError>,
    },
    /// The included artifact is larger than the memory budget, so that a retry before the interval is pointless.
    #[error("failed to copy '{name}' include from {from} to {to}")]
    IncludeTooLarge {
        name: String,
        from: String,
        to: String,
        #[source]
        source: Box<CopyError>,
        interval: Duration,
    },

    #[error("failed to create artifact directory")]
    ArtifactDirectory(#[source] StorageError),
    #[error("failed to acquire lock for artifact")]
    Lock(#[source] StorageError),
    #[error("failed to load source ignore patterns from repository")]
    Rules(#[source] RulesError),
    #[error("unable to archive artifact to storage")]
    Archive(#[source] WriteError),
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

impl From<AccessError> for StepError {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Proxy(error) => Self::Proxy(error),
            AccessError::Url { url, source } => Self::Url { url, source },
            AccessError::Secret { secret, source } => Self::Secret { secret, source },
            AccessError::Auth(error) => Self::Auth(error),
            AccessError::Passphrase(secret) => Self::Passphrase(secret),
            AccessError::UnexpectedGitHubApp(secret) => Self::UnexpectedGitHubApp(secret),
            AccessError::GitHubAppSecretMissing => Self::GitHubAppSecretMissing,
            AccessError::GitHubAppDataMissing => Self::GitHubAppDataMissing,
            AccessError::GitHubAppKeys(error) => Self::GitHubAppKeys(error),
            AccessError::Login(error) => Self::Provider(error),
        }
    }
}

/// Why an included artifact could not be copied.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error("path '{0}' is not one of that repository's artifacts")]
    NotOwn(String),
    #[error("failed to verify archive")]
    Digest(#[from] DigestMismatch),
    #[error("failed to read archive")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Memory(#[from] Exhausted),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Extract(#[from] ExtractError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Place(#[from] PlaceError),
}

impl CopyError {
    /// Whether the artifact is larger than the whole memory budget.
    fn is_too_large(&self) -> bool {
        match self {
            Self::Memory(exhausted) | Self::Extract(ExtractError::Memory(exhausted)) => {
                exhausted.is_too_large()
            }
            Self::Extract(ExtractError::TooLarge(_) | ExtractError::TooMany(_)) => true,
            _ => false,
        }
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Directory(error) => Self::ArtifactDirectory(error),
            StoreError::Lock(error) => Self::Lock(error),
            StoreError::Rules(error) => Self::Rules(error),
            StoreError::Write(error) => Self::Archive(error),
        }
    }
}

impl From<UnpackError> for CopyError {
    fn from(error: UnpackError) -> Self {
        match error {
            UnpackError::Read(error) => Self::Read(error),
            UnpackError::Digest(error) => Self::Digest(error),
            UnpackError::Extract(error) => Self::Extract(error),
        }
    }
}

impl StepError {
    /// The same error with its pace of retries: after the interval if an earlier try cannot succeed. What is too large only
    /// alongside other reconciles fits when they end; what is larger than the whole budget does not.
    pub(super) fn retried_after(self, interval: Duration) -> Self {
        match self {
            Self::Checkout(source) if source.is_too_large() => Self::TooLarge { source, interval },
            Self::Memory(source) if source.is_too_large() => Self::TooMany { source, interval },
            Self::IncludeCopy {
                name,
                from,
                to,
                source,
            } if source.is_too_large() => Self::IncludeTooLarge {
                name,
                from,
                to,
                source,
                interval,
            },
            other => other,
        }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        use GitReason as R;
        use StepError as E;
        match error {
            E::WorkDirectory(_) | E::ArtifactDirectory(_) => {
                retry(R::DirectoryCreationFailed, error).marking(STORAGE_OPERATION_FAILED)
            }
            E::Inspect(_) | E::GitHubAppKeys(_) | E::Task(_) => retry(R::Failed, error).quietly(),

            E::Proxy(_) | E::Secret { .. } | E::Auth(_) | E::Passphrase(_) | E::Provider(_) => {
                retry(R::AuthenticationFailed, error).marking(FETCH_FAILED)
            }
            E::Url { .. } => Self::stalled(R::URLInvalid, error).marking(FETCH_FAILED),
            E::UnexpectedGitHubApp(_) | E::GitHubAppDataMissing => {
                retry(R::InvalidProviderConfiguration, error).marking(FETCH_FAILED)
            }
            E::GitHubAppSecretMissing => {
                Self::stalled(R::InvalidProviderConfiguration, error).marking(FETCH_FAILED)
            }

            E::IncludeMissing { recheck, .. } => waiting(R::NotFound, error, recheck),
            E::IncludeWithoutArtifact { recheck, .. } => waiting(R::NoArtifact, error, recheck),

            E::Client(_) | E::Checkout(_) | E::Memory(_) | E::SparseMissing(_) => {
                retry(R::GitOperationFailed, error).marking(FETCH_FAILED)
            }
            E::TooLarge { interval, .. } | E::TooMany { interval, .. } => {
                Self::retry(R::GitOperationFailed, error, Pace::Exactly(interval))
                    .marking(FETCH_FAILED)
            }
            E::Empty => retry(R::EmptyGitRepository, error).marking(FETCH_FAILED),
            E::Unchanged { interval, .. } => Self {
                next: Next::Ignored(interval),
                ..retry(R::GitOperationSucceeded, error).with_notice(Notice::Trace)
            },

            E::PublicKeys(_) => retry(R::VerificationError, error).marking_false(SOURCE_VERIFIED),
            E::NoTagToVerify => {
                Self::stalled(R::InvalidVerificationMode, error).marking_false(SOURCE_VERIFIED)
            }
            E::TagNotSigned(_) => retry(R::InvalidGitObject, error).marking_false(SOURCE_VERIFIED),
            E::TagSignature { .. } => {
                retry(R::InvalidTagSignature, error).marking_false(SOURCE_VERIFIED)
            }
            E::CommitSignature { .. } => {
                retry(R::InvalidCommitSignature, error).marking_false(SOURCE_VERIFIED)
            }

            E::IncludePath { .. } => retry(R::IllegalPath, error).marking(STORAGE_OPERATION_FAILED),
            E::IncludeCopy { .. } => retry(R::CopyFailure, error).marking(STORAGE_OPERATION_FAILED),
            E::IncludeTooLarge { interval, .. } => {
                Self::retry(R::CopyFailure, error, Pace::Exactly(interval))
                    .marking(STORAGE_OPERATION_FAILED)
            }

            E::Lock(_) => retry(R::Failed, error),
            E::Rules(_) => retry(R::SourceIgnoreError, error),
            E::Archive(_) => {
                retry(R::ArchiveOperationFailed, error).marking(STORAGE_OPERATION_FAILED)
            }
            E::Collect(_) => retry(R::GarbageCollectionFailed, error),
        }
    }
}

fn retry(reason: GitReason, cause: impl Into<Cause>) -> Failure {
    Failure::retry(reason, cause, Pace::BackOff)
}

fn waiting(reason: GitReason, cause: impl Into<Cause>, recheck: Duration) -> Failure {
    Failure::waiting(reason, cause, recheck)
        .with_notice(Notice::Trace)
        .marking(INCLUDE_UNAVAILABLE)
}

#[cfg(test)]
mod tests;
