//! Maps every error of a reconcile of an ImageUpdateAutomation to its condition and retry: the table to compare with the
//! ledger. Events follow from how Ready changes (IA-STATUS-030 to IA-STATUS-033).

use std::io;
use std::time::Duration;

use flux_git::{CommitError, PushError, SigningKeyError};
use flux_references::{ReadError, SecretReadError};
use flux_repository::AccessError;
use flux_runtime::{Failure, Pace, panics};
use flux_selector::FieldsError;
use flux_tenancy::AccessDenied;

use super::files::FilesError;
use super::message::{MessageError, RemovedField};
use super::policies::InvalidReference;
use super::reason::AutomationReason as R;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("failed to parse policy selector")]
    Selector(#[from] FieldsError),

    #[error(transparent)]
    Denied(#[from] AccessDenied),
    #[error("source kind '{0}' not supported: invalid source configuration")]
    SourceKind(String),
    #[error(
        "source kind 'GitRepository' necessitates field .spec.git: invalid source configuration"
    )]
    NoGit,
    #[error(
        "refspec '{0}' would force an update or delete a reference: invalid source configuration"
    )]
    Refspec(String),
    #[error("{0}: invalid source configuration")]
    Provider(AccessError),
    #[error("failed configuring source manager")]
    Source(#[from] SourceError),

    #[error("failed to checkout source")]
    Checkout(#[source] flux_git::Error),
    /// The repository is larger than the memory budget, so that a retry before the interval is pointless.
    #[error("failed to checkout source")]
    TooLarge {
        #[source]
        source: flux_git::Error,
        interval: Duration,
    },
    #[error("failed to checkout source: git repository is empty")]
    Empty,

    #[error("no update strategy")]
    NoStrategy,
    #[error("unsupported update strategy: {0}")]
    Strategy(String),
    #[error("failed to apply policies")]
    Policies(#[from] InvalidReference),
    #[error("failed to apply policies")]
    Files(#[from] FilesError),

    #[error(transparent)]
    RemovedField(RemovedField),
    #[error("failed to update source")]
    Message(#[source] MessageError),
    #[error("failed to update source")]
    Commit(#[from] CommitError),
    #[error("failed to update source")]
    Push(#[from] PushError),

    #[error("a task of the reconcile ended early: {0}")]
    Task(String),
}

/// Why the source could not be configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("referenced git repository does not exist")]
    Missing(#[source] ReadError),
    #[error("failed to get referenced git repository")]
    Read(#[source] ReadError),
    #[error(
        "push spec not provided, and cannot be inferred from .spec.git.checkout.ref or GitRepository .spec.ref"
    )]
    NoBranch,
    #[error(transparent)]
    Proxy(flux_references::ReferredError),
    #[error("failed to get auth secret '{secret}'")]
    Secret {
        secret: String,
        #[source]
        source: SecretReadError,
    },
    #[error("failed to configure authentication options: {0}")]
    Transport(String),
    #[error("failed to configure authentication options")]
    Authentication(#[source] AccessError),
    #[error(transparent)]
    Keys(flux_http::SecretError),
    #[error(transparent)]
    Client(flux_git::Error),
    #[error("could not find signing key secret '{name}'")]
    SigningSecret {
        name: String,
        #[source]
        source: SecretReadError,
    },
    #[error(transparent)]
    SigningKey(SigningKeyError),
    #[error("failed to create temporary working directory")]
    WorkFolder(#[source] io::Error),
}

impl From<AccessError> for StepError {
    fn from(error: AccessError) -> Self {
        use AccessError as E;
        Self::Source(match error {
            // IA-GIT-031, IA-GIT-033
            E::UnexpectedGitHubApp(_) | E::GitHubAppSecretMissing | E::GitHubAppDataMissing => {
                return Self::Provider(error);
            }
            E::Proxy(error) => SourceError::Proxy(error),
            E::Secret { secret, source } => SourceError::Secret { secret, source },
            E::Url {
                source: flux_git::UrlError::Scheme(scheme),
                ..
            } => SourceError::Transport(format!("unknown transport '{scheme}'")),
            E::GitHubAppKeys(error) => SourceError::Keys(error),
            E::Url { .. } | E::Auth(_) | E::Passphrase(_) | E::Login(_) => {
                SourceError::Authentication(error)
            }
        })
    }
}

impl From<MessageError> for StepError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Removed(field) => Self::RemovedField(field),
            error => Self::Message(error),
        }
    }
}

impl From<tokio::task::JoinError> for StepError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(panics::of_task(error))
    }
}

impl StepError {
    /// The error of a checkout with its pace of retries: after the interval if an earlier try cannot succeed.
    pub(super) fn of_checkout(source: flux_git::Error, interval: Duration) -> Self {
        if source.is_too_large() {
            Self::TooLarge { source, interval }
        } else {
            Self::Checkout(source)
        }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        use StepError as E;
        let back_off = |reason, error| Self::retry(reason, error, Pace::BackOff);
        match error {
            E::Selector(_) => Self::stalled(R::InvalidPolicySelector, error),
            E::Denied(_) => Self::stalled(R::AccessDenied, error),
            E::SourceKind(_) | E::NoGit | E::Refspec(_) | E::Provider(_) => {
                Self::stalled(R::InvalidSourceConfiguration, error)
            }
            E::Source(_) => back_off(R::SourceManagerFailed, error),
            E::TooLarge { interval, .. } => {
                Self::retry(R::GitOperationFailed, error, Pace::Exactly(interval))
            }
            E::Checkout(_) | E::Empty | E::Message(_) | E::Commit(_) | E::Push(_) => {
                back_off(R::GitOperationFailed, error)
            }
            E::NoStrategy | E::Strategy(_) => Self::stalled(R::InvalidUpdateStrategy, error),
            E::Policies(_) | E::Files(_) => back_off(R::UpdateFailed, error),
            E::RemovedField(_) => Self::stalled(R::RemovedTemplateField, error),
            E::Task(_) => back_off(R::Failed, error),
        }
    }
}

#[cfg(test)]
mod tests;
