//! The records of releases, and conditions that do not agree with them.

use kind_tests::requests::Counter;
use kind_tests::{CONFIG_MAP, HELM_RELEASE, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, STUCK, has, history, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_stored_as_helm_stores_them() -> Result {
    let mut bench = Bench::start("hr-records").await?;
    bench
        .publish("1.0.0+3b2a", &[("templates/map.yaml", MAP)])
        .await?;
    let spec = |values: Value| json!({"maxHistory": 2, "values": values});
    bench.release(spec(json!({"text": "one"}))).await?;
    let object = bench.says("True", "InstallSucceeded", "").await?;
    // HC-CHART-034: the version that the source has made
    ensure!(
        object["status"]["history"][0]["chartVersion"] == "1.0.0+3b2a",
        "{object}"
    );
    // HC-REL-002
    let name = "sh.helm.release.v1.web.v1";
    let secret = bench.namespace.get(SECRET, name).await?.unwrap_or_default();
    // HC-REL-001
    ensure!(secret["type"] == "helm.sh/release.v1", "{}", secret["type"]);
    // HC-ACT-097
    let labels = secret["metadata"]["labels"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let keys: Vec<&str> = labels.keys().map(String::as_str).collect();
    ensure!(
        keys == ["modifiedAt", "name", "owner", "status", "version"],
        "{keys:?}"
    );
    // HC-REL-004
    let record = bench.record(1).await?;
    ensure!(
        record["name"] == "web"
            && record["version"] == 1
            && record["info"]["status"] == "deployed"
            && record["config"] == json!({"text": "one"}),
        "{record}"
    );
    // HC-REL-004: another client's record may be without compression
    bench.put_record(&record).await?;
    bench.run().await?;
    bench.says("True", "InstallSucceeded", "").await?;
    bench.wait_revisions(&[(1, "deployed")]).await?;

    // HC-ACT-102
    bench
        .release(spec(json!({"text": 9_007_199_254_740_993_u64})))
        .await?;
    bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    ensure!(
        bench.text().await? == "9.007199254740992e+15",
        "{}",
        bench.text().await?
    );
    // HC-REL-009
    bench.release(spec(json!({"text": "three"}))).await?;
    bench.says("True", "UpgradeSucceeded", "web.v3").await?;
    bench
        .wait_revisions(&[(2, "superseded"), (3, "deployed")])
        .await?;

    // HC-VAL-020: the record has the old values too; since they are not those of the spec, each run upgrades
    let mut preserving = spec(json!({"other": 1}));
    preserving["upgrade"] = json!({"preserveValues": true});
    bench.release(preserving).await?;
    let again = async || {
        let last = bench.revisions().await?.last().map_or(0, |(last, _)| *last);
        Ok((last >= 5).then_some(()))
    };
    until("it is upgraded again", again).await?;
    ensure!(bench.text().await? == "three", "{}", bench.text().await?);
    bench.helm.terminate().await?;
    let last = bench.revisions().await?.last().map_or(0, |(last, _)| *last);
    let config = bench.record(u32::try_from(last)?).await?["config"].clone();
    ensure!(config == json!({"text": "three", "other": 1}), "{config}");
    bench.helm.restart().await?;
    bench.release(spec(json!({"text": "last"}))).await?;
    bench.says("True", "UpgradeSucceeded", "").await?;
    // HC-ACT-001: what is gone is no error
    let before = bench.helm.log().entries().len();
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    let entries = bench.helm.log().entries();
    let failed = entries
        .iter()
        .skip(before)
        .find(|line| line["level"] == "error");
    ensure!(failed.is_none(), "{failed:?}");
    // HC-PROC-057: nothing of what Helm logs is in the log at its usual level
    ensure!(
        !entries.iter().any(|line| line["level"] == "debug"),
        "{entries:#?}"
    );
    Ok(())
}

// HC-REL-007
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_has_to_be_a_label() -> Result {
    let bench = Bench::start("hr-name").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench.release(json!({"releaseName": "a b"})).await?;
    let said = "failed to retrieve last release from storage: invalid label value: \"a b\": a valid label must be an empty string or consist of alphanumeric characters";
    bench.says("False", "StateError", said).await?;
    // A label, but no name of a release.
    bench.release(json!({"releaseName": "Web"})).await?;
    bench.says("False", "InstallFailed", "release name").await?;
    Ok(())
}

/// Sets the conditions that a process has left.
async fn left(bench: &Bench, conditions: &[(&str, &str, &str)]) -> Result {
    let each = conditions.iter().map(|(kind, status, reason)| {
        json!({"type": kind, "status": status, "reason": reason, "message": "left", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z"})
    });
    let conditions: Vec<Value> = each.collect();
    let status = json!({"conditions": conditions});
    bench
        .namespace
        .set_status(HELM_RELEASE, "web", status)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_follow_a_release_that_is_in_sync() -> Result {
    let mut bench = Bench::installed("hr-follow", json!({})).await?;
    let ns = bench.namespace.name().to_owned();
    for (conditions, reason) in [
        // HC-ACT-049
        (
            [
                ("Ready", "False", "UpgradeFailed"),
                ("Released", "False", "UpgradeFailed"),
            ],
            "UpgradeSucceeded",
        ),
        (
            [
                ("Ready", "False", "InstallFailed"),
                ("Released", "False", "InstallFailed"),
            ],
            "InstallSucceeded",
        ),
        // HC-ACT-108
        (
            [
                ("Ready", "Unknown", "Progressing"),
                ("Released", "True", "InstallSucceeded"),
            ],
            "InstallSucceeded",
        ),
    ] {
        bench.helm.kill()?;
        left(&bench, &conditions).await?;
        bench.helm.restart().await?;
        let object = bench.says("True", reason, "").await?;
        ensure!(has(&object, "Released", "True", reason, ""), "{object}");
        if conditions[1].1 == "False" {
            let word = if reason == "UpgradeSucceeded" {
                "upgrade"
            } else {
                "install"
            };
            let said =
                format!("Helm {word} succeeded for release {ns}/web.v1 with chart web@1.0.0");
            ensure!(has(&object, "Released", "True", reason, &said), "{object}");
        }
        bench.wait_revisions(&[(1, "deployed")]).await?;
    }
    // HC-ACT-014: conditions of other writers stay
    left(
        &bench,
        &[
            ("Ready", "True", "InstallSucceeded"),
            ("Released", "True", "InstallSucceeded"),
            ("Theirs", "False", "ByHand"),
        ],
    )
    .await?;
    let object = bench.run().await?;
    ensure!(
        has(&object, "Theirs", "False", "ByHand", "left"),
        "{object}"
    );
    Ok(())
}

// HC-ACT-094
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forced_upgrades_replace_only_on_the_client_side() -> Result {
    let bench = Bench::installed("hr-put", json!({"install": {"serverSideApply": false}})).await?;
    for (mode, text, revision, replaced) in [
        ("disabled", "one", "web.v2", true),
        ("enabled", "two", "web.v3", false),
    ] {
        let counter = Counter::start(bench.namespace.cluster(), bench.helm.user())?;
        bench.release(json!({"values": {"text": text}, "upgrade": {"force": true, "serverSideApply": mode}})).await?;
        bench.says("True", "UpgradeSucceeded", revision).await?;
        ensure!(bench.text().await? == text, "{}", bench.text().await?);
        let requests = counter.requests()?;
        let verbs: Vec<&str> = requests
            .iter()
            .filter(|request| request.uri.contains("/configmaps/web-map") && request.verb != "get")
            .map(|request| &*request.verb)
            .collect();
        ensure!(
            verbs.contains(&"update") == replaced && !verbs.is_empty(),
            "{mode}: {verbs:?}"
        );
    }
    Ok(())
}

/// Replaces the ConfigMap of the release by one that cannot be changed.
async fn freeze(bench: &Bench) -> Result {
    bench.namespace.delete(CONFIG_MAP, "web-map").await?;
    let frozen = "{apiVersion: v1, kind: ConfigMap, metadata: {name: web-map}, immutable: true, data: {text: frozen}}";
    bench.namespace.apply(frozen).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rollbacks_that_fail_are_reported_and_upgrades_retried() -> Result {
    let bench = Bench::start("hr-frozen").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let remediation = json!({"retries": 1, "remediateLastFailure": true});
    let spec = json!({"timeout": "3s", "upgrade": {"remediation": remediation}, "rollback": {"recreate": true}});
    bench.release(spec.clone()).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    // HC-ROLL-004
    let deprecated = "warning: the .spec.rollback.recreate field is deprecated and has no effect.";
    let warned = || {
        let entries = bench.helm.log().entries();
        entries
            .iter()
            .filter(|line| {
                line["msg"]
                    .as_str()
                    .is_some_and(|msg| msg.starts_with(deprecated))
            })
            .count()
    };
    let before = warned();
    bench.run().await?;
    ensure!(before > 0 && warned() > before, "{before} {}", warned());

    // HC-ROLL-007: one retry, each upgrade rolled back
    let both = [("templates/map.yaml", MAP), ("templates/stuck.yaml", STUCK)];
    bench.publish("1.1.0", &both).await?;
    let object = bench
        .condition(
            "Stalled",
            "True",
            "RetriesExceeded",
            "Failed to upgrade after 2 attempt(s)",
        )
        .await?;
    ensure!(object["status"]["upgradeFailures"] == 2, "{object}");
    let reasons: Vec<String> = bench
        .events
        .events()
        .iter()
        .filter_map(|event| event["reason"].as_str().map(str::to_owned))
        .filter(|reason| matches!(&**reason, "UpgradeFailed" | "RollbackSucceeded"))
        .collect();
    ensure!(
        reasons
            == [
                "UpgradeFailed",
                "RollbackSucceeded",
                "UpgradeFailed",
                "RollbackSucceeded"
            ],
        "{reasons:?}"
    );
    // HC-EVT-013: what was attempted, not what is deployed
    let event = bench
        .event("UpgradeFailed", "with chart web@1.1.0: ")
        .await?;
    let metadata = &event["metadata"];
    ensure!(
        metadata["helm.toolkit.fluxcd.io/revision"] == "1.1.0"
            && metadata["helm.toolkit.fluxcd.io/token"]
                == object["status"]["lastAttemptedConfigDigest"],
        "{event}"
    );

    // HC-ROLL-006
    let mut last = spec;
    last["upgrade"]["remediation"]["retries"] = json!(0);
    last["values"] = json!({"text": "next"});
    let next = bench.revisions().await?.last().map_or(0, |(last, _)| *last) + 1;
    bench.release(last).await?;
    let applied = |map: &Value| map["data"]["text"] == "next";
    bench
        .namespace
        .wait(CONFIG_MAP, "web-map", "is applied", applied)
        .await?;
    freeze(&bench).await?;
    let said = format!(
        "Helm rollback to previous release {ns}/web.v{} with chart web@1.0.0 failed: ",
        next - 1
    );
    let object = bench
        .condition("Remediated", "False", "RollbackFailed", &said)
        .await?;
    // HC-EVT-006
    ensure!(
        has(&object, "Ready", "False", "RollbackFailed", &said),
        "{object}"
    );
    // the upgrade that failed, and the rollback of it
    ensure!(object["status"]["failures"] == 2, "{object}");
    let event = bench.event("RollbackFailed", "Last Helm logs:").await?;
    ensure!(event["severity"] == "error", "{event}");
    // HC-ACT-099: the next upgrade begins without it
    bench.namespace.delete(CONFIG_MAP, "web-map").await?;
    bench
        .publish("1.2.0", &[("templates/map.yaml", MAP)])
        .await?;
    let object = bench.says("True", "UpgradeSucceeded", "web@1.2.0").await?;
    ensure!(
        kind_tests::condition(&object, "Remediated").is_none(),
        "{object}"
    );
    ensure!(
        history(&object)[0].ends_with(" deployed upgrade"),
        "{object}"
    );
    Ok(())
}
