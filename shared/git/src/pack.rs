//! A pack as a server sends it: received onto the disk, checked, and read from there object by object.
//!
//! Memory holds a line of some fifty bytes for each object, and the content of one object at a time: what a file holds is
//! read from the disk in small pieces where it is stored whole, so that a large one needs no memory. Only an object that is
//! stored as a delta is put together in memory, together with its base, all of it claimed.

mod decode;
mod delta;
mod receive;
mod resolve;

use std::fs::File;

pub(crate) use decode::Decoder;
pub use decode::{Content, Stream};
use gix::hash::ObjectId;
use gix::objs::Kind;
pub(crate) use receive::receive;

use crate::memory::ClaimedVec;

/// The base of an entry that is no delta.
const WHOLE: u32 = u32::MAX;
/// The longest delta chain; Git itself makes 4,095 at most.
const MAX_CHAIN: u16 = 4095;

/// An object in the pack.
#[derive(Debug, Clone, Copy)]
struct Entry {
    id: [u8; 20],
    /// Where its compressed data begins.
    offset: u64,
    /// The size of the data: of the object, or of the delta.
    stored: u32,
    /// The size of the object.
    size: u32,
    /// The entry of a delta's base, or [`WHOLE`].
    base: u32,
    /// The length of its delta chain, itself included.
    depth: u16,
    kind: Kind,
}

impl Entry {
    fn is_whole(&self) -> bool {
        self.base == WHOLE
    }
}

/// A received pack.
#[derive(Debug)]
pub(crate) struct Pack {
    file: File,
    entries: ClaimedVec<Entry>,
    /// The entries by the hashes of their objects.
    order: ClaimedVec<u32>,
}

impl Pack {
    /// The number of the entry that holds an object.
    fn position(&self, id: &ObjectId) -> Option<u32> {
        let key = |number: &u32| self.entries.get(*number as usize).map(|entry| entry.id);
        let wanted: [u8; 20] = id.as_slice().try_into().ok()?;
        let found = self
            .order
            .binary_search_by(|number| key(number).cmp(&Some(wanted)));
        self.order.get(found.ok()?).copied()
    }

    /// The objects, in the order of their hashes.
    #[cfg(test)]
    pub(crate) fn ids(&self) -> Vec<ObjectId> {
        let entry = |number: &u32| self.entries.get(*number as usize);
        let entries = self.order.iter().filter_map(entry);
        entries.map(|entry| ObjectId::Sha1(entry.id)).collect()
    }

    /// The kind and the size of an object; `None` if it is not there.
    pub(crate) fn header(&self, id: &ObjectId) -> Option<(Kind, u64)> {
        let entry = self.entries.get(self.position(id)? as usize)?;
        Some((entry.kind, u64::from(entry.size)))
    }
}
