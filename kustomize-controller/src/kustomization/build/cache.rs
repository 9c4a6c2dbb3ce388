//! The last build of each Kustomization, by what went into it: an unchanged input is not built again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use flux_budget::Budget;
use flux_runtime::queue::Key;

use super::Built;

/// What is kept may take a quarter of the process's memory: what was used least recently goes.
pub(super) struct Cache {
    limit: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    builds: HashMap<Key, Entry>,
    /// How often a build was asked for.
    uses: u64,
}

struct Entry {
    inputs: String,
    built: Arc<Built>,
    used: u64,
}

impl Cache {
    pub(super) fn new(budget: &Budget) -> Self {
        Self {
            limit: budget.limit() / 4,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The build of these inputs.
    pub(super) fn get(&self, key: &Key, inputs: &str) -> Option<Arc<Built>> {
        let mut kept = self.kept();
        kept.uses += 1;
        let uses = kept.uses;
        let entry = kept.builds.get_mut(key)?;
        if entry.inputs != inputs {
            return None;
        }
        entry.used = uses;
        Some(entry.built.clone())
    }

    /// Keeps a build, unless it is larger than all that may be kept.
    pub(super) fn put(&self, key: Key, inputs: String, built: Arc<Built>) {
        let mut kept = self.kept();
        kept.builds.remove(&key);
        if built.bytes() > self.limit {
            return;
        }
        let used = kept.uses;
        let entry = Entry {
            inputs,
            built,
            used,
        };
        kept.builds.insert(key, entry);
        let mut bytes: u64 = kept.builds.values().map(|entry| entry.built.bytes()).sum();
        while bytes > self.limit {
            let oldest = kept.builds.iter().min_by_key(|(_, entry)| entry.used);
            let Some(key) = oldest.map(|(key, _)| key.clone()) else {
                return;
            };
            if let Some(entry) = kept.builds.remove(&key) {
                bytes -= entry.built.bytes();
            }
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.kept().builds.remove(key);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.kept().builds.is_empty()
    }

    /// Forgets all builds; whether there were any.
    pub(super) fn clear(&self) -> bool {
        let builds = std::mem::take(&mut self.kept().builds);
        !builds.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn built(budget: &Budget, bytes: u64) -> Arc<Built> {
        let claim = budget.claim();
        claim.take(bytes).unwrap();
        Arc::new(Built {
            objects: Vec::new(),
            digest: String::new(),
            confidential: BTreeSet::new(),
            claim: Arc::new(claim),
        })
    }

    #[test]
    fn what_was_used_least_recently_goes() {
        let budget = Budget::new(400);
        let cache = Cache::new(&budget);
        let key = |name: &str| Key::new("ns", name);
        let inputs = String::from("i");
        for name in ["a", "b"] {
            cache.put(key(name), inputs.clone(), built(&budget, 40));
            assert!(cache.get(&key(name), "i").is_some());
        }
        assert!(cache.get(&key("a"), "i").is_some());
        cache.put(key("c"), inputs.clone(), built(&budget, 40));
        assert!(cache.get(&key("b"), "i").is_none());
        assert!(cache.get(&key("a"), "i").is_some() && cache.get(&key("c"), "i").is_some());
        assert!(cache.get(&key("c"), "other").is_none());
        assert_eq!(budget.used(), 80);

        cache.put(key("large"), inputs, built(&budget, 101));
        assert!(cache.get(&key("large"), "i").is_none());
        assert!(cache.clear() && !cache.clear());
        assert_eq!(budget.used(), 0);
    }
}
