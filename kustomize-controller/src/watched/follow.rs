//! Follows the objects of one kind: lists them, and watches them from there on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use flux_budget::Exhausted;
use flux_cluster::{Cluster, Event, RequestError, Resource};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout};

use super::corrections::Corrections;
use super::table::Table;
use crate::kustomization::NAME_LABEL;

/// How many seconds a watch lasts, before it is opened anew from where it ended.
const WATCH: u32 = 290;

/// A watch that ends this long before its time was cut: events may be lost, and the server may have gone back in time.
const EARLY: Duration = Duration::from_secs(5);

/// A watch without an event for this long is broken: there is a bookmark every minute.
const SILENCE: Duration = Duration::from_secs(150);

/// The time for a page of a list, and for a watch to begin.
const ANSWER: Duration = Duration::from_secs(30);

/// The pause after a failure, doubled after each further one.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_mins(1)];

/// How long a kind is not watched again that is forbidden or served without watch.
const REFUSED: Duration = Duration::from_hours(1);

/// How long a kind is not watched again that is too large.
const TOO_LARGE: Duration = Duration::from_mins(10);

/// How long a kind is not watched again that does not exist.
const MISSING: Duration = Duration::from_secs(10);

/// A kind that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) resource: Resource,
    table: Mutex<Table>,
    until: Mutex<Instant>,
}

/// Why a kind is not followed any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// No run has asked for it for long.
    Unused,
    /// It cannot be; whether it can may be tried again after this time.
    Refused(Duration),
}

/// Why a list or a watch ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Memory(#[from] Exhausted),
    #[error("the server has not answered within {ANSWER:?}")]
    NotBegun,
    #[error("the server has sent nothing for {SILENCE:?}")]
    Silent,
    #[error("the watch was cut")]
    Cut,
    #[error("unused")]
    Unused,
}

impl Broken {
    /// Whether this ends the following.
    fn ended(&self) -> Option<Ended> {
        match self {
            Self::Unused => Some(Ended::Unused),
            Self::Memory(_) => Some(Ended::Refused(TOO_LARGE)),
            Self::Request(error) => match error.code {
                403 | 405 | 406 | 415 => Some(Ended::Refused(REFUSED)),
                404 => Some(Ended::Refused(MISSING)),
                _ => None,
            },
            Self::NotBegun | Self::Silent | Self::Cut => None,
        }
    }

    /// Whether the version from which to watch is too old, which a list mends at once.
    fn is_expired(&self) -> bool {
        matches!(self, Self::Request(error) if error.code == 410)
    }
}

impl Followed {
    pub(super) fn new(resource: Resource, table: Table, until: Instant) -> Self {
        Self {
            resource,
            table: Mutex::new(table),
            until: Mutex::new(until),
        }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self) -> MutexGuard<'_, Instant> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the kind at least until then.
    pub(super) fn keep_until(&self, then: Instant) {
        let mut until = self.until();
        *until = then.max(*until);
    }
}

/// Follows a kind until no run needs it, or until it cannot be followed.
pub(super) async fn follow(cluster: &Cluster, kind: &Followed, corrections: &Corrections) -> Ended {
    let [mut pause, longest] = PAUSES;
    let mut is_first = true;
    loop {
        let mut opened = false;
        let broken = match list(cluster, kind, corrections, is_first).await {
            Ok(version) => {
                is_first = false;
                watch(cluster, kind, corrections, version, &mut opened).await
            }
            Err(broken) => broken,
        };
        kind.table().set_current(false);
        if let Some(ended) = broken.ended() {
            kind.table().clear();
            if ended != Ended::Unused {
                tracing::info!(
                    error = %broken,
                    "objects of {} in {} are not watched, each run lists them",
                    kind.resource.kind,
                    kind.resource.api_version()
                );
            }
            return ended;
        }
        tracing::debug!(error = %broken, kind = kind.resource.kind, "watch interrupted, listing again");
        if opened {
            pause = PAUSES[0];
        }
        if opened && broken.is_expired() {
            continue;
        }
        tokio::time::sleep(pause).await;
        pause = longest.min(pause * 2);
    }
}

/// Fills the table; returns the version from which to watch. Changes are reported, except in the first list.
async fn list(
    cluster: &Cluster,
    kind: &Followed,
    corrections: &Corrections,
    is_first: bool,
) -> Result<String, Broken> {
    let cluster = cluster.within(ANSWER);
    kind.table().begin();
    let mut next: Option<String> = None;
    let version = loop {
        let listing = cluster.list_live(&kind.resource, NAME_LABEL, next.as_deref());
        let page = listing.await?;
        for seen in page.objects {
            let change = kind.table().put(seen)?;
            corrections.report(change.filter(|_| !is_first));
        }
        next = page.next;
        if next.is_none() {
            break page.version;
        }
    };
    let gone = kind.table().end();
    corrections.report(gone);
    Ok(version)
}

/// Keeps the table current until the watch breaks.
async fn watch(
    cluster: &Cluster,
    kind: &Followed,
    corrections: &Corrections,
    mut version: String,
    opened: &mut bool,
) -> Broken {
    loop {
        if *kind.until() < Instant::now() {
            return Broken::Unused;
        }
        let opening = cluster.watch_live(&kind.resource, NAME_LABEL, &version, WATCH);
        let mut events = match timeout(ANSWER, opening).await {
            Ok(Ok(events)) => events,
            Ok(Err(error)) => return error.into(),
            Err(_) => return Broken::NotBegun,
        };
        let since = Instant::now();
        *opened = true;
        kind.table().set_current(true);
        loop {
            let event = match timeout(SILENCE, events.next()).await {
                Ok(Some(Ok(event))) => event,
                Ok(Some(Err(error))) => return error.into(),
                Ok(None) => break,
                Err(_) => return Broken::Silent,
            };
            version = event.version;
            let change = match event.event {
                Event::Stored(seen) => match kind.table().put(seen) {
                    Ok(change) => change,
                    Err(exhausted) => return exhausted.into(),
                },
                Event::Deleted(seen) => kind.table().remove(seen.live.uid),
                Event::Bookmark => None,
            };
            corrections.report(change);
        }
        if since.elapsed() + EARLY < Duration::from_secs(WATCH.into()) {
            return Broken::Cut;
        }
    }
}
