//! Failures, and what is done about them.

use kind_tests::{CONFIG_MAP, HELM_RELEASE, Result, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, STUCK, history};

const TEST: &str = "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: check\n  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: before-hook-creation}\nspec:\n  backoffLimit: 0\n  {{- if .Values.broken }}\n  activeDeadlineSeconds: 1\n  {{- end }}\n  template:\n    spec:\n      restartPolicy: Never\n      {{- if .Values.broken }}\n      nodeSelector: {no: such-node}\n      {{- end }}\n      containers: [{name: c, image: example.com/c}]\n";

// HC-ACT-052, HC-ACT-059, HC-ACT-067
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_installation_stalls_and_a_change_helps() -> Result {
    let bench = Bench::start("hr-stall").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    bench.release(json!({"timeout": "2s"})).await?;
    let stalled = bench
        .condition(
            "Stalled",
            "True",
            "RetriesExceeded",
            "Failed to install after 1 attempt(s)",
        )
        .await?;
    let said = format!(
        "Helm install failed for release {ns}/web with chart web@1.0.0: timeout waiting for: [Deployment/{ns}/stuck status: 'InProgress'"
    );
    ensure!(
        crate::bench::has(&stalled, "Ready", "False", "InstallFailed", &said),
        "{stalled}"
    );
    let status = &stalled["status"];
    // HC-ACT-069
    ensure!(
        status["installFailures"] == 1 && status["failures"] == 1,
        "{status}"
    );
    ensure!(status["observedGeneration"] == 1, "{status}");
    ensure!(history(&stalled) == ["1 failed install"], "{stalled}");
    // HC-EVT-011
    let event = bench.event("InstallFailed", "Last Helm logs:").await?;
    ensure!(event["severity"] == "error", "{event}");
    // HC-ACT-029, HC-ACT-056: another chart, an upgrade
    bench
        .publish("1.0.1", &[("templates/map.yaml", MAP)])
        .await?;
    let object = bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    ensure!(
        kind_tests::condition(&object, "Stalled").is_none(),
        "{object}"
    );
    ensure!(object["status"]["installFailures"].is_null(), "{object}");
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await
}

// HC-ACT-058, HC-UNI-016
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_installations_are_uninstalled_and_retried() -> Result {
    let bench = Bench::start("hr-retry").await?;
    bench
        .publish("1.0.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    let remediation = json!({"remediation": {"retries": 1, "remediateLastFailure": true}});
    bench
        .release(json!({"timeout": "1s", "install": remediation}))
        .await?;
    let object = bench
        .condition(
            "Stalled",
            "True",
            "RetriesExceeded",
            "Failed to install after 2 attempt(s)",
        )
        .await?;
    ensure!(
        crate::bench::has(
            &object,
            "Remediated",
            "True",
            "UninstallSucceeded",
            "Helm uninstall remediation for release"
        ),
        "{object}"
    );
    // HC-UNI-017
    ensure!(
        crate::bench::has(&object, "Ready", "False", "InstallFailed", ""),
        "{object}"
    );
    ensure!(bench.revisions().await?.is_empty(), "a record stays");
    bench
        .event(
            "UninstallSucceeded",
            "Helm uninstall remediation for release",
        )
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_upgrades_are_rolled_back() -> Result {
    let bench = Bench::start("hr-back").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let remediation = json!({"remediation": {"retries": 0, "remediateLastFailure": true}});
    let spec =
        |text: &str| json!({"values": {"text": text}, "timeout": "2s", "upgrade": remediation});
    bench.release(spec("good")).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let both = [("templates/map.yaml", MAP), ("templates/stuck.yaml", STUCK)];
    bench.publish("1.1.0", &both).await?;
    // HC-ROLL-005, HC-ACT-066
    let said =
        format!("Helm rollback to previous release {ns}/web.v1 with chart web@1.0.0 succeeded");
    let object = bench
        .condition(
            "Stalled",
            "True",
            "RetriesExceeded",
            "Failed to upgrade after 1",
        )
        .await?;
    ensure!(
        crate::bench::has(&object, "Remediated", "True", "RollbackSucceeded", &said),
        "{object}"
    );
    ensure!(
        crate::bench::has(&object, "Ready", "False", "RollbackSucceeded", &said),
        "{object}"
    );
    // HC-ACT-081, HC-ROLL-002
    ensure!(
        history(&object)[0] == "3 deployed rollback" && history(&object)[1].starts_with("2 "),
        "{:?}",
        history(&object)
    );
    bench
        .wait_revisions(&[(1, "superseded"), (2, "failed"), (3, "deployed")])
        .await?;
    bench.event("RollbackSucceeded", &said).await?;
    // HC-ACT-048: the former chart again is what the rollback made
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let said = format!("Helm upgrade succeeded for release {ns}/web.v3 with chart web@1.0.0");
    let object = bench.says("True", "UpgradeSucceeded", &said).await?;
    ensure!(
        kind_tests::condition(&object, "Remediated").is_none(),
        "{object}"
    );
    bench
        .wait_revisions(&[(1, "superseded"), (2, "failed"), (3, "deployed")])
        .await
}

// HC-ACT-057, HC-ROLL-008, FR-H-019
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_good_release_there_is_nothing_to_roll_back_to() -> Result {
    let bench = Bench::start("hr-none").await?;
    bench
        .publish("1.0.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    let remediation = json!({"retries": 2});
    let spec = json!({"timeout": "1s", "upgrade": {"remediation": remediation}});
    bench.release(spec.clone()).await?;
    bench
        .condition("Stalled", "True", "RetriesExceeded", "install")
        .await?;
    bench
        .publish("1.1.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    let said = "Failed to perform remediation: missing target release for rollback: cannot remediate failed release";
    bench
        .condition("Stalled", "True", "MissingRollbackTarget", said)
        .await?;
    Ok(())
}

// HC-ACT-057
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_waits_until_its_target_can_be_read() -> Result {
    let bench = Bench::start("hr-target").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let rules = |verbs: &[&str]| {
        json!([{"apiGroups": ["", "apps"], "resources": ["configmaps", "deployments", "replicasets", "pods"], "verbs": ["*"]},
            {"apiGroups": [""], "resources": ["secrets"], "verbs": verbs}])
    };
    bench.account("deployer", &rules(&["*"])).await?;
    let remediation = json!({"remediation": {"retries": 0, "remediateLastFailure": true}});
    bench
        .release(json!({"serviceAccountName": "deployer", "timeout": "5s", "upgrade": remediation}))
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let both = [("templates/map.yaml", MAP), ("templates/stuck.yaml", STUCK)];
    bench.publish("1.1.0", &both).await?;
    bench
        .wait_revisions(&[(1, "deployed"), (2, "pending-upgrade")])
        .await?;
    bench
        .account("deployer", &rules(&["list", "create", "update"]))
        .await?;
    let said = "cannot verify previous release to roll back to: ";
    let retried = |line: &Value| {
        let error = line["error"].as_str();
        error.is_some_and(|text| text.contains(said))
    };
    bench.helm.log().wait("that it is retried", retried).await?;
    bench
        .wait_revisions(&[(1, "deployed"), (2, "failed")])
        .await?;
    bench.account("deployer", &rules(&["*"])).await?;
    bench
        .condition("Remediated", "True", "RollbackSucceeded", "web.v1")
        .await?;
    bench
        .wait_revisions(&[(1, "superseded"), (2, "failed"), (3, "deployed")])
        .await
}

// HC-ACT-055, HC-ACT-064, HC-ACT-071
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_retried_at_an_interval() -> Result {
    let bench = Bench::start("hr-again").await?;
    bench
        .publish("1.0.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    let strategy = json!({"name": "RetryOnFailure", "retryInterval": "1s"});
    let spec = json!({"timeout": "1s", "install": {"strategy": strategy}, "upgrade": {"strategy": strategy}});
    bench.release(spec).await?;
    bench
        .condition(
            "Reconciling",
            "True",
            "ProgressingWithRetry",
            "retrying after 1s",
        )
        .await?;
    let retried = |object: &Value| object["status"]["upgradeFailures"].as_i64() >= Some(2);
    let object = bench
        .namespace
        .wait(HELM_RELEASE, "web", "is retried", retried)
        .await?;
    ensure!(
        kind_tests::condition(&object, "Stalled").is_none(),
        "{object}"
    );
    bench
        .publish("1.1.0", &[("templates/map.yaml", MAP)])
        .await?;
    let object = bench.says("True", "UpgradeSucceeded", "").await?;
    // HC-ACT-070
    ensure!(object["status"]["failures"].is_null(), "{object}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_tests_are_failures_of_the_release() -> Result {
    let bench = Bench::start("hr-tests").await?;
    let ns = bench.namespace.name().to_owned();
    let templates = [
        ("templates/map.yaml", MAP),
        ("templates/tests/check.yaml", TEST),
    ];
    bench.publish("1.0.0", &templates).await?;
    bench.release(json!({"test": {"enable": true}})).await?;
    // HC-TEST-001, HC-TEST-006
    let said = format!(
        "Helm test succeeded for release {ns}/web.v1 with chart web@1.0.0: 1 test hook completed successfully"
    );
    let object = bench.says("True", "TestSucceeded", &said).await?;
    let hooks = &object["status"]["history"][0]["testHooks"];
    ensure!(hooks["check"]["phase"] == "Succeeded", "{hooks}"); // HC-TEST-005
    // HC-TEST-007, HC-ACT-039
    bench
        .release(json!({"test": {"enable": true}, "values": {"broken": true}}))
        .await?;
    let said = format!("Helm test failed for release {ns}/web.v2 with chart web@1.0.0: ");
    let object = bench
        .condition("TestSuccess", "False", "TestFailed", &said)
        .await?;
    ensure!(
        object["status"]["history"][0]["testHooks"]["check"]["phase"] == "Failed",
        "{object}"
    );
    bench
        .condition(
            "Stalled",
            "True",
            "RetriesExceeded",
            "Failed to upgrade after 1 attempt(s)",
        )
        .await?;
    // HC-TEST-010
    bench
        .release(json!({"test": {"enable": true, "ignoreFailures": true}, "values": {"broken": true, "x": 1}}))
        .await?;
    let object = bench
        .condition("TestSuccess", "False", "TestFailed", "web.v3")
        .await?;
    ensure!(!object.is_null(), "{object}");
    bench.says("True", "UpgradeSucceeded", "web.v3").await?;
    // HC-TEST-012
    bench
        .release(json!({"test": {"enable": false}, "values": {"broken": true, "x": 1}}))
        .await?;
    let without = |object: &Value| kind_tests::condition(object, "TestSuccess").is_none();
    bench
        .namespace
        .wait(HELM_RELEASE, "web", "has no TestSuccess", without)
        .await?;
    Ok(())
}

// HC-VAL-016, HC-ACT-065, HC-ACT-095
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_rendered_is_retried_without_a_trace() -> Result {
    let bench = Bench::start("hr-render").await?;
    let fails = "{{ fail (printf \"no good: %s\" .Values.password) }}\n";
    bench
        .publish("1.0.0", &[("templates/fail.yaml", fails)])
        .await?;
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: creds}, stringData: {values.yaml: 'password: hunter2secret'}}";
    bench.namespace.apply(secret).await?;
    bench
        .release(json!({"valuesFrom": [{"kind": "Secret", "name": "creds"}]}))
        .await?;
    let object = bench.says("False", "InstallFailed", "no good: ").await?;
    ensure!(!object.to_string().contains("hunter2secret"), "{object}");
    ensure!(object["status"]["installFailures"].is_null(), "{object}");
    ensure!(bench.revisions().await?.is_empty(), "a record");
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "an object"
    );
    let event = bench.event("InstallFailed", "no good: ").await?;
    ensure!(!event.to_string().contains("hunter2secret"), "{event}");
    let shown = bench.helm.log().lines().join("\n");
    ensure!(!shown.contains("hunter2secret"), "the log has the value");
    Ok(())
}
