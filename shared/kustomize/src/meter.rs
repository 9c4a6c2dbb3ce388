//! Limits the memory, work, time and nesting of a build.
//!
//! A few kilobytes of kustomization can require gigabytes, hours of work, or nodes nested deeper than any stack.
//! Everything that a build creates is therefore counted while it is created. The first limit that is exceeded ends the
//! build, even if the code on the way swallows the error: see [`Meter::stopped`].

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flux_budget::{Claim, Exhausted};

use crate::error::{Cause, Fail, Limited, Result};

/// The maximum nesting of collections, whatever their origin: that of the reader.
pub(crate) const MAX_DEPTH: usize = flux_yaml::MAX_DEPTH;

/// The memory that a build may use, and its cancellation. Clones share both.
#[derive(Clone, Debug)]
pub struct Allowance {
    claim: Arc<Claim>,
    cancelled: Arc<AtomicBool>,
}

impl Allowance {
    /// An allowance with the memory of this claim. The claim holds what the build has created while it runs, and
    /// afterwards the memory of its [`Output`](crate::Output).
    pub fn new(claim: Arc<Claim>) -> Self {
        Self {
            claim,
            cancelled: Arc::default(),
        }
    }

    /// No limit, for command-line tools and tests.
    pub fn unlimited() -> Self {
        Self::new(Arc::new(Claim::unlimited()))
    }

    /// Ends the build soon with [`Error::Cancelled`](crate::Error::Cancelled).
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// The claim.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The claim, shared, to hold it as long as the build's output.
    pub fn shared_claim(&self) -> Arc<Claim> {
        Arc::clone(&self.claim)
    }

    /// Whether the build has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// Why a build ended early.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stop {
    Memory(Exhausted),
    Steps(u64),
    Cancelled,
}

impl Stop {
    fn fail(self) -> Fail {
        match self {
            Self::Memory(exhausted) => Fail::new(Cause::Memory(exhausted), exhausted.to_string()),
            Self::Steps(allowed) => Fail::new(
                Cause::Limit(
                    Limited::Steps,
                    usize::try_from(allowed).unwrap_or(usize::MAX),
                ),
                format!(
                    "the build takes more than {allowed} steps: split it into smaller ones, or simplify its patterns, patches and lists"
                ),
            ),
            Self::Cancelled => Fail::new(Cause::Cancelled, "the build was cancelled"),
        }
    }
}

/// Counts the resources that one build uses.
pub(crate) struct Meter {
    allowance: Allowance,
    limit: u64,
    left: Cell<u64>,
    stop: Cell<Option<Stop>>,
    /// The current transformer, for messages.
    doing: Cell<&'static str>,
    /// Whether content of a Secret has been copied to another object.
    spread_secret: Cell<bool>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl Meter {
    pub(crate) fn new(allowance: &Allowance, steps: u64) -> Rc<Self> {
        Rc::new(Self {
            allowance: allowance.clone(),
            limit: steps,
            left: Cell::new(steps),
            stop: Cell::new(None),
            doing: Cell::new(""),
            spread_secret: Cell::new(false),
        })
    }

    /// A meter without limits.
    #[cfg(test)]
    pub(crate) fn unlimited() -> Rc<Self> {
        Self::new(&Allowance::unlimited(), u64::MAX)
    }

    /// Counts work: a step is roughly the visit of a few nodes.
    pub(crate) fn steps(&self, steps: u64) -> Result<()> {
        if let Some(stop) = self.stop.get() {
            return Err(self.named(stop.fail()));
        }
        if self.allowance.is_cancelled() {
            return Err(self.stop(Stop::Cancelled));
        }
        match self.left.get().checked_sub(steps) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(self.stop(Stop::Steps(self.limit))),
        }
    }

    /// Counts work on this many items.
    pub(crate) fn work(&self, things: usize) -> Result<()> {
        self.steps(things as u64 + 1)
    }

    /// Fails if a collection is nested deeper than [`MAX_DEPTH`].
    pub(crate) fn fits(depth: usize) -> Result<()> {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        Err(Fail::new(
            Cause::Limit(Limited::Nesting, MAX_DEPTH),
            format!("would nest deeper than {MAX_DEPTH} levels"),
        ))
    }

    /// Reads a text with its memory claimed: returns the result, and the memory that it holds.
    pub(crate) fn read<T>(
        self: &Rc<Self>,
        text: &[u8],
        read: impl FnOnce(&[u8], &Claim) -> Result<T, flux_yaml::Error>,
    ) -> Result<(Result<T, flux_yaml::Error>, Charge)> {
        self.steps(text.len() as u64 / 16 + 1)?;
        let claim = self.allowance.claim();
        let before = claim.held();
        let result = read(text, claim);
        let charge = Charge {
            bytes: claim.held().saturating_sub(before),
            meter: Rc::clone(self),
        };
        match &result {
            Err(error) => match exhausted(error) {
                Some(exhausted) => Err(self.stop(Stop::Memory(exhausted))),
                None => Ok((result, charge)),
            },
            Ok(_) => Ok((result, charge)),
        }
    }

    fn stop(&self, stop: Stop) -> Fail {
        self.stop.set(Some(stop));
        self.named(stop.fail())
    }

    /// Adds the current transformer to a failure.
    fn named(&self, mut fail: Fail) -> Fail {
        let doing = self.doing.get();
        if !doing.is_empty() {
            fail.message = format!("{doing}: {}", fail.message);
        }
        fail
    }

    /// Sets the current transformer.
    pub(crate) fn doing(&self, transformer: &'static str) {
        self.doing.set(transformer);
    }

    /// Why the build ended early, if it did.
    pub(crate) fn stopped(&self) -> Option<Fail> {
        self.stop.get().map(|stop| self.named(stop.fail()))
    }

    /// Records that content of a Secret was copied to another object: from then on messages quote no object.
    pub(crate) fn note_spread_secret(&self) {
        self.spread_secret.set(true);
    }

    /// The failure as it may be shown for an object of this kind: without quotes for a Secret.
    pub(crate) fn in_object_of(&self, kind: &str, fail: Fail) -> Fail {
        if self.spread_secret.get() || matches!(kind, "Secret" | "SecretList" | "List") {
            fail.without_quotes()
        } else {
            fail.with_quotes()
        }
    }
}

fn exhausted(error: &flux_yaml::Error) -> Option<Exhausted> {
    match error {
        flux_yaml::Error::Memory(exhausted) => Some(*exhausted),
        flux_yaml::Error::Convert(inner) => exhausted(inner),
        _ => None,
    }
}

/// Claimed memory, released on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    meter: Rc<Meter>,
    bytes: u64,
}

impl Charge {
    pub(crate) fn new(meter: &Rc<Meter>) -> Self {
        Self {
            meter: Rc::clone(meter),
            bytes: 0,
        }
    }

    /// Claims more.
    pub(crate) fn take(&mut self, bytes: usize) -> Result<()> {
        let bytes = bytes as u64;
        match self.meter.allowance.claim.take(bytes) {
            Ok(()) => {
                self.bytes += bytes;
                Ok(())
            }
            Err(exhausted) => Err(self.meter.stop(Stop::Memory(exhausted))),
        }
    }

    /// Sets the claimed bytes.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<()> {
        let wanted = bytes as u64;
        if let Some(more) = wanted.checked_sub(self.bytes) {
            return self.take(usize::try_from(more).unwrap_or(usize::MAX));
        }
        self.meter.allowance.claim.give_back(self.bytes - wanted);
        self.bytes = wanted;
        Ok(())
    }

    /// Keeps the memory claimed after the build.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Clone for Charge {
    /// Claims the same again. If that exceeds the limit, the copy succeeds and the build ends.
    fn clone(&self) -> Self {
        let mut copy = Self::new(&self.meter);
        let _ = copy.take(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        copy
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.meter.allowance.claim.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use flux_budget::Budget;

    use super::*;

    #[test]
    fn held_memory_is_released() {
        let budget = Budget::new(100);
        let meter = Meter::new(&Allowance::new(Arc::new(budget.claim())), 1000);
        let mut one = Charge::new(&meter);
        one.set(60).unwrap();
        one.set(40).unwrap();
        let two = one.clone();
        assert_eq!(budget.used(), 80);
        drop(one);
        assert_eq!(budget.used(), 40);
        two.keep();
        assert_eq!(budget.used(), 40);
    }

    #[test]
    fn the_first_bound_that_is_met_ends_the_build() {
        let budget = Budget::new(100);
        let meter = Meter::new(&Allowance::new(Arc::new(budget.claim())), 10);
        let charge = Charge::new(&meter);
        charge.clone().take(60).unwrap();
        meter.steps(10).unwrap();
        assert!(meter.stopped().is_none());
        let mut charge = charge;
        charge.take(60).unwrap();
        // The failed claim of the copy only shows in the end of the build.
        let _copy = charge.clone();
        let stopped = meter.stopped().unwrap();
        assert!(matches!(stopped.cause, Cause::Memory(_)), "{stopped:?}");
        assert!(matches!(
            meter.steps(1).unwrap_err().cause,
            Cause::Memory(_)
        ));
    }

    #[test]
    fn the_number_of_steps_that_is_allowed_is_named() {
        let meter = Meter::new(&Allowance::unlimited(), 10);
        meter.steps(10).unwrap();
        let fail = meter.steps(1).unwrap_err();
        assert!(matches!(fail.cause, Cause::Limit(Limited::Steps, 10)));
        let text = fail.message;
        assert!(
            text.starts_with("the build takes more than 10 steps: "),
            "{text}"
        );
    }

    #[test]
    fn a_cancelled_build_ends() {
        let allowance = Allowance::unlimited();
        let meter = Meter::new(&allowance, 10);
        meter.steps(1).unwrap();
        allowance.cancel();
        assert!(matches!(
            meter.steps(1).unwrap_err().cause,
            Cause::Cancelled
        ));
    }
}
