//! What a build may use: memory, work, time and depth.
//!
//! A few kilobytes of kustomization can ask for gigabytes, for hours of work, or for nodes nested deeper than any stack
//! is. Everything that a build makes is therefore counted here while it is made. The first bound that is met ends the
//! build, even where the code on the way swallows the error: see [`Meter::stopped`].

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flux_budget::{Claim, Exhausted};

use crate::error::{Cause, Fail, Limited, Result};

/// How deep collections may nest, wherever they come from: as deep as those that are read.
pub(crate) const MAX_DEPTH: usize = flux_yaml::MAX_DEPTH;

/// The memory that a build may take, and the means to end it before it is done. Clones share both.
#[derive(Clone, Debug)]
pub struct Allowance {
    claim: Arc<Claim>,
    cancelled: Arc<AtomicBool>,
}

impl Allowance {
    /// The memory of this claim. It holds what the build has made while it runs, and afterwards what its
    /// [`Output`](crate::Output) takes.
    pub fn new(claim: Arc<Claim>) -> Self {
        Self {
            claim,
            cancelled: Arc::default(),
        }
    }

    /// No bound, for command-line tools and tests.
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

    /// The claim, to hold it as long as what the build gave.
    pub fn shared_claim(&self) -> Arc<Claim> {
        Arc::clone(&self.claim)
    }

    /// Whether the build has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// Why a build ends before it is done.
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

/// Counts what one build uses.
pub(crate) struct Meter {
    allowance: Allowance,
    limit: u64,
    left: Cell<u64>,
    stop: Cell<Option<Stop>>,
    /// Which transformer is at work, for messages.
    doing: Cell<&'static str>,
    /// Whether something that a Secret holds has been copied elsewhere.
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

    /// A meter without bounds.
    #[cfg(test)]
    pub(crate) fn unlimited() -> Rc<Self> {
        Self::new(&Allowance::unlimited(), u64::MAX)
    }

    /// Counts work: a step is about as much as looking at a few nodes.
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

    /// Counts work on as many things as this.
    pub(crate) fn work(&self, things: usize) -> Result<()> {
        self.steps(things as u64 + 1)
    }

    /// Fails where a collection has more than [`MAX_DEPTH`] collections around and including it.
    pub(crate) fn fits(depth: usize) -> Result<()> {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        Err(Fail::new(
            Cause::Limit(Limited::Nesting, MAX_DEPTH),
            format!("would nest deeper than {MAX_DEPTH} levels"),
        ))
    }

    /// Reads a text with its memory claimed: gives what came of it, and what that holds.
    pub(crate) fn read<T>(
        self: &Rc<Self>,
        text: &[u8],
        read: impl FnOnce(&[u8], &Claim) -> Result<T, flux_yaml::Error>,
    ) -> Result<(Result<T, flux_yaml::Error>, Held)> {
        self.steps(text.len() as u64 / 16 + 1)?;
        let claim = self.allowance.claim();
        let before = claim.held();
        let result = read(text, claim);
        let held = Held {
            bytes: claim.held().saturating_sub(before),
            meter: Rc::clone(self),
        };
        match &result {
            Err(error) => match exhausted(error) {
                Some(exhausted) => Err(self.stop(Stop::Memory(exhausted))),
                None => Ok((result, held)),
            },
            Ok(_) => Ok((result, held)),
        }
    }

    fn stop(&self, stop: Stop) -> Fail {
        self.stop.set(Some(stop));
        self.named(stop.fail())
    }

    /// Names the transformer that is at work.
    fn named(&self, mut fail: Fail) -> Fail {
        let doing = self.doing.get();
        if !doing.is_empty() {
            fail.message = format!("{doing}: {}", fail.message);
        }
        fail
    }

    /// Sets which transformer is at work.
    pub(crate) fn doing(&self, transformer: &'static str) {
        self.doing.set(transformer);
    }

    /// Why the build ends before it is done, if it does.
    pub(crate) fn stopped(&self) -> Option<Fail> {
        self.stop.get().map(|stop| self.named(stop.fail()))
    }

    /// Notes that something that a Secret holds is copied elsewhere: from now on no message quotes any object.
    pub(crate) fn note_spread_secret(&self) {
        self.spread_secret.set(true);
    }

    /// What a failure in an object of this kind may say: what a Secret holds, it does not quote.
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

/// Memory that something holds as long as it lives.
#[derive(Debug)]
pub(crate) struct Held {
    meter: Rc<Meter>,
    bytes: u64,
}

impl Held {
    pub(crate) fn new(meter: &Rc<Meter>) -> Self {
        Self {
            meter: Rc::clone(meter),
            bytes: 0,
        }
    }

    /// Takes more.
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

    /// Holds this much from now on.
    pub(crate) fn set(&mut self, bytes: usize) -> Result<()> {
        let wanted = bytes as u64;
        if let Some(more) = wanted.checked_sub(self.bytes) {
            return self.take(usize::try_from(more).unwrap_or(usize::MAX));
        }
        self.meter.allowance.claim.give_back(self.bytes - wanted);
        self.bytes = wanted;
        Ok(())
    }

    /// Leaves the memory claimed after the build.
    pub(crate) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Clone for Held {
    /// A copy takes as much again. Where that is too much the copy is made all the same, and the build ends.
    fn clone(&self) -> Self {
        let mut copy = Self::new(&self.meter);
        let _ = copy.take(usize::try_from(self.bytes).unwrap_or(usize::MAX));
        copy
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.meter.allowance.claim.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use flux_budget::Budget;

    use super::*;

    #[test]
    fn what_is_held_is_given_back() {
        let budget = Budget::new(100);
        let meter = Meter::new(&Allowance::new(Arc::new(budget.claim())), 1000);
        let mut one = Held::new(&meter);
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
        let held = Held::new(&meter);
        held.clone().take(60).unwrap();
        meter.steps(10).unwrap();
        assert!(meter.stopped().is_none());
        let mut held = held;
        held.take(60).unwrap();
        // Nothing tells that the copy did not fit but the end of the build.
        let _copy = held.clone();
        let stopped = meter.stopped().unwrap();
        assert!(matches!(stopped.cause, Cause::Memory(_)), "{stopped:?}");
        assert!(matches!(
            meter.steps(1).unwrap_err().cause,
            Cause::Memory(_)
        ));
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
