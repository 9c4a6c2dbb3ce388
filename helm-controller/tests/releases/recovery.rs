//! The controller is killed, and starts again.

use kind_tests::{HELM_RELEASE, Result, SECRET, condition, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, STUCK, history};

// HC-ACT-034, HC-ACT-075, HC-ACT-100
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_was_left_pending_is_unlocked() -> Result {
    let mut bench = Bench::start("hr-killed").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    bench.release(json!({"timeout": "10m"})).await?;
    bench.wait_revisions(&[(1, "pending-install")]).await?;
    bench.helm.kill()?;
    bench
        .publish("1.0.1", &[("templates/map.yaml", MAP)])
        .await?;
    bench.helm.restart().await?;
    let said =
        format!("Unlocked Helm release {ns}/web.v1 with chart web@1.0.0 in pending-install state");
    bench.event("PendingRelease", &said).await?;
    bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await
}

// HC-ACT-072, HC-ACT-074
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_stops_marks_its_release_as_failed() -> Result {
    let mut bench = Bench::start("hr-stop").await?;
    bench
        .publish("1.0.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    bench.release(json!({"timeout": "10m"})).await?;
    bench.wait_revisions(&[(1, "pending-install")]).await?;
    bench.helm.terminate().await?;
    bench.wait_revisions(&[(1, "failed")]).await?;
    let object = bench.get().await?;
    // HC-ACT-073: what was observed is in the status
    ensure!(history(&object) == ["1 failed install"], "{object}");
    ensure!(
        crate::bench::has(
            &object,
            "Released",
            "False",
            "InstallFailed",
            "context canceled"
        ),
        "{object}"
    );
    Ok(())
}

/// Leaves the status as a process does that is killed between its last write to the storage and the status.
async fn forget_last(bench: &Bench, attempt: &str, kept: usize) -> Result {
    let mut status = bench.get().await?["status"].clone();
    let history = status["history"].as_array().cloned().unwrap_or_default();
    let left: Vec<Value> = history.into_iter().rev().take(kept).rev().collect();
    status["history"] = if left.is_empty() {
        Value::Null
    } else {
        left.into()
    };
    for counter in ["failures", "installFailures", "upgradeFailures"] {
        status[counter] = Value::Null;
    }
    let message = format!("Running '{attempt}' action with timeout of 20s");
    let condition = |kind: &str, value: &str| {
        json!({"type": kind, "status": value, "reason": "Progressing", "message": message,
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    status["conditions"] = json!([
        condition("Reconciling", "True"),
        condition("Ready", "Unknown"),
        // Of the revision before.
        condition("TestSuccess", "True")
    ]);
    bench
        .namespace
        .set_status(HELM_RELEASE, "web", status)
        .await?;
    Ok(())
}

// FR-H-017, FR-H-016
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_was_not_recorded_is_no_reason_for_another_revision() -> Result {
    let mut bench = Bench::start("hr-resume").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench.release(json!({})).await?;
    let installed = bench.says("True", "InstallSucceeded", "").await?;
    bench.helm.kill()?;
    forget_last(&bench, "install", 0).await?;
    bench.helm.restart().await?;
    let object = bench.says("True", "InstallSucceeded", "web.v1").await?;
    ensure!(
        object["status"]["history"] == installed["status"]["history"],
        "{object}"
    );
    bench.wait_revisions(&[(1, "deployed")]).await?;

    bench.release(json!({"values": {"text": "two"}})).await?;
    let upgraded = bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    bench.helm.kill()?;
    forget_last(&bench, "upgrade", 1).await?;
    bench.helm.restart().await?;
    let object = bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    ensure!(
        object["status"]["history"] == upgraded["status"]["history"],
        "{} {}",
        object["status"]["history"],
        upgraded["status"]["history"]
    );
    ensure!(condition(&object, "TestSuccess").is_none(), "{object}");
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await
}

// FR-H-016
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_that_was_not_recorded_counts_once() -> Result {
    let mut bench = Bench::start("hr-refail").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench
        .release(json!({"timeout": "1s", "test": {"enable": true}}))
        .await?;
    bench.says("True", "TestSucceeded", "").await?;
    bench
        .publish("1.1.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    let said = "Failed to upgrade after 1 attempt(s)";
    let stalled = ("Stalled", "True", "RetriesExceeded", said);
    let failed = bench
        .condition(stalled.0, stalled.1, stalled.2, stalled.3)
        .await?;
    bench.helm.kill()?;
    forget_last(&bench, "upgrade", 1).await?;
    bench.helm.restart().await?;
    let object = bench
        .condition(stalled.0, stalled.1, stalled.2, stalled.3)
        .await?;
    let said = "Helm upgrade failed for release";
    ensure!(
        crate::bench::has(&object, "Released", "False", "UpgradeFailed", said),
        "{object}"
    );
    ensure!(condition(&object, "TestSuccess").is_none(), "{object}");
    for field in ["history", "failures", "upgradeFailures"] {
        let (before, after) = (&failed["status"][field], &object["status"][field]);
        ensure!(before == after, "{field}: {before} {after}");
    }
    bench
        .wait_revisions(&[(1, "deployed"), (2, "failed")])
        .await
}

// HC-ACT-035, HC-ACT-037, HC-REL-006
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_was_changed_or_deleted_is_made_anew() -> Result {
    let bench = Bench::installed("hr-record", json!({})).await?;
    let name = "sh.helm.release.v1.web.v1";
    bench.namespace.delete(SECRET, name).await?;
    bench.run().await?;
    bench.says("True", "InstallSucceeded", "web.v1").await?;
    // Its content is no record any more.
    let broken = json!({"data": {"release": "bm90IGEgcmVsZWFzZQ=="}});
    bench.namespace.merge(SECRET, name, broken).await?;
    bench.run().await?;
    let object = bench.get().await?;
    ensure!(
        crate::bench::has(
            &object,
            "Ready",
            "False",
            "InstallFailed",
            "release: already exists"
        ),
        "{object}"
    );
    bench.namespace.delete(SECRET, name).await?;
    bench.says("True", "InstallSucceeded", "web.v1").await?;
    Ok(())
}

/// The points at which the controller is killed during an upgrade: each is a state that another client can see.
const POINTS: [&str; 4] = ["announced", "stored", "applied", "deployed"];

// FR-H-016
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_is_killed_anywhere_ends_at_the_same_release() -> Result {
    let mut bench = Bench::installed("hr-kills", json!({"values": {"text": "0"}})).await?;
    for (round, point) in POINTS.into_iter().enumerate() {
        let text = format!("{}", round + 1);
        let last = bench.revisions().await?.last().map_or(0, |(last, _)| *last);
        bench.release(json!({"values": {"text": text}})).await?;
        let next = format!("sh.helm.release.v1.web.v{}", last + 1);
        let any = |_: &Value| true;
        match point {
            "announced" => {
                let running = |object: &Value| object.to_string().contains("Running 'upgrade'");
                let wait = bench.namespace.wait(HELM_RELEASE, "web", "starts", running);
                wait.await?;
            }
            "stored" => {
                bench
                    .namespace
                    .wait(SECRET, &next, "is stored", any)
                    .await?;
            }
            "applied" => {
                let applied = |map: &Value| map["data"]["text"] == *text;
                let wait =
                    bench
                        .namespace
                        .wait(kind_tests::CONFIG_MAP, "web-map", "is applied", applied);
                wait.await?;
            }
            _ => {
                let deployed =
                    |secret: &Value| secret["metadata"]["labels"]["status"] == "deployed";
                let wait = bench.namespace.wait(SECRET, &next, "is deployed", deployed);
                wait.await?;
            }
        }
        bench.helm.kill()?;
        let left = bench.revisions().await?;
        bench.helm.restart().await?;
        let done = |object: &Value| {
            let digest = &object["status"]["history"][0]["configDigest"];
            kind_tests::is_ready(object, "True")
                && object["status"]["observedGeneration"] == object["metadata"]["generation"]
                && *digest == object["status"]["lastAttemptedConfigDigest"]
        };
        bench
            .namespace
            .wait(HELM_RELEASE, "web", "is ready", done)
            .await?;
        ensure!(bench.text().await? == text, "{point}");
        let now = bench.revisions().await?;
        let deployed: Vec<_> = now
            .iter()
            .filter(|(_, status)| status == "deployed")
            .collect();
        ensure!(
            deployed.len() == 1 && now.last().map(|(_, status)| &**status) == Some("deployed"),
            "{point}: {left:?} {now:?}"
        );
        // What had been finished was not done again.
        let finished = left
            .last()
            .filter(|(revision, status)| *revision == last + 1 && status == "deployed");
        if finished.is_some() {
            ensure!(now.last() == left.last(), "{point}: {left:?} {now:?}");
        }
    }
    Ok(())
}
