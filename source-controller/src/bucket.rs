//! The Bucket kind: publishes the objects of an object store's bucket as an artifact.

mod access;
mod client;
mod failure;
mod fetch;
mod files;
mod identity;
mod index;
mod list;
mod reason;

use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::GoDuration;
use flux_api::source::{Bucket, BucketSpec};
use flux_artifact::Stored;
use flux_budget::{Budget, Cache};
use flux_identity::Identities;
use flux_ignore::{Filter, Patterns};
use flux_publish::{
    ARTIFACT_IN_STORAGE, ARTIFACT_OUTDATED, Deadline, FETCH_FAILED, News, Owner, Publisher, Row,
    Rules, STORAGE_OPERATION_FAILED, Table,
};
use flux_runtime::policy::{Ready, Wording};
use flux_runtime::queue::Key;
use flux_runtime::work::WorkFolders;
use flux_runtime::{Action, Failure, Outcome, Reconciler, Run, Settings};
use tokio::time::Instant;

use self::failure::StepError;
use self::fetch::{Fetched, Fetching, Last};
use self::files::Files;
use self::identity::Identity;
use self::index::Index;
use crate::secrets::Secrets;

/// The conditions of the kind (SC-PROC-062, SC-PROC-063, SC-PROC-086).
const CONDITIONS: &Table = &Table::new(&[
    Row::Failure(STORAGE_OPERATION_FAILED),
    Row::Failure(FETCH_FAILED),
    Row::Negative(ARTIFACT_OUTDATED),
    Row::Positive(ARTIFACT_IN_STORAGE),
]);

/// The time limit if the spec has none (SC-BKT-001).
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// Minimum time limit for archiving; otherwise it may take as long as a phase of the fetch.
const MIN_STORE_LIMIT: Duration = Duration::from_mins(10);
/// The most bytes of the indexes that are kept.
const MAX_KEPT: u64 = 16 << 20;
/// The name of the link to the newest artifact (SC-ART-009).
const LATEST: &str = "latest.tar.gz";

/// The runtime's settings for the kind.
pub(crate) const SETTINGS: Settings = Settings {
    conditions: CONDITIONS.owned(),
    ready: Ready::Summary(CONDITIONS.summary()),
    wording: Wording::Named,
    ..Settings::new("bucket")
};

/// Reconciles Buckets.
pub(crate) struct Buckets {
    /// Stores and serves artifacts.
    pub(crate) publisher: Publisher,
    /// Reads the Secrets with credentials.
    pub(crate) secrets: Secrets,
    /// The memory that all reconciles share.
    pub(crate) budget: Budget,
    /// The cloud identities of objects.
    pub(crate) identities: Identities,
    /// Temporary folders for objects.
    pub(crate) work: WorkFolders,
    /// What the artifacts were made of.
    pub(crate) kept: Kept,
}

/// The index of each object's artifact, as long as there is memory for it: what did not change since need not be downloaded.
pub(crate) struct Kept(Cache<Key, Artifact>);

impl Kept {
    /// No index yet.
    pub(crate) fn new(budget: &Budget) -> Self {
        Self(Cache::new(budget, MAX_KEPT))
    }
}

/// What an artifact was made of.
struct Artifact {
    /// The digest of the artifact.
    digest: String,
    /// The bucket that the objects are in: ETags of another one may be the same for other content.
    origin: [String; 3],
    index: Arc<Index>,
}

impl Reconciler for Buckets {
    type Kind = Bucket;

    fn suspended(&self, object: &Bucket) -> bool {
        object.spec.suspend
    }

    async fn reconcile(&self, run: &mut Run<Bucket>) -> Result<Outcome, Failure> {
        let object = run.object().clone();
        let spec = &object.spec;
        let work_dir = flux_publish::work_folder(run, &self.work);
        let work_dir = work_dir.map_err(StepError::WorkDirectory)?;
        let folder = work_dir.path();

        let presence = self.publisher.inspect(run).await;
        presence.map_err(StepError::from)?.announce(run).await?;

        run.step(Action::ReconcileSource);
        let access = access::read(run, &self.secrets).await?;
        let identity = Identity {
            identities: self.identities.clone(),
            object: object.clone(),
            proxy: access.proxy.clone(),
        };
        let store = client::store(spec, access, identity).await?;

        let late = |error: StepError| error.retried_after(spec.interval.to_std());
        let (rules, deadline) = (Files::rules(folder), deadline(spec));
        let claim = self.budget.claim();
        let listed = Box::pin(list::index(&store, spec, &rules, claim, deadline)).await;
        let listed = listed.map_err(late)?;
        let canonical = self.publisher.storage().algorithm();

        let mut index = listed.index;
        if is_current(run, &index) {
            run.conditions.remove(FETCH_FAILED);
        } else {
            let last = self.last(run).await;
            let fetching = Fetching {
                store: &store,
                bucket: &spec.bucket_name,
                folder,
                budget: &self.budget,
                deadline: self::deadline(spec),
            };
            let listed = list::Listed { index, ..listed };
            let fetched = Box::pin(fetching.run(listed, last)).await.map_err(late)?;
            let revision = fetched.index.digest(canonical).to_string();
            let message = format!("new upstream revision '{revision}'");
            flux_publish::announce(run, &revision, &message).await?;
            run.conditions.remove(FETCH_FAILED);
            if !is_current(run, &fetched.index) {
                run.step(Action::ReconcileArtifact);
                index = self.publish(run, fetched, &revision).await?;
                return Ok(self.finish(run, index, &revision));
            }
            index = fetched.index;
        }
        let revision = index.digest(canonical).to_string();
        flux_publish::up_to_date(run, &revision);
        Ok(self.finish(run, index, &revision))
    }

    async fn finalize(&self, run: &mut Run<Bucket>) -> Result<(), Failure> {
        let removed = self.publisher.finalize(run).await;
        removed.map_err(StepError::from)?;
        self.kept.0.remove(&run.key());
        Ok(())
    }
}

impl Buckets {
    /// The artifact in the storage with what it was made of, if that is known.
    async fn last(&self, run: &Run<Bucket>) -> Option<Last> {
        let artifact = run.status.artifact.as_ref()?;
        let kept = self.kept.0.get(&run.key())?;
        if kept.digest != artifact.digest || kept.origin != origin(&run.object().spec) {
            return None;
        }
        let (storage, path) = (self.publisher.storage().clone(), artifact.path.clone());
        let opened = tokio::task::spawn_blocking(move || storage.read(&path)).await;
        Some(Last {
            index: kept.index.clone(),
            archive: opened.ok()?.ok()?,
        })
    }

    /// Archives the objects, and records the artifact in the status (SC-BKT-036, SC-BKT-043, SC-BKT-044).
    async fn publish(
        &self,
        run: &mut Run<Bucket>,
        fetched: Fetched,
        revision: &str,
    ) -> Result<Index, StepError> {
        let object = run.object().clone();
        let hex = revision.split_once(':').map_or(revision, |(_, hex)| hex);
        let path = Owner::of(&*object).path(&format!("{hex}.tar.gz"));
        let limit = timeout(&object.spec).max(MIN_STORE_LIMIT);
        let Fetched {
            index,
            content,
            mut files,
            working: _working,
        } = fetched;
        let (publisher, into) = (self.publisher.clone(), path.clone());
        let storing = move || -> Result<Stored, StepError> {
            let everything = Filter::bare(Patterns::new());
            let rules = Rules::Given(&everything);
            let deadline = Deadline::within(limit);
            Ok(publisher.store(&into, &content, &mut files, rules, deadline)?)
        };
        let stored = tokio::task::spawn_blocking(storing).await??;
        let artifact = self
            .publisher
            .artifact(path.clone(), revision.to_owned(), &stored);
        run.status.artifact = Some(artifact);
        run.status.observed_ignore.clone_from(&object.spec.ignore);
        self.publisher.link(run, &path, LATEST).await;
        run.conditions.remove(STORAGE_OPERATION_FAILED);
        Ok(index)
    }

    /// Reports the artifact, and keeps what it was made of.
    fn finish(&self, run: &mut Run<Bucket>, index: Index, revision: &str) -> Outcome {
        run.conditions.remove(ARTIFACT_OUTDATED);
        let message = format!("stored artifact: revision '{revision}'");
        flux_publish::stored(run, message);
        let spec = &run.object().spec;
        let (count, bucket) = (index.len(), &spec.bucket_name);
        let message = format!("stored artifact with {count} fetched files from '{bucket}' bucket");
        flux_publish::notify(run, CONDITIONS, News::reason, message);
        if let Some(artifact) = &run.status.artifact {
            let bytes = index.bytes();
            let kept = Artifact {
                digest: artifact.digest.clone(),
                origin: origin(spec),
                index: Arc::new(index),
            };
            self.kept.0.insert(run.key(), Arc::new(kept), bytes);
        }
        Outcome::summarized(spec.interval.to_std())
    }
}

/// The bucket of a spec.
fn origin(spec: &BucketSpec) -> [String; 3] {
    let provider = spec.provider.as_ref().map(ToString::to_string);
    [
        provider.unwrap_or_default(),
        spec.endpoint.clone(),
        spec.bucket_name.clone(),
    ]
}

/// The time limit of each phase of the fetch (SC-BKT-029).
fn timeout(spec: &BucketSpec) -> Duration {
    spec.timeout.map_or(DEFAULT_TIMEOUT, GoDuration::to_std)
}

fn deadline(spec: &BucketSpec) -> Instant {
    Instant::now() + timeout(spec)
}

/// Whether the stored artifact is that of these objects (SC-BKT-031).
fn is_current(run: &Run<Bucket>, index: &Index) -> bool {
    let artifact = run.status.artifact.as_ref();
    artifact.is_some_and(|artifact| index.is_at(&artifact.revision))
}
