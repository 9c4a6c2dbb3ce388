//! A bounded map that evicts the least recently used values first.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Values by key, up to a number of bytes and of values. Beyond them the values that were used least recently go.
///
/// It belongs to one piece of work. [`Cache`](crate::Cache) is for what a process shares.
#[derive(Debug)]
pub struct Recent<K, V> {
    max_bytes: u64,
    max_values: usize,
    values: HashMap<K, Kept<V>>,
    /// The keys by their last use.
    uses: BTreeMap<u64, K>,
    clock: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    bytes: u64,
    used: u64,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    /// Nothing yet, and never more than `max_bytes`.
    pub fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            max_values: usize::MAX,
            values: HashMap::new(),
            uses: BTreeMap::new(),
            clock: 0,
            bytes: 0,
        }
    }

    /// Keeps no more than `values` values, either.
    #[must_use]
    pub fn at_most(mut self, values: usize) -> Self {
        self.max_values = values;
        self
    }

    /// The value of `key`, which counts as used.
    pub fn get<Q>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let kept = self.values.get_mut(key)?;
        self.clock += 1;
        if let Some(key) = self.uses.remove(&kept.used) {
            self.uses.insert(self.clock, key);
        }
        kept.used = self.clock;
        Some(&kept.value)
    }

    /// Keeps `value`, which takes `bytes`, in place of the one that had its key. Returns what had to go, which is
    /// `value` itself where it alone is larger than all that may be kept.
    pub fn insert(&mut self, key: K, value: V, bytes: u64) -> Vec<(K, V)> {
        let mut gone = Vec::new();
        if let Some(value) = self.remove(&key) {
            gone.push((key.clone(), value));
        }
        if bytes > self.max_bytes || self.max_values == 0 {
            gone.push((key, value));
            return gone;
        }
        while self.values.len() >= self.max_values || self.bytes > self.max_bytes - bytes {
            let Some(oldest) = self.pop() else { break };
            gone.push(oldest);
        }
        self.clock += 1;
        self.bytes += bytes;
        self.uses.insert(self.clock, key.clone());
        let kept = Kept {
            value,
            bytes,
            used: self.clock,
        };
        self.values.insert(key, kept);
        gone
    }

    /// Whether there is a value of `key`, which does not count as a use.
    pub fn contains<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.values.contains_key(key)
    }

    /// Takes away the value of `key`.
    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let kept = self.values.remove(key)?;
        self.uses.remove(&kept.used);
        self.bytes -= kept.bytes;
        Some(kept.value)
    }

    /// Takes away the values that `goes` names, those used least recently first, until they made up `bytes`.
    pub fn remove_oldest(&mut self, bytes: u64, goes: impl Fn(&V) -> bool) -> Vec<(K, V)> {
        let (mut sum, mut keys) = (0_u64, Vec::new());
        for key in self.uses.values() {
            if sum >= bytes {
                break;
            }
            if let Some(kept) = self.values.get(key).filter(|kept| goes(&kept.value)) {
                sum = sum.saturating_add(kept.bytes);
                keys.push(key.clone());
            }
        }
        let removed = keys.into_iter().map(|key| (self.remove(&key), key));
        removed
            .filter_map(|(value, key)| Some((key, value?)))
            .collect()
    }

    /// Takes away all values.
    pub fn clear(&mut self) {
        self.values.clear();
        self.uses.clear();
        self.bytes = 0;
    }

    /// The bytes of all values together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    fn pop(&mut self) -> Option<(K, V)> {
        let (_, key) = self.uses.pop_first()?;
        let kept = self.values.remove(&key)?;
        self.bytes -= kept.bytes;
        Some((key, kept.value))
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    fn keys<V>(gone: Vec<(&'static str, V)>) -> Vec<&'static str> {
        gone.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn the_least_recently_used_value_is_removed_first() {
        let mut recent = Recent::new(10);
        for key in ["a", "b", "c"] {
            assert!(recent.insert(key, (), 3).is_empty());
        }
        assert!(recent.get("a").is_some());
        assert_eq!(keys(recent.insert("d", (), 3)), ["b"]);
        assert_eq!(keys(recent.insert("e", (), 6)), ["c", "a"]);
        assert_eq!((recent.bytes(), recent.len()), (9, 2));
        assert!(recent.get("b").is_none());
    }

    #[test]
    fn a_too_large_value_evicts_no_other() {
        let mut recent = Recent::new(10);
        recent.insert("a", 1, 10);
        assert_eq!(recent.insert("large", 2, 11), [("large", 2)]);
        assert_eq!(recent.get("a"), Some(&1));
        assert_eq!(recent.insert("a", 3, 11), [("a", 1), ("a", 3)]);
        assert!(recent.is_empty() && recent.bytes() == 0);
    }

    #[test]
    fn a_value_takes_the_place_of_the_one_before() {
        let mut recent = Recent::new(10);
        recent.insert("a", 1, 4);
        recent.insert("b", 2, 4);
        assert_eq!(recent.insert("a", 3, 6), [("a", 1)]);
        assert_eq!(recent.get("a"), Some(&3));
        assert_eq!(recent.bytes(), 10);
        assert_eq!(recent.remove("a"), Some(3));
        assert_eq!(recent.remove("a"), None);
        recent.clear();
        assert!(recent.is_empty() && recent.bytes() == 0);
    }

    #[test]
    fn the_number_of_values_is_bounded_too() {
        let mut recent = Recent::new(10).at_most(2);
        recent.insert("a", (), 1);
        recent.insert("b", (), 1);
        assert_eq!(keys(recent.insert("c", (), 1)), ["a"]);
        assert_eq!(keys(Recent::new(10).at_most(0).insert("a", (), 1)), ["a"]);
    }

    #[test]
    fn the_oldest_removable_values_are_removed_first() {
        let mut recent = Recent::new(100);
        for (key, stays) in [("a", false), ("b", true), ("c", false), ("d", false)] {
            recent.insert(key, stays, 10);
        }
        let gone = recent.remove_oldest(15, |stays| !stays);
        assert_eq!(keys(gone), ["a", "c"]);
        assert_eq!(recent.bytes(), 20);
        assert!(recent.remove_oldest(0, |_| true).is_empty());
    }
}
