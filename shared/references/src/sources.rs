//! Sources: objects with an artifact.

use flux_api::meta::Artifact;
use flux_api::source::{Bucket, ExternalArtifact, GitRepository, HelmChart, OCIRepository};
use flux_runtime::watch::{Cache, Watched};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};

use crate::{ObjectRef, ReadError, Reader};

/// The annotation of an artifact with the revision at its origin (KC-SRC-016).
const ORIGIN_REVISION: &str = "org.opencontainers.image.revision";

/// A kind whose objects have an artifact.
pub trait Source: Watched + Resource<DynamicType = (), Scope = NamespaceResourceScope> {
    /// The artifact in the object's status.
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
source!(
    Bucket,
    ExternalArtifact,
    GitRepository,
    HelmChart,
    OCIRepository
);

/// The caches of the kinds with an artifact. A controller watches those of the kinds that its objects may name.
#[derive(Clone, Default)]
pub struct Sources {
    /// Buckets.
    pub buckets: Cache<Bucket>,
    /// ExternalArtifacts.
    pub external_artifacts: Cache<ExternalArtifact>,
    /// GitRepositories.
    pub git_repositories: Cache<GitRepository>,
    /// HelmCharts.
    pub helm_charts: Cache<HelmChart>,
    /// OCIRepositories.
    pub oci_repositories: Cache<OCIRepository>,
    /// Set if sources are read from the API server each time; the caches then serve for triggers only (KC-PROC-038).
    pub direct: Option<Client>,
}

/// Why there is no source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Objects of this kind have no artifact.
    #[error("the kind '{0}' has no artifacts")]
    Kind(String),
    /// The object could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Sources {
    /// The artifact of a source, `None` if it has none yet. Only the artifact counts, not whether the source is ready
    /// (KC-SRC-001).
    ///
    /// # Errors
    /// The source does not exist or cannot be read, or the kind has no artifacts.
    pub async fn artifact(&self, source: &ObjectRef) -> Result<Option<Artifact>, SourceError> {
        match &*source.kind {
            "Bucket" => self.artifact_in(&self.buckets, source).await,
            "ExternalArtifact" => self.artifact_in(&self.external_artifacts, source).await,
            "GitRepository" => self.artifact_in(&self.git_repositories, source).await,
            "HelmChart" => self.artifact_in(&self.helm_charts, source).await,
            "OCIRepository" => self.artifact_in(&self.oci_repositories, source).await,
            other => Err(SourceError::Kind(other.to_owned())),
        }
    }

    /// Reads the objects of one of the caches, or from the API server if all are read from there. For what a kind needs of
    /// a source besides its artifact.
    pub fn reader<S: Source>(&self, cache: &Cache<S>) -> Reader<S> {
        match &self.direct {
            None => Reader::Cached(cache.clone()),
            Some(client) => Reader::Direct(client.clone()),
        }
    }

    async fn artifact_in<S: Source>(
        &self,
        cache: &Cache<S>,
        source: &ObjectRef,
    ) -> Result<Option<Artifact>, SourceError> {
        let found = self.reader(cache).get(&source.key).await?;
        Ok(found.artifact().cloned())
    }
}

/// The revision of an artifact at its origin, if it was made elsewhere (KC-SRC-016).
pub fn origin_revision(artifact: &Artifact) -> Option<&str> {
    let revision = artifact.metadata.get(ORIGIN_REVISION)?;
    Some(revision.as_str()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use flux_api::source::{BucketSpec, BucketStatus};
    use flux_runtime::queue::Key;
    use serde_json::json;

    use super::*;
    use crate::fake;

    fn bucket(revision: Option<&str>) -> Bucket {
        let mut bucket = Bucket::new("app", BucketSpec::default());
        bucket.metadata.namespace = Some("ns".into());
        let artifact = revision.map(|revision| Artifact {
            revision: revision.into(),
            ..Artifact::default()
        });
        bucket.status = Some(BucketStatus {
            artifact,
            ..BucketStatus::default()
        });
        bucket
    }

    fn source(kind: &'static str) -> ObjectRef {
        ObjectRef::new(kind, Key::new("ns", "app"))
    }

    #[tokio::test]
    async fn a_source_is_found_by_kind_namespace_and_name() {
        // KC-SRC-001, KC-SRC-006
        let sources = Sources::default();
        sources.buckets.upsert(bucket(Some("a")));
        let found = sources.artifact(&source("Bucket")).await.unwrap();
        assert_eq!(found.unwrap().revision, "a");

        let sources = Sources::default();
        sources.buckets.upsert(bucket(None));
        assert!(sources.artifact(&source("Bucket")).await.unwrap().is_none());
        for kind in [
            "ExternalArtifact",
            "GitRepository",
            "HelmChart",
            "OCIRepository",
        ] {
            let missing = sources.artifact(&source(kind)).await.unwrap_err();
            let text = format!("{kind}.source.toolkit.fluxcd.io \"app\" not found");
            assert_eq!(missing.to_string(), text);
        }
        let other = sources.artifact(&source("HelmRelease")).await.unwrap_err();
        assert!(matches!(other, SourceError::Kind(kind) if kind == "HelmRelease"));
    }

    #[tokio::test]
    async fn sources_may_be_read_from_the_api_server() {
        // KC-PROC-038
        let client = fake::client(|path| {
            let found =
                path == "/apis/source.toolkit.fluxcd.io/v1/namespaces/ns/gitrepositories/app";
            let artifact = json!({"revision": "b", "path": "", "url": "", "digest": "",
                "lastUpdateTime": "2026-01-01T00:00:00Z"});
            found.then(|| {
                json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
                "metadata": {"name": "app", "namespace": "ns"}, "spec": {"url": "https://host/r", "interval": "1m"},
                "status": {"artifact": artifact}})
            })
        });
        let sources = Sources {
            direct: Some(client),
            ..Sources::default()
        };
        let found = sources.artifact(&source("GitRepository")).await.unwrap();
        assert_eq!(found.unwrap().revision, "b");
    }

    #[test]
    fn an_empty_origin_revision_is_no_revision() {
        // KC-SRC-016
        let artifact = |revision: &str| Artifact {
            metadata: [(ORIGIN_REVISION.to_owned(), revision.to_owned())].into(),
            ..Artifact::default()
        };
        assert_eq!(origin_revision(&artifact("v1@sha1:2")), Some("v1@sha1:2"));
        assert_eq!(origin_revision(&artifact("")), None);
        assert_eq!(origin_revision(&Artifact::default()), None);
    }
}
