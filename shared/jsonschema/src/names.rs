//! Small immutable maps.

use std::borrow::Borrow;

/// Up to this many names a linear search is faster.
const FEW: usize = 8;

/// A map by name, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names<K, V>(Vec<(K, V)>);

impl<K, V> Default for Names<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Borrow<str> + Ord, V> Names<K, V> {
    /// Creates a map from entries in any order; the last entry with a name counts.
    pub(super) fn new(mut entries: Vec<(K, V)>) -> Self {
        if !entries.is_sorted_by(|(a, _), (b, _)| a < b) {
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries.dedup_by(|later, kept| {
                let again = later.0 == kept.0;
                if again {
                    std::mem::swap(later, kept);
                }
                again
            });
        }
        Self(entries)
    }

    pub(super) fn get(&self, name: &str) -> Option<&V> {
        if self.0.len() <= FEW {
            let mut entries = self.0.iter();
            return entries
                .find(|(key, _)| key.borrow() == name)
                .map(|(_, value)| value);
        }
        let at = self.0.binary_search_by(|(key, _)| key.borrow().cmp(name));
        self.0.get(at.ok()?).map(|(_, value)| value)
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.0.iter().map(|(key, value)| (key.borrow(), value))
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.borrow())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K, V> IntoIterator for Names<K, V> {
    type Item = (K, V);
    type IntoIter = std::vec::IntoIter<(K, V)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<K: Borrow<str> + Ord, V> FromIterator<(K, V)> for Names<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self::new(entries.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn names_are_found_among_few_and_many() {
        for count in [0, 1, 8, 9, 40] {
            let entries = (0..count).rev().map(|n| (format!("n{n}"), n)).collect();
            let names = Names::<String, i32>::new(entries);
            assert_eq!(names.len(), count as usize);
            assert!(names.keys().is_sorted());
            for n in 0..count {
                assert_eq!(names.get(&format!("n{n}")), Some(&n));
            }
            assert_eq!(names.get("n"), None);
            assert_eq!(names.get("o"), None);
        }
        let twice = [("b", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5)];
        let names = Names::new(twice.to_vec());
        assert_eq!(names.iter().collect::<Vec<_>>(), [("a", &4), ("b", &5)]);
    }
}
