//! A limit on matching, counted in steps so that the outcome does not depend on the machine.

use std::cell::Cell;

/// The remaining steps.
#[derive(Clone, Debug)]
pub(crate) struct Steps(Cell<u64>);

/// The limit is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent;

impl Steps {
    pub(crate) fn new(steps: u64) -> Self {
        Self(Cell::new(steps))
    }

    pub(crate) fn spend(&self, steps: usize) -> Result<(), Spent> {
        let left = self.0.get().checked_sub(steps as u64).ok_or(Spent)?;
        self.0.set(left);
        Ok(())
    }
}
