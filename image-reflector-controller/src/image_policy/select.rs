//! Reads the tags of a repository and selects the latest.

use std::time::{Duration, Instant};

use flux_api::image::{ImagePolicySpec, ImageRepository};
use flux_budget::Budget;
use flux_runtime::Run;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use tokio::sync::broadcast;

use super::failure::StepError;
use crate::selection::{self, Clock, Filter, Order};
use crate::store::{Store, StoreError};

/// How long tags are waited for that a scan is about to store: the pauses of upstream's four tries (IR-POL-048).
const PATIENCE: Duration = Duration::from_millis(4750);
/// How long a selection may take.
const TIME_LIMIT: Duration = Duration::from_mins(2);

/// What tags are selected from, and by what.
#[derive(Clone)]
pub(super) struct Selecting {
    pub(super) store: Store,
    pub(super) repositories: Cache<ImageRepository>,
    pub(super) budget: Budget,
    /// The ImageRepository.
    pub(super) key: Key,
    /// How long a policy without tags is left alone.
    pub(super) recheck: Duration,
}

impl Selecting {
    /// The latest tag (IR-POL-070 to IR-POL-092). Where there are no tags they are waited for, without holding a worker
    /// (IR-POL-048, IR-POL-049).
    pub(super) async fn latest<K: flux_runtime::run::Kind>(
        &self,
        run: &mut Run<K>,
        spec: &ImagePolicySpec,
    ) -> Result<String, StepError> {
        let order = Order::new(&spec.policy).map_err(StepError::Order)?;
        let mut written = self.store.subscribe();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.attempt(&order, spec).await? {
                return Ok(found);
            }
            let interrupted = run.interrupted();
            let changed = run.idle(async {
                tokio::select! {
                    () = self.stored(&mut written) => true,
                    // A new revision of the repository: the next run will see more.
                    _ = interrupted => true,
                    () = tokio::time::sleep_until(deadline) => false,
                }
            });
            if !changed.await || tokio::time::Instant::now() >= deadline {
                return Err(StepError::NoTags(self.recheck));
            }
        }
    }

    /// Resolves when tags of the repository were stored, or may have been.
    async fn stored(&self, written: &mut broadcast::Receiver<Key>) {
        loop {
            match written.recv().await {
                Ok(key) if key != self.key => {}
                _ => return,
            }
        }
    }

    /// The latest tag; `None` if there are no tags, or others than the status of the repository speaks of (FR-N-077).
    async fn attempt(
        &self,
        order: &Order,
        spec: &ImagePolicySpec,
    ) -> Result<Option<String>, StepError> {
        let repository = self.repositories.get(&self.key);
        let status = repository.and_then(|repository| repository.status.clone());
        let scanned = status.and_then(|status| status.last_scan_result);
        let Some(revision) = scanned.and_then(|scan| scan.revision) else {
            return Ok(None);
        };
        let (this, order) = (self.clone(), order.clone());
        let filter = spec.filter_tags.clone();
        let selection = move || {
            let claim = this.budget.claim();
            let stored = this
                .store
                .read(&this.key, &claim)
                .map_err(StepError::Read)?;
            let current = stored.filter(|stored| stored.revision == revision);
            let Some(stored) = current.filter(|stored| !stored.tags.is_empty()) else {
                return Ok(None);
            };
            let filter = filter.as_ref().map(Filter::new).transpose();
            let filter = filter.map_err(StepError::Filter)?;
            let clock = Clock::new(Instant::now() + TIME_LIMIT);
            let latest = selection::latest(&order, filter.as_ref(), &stored.tags, &clock, &claim);
            latest.map(Some).map_err(StepError::Select)
        };
        match tokio::task::spawn_blocking(selection).await {
            Ok(latest) => latest,
            Err(error) => Err(StepError::Read(StoreError::from(error))),
        }
    }
}
