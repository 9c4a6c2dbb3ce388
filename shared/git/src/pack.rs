//! A pack as sent by a server: received to disk, verified, and read from there object by object.
//!
//! Memory holds about fifty bytes per object, and the content of one object at a time. The content of a file that is
//! stored whole is streamed from disk, so that a large file needs no memory. Only objects stored as deltas are
//! reconstructed in memory, together with their bases, all of it claimed.

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
pub(crate) use resolve::Hash as ObjectHash;

use crate::memory::ClaimedVec;

/// The base of an entry that is not a delta.
const WHOLE: u32 = u32::MAX;
/// The maximum length of a delta chain; Git itself writes at most 4,095.
const MAX_CHAIN: u16 = 4095;

/// An object in the pack.
#[derive(Debug, Clone, Copy)]
struct Entry {
    id: [u8; 20],
    /// Offset of its compressed data.
    offset: u64,
    /// The size of the inflated data: of the object, or of the delta.
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
    /// The index of the entry that holds an object.
    fn position(&self, id: &ObjectId) -> Option<u32> {
        let key = |number: &u32| self.entries.get(*number as usize).map(|entry| entry.id);
        let wanted: [u8; 20] = id.as_slice().try_into().ok()?;
        let found = self
            .order
            .binary_search_by(|number| key(number).cmp(&Some(wanted)));
        self.order.get(found.ok()?).copied()
    }

    /// The objects, ordered by hash.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn ids(&self) -> Vec<ObjectId> {
        let entry = |number: &u32| self.entries.get(*number as usize);
        let entries = self.order.iter().filter_map(entry);
        entries.map(|entry| ObjectId::Sha1(entry.id)).collect()
    }

    /// The kind and the size of an object; `None` if it does not exist.
    pub(crate) fn header(&self, id: &ObjectId) -> Option<(Kind, u64)> {
        let entry = self.entries.get(self.position(id)? as usize)?;
        Some((entry.kind, u64::from(entry.size)))
    }
}
