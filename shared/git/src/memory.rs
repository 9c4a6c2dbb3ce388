//! Memory that grows with the content of a repository: claimed before it is allocated, released on drop.

use std::ops::Deref;
use std::sync::Arc;

use flux_budget::Claim;

use crate::error::Fault;

/// Claimed bytes.
#[derive(Debug)]
pub(crate) struct Portion {
    claim: Arc<Claim>,
    what: &'static str,
    bytes: u64,
}

impl Portion {
    /// Claims `bytes` for `what`, which an error names.
    pub(crate) fn take(
        claim: &Arc<Claim>,
        what: &'static str,
        bytes: usize,
    ) -> Result<Self, Fault> {
        let mut portion = Self {
            claim: Arc::clone(claim),
            what,
            bytes: 0,
        };
        portion.grow(bytes)?;
        Ok(portion)
    }

    /// Claims `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Fault> {
        let what = self.what;
        self.claim
            .take(bytes as u64)
            .map_err(|exhausted| Fault::Memory { what, exhausted })?;
        self.bytes += bytes as u64;
        Ok(())
    }

    fn shrink(&mut self, bytes: usize) {
        let bytes = (bytes as u64).min(self.bytes);
        self.claim.give_back(bytes);
        self.bytes -= bytes;
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.claim.give_back(self.bytes);
    }
}

/// A list whose memory is claimed as it grows.
#[derive(Debug)]
pub(crate) struct ClaimedVec<T> {
    items: Vec<T>,
    portion: Portion,
}

impl<T> ClaimedVec<T> {
    /// An empty list; errors name its content `what`.
    pub(crate) fn new(claim: &Arc<Claim>, what: &'static str) -> Self {
        let portion = Portion {
            claim: Arc::clone(claim),
            what,
            bytes: 0,
        };
        Self {
            items: Vec::new(),
            portion,
        }
    }

    /// Appends an item that owns `heap` bytes in addition to its own size.
    pub(crate) fn push(&mut self, item: T, heap: usize) -> Result<(), Fault> {
        let before = self.items.capacity();
        if self.items.len() == before {
            // While the list is reallocated, both the old and the new buffer exist.
            let more = (before / 2).max(16);
            self.portion
                .grow((before + more).saturating_mul(size_of::<T>()))?;
            self.items.reserve_exact(more);
            self.portion.shrink(before * size_of::<T>());
        }
        if heap > 0 {
            self.portion.grow(heap)?;
        }
        self.items.push(item);
        Ok(())
    }

    /// Removes the last item, which owns `heap` bytes.
    pub(crate) fn pop(&mut self, heap: impl FnOnce(&T) -> usize) -> Option<T> {
        let item = self.items.pop()?;
        self.portion.shrink(heap(&item));
        Some(item)
    }

    /// Removes an item by moving the last one to its place. What it owned stays claimed.
    pub(crate) fn swap_remove(&mut self, index: usize) -> T {
        self.items.swap_remove(index)
    }

    /// The items, mutable.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.items
    }
}

impl<T> Deref for ClaimedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

#[cfg(test)]
mod tests {
    use flux_budget::Budget;

    use super::*;

    #[test]
    fn lists_claim_and_release_their_memory() {
        let budget = Budget::new(10_000);
        let claim = Arc::new(budget.claim());
        let mut list = ClaimedVec::new(&claim, "numbers");
        for number in 0..100_u64 {
            list.push(number, 10).unwrap();
        }
        assert!(budget.used() >= 100 * 18, "{}", budget.used());
        assert_eq!(list.pop(|_| 10), Some(99));
        let before = budget.used();
        list.push(99, 10).unwrap();
        assert_eq!(budget.used(), before + 10);
        let refused = (0..).find_map(|number| list.push(number, 0).err()).unwrap();
        assert!(refused.to_string().contains("numbers"), "{refused}");
        assert!(refused.is_too_large());
        drop(list);
        assert_eq!(budget.used(), 0);
    }
}
