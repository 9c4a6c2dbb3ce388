//! Hooks, tests and waits of a release.

use kind_tests::controller::Settings;
use kind_tests::{CONFIG_MAP, HELM_RELEASE, Kind, Result, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, STUCK};

const JOB: Kind = Kind("batch/v1", "Job");

/// A Job with more of its metadata, that ends unless `.Values.stuck` is true.
fn job(name: &str, metadata: &str, spec: &str) -> String {
    format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n{metadata}spec:\n{spec}  backoffLimit: 0\n  template:\n    spec:\n      restartPolicy: Never\n      {{{{- if .Values.stuck }}}}\n      nodeSelector: {{no: such-node}}\n      {{{{- end }}}}\n      containers: [{{name: c, image: example.com/c}}]\n"
    )
}

/// A test of a release.
fn test() -> String {
    job(
        "check",
        "  annotations: {helm.sh/hook: test, helm.sh/hook-delete-policy: before-hook-creation}\n",
        "",
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tests_are_awaited_limited_and_retried() -> Result {
    let gate = "--feature-gates=CancelHealthCheckOnNewRevision=true";
    let bench = Bench::with("hr-await", Settings::default().flag(gate)).await?;
    let ns = bench.namespace.name().to_owned();
    let check = test();
    let templates = [
        ("templates/map.yaml", MAP),
        ("templates/tests/check.yaml", &*check),
    ];
    bench.publish("1.0.0", &templates).await?;
    // HC-TEST-002
    let said = format!("Helm release {ns}/web.v1 with chart web@1.0.0 is awaiting tests");
    let awaiting = bench.condition("TestSuccess", "Unknown", "AwaitingTests", &said);
    let (awaited, released) =
        tokio::join!(awaiting, bench.release(json!({"test": {"enable": true}})));
    released?;
    awaited?;
    bench.says("True", "TestSucceeded", "web.v1").await?;

    // HC-TEST-004: a timeout of their own, and always the rules of kstatus
    let limited = json!({"enable": true, "timeout": "1s", "ignoreFailures": true});
    bench
        .release(
            json!({"values": {"stuck": true}, "waitStrategy": {"name": "legacy"}, "test": limited}),
        )
        .await?;
    let said = format!("Helm test failed for release {ns}/web.v2 with chart web@1.0.0: ");
    let object = bench
        .condition("TestSuccess", "False", "TestFailed", &said)
        .await?;
    let text =
        kind_tests::condition(&object, "TestSuccess").map(|test| test["message"].to_string());
    ensure!(
        text.as_ref()
            .is_some_and(|text| text.contains("timeout waiting for: [Job/")),
        "{text:?}"
    );

    // HC-WAIT-021: a trigger during a run that succeeds leaves no note
    let longer = json!({"enable": true, "timeout": "3s", "ignoreFailures": true});
    bench
        .release(json!({"values": {"stuck": true, "x": 1}, "test": longer}))
        .await?;
    let next = |job: &Value| {
        job["metadata"]["annotations"]["helm.sh/hook"] == "test"
            && job["metadata"]["deletionTimestamp"].is_null()
    };
    bench
        .condition("Released", "True", "UpgradeSucceeded", "web.v3")
        .await?;
    bench.namespace.wait(JOB, "check", "runs", next).await?;
    bench.run().await?;
    bench
        .condition("TestSuccess", "False", "TestFailed", "web.v3")
        .await?;
    bench.says("True", "UpgradeSucceeded", "web.v3").await?;
    let canceled = |event: &Value| event["reason"] == "HealthCheckCanceled";
    ensure!(
        !bench.events.events().iter().any(canceled),
        "{:#?}",
        bench.events.events()
    );

    // HC-TEST-008: a test that may not be made is no failure of the release
    let all = |resource: &str| json!({"apiGroups": [""], "resources": [resource], "verbs": ["*"]});
    bench
        .account("tester", &json!([all("secrets"), all("configmaps")]))
        .await?;
    bench
        .release(
            json!({"serviceAccountName": "tester", "values": {"x": 2}, "test": {"enable": true}}),
        )
        .await?;
    let said = "cannot delete resource \"jobs\"";
    let object = bench
        .condition("TestSuccess", "False", "TestFailed", said)
        .await?;
    ensure!(object["status"]["upgradeFailures"].is_null(), "{object}");
    let again = |object: &Value| object["status"]["failures"].as_i64() >= Some(2);
    let object = bench
        .namespace
        .wait(HELM_RELEASE, "web", "is tested again", again)
        .await?;
    ensure!(object["status"]["upgradeFailures"].is_null(), "{object}");
    ensure!(
        object["status"]["history"][0]["testHooks"]["check"]["phase"].is_null(),
        "{object}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_count_for_hooks_but_not_for_legacy_waits() -> Result {
    let bench = Bench::start("hr-gate").await?;
    let hook = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: gate\n  annotations: {helm.sh/hook: pre-install}\ndata: {open: 'no'}\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: web-secret}\nstringData: {text: {{ .Values.text | quote }}}\n";
    let ended = job("ended", "", "  ttlSecondsAfterFinished: 100\n");
    let templates = [
        ("templates/gate.yaml", hook),
        ("templates/secret.yaml", secret),
        ("templates/job.yaml", &*ended),
    ];
    bench.publish("1.0.0", &templates).await?;
    let checks = json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "current": "data.open == 'yes'"},
        {"apiVersion": "v1", "kind": "Secret", "current": "data.text == 'ZGVmYXVsdA=='"}]);
    bench
        .release(json!({"values": {"stuck": true}, "healthCheckExprs": checks, "timeout": "60s"}))
        .await?;
    let any = |_: &Value| true;
    bench
        .namespace
        .wait(CONFIG_MAP, "gate", "is made", any)
        .await?;
    // HC-WAIT-009: the hook is waited for, so nothing else is made
    ensure!(
        bench.namespace.get(JOB, "ended").await?.is_none(),
        "the Job was made"
    );
    bench
        .namespace
        .merge(CONFIG_MAP, "gate", json!({"data": {"open": "yes"}}))
        .await?;
    // HC-WAIT-005: a Job that is removed after its end counts as ended when it is gone
    bench.namespace.wait(JOB, "ended", "is made", any).await?;
    bench.wait_revisions(&[(1, "pending-install")]).await?;
    bench.namespace.delete(JOB, "ended").await?;
    bench.says("True", "InstallSucceeded", "").await?;
    // HC-WAIT-013: `legacy` waits and uninstallations do without expressions
    bench
        .publish("1.1.0", &[("templates/secret.yaml", secret)])
        .await?;
    let legacy = json!({"healthCheckExprs": checks, "values": {"text": "other"}, "waitStrategy": {"name": "legacy"}, "timeout": "5s"});
    bench.release(legacy).await?;
    bench.says("True", "UpgradeSucceeded", "web@1.1.0").await?;
    bench
        .release(json!({"healthCheckExprs": checks, "values": {"text": "third"}, "timeout": "2s"}))
        .await?;
    bench
        .says("False", "UpgradeFailed", "timeout waiting for: [Secret/")
        .await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_of_a_deletion_block_it_until_they_are_left_out() -> Result {
    let bench = Bench::start("hr-bye").await?;
    let ns = bench.namespace.name().to_owned();
    let hook = |name: &str| {
        let metadata = format!(
            "  annotations: {{helm.sh/hook: {name}, helm.sh/hook-delete-policy: before-hook-creation}}\n"
        );
        let text = job(name, &metadata, "  activeDeadlineSeconds: 1\n");
        format!("{{{{- if eq .Values.text {name:?} }}}}\n{text}{{{{- end }}}}\n")
    };
    let (before, after) = (hook("pre-delete"), hook("post-delete"));
    let templates = [
        ("templates/map.yaml", MAP),
        ("templates/before.yaml", &*before),
        ("templates/after.yaml", &*after),
    ];
    bench.publish("1.0.0", &templates).await?;
    let spec = |text: &str| json!({"values": {"text": text, "stuck": true}});
    bench.release(spec("pre-delete")).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    // HC-UNI-010, HC-UNI-019
    let said = format!("Helm uninstall failed for release {ns}/web.v1 with chart web@1.0.0: ");
    let object = bench
        .condition("Released", "False", "UninstallFailed", &said)
        .await?;
    ensure!(object["status"]["failures"].as_i64() >= Some(1), "{object}");
    let event = bench.event("UninstallFailed", "Last Helm logs:").await?;
    ensure!(
        event["severity"] == "error"
            && event["message"]
                .as_str()
                .is_some_and(|text| text.starts_with(&said)),
        "{event}"
    );
    let again = |object: &Value| object["status"]["failures"].as_i64() >= Some(2);
    bench
        .namespace
        .wait(HELM_RELEASE, "web", "is deleted again", again)
        .await?;
    let without = json!({"spec": {"uninstall": {"disableHooks": true}}});
    bench.namespace.merge(HELM_RELEASE, "web", without).await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "the map stays"
    );

    // HC-UNI-019: behind the deletion the record is gone, so the second attempt finds nothing
    bench.release(spec("post-delete")).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    let failures = bench.events.events();
    let failures = failures.iter().filter(|event| {
        event["reason"] == "UninstallFailed" && event["message"].to_string().contains("post-delete")
    });
    ensure!(failures.count() == 1, "{:#?}", bench.events.events());
    Ok(())
}

// HC-CRD-009
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_waited_for_if_waits_are_disabled() -> Result {
    let bench = Bench::start("hr-nowait").await?;
    let group = format!("{}.example.com", bench.namespace.name());
    // Its names are those of another definition, so it is never established.
    let definition = |plural: &str| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {"group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": "Widget", "listKind": "WidgetList"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
    };
    let crd = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let established = |object: &Value| {
        kind_tests::condition(object, "Established").is_some_and(|found| found["status"] == "True")
    };
    let (first, second) = (format!("widgets.{group}"), format!("gadgets.{group}"));
    bench
        .namespace
        .apply(&definition("widgets").to_string())
        .await?;
    bench
        .namespace
        .wait(crd, &first, "is established", established)
        .await?;
    let text = definition("gadgets").to_string();
    let templates = [
        ("crds/gadget.yaml", &*text),
        ("templates/stuck.yaml", STUCK),
    ];
    bench.publish("1.0.0", &templates).await?;
    bench
        .release(json!({"install": {"disableWait": true}}))
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let found = bench.namespace.get(crd, &second).await?.unwrap_or_default();
    ensure!(!established(&found), "{found}");
    bench.namespace.delete(crd, &second).await?;
    bench.namespace.delete(crd, &first).await
}
