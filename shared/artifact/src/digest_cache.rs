//! In-memory values computed from artifacts, by digest.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flux_budget::{Budget, Cache};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::Notify;

use crate::{Digest, FetchError};

/// Values of type `T` by the digest of the artifact they are computed from: unpacked trees, parsed charts, indexes. `E`
/// is the error of a load.
///
/// Concurrent loads of one digest from one URL share one load, which continues as long as a caller waits for it. A load
/// from another URL is separate, so that a server that does not answer delays only its own callers; the first load that
/// succeeds serves all callers that wait for that digest.
///
/// The value of a source's new artifact replaces that of the one before, which nothing asks for any more.
///
/// The size is bounded as that of [`Cache`] is: in bytes, and by the memory that claims leave in the budget.
pub struct DigestCache<T, E = FetchError>(Arc<Inner<T, E>>);

struct Inner<T, E> {
    values: Cache<Digest, T>,
    bytes: fn(&T) -> u64,
    loading: Mutex<Loading<T, E>>,
    latest: Mutex<Latest>,
    /// Notified of each new value.
    arrived: Notify,
}

/// The digest of the latest value of each source, by the folder of its artifacts.
type Latest = HashMap<String, Digest>;

type Load<T, E> = BoxFuture<'static, Result<Arc<T>, Arc<E>>>;
type Loading<T, E> = HashMap<(String, Digest), WeakShared<Load<T, E>>>;

impl<T, E> DigestCache<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// A cache of at most `limit` bytes, and of fewer when claims on `budget` need the memory. `bytes` gives the memory
    /// of a value.
    pub fn new(budget: &Budget, limit: u64, bytes: fn(&T) -> u64) -> Self {
        Self(Arc::new(Inner {
            values: Cache::new(budget, limit),
            bytes,
            loading: Mutex::default(),
            latest: Mutex::default(),
            arrived: Notify::new(),
        }))
    }

    /// The value of `digest`, loaded from `url` by `load` unless it is cached.
    ///
    /// # Errors
    /// The error of the load, which all callers that wait for it get.
    pub async fn get<F>(
        &self,
        url: &str,
        digest: &Digest,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<T>, Arc<E>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        if let Some(value) = self.0.values.get(digest) {
            return Ok(value);
        }
        let mut loading = self.0.join(url, digest, load);
        loop {
            let mut arrived = pin!(self.0.arrived.notified());
            arrived.as_mut().enable();
            if let Some(value) = self.0.values.get(digest) {
                return Ok(value);
            }
            tokio::select! {
                loaded = &mut loading => return loaded,
                () = arrived => {}
            }
        }
    }

    /// The bytes of the cached values.
    pub fn bytes(&self) -> u64 {
        self.0.values.bytes()
    }
}

impl<T, E> Clone for DigestCache<T, E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T, E> Inner<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn loading(&self) -> MutexGuard<'_, Loading<T, E>> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The load of `digest` from `url` that is in progress, or a new one.
    fn join<F>(
        self: &Arc<Self>,
        url: &str,
        digest: &Digest,
        load: impl FnOnce() -> F,
    ) -> Shared<Load<T, E>>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let mut loading = self.loading();
        // Loads that were dropped before their end are gone.
        loading.retain(|_, load| load.upgrade().is_some());
        let key = (url.to_owned(), digest.clone());
        if let Some(load) = loading.get(&key).and_then(WeakShared::upgrade) {
            return load;
        }
        let load = self.clone().finish(key.clone(), load()).shared();
        if let Some(weak) = load.downgrade() {
            loading.insert(key, weak);
        }
        load
    }

    /// Gives up the value that came from the source of `url` before that of `digest`.
    fn replace_earlier(&self, url: &str, digest: &Digest) {
        let Some(folder) = folder_of(url) else {
            return;
        };
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if latest.len() >= 2 * self.values.len() + 16 {
            latest.retain(|_, digest| self.values.contains(digest));
        }
        let earlier = latest.insert(folder.to_owned(), digest.clone());
        if let Some(earlier) = earlier.filter(|earlier| earlier != digest) {
            self.values.give_up(&earlier);
        }
    }

    fn finish<F>(self: Arc<Self>, key: (String, Digest), load: F) -> Load<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        async move {
            let loaded = load.await;
            let value = loaded.map_err(Arc::new).map(|value| {
                // A load from another server may have been faster: its value is in use already.
                self.values.get(&key.1).unwrap_or_else(|| {
                    let (bytes, value) = ((self.bytes)(&value), Arc::new(value));
                    self.values.insert(key.1.clone(), value.clone(), bytes);
                    value
                })
            });
            if value.is_ok() {
                self.replace_earlier(&key.0, &key.1);
            }
            self.loading().remove(&key);
            self.arrived.notify_waiters();
            value
        }
        .boxed()
    }
}

/// The folder of a source's artifacts, by the URL of one: `<kind>/<namespace>/<name>`, as source-controller and
/// source-watcher lay them out. Other servers may have the artifacts of many sources in one folder.
fn folder_of(url: &str) -> Option<&str> {
    const KINDS: [&str; 6] = [
        "bucket",
        "externalartifact",
        "gitrepository",
        "helmchart",
        "helmrepository",
        "ocirepository",
    ];
    let (folder, _) = url.rsplit_once('/')?;
    let kind = folder.rsplit('/').nth(2)?;
    KINDS.contains(&kind).then_some(folder)
}
