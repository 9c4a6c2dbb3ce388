//! Maps every error of a reconcile of an OCIRepository to its condition, event and retry: the table to compare with the
//! ledger.

use std::time::Duration;
use std::{fmt, io};

use flux_artifact::{ExtractError, RulesError, StorageError};
use flux_http::BuildError;
use flux_oci::{BlobError, DigestError, NameError};
use flux_publish::{
    FETCH_FAILED, InspectError, RemoveError, SOURCE_VERIFIED, STORAGE_OPERATION_FAILED, StoreError,
    WriteError,
};
use flux_registry::{CredentialError, RegistryFault};
use flux_runtime::outcome::Cause;
use flux_runtime::{Failure, Pace, panics};
use flux_semver::ConstraintError;

use super::reason::OCIReason;
use crate::secrets::ReferredError;
use crate::signatures::SignatureFault;

/// The URL of a spec without user information: it may be shown before anything has looked at it.
#[derive(Clone, Debug)]
pub(super) struct ShownUrl(String);

impl ShownUrl {
    pub(super) fn new(url: &str) -> Self {
        Self(flux_http::shown_text(url))
    }
}

impl fmt::Display for ShownUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("failed to create temporary working directory")]
    WorkDirectory(#[source] io::Error),
    #[error(transparent)]
    Inspect(#[from] InspectError),

    #[error("failed to get credential")]
    Credential(#[from] CredentialError),
    #[error("failed to get proxy address")]
    Proxy(#[source] ReferredError),
    #[error("failed to get credential from {provider}")]
    Provider {
        provider: &'static str,
        #[source]
        source: BuildError,
    },
    #[error("failed to generate transport for '{url}'")]
    Transport {
        url: ShownUrl,
        #[source]
        source: Box<TransportError>,
    },
    #[error("URL validation failed for '{url}'")]
    Url {
        url: ShownUrl,
        #[source]
        source: UrlFault,
    },
    #[error("failed to determine the artifact tag for '{url}'")]
    Tag {
        url: ShownUrl,
        #[source]
        source: TagError,
    },
    #[error("failed to determine artifact digest")]
    Digest(#[source] DigestFault),

    #[error("failed to verify the signature using provider '{provider}'")]
    Signature {
        provider: String,
        #[source]
        source: Box<SignatureFault>,
    },

    #[error("failed to pull artifact from '{url}'")]
    Pull {
        url: ShownUrl,
        #[source]
        source: RegistryFault,
    },
    #[error("failed to parse artifact manifest")]
    Manifest(#[source] LayerError),
    #[error("the annotations of the artifact have {bytes} bytes, and {limit} at most are kept")]
    Annotations { bytes: usize, limit: usize },
    #[error("no layers found in artifact")]
    NoLayers,
    #[error("failed to find layer with media type '{0}' in artifact")]
    LayerMissing(String),
    #[error("failed to extract the first layer from artifact")]
    FirstLayer(#[source] LayerError),
    #[error("failed to extract layer contents from artifact")]
    Extract(#[source] LayerError),
    #[error("failed to copy layer from artifact")]
    Copy(#[source] LayerError),
    #[error("unsupported layer operation: {0}")]
    Operation(String),
    /// An earlier retry cannot succeed, or is not wanted by the registry.
    #[error("{error}")]
    Later {
        error: Box<StepError>,
        wait: Duration,
    },

    #[error("failed to create artifact directory")]
    ArtifactDirectory(#[source] StorageError),
    #[error("failed to acquire lock for artifact")]
    Lock(#[source] StorageError),
    #[error("failed to load source ignore patterns from repository")]
    Rules(#[source] RulesError),
    #[error("unable to archive artifact to storage")]
    Archive(#[source] WriteError),
    #[error("unable to copy artifact to storage")]
    CopyToStorage(#[source] WriteError),
    #[error("garbage collection for deleted resource failed")]
    Collect(#[from] RemoveError),
    #[error("a task of the reconcile ended early: {0}")]
    Task(String),
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error(transparent)]
    Secret(#[from] ReferredError),
    #[error(transparent)]
    Client(#[from] flux_oci::Error),
}

/// Why a URL is no repository.
#[derive(Debug, thiserror::Error)]
pub(super) enum UrlFault {
    #[error("URL must be in format 'oci://<domain>/<org>/<repo>'")]
    Scheme,
    #[error("URL must not contain a tag; remove ':{0}'")]
    Tag(String),
    #[error(transparent)]
    Name(NameError),
}

/// Why there is no tag.
#[derive(Debug, thiserror::Error)]
pub(super) enum TagError {
    #[error(transparent)]
    Registry(RegistryFault),
    #[error("{0}")]
    Filter(String),
    #[error("semver '{range}' parse error")]
    Range {
        range: String,
        #[source]
        source: ConstraintError,
    },
    #[error("no match found for semver: {0}")]
    NoMatch(String),
}

/// Why there is no digest.
#[derive(Debug, thiserror::Error)]
pub(super) enum DigestFault {
    #[error(transparent)]
    Registry(RegistryFault),
    #[error(transparent)]
    Digest(DigestError),
    #[error(transparent)]
    Name(NameError),
}

/// Why there is no layer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayerError {
    #[error(transparent)]
    Registry(RegistryFault),
    #[error(transparent)]
    Blob(BlobError),
    #[error(transparent)]
    Archive(ExtractError),
    #[error("failed to write a temporary file")]
    File(#[source] io::Error),
    #[error("the layer has {size} bytes, and {limit} at most are pulled")]
    TooLarge { size: u64, limit: u64 },
}

impl LayerError {
    /// Whether the layer is larger than it may be, whatever else this process holds.
    fn is_too_large(&self) -> bool {
        match self {
            Self::Registry(RegistryFault::Registry(error)) => error.is_too_large(),
            Self::Archive(ExtractError::Memory(exhausted)) => exhausted.is_too_large(),
            Self::Archive(ExtractError::TooLarge(_) | ExtractError::TooMany(_))
            | Self::TooLarge { .. } => true,
            _ => false,
        }
    }
}

impl From<tokio::task::JoinError> for StepError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(panics::of_task(error))
    }
}

impl From<tokio::task::JoinError> for SignatureFault {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(panics::of_task(error))
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

impl StepError {
    /// The error of storing a layer as it is.
    pub(super) fn of_copy(error: StoreError) -> Self {
        match error {
            StoreError::Write(error) => Self::CopyToStorage(error),
            other => other.into(),
        }
    }

    /// The error of the registry, if it is one.
    fn registry(&self) -> Option<&flux_oci::Error> {
        let fault = match self {
            Self::Signature { source, .. } => match &**source {
                SignatureFault::Registry(error) => return Some(error),
                _ => return None,
            },
            Self::Tag {
                source: TagError::Registry(fault),
                ..
            }
            | Self::Digest(DigestFault::Registry(fault))
            | Self::Pull { source: fault, .. }
            | Self::FirstLayer(LayerError::Registry(fault)) => fault,
            _ => return None,
        };
        fault.registry()
    }

    /// The same error with its pace of retries: after the interval if an earlier try cannot succeed, and not before the
    /// registry wants to be asked again.
    pub(super) fn retried_after(self, interval: Duration) -> Self {
        let too_large = match &self {
            Self::Extract(error) | Self::Copy(error) | Self::FirstLayer(error) => {
                error.is_too_large()
            }
            _ => false,
        };
        let registry = self.registry();
        let wait = if too_large || registry.is_some_and(flux_oci::Error::is_too_large) {
            Some(interval)
        } else {
            // SC-OCI-051
            registry
                .and_then(flux_oci::Error::retry_after)
                .filter(|wait| !wait.is_zero())
        };
        match wait {
            Some(wait) => Self::Later {
                error: Box::new(self),
                wait,
            },
            None => self,
        }
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        use OCIReason as R;
        use StepError as E;
        match error {
            E::Later { error, wait } => {
                let failure = Self::from(*error);
                Self {
                    next: flux_runtime::outcome::Next::Retry(Pace::Exactly(wait)),
                    ..failure
                }
            }
            E::WorkDirectory(_) | E::ArtifactDirectory(_) => {
                retry(R::DirectoryCreationFailed, error).marking(STORAGE_OPERATION_FAILED)
            }
            E::Inspect(_) | E::Task(_) => retry(R::Failed, error).quietly(),

            E::Credential(_) | E::Proxy(_) | E::Provider { .. } | E::Transport { .. } => {
                retry(R::AuthenticationFailed, error).marking(FETCH_FAILED)
            }
            E::Url { .. } => Self::stalled(R::URLInvalid, error).marking(FETCH_FAILED),
            E::Tag { .. } => retry(R::ReadOperationFailed, error).marking(FETCH_FAILED),
            E::Digest(_) | E::Pull { .. } => {
                retry(R::OCIArtifactPullFailed, error).marking(FETCH_FAILED)
            }

            E::Signature { .. } => {
                retry(R::VerificationError, error).marking_false(SOURCE_VERIFIED)
            }

            E::Manifest(_)
            | E::Annotations { .. }
            | E::NoLayers
            | E::LayerMissing(_)
            | E::FirstLayer(_)
            | E::Extract(_)
            | E::Copy(_)
            | E::Operation(_) => {
                retry(R::OCIArtifactLayerOperationFailed, error).marking(FETCH_FAILED)
            }

            E::Lock(_) => retry(R::Failed, error),
            E::Rules(_) => retry(R::SourceIgnoreError, error),
            E::Archive(_) | E::CopyToStorage(_) => {
                retry(R::ArchiveOperationFailed, error).marking(STORAGE_OPERATION_FAILED)
            }
            E::Collect(_) => retry(R::GarbageCollectionFailed, error),
        }
    }
}

fn retry(reason: OCIReason, cause: impl Into<Cause>) -> Failure {
    Failure::retry(reason, cause, Pace::BackOff)
}

#[cfg(test)]
mod tests;
