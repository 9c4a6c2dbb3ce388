//! Waits for objects by watching them.

mod state;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use kube::runtime::wait::await_condition;
use state::{Board, News};
use watches::{Next, Watches};

use crate::cluster::Cluster;
use crate::discovery::Resource;
use crate::error::RequestError;
use crate::memory::Version;
use crate::{Object, ObjectId};

/// How often objects are judged again without news: some rules depend on time, a kind may appear, and what may not be
/// watched has to be read.
const TICK: Duration = Duration::from_secs(5);

/// An object to wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The object.
    pub id: ObjectId,
    /// The version of its kind; the cluster's preferred one where there is none.
    pub version: Option<String>,
}

impl Target {
    /// An object of a kind in a known version.
    pub fn of(id: &ObjectId, version: &str) -> Self {
        Self {
            id: id.clone(),
            version: Some(version.to_owned()),
        }
    }
}

/// By which rules objects are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rules {
    /// A Job is ready when it is complete, anything else as kstatus says.
    #[default]
    Complete,
    /// A Job is ready when it runs (HC-WAIT-004).
    Running,
    /// A Job is ready when it is complete, a Pod when it succeeded, anything else at once (HE-HOOK-010, HC-WAIT-009).
    Hook,
}

/// How to wait.
#[derive(Clone, Debug, Default)]
pub struct WaitOptions {
    /// How long.
    pub timeout: Duration,
    /// End at the first object that is stuck.
    pub fail_fast: bool,
    /// Jobs that delete themselves when they are done: one that is gone is done (RT-SSA-021).
    pub jobs_with_ttl: BTreeSet<ObjectId>,
    /// Finds all objects by their labels, where they have labels in common: fewer requests are needed then.
    pub selector: Option<String>,
    /// Read the objects of a kind together even where they are few.
    pub by_kind: bool,
    /// When an object is ready.
    pub rules: Rules,
}

/// Objects that did not become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitError {
    /// Some are stuck, or were not ready when the time was over.
    NotReady {
        /// Whether the time was over; else waiting longer would not have helped.
        timed_out: bool,
        /// The objects, each with its state.
        objects: Vec<String>,
    },
    /// One needs a namespace and has none.
    NoNamespace {
        /// Its kind, with group.
        resource: String,
        /// Its name.
        name: String,
    },
}

/// Formats as upstream does (RT-SSA-020, KC-HEALTH-006).
impl Display for WaitError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady { timed_out, objects } => {
                let what = if *timed_out {
                    "timeout waiting for"
                } else {
                    "failed early due to stalled resources"
                };
                write!(f, "{what}: [{}]", objects.join(", "))
            }
            Self::NoNamespace { resource, name } => {
                write!(
                    f,
                    "resource {resource} {name} is namespace scoped, but namespace is not set"
                )
            }
        }
    }
}

impl std::error::Error for WaitError {}

/// Whether an object is as it should be, by itself: there is nothing to wait for then. Of one that cannot be judged by itself
/// this is not said.
pub fn is_current(object: &Object, rules: Rules) -> bool {
    judged_current(rules, &object.id(), &object.to_value())
}

fn judged_current(rules: Rules, id: &ObjectId, value: &serde_json::Value) -> bool {
    let now = jiff::Timestamp::now();
    let assessed = state::judge(rules, id, value, &BTreeMap::new(), now);
    assessed.is_ok_and(|assessment| assessment.status == flux_kstatus::Status::Current)
}

/// Waits until every object is as it should be (RT-SSA-020, KC-HEALTH-005 to 008).
///
/// Objects are listed once and then watched; the answer comes with the event that decides it. The future may be dropped at
/// any time. Gives the state in which each object was found to be so.
///
/// # Errors
///
/// When the time is over, when only objects are left that are stuck, or, failing fast, at the first one that is.
pub async fn wait_until_current(
    cluster: &Cluster,
    targets: &[Target],
    options: &WaitOptions,
) -> Result<Vec<(ObjectId, Version)>, WaitError> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let mut board = Board::new(targets, options);
    let watching = watch_until_settled(cluster, targets, options, &mut board);
    let timed_out = match tokio::time::timeout(options.timeout, watching).await {
        Ok(settled) => settled.map(|()| false)?,
        Err(_) => true,
    };
    board.judge(jiff::Timestamp::now());
    board.verdict(timed_out).map(|()| board.versions())
}

/// Keeps the board up to date until waiting longer cannot change the outcome, or is not wanted. No request holds up the news
/// of other objects.
async fn watch_until_settled(
    cluster: &Cluster,
    targets: &[Target],
    options: &WaitOptions,
    board: &mut Board<'_>,
) -> Result<(), WaitError> {
    let mut watches = Watches::new(cluster, targets, options);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            next = watches.next() => match next {
                Next::News(news) => {
                    if let News::Unwatchable(id) = &news
                        && watches.read_instead(id)
                    {
                        tick.reset_immediately();
                    }
                    board.take(news);
                }
                Next::Kind(targets, resource) => watches.open(targets, resource, board)?,
            },
            _ = tick.tick() => {
                watches.look_up_missing();
                watches.read_unwatchable(board).await;
                board.doubt();
            }
        }
        board.judge(jiff::Timestamp::now());
        watches.watch_pods(board.owners_in_progress()).await;
        if board.is_settled() {
            return Ok(());
        }
    }
}

/// Waits until an object is gone.
///
/// # Errors
///
/// When the time is over, or the object cannot be read.
pub async fn wait_until_gone(
    cluster: &Cluster,
    resource: &Resource,
    id: &ObjectId,
    timeout: Duration,
) -> Result<(), RequestError> {
    wait_until_replaced(cluster, resource, id, "", timeout).await
}

/// Waits until there is no object of this name and uid any more: it is gone, or another has taken its place. With an empty
/// uid no other is accepted.
///
/// # Errors
///
/// As [`wait_until_gone`].
pub(crate) async fn wait_until_replaced(
    cluster: &Cluster,
    resource: &Resource,
    id: &ObjectId,
    uid: &str,
    timeout: Duration,
) -> Result<(), RequestError> {
    let gone = tokio::time::timeout(timeout, watch_until_gone(cluster, resource, id, uid));
    gone.await
        .unwrap_or_else(|_| Err(RequestError::local("context deadline exceeded")))
}

async fn watch_until_gone(
    cluster: &Cluster,
    resource: &Resource,
    id: &ObjectId,
    uid: &str,
) -> Result<(), RequestError> {
    let api = cluster.api(resource, &id.namespace)?;
    let is_other = |found: Option<&str>| !uid.is_empty() && found != Some(uid);
    let is_gone = |object: Option<&kube::api::DynamicObject>| {
        object.is_none_or(|object| is_other(object.metadata.uid.as_deref()))
    };
    if await_condition(api, &id.name, is_gone).await.is_ok() {
        return Ok(());
    }
    // Whoever may not watch may still read.
    loop {
        match cluster.get_metadata(resource, id).await {
            Err(error) if error.is_not_found() => return Ok(()),
            Ok(found) if is_other(Some(found.uid())) => return Ok(()),
            answer => answer.map(drop)?,
        }
        tokio::time::sleep(TICK).await;
    }
}
