//! Waits for objects by watching them.

mod state;
mod watches;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use kube::runtime::wait::await_condition;

use crate::cluster::Cluster;
use crate::discovery::Resource;
use crate::error::RequestError;
use crate::memory::Version;
use crate::{Object, ObjectId};
use state::{Board, News};
use watches::Watches;

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
    let mut watches = Watches::new(cluster, targets, options);
    let deadline = tokio::time::sleep(options.timeout);
    tokio::pin!(deadline);
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = &mut deadline => return board.verdict(true).map(|()| board.versions()),
            news = watches.next() => {
                if let News::Unwatchable(id) = &news
                    && watches.read_instead(id)
                {
                    tick.reset_immediately();
                }
                board.take(news);
            }
            _ = tick.tick() => {
                watches.open_missing(&mut board).await?;
                watches.read_unwatchable(&mut board).await;
                board.doubt();
            }
        }
        board.judge(jiff::Timestamp::now());
        watches.watch_pods(board.owners_in_progress()).await;
        if board.is_settled() {
            return board.verdict(false).map(|()| board.versions());
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
    let gone = tokio::time::timeout(timeout, watch_until_gone(cluster, resource, id));
    gone.await
        .unwrap_or_else(|_| Err(RequestError::local("context deadline exceeded")))
}

async fn watch_until_gone(
    cluster: &Cluster,
    resource: &Resource,
    id: &ObjectId,
) -> Result<(), RequestError> {
    let api = cluster.api(resource, &id.namespace)?;
    let is_gone = |object: Option<&kube::api::DynamicObject>| object.is_none();
    if await_condition(api, &id.name, is_gone).await.is_ok() {
        return Ok(());
    }
    // Whoever may not watch may still read.
    loop {
        match cluster.get_metadata(resource, id).await {
            Err(error) if error.is_not_found() => return Ok(()),
            answer => answer.map(drop)?,
        }
        tokio::time::sleep(TICK).await;
    }
}
