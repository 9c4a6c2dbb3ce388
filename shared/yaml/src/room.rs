//! Claims the memory of a document while it is read.

use flux_budget::Claim;

use crate::error::Error;
use crate::node::Node;
use crate::value::Value;

/// Estimated bytes of a node: itself, its share of its siblings' spare capacity, and the allocator's overhead.
pub(crate) const NODE: usize = size_of::<Node>() * 3 / 2;
/// Estimated bytes of a value in a list or mapping.
pub(crate) const VALUE: usize = size_of::<Value>() * 2;

/// Bytes are claimed in portions, to avoid a claim for every node.
const PORTION: usize = 16 << 10;

/// The memory that one reader of a document has claimed.
pub(crate) struct Room<'c> {
    claim: Option<&'c Claim>,
    due: usize,
    taken: u64,
}

impl<'c> Room<'c> {
    /// A reader's room on a claim; unlimited without one.
    pub(crate) fn new(claim: Option<&'c Claim>) -> Self {
        Room {
            claim,
            due: 0,
            taken: 0,
        }
    }

    /// Counts bytes that are about to be allocated.
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

    /// Releases the claimed memory, once what was read has been dropped.
    pub(crate) fn release(self) {
        if let Some(claim) = self.claim {
            claim.give_back(self.taken);
        }
    }
}
