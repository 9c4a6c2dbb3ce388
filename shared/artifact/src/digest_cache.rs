//! Trees kept in memory by digest.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use flux_tree::Tree;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::Notify;

use crate::{Digest, FetchError};

/// Trees by digest, up to a number of bytes.
///
/// Loads of the same digest from the same URL are one, whoever asks for it; it goes on as long as somebody waits for it. A load
/// from another URL is one of its own, so that a server that does not answer holds up only those who ask it; the first that
/// succeeds serves all who want that digest.
///
/// Beyond the bytes, the trees that were asked for the longest time ago are given up. A tree that is in use is found again as long
/// as it is, but no longer counted. A tree that alone is larger than that is given out and not kept.
pub struct TreeCache(Arc<Inner>);

struct Inner {
    limit: u64,
    state: Mutex<State>,
    /// Signalled with each tree that comes.
    arrived: Notify,
}

type Load = BoxFuture<'static, Result<Arc<Tree>, Arc<FetchError>>>;

#[derive(Default)]
struct State {
    kept: HashMap<Digest, Kept>,
    given_up: HashMap<Digest, Weak<Tree>>,
    loading: HashMap<(String, Digest), WeakShared<Load>>,
    bytes: u64,
    clock: u64,
}

struct Kept {
    tree: Arc<Tree>,
    bytes: u64,
    asked: u64,
}

impl TreeCache {
    /// A cache that keeps at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner {
            limit,
            state: Mutex::default(),
            arrived: Notify::new(),
        }))
    }

    /// The tree of `digest`, loaded from `url` by `load` if it is not here. All who wait for a load get its error.
    ///
    /// Where a tree does not fit into the memory that is left, those that nobody uses are given up and `load` is called again.
    pub async fn get<F>(
        &self,
        url: &str,
        digest: &Digest,
        load: impl Fn() -> F + Send + 'static,
    ) -> Result<Arc<Tree>, Arc<FetchError>>
    where
        F: Future<Output = Result<Tree, FetchError>> + Send + 'static,
    {
        let mut loading = {
            let mut state = self.0.state();
            if let Some(tree) = state.find(digest) {
                return Ok(tree);
            }
            state.join(url, digest, || self.0.clone().load(url, digest, load))
        };
        loop {
            let mut arrived = pin!(self.0.arrived.notified());
            arrived.as_mut().enable();
            if let Some(tree) = self.0.state().find(digest) {
                return Ok(tree);
            }
            tokio::select! {
                loaded = &mut loading => return loaded,
                () = arrived => {}
            }
        }
    }

    /// Gives up the trees that nobody uses, and tells whether there were any.
    pub fn give_up_idle(&self) -> bool {
        self.0.give_up_idle()
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> u64 {
        self.0.state().bytes
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load<F>(
        self: Arc<Self>,
        url: &str,
        digest: &Digest,
        load: impl Fn() -> F + Send + 'static,
    ) -> Load
    where
        F: Future<Output = Result<Tree, FetchError>> + Send + 'static,
    {
        let key = (url.to_owned(), digest.clone());
        async move {
            let mut loaded = load().await;
            if matches!(&loaded, Err(FetchError::Memory(_))) && self.give_up_idle() {
                loaded = load().await;
            }
            let mut state = self.state();
            state.loading.remove(&key);
            let tree = Arc::new(loaded.map_err(Arc::new)?);
            state.keep(&key.1, &tree, self.limit);
            drop(state);
            self.arrived.notify_waiters();
            Ok(tree)
        }
        .boxed()
    }

    fn give_up_idle(&self) -> bool {
        let mut state = self.state();
        let before = state.kept.len();
        state
            .kept
            .retain(|_, kept| Arc::strong_count(&kept.tree) > 1);
        state.bytes = state.kept.values().map(|kept| kept.bytes).sum();
        state.kept.len() < before
    }
}

impl State {
    fn find(&mut self, digest: &Digest) -> Option<Arc<Tree>> {
        self.clock += 1;
        if let Some(kept) = self.kept.get_mut(digest) {
            kept.asked = self.clock;
            return Some(kept.tree.clone());
        }
        self.given_up.get(digest).and_then(Weak::upgrade)
    }

    /// The load of `digest` from `url` that is under way, or a new one.
    fn join(&mut self, url: &str, digest: &Digest, load: impl FnOnce() -> Load) -> Shared<Load> {
        // Those that nobody waited for to the end are gone.
        self.loading
            .retain(|_, loading| loading.upgrade().is_some());
        let key = (url.to_owned(), digest.clone());
        if let Some(loading) = self.loading.get(&key).and_then(WeakShared::upgrade) {
            return loading;
        }
        let loading = load().shared();
        if let Some(weak) = loading.downgrade() {
            self.loading.insert(key, weak);
        }
        loading
    }

    fn keep(&mut self, digest: &Digest, tree: &Arc<Tree>, limit: u64) {
        if self.kept.contains_key(digest) {
            return;
        }
        self.given_up.retain(|_, tree| tree.strong_count() > 0);
        let bytes = tree.memory();
        if bytes > limit {
            self.given_up.insert(digest.clone(), Arc::downgrade(tree));
            return;
        }
        self.clock += 1;
        self.bytes += bytes;
        let kept = Kept {
            tree: tree.clone(),
            bytes,
            asked: self.clock,
        };
        self.kept.insert(digest.clone(), kept);
        while self.bytes > limit {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.asked);
            let Some(digest) = oldest.map(|(digest, _)| digest.clone()) else {
                break;
            };
            if let Some(kept) = self.kept.remove(&digest) {
                self.bytes -= kept.bytes;
                self.given_up.insert(digest, Arc::downgrade(&kept.tree));
            }
        }
    }
}
