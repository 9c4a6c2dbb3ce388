//! The queue of one kind: which object is reconciled next, and when (RT-QUE rows).
//!
//! Guarantees: a key is in the queue at most once and is never handed out twice at the same time; what is added while a
//! key is being processed comes after that. Higher priorities come first. Within one priority namespaces take turns
//! (`turns.rs`), so that a namespace with 500 due objects does not delay one with two; within a namespace keys are
//! ordered by when they became due.

mod turns;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::turns::Turns;
use crate::metrics::{Measured, QueueMetrics, Work};

/// The priority of live events.
pub const LIVE: i32 = 0;
/// The priority of objects found by the first list after the start (RT-QUE-003).
pub const INITIAL: i32 = -100;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// The key of `namespace/name`.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of a Kubernetes object.
    pub fn of<K: kube::Resource>(object: &K) -> Self {
        Self::new(
            object.meta().namespace.clone().unwrap_or_default(),
            object.meta().name.clone().unwrap_or_default(),
        )
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The object whose change put a key into the queue (RT-WAT-013).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its resource version after the change.
    pub resource_version: String,
}

/// The back-off of failed reconciles: doubling from `first` up to `last` (RT-QUE-004).
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    /// After the first failure (`--min-retry-delay`).
    pub first: Duration,
    /// The maximum (`--max-retry-delay`).
    pub last: Duration,
}

impl BackOff {
    fn delay(&self, failures: u32) -> Duration {
        2_u32
            .checked_pow(failures)
            .and_then(|factor| self.first.checked_mul(factor))
            .map_or(self.last, |delay| delay.min(self.last))
    }
}

/// The queue of one kind. Clones share it.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    back_off: BackOff,
    metrics: QueueMetrics,
}

#[derive(Default)]
struct State {
    waiting: HashMap<Key, Waiting>,
    /// Due keys that are not claimed, by priority.
    due: BTreeMap<Reverse<i32>, Turns>,
    /// Keys that are not due yet.
    later: BTreeSet<(Instant, u64, Key)>,
    running: HashMap<Key, Running>,
    failures: HashMap<Key, u32>,
    order: u64,
}

struct Waiting {
    at: Instant,
    priority: i32,
    order: u64,
    /// Whether it has become due and was counted.
    ready: bool,
}

struct Running {
    since: Instant,
    interrupt: watch::Sender<Option<Trigger>>,
}

/// A claim on a key; return it with [`Queue::done`].
pub struct Ticket {
    /// The object.
    pub key: Key,
    /// Its priority, which a requeue keeps.
    pub priority: i32,
    /// The last trigger that arrived while the key is claimed.
    pub interrupt: watch::Receiver<Option<Trigger>>,
}

impl Queue {
    /// An empty queue.
    pub fn new(back_off: BackOff, metrics: QueueMetrics) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed: Notify::new(),
                back_off,
                metrics,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is consistent after every statement that holds the lock, so that a panic elsewhere does not matter.
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the key because of a change, due immediately.
    pub fn add(&self, key: Key, priority: i32, trigger: Option<Trigger>) {
        let mut state = self.state();
        if let Some(running) = state.running.get(&key) {
            running
                .interrupt
                .send_replace(Some(trigger.unwrap_or_else(|| Trigger {
                    kind: String::new(),
                    namespace: key.namespace.clone(),
                    name: key.name.clone(),
                    uid: String::new(),
                    resource_version: String::new(),
                })));
        }
        self.put(&mut state, key, Instant::now(), priority);
    }

    /// Adds the key for a later time. An earlier time that is already set is kept (RT-QUE-001). Every delay counts as a
    /// retry, as in upstream's queue.
    pub fn add_after(&self, key: Key, delay: Duration, priority: i32) {
        if !delay.is_zero() {
            self.shared.metrics.retries.inc();
        }
        self.put(&mut self.state(), key, Instant::now() + delay, priority);
    }

    /// Adds the key after its back-off, which grows with every call until [`Queue::forget`] (RT-QUE-004). Returns the
    /// delay.
    pub fn add_rate_limited(&self, key: Key, priority: i32) -> Duration {
        let mut state = self.state();
        let failures = state.failures.entry(key.clone()).or_default();
        let delay = self.shared.back_off.delay(*failures);
        *failures = failures.saturating_add(1);
        self.shared.metrics.retries.inc();
        self.put(&mut state, key, Instant::now() + delay, priority);
        delay
    }

    /// Resets the key's back-off.
    pub fn forget(&self, key: &Key) {
        self.state().failures.remove(key);
    }

    fn put(&self, state: &mut State, key: Key, at: Instant, priority: i32) {
        let old = state.take(&key);
        let at = old.as_ref().map_or(at, |old| old.at.min(at));
        let priority = old
            .as_ref()
            .map_or(priority, |old| old.priority.max(priority));
        let ready = at <= Instant::now();
        let was_ready = old.as_ref().is_some_and(|old| old.ready);
        if ready && !was_ready {
            self.shared.metrics.adds.inc();
        }
        // A key that is due already keeps its place, so that one that is added again and again gets its turn.
        let kept = old.filter(|old| was_ready && old.priority == priority);
        let order = kept.map_or_else(|| state.next_order(), |old| old.order);
        state.place(
            key,
            Waiting {
                at,
                priority,
                order,
                ready,
            },
        );
        self.shared.changed.notify_one();
    }

    /// Waits for the next key. Cancel-safe.
    pub async fn next(&self) -> Ticket {
        self.wait_for(|state, now| self.take_due(state, now)).await
    }

    /// Waits until there is a key to process, without taking it. Cancel-safe.
    pub async fn due(&self) {
        self.wait_for(|state, _| state.has_due().then_some(()))
            .await;
    }

    /// The next key, if there is one to process.
    pub fn try_next(&self) -> Option<Ticket> {
        let mut state = self.state();
        let now = Instant::now();
        self.ripen(&mut state, now);
        self.take_due(&mut state, now)
    }

    /// Waits until `look` finds something in the state.
    async fn wait_for<T>(&self, look: impl Fn(&mut State, Instant) -> Option<T>) -> T {
        loop {
            let changed = self.shared.changed.notified();
            let wake = {
                let mut state = self.state();
                let now = Instant::now();
                self.ripen(&mut state, now);
                if let Some(found) = look(&mut state, now) {
                    return found;
                }
                state.later.first().map(|(at, ..)| *at)
            };
            match wake {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
                None => changed.await,
            }
        }
    }

    fn take_due(&self, state: &mut State, now: Instant) -> Option<Ticket> {
        let (priority, key) = state.pop_due()?;
        if let Some(waiting) = state.waiting.remove(&key) {
            self.shared
                .metrics
                .waited
                .observe((now - waiting.at).as_secs_f64());
        }
        let (interrupt, receiver) = watch::channel(None);
        state.running.insert(
            key.clone(),
            Running {
                since: now,
                interrupt,
            },
        );
        if state.has_due() {
            self.shared.changed.notify_one(); // for another caller of `next`
        }
        Some(Ticket {
            key,
            priority,
            interrupt: receiver,
        })
    }

    /// Returns a ticket. What was added for its key in the meantime becomes eligible.
    pub fn done(&self, key: &Key) {
        let mut state = self.state();
        if let Some(running) = state.running.remove(key) {
            self.shared
                .metrics
                .worked
                .observe(running.since.elapsed().as_secs_f64());
        }
        if let Some(waiting) = state.take(key) {
            state.place(key.clone(), waiting);
            self.shared.changed.notify_one();
        }
    }

    /// Moves the keys that have become due, in the order of their times.
    fn ripen(&self, state: &mut State, now: Instant) {
        while let Some((_, _, key)) = state.later.first().filter(|(at, ..)| *at <= now).cloned() {
            let Some(mut waiting) = state.take(&key) else {
                state.later.pop_first();
                continue;
            };
            waiting.order = state.next_order();
            waiting.ready = true;
            self.shared.metrics.adds.inc();
            state.place(key, waiting);
        }
    }

    /// Removes the key, unless it is being processed.
    pub fn remove(&self, key: &Key) {
        let mut state = self.state();
        state.take(key);
        state.failures.remove(key);
    }
}

impl Measured for Queue {
    fn controller(&self) -> &str {
        &self.shared.metrics.controller
    }

    fn measure(&self) {
        let state = self.state();
        let mut depths = BTreeMap::from([(LIVE, Some(0)), (INITIAL, None)]);
        let now = Instant::now();
        for waiting in state.waiting.values().filter(|waiting| waiting.at <= now) {
            let depth = depths.entry(waiting.priority).or_default();
            *depth.get_or_insert_default() += 1;
        }
        let ages = || {
            state
                .running
                .values()
                .map(|running| running.since.elapsed().as_secs_f64())
        };
        self.shared
            .metrics
            .measure(&depths, ages().sum(), ages().fold(0.0, f64::max));
    }

    fn work(&self) -> Vec<Work> {
        let state = self.state();
        let running = state.running.iter();
        let mut work: Vec<Work> = running
            .map(|(key, running)| Work {
                object: key.to_string(),
                age: running.since.elapsed(),
            })
            .collect();
        work.sort_by_key(|work| Reverse(work.age));
        work
    }
}

impl State {
    /// Removes the key whose turn it is at the highest priority, and returns it with that priority.
    fn pop_due(&mut self) -> Option<(i32, Key)> {
        self.due
            .iter_mut()
            .find_map(|(Reverse(priority), due)| Some((*priority, due.pop()?)))
    }

    fn has_due(&self) -> bool {
        self.due.values().any(|due| !due.is_empty())
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    /// Removes the key from wherever it waits.
    fn take(&mut self, key: &Key) -> Option<Waiting> {
        let old = self.waiting.remove(key)?;
        if let Some(due) = self.due.get_mut(&Reverse(old.priority)) {
            due.remove(key, old.order);
        }
        self.later.remove(&(old.at, old.order, key.clone()));
        Some(old)
    }

    /// Lets the key wait: until it is due or, while it is being processed, until that ends.
    fn place(&mut self, key: Key, waiting: Waiting) {
        if waiting.ready && !self.running.contains_key(&key) {
            self.due
                .entry(Reverse(waiting.priority))
                .or_default()
                .insert(&key, waiting.order);
        } else if !waiting.ready {
            self.later.insert((waiting.at, waiting.order, key.clone()));
        }
        self.waiting.insert(key, waiting);
    }
}

#[cfg(test)]
mod tests;
