//! One metadata watch for each kind in use, shared by all Kustomizations, so that a run without changes sends no lists.
//!
//! A kind whose objects are looked at twice within [`OFTEN`] is watched, on the controller's own cluster with its own
//! identity, and only the objects that a Kustomization has applied: their label selects them. Of each object the state
//! that its metadata shows is kept, not the object. The watch ends when no run has asked for the kind for [`KEPT`].
//!
//! The watch lags behind the server, so it only ever shows that an object is untouched since it was last compared; any
//! other answer makes the run list the kind, as it does without a watch. Where an answer was a moment too old for a run
//! that was requested, the run is repeated (`corrections.rs`).
//!
//! Kustomizations that act as a ServiceAccount or on another cluster list: a watch with the controller's rights would
//! hide that a tenant's have been withdrawn.

mod corrections;
mod follow;
mod owners;
mod table;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flux_budget::Budget;
use flux_cluster::{Cluster, Live, Resource, Uid};
use flux_runtime::queue::Key;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::corrections::Corrections;
pub(crate) use self::corrections::{Drift, Known};
use self::follow::{Ended, Followed, follow};
use self::owners::Owners;
use self::table::Table;

/// The environment variable that has drift corrected as soon as the watch reports it, if it is `true`.
const AT_ONCE: &str = "KUSTOMIZE_CORRECT_DRIFT_AT_ONCE";

/// A kind that is looked at twice within this time is watched: opening a watch anew costs a request as often.
const OFTEN: Duration = Duration::from_mins(5);

/// How long a kind is watched that no run has asked for.
const KEPT: Duration = Duration::from_mins(15);

/// How many kinds are watched: each costs a connection.
const KINDS: usize = 64;

/// The part of the process's memory that the states may take.
const SHARE: u64 = 8;

/// The watches of all kinds. Clones share them.
#[derive(Clone)]
pub(crate) struct Watches(Arc<Shared>);

struct Shared {
    cluster: Cluster,
    /// The process's, and the part of it for the states.
    budgets: [Budget; 2],
    /// The Kustomizations that objects of all kinds belong to.
    owners: Owners,
    corrections: Corrections,
    kinds: Mutex<HashMap<Resource, State>>,
    /// Kinds to be followed, for the task that does that.
    begun: mpsc::UnboundedSender<Arc<Followed>>,
    waiting: Mutex<Option<mpsc::UnboundedReceiver<Arc<Followed>>>>,
}

/// How a kind is known.
enum State {
    /// It was looked at, at that time.
    Seen(Instant),
    Followed(Arc<Followed>),
    /// It cannot be watched; that is tried again at this time.
    Refused(Instant),
}

impl Watches {
    /// Watches on this cluster, within this budget.
    pub(crate) fn new(cluster: Cluster, budget: Budget) -> Self {
        let at_once = std::env::var(AT_ONCE).is_ok_and(|value| value == "true");
        Self::with(cluster, budget, at_once)
    }

    fn with(cluster: Cluster, budget: Budget, at_once: bool) -> Self {
        let share = Budget::new(budget.limit() / SHARE);
        let (begun, waiting) = mpsc::unbounded_channel();
        Self(Arc::new(Shared {
            cluster,
            budgets: [budget, share],
            owners: Owners::default(),
            corrections: Corrections::new(at_once),
            kinds: Mutex::default(),
            begun,
            waiting: Mutex::new(Some(waiting)),
        }))
    }

    /// What one run of the Kustomization `owner` may ask. `None` if nothing it applies is watched: it acts as another
    /// identity than the controller's own (`own`), and drift is not corrected as soon as it is reported.
    pub(crate) fn look(&self, run: Look) -> Option<Arc<dyn flux_apply::Watched>> {
        let needed = run.own || self.0.corrections.at_once();
        needed.then(|| {
            let watches = self.clone();
            Arc::new(Asking { watches, run }) as Arc<dyn flux_apply::Watched>
        })
    }

    /// Follows the kinds that runs ask for, and passes Kustomizations whose objects have drifted to `enqueue`, until
    /// `stop`.
    pub(crate) async fn run(
        self,
        known: impl Known,
        enqueue: impl Fn(Key),
        stop: CancellationToken,
    ) {
        let waiting = self.0.waiting.lock();
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut waiting) = waiting else { return };
        // Dropped, it ends all of them.
        let mut tasks = JoinSet::new();
        let corrections = self.0.corrections.run(&known, &enqueue);
        let mut corrections = std::pin::pin!(corrections);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = &mut corrections => return,
                Some(kind) = waiting.recv() => {
                    let watches = self.clone();
                    tasks.spawn(async move { watches.followed(&kind).await });
                }
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    /// Follows a kind until that is no longer needed or possible.
    async fn followed(&self, kind: &Followed) {
        let Shared {
            cluster,
            corrections,
            ..
        } = &*self.0;
        let ended = follow(cluster, kind, corrections).await;
        let mut kinds = self.0.kinds();
        match ended {
            Ended::Unused => kinds.remove(&kind.resource),
            Ended::Refused(pause) => {
                let refused = State::Refused(Instant::now() + pause);
                kinds.insert(kind.resource.clone(), refused)
            }
        };
    }
}

impl Shared {
    fn kinds(&self) -> MutexGuard<'_, HashMap<Resource, State>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The watch of a kind, if there is one. One is begun if the kind is used often enough.
    fn kind(&self, resource: &Resource, keep: Duration) -> Option<Arc<Followed>> {
        let now = Instant::now();
        let mut kinds = self.kinds();
        kinds.retain(|_, state| match state {
            State::Seen(at) => now.duration_since(*at) < OFTEN,
            State::Followed(_) => true,
            State::Refused(until) => now < *until,
        });
        match kinds.get(resource) {
            Some(State::Followed(kind)) => {
                kind.keep_until(now + keep);
                return Some(kind.clone());
            }
            Some(State::Refused(_)) => return None,
            Some(State::Seen(_)) => {}
            None if self.corrections.at_once() => {}
            None => {
                kinds.insert(resource.clone(), State::Seen(now));
                return None;
            }
        }
        let followed = kinds
            .values()
            .filter(|state| matches!(state, State::Followed(_)));
        if followed.count() < KINDS {
            let claims = self.budgets.each_ref().map(Budget::claim);
            let table = Table::new(claims, self.owners.clone());
            let kind = Arc::new(Followed::new(resource.clone(), table, now + keep));
            // It fails once the task has ended, and with it the process.
            let _ = self.begun.send(kind.clone());
            kinds.insert(resource.clone(), State::Followed(kind));
        }
        None
    }
}

/// One run of a Kustomization.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) owner: Key,
    /// How long it takes until the next run.
    pub(crate) interval: Duration,
    /// Whether it acts on the controller's own cluster with its own identity.
    pub(crate) own: bool,
    /// Whether it has new work or was requested, so that what was changed before has to be seen.
    pub(crate) eager: bool,
}

/// Answers one run.
struct Asking {
    watches: Watches,
    run: Look,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.run.fmt(f)
    }
}

impl flux_apply::Watched for Asking {
    fn states(&self, resource: &Resource, objects: &[Uid]) -> Option<Vec<Option<Live>>> {
        let (shared, run) = (&self.watches.0, &self.run);
        let corrections = &shared.corrections;
        // Drift is reported for as long as the owner may run again.
        let keep = if corrections.at_once() {
            KEPT.max(run.interval * 2)
        } else {
            KEPT
        };
        let kind = shared.kind(resource, keep)?;
        if !run.own {
            return None;
        }
        if run.eager {
            corrections.was_eager(&run.owner);
        }
        kind.table().states(objects)
    }
}

#[cfg(test)]
mod tests;
