//! The due keys of one priority: namespaces take turns.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Key;

/// Due keys, handed out one namespace after the other: the namespace that was served least recently comes first, and of
/// those served equally long ago the one whose first key has been due for longer. All operations are logarithmic.
///
/// A namespace without due keys loses its place. When it returns it counts as served last, so that a namespace that
/// adds a key after each one that is handed out gets one turn in each round, like any other.
#[derive(Default)]
pub(super) struct Turns {
    lines: HashMap<String, Line>,
    /// For each namespace: its turn, the order of its first key, its name.
    next: BTreeSet<(u64, u64, String)>,
    /// How many keys have been handed out.
    served: u64,
}

/// The due keys of one namespace.
struct Line {
    /// The value of `served` after the namespace's last turn.
    turn: u64,
    /// Names by the order in which they became due, which is unique.
    names: BTreeMap<u64, String>,
}

impl Turns {
    /// Whether nothing is due.
    pub(super) fn is_empty(&self) -> bool {
        self.next.is_empty()
    }

    /// Adds a key that was the `order`th to become due.
    pub(super) fn insert(&mut self, key: &Key, order: u64) {
        let turn = self.served;
        self.change(&key.namespace, turn, |line| {
            line.names.insert(order, key.name.clone());
        });
    }

    /// Removes the key that was added with `order`, if it exists.
    pub(super) fn remove(&mut self, key: &Key, order: u64) {
        if self.lines.contains_key(&key.namespace) {
            self.change(&key.namespace, 0, |line| {
                line.names.remove(&order);
            });
        }
    }

    /// Removes and returns the key whose turn it is.
    pub(super) fn pop(&mut self) -> Option<Key> {
        let (_, order, namespace) = self.next.first().cloned()?;
        self.served += 1;
        let turn = self.served;
        let mut name = None;
        self.change(&namespace, turn, |line| {
            name = line.names.remove(&order);
            line.turn = turn;
        });
        Some(Key {
            namespace,
            name: name?,
        })
    }

    /// Changes the line of a namespace, created with `turn` if it does not exist, and its place in `next`.
    fn change(&mut self, namespace: &str, turn: u64, change: impl FnOnce(&mut Line)) {
        let mut line = self.lines.remove(namespace).unwrap_or_else(|| Line {
            turn,
            names: BTreeMap::new(),
        });
        if let Some(first) = line.names.keys().next() {
            self.next.remove(&(line.turn, *first, namespace.to_owned()));
        }
        change(&mut line);
        if let Some(first) = line.names.keys().next() {
            self.next.insert((line.turn, *first, namespace.to_owned()));
            self.lines.insert(namespace.to_owned(), line);
        }
    }
}
