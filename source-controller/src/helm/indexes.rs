//! The indexes of HelmRepositories in memory, so that the charts of a repository read its index once.
//!
//! What is kept are compact tables, within the memory budget and whatever the flags: nothing of that is visible. The cache
//! that `--helm-cache-max-size` enables in upstream keeps whole indexes, and shows in a metric and an event. [`Shown`] is a
//! model of it, so that both are the same here.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use flux_api::meta::Artifact;
use flux_artifact::{Storage, StorageError};
use flux_budget::{Budget, Cache};
use flux_chart::index::{self, Index, IndexError};
use flux_runtime::metrics::Metrics;
use flux_runtime::queue::Key;
use prometheus::{IntCounterVec, Opts};
use tokio::sync::Mutex as AsyncMutex;

/// The part of the memory budget that tables may take: one of so many.
const PART: u64 = 8;

/// The path and digest of a stored index. The path is part of it, so that no object reads a table of another namespace by the
/// digest alone.
type Id = (String, String);

/// The indexes of all HelmRepositories. Clones share them.
#[derive(Clone)]
pub(crate) struct Indexes(Arc<Inner>);

struct Inner {
    budget: Budget,
    /// The most bytes of a stored index (`--helm-index-max-size`).
    max: i64,
    tables: Cache<Id, Index>,
    /// Held while a table is read, so that others wait for it.
    loading: Mutex<HashMap<Id, Weak<AsyncMutex<()>>>>,
    shown: Option<Mutex<Shown>>,
    events: IntCounterVec,
}

/// The flags of the cache in upstream (SC-PROC-010 to SC-PROC-012).
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheSettings {
    /// The most indexes.
    pub(crate) max: usize,
    /// How long an index is kept after its last use.
    pub(crate) ttl: Duration,
    /// How often expired indexes are removed; until then they count.
    pub(crate) purge: Duration,
}

/// Why a stored index cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{path} exceeds the maximum index file size of {max} bytes")]
    TooLarge { path: String, max: i64 },
    #[error(transparent)]
    Open(#[from] StorageError),
    #[error("failed to open index")]
    File(#[source] std::io::Error),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("a task of the reconcile ended early")]
    Task,
}

/// The cache of upstream has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to cache index: Cache is full")]
pub(crate) struct Full;

/// Where an index is read from.
pub(crate) enum Origin {
    /// An artifact in the storage.
    Stored(Arc<Storage>, String),
    /// A file that was downloaded.
    File(PathBuf),
}

impl Indexes {
    /// No indexes yet. The counter of the cache is registered in `metrics` (SC-PROC-092).
    ///
    /// # Errors
    /// `metrics` already has that counter.
    pub(crate) fn new(
        budget: &Budget,
        max: i64,
        cache: Option<CacheSettings>,
        metrics: &Metrics,
    ) -> prometheus::Result<Self> {
        let events = IntCounterVec::new(
            Opts::new(
                "gotk_cache_events_total",
                "Total number of cache retrieval events for a Gitops Toolkit resource reconciliation.",
            ),
            &["event_type", "name", "namespace"],
        )?;
        metrics.registry().register(Box::new(events.clone()))?;
        let forgotten = events.clone();
        metrics.on_forget(move |kind, name, namespace| {
            // SC-HREPO-043
            if kind == "HelmRepository" {
                for event in [HIT, MISS] {
                    let _ = forgotten.remove_label_values(&[event, name, namespace]);
                }
            }
        });
        Ok(Self(Arc::new(Inner {
            tables: Cache::new(budget, budget.limit() / PART),
            budget: budget.clone(),
            max,
            loading: Mutex::default(),
            shown: cache.map(|settings| Mutex::new(Shown::new(settings, Instant::now()))),
            events,
        })))
    }

    /// Keeps the table of a new artifact, and forgets that of the one before (SC-HREPO-039, SC-HREPO-047).
    ///
    /// # Errors
    /// The cache of upstream has no room. The table is kept anyway.
    pub(crate) fn replace(
        &self,
        before: Option<&Artifact>,
        artifact: &Artifact,
        table: Index,
    ) -> Result<(), Full> {
        if let Some(before) = before {
            self.0.tables.remove(&id(before));
        }
        let bytes = table.bytes();
        self.0.tables.insert(id(artifact), Arc::new(table), bytes);
        let Some(mut shown) = self.shown() else {
            return Ok(());
        };
        if let Some(before) = before.filter(|before| before.path != artifact.path) {
            shown.remove(&before.path);
        }
        shown.set(&artifact.path, Instant::now())
    }

    /// The index of an artifact that has not changed is kept longer (SC-HREPO-030).
    pub(crate) fn extend(&self, artifact: &Artifact) {
        if let Some(mut shown) = self.shown() {
            shown.extend(&artifact.path, Instant::now());
        }
    }

    /// The table of a stored index for the object `of`, which is counted in the metric (SC-HCHART-034).
    ///
    /// # Errors
    /// [`LoadError`], and in the second part of the result that the cache of upstream has no room.
    pub(crate) async fn get(
        &self,
        artifact: &Artifact,
        storage: &Arc<Storage>,
        of: &Key,
    ) -> Result<(Arc<Index>, Result<(), Full>), LoadError> {
        let is_hit = self.shown().map(|mut shown| {
            let is_hit = shown.get(&artifact.path, Instant::now());
            let event = if is_hit { HIT } else { MISS };
            let labels = [event, &*of.name, &*of.namespace];
            self.0.events.with_label_values(&labels).inc();
            is_hit
        });
        let origin = Origin::Stored(storage.clone(), artifact.path.clone());
        let load = || self.load(origin);
        let table = self.table(id(artifact), load).await?;
        let room = match (is_hit, self.shown()) {
            (Some(false), Some(mut shown)) => shown.set(&artifact.path, Instant::now()),
            _ => Ok(()),
        };
        Ok((table, room))
    }

    /// Reads an index that is not kept.
    ///
    /// # Errors
    /// [`LoadError`]
    pub(crate) async fn load(&self, origin: Origin) -> Result<Index, LoadError> {
        let this = self.clone();
        let read = move || this.read(&origin);
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|_| LoadError::Task)?
    }

    fn read(&self, origin: &Origin) -> Result<Index, LoadError> {
        let (file, path) = match origin {
            Origin::Stored(storage, path) => (storage.read(path)?, path.clone()),
            Origin::File(path) => {
                let file = std::fs::File::open(path).map_err(LoadError::File)?;
                (file, path.display().to_string())
            }
        };
        let size = file.metadata().map_err(LoadError::File)?.len();
        if i64::try_from(size).unwrap_or(i64::MAX) > self.0.max {
            // SC-HREPO-040
            let max = self.0.max;
            return Err(LoadError::TooLarge { path, max });
        }
        tracing::debug!(path, "reading Helm repository index");
        Ok(index::load(file, &self.0.budget)?)
    }

    /// The table if it is kept, else that which `load` reads; of several callers only one reads it.
    async fn table<F: Future<Output = Result<Index, LoadError>>>(
        &self,
        id: Id,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<Index>, LoadError> {
        if let Some(table) = self.0.tables.get(&id) {
            return Ok(table);
        }
        let turn = self.turn(&id);
        let _guard = turn.lock().await;
        if let Some(table) = self.0.tables.get(&id) {
            return Ok(table);
        }
        let table = Arc::new(load().await?);
        self.0.tables.insert(id, table.clone(), table.bytes());
        Ok(table)
    }

    fn turn(&self, id: &Id) -> Arc<AsyncMutex<()>> {
        let mut loading = self
            .0
            .loading
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        loading.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = loading.get(id).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(AsyncMutex::default());
        loading.insert(id.clone(), Arc::downgrade(&turn));
        turn
    }

    fn shown(&self) -> Option<MutexGuard<'_, Shown>> {
        let shown = self.0.shown.as_ref()?;
        Some(shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const HIT: &str = "cache_hit";
const MISS: &str = "cache_miss";

fn id(artifact: &Artifact) -> Id {
    (artifact.path.clone(), artifact.digest.clone())
}

/// What the cache of upstream would hold: paths, and when they expire.
struct Shown {
    settings: CacheSettings,
    items: HashMap<String, Option<Instant>>,
    purged: Instant,
}

impl Shown {
    fn new(settings: CacheSettings, now: Instant) -> Self {
        Self {
            settings,
            items: HashMap::new(),
            purged: now,
        }
    }

    /// Whether it holds the path; its life is then extended.
    fn get(&mut self, path: &str, now: Instant) -> bool {
        self.purge(now);
        let is_hit = match self.items.get(path) {
            Some(expires) => expires.is_none_or(|expires| expires >= now),
            None => false,
        };
        if is_hit {
            self.extend(path, now);
        }
        is_hit
    }

    fn set(&mut self, path: &str, now: Instant) -> Result<(), Full> {
        self.purge(now);
        if !self.items.contains_key(path) && self.items.len() >= self.settings.max {
            return Err(Full);
        }
        let ttl = self.settings.ttl;
        let expires = (!ttl.is_zero()).then(|| now + ttl);
        self.items.insert(path.to_owned(), expires);
        Ok(())
    }

    fn extend(&mut self, path: &str, now: Instant) {
        if let Some(expires) = self.items.get_mut(path) {
            *expires = Some(now + self.settings.ttl);
        }
    }

    fn remove(&mut self, path: &str) {
        self.items.remove(path);
    }

    /// Removes what has expired, if the time for that has come.
    fn purge(&mut self, now: Instant) {
        let interval = self.settings.purge;
        if !interval.is_zero() && now.duration_since(self.purged) >= interval {
            self.purged = now;
            self.items
                .retain(|_, expires| expires.is_none_or(|expires| expires >= now));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    const INDEX: &str = r#"{"apiVersion": "v1", "entries": {"web": [{"name": "web", "version": "1.0.0", "urls": ["a"]}]}}"#;

    fn table(budget: &Budget) -> Index {
        index::load(std::io::Cursor::new(INDEX), budget).unwrap()
    }

    fn artifact(path: &str, digest: &str) -> Artifact {
        Artifact {
            path: path.to_owned(),
            digest: digest.to_owned(),
            ..Artifact::default()
        }
    }

    fn indexes(budget: &Budget, cache: Option<CacheSettings>) -> Indexes {
        Indexes::new(budget, 1 << 20, cache, &Metrics::new().unwrap()).unwrap()
    }

    // SC-HCHART-035: without the flags, too
    #[tokio::test]
    async fn a_hundred_charts_read_an_index_once() {
        let budget = Budget::new(64 << 20);
        let indexes = indexes(&budget, None);
        let loads = AtomicUsize::new(0);
        let load = || async {
            loads.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(table(&budget))
        };
        let wanted = id(&artifact(
            "helmrepository/ns/charts/index-a.yaml",
            "sha256:a",
        ));
        let all = (0..100).map(|_| indexes.table(wanted.clone(), load));
        for found in join_all(all).await {
            assert!(found.unwrap().versions("web").is_some());
        }
        assert_eq!(loads.load(Ordering::Relaxed), 1);
        // another repository with the same index
        let other = id(&artifact(
            "helmrepository/other/charts/index-a.yaml",
            "sha256:a",
        ));
        indexes.table(other, load).await.unwrap();
        assert_eq!(loads.load(Ordering::Relaxed), 2);
        // its memory goes to other work
        let claim = budget.claim();
        claim.take(budget.limit()).unwrap();
        drop(claim);
        indexes.table(wanted, load).await.unwrap();
        assert_eq!(loads.load(Ordering::Relaxed), 3);
    }

    // SC-HREPO-040
    #[tokio::test]
    async fn a_stored_index_that_is_too_large_is_not_read() {
        let budget = Budget::new(64 << 20);
        let indexes = Indexes::new(&budget, 10, None, &Metrics::new().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index.yaml");
        std::fs::write(&path, INDEX).unwrap();
        let error = indexes.load(Origin::File(path.clone())).await.unwrap_err();
        let text = format!(
            "{} exceeds the maximum index file size of 10 bytes",
            path.display()
        );
        assert_eq!(error.to_string(), text);
    }

    // SC-HREPO-039, SC-HREPO-047
    #[test]
    fn the_index_before_makes_room() {
        let budget = Budget::new(64 << 20);
        let settings = CacheSettings {
            max: 1,
            ttl: Duration::from_mins(15),
            purge: Duration::from_mins(1),
        };
        let indexes = indexes(&budget, Some(settings));
        let (first, second) = (artifact("a/1", "1"), artifact("a/2", "2"));
        assert_eq!(indexes.replace(None, &first, table(&budget)), Ok(()));
        let replaced = indexes.replace(Some(&first), &second, table(&budget));
        assert_eq!(replaced, Ok(()));
        assert!(indexes.0.tables.get(&id(&first)).is_none());
        let full = indexes.replace(None, &artifact("b/1", "1"), table(&budget));
        // SC-HREPO-039
        assert_eq!(
            full.unwrap_err().to_string(),
            "failed to cache index: Cache is full"
        );
    }

    // SC-HCHART-034, SC-HREPO-030
    #[test]
    fn uses_extend_the_life_of_an_index() {
        let minute = Duration::from_mins(1);
        let settings = CacheSettings {
            max: 1,
            ttl: 2 * minute,
            purge: 10 * minute,
        };
        let begin = Instant::now();
        let mut shown = Shown::new(settings, begin);
        assert!(!shown.get("a", begin));
        shown.set("a", begin).unwrap();
        assert!(shown.get("a", begin + minute));
        assert!(shown.get("a", begin + 3 * minute));
        shown.extend("a", begin + 4 * minute);
        assert!(shown.get("a", begin + 6 * minute));
        assert!(!shown.get("a", begin + 9 * minute));
        // what has expired counts until it is purged
        assert_eq!(shown.set("b", begin + 9 * minute), Err(Full));
        assert_eq!(shown.set("b", begin + 10 * minute), Ok(()));
        shown.remove("b");
        assert!(!shown.get("b", begin + 10 * minute));
    }
}
