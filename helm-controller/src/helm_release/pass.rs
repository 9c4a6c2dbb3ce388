//! One pass over a release: what it works with, and how actions are performed in it.

use std::sync::Arc;

use flux_api::helm::HelmRelease;
use flux_cluster::{Cluster, Confidential, CustomRules, ObjectId};
use flux_errors::chain;
use flux_helm::action::Action;
use flux_helm::{Release, Values};
use flux_release::{Newest, Options, PerformError, Records, Releaser};
use flux_runtime::Run;
use flux_runtime::queue::Key;

use super::HelmReleases;
use super::chart::Loaded;
use super::decision::Step;
use super::logs::Logs;
use super::owner::GROUP;
use super::storage::{self, Storage};

/// The inputs of a pass over a release.
pub(super) struct Pass<'p> {
    pub(super) tools: &'p HelmReleases,
    pub(super) object: Arc<HelmRelease>,
    pub(super) key: Key,
    /// The name of the release.
    pub(super) name: String,
    /// The namespace of the release.
    pub(super) namespace: String,
    /// The namespace of the records.
    pub(super) storage: String,
    pub(super) loaded: Arc<Loaded>,
    pub(super) values: Values,
    /// The digest of the values.
    pub(super) config_digest: String,
    pub(super) target: Target,
    /// The step during which the last process ended, if the status says so.
    pub(super) interrupted: Option<Step>,
}

/// The cluster that a release is on.
pub(super) struct Target {
    pub(super) cluster: Cluster,
    /// Changes with the cluster and the credentials for it.
    pub(super) version: String,
    /// The checks of `spec.healthCheckExprs`.
    pub(super) checks: CustomRules,
}

/// An action that failed. The text has no value of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct ActionFailed(pub(super) String);

/// What an action did.
pub(super) struct Performed {
    /// Each record that was written, in its last state, in the order of the last writes.
    pub(super) stored: Vec<Release>,
    /// The newest of them, if the server stores what was sent.
    pub(super) newest: Option<Newest>,
    /// The record of the action.
    pub(super) release: Release,
    pub(super) result: Result<(), ActionFailed>,
}

/// What messages must not show, and of which object they are.
pub(super) fn masked(confidential: &Confidential, key: &Key, mut text: String) -> String {
    if !confidential.is_empty() {
        let about = ObjectId {
            group: GROUP.to_owned(),
            kind: "HelmRelease".to_owned(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
        };
        confidential.mask(&mut text, &about);
    }
    text
}

impl Pass<'_> {
    /// Why an action failed, as one line.
    pub(super) fn failed(&self, error: &(dyn std::error::Error + 'static)) -> ActionFailed {
        let text = chain(error).trim().to_owned();
        ActionFailed(masked(self.target.cluster.confidential(), &self.key, text))
    }

    /// The records of the release.
    pub(super) fn records(&self) -> Records {
        Records::new(&self.target.cluster, &self.storage)
    }

    /// What performs actions with these options, logging to `logs`.
    pub(super) fn releaser(&self, logs: &Logs, options: &Options) -> Releaser {
        releaser(&self.target, &self.storage, logs, options)
    }

    /// Performs an action without holding a worker: most of it is waiting for the cluster.
    pub(super) async fn perform(
        &self,
        run: &mut Run<HelmRelease>,
        releaser: &Releaser,
        action: Action,
    ) -> Performed {
        let done = perform(self.tools, run, releaser, action).await;
        Performed {
            result: done.result.map_err(|error| self.failed(&error)),
            stored: done.stored,
            newest: done.newest,
            release: done.release,
        }
    }

    /// Where the records are.
    pub(super) fn storage<'s>(&'s self, records: &'s Records) -> Storage<'s> {
        Storage {
            records,
            cluster: &self.target.version,
            namespace: &self.storage,
            name: &self.name,
        }
    }

    /// Keeps what an action has stored as its newest record, so that the next look at it need not read it. The history has
    /// it already.
    pub(super) fn remember(&self, run: &Run<HelmRelease>, newest: Option<Newest>, last: &Release) {
        let newest = newest.filter(|newest| newest.revision == last.revision);
        let Some(newest) = newest else {
            return;
        };
        let records = self.records();
        let (history, seen) = (&run.status.history, &self.tools.seen);
        storage::remember(
            &self.storage(&records),
            &newest,
            last,
            history,
            seen,
            &self.key,
        );
    }
}

/// What performs actions on a cluster, with the records in a namespace.
pub(super) fn releaser(target: &Target, storage: &str, logs: &Logs, options: &Options) -> Releaser {
    let options = Options {
        checks: target.checks.clone(),
        log: Arc::new(logs.clone()),
        ..*options
    };
    Releaser::new(target.cluster.clone(), storage, options)
}

/// What an action did, with its error.
pub(super) struct Done {
    pub(super) stored: Vec<Release>,
    pub(super) newest: Option<Newest>,
    pub(super) release: Release,
    pub(super) result: Result<(), PerformError>,
}

/// Performs an action without holding a worker. The wait for the release's objects ends when the object is queued again, if
/// the gate is on (HC-WAIT-019); everything ends when the process does (HC-ACT-074).
pub(super) async fn perform(
    tools: &HelmReleases,
    run: &mut Run<HelmRelease>,
    releaser: &Releaser,
    action: Action,
) -> Done {
    let mut stored: Vec<Release> = Vec::new();
    let mut observe = |record: &Release| {
        stored.retain(|known| known.revision != record.revision);
        stored.push(record.clone());
    };
    let (canceled, interrupted) = (tools.policy.cancel_health_checks, run.interrupted());
    let stopped = async move {
        if canceled {
            interrupted.await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let shutdown = run.shutting_down();
    let running = tools.running.clone();
    let performed = run
        .idle(async {
            // A closed semaphore, which does not occur, would only remove the bound.
            let _permit = running.acquire().await.ok();
            Box::pin(releaser.perform_until(action, &mut observe, stopped, shutdown.cancelled()))
                .await
        })
        .await;
    Done {
        stored,
        newest: performed.newest,
        release: performed.release,
        result: performed.result,
    }
}
