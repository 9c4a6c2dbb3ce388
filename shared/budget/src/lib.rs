//! Memory that the concurrent work of a process shares: what is read from outside, or made from it, is claimed before it
//! is allocated, so that hostile or merely large input fails with an error instead of the whole process.
//!
//! ```
//! use flux_budget::Budget;
//!
//! let budget = Budget::new(100);
//! let build = budget.claim();
//! build.take(70)?;
//! assert!(budget.claim().take(70).is_err()); // another run has to wait
//! drop(build); // gives everything back
//! budget.claim().take(70)?;
//! # Ok::<(), flux_budget::Exhausted>(())
//! ```
//!
//! Cached values are evicted for claims: a [`Cache`] drops unused values before a claim fails. [`Recent`] is the same cache
//! without a budget, for one piece of work.
//!
//! The caller decides how large the budget is, what a value costs and what to do if it does not fit. Claims are
//! estimates: they bound the memory of a process, they do not measure it.

mod cache;
mod recent;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

pub use cache::Cache;
pub use recent::Recent;

/// The bytes that all claims of a process may hold together. Clones share them.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    limit: u64,
    used: AtomicU64,
    /// What gives memory back when a claim does not fit.
    caches: Mutex<Vec<Weak<dyn Reclaim>>>,
}

/// Something that holds memory of a budget only to save time.
trait Reclaim: Send + Sync {
    /// Gives back about `bytes`, or what it can. Returns whether that was anything.
    fn reclaim(&self, bytes: u64) -> bool;
}

impl Pool {
    fn caches(&self) -> MutexGuard<'_, Vec<Weak<dyn Reclaim>>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the caches give back about `bytes`. Returns whether one did.
    fn reclaim(&self, bytes: u64) -> bool {
        let caches: Vec<_> = self.caches().iter().filter_map(Weak::upgrade).collect();
        caches.iter().any(|cache| cache.reclaim(bytes))
    }

    /// Adds `bytes` to what is held. The error is what is held where they do not fit.
    fn add(&self, bytes: u64) -> Result<(), u64> {
        let fits = |used: u64| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        let added = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        added.map(|_| ())
    }
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Pool {
            limit,
            used: AtomicU64::new(0),
            caches: Mutex::default(),
        }))
    }

    /// A budget without a limit, for command-line tools and tests.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// An empty claim. One piece of work takes all of its memory through one claim, so that an error can tell work that
    /// is too large from work that has to wait.
    pub fn claim(&self) -> Claim {
        Claim {
            pool: self.0.clone(),
            held: AtomicU64::new(0),
        }
    }

    /// The bytes that may be held together.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// The bytes that are held now.
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Has `cache` give memory back before a claim fails, for as long as it is there.
    fn reclaim_from(&self, cache: Weak<dyn Reclaim>) {
        let mut caches = self.0.caches();
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(cache);
    }

    #[cfg(test)]
    fn caches(&self) -> usize {
        let caches = self.0.caches();
        caches
            .iter()
            .filter(|cache| cache.strong_count() > 0)
            .count()
    }
}

/// What one piece of work holds of a [`Budget`]; dropping it gives everything back.
#[derive(Debug)]
pub struct Claim {
    pool: Arc<Pool>,
    held: AtomicU64,
}

impl Claim {
    /// A claim on a separate budget without a limit.
    pub fn unlimited() -> Self {
        Budget::unlimited().claim()
    }

    /// Takes `bytes` more, or nothing if they do not fit. Caches of the budget are evicted first.
    ///
    /// # Errors
    /// [`Exhausted`] if the bytes do not fit in addition to those of other claims.
    pub fn take(&self, bytes: u64) -> Result<(), Exhausted> {
        loop {
            let Err(used) = self.pool.add(bytes) else {
                self.held.fetch_add(bytes, Ordering::Relaxed);
                return Ok(());
            };
            let exhausted = Exhausted {
                wanted: bytes,
                held: self.held(),
                used,
                limit: self.pool.limit,
            };
            if exhausted.is_too_large() || !self.pool.reclaim(exhausted.missing()) {
                return Err(exhausted);
            }
        }
    }

    /// Gives `bytes` back, or all there are if fewer are held.
    pub fn give_back(&self, bytes: u64) {
        let rest = |held: u64| Some(held.saturating_sub(bytes));
        let held = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, rest);
        let given = held.map_or(0, |held| held.min(bytes));
        self.pool.used.fetch_sub(given, Ordering::Relaxed);
    }

    /// The bytes that this claim holds.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(self.held(), Ordering::Relaxed);
    }
}

/// A claim that did not fit into its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Exhausted {
    /// The bytes that were asked for.
    wanted: u64,
    /// The bytes that the claim held already.
    held: u64,
    /// The bytes that all claims held.
    used: u64,
    /// The bytes of the budget.
    limit: u64,
}

impl Exhausted {
    /// The bytes that would have to be given back for the claim to fit.
    fn missing(&self) -> u64 {
        self.used
            .saturating_add(self.wanted)
            .saturating_sub(self.limit)
    }

    /// Whether the work would not fit even if nothing else ran: no retry helps, only a larger memory limit or a smaller
    /// input.
    pub fn is_too_large(&self) -> bool {
        let needed = self.held.checked_add(self.wanted);
        needed.is_none_or(|needed| needed > self.limit)
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needed = Size(self.held.saturating_add(self.wanted));
        let limit = Size(self.limit);
        if self.is_too_large() {
            write!(
                f,
                "not enough memory: {needed} needed, {limit} available to this process"
            )
        } else {
            let others = Size(self.used.saturating_sub(self.held));
            write!(
                f,
                "not enough memory: {needed} needed, {others} of {limit} in use by other reconciliations"
            )
        }
    }
}

/// A number of bytes, as people read it.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ ..1024 => write!(f, "{bytes} B"),
            bytes @ ..1_048_576 => write!(f, "{} KiB", bytes.div_ceil(1024)),
            bytes => write!(f, "{} MiB", bytes.div_ceil(1_048_576)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, Claim};

    #[test]
    fn claims_share_the_limit_and_give_it_back() {
        let budget = Budget::new(10);
        let (one, two) = (budget.claim(), budget.claim());
        one.take(6).unwrap();
        two.take(4).unwrap();
        assert_eq!(budget.used(), 10);
        one.take(1).unwrap_err();
        one.give_back(2);
        two.take(2).unwrap();
        assert_eq!((one.held(), two.held(), budget.used()), (4, 6, 10));
        one.give_back(100);
        assert_eq!((one.held(), budget.used()), (0, 6));
        drop(two);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn errors_distinguish_too_large_from_too_busy() {
        let budget = Budget::new(10 << 20);
        let (one, two) = (budget.claim(), budget.claim());
        one.take(6 << 20).unwrap();
        let busy = two.take(5 << 20).unwrap_err();
        assert!(!busy.is_too_large());
        assert_eq!(
            busy.to_string(),
            "not enough memory: 5 MiB needed, 6 MiB of 10 MiB in use by other reconciliations"
        );
        let large = one.take(5 << 20).unwrap_err();
        assert!(large.is_too_large());
        assert_eq!(
            large.to_string(),
            "not enough memory: 11 MiB needed, 10 MiB available to this process"
        );
    }

    #[test]
    fn sums_do_not_overflow() {
        let claim = Claim::unlimited();
        claim.take(u64::MAX).unwrap();
        assert!(claim.take(1).unwrap_err().is_too_large());
        let budget = Budget::new(10);
        let claim = budget.claim();
        claim.take(1).unwrap();
        claim.take(u64::MAX).unwrap_err();
        assert_eq!(budget.used(), 1);
    }

    #[test]
    fn concurrent_claims_never_exceed_the_limit() {
        let budget = Budget::new(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let claim = budget.claim();
                    while claim.take(3).is_ok() {}
                    assert!(budget.used() <= 1000);
                });
            }
        });
        assert_eq!(budget.used(), 0);
    }
}
