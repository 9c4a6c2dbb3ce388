//! Maps every error of a reconcile of a HelmChart to its conditions, event and retry: the table to compare with the ledger.

use std::io;
use std::time::Duration;

use flux_artifact::{ExtractError, StorageError};
use flux_budget::Exhausted;
use flux_chart::index::LookupError;
use flux_chart::{
    BuildMetadataError, LoadError, LocalDependencyError, LocalLoadError, MetadataError,
    PackageError, RepositoryUrlError, ValuesFileError,
};
use flux_publish::{
    FETCH_FAILED, InspectError, RemoveError, SOURCE_VERIFIED, STORAGE_OPERATION_FAILED, StoreError,
    WriteError,
};
use flux_references::ReadError;
use flux_registry::RegistryFault;
use flux_runtime::conditions::{ConditionType, Conditions, Status};
use flux_runtime::outcome::{Cause, Next, chain};
use flux_runtime::{Failure, Pace, panics};

use super::BUILD_FAILED;
use super::reason::ChartReason;
use crate::helm::access::AccessError;
use crate::helm::fetch::FetchError;
use crate::helm::http::{DownloadError, UrlError};
use crate::helm::indexes;
use crate::helm::oci::{PullError as OciPullError, VersionError, is_authentication};
use crate::signatures::SignatureFault;

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error("failed to get source")]
    Source(#[from] ReadError),
    #[error(
        "failed to get source: unsupported source kind '{0}', must be one of: [HelmRepository GitRepository Bucket]"
    )]
    SourceKind(String),

    #[error("failed to create temporary working directory")]
    WorkDirectory(#[source] io::Error),
    #[error("failed to open source artifact")]
    Open(#[source] StorageError),
    #[error("artifact untar error")]
    Untar(#[source] ExtractError),
    #[error("failed to read source artifact")]
    ReadSource(#[source] SourceFault),
    #[error(transparent)]
    Url(#[from] UrlError),
    #[error("failed to construct Helm client: invalid OCI registry URL: {0}")]
    OciUrl(String),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("failed to construct Helm client")]
    Client(#[source] flux_http::BuildError),
    #[error("failed to verify the signature using provider '{provider}'")]
    Verifier {
        provider: String,
        #[source]
        source: Box<SignatureFault>,
    },
    #[error("failed to authenticate with the Helm repository")]
    Authentication(#[source] Box<BuildError>),
    #[error(transparent)]
    Build(Box<BuildError>),
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
    #[error("unable to copy Helm chart to storage")]
    Copy(#[source] WriteError),
    #[error("garbage collection for deleted resource failed")]
    Collect(#[from] RemoveError),
    #[error("a task of the reconcile ended early: {0}")]
    Task(String),
}

/// Why a chart is not built (SC-HCHART-084).
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error("invalid chart reference")]
    Reference(#[from] ReferenceError),
    #[error("chart pull error")]
    Pull(#[from] PullError),
    #[error("chart metadata patch error")]
    Metadata(#[from] BuildMetadataError),
    #[error("values files merge error")]
    Values(#[from] ValuesError),
    #[error("dependency build error")]
    Dependencies(#[from] DependencyError),
    #[error("chart package error")]
    Package(#[from] PackError),
    #[error("chart verification error")]
    Verification(#[from] VerificationError),
}

/// Why there is no such chart.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReferenceError {
    #[error("no name set for remote chart reference")]
    NoName,
    #[error(
        "invalid chart name '{0}': a valid name must be lower case letters and numbers and MAY be separated with dashes (-), slashes (/) or periods (.)"
    )]
    Name(String),
    #[error("no path set for local chart reference")]
    NoPath,
    #[error("local chart reference path is expected to be relative")]
    Absolute,
    #[error("failed to get chart version for remote reference")]
    Lookup(#[source] LookupError),
    #[error(transparent)]
    Metadata(#[from] MetadataFault),
    #[error(transparent)]
    Invalid(LoadError),
}

/// Why the metadata of an archive or folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum MetadataFault {
    #[error("size of chart '{name}' exceeds '{limit}' bytes limit")]
    TooLarge { name: String, limit: i64 },
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Why a chart cannot be pulled.
#[derive(Debug, thiserror::Error)]
pub(super) enum PullError {
    #[error("failed to get chart version for remote reference")]
    Version(#[source] ExternalError),
    #[error("failed to download chart for remote reference")]
    Download(#[source] DownloadFault),
    #[error("failed to load chart metadata from written chart")]
    Metadata(#[source] MetadataFault),
    #[error("failed to validate metadata of written chart")]
    Invalid(#[source] LoadError),
}

/// Why the versions of a chart are unknown.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExternalError {
    #[error("failed to cache index")]
    Fetch(#[source] FetchError),
    #[error("failed to load index: failed to load index")]
    Index(#[source] indexes::LoadError),
    #[error(transparent)]
    Registry(#[from] VersionError),
    #[error(transparent)]
    Client(flux_oci::Error),
}

/// Why the archive of a chart cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum DownloadFault {
    #[error("chart '{0}' has no downloadable URLs")]
    NoUrl(String),
    #[error(transparent)]
    Http(DownloadError),
    #[error(transparent)]
    Oci(OciPullError),
    #[error("the chart has more than {0} bytes")]
    TooLarge(u64),
}

/// Why values files cannot be merged.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValuesError {
    #[error("failed to merge chart values")]
    OfChart(#[source] ValuesFileError),
    #[error(transparent)]
    Files(ValuesFileError),
    #[error("could not read values from file '{path}'")]
    Read {
        path: String,
        #[source]
        source: SourceFault,
    },
}

/// Why files of a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceFault {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// Why dependencies cannot be added.
#[derive(Debug, thiserror::Error)]
pub(super) enum DependencyError {
    #[error("failed to add local dependency '{name}'")]
    Local {
        name: String,
        #[source]
        source: LocalFault,
    },
    #[error("failed to add remote dependency '{name}'")]
    Remote {
        name: String,
        #[source]
        source: RemoteFault,
    },
}

/// Why a dependency of the same source cannot be added.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalFault {
    #[error(transparent)]
    Chart(#[from] LocalDependencyError),
    #[error(transparent)]
    Source(#[from] SourceFault),
}

/// Why a dependency of a repository cannot be added.
#[derive(Debug, thiserror::Error)]
pub(super) enum RemoteFault {
    #[error(transparent)]
    Url(#[from] RepositoryUrlError),
    #[error("failed to get chart repository for URL '{url}'")]
    Repository {
        url: String,
        #[source]
        source: Box<StepError>,
    },
    #[error("failed to get chart '{name}' version '{version}' from '{repository}'")]
    Version {
        name: String,
        version: String,
        repository: String,
        #[source]
        source: FindError,
    },
    #[error("chart download of version '{version}' failed")]
    Download {
        version: String,
        #[source]
        source: DownloadFault,
    },
    #[error("failed to load downloaded archive of version '{version}'")]
    Load {
        version: String,
        #[source]
        source: ArchiveFault,
    },
}

/// Why no version of a chart is found.
#[derive(Debug, thiserror::Error)]
pub(super) enum FindError {
    #[error(transparent)]
    Reference(#[from] LookupError),
    #[error(transparent)]
    External(#[from] ExternalError),
}

impl From<FindError> for BuildError {
    fn from(error: FindError) -> Self {
        match error {
            FindError::Reference(error) => ReferenceError::Lookup(error).into(),
            FindError::External(error) => PullError::Version(error).into(),
        }
    }
}

/// Why an archive cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArchiveFault {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Memory(#[from] Exhausted),
    #[error("a task of the reconcile ended early: {0}")]
    Task(String),
}

impl From<tokio::task::JoinError> for ArchiveFault {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(panics::of_task(error))
    }
}

/// Why a chart cannot be loaded or packed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PackError {
    #[error("failed to load downloaded chart")]
    Downloaded(#[source] ArchiveFault),
    #[error(transparent)]
    Load(#[from] LocalLoadError),
    #[error("failed to package chart")]
    Package(#[source] PackageError),
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// Why a chart is not verified.
#[derive(Debug, thiserror::Error)]
pub(super) enum VerificationError {
    #[error("not implemented")]
    NotImplemented,
    #[error("failed to verify {reference}")]
    Resolve {
        reference: String,
        #[source]
        source: OciPullError,
    },
    #[error("failed to verify {reference}")]
    Signature {
        reference: String,
        #[source]
        source: Box<SignatureFault>,
    },
}

impl From<tokio::task::JoinError> for StepError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(panics::of_task(error))
    }
}

macro_rules! of_build {
    ($($error:ty),+) => {$(
        impl From<$error> for StepError {
            fn from(error: $error) -> Self {
                Self::Build(Box::new(error.into()))
            }
        }
    )+};
}
of_build!(
    BuildError,
    BuildMetadataError,
    DependencyError,
    FindError,
    PackError,
    PullError,
    ReferenceError,
    ValuesError,
    VerificationError
);

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Directory(error) => Self::ArtifactDirectory(error),
            StoreError::Lock(error) => Self::Lock(error),
            StoreError::Rules(error) => Self::Copy(io::Error::other(error).into()),
            StoreError::Write(error) => Self::Copy(error),
        }
    }
}

impl DownloadFault {
    fn registry(&self) -> Option<&RegistryFault> {
        match self {
            Self::Oci(OciPullError::Registry { source, .. }) => Some(source),
            _ => None,
        }
    }

    fn is_authentication(&self) -> bool {
        match self {
            Self::Http(error) => error.is_authentication(),
            other => other
                .registry()
                .and_then(RegistryFault::registry)
                .is_some_and(is_authentication),
        }
    }
}

impl BuildError {
    /// The error of a registry, if it is one.
    fn registry(&self) -> Option<&flux_oci::Error> {
        match self {
            Self::Pull(PullError::Download(fault)) => fault.registry()?.registry(),
            Self::Pull(PullError::Version(ExternalError::Registry(VersionError::Tags {
                source,
                ..
            }))) => source.registry(),
            Self::Verification(VerificationError::Resolve {
                source: OciPullError::Registry { source, .. },
                ..
            }) => source.registry(),
            Self::Verification(VerificationError::Signature { source, .. }) => match &**source {
                SignatureFault::Registry(error) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the repository does not accept the credentials, or has no trusted certificate (SC-HCHART-028,
    /// SC-HCHART-029).
    fn is_authentication(&self) -> bool {
        match self {
            Self::Pull(PullError::Download(fault)) => fault.is_authentication(),
            other => other
                .registry()
                .is_some_and(crate::helm::oci::is_authentication),
        }
    }

    /// Whether the chart needs more memory than there is, so that an earlier retry is pointless.
    fn is_too_large(&self) -> bool {
        let memory = match self {
            Self::Pull(
                PullError::Download(DownloadFault::Http(DownloadError::Memory(exhausted)))
                | PullError::Version(ExternalError::Index(indexes::LoadError::Index(
                    flux_chart::index::IndexError::Memory(exhausted),
                ))),
            )
            | Self::Package(
                PackError::Memory(exhausted)
                | PackError::Downloaded(ArchiveFault::Memory(exhausted)),
            )
            | Self::Values(
                ValuesError::Read {
                    source: SourceFault::Memory(exhausted),
                    ..
                }
                | ValuesError::OfChart(ValuesFileError::Memory(exhausted))
                | ValuesError::Files(ValuesFileError::Memory(exhausted)),
            ) => Some(exhausted),
            _ => None,
        };
        memory.is_some_and(Exhausted::is_too_large)
            || self.registry().is_some_and(flux_oci::Error::is_too_large)
    }

    fn reason(&self) -> ChartReason {
        use ChartReason as R;
        match self {
            Self::Reference(_) => R::InvalidChartReference,
            Self::Pull(_) => R::ChartPullError,
            Self::Metadata(_) => R::MetadataPatchError,
            Self::Values(_) => R::ValuesFilesError,
            Self::Dependencies(_) => R::DependencyBuildError,
            Self::Package(_) => R::ChartPackageError,
            Self::Verification(_) => R::ChartVerificationError,
        }
    }

    /// Whether only a change of the spec or the source helps (SC-HCHART-084).
    fn is_persistent(&self) -> bool {
        matches!(
            self,
            Self::Reference(_) | Self::Metadata(_) | Self::Values(_)
        )
    }

    /// The condition that it sets (SC-HCHART-083).
    fn condition(&self) -> ConditionType {
        match self {
            Self::Reference(_) | Self::Pull(_) => FETCH_FAILED,
            _ => BUILD_FAILED,
        }
    }
}

impl StepError {
    /// The error of a build from a HelmRepository: one of its authentication is not about the build (SC-HCHART-028).
    pub(super) fn of_repository(self) -> Self {
        match self {
            Self::Build(error) if error.is_authentication() => Self::Authentication(error),
            other => other,
        }
    }

    /// The same error with its pace of retries: after the interval if an earlier try cannot succeed, and not before the
    /// registry wants to be asked again.
    pub(super) fn retried_after(self, interval: Duration) -> Self {
        let build = match &self {
            Self::Build(error) | Self::Authentication(error) if !error.is_persistent() => error,
            _ => return self,
        };
        let wait = if build.is_too_large() {
            Some(interval)
        } else {
            let asked = build.registry().and_then(flux_oci::Error::retry_after);
            asked.filter(|wait| !wait.is_zero())
        };
        match wait {
            Some(wait) => Self::Later {
                error: Box::new(self),
                wait,
            },
            None => self,
        }
    }

    /// Sets the conditions of a failed build (SC-HCHART-083, SC-HCHART-085, SC-HCHART-096). What is no error of the build
    /// itself has the reason `Unknown` there, whatever the event says.
    pub(super) fn observe(&self, conditions: &mut Conditions) {
        let build = match self {
            Self::Later { error, .. } => return error.observe(conditions),
            Self::Build(error) => error,
            other => {
                if let Self::Verifier { .. } = other {
                    let message = chain(other);
                    let reason = ChartReason::VerificationError;
                    conditions.set(SOURCE_VERIFIED, Status::False, reason, message);
                }
                let message = format!("unknown build error: {}", chain(other));
                conditions.remove(BUILD_FAILED);
                conditions.set(FETCH_FAILED, Status::True, ChartReason::Unknown, message);
                return;
            }
        };
        let message = chain(&**build);
        let condition = build.condition();
        for other in [FETCH_FAILED, BUILD_FAILED] {
            if other != condition {
                conditions.remove(other);
            }
        }
        if let BuildError::Verification(_) = **build {
            let reason = ChartReason::VerificationError;
            conditions.set(SOURCE_VERIFIED, Status::False, reason, &message);
        }
        conditions.set(condition, Status::True, build.reason(), message);
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        use {ChartReason as R, StepError as E};
        match error {
            E::Later { error, wait } => {
                let failure = Self::from(*error);
                Self {
                    next: Next::Retry(Pace::Exactly(wait)),
                    ..failure
                }
            }
            E::Inspect(_) | E::Task(_) => retry(R::Failed, error).quietly(),
            E::Source(_) => retry(R::SourceUnavailable, error).marking(FETCH_FAILED),
            E::SourceKind(_) => Self::stalled(R::UnsupportedSourceKind, error),

            // Their conditions are set by `observe`.
            E::WorkDirectory(_) => retry(R::DirectoryCreationFailed, error),
            E::Open(_) => retry(R::ReadOperationFailed, error),
            E::Untar(_) | E::ReadSource(_) | E::Client(_) => retry(R::Failed, error),
            E::Url(UrlError::Parse(_)) => Self::stalled(R::URLInvalid, error),
            E::Url(UrlError::Scheme(_)) | E::OciUrl(_) => Self::stalled(R::Failed, error),
            E::Access(_) | E::Authentication(_) => retry(R::AuthenticationFailed, error),
            E::Verifier { .. } => retry(R::VerificationError, error),
            E::Build(build) => {
                let (reason, is_persistent) = (build.reason(), build.is_persistent());
                if is_persistent {
                    Self::stalled(reason, *build)
                } else {
                    retry(reason, *build)
                }
            }

            E::ArtifactDirectory(_) => {
                retry(R::DirectoryCreationFailed, error).marking(STORAGE_OPERATION_FAILED)
            }
            // SC-HCHART-088
            E::Lock(_) => retry(R::AcquireLockFailed, error).marking(STORAGE_OPERATION_FAILED),
            E::Copy(_) => retry(R::ArchiveOperationFailed, error).marking(STORAGE_OPERATION_FAILED),
            E::Collect(_) => retry(R::GarbageCollectionFailed, error),
        }
    }
}

fn retry(reason: ChartReason, cause: impl Into<Cause>) -> Failure {
    Failure::retry(reason, cause, Pace::BackOff)
}

#[cfg(test)]
mod tests;
