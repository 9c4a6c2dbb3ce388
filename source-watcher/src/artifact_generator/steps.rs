//! Bounds the time that the patterns of one generator take.

use std::sync::atomic::{AtomicU64, Ordering};

/// The steps of all patterns of one run: some seconds of work.
const MAX_STEPS: u64 = 1 << 32;

/// What is left of the steps.
#[derive(Debug)]
pub(super) struct Steps(AtomicU64);

/// The steps are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("matching the patterns takes too long: use fewer of them, or such without wildcards")]
pub(super) struct TooSlow;

impl Default for Steps {
    fn default() -> Self {
        Self::new(MAX_STEPS)
    }
}

impl Steps {
    pub(super) fn new(most: u64) -> Self {
        Self(AtomicU64::new(most))
    }

    pub(super) fn spend(&self, steps: u64) -> Result<(), TooSlow> {
        let less = |left: u64| left.checked_sub(steps);
        let spent = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        spent.map(drop).map_err(|_| TooSlow)
    }
}
