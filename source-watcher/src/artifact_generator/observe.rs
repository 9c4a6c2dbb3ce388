//! The artifacts of the sources, as their statuses have them.

use std::collections::BTreeMap;

use flux_api::extensions::{ArtifactGenerator, SourceReference};
use flux_api::meta::Artifact;
use flux_references::{ObjectRef, ReadError, SourceError, Sources, key_in};
use flux_runtime::queue::Key;
use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};

/// The annotation and metadata key of the revision at the origin (SW-GEN-026).
pub(super) const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

/// The artifacts of the sources, by alias.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observed(pub(super) BTreeMap<String, Artifact>);

/// Why a source cannot be used yet (SW-GEN-061).
#[derive(Debug, thiserror::Error)]
pub(super) enum ObserveError {
    /// There is no such object.
    #[error(transparent)]
    Missing(ReadError),
    /// It could not be read.
    #[error("unable to get source '{key}'")]
    Read {
        key: Key,
        #[source]
        source: ReadError,
    },
    /// It has no artifact.
    #[error("source '{0}' is not ready")]
    NotReady(ObjectRef),
    /// Its kind has no artifacts.
    #[error("source `{name}` kind '{kind}' not supported")]
    Kind { name: String, kind: String },
}

/// The objects that a generator refers to: its sources.
pub(crate) fn references(object: &ArtifactGenerator) -> Vec<ObjectRef> {
    let own = object.namespace().unwrap_or_default();
    let sources = object.spec.sources.iter();
    sources.map(|source| reference(source, &own)).collect()
}

fn reference(source: &SourceReference, own: &str) -> ObjectRef {
    let key = key_in(source.namespace.as_deref(), own, &source.name);
    ObjectRef::new(source.kind.as_str().to_owned(), key)
}

/// Reads the artifacts of all sources. Only the artifact counts, not whether the source is ready (SW-GEN-060).
pub(super) async fn observe(
    sources: &Sources,
    object: &ArtifactGenerator,
) -> Result<Observed, ObserveError> {
    let own = object.namespace().unwrap_or_default();
    let mut observed = BTreeMap::new();
    for source in &object.spec.sources {
        let wanted = reference(source, &own);
        let found = sources
            .artifact(&wanted)
            .await
            .map_err(|error| match error {
                SourceError::Kind(kind) => ObserveError::Kind {
                    name: source.name.clone(),
                    kind,
                },
                SourceError::Read(error) if error.is_not_found() => ObserveError::Missing(error),
                SourceError::Read(source) => ObserveError::Read {
                    key: wanted.key.clone(),
                    source,
                },
            })?;
        let artifact = found.ok_or(ObserveError::NotReady(wanted))?;
        observed.insert(source.alias.clone(), artifact);
    }
    Ok(Observed(observed))
}

impl Observed {
    /// The digest over what the sources have (SW-GEN-063, SW-GEN-064).
    pub(super) fn digest(&self) -> String {
        let entries = self.0.iter().map(|(alias, artifact)| {
            format!(
                "{alias}=[digest={},revision={},url={}]",
                artifact.digest, artifact.revision, artifact.url
            )
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort();
        format!("sha256:{}", hex::encode(Sha256::digest(entries.join("|"))))
    }

    /// The revision of the source `@alias` (SW-GEN-101).
    pub(super) fn revision(&self, reference: &str) -> Option<&str> {
        let artifact = self.0.get(reference.trim_start_matches('@'))?;
        Some(&artifact.revision)
    }

    /// The revision at the origin of the source `@alias`, or the source's own where it is the origin (SW-GEN-103).
    pub(super) fn origin_revision(&self, reference: &str) -> Option<&str> {
        let artifact = self.0.get(reference.trim_start_matches('@'))?;
        let origin = artifact.metadata.get(ORIGIN_REVISION);
        let origin = origin.filter(|revision| !revision.is_empty());
        Some(origin.unwrap_or(&artifact.revision))
    }
}

#[cfg(test)]
mod tests {
    use flux_api::extensions::{ArtifactGeneratorSpec, GeneratorSourceKind};
    use flux_api::source::{GitRepository, GitRepositorySpec, GitRepositoryStatus};

    use super::*;

    fn artifact(revision: &str) -> Artifact {
        Artifact {
            digest: format!("sha256:{revision}"),
            revision: revision.to_owned(),
            url: format!("http://host/{revision}"),
            ..Artifact::default()
        }
    }

    fn generator(namespace: Option<&str>) -> ArtifactGenerator {
        let source = SourceReference {
            alias: "repo".to_owned(),
            kind: GeneratorSourceKind::GitRepository,
            name: "fleet".to_owned(),
            namespace: namespace.map(str::to_owned),
        };
        let spec = ArtifactGeneratorSpec {
            sources: vec![source],
            ..ArtifactGeneratorSpec::default()
        };
        let mut object = ArtifactGenerator::new("gen", spec);
        object.metadata.namespace = Some("apps".to_owned());
        object
    }

    // SW-GEN-060, SW-GEN-061
    #[tokio::test]
    async fn sources_need_an_artifact_and_nothing_else() {
        let sources = Sources::default();
        let error = observe(&sources, &generator(None)).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "GitRepository.source.toolkit.fluxcd.io \"fleet\" not found"
        );

        let mut repository = GitRepository::new("fleet", GitRepositorySpec::default());
        repository.metadata.namespace = Some("infra".to_owned());
        sources.git_repositories.upsert(repository.clone());
        let error = observe(&sources, &generator(Some("infra"))).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "source 'GitRepository/infra/fleet' is not ready"
        );

        repository.metadata.resource_version = Some("2".to_owned());
        repository.spec.suspend = true;
        repository.status = Some(GitRepositoryStatus {
            artifact: Some(artifact("a")),
            ..GitRepositoryStatus::default()
        });
        sources.git_repositories.upsert(repository);
        let observed = observe(&sources, &generator(Some("infra"))).await.unwrap();
        assert_eq!(observed.revision("@repo"), Some("a"));
    }

    // SW-GEN-063: computed by hand; SW-GEN-064
    #[test]
    fn the_digest_is_over_digests_revisions_and_urls() {
        let mut observed = Observed::default();
        observed.0.insert("b".to_owned(), artifact("2"));
        observed.0.insert("a".to_owned(), artifact("1"));
        let text = "a=[digest=sha256:1,revision=1,url=http://host/1]|b=[digest=sha256:2,revision=2,url=http://host/2]";
        let expected = format!("sha256:{}", hex::encode(Sha256::digest(text)));
        assert_eq!(observed.digest(), expected);
        let origin = [(ORIGIN_REVISION.to_owned(), "o".to_owned())].into();
        if let Some(artifact) = observed.0.get_mut("a") {
            artifact.metadata = origin;
        }
        assert_eq!(observed.digest(), expected);
        // SW-GEN-103
        assert_eq!(observed.origin_revision("@a"), Some("o"));
        assert_eq!(observed.origin_revision("@b"), Some("2"));
        assert_eq!(observed.origin_revision("@c"), None);
    }
}
