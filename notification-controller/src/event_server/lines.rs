//! Who waits for whom: the events of one object keep their order at each service (NC-EVT-058), a service that is slow or
//! down delays no other (NC-EVT-017), and what it refuses for the moment is sent again (NC-EVT-057).

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use flux_runtime::queue::Key;
use futures::future::BoxFuture;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, Semaphore};
use tokio::time::Instant;

/// How many events are sent to one service at once.
const AT_ONCE: usize = 8;
/// How many events wait for one service.
const WAITING: usize = 256;
/// The pause after a service has failed, doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(80);
/// For how long an event is sent again.
const PATIENCE: Duration = Duration::from_mins(5);
/// From how many entries on a map is searched for those that are no longer in use.
const MANY: usize = 256;

/// A lock for each key, which is given in the order of the requests.
pub(super) struct Turns<K>(Mutex<HashMap<K, Arc<AsyncMutex<()>>>>);

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// A place in the order of a key.
pub(super) enum Turn {
    /// It is the first.
    Come(OwnedMutexGuard<()>),
    /// Others come before it.
    Queued(BoxFuture<'static, OwnedMutexGuard<()>>),
}

impl Turn {
    /// Waits until it is the first. The others wait until what this returns is dropped.
    pub(super) async fn come(self) -> OwnedMutexGuard<()> {
        match self {
            Self::Come(held) => held,
            Self::Queued(queued) => queued.await,
        }
    }
}

impl<K: Hash + Eq> Turns<K> {
    /// Takes a place, at once.
    pub(super) async fn take(&self, key: K) -> Turn {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if locks.len() >= MANY {
                locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            locks.entry(key).or_default().clone()
        };
        let mut queued: BoxFuture<'static, _> = Box::pin(lock.lock_owned());
        match futures::poll!(&mut queued) {
            Poll::Ready(held) => Turn::Come(held),
            Poll::Pending => Turn::Queued(queued),
        }
    }
}

/// The lines before the services, by Provider.
#[derive(Default)]
pub(super) struct Lines(Mutex<HashMap<Key, Arc<Line>>>);

impl Lines {
    /// The line of a Provider.
    pub(super) fn of(&self, provider: &Key) -> Arc<Line> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= MANY {
            lines.retain(|_, line| Arc::strong_count(line) > 1 || line.is_down());
        }
        let line = lines.entry(provider.clone()).or_default();
        line.clone()
    }
}

/// The events that wait for one service.
pub(super) struct Line {
    places: Semaphore,
    waiting: AtomicUsize,
    down: Mutex<Down>,
}

/// Since when a service fails.
#[derive(Default)]
struct Down {
    failures: u32,
    until: Option<Instant>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            places: Semaphore::new(AT_ONCE),
            waiting: AtomicUsize::new(0),
            down: Mutex::default(),
        }
    }
}

/// What came of an attempt to send an event.
pub(super) enum Attempt<E> {
    /// There is nothing more to do.
    Done,
    /// It failed, and another attempt would, too.
    Failed(E),
    /// The service did not take it, and may do so later.
    Later(E),
}

/// Why an event was not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal<E> {
    /// Too many events wait for the service.
    Full,
    /// It failed, after this many attempts.
    Failed(E, u32),
}

/// One that waits for a service, or is being sent to it; it counts as long as it lives.
pub(super) struct Waits<'l>(&'l AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    fn down(&self) -> std::sync::MutexGuard<'_, Down> {
        self.down.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_down(&self) -> bool {
        self.down().failures > 0
    }

    /// Joins those that wait for the service; `None` if there are too many (NC-EVT-017).
    pub(super) fn join(&self) -> Option<Waits<'_>> {
        let waits = Waits(&self.waiting);
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        Some(waits).filter(|_| before < WAITING)
    }

    /// Waits for a place and attempts to send an event, again and again while the service does not take it.
    /// `first_failure` is called once if there will be another attempt.
    ///
    /// # Errors
    /// The event is given up.
    pub(super) async fn send<'f, E>(
        &self,
        _waits: Waits<'_>,
        attempt: impl Fn() -> BoxFuture<'f, Attempt<E>>,
        first_failure: impl FnOnce(&E),
    ) -> Result<(), Refusal<E>> {
        let until = Instant::now() + PATIENCE;
        let mut tell = Some(first_failure);
        let mut attempts = 0;
        loop {
            let place = self.place().await;
            attempts += 1;
            let outcome = attempt().await;
            let next = match &outcome {
                Attempt::Later(_) => self.failed(),
                Attempt::Done | Attempt::Failed(_) => {
                    *self.down() = Down::default();
                    Instant::now()
                }
            };
            drop(place);
            match outcome {
                Attempt::Done => return Ok(()),
                Attempt::Failed(error) => return Err(Refusal::Failed(error, attempts)),
                Attempt::Later(error) if next > until => {
                    return Err(Refusal::Failed(error, attempts));
                }
                Attempt::Later(error) => {
                    if let Some(tell) = tell.take() {
                        tell(&error);
                    }
                }
            }
        }
    }

    /// A place, once the pause of the service is over.
    async fn place(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        loop {
            let until = self.down().until;
            if let Some(until) = until.filter(|until| *until > Instant::now()) {
                tokio::time::sleep_until(until).await;
                continue;
            }
            let place = self.places.acquire().await.ok();
            // Others may have found out meanwhile that it is down.
            if self
                .down()
                .until
                .is_none_or(|until| until <= Instant::now())
            {
                return place;
            }
        }
    }

    /// Notes that the service does not take events; when it is asked again.
    fn failed(&self) -> Instant {
        let mut down = self.down();
        let now = Instant::now();
        // Those that were underway at the same time tell the same failure.
        if down.until.is_none_or(|until| until <= now) {
            let pause = FIRST_PAUSE.saturating_mul(1 << down.failures.min(10));
            down.until = Some(now + pause.min(LONGEST_PAUSE));
            down.failures += 1;
        }
        down.until.unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome_of<E: Send + 'static>(outcome: Attempt<E>) -> BoxFuture<'static, Attempt<E>> {
        Box::pin(std::future::ready(outcome))
    }

    #[tokio::test]
    async fn turns_come_in_the_order_in_which_they_were_taken() {
        // NC-EVT-058
        let turns = Turns::default();
        let first = turns.take("a").await;
        let second = turns.take("a").await;
        let third = turns.take("a").await;
        let other = turns.take("b").await;
        assert!(matches!((&first, &other), (Turn::Come(_), Turn::Come(_))));
        let order = Arc::new(Mutex::new(Vec::new()));
        let run = |name: &'static str, turn: Turn| {
            let order = order.clone();
            async move {
                let _held = turn.come().await;
                order.lock().unwrap().push(name);
            }
        };
        // Polled in another order than they were taken in.
        tokio::join!(
            run("third", third),
            run("second", second),
            run("first", first)
        );
        assert_eq!(*order.lock().unwrap(), ["first", "second", "third"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_service_does_not_take_is_sent_again_and_given_up_at_last() {
        // NC-EVT-057
        let line = Line::default();
        let (attempts, mut told) = (AtomicUsize::new(0), 0);
        let busy_twice = || {
            let attempt = attempts.fetch_add(1, Ordering::Relaxed);
            let outcome = if attempt < 2 {
                Attempt::Later("busy")
            } else {
                Attempt::Done
            };
            outcome_of(outcome)
        };
        let waits = || line.join().unwrap();
        assert_eq!(line.send(waits(), busy_twice, |_| told += 1).await, Ok(()));
        assert_eq!((attempts.into_inner(), told), (3, 1));
        assert!(!line.is_down());
        // Pauses of 5, 10, 20, 40, 80, 80 seconds; the next one would be over after five minutes.
        let started = Instant::now();
        let given_up = line.send(waits(), || outcome_of(Attempt::Later("down")), |_| {});
        let given_up = given_up.await;
        assert_eq!(given_up, Err(Refusal::Failed("down", 7)));
        assert_eq!(started.elapsed(), Duration::from_secs(235));
        let refused = line.send(waits(), || outcome_of(Attempt::Failed("no")), |_| {});
        assert_eq!(refused.await, Err(Refusal::Failed("no", 1)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hanging_service_fills_its_own_line_only() {
        // NC-EVT-017
        let lines = Lines::default();
        let (slow, quick) = (Key::new("a", "slow"), Key::new("a", "quick"));
        let mut hanging = Vec::new();
        for _ in 0..WAITING {
            let line = lines.of(&slow);
            hanging.push(tokio::spawn(async move {
                let never =
                    || -> BoxFuture<'static, Attempt<()>> { Box::pin(std::future::pending()) };
                line.send(line.join().unwrap(), never, |()| {}).await
            }));
        }
        let full = lines.of(&slow);
        while full.waiting.load(Ordering::Relaxed) < WAITING {
            tokio::task::yield_now().await;
        }
        let done = || outcome_of(Attempt::<()>::Done);
        assert!(full.join().is_none());
        assert_eq!(full.waiting.load(Ordering::Relaxed), WAITING);
        let other = lines.of(&quick);
        let waits = other.join().unwrap();
        assert_eq!(other.send(waits, done, |()| {}).await, Ok(()));
        for task in hanging {
            task.abort();
        }
    }
}
