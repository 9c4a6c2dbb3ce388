//! Waits for objects by watching them.

mod causes;
mod expressions;
mod options;
mod rules;
mod state;
mod watches;

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::wait::await_condition;

pub use self::expressions::{CustomRules, CustomRulesError};
pub use self::options::{Rules, Target, WaitError, WaitOptions};
pub use self::rules::{is_current, is_current_as_written};
use self::state::{Board, News};
use self::watches::{Next, TICK, Watches};
use crate::cluster::Cluster;
use crate::discovery::Resource;
use crate::error::RequestError;
use crate::live::Version;
use crate::object::ObjectId;

/// Waits until every object is current (RT-SSA-020, KC-HEALTH-005 to 008).
///
/// Objects are listed once and then watched; the function returns with the event that decides the outcome. Cancel-safe.
/// Returns the state in which each object was found to be current.
///
/// # Errors
///
/// If the timeout is over, if all objects that are not current have failed, or, failing fast, as soon as one has.
pub async fn wait_until_current(
    cluster: &Cluster,
    targets: &[Target],
    options: &WaitOptions,
) -> Result<Vec<(ObjectId, Version)>, WaitError> {
    if targets.is_empty() {
        return Ok(Vec::new());
    }
    let confidential = cluster.confidential().clone();
    let mut board = Board::new(targets, options, confidential);
    let watching = watch_until_decided(cluster, targets, options, &mut board);
    let timed_out = match tokio::time::timeout(options.timeout, watching).await {
        Ok(decided) => decided.map(|()| false)?,
        Err(_) => true,
    };
    board.assess(Timestamp::now());
    let mut outcome = board.outcome(timed_out).map(|()| board.versions());
    if let Err(WaitError::NotReady { causes, .. }) = &mut outcome
        && options.causes
    {
        *causes = causes::causes(cluster, board.not_ready(timed_out)).await;
    }
    outcome
}

/// Updates the board until waiting longer cannot change the outcome, or is not wanted. No request delays events of
/// other objects.
async fn watch_until_decided(
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
                board.reassess_pending();
            }
        }
        board.assess(Timestamp::now());
        watches.watch_pods(board.owners_in_progress()).await;
        if board.is_decided() {
            return Ok(());
        }
    }
}

/// Waits until an object is gone.
///
/// # Errors
///
/// If the timeout is over, or the object cannot be read.
pub async fn wait_until_gone(
    cluster: &Cluster,
    resource: &Resource,
    id: &ObjectId,
    timeout: Duration,
) -> Result<(), RequestError> {
    wait_until_replaced(cluster, resource, id, "", timeout).await
}

/// Waits until there is no object with this name and uid: it is gone, or another one has its name. With an empty uid it
/// has to be gone.
///
/// # Errors
///
/// As [`wait_until_gone`].
pub async fn wait_until_replaced(
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
    // An identity that may not watch may still be permitted to read.
    loop {
        match cluster.get_metadata(resource, id).await {
            Err(error) if error.is_not_found() => return Ok(()),
            Ok(found) if is_other(Some(found.uid())) => return Ok(()),
            answer => answer.map(drop)?,
        }
        tokio::time::sleep(TICK).await;
    }
}
