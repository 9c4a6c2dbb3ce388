//! The source of a Kustomization and its artifact (KC-SRC rows).

use std::sync::Arc;

use flux_api::kustomize::{Kustomization, SourceKind};
use flux_api::meta::Artifact;
use flux_api::source::{Bucket, ExternalArtifact, GitRepository, OCIRepository};
use flux_objects::{Error, Objects};
use flux_runtime::acl::{AccessDenied, check_cross_namespace};
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use flux_runtime::{Failure, Pace};
use kube::{Client, Resource, ResourceExt};

use super::plan::{Timings, source_namespace, unobserved};

/// The annotation of an artifact that names its revision at its origin (KC-SRC-016).
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

/// A kind that has an artifact.
pub(crate) trait Source:
    Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
{
    fn artifact(&self) -> Option<&Artifact>;
}

macro_rules! source {
    ($($kind:ty),+) => {$(
        impl Source for $kind {
            fn artifact(&self) -> Option<&Artifact> {
                self.status.as_ref()?.artifact.as_ref()
            }
        }
    )+};
}
source!(Bucket, ExternalArtifact, GitRepository, OCIRepository);

/// The sources of all kinds as last seen.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    pub(crate) buckets: Cache<Bucket>,
    pub(crate) external_artifacts: Cache<ExternalArtifact>,
    pub(crate) git_repositories: Cache<GitRepository>,
    pub(crate) oci_repositories: Cache<OCIRepository>,
    /// Set where sources are read from the API server each time (KC-PROC-038).
    pub(crate) direct: Option<Client>,
}

/// What a Kustomization is built from.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) artifact: Artifact,
    pub(crate) origin_revision: Option<String>,
}

/// What decides whether a source may be used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access {
    pub(crate) no_cross_namespace: bool,
    pub(crate) external_artifacts: bool,
}

#[derive(Debug, thiserror::Error)]
enum SourceError {
    #[error("unable to get source '{0}'")]
    Unavailable(Key, #[source] Error),
    /// In the words of upstream: its cache names the kind, its API server the resource.
    #[error("{resource}.source.toolkit.fluxcd.io \"{name}\" not found")]
    NotFound { resource: String, name: String },
    #[error("source `{0}` kind '{1}' not supported")]
    Kind(String, String),
    #[error("can't access '{kind}/{key}', ExternalArtifact feature gate is disabled")]
    GateDisabled { kind: &'static str, key: Key },
}

impl Sources {
    /// The artifact that `object` is built from. Fails with Waiting while there is none (KC-SRC-001..006).
    pub(crate) async fn resolve(
        &self,
        object: &Kustomization,
        access: Access,
        requeue_dependency: std::time::Duration,
    ) -> Result<Resolved, Failure> {
        let retry = Timings::of(object).retry;
        let reference = &object.spec.source_ref;
        let key = Key::new(source_namespace(object), reference.name.clone());
        let own = object.namespace().unwrap_or_default();
        let kind = reference.kind.as_str();
        check_cross_namespace(
            access.no_cross_namespace,
            &own,
            (kind, &key.namespace, &key.name),
        )
        .map_err(|denied: AccessDenied| unobserved("AccessDenied", denied))?;
        if reference.kind == SourceKind::ExternalArtifact && !access.external_artifacts {
            return Err(unobserved(
                "AccessDenied",
                SourceError::GateDisabled {
                    kind: "ExternalArtifact",
                    key,
                },
            ));
        }
        let found = match reference.kind {
            SourceKind::Bucket => self.artifact_of(&self.buckets, &key).await,
            SourceKind::ExternalArtifact => self.artifact_of(&self.external_artifacts, &key).await,
            SourceKind::GitRepository => self.artifact_of(&self.git_repositories, &key).await,
            SourceKind::OCIRepository => self.artifact_of(&self.oci_repositories, &key).await,
            SourceKind::Other(_) => Err(SourceError::Kind(key.name.clone(), kind.to_owned())),
        };
        match found {
            Ok(Some(artifact)) => {
                let origin_revision = artifact
                    .metadata
                    .get(ORIGIN_REVISION)
                    .filter(|text| !text.is_empty())
                    .cloned();
                Ok(Resolved {
                    artifact,
                    origin_revision,
                })
            }
            Ok(None) => {
                let wait = flux_api::meta::GoDuration::from(requeue_dependency);
                let message = format!("Source artifact not found, retrying in {wait}");
                Err(Failure::waiting(
                    "ArtifactFailed",
                    message,
                    requeue_dependency,
                ))
            }
            Err(error @ SourceError::NotFound { .. }) => {
                tracing::info!(
                    "Source '{kind}/{}{}' not found",
                    namespace_prefix(object),
                    reference.name
                );
                Err(Failure::waiting("ArtifactFailed", error, retry).logged())
            }
            Err(error) => Err(Failure::retry("ArtifactFailed", error, Pace::BackOff).quietly()),
        }
    }

    async fn artifact_of<S>(
        &self,
        cache: &Cache<S>,
        key: &Key,
    ) -> Result<Option<Artifact>, SourceError>
    where
        S: Source + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
    {
        let found: Option<Arc<S>> = match &self.direct {
            None => cache.get(key),
            Some(client) => {
                let read = async {
                    let sources = Objects::<S>::in_namespace(client.clone(), &key.namespace)?;
                    sources.get_opt(&key.name).await
                };
                let found = read.await;
                found
                    .map_err(|error| SourceError::Unavailable(key.clone(), error))?
                    .map(Arc::new)
            }
        };
        match found {
            Some(source) => Ok(source.artifact().cloned()),
            None => Err(SourceError::NotFound {
                resource: match self.direct {
                    None => S::kind(&()),
                    Some(_) => S::plural(&()),
                }
                .into_owned(),
                name: key.name.clone(),
            }),
        }
    }
}

fn namespace_prefix(object: &Kustomization) -> String {
    let namespace = object
        .spec
        .source_ref
        .namespace
        .as_deref()
        .filter(|namespace| !namespace.is_empty());
    namespace
        .map(|namespace| format!("{namespace}/"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use flux_api::kustomize::{CrossNamespaceSourceReference, KustomizationSpec};
    use flux_api::source::{GitRepositorySpec, GitRepositoryStatus};
    use flux_runtime::outcome::Next;

    use super::*;

    fn from(kind: SourceKind, namespace: Option<&str>) -> Kustomization {
        let source_ref = CrossNamespaceSourceReference {
            kind,
            name: "repo".into(),
            namespace: namespace.map(Into::into),
            ..CrossNamespaceSourceReference::default()
        };
        let interval = "10m".parse().unwrap();
        let spec = KustomizationSpec {
            source_ref,
            interval,
            ..KustomizationSpec::default()
        };
        let mut object = Kustomization::new("apps", spec);
        object.metadata.namespace = Some("apps".into());
        object
    }

    fn sources(artifact: Option<Artifact>) -> Sources {
        let sources = Sources::default();
        let mut repository = GitRepository::new("repo", GitRepositorySpec::default());
        repository.metadata.namespace = Some("apps".into());
        repository.status = Some(GitRepositoryStatus {
            artifact,
            ..GitRepositoryStatus::default()
        });
        sources.git_repositories.upsert(repository);
        sources
    }

    const OPEN: Access = Access {
        no_cross_namespace: false,
        external_artifacts: false,
    };
    const WAIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn an_artifact_is_all_that_is_asked_for() {
        // KC-SRC-001, KC-SRC-016
        let artifact = Artifact {
            revision: "main@sha1:1".into(),
            metadata: [(ORIGIN_REVISION.to_owned(), "v1@sha1:2".to_owned())].into(),
            ..Artifact::default()
        };
        let resolved = sources(Some(artifact))
            .resolve(&from(SourceKind::GitRepository, None), OPEN, WAIT)
            .await
            .unwrap();
        assert_eq!(resolved.artifact.revision, "main@sha1:1");
        assert_eq!(resolved.origin_revision.as_deref(), Some("v1@sha1:2"));
    }

    #[tokio::test]
    async fn sources_that_are_not_there_are_waited_for() {
        // KC-SRC-002, KC-SRC-006
        let waits = async |sources: Sources, kind| {
            let failure = sources
                .resolve(&from(kind, None), OPEN, WAIT)
                .await
                .unwrap_err();
            (failure.reason, failure.cause.to_string(), failure.next)
        };
        assert_eq!(
            waits(sources(None), SourceKind::GitRepository).await,
            (
                "ArtifactFailed",
                "Source artifact not found, retrying in 30s".to_owned(),
                Next::Waiting(WAIT)
            )
        );
        assert_eq!(
            waits(sources(None), SourceKind::Bucket).await,
            (
                "ArtifactFailed",
                "Bucket.source.toolkit.fluxcd.io \"repo\" not found".to_owned(),
                Next::Waiting(Duration::from_mins(10))
            )
        );
    }

    #[tokio::test]
    async fn access_may_be_denied() {
        // KC-SRC-004, KC-SRC-005, KC-PROC-019, KC-PROC-035
        let closed = Access {
            no_cross_namespace: true,
            ..OPEN
        };
        let denied = async |object: &Kustomization, access| {
            let failure = sources(None)
                .resolve(object, access, WAIT)
                .await
                .unwrap_err();
            assert_eq!(failure.reason, "AccessDenied");
            assert_eq!(
                failure.next,
                Next::Stalled {
                    generation_observed: false
                }
            );
            failure.cause.to_string()
        };
        assert_eq!(
            denied(&from(SourceKind::GitRepository, Some("infra")), closed).await,
            "can't access 'GitRepository/infra/repo', cross-namespace references have been blocked"
        );
        assert_eq!(
            denied(&from(SourceKind::ExternalArtifact, None), OPEN).await,
            "can't access 'ExternalArtifact/apps/repo', ExternalArtifact feature gate is disabled"
        );
    }
}
