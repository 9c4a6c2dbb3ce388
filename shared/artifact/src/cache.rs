//! Trees kept in memory by digest.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use flux_tree::Tree;
use tokio::sync::OnceCell;

use crate::Digest;

/// What an entry of a tree takes beside its content: a tar header, its padding, the path, the place in the table.
const ENTRY_BYTES: u64 = 1024;

/// Trees by digest, each loaded once however many ask for it, up to a number of bytes.
///
/// Of more bytes the trees that were asked for the longest time ago are given up. A tree that someone still holds is found again
/// as long as they do, but no longer counted. A tree that alone is larger than the budget is given out and not kept.
pub struct TreeCache {
    budget: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<Digest, Kept>,
    given_up: HashMap<Digest, Weak<Tree>>,
    loading: HashMap<Digest, Arc<OnceCell<Arc<Tree>>>>,
    bytes: u64,
    clock: u64,
}

struct Kept {
    tree: Arc<Tree>,
    bytes: u64,
    asked: u64,
}

impl TreeCache {
    /// A cache that keeps at most `budget` bytes.
    pub fn new(budget: u64) -> Self {
        Self {
            budget,
            state: Mutex::default(),
        }
    }

    /// The tree of `digest`, loaded by `load` if it is not here. Of several who ask at once, one loads; if it fails, the error is
    /// its own and the next one tries.
    pub async fn get<E, F>(&self, digest: &Digest, load: impl FnOnce() -> F) -> Result<Arc<Tree>, E>
    where
        F: Future<Output = Result<Tree, E>>,
    {
        let cell = {
            let mut state = self.state();
            if let Some(tree) = state.find(digest) {
                return Ok(tree);
            }
            state.loading.entry(digest.clone()).or_default().clone()
        };
        let loaded = cell
            .get_or_try_init(|| async { load().await.map(Arc::new) })
            .await;
        let mut state = self.state();
        match loaded {
            Ok(tree) => {
                let tree = tree.clone();
                state.loading.remove(digest);
                state.keep(digest, &tree, self.budget);
                Ok(tree)
            }
            Err(error) => {
                // The last one to fail leaves no empty cell behind: one count is the map's, one is ours.
                if Arc::strong_count(&cell) <= 2 {
                    state.loading.remove(digest);
                }
                Err(error)
            }
        }
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> u64 {
        self.state().bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn keep(&mut self, digest: &Digest, tree: &Arc<Tree>, budget: u64) {
        if self.kept.contains_key(digest) {
            return;
        }
        self.given_up.retain(|_, tree| tree.strong_count() > 0);
        let bytes = tree.content_bytes() + tree.len() as u64 * ENTRY_BYTES;
        if bytes > budget {
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
        while self.bytes > budget {
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
