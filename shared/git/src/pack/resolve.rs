//! The second pass over a pack: resolves deltas, and hashes them.

use std::fs::File;
use std::sync::Arc;

use flux_budget::Claim;
use gix::hash::{ObjectId, hasher};
use gix::objs::Kind;

use super::decode::Decoder;
use super::receive::corrupt;
use super::{Entry, MAX_CHAIN, Pack, WHOLE};
use crate::error::Fault;
use crate::memory::ClaimedVec;
use crate::session::Session;

/// Deltas that refer to their bases by hash: the base's hash, and the index of the entry.
pub(super) type References = ClaimedVec<([u8; 20], u32)>;

/// An object's hash, computed in Git's way.
pub(crate) struct Hash(gix::hash::Hasher);

impl Hash {
    pub(crate) fn new(kind: Kind, size: u32) -> Self {
        let mut hasher = hasher(gix::hash::Kind::Sha1);
        hasher.update(format!("{kind} {size}\0").as_bytes());
        Self(hasher)
    }

    pub(crate) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash; an error if the content is a known kind of collision attack.
    pub(crate) fn finish(self) -> Result<[u8; 20], Fault> {
        let id: ObjectId = self
            .0
            .try_finalize()
            .map_err(|error| corrupt(&error.to_string()))?;
        id.as_slice()
            .try_into()
            .map_err(|_| corrupt("a hash has an unknown length"))
    }
}

/// Computes the hashes of all objects and makes the pack readable.
pub(super) fn resolve(
    file: File,
    entries: ClaimedVec<Entry>,
    references: References,
    session: &Session,
    claim: &Arc<Claim>,
) -> Result<Pack, Fault> {
    let mut pass = Pass {
        decoder: Decoder::new(claim, Some(session.stop_flag())),
        file: &file,
        entries,
        references,
        offsets: ClaimedVec::new(claim, "objects"),
        pending: ClaimedVec::new(claim, "objects"),
        resolved: 0,
    };
    pass.run(session)?;
    let entries = pass.entries;
    let mut order = ClaimedVec::new(claim, "objects");
    for number in 0..entries.len() as u32 {
        order.push(number, 0)?;
    }
    order
        .as_mut_slice()
        .sort_unstable_by_key(|number: &u32| entries.get(*number as usize).map(|entry| entry.id));
    Ok(Pack {
        file,
        entries,
        order,
    })
}

struct Pass<'a> {
    decoder: Decoder,
    file: &'a File,
    entries: ClaimedVec<Entry>,
    references: References,
    /// Base and delta, for bases given by offset.
    offsets: ClaimedVec<(u32, u32)>,
    /// Deltas whose base is resolved.
    pending: ClaimedVec<u32>,
    resolved: usize,
}

impl Pass<'_> {
    fn run(&mut self, session: &Session) -> Result<(), Fault> {
        for number in 0..self.entries.len() {
            let base = self.entries[number].base;
            if base < WHOLE - 1 {
                self.offsets.push((base, number as u32), 0)?;
            }
        }
        self.offsets.as_mut_slice().sort_unstable();
        self.references.as_mut_slice().sort_unstable();
        let deltas = self.offsets.len() + self.references.len();
        if deltas == 0 {
            return Ok(());
        }
        for number in 0..self.entries.len() {
            if self.entries[number].is_whole() {
                self.follow(number as u32)?;
                // Depth first: the last object is usually the base of the next.
                while let Some(next) = self.pending.pop(|_| 0) {
                    session.check()?;
                    self.object(next)?;
                    self.follow(next)?;
                }
            }
        }
        if self.resolved == deltas {
            Ok(())
        } else {
            Err(corrupt("the base of a delta is missing"))
        }
    }

    /// Queues the deltas whose base is this entry.
    fn follow(&mut self, base: u32) -> Result<(), Fault> {
        let entry = self.entries[base as usize];
        let first = self.offsets.partition_point(|(of, _)| *of < base);
        for at in first..self.offsets.len() {
            let (of, number) = self.offsets[at];
            if of != base {
                break;
            }
            self.adopt(number, base, entry)?;
        }
        let first = self.references.partition_point(|(of, _)| *of < entry.id);
        for at in first..self.references.len() {
            let (of, number) = self.references[at];
            if of != entry.id {
                break;
            }
            // An object may be in the pack twice; its deltas are resolved once.
            if self.entries[number as usize].base == WHOLE - 1 {
                self.adopt(number, base, entry)?;
            }
        }
        Ok(())
    }

    fn adopt(&mut self, number: u32, base: u32, of: Entry) -> Result<(), Fault> {
        if of.depth >= MAX_CHAIN {
            return Err(Fault::TooLarge {
                limit: u64::from(MAX_CHAIN),
                unit: "deltas in one chain of the pack",
            });
        }
        let entry = &mut self.entries.as_mut_slice()[number as usize];
        entry.base = base;
        entry.kind = of.kind;
        entry.depth = of.depth + 1;
        self.pending.push(number, 0)
    }

    fn object(&mut self, number: u32) -> Result<(), Fault> {
        let content = self.decoder.object(self.file, &self.entries, number)?;
        let entry = &mut self.entries.as_mut_slice()[number as usize];
        let mut hash = Hash::new(entry.kind, entry.size);
        hash.update(&content);
        entry.id = hash.finish()?;
        self.resolved += 1;
        Ok(())
    }
}
