//! Waiting for the objects of a release.

use std::time::Duration;

use flux_errors::chain;
use flux_helm::Status;
use flux_helm::action::{UpgradeOptions, WaitStrategy};
use flux_release::PerformError;
use kind_tests::{DEPLOYMENT, Doing, Failure, Result, ensure};

use crate::bench::{Bench, failure, files};

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  replicas: 1\n  selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec: {nodeSelector: {}, containers: [{name: web, image: example.com/web}]}\n";
const JOB: &str = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: job}\nspec:\n  template:\n    spec: {restartPolicy: Never, nodeSelector: {no: such-node}, containers: [{name: c, image: example.com/job}]}\n";

// HE-KUBE-021 HC-WAIT-017
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_is_deployed_once_its_objects_are_ready() -> Result {
    for strategy in [WaitStrategy::Watcher, WaitStrategy::Legacy] {
        let mut ours = Bench::new("helm-ready", &files(&[("templates/web.yaml", WEB)])).await?;
        ours.options.wait = strategy;
        let counter = ours.counter()?;
        ours.install("{}").await?;
        let web = ours.namespace.get(DEPLOYMENT, "web").await?;
        let web = web.unwrap_or_default();
        ensure!(web["status"]["readyReplicas"] == 1, "{strategy:?}: {web}");
        let requests = counter.requests()?;
        let gets = requests
            .iter()
            .filter(|r| r.verb == "get" && r.resource == "deployments");
        // One check whether it exists, and nothing else.
        // HC-WAIT-022
        ensure!(gets.count() == 1, "{strategy:?}: {requests:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_fails_if_its_objects_are_not_ready_in_time() -> Result {
    let stuck = WEB.replace("nodeSelector: {}", "nodeSelector: {no: such-node}");
    let paused = stuck.replace("replicas: 1", "replicas: 1\n  paused: true");
    let mut ours = Bench::new("helm-unready", &files(&[("templates/web.yaml", &stuck)])).await?;
    ours.options.timeout = Duration::from_secs(1);
    let suspended = JOB.replace("spec:\n", "spec:\n  suspend: true\n");
    let late = "timeout waiting for: [Deployment/ns/web status: 'InProgress']";
    let job = "timeout waiting for: [Job/ns/job status: 'InProgress']";
    let mut is_first = true;
    for (template, strategy, for_jobs, want) in [
        // HC-WAIT-007, HC-WAIT-002
        (stuck.as_str(), WaitStrategy::Watcher, true, Err(late)),
        // HC-WAIT-018
        (
            &stuck,
            WaitStrategy::Legacy,
            true,
            Err("context deadline exceeded"),
        ),
        // HE-KUBE-021
        (&stuck, WaitStrategy::HookOnly, true, Ok(())),
        // HC-WAIT-003
        (&paused, WaitStrategy::Watcher, true, Ok(())),
        (&paused, WaitStrategy::Legacy, true, Ok(())),
        // HC-WAIT-004
        (JOB, WaitStrategy::Watcher, true, Err(job)),
        (JOB, WaitStrategy::Watcher, false, Ok(())),
        (&suspended, WaitStrategy::Watcher, true, Ok(())),
        (
            JOB,
            WaitStrategy::Legacy,
            true,
            Err("context deadline exceeded"),
        ),
        (JOB, WaitStrategy::Legacy, false, Ok(())),
    ] {
        ours.change(&files(&[("templates/web.yaml", template)]))?;
        (ours.options.wait, ours.options.wait_for_jobs) = (strategy, for_jobs);
        let performed = if std::mem::take(&mut is_first) {
            ours.try_install("{}", |_| {}).await?
        } else {
            ours.try_upgrade("{}", UpgradeOptions::default()).await?
        };
        let told = performed
            .result
            .map_err(|error| chain(&error).replace(ours.namespace.name(), "ns"));
        let want = want.map_err(ToOwned::to_owned);
        ensure!(told == want, "{strategy:?} {template}: {told:?}");
        // HE-ACT-012
        let status = performed.release.status();
        let wanted = if told.is_ok() {
            Status::Deployed
        } else {
            Status::Failed
        };
        ensure!(status == wanted, "{strategy:?} {template}: {status}");
    }

    // HC-WAIT-006: an object that can never become ready ends the wait early
    let lost = stuck.replace("replicas: 1", "replicas: 1\n  progressDeadlineSeconds: 1");
    ours.change(&files(&[("templates/web.yaml", &lost)]))?;
    ours.options.timeout = kind_tests::deadline();
    ours.options.wait = WaitStrategy::Watcher;
    let performed = ours.try_upgrade("{}", UpgradeOptions::default()).await?;
    let error = failure(performed.result);
    let error = error.replace(ours.namespace.name(), "ns");
    ensure!(
        error == "failed early due to stalled resources: [Deployment/ns/web status: 'Failed']",
        "{error}"
    );
    Ok(())
}

// HC-WAIT-020
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_when_it_is_cancelled() -> Result {
    let stuck = WEB.replace("nodeSelector: {}", "nodeSelector: {no: such-node}");
    let ours = Bench::new("helm-stopped", &files(&[("templates/web.yaml", &stuck)])).await?;
    let install = ours.begin_install("{}").await?;
    let releaser = ours.releaser();
    let mut statuses = Vec::new();
    let mut stored = |record: &flux_helm::Release| statuses.push(record.status());
    let seen = async {
        let there = |web: &serde_json::Value| web["status"]["observedGeneration"] == 1;
        let seen = ours
            .namespace
            .wait(DEPLOYMENT, "web", "is applied", there)
            .await;
        seen.doing("wait for the object")
            .map(drop)
            .unwrap_or_default();
    };
    let performing = Box::pin(releaser.perform(install, &mut stored, seen));
    let performed = ours.namespace.wait_for("is performed", performing).await?;
    let error = performed
        .result
        .err()
        .ok_or_else(|| Failure::new("it was installed"))?;
    ensure!(
        matches!(&error, PerformError::Cancelled { message } if message == "context canceled"),
        "{error:?}"
    );
    ensure!(
        statuses == [Status::PendingInstall, Status::Failed],
        "{statuses:?}"
    );
    let info = performed.release.info.unwrap_or_default();
    ensure!(
        info.description == "Release \"web\" failed: context canceled",
        "{}",
        info.description
    );

    // Neither hooks nor the waits of Helm 3 are cancelled.
    let hook = JOB
        .replace(
            "metadata: {name: job}",
            "metadata: {name: hook, annotations: {helm.sh/hook: pre-install}}",
        )
        .replace(" nodeSelector: {no: such-node},", "");
    let mut ours = Bench::new(
        "helm-unstopped",
        &files(&[("templates/web.yaml", WEB), ("templates/hook.yaml", &hook)]),
    )
    .await?;
    ours.options.wait = WaitStrategy::Legacy;
    let install = ours.begin_install("{}").await?;
    let releaser = ours.releaser();
    let mut unheard = |_: &flux_helm::Release| {};
    let performing = releaser.perform(install, &mut unheard, std::future::ready(()));
    let performed = ours.namespace.wait_for("is performed", performing).await?;
    ensure!(performed.result.is_ok(), "{:?}", performed.result);
    let web = ours.namespace.get(DEPLOYMENT, "web").await?;
    let web = web.unwrap_or_default();
    ensure!(web["status"]["readyReplicas"] == 1, "{web}");
    Ok(())
}
