//! The source of a Kustomization and its artifact (KC-SRC rows).

use std::sync::Arc;

use flux_api::kustomize::{Kustomization, SourceKind};
use flux_api::meta::Artifact;
use flux_api::source::{Bucket, ExternalArtifact, GitRepository, OCIRepository};
use flux_objects::{Error, Objects};
use flux_runtime::acl::{AccessDenied, check_cross_namespace};
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};

use super::plan::source_key;

/// The annotation of an artifact with the revision at its origin (KC-SRC-016).
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

/// A source kind, whose objects have an artifact.
pub(crate) trait Source: Resource<DynamicType = (), Scope = NamespaceResourceScope> {
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

/// The caches of all source kinds.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    pub(crate) buckets: Cache<Bucket>,
    pub(crate) external_artifacts: Cache<ExternalArtifact>,
    pub(crate) git_repositories: Cache<GitRepository>,
    pub(crate) oci_repositories: Cache<OCIRepository>,
    /// Set if sources are read from the API server each time (KC-PROC-038).
    pub(crate) direct: Option<Client>,
}

/// A source with its artifact.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) artifact: Artifact,
    pub(super) origin_revision: Option<String>,
}

/// The rules on which sources may be used.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Access {
    pub(crate) no_cross_namespace: bool,
    pub(crate) external_artifacts: bool,
}

/// Why the source cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Denied(#[from] AccessDenied),
    #[error("can't access '{kind}/{key}', ExternalArtifact feature gate is disabled")]
    GateDisabled { kind: &'static str, key: Key },
    #[error("unable to get source '{0}'")]
    Unavailable(Key, #[source] Error),
    /// The text is upstream's: from its cache the kind, from the API server the resource.
    #[error("{resource}.source.toolkit.fluxcd.io \"{name}\" not found")]
    NotFound { resource: String, name: String },
    #[error("source `{0}` kind '{1}' not supported")]
    Kind(String, String),
    #[error("Source artifact not found")]
    NoArtifact,
}

impl Sources {
    /// Finds the source of `object` and its artifact (KC-SRC-001..006).
    pub(super) async fn resolve(
        &self,
        object: &Kustomization,
        access: Access,
    ) -> Result<Resolved, SourceError> {
        let reference = &object.spec.source_ref;
        let key = source_key(object);
        check_cross_namespace(
            access.no_cross_namespace,
            object.metadata.namespace.as_deref().unwrap_or_default(),
            (reference.kind.as_str(), &key.namespace, &key.name),
        )?;
        let artifact = match &reference.kind {
            SourceKind::ExternalArtifact if !access.external_artifacts => {
                return Err(SourceError::GateDisabled {
                    kind: "ExternalArtifact",
                    key,
                });
            }
            SourceKind::Bucket => self.artifact_of(&self.buckets, &key).await?,
            SourceKind::ExternalArtifact => {
                self.artifact_of(&self.external_artifacts, &key).await?
            }
            SourceKind::GitRepository => self.artifact_of(&self.git_repositories, &key).await?,
            SourceKind::OCIRepository => self.artifact_of(&self.oci_repositories, &key).await?,
            SourceKind::Other(kind) => return Err(SourceError::Kind(key.name, kind.clone())),
        };
        let artifact = artifact.ok_or(SourceError::NoArtifact)?;
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

/// The source as the log names it: with its namespace if the reference has one.
pub(super) fn shown(object: &Kustomization) -> String {
    let reference = &object.spec.source_ref;
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!(
        "{}/{namespace}{slash}{}",
        reference.kind.as_str(),
        reference.name
    )
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{CrossNamespaceSourceReference, KustomizationSpec};
    use flux_api::source::{GitRepositorySpec, GitRepositoryStatus};

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

    #[tokio::test]
    async fn a_source_resolves_to_its_artifact() {
        // KC-SRC-001, KC-SRC-016
        let artifact = Artifact {
            revision: "main@sha1:1".into(),
            metadata: [(ORIGIN_REVISION.to_owned(), "v1@sha1:2".to_owned())].into(),
            ..Artifact::default()
        };
        let resolved = sources(Some(artifact))
            .resolve(&from(SourceKind::GitRepository, None), OPEN)
            .await
            .unwrap();
        assert_eq!(resolved.artifact.revision, "main@sha1:1");
        assert_eq!(resolved.origin_revision.as_deref(), Some("v1@sha1:2"));
    }

    #[tokio::test]
    async fn a_missing_source_and_a_missing_artifact_are_distinguished() {
        // KC-SRC-002, KC-SRC-006
        let of = async |kind| {
            let found = sources(None).resolve(&from(kind, None), OPEN).await;
            found.unwrap_err()
        };
        let without = of(SourceKind::GitRepository).await;
        assert!(matches!(without, SourceError::NoArtifact), "{without}");
        let missing = of(SourceKind::Bucket).await;
        assert!(
            matches!(missing, SourceError::NotFound { .. }),
            "{missing:?}"
        );
        assert_eq!(
            missing.to_string(),
            "Bucket.source.toolkit.fluxcd.io \"repo\" not found"
        );
    }

    #[tokio::test]
    async fn cross_namespace_access_can_be_denied() {
        // KC-SRC-004, KC-SRC-005, KC-PROC-019, KC-PROC-035
        let closed = Access {
            no_cross_namespace: true,
            ..OPEN
        };
        let denied = async |object: &Kustomization, access| {
            let found = sources(None).resolve(object, access).await;
            found.unwrap_err().to_string()
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

    #[test]
    fn the_log_names_a_source_like_its_reference() {
        // KC-SRC-002
        let shown = |namespace| shown(&from(SourceKind::GitRepository, namespace));
        assert_eq!(shown(None), "GitRepository/repo");
        assert_eq!(shown(Some("infra")), "GitRepository/infra/repo");
    }
}
