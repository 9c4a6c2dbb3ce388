//! The memory that a document takes while it is read, claimed before it is all there.

use flux_budget::Claim;

use crate::error::Error;
use crate::node::Node;
use crate::value::Value;

/// Bytes that a node takes: itself, its share of the room that its siblings' list has to spare, and what the allocator
/// adds.
pub(crate) const NODE: usize = size_of::<Node>() * 3 / 2;
/// Bytes that a value takes within a list or mapping, likewise.
pub(crate) const VALUE: usize = size_of::<Value>() * 2;

/// Bytes are claimed in portions, so that not every node asks.
const PORTION: usize = 16 << 10;

/// What one reader of a document has claimed.
pub(crate) struct Room<'c> {
    claim: Option<&'c Claim>,
    due: usize,
    taken: u64,
}

impl<'c> Room<'c> {
    /// Room on a claim, or without a bound.
    pub(crate) fn new(claim: Option<&'c Claim>) -> Self {
        Room {
            claim,
            due: 0,
            taken: 0,
        }
    }

    /// Counts bytes that are about to be taken.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.due = self.due.saturating_add(bytes);
        if self.due < PORTION {
            return Ok(());
        }
        let due = std::mem::take(&mut self.due) as u64;
        if let Some(claim) = self.claim {
            claim.take(due).map_err(Error::Memory)?;
            self.taken += due;
        }
        Ok(())
    }

    /// Gives back what was claimed, once what was read has been dropped.
    pub(crate) fn release(self) {
        if let Some(claim) = self.claim {
            claim.give_back(self.taken);
        }
    }
}
