//! The source of a Kustomization and its artifact (KC-SRC rows).

use flux_api::kustomize::{Kustomization, SourceKind};
use flux_api::meta::Artifact;
use flux_references::{ObjectRef, ReadError, Sources, origin_revision};
use flux_runtime::queue::Key;
use flux_tenancy::{Access, AccessDenied};

use super::plan::source_reference;

/// A source with its artifact.
#[derive(Clone, Debug)]
pub(super) struct Resolved {
    pub(super) artifact: Artifact,
    pub(super) origin_revision: Option<String>,
}

/// Why the source cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Denied(#[from] AccessDenied),
    #[error("unable to get source '{0}'")]
    Unavailable(Key, #[source] ReadError),
    #[error(transparent)]
    NotFound(ReadError),
    #[error("source `{0}` kind '{1}' not supported")]
    Kind(String, String),
    #[error("Source artifact not found")]
    NoArtifact,
}

/// Finds the source of `object` and its artifact (KC-SRC-001..006).
pub(super) async fn resolve(
    sources: &Sources,
    object: &Kustomization,
    access: Access,
) -> Result<Resolved, SourceError> {
    let source = source_reference(object);
    check(object, &source, access)?;
    let found = sources.artifact(&source).await;
    let artifact = found.map_err(|error| unavailable(source.key, error))?;
    let artifact = artifact.ok_or(SourceError::NoArtifact)?;
    Ok(Resolved {
        origin_revision: origin_revision(&artifact).map(str::to_owned),
        artifact,
    })
}

/// Whether the object may refer to its source.
fn check(object: &Kustomization, source: &ObjectRef, access: Access) -> Result<(), SourceError> {
    let own = object.metadata.namespace.as_deref().unwrap_or_default();
    access.check(own, &source.kind, &source.key)?;
    match &object.spec.source_ref.kind {
        SourceKind::Other(kind) => {
            let name = source.key.name.clone();
            Err(SourceError::Kind(name, kind.clone()))
        }
        _ => Ok(()),
    }
}

fn unavailable(key: Key, error: flux_references::SourceError) -> SourceError {
    use flux_references::SourceError as E;
    match error {
        E::Read(error) if error.is_not_found() => SourceError::NotFound(error),
        E::Read(error) => SourceError::Unavailable(key, error),
        E::Kind(kind) => SourceError::Kind(key.name, kind),
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
    use flux_api::source::{GitRepository, GitRepositorySpec, GitRepositoryStatus};

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
            metadata: [(
                "org.opencontainers.image.revision".to_owned(),
                "v1@sha1:2".to_owned(),
            )]
            .into(),
            ..Artifact::default()
        };
        let object = from(SourceKind::GitRepository, None);
        let resolved = resolve(&sources(Some(artifact)), &object, OPEN).await;
        let resolved = resolved.unwrap();
        assert_eq!(resolved.artifact.revision, "main@sha1:1");
        assert_eq!(resolved.origin_revision.as_deref(), Some("v1@sha1:2"));
    }

    #[tokio::test]
    async fn a_missing_source_and_a_missing_artifact_are_distinguished() {
        // KC-SRC-002, KC-SRC-006
        let of = async |kind| {
            let found = resolve(&sources(None), &from(kind, None), OPEN).await;
            found.unwrap_err()
        };
        let without = of(SourceKind::GitRepository).await;
        assert!(matches!(without, SourceError::NoArtifact), "{without}");
        let missing = of(SourceKind::Bucket).await;
        assert!(matches!(missing, SourceError::NotFound(_)), "{missing:?}");
        assert_eq!(
            missing.to_string(),
            "Bucket.source.toolkit.fluxcd.io \"repo\" not found"
        );
        // A kind that has artifacts, but that a Kustomization may not name.
        let other = of("HelmChart".into()).await;
        assert_eq!(
            other.to_string(),
            "source `repo` kind 'HelmChart' not supported"
        );
    }

    #[tokio::test]
    async fn cross_namespace_access_can_be_denied() {
        let closed = Access {
            no_cross_namespace: true,
            ..OPEN
        };
        let denied = async |object: &Kustomization, access| {
            let found = resolve(&sources(None), object, access).await;
            found.unwrap_err().to_string()
        };
        // KC-SRC-004, KC-PROC-019
        assert_eq!(
            denied(&from(SourceKind::GitRepository, Some("infra")), closed).await,
            "can't access 'GitRepository/infra/repo', cross-namespace references have been blocked"
        );
        // KC-SRC-005, KC-PROC-035
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
