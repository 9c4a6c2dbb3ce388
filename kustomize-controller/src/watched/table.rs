//! The states of the objects of one kind, as the watch has last reported them.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashSet};
use std::hash::{Hash, Hasher};

use flux_budget::{Claim, Exhausted};
use flux_cluster::{Live, Seen, Uid};
use flux_runtime::queue::Key;

use super::owners::Owners;
use crate::kustomization::{NAME_LABEL, NAMESPACE_LABEL};

/// What an object is claimed with: 57 bytes of a table that is at least seven sixteenths full, and its part of an owner,
/// which takes about 200 bytes.
const OBJECT: u64 = 180;

/// An object.
#[derive(Debug)]
struct Entry {
    live: Live,
    owner: u32,
    /// The list that had it, or that was the last one when it was reported.
    list: u32,
}

impl Borrow<Uid> for Entry {
    fn borrow(&self) -> &Uid {
        &self.live.uid
    }
}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.live.uid.hash(state);
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.live.uid == other.live.uid
    }
}

impl Eq for Entry {}

/// A change of an object: its owner, its uid, and its state, `None` if it is gone.
pub(super) type Change = (Key, Uid, Option<Live>);

/// The states of the objects of one kind.
#[derive(Debug)]
pub(super) struct Table {
    entries: HashSet<Entry>,
    owners: Owners,
    claims: [Claim; 2],
    /// Counts the lists.
    list: u32,
    /// Whether the watch is open, and so the states are what the server last reported.
    is_current: bool,
}

impl Table {
    /// An empty table, whose memory is taken from each of the claims; the tables of all kinds share `owners`.
    pub(super) fn new(claims: [Claim; 2], owners: Owners) -> Self {
        Self {
            entries: HashSet::new(),
            owners,
            claims,
            list: 0,
            is_current: false,
        }
    }

    /// The state of each object; `None` if the table is not current.
    pub(super) fn states(&self, objects: &[Uid]) -> Option<Vec<Option<Live>>> {
        let state = |uid| self.entries.get(uid).map(|entry| entry.live);
        self.is_current.then(|| objects.iter().map(state).collect())
    }

    /// The watch is open, or no longer is.
    pub(super) fn set_current(&mut self, is_current: bool) {
        self.is_current = is_current;
    }

    /// Begins a list: what it does not have will be dropped.
    pub(super) fn begin(&mut self) {
        self.is_current = false;
        self.list = self.list.wrapping_add(1);
    }

    /// Stores a state. Returns the change, if it is one.
    ///
    /// # Errors
    /// There is no memory for it.
    pub(super) fn put(&mut self, seen: Seen) -> Result<Option<Change>, Exhausted> {
        let Seen { live, labels } = seen;
        let before = self.entries.take(&live.uid);
        let owner = owner(labels);
        let number = self.owners.add(owner.clone());
        let is_same = before.as_ref().is_some_and(|before| before.live == live);
        if let Some(before) = before {
            self.owners.remove(before.owner);
        } else if let Err(exhausted) = self.claim() {
            self.owners.remove(number);
            return Err(exhausted);
        }
        self.entries.insert(Entry {
            live,
            owner: number,
            list: self.list,
        });
        Ok((!is_same).then_some((owner, live.uid, Some(live))))
    }

    fn claim(&self) -> Result<(), Exhausted> {
        let [process, share] = &self.claims;
        share.take(OBJECT)?;
        process
            .take(OBJECT)
            .inspect_err(|_| share.give_back(OBJECT))
    }

    /// Drops an object. Returns the change, if it is one.
    pub(super) fn remove(&mut self, uid: Uid) -> Option<Change> {
        let entry = self.entries.take(&uid)?;
        for claim in &self.claims {
            claim.give_back(OBJECT);
        }
        Some((self.owners.remove(entry.owner), uid, None))
    }

    /// Ends a list: drops the objects that it did not have. Returns the changes.
    pub(super) fn end(&mut self) -> Vec<Change> {
        let list = self.list;
        let entries = self.entries.iter();
        let gone: Vec<Uid> = entries
            .filter(|entry| entry.list != list)
            .map(|entry| entry.live.uid)
            .collect();
        let changes = gone.into_iter().filter_map(|uid| self.remove(uid));
        let changes = changes.collect();
        if self.entries.len() < self.entries.capacity() / 4 {
            self.entries.shrink_to_fit();
        }
        changes
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        let claims = self.claims.each_ref();
        for claim in claims {
            claim.give_back(u64::MAX);
        }
        self.is_current = false;
        for entry in std::mem::take(&mut self.entries) {
            self.owners.remove(entry.owner);
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.clear();
    }
}

/// The Kustomization that the labels of an object name.
fn owner(mut labels: BTreeMap<String, String>) -> Key {
    let mut label = |key| labels.remove(key).unwrap_or_default();
    Key::new(label(NAMESPACE_LABEL), label(NAME_LABEL))
}

#[cfg(test)]
pub(super) mod tests;
