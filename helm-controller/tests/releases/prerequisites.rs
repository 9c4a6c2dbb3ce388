//! What has to be there before a release is made.

use kind_tests::controller::Settings;
use kind_tests::{Answer, HELM_CHART, HELM_RELEASE, Result, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP};

// HC-CHART-016, HC-CHART-017, HC-ACT-010
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_has_to_exist_and_be_ready() -> Result {
    let bench = Bench::start("hr-source").await?;
    bench.release(json!({})).await?;
    let object = bench
        .says(
            "False",
            "ArtifactFailed",
            "could not get Source object: HelmChart.source.toolkit.fluxcd.io \"web\" not found",
        )
        .await?;
    // HC-ACT-008, HC-ACT-012
    ensure!(
        crate::bench::has(
            &object,
            "Reconciling",
            "True",
            "Progressing",
            "Fulfilling prerequisites"
        ),
        "{object}"
    );
    ensure!(object["status"]["observedGeneration"] == -1, "{object}");
    let chart = json!({"apiVersion": HELM_CHART.0, "kind": HELM_CHART.1, "metadata": {"name": "web"},
        "spec": {"interval": "1h", "chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "r"}}});
    bench.namespace.apply(&chart.to_string()).await?;
    let ns = bench.namespace.name();
    let said = format!(
        "HelmChart '{ns}/web' is not ready: latest generation of object has not been reconciled"
    );
    bench.says("False", "SourceNotReady", &said).await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    Ok(())
}

// HC-CHART-022
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_artifact_is_waited_for() -> Result {
    let bench = Bench::start("hr-404").await?;
    bench.artifacts.instead([Answer::Status(404)]);
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench.release(json!({})).await?;
    bench
        .says(
            "False",
            "ArtifactFailed",
            "Source not ready: artifact not found. Retrying in 1s",
        )
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    Ok(())
}

// HC-CHART-024
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_has_to_have_its_digest() -> Result {
    let bench = Bench::start("hr-digest").await?;
    let mut artifact = bench.chart("1.0.0", &[("templates/map.yaml", MAP)])?;
    let wrong = format!("sha256:{}", "0".repeat(64));
    artifact["digest"] = wrong.clone().into();
    bench.serve(HELM_CHART, "web", &artifact).await?;
    bench.release(json!({})).await?;
    let said =
        format!("Could not load chart: integrity failure: computed digest doesn't match '{wrong}'");
    bench.says("False", "ArtifactFailed", &said).await?;
    bench.event("ArtifactFailed", "integrity failure").await?;
    Ok(())
}

// HC-DEP-001, HC-DEP-008, HC-DEP-006
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependencies_come_first() -> Result {
    let bench = Bench::start("hr-deps").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench
        .release(json!({"dependsOn": [{"name": "db"}]}))
        .await?;
    // HC-DEP-002
    let said = format!("unable to get '{ns}/db' dependency: ");
    bench.says("False", "DependencyNotReady", &said).await?;
    let event = bench.event("DependencyNotReady", &said).await?;
    ensure!(event["severity"] == "info", "{event}");
    bench.release_named("db", json!({})).await?;
    bench.says("True", "InstallSucceeded", "").await?;

    let spec = json!({"dependsOn": [{"name": "db", "readyExpr": "dep."}]});
    bench.release(spec).await?;
    let said = "Reconciliation failed terminally due to configuration error: terminal error: failed to evaluate dependency db: ";
    let object = bench.says("False", "InvalidCELExpression", said).await?;
    ensure!(
        crate::bench::has(&object, "Stalled", "True", "InvalidCELExpression", said),
        "{object}"
    );
    bench
        .event("InvalidCELExpression", "failed to evaluate dependency db")
        .await?;
    Ok(())
}

// HC-VAL-001, HC-VAL-003, HC-VAL-007
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_come_from_objects_and_the_spec() -> Result {
    let bench = Bench::start("hr-values").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let from = json!([{"kind": "ConfigMap", "name": "base"},
        {"kind": "Secret", "name": "extra", "valuesKey": "k", "targetPath": "text", "optional": true}]);
    bench.release(json!({"valuesFrom": from})).await?;
    let said = format!(
        "could not resolve ConfigMap chart values reference '{ns}/base' with key 'values.yaml': "
    );
    bench.says("False", "ValuesError", &said).await?;
    bench.event("ValuesError", &said).await?;
    // HC-ACT-020, HC-PROC-027: a labelled ConfigMap is watched
    let base = "{apiVersion: v1, kind: ConfigMap, metadata: {name: base, labels: {reconcile.fluxcd.io/watch: Enabled}}, data: {values.yaml: 'text: from-map'}}";
    bench.namespace.apply(base).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    ensure!(bench.text().await? == "from-map", "{}", bench.text().await?);
    let extra = "{apiVersion: v1, kind: Secret, metadata: {name: extra, labels: {reconcile.fluxcd.io/watch: Enabled}}, stringData: {k: from-secret}}";
    bench.namespace.apply(extra).await?;
    bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    ensure!(
        bench.text().await? == "from-secret",
        "{}",
        bench.text().await?
    );
    Ok(())
}

// HC-CHART-012, HC-CHART-014, HC-PROC-019
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_namespaces_can_be_closed() -> Result {
    let settings = Settings::default().flag("--no-cross-namespace-refs=true");
    let bench = Bench::with("hr-closed", settings).await?;
    bench
        .release(json!({"chartRef": {"namespace": "default"}}))
        .await?;
    let said = "cross-namespace references are not allowed: cannot access HelmChart default/web";
    let object = bench.says("False", "AccessDenied", said).await?;
    ensure!(
        crate::bench::has(&object, "Stalled", "True", "AccessDenied", said),
        "{object}"
    );
    ensure!(
        kind_tests::condition(&object, "Reconciling").is_none(),
        "{object}"
    );
    bench.event("AccessDenied", said).await?;
    Ok(())
}

// HC-REMOTE-002, HC-REMOTE-013, HC-UNI-006
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_acts_as_its_account() -> Result {
    let bench = Bench::start("hr-account").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench
        .release(json!({"serviceAccountName": "deployer"}))
        .await?;
    let said =
        format!("User \"system:serviceaccount:{ns}:deployer\" cannot list resource \"secrets\"");
    // HC-REL-013, HC-ACT-046
    bench.says("False", "StateError", &said).await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    Ok(())
}

// HC-ACT-006, HC-WAIT-011
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_checks_have_to_compile() -> Result {
    let bench = Bench::start("hr-cel").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    let checks = json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data."}]);
    bench.release(json!({"healthCheckExprs": checks})).await?;
    let said = "Reconciliation failed terminally due to configuration error: ";
    let object = bench.says("False", "InvalidCELExpression", said).await?;
    ensure!(object["status"]["observedGeneration"] == 1, "{object}");
    // HC-WAIT-012
    let checks =
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "current": "data.text == 'done'"}]);
    bench
        .release(json!({"healthCheckExprs": checks, "timeout": "2s"}))
        .await?;
    bench
        .says("False", "InstallFailed", "timeout waiting for: [ConfigMap/")
        .await?;
    bench
        .release(json!({"healthCheckExprs": checks, "values": {"text": "done"}}))
        .await?;
    let object: Value = bench.says("True", "UpgradeSucceeded", "").await?;
    ensure!(!object.is_null(), "no object");
    Ok(())
}
