//! Cases from the field: what becomes of a release.

use kind_tests::controller::Settings;
use kind_tests::{CONFIG_MAP, Gate, HELM_CHART, HELM_RELEASE, Kind, Result, SECRET, Way, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, STUCK, has, history, noise};
use crate::refusal::Refusal;

const NAMESPACE: Kind = Kind("v1", "Namespace");

// FR-H-020
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_failed_upgrade_is_remediated_before_the_next_try() -> Result {
    let bench = Bench::start("hr-tries").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let upgrade = json!({"timeout": "1s", "upgrade": {"remediation": {"retries": 1}}});
    bench.release(upgrade).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    bench
        .publish("1.1.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    let said = "Failed to upgrade after 2 attempt(s)";
    bench
        .condition("Stalled", "True", "RetriesExceeded", said)
        .await?;
    bench
        .wait_revisions(&[
            (1, "superseded"),
            (2, "failed"),
            (3, "superseded"),
            (4, "failed"),
            (5, "deployed"),
        ])
        .await
}

// FR-H-020
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_rolled_back_where_failures_are_retried_by_default() -> Result {
    let settings = Settings::default().flag("--feature-gates=DefaultToRetryOnFailure=true");
    let bench = Bench::with("hr-tries-gate", settings).await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let upgrade = json!({"timeout": "1s", "upgrade": {"remediation": {"retries": 1}}});
    bench.release(upgrade).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    bench
        .publish("1.1.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    for failures in 1..=3 {
        let failed = |object: &Value| object["status"]["upgradeFailures"] == failures;
        let goal = format!("has failed {failures} times");
        let waiting = bench.namespace.wait(HELM_RELEASE, "web", &goal, failed);
        let object = waiting.await?;
        ensure!(
            kind_tests::condition(&object, "Stalled").is_none(),
            "{object}"
        );
        bench.run().await?;
    }
    let made = bench.revisions().await?;
    // None of them is a rollback: apart from the first, nothing was ever deployed.
    ensure!(
        made.len() >= 4 && made[1..].iter().all(|(_, status)| status != "deployed"),
        "{made:?}"
    );
    Ok(())
}

// FR-H-022
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_upgrade_and_rollback_is_survived() -> Result {
    let bench = Bench::start("hr-webhook").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let spec = |text: &str| {
        json!({"values": {"text": text}, "upgrade": {"remediation": {"retries": -1}},
            "rollback": {"timeout": "5s"}})
    };
    bench.release(spec("one")).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let refusal = Refusal::of_name(&bench.namespace, "web-map").await?;
    bench.release(spec("two")).await?;
    let refused = bench.event("UpgradeFailed", "not today").await?;
    ensure!(refused["severity"] == "error", "{refused}");
    // HC-ROLL-006
    let said = "Helm rollback to previous release";
    let failed = bench.event("RollbackFailed", said).await?;
    ensure!(failed.to_string().contains("not today"), "{failed}");
    // The failed rollback is a failed release, and what follows ends at the next one that is let through.
    bench
        .condition("Released", "False", "UpgradeFailed", "")
        .await?;
    refusal.lift().await?;
    let object = bench.says("True", "UpgradeSucceeded", "").await?;
    ensure!(bench.text().await? == "two", "{object}");
    let made = bench.revisions().await?;
    let deployed = made.iter().filter(|(_, status)| status == "deployed");
    ensure!(
        deployed.count() == 1 && made.last().is_some_and(|(_, status)| status == "deployed"),
        "{made:?}"
    );
    ensure!(
        kind_tests::condition(&object, "Stalled").is_none(),
        "{object}"
    );
    Ok(())
}

// FR-H-023
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_objects_with_one_release_take_it_from_each_other_and_say_so() -> Result {
    let bench = Bench::start("hr-two").await?;
    let ns = bench.namespace.name().to_owned();
    let map = |name: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: b}}\n")
    };
    bench
        .publish("1.0.0", &[("templates/map.yaml", &map("first"))])
        .await?;
    let other = bench.chart("2.0.0", &[("templates/map.yaml", &map("second"))])?;
    bench.serve(HELM_CHART, "other", &other).await?;
    bench.release(json!({"releaseName": "shared"})).await?;
    bench
        .says("True", "InstallSucceeded", "shared.v1 with chart web@1.0.0")
        .await?;
    let of_other = json!({"releaseName": "shared", "chartRef": {"name": "other"}});
    bench.release_named("rival", of_other).await?;
    let said = "shared.v2 with chart web@2.0.0";
    bench
        .named_says("rival", "True", "UpgradeSucceeded", said)
        .await?;
    // What the one has made the other removes: it is not part of its chart.
    bench.namespace.wait_gone(CONFIG_MAP, "first").await?;
    let warned = |by: &'static str, of: &'static str| {
        let text = format!("the release was last made by HelmRelease {ns}/{of}");
        move |entry: &Value| {
            entry["msg"].as_str().is_some_and(|msg| msg.contains(&text)) && entry["name"] == by
        }
    };
    bench
        .helm
        .log()
        .wait("about the first", warned("rival", "web"))
        .await?;
    bench.run().await?;
    let said = "shared.v3 with chart web@1.0.0";
    bench.says("True", "UpgradeSucceeded", said).await?;
    bench.namespace.wait_gone(CONFIG_MAP, "second").await?;
    ensure!(
        bench.namespace.get(CONFIG_MAP, "first").await?.is_some(),
        "it is not made again"
    );
    bench
        .helm
        .log()
        .wait("about the second", warned("web", "rival"))
        .await?;
    Ok(())
}

// FR-H-025
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_moves_with_its_namespace() -> Result {
    let bench = Bench::start("hr-target").await?;
    let ns = bench.namespace.name().to_owned();
    let other = format!("{ns}-b");
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let create = json!({"createNamespace": true});
    bench.release(json!({"install": create})).await?;
    bench.says("True", "InstallSucceeded", "web.v1").await?;
    let moved =
        |name: Value| json!({"targetNamespace": other, "releaseName": name, "install": create});
    bench.release(moved(json!("web"))).await?;
    let said = format!("Helm install succeeded for release {other}/web.v1");
    let object = bench.says("True", "InstallSucceeded", &said).await?;
    ensure!(history(&object) == ["1 deployed install"], "{object}");
    let uninstalled = format!("Helm uninstall succeeded for release {ns}/web.v1");
    bench.event("UninstallSucceeded", &uninstalled).await?;
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "the former map stays"
    );
    // Without a name of its own the release gets another one, too; the records stay where they are.
    bench.release(moved(Value::Null)).await?;
    let said = format!("Helm install succeeded for release {other}/{other}-web.v1");
    bench.says("True", "InstallSucceeded", &said).await?;
    let uninstalled = format!("Helm uninstall succeeded for release {other}/web.v1");
    bench.event("UninstallSucceeded", &uninstalled).await?;
    let names = bench.namespace.names(SECRET).await?;
    ensure!(
        names == [format!("sh.helm.release.v1.{other}-web.v1")],
        "{names:?}"
    );
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    bench.namespace.delete(NAMESPACE, &other).await
}

/// A ConfigMap that is ready when another client says so.
const GATED: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-map}\ndata:\n  text: {{ .Values.text | quote }}\n";

// FR-H-028
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renderers_that_change_during_an_upgrade_follow_it() -> Result {
    let bench = Bench::start("hr-inflight").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", GATED)])
        .await?;
    let spec = |renderers: Value| {
        let checks = json!([{"apiVersion": "v1", "kind": "ConfigMap",
            "current": "has(data.go) && data.go == data.text"}]);
        json!({"healthCheckExprs": checks, "postRenderers": renderers, "timeout": "5m",
            "values": {"text": "two"}})
    };
    bench.release(spec(Value::Null)).await?;
    bench.wait_revisions(&[(1, "pending-install")]).await?;
    let patch =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-map, labels: {late: patch}}\n";
    let renderers = json!([{"kustomize": {"patches": [{"patch": patch}]}}]);
    bench.release(spec(renderers)).await?;
    let applied = |map: &Value| map["data"]["text"] == "two";
    bench
        .namespace
        .wait(CONFIG_MAP, "web-map", "is applied", applied)
        .await?;
    let go = json!({"data": {"go": "two"}});
    bench.namespace.merge(CONFIG_MAP, "web-map", go).await?;
    let object = bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    // HC-ACT-041
    ensure!(
        object["status"]["observedPostRenderersDigest"].is_string(),
        "{object}"
    );
    let map = bench.namespace.get(CONFIG_MAP, "web-map").await?;
    ensure!(
        map.unwrap_or_default()["metadata"]["labels"]["late"] == "patch",
        "the change was lost"
    );
    bench.event("InstallSucceeded", "web.v1").await?;
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await
}

// FR-H-029
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_objects_come_back_only_with_drift_correction() -> Result {
    let bench = Bench::installed("hr-resumed", json!({})).await?;
    let suspend = |suspended: bool| json!({"spec": {"suspend": suspended}});
    let merge = async |patch: Value| bench.namespace.merge(HELM_RELEASE, "web", patch).await;
    merge(suspend(true)).await?;
    bench.namespace.delete(CONFIG_MAP, "web-map").await?;
    merge(suspend(false)).await?;
    let object = bench.run().await?;
    ensure!(
        has(&object, "Ready", "True", "InstallSucceeded", ""),
        "{object}"
    );
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "it came back without being asked for"
    );
    merge(json!({"spec": {"driftDetection": {"mode": "enabled"}}})).await?;
    bench.event("DriftCorrected", "ConfigMap/").await?;
    ensure!(bench.text().await? == "default", "it did not come back");
    bench.wait_revisions(&[(1, "deployed")]).await
}

// FR-H-031
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_an_old_version_is_taken_over_by_one_upgrade() -> Result {
    let mut bench = Bench::start("hr-v2beta1").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench.release(json!({})).await?;
    let object = bench.says("True", "InstallSucceeded", "").await?;
    bench.helm.kill()?;
    // As v2beta1 left it: revision and checksum of the values, and no history.
    let mut status = object["status"].clone();
    let fields = status.as_object_mut();
    for field in fields.into_iter().flat_map(|fields| fields.values_mut()) {
        *field = Value::Null;
    }
    status["observedGeneration"] = 1.into();
    status["lastAppliedRevision"] = "1.0.0".into();
    status["lastAttemptedRevision"] = "1.0.0".into();
    status["lastReleaseRevision"] = 1.into();
    status["lastAttemptedValuesChecksum"] = "bf21a9e8fbc5a3846fb05b4fa0859e0917b2202f".into();
    status["conditions"] = json!([{"type": "Ready", "status": "True", "reason": "InstallSucceeded",
        "message": "Release reconciliation succeeded", "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1}]);
    bench
        .namespace
        .set_status(HELM_RELEASE, "web", status)
        .await?;
    bench.helm.restart().await?;
    let object = bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    ensure!(history(&object) == ["2 deployed upgrade"], "{object}");
    let status = &object["status"];
    ensure!(
        status["observedGeneration"] == 1
            && status["lastReleaseRevision"].is_null()
            && status["lastAttemptedValuesChecksum"].is_null(),
        "{status}"
    );
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await?;
    bench.run().await?;
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await
}

// FR-H-037
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hanging_artifact_server_holds_up_its_own_release_only() -> Result {
    let settings = Settings::default()
        .flag("--http-timeout=1s")
        .flag("--http-retry=0")
        .flag("--concurrent=1");
    let bench = Bench::with("hr-hang", settings).await?;
    let gate = Gate::start(bench.artifacts.address()).await?;
    // More than the gate passes on at a time, whatever it is set to.
    let noise = noise(200_000);
    let files = [("templates/map.yaml", MAP), ("files/noise", &*noise)];
    let mut artifact = bench.chart("1.0.0", &files)?;
    let url = artifact["url"].as_str().unwrap_or_default();
    let (direct, through) = (bench.artifacts.address(), gate.address());
    let url = url.replace(&direct.to_string(), &through.to_string());
    artifact["url"] = url.into();
    bench.serve(HELM_CHART, "web", &artifact).await?;
    let other = bench.chart("2.0.0", &[("templates/map.yaml", MAP)])?;
    bench.serve(HELM_CHART, "other", &other).await?;
    for (round, way) in [Way::Silent, Way::Bytes(200)].into_iter().enumerate() {
        gate.set(way);
        let name = format!("web{round}");
        bench.release_named(&name, json!({})).await?;
        let said = "Could not load chart: ";
        let failed = bench
            .named_says(&name, "False", "ArtifactFailed", said)
            .await?;
        ensure!(
            failed
                .to_string()
                .contains("no data from the server for 1s"),
            "{failed}"
        );
        let other = format!("other{round}");
        let spec = json!({"chartRef": {"name": "other"}});
        bench.release_named(&other, spec).await?;
        bench
            .named_says(&other, "True", "InstallSucceeded", "")
            .await?;
    }
    gate.set(Way::Open);
    for name in ["web0", "web1"] {
        bench
            .named_says(name, "True", "InstallSucceeded", "")
            .await?;
    }
    Ok(())
}

// FR-H-013, HC-VAL-020
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preserved_values_are_another_release_at_each_run() -> Result {
    let bench = Bench::start("hr-preserve").await?;
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-map}\ndata: {text: '{{ .Values.r }} {{ .Values.port }}'}\n";
    bench
        .publish("1.0.0", &[("templates/map.yaml", map)])
        .await?;
    let values = json!({"values": {"r": 7, "port": 80}});
    bench.release(values).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let preserving = json!({"values": {"r": 2}, "upgrade": {"preserveValues": true}});
    bench.release(preserving).await?;
    // What is stored has a value that the spec has not, and so is never what is wanted.
    for revision in ["web.v2 ", "web.v3 ", "web.v4 "] {
        bench.event("UpgradeSucceeded", revision).await?;
        ensure!(bench.text().await? == "2 80", "{}", bench.text().await?);
    }
    Ok(())
}

// FR-H-058
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_ends_although_objects_are_left() -> Result {
    let bench = Bench::start("hr-left").await?;
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [kind-tests.fluxcd.io/hold]}\n";
    bench
        .publish("1.0.0", &[("templates/map.yaml", held)])
        .await?;
    let uninstall = json!({"timeout": "1s", "deletionPropagation": "foreground"});
    bench.release(json!({"uninstall": uninstall})).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    // HC-UNI-010: the first try waits in vain, and the record is gone after it
    let said = "termination timeout: context deadline exceeded";
    let event = bench.event("UninstallFailed", said).await?;
    ensure!(event["severity"] == "error", "{event}");
    // The second one finds no release.
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    ensure!(bench.revisions().await?.is_empty(), "a record is left");
    let left = bench.namespace.get(CONFIG_MAP, "held").await?;
    ensure!(
        left.is_some_and(|left| !left["metadata"]["deletionTimestamp"].is_null()),
        "it is not being deleted"
    );
    let free = json!({"metadata": {"finalizers": null}});
    bench.namespace.merge(CONFIG_MAP, "held", free).await?;
    Ok(())
}

// FR-H-059
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_gone_keeps_the_object_until_it_is_back() -> Result {
    let bench = Bench::start("hr-gone").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let kubeconfig = std::fs::read_to_string(bench.namespace.cluster().kubeconfig())?;
    let secret = |text: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kube"}, "stringData": {"value": text}});
    let apply = async |text: &str| bench.namespace.apply(&secret(text).to_string()).await;
    apply(&kubeconfig).await?;
    bench
        .release(json!({"kubeConfig": {"secretRef": {"name": "kube"}}}))
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    // (b) the server does not answer; HC-UNI-005
    let (before, rest) = kubeconfig.split_once("https://").unwrap_or_default();
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || ".:".contains(c)));
    let end = end.unwrap_or(rest.len());
    let nowhere = format!("{before}https://127.0.0.1:1{}", &rest[end..]);
    apply(&nowhere).await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    let object = bench.says("False", "UninstallFailed", "").await?;
    let shown = object["status"].to_string();
    ensure!(
        shown.contains("unreachable") || shown.contains("refused"),
        "{shown}"
    );
    ensure!(!object["metadata"]["finalizers"].is_null(), "{object}");
    // (c) it does not accept the credentials
    let strange = flux_yaml::sigs::yaml_to_json(kubeconfig.as_bytes())?;
    let strange = flux_yaml::json::to_string(&strange, flux_yaml::json::Escape::Plain)?;
    let mut strange: Value = serde_json::from_str(&strange)?;
    strange["users"][0]["user"] = json!({"token": "hunter2secret"});
    apply(&strange.to_string()).await?;
    let object = bench
        .says("False", "UninstallFailed", "Unauthorized")
        .await?;
    ensure!(!object.to_string().contains("hunter2"), "{object}");
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_some(),
        "the map went"
    );
    apply(&kubeconfig).await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "the map stays"
    );
    Ok(())
}

// FR-H-061
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_uninstallation_is_finished_by_its_own_deletion_only() -> Result {
    let mut bench = Bench::start("hr-halfway").await?;
    let held = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [kind-tests.fluxcd.io/hold]}\n";
    bench
        .publish("1.0.0", &[("templates/map.yaml", held)])
        .await?;
    let free = json!({"metadata": {"finalizers": null}});
    for deleted_again in [true, false] {
        bench.release(json!({"timeout": "5m"})).await?;
        bench.says("True", "InstallSucceeded", "web.v1").await?;
        bench.namespace.delete(HELM_RELEASE, "web").await?;
        let going = |map: &Value| !map["metadata"]["deletionTimestamp"].is_null();
        bench
            .namespace
            .wait(CONFIG_MAP, "held", "is being deleted", going)
            .await?;
        bench.wait_revisions(&[(1, "uninstalling")]).await?;
        bench.helm.kill()?;
        bench
            .namespace
            .merge(CONFIG_MAP, "held", free.clone())
            .await?;
        if deleted_again {
            // (i) it is still being deleted
            bench.helm.restart().await?;
            bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
            ensure!(bench.revisions().await?.is_empty(), "a record is left");
            continue;
        }
        // (ii) it was given up, and another one has its name
        bench
            .namespace
            .merge(HELM_RELEASE, "web", free.clone())
            .await?;
        bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
        bench.helm.restart().await?;
        bench.release(json!({"timeout": "5m"})).await?;
        // Without history it is the record of another one, which cannot be upgraded.
        let said = "\"web\" has no deployed releases";
        bench.says("False", "UpgradeFailed", said).await?;
        bench.wait_revisions(&[(1, "uninstalling")]).await?;
    }
    Ok(())
}

// FR-H-053
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_another_client_keeps_changing_is_corrected_once_per_run() -> Result {
    let bench = Bench::start("hr-fight").await?;
    let injected =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: injected}\ndata: {bundle: ours}\n";
    bench
        .publish("1.0.0", &[("templates/map.yaml", injected)])
        .await?;
    bench
        .release(json!({"driftDetection": {"mode": "enabled"}}))
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let corrections = || {
        let events = bench.events.events();
        let corrected = |event: &&Value| event["reason"] == "DriftCorrected";
        events.iter().filter(corrected).count()
    };
    for round in 1..=3 {
        let theirs = json!({"data": {"bundle": "theirs"}});
        bench
            .namespace
            .merge(CONFIG_MAP, "injected", theirs)
            .await?;
        let object = bench.run().await?;
        let map = bench.namespace.get(CONFIG_MAP, "injected").await?;
        ensure!(
            map.unwrap_or_default()["data"]["bundle"] == "ours",
            "{round}"
        );
        // HC-DRIFT-023
        ensure!(
            has(&object, "Ready", "True", "InstallSucceeded", "")
                && has(&object, "Drifted", "False", "NoDriftDetected", ""),
            "{object}"
        );
        ensure!(corrections() <= round, "{round}: {}", corrections());
    }
    let third = |event: &Value| event["reason"] == "DriftCorrected" && corrections() == 3;
    bench.events.wait("is the third correction", third).await?;
    // A rule ends it.
    let rule = json!({"mode": "enabled", "ignore": [{"paths": ["/data/bundle"]}]});
    bench.release(json!({"driftDetection": rule})).await?;
    let theirs = json!({"data": {"bundle": "theirs"}});
    bench
        .namespace
        .merge(CONFIG_MAP, "injected", theirs)
        .await?;
    bench.run().await?;
    let map = bench.namespace.get(CONFIG_MAP, "injected").await?;
    ensure!(
        map.unwrap_or_default()["data"]["bundle"] == "theirs",
        "it is ignored"
    );
    bench.wait_revisions(&[(1, "deployed")]).await
}
