//! Caches whose values are evicted when other work needs the memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{Budget, Recent, Reclaim};

/// Values by key, up to a number of bytes. Clones share them.
///
/// - Beyond the bytes, the values that were used least recently are evicted.
/// - When a claim on the budget does not fit, values that nothing else uses are evicted until it does: a value is
///   expected to hold its claim itself.
/// - A value that is evicted while it is in use is found as long as it is, but no longer counted. So is one that alone
///   is larger than all that may be kept.
///
/// ```
/// use std::sync::Arc;
/// use flux_budget::{Budget, Cache, Claim};
///
/// let budget = Budget::new(100);
/// let cache = Cache::new(&budget, 80);
/// let claim = budget.claim();
/// claim.take(70)?;
/// cache.insert("parsed", Arc::new(claim), 70);
/// budget.claim().take(60)?; // evicts from the cache
/// assert!(cache.get(&"parsed").is_none());
/// # Ok::<(), flux_budget::Exhausted>(())
/// ```
pub struct Cache<K, V>(Arc<Shared<K, V>>);

struct Shared<K, V>(Mutex<State<K, V>>);

struct State<K, V> {
    kept: Recent<K, Arc<V>>,
    given_up: HashMap<K, Weak<V>>,
}

impl<K, V> Cache<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Send + Sync + 'static,
{
    /// A cache that keeps at most `limit` bytes, and fewer when claims on `budget` do not fit.
    pub fn new(budget: &Budget, limit: u64) -> Self {
        let state = State {
            kept: Recent::new(limit),
            given_up: HashMap::new(),
        };
        let shared = Arc::new(Shared(Mutex::new(state)));
        let weak = Arc::downgrade(&shared);
        budget.reclaim_from(weak);
        Self(shared)
    }

    /// The value of `key`.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut state = self.0.state();
        if let Some(value) = state.kept.get(key) {
            return Some(value.clone());
        }
        state.given_up.get(key).and_then(Weak::upgrade)
    }

    /// Keeps `value`, which takes `bytes`, in place of the one that had its key.
    pub fn insert(&self, key: K, value: Arc<V>, bytes: u64) {
        let mut state = self.0.state();
        state.given_up.remove(&key);
        let replaced = state.kept.remove(&key);
        let gone = state.kept.insert(key, value, bytes);
        state.given_up.retain(|_, value| value.strong_count() > 0);
        state.give_up(&gone);
        drop(state);
        drop((replaced, gone)); // without the lock, since large values take their time
    }

    /// Whether the value of `key` is kept.
    pub fn contains(&self, key: &K) -> bool {
        self.0.state().kept.contains(key)
    }

    /// Keeps the value of `key` no longer; it is found as long as it is in use.
    pub fn give_up(&self, key: &K) {
        let mut state = self.0.state();
        let value = state.kept.remove(key);
        let gone = value.map(|value| (key.clone(), value));
        state.give_up(gone.as_slice());
        drop(state);
        drop(gone);
    }

    /// Takes the value of `key` away; who has it keeps it.
    pub fn remove(&self, key: &K) {
        let mut state = self.0.state();
        state.given_up.remove(key);
        let value = state.kept.remove(key);
        drop(state);
        drop(value);
    }

    /// The bytes of what is kept.
    pub fn bytes(&self) -> u64 {
        self.0.state().kept.bytes()
    }

    /// How many values are kept.
    pub fn len(&self) -> usize {
        self.0.state().kept.len()
    }

    /// Whether no value is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K, V> Clone for Cache<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Shared<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash, V> State<K, V> {
    /// Remembers what had to go for as long as it is in use.
    fn give_up(&mut self, gone: &[(K, Arc<V>)]) {
        let gone = gone
            .iter()
            .filter(|(_, value)| Arc::strong_count(value) > 1);
        let weak = gone.map(|(key, value)| (key.clone(), Arc::downgrade(value)));
        self.given_up.extend(weak);
    }
}

impl<K, V> Reclaim for Shared<K, V>
where
    K: Clone + Eq + Hash + Send,
    V: Send + Sync,
{
    fn reclaim(&self, bytes: u64) -> bool {
        let gone = {
            let mut state = self.state();
            let is_idle = |value: &Arc<V>| Arc::strong_count(value) == 1;
            state.kept.remove_oldest(bytes, is_idle)
        };
        !gone.is_empty()
    }
}

#[cfg(test)]
mod tests;
