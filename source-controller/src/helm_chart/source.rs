//! The source of a chart.

use std::sync::Arc;

use flux_api::meta::Artifact;
use flux_api::source::{
    Bucket, GitRepository, HelmChart, HelmChartSourceKind, HelmRepository, HelmRepositoryType,
};
use flux_artifact::Storage;
use flux_publish::{ArtifactStatus, Owner, Source as Published};
use flux_references::{ObjectRef, Reader};
use flux_runtime::controller::Enqueue;
use flux_runtime::queue::Key;
use flux_runtime::watch::{Cache, Change, Watched};
use kube::ResourceExt as _;

use super::failure::StepError;

/// The sources that this controller publishes, as last seen.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    pub(crate) helm_repositories: Cache<HelmRepository>,
    pub(crate) git_repositories: Cache<GitRepository>,
    pub(crate) buckets: Cache<Bucket>,
}

/// The source of a chart, and its artifact if that is in the storage.
pub(super) struct Source {
    /// The artifact in its status, whether it is in the storage or not.
    pub(super) recorded: Option<Artifact>,
    /// Whether the artifact is in the storage.
    pub(super) is_stored: bool,
    /// The repository, if it is one.
    pub(super) repository: Option<Arc<HelmRepository>>,
}

impl Source {
    /// The artifact that is in the storage.
    pub(super) fn artifact(&self) -> Option<&Artifact> {
        self.recorded.as_ref().filter(|_| self.is_stored)
    }

    /// Whether charts can be built without an artifact: of a repository in a registry (SC-HCHART-014).
    pub(super) fn needs_no_artifact(&self) -> bool {
        let repository = self.repository.as_ref();
        repository.is_some_and(|repository| repository.spec.type_ == Some(HelmRepositoryType::Oci))
    }
}

/// What a chart refers to (SC-HCHART-010).
pub(crate) fn references(chart: &HelmChart) -> Vec<ObjectRef> {
    let source = &chart.spec.source_ref;
    let namespace = chart.namespace().unwrap_or_default();
    let kind = source.kind.to_string();
    vec![ObjectRef::new(kind, Key::new(&namespace, &source.name))]
}

/// Finds the source of a chart (SC-HCHART-013, SC-HCHART-017).
pub(super) async fn find(
    chart: &HelmChart,
    sources: &Sources,
    storage: &Arc<Storage>,
) -> Result<Source, StepError> {
    let reference = &chart.spec.source_ref;
    let namespace = chart.namespace().unwrap_or_default();
    let key = Key::new(&namespace, &reference.name);
    match &reference.kind {
        HelmChartSourceKind::HelmRepository => {
            let (repository, source) = read(&sources.helm_repositories, &key, storage).await?;
            Ok(Source {
                repository: Some(repository),
                ..source
            })
        }
        HelmChartSourceKind::GitRepository => {
            Ok(read(&sources.git_repositories, &key, storage).await?.1)
        }
        HelmChartSourceKind::Bucket => Ok(read(&sources.buckets, &key, storage).await?.1),
        HelmChartSourceKind::Other(kind) => Err(StepError::SourceKind(kind.clone())),
    }
}

async fn read<K>(
    cache: &Cache<K>,
    key: &Key,
    storage: &Arc<Storage>,
) -> Result<(Arc<K>, Source), StepError>
where
    K: Published
        + Watched
        + kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    let reader = Reader::Cached(cache.clone());
    reader.synced().await;
    let object = reader.get(key).await?;
    let recorded = object.status().and_then(ArtifactStatus::artifact).cloned();
    // Another client may have written the status: its path may be anything.
    let owner = Owner::of(&*object);
    let path = recorded.as_ref().map(|artifact| artifact.path.clone());
    let is_stored = match path.filter(|path| owner.owns(path)) {
        None => false,
        Some(path) => {
            let storage = storage.clone();
            let exists = move || storage.exists(&path).unwrap_or_default();
            tokio::task::spawn_blocking(exists).await?
        }
    };
    let source = Source {
        recorded,
        is_stored,
        repository: None,
    };
    Ok((object, source))
}

/// Enqueues the charts of a source that got an artifact or another revision, and that have not seen it yet (SC-HCHART-010,
/// SC-HCHART-011).
pub(crate) fn on_revision<K: Published + kube::Resource<DynamicType = ()>>(
    index: flux_references::Index,
    charts: Cache<HelmChart>,
) -> impl Fn(&Change<K>, &Enqueue) + Send + Sync + 'static {
    move |change, enqueue| {
        let Change::Updated { old, new } = change else {
            return;
        };
        let Some(revision) = new_revision(&**old, &**new) else {
            return;
        };
        for key in index.referrers(&ObjectRef::of(&**new)) {
            let seen = charts.get(&key).and_then(|chart| {
                let status = chart.status.as_ref()?;
                status.observed_source_artifact_revision.clone()
            });
            if seen.as_deref() != Some(revision) {
                enqueue.add(key, &**new);
            }
        }
    }
}

/// The revision of a source, if it had none before, or another one.
fn new_revision<'k, K: Published>(old: &K, new: &'k K) -> Option<&'k str> {
    fn revision<K: Published>(source: &K) -> Option<&str> {
        let artifact = source.status()?.artifact()?;
        Some(artifact.revision.as_str())
    }
    let now = revision(new)?;
    (revision(old) != Some(now)).then_some(now)
}

#[cfg(test)]
mod tests {
    use flux_api::source::{
        BucketSpec, BucketStatus, HelmChartSpec, LocalHelmChartSourceReference,
    };

    use super::*;

    fn bucket(revision: Option<&str>) -> Bucket {
        let mut bucket = Bucket::new("files", BucketSpec::default());
        bucket.status = Some(BucketStatus {
            artifact: revision.map(|revision| Artifact {
                revision: revision.to_owned(),
                ..Artifact::default()
            }),
            ..BucketStatus::default()
        });
        bucket
    }

    // SC-HCHART-010
    #[test]
    fn only_new_revisions_count() {
        for (old, new, want) in [
            (None, Some("a"), Some("a")),
            (Some("a"), Some("b"), Some("b")),
            (Some("a"), Some("a"), None),
            (Some("a"), None, None),
            (None, None, None),
        ] {
            assert_eq!(new_revision(&bucket(old), &bucket(new)), want);
        }
    }

    // SC-HCHART-012
    #[test]
    fn a_chart_refers_to_a_source_of_its_namespace() {
        let spec = HelmChartSpec {
            source_ref: LocalHelmChartSourceReference {
                kind: HelmChartSourceKind::Bucket,
                name: "files".to_owned(),
                ..LocalHelmChartSourceReference::default()
            },
            ..HelmChartSpec::default()
        };
        let mut chart = HelmChart::new("web", spec);
        chart.metadata.namespace = Some("apps".to_owned());
        let want = ObjectRef::new("Bucket", Key::new("apps", "files"));
        assert_eq!(references(&chart), [want]);
    }
}
