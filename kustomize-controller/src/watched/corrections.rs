//! Enqueues Kustomizations whose objects have drifted, as the watches report it.
//!
//! With `KUSTOMIZE_CORRECT_DRIFT_AT_ONCE=true` every drift does so, though an object at most every [`PACE`], so that
//! two controllers that disagree do not keep one another busy. Without it only drift that a run should have seen does: a
//! run that was requested, whose answers were a moment older than the request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flux_cluster::{Live, ObjectId, Uid};
use flux_runtime::queue::Key;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::table::Change;

/// How often an object's drift enqueues its Kustomization.
const PACE: Duration = Duration::from_secs(30);

/// How long after a requested run a change may be one that the run should have seen.
const LATE: Duration = Duration::from_secs(10);

/// How long changes are collected before they are looked at: a rollout or an edit is more than one.
const COLLECTED: Duration = Duration::from_millis(100);

/// How often it is looked whether a run that holds the states of its objects has ended, and for how long.
const RUNNING: [Duration; 2] = [Duration::from_secs(1), Duration::from_mins(5)];

/// How many changes wait to be looked at. Those beyond are corrected at the interval.
const CHANGES: usize = 10_000;

/// What a change means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Drift {
    /// The Kustomization does not know the object, or knows this state of it, or a later one.
    None,
    /// A run is under way that will know.
    Running,
    /// The object has changed since it was last compared.
    Of(ObjectId),
}

/// Knows in which states Kustomizations have left their objects.
pub(crate) trait Known: Send + Sync {
    /// What this state of an object means for its owner; `None`: the object is gone.
    fn drift(&self, owner: &Key, uid: Uid, now: Option<&Live>) -> Drift;
}

/// The changes that the watches report.
#[derive(Debug)]
pub(super) struct Corrections {
    at_once: bool,
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    changes: HashMap<(Key, Uid), Reported>,
    /// When a requested run of a Kustomization has relied on a watch.
    eager: HashMap<Key, Instant>,
    /// When the drift of an object has last enqueued its Kustomization.
    enqueued: HashMap<(Key, ObjectId), Instant>,
}

#[derive(Debug)]
struct Reported {
    now: Option<Live>,
    since: Instant,
    due: Instant,
}

impl Corrections {
    pub(super) fn new(at_once: bool) -> Self {
        Self {
            at_once,
            state: Mutex::default(),
            wake: Notify::new(),
        }
    }

    /// Whether drift is corrected as soon as it is reported.
    pub(super) fn at_once(&self) -> bool {
        self.at_once
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A requested run relies on a watch.
    pub(super) fn was_eager(&self, owner: &Key) {
        let now = Instant::now();
        let mut state = self.state();
        state.eager.retain(|_, at| now.duration_since(*at) < LATE);
        state.eager.insert(owner.clone(), now);
    }

    /// Takes the changes of objects.
    pub(super) fn report(&self, changes: impl IntoIterator<Item = Change>) {
        let now = Instant::now();
        let mut wakes = false;
        for (owner, uid, live) in changes {
            let mut state = self.state();
            let is_late = |at: &Instant| now.duration_since(*at) < LATE;
            if !self.at_once && !state.eager.get(&owner).is_some_and(is_late) {
                continue;
            }
            let key = (owner, uid);
            if state.changes.len() >= CHANGES && !state.changes.contains_key(&key) {
                continue;
            }
            let reported = Reported {
                now: live,
                since: now,
                due: now + COLLECTED,
            };
            state.changes.insert(key, reported);
            wakes = true;
        }
        if wakes {
            self.wake.notify_one();
        }
    }

    /// Passes the owners of objects that have drifted to `enqueue`, for ever.
    pub(super) async fn run(&self, known: &impl Known, enqueue: impl Fn(Key)) {
        loop {
            let due = self.state().changes.values().map(|change| change.due).min();
            let waiting = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = waiting => {}
                () = self.wake.notified() => continue,
            }
            for owner in self.drifted(known, Instant::now()) {
                enqueue(owner);
            }
        }
    }

    /// The owners to enqueue for the changes that are due by now.
    fn drifted(&self, known: &impl Known, now: Instant) -> Vec<Key> {
        let mut state = self.state();
        let is_paced = |_: &(Key, ObjectId), at: &mut Instant| now.duration_since(*at) < PACE;
        state.enqueued.retain(is_paced);
        let due = state.changes.extract_if(|_, change| change.due <= now);
        let due: Vec<_> = due.collect();
        let mut owners = Vec::new();
        for ((owner, uid), change) in due {
            let again = match known.drift(&owner, uid, change.now.as_ref()) {
                Drift::None => None,
                Drift::Running => {
                    let [pause, longest] = RUNNING;
                    (now.duration_since(change.since) < longest).then_some(now + pause)
                }
                Drift::Of(object) => {
                    let object = (owner.clone(), object);
                    let last = state.enqueued.get(&object).copied();
                    if last.is_none() {
                        if self.at_once {
                            state.enqueued.insert(object, now);
                        }
                        state.eager.remove(&owner);
                        owners.push(owner.clone());
                    }
                    last.map(|last| last + PACE)
                }
            };
            if let Some(due) = again {
                let key = (owner, uid);
                state.changes.insert(key, Reported { due, ..change });
            }
        }
        owners
    }
}

#[cfg(test)]
mod tests;
