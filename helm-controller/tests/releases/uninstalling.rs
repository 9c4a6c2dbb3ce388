//! Deletions of HelmReleases whose release cannot be uninstalled as usual.

use kind_tests::{CONFIG_MAP, HELM_CHART, HELM_RELEASE, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, has};

/// A finalizer that keeps an object, so that its last status can be read.
const HOLD: &str = "example.com/hold";
const OURS: &str = "finalizers.fluxcd.io";

async fn hold(bench: &Bench, name: &str) -> Result {
    let patch = json!({"metadata": {"finalizers": [OURS, HOLD]}});
    bench.namespace.merge(HELM_RELEASE, name, patch).await?;
    Ok(())
}

/// Waits until only the other finalizer is left, and removes it.
async fn let_go(bench: &Bench, name: &str) -> Result {
    let held = |object: &Value| object["metadata"]["finalizers"] == json!([HOLD]);
    bench
        .namespace
        .wait(HELM_RELEASE, name, "is only held", held)
        .await?;
    let patch = json!({"metadata": {"finalizers": null}});
    bench.namespace.merge(HELM_RELEASE, name, patch).await?;
    bench.namespace.wait_gone(HELM_RELEASE, name).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_never_installed_needs_no_uninstallation() -> Result {
    let bench = Bench::start("hr-never").await?;
    // HC-UNI-003
    bench.release(json!({})).await?;
    bench.says("False", "ArtifactFailed", "").await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    let skipped = |line: &Value| {
        line["msg"] == "skipping Helm release uninstallation: no storage namespace configured"
    };
    bench.helm.log().wait("of the deletion", skipped).await?;
    // HC-UNI-007
    bench
        .publish(
            "1.0.0",
            &[("templates/fail.yaml", "{{ fail \"no good\" }}\n")],
        )
        .await?;
    bench.release(json!({})).await?;
    let object = bench.says("False", "InstallFailed", "no good").await?;
    ensure!(
        object["status"]["storageNamespace"].is_string() && object["status"]["history"].is_null(),
        "{object}"
    );
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    let uninstalled = |event: &Value| {
        event["reason"]
            .as_str()
            .is_some_and(|reason| reason.starts_with("Uninstall"))
    };
    ensure!(
        !bench.events.events().iter().any(uninstalled),
        "{:#?}",
        bench.events.events()
    );

    // HC-ACT-003: the deletion precedes the look at `suspend`, and no finalizer is added
    let template = json!({"chart": {"spec": {"chart": "web", "sourceRef": {"kind": "HelmRepository", "name": "repo"}}}});
    bench
        .release_named(
            "held",
            json!({"chartRef": null, "chart": template["chart"]}),
        )
        .await?;
    let name = format!("{}-held", bench.namespace.name());
    let any = |_: &Value| true;
    bench
        .namespace
        .wait(HELM_CHART, &name, "is made", any)
        .await?;
    let known = |object: &Value| object["status"]["helmChart"].is_string();
    bench
        .namespace
        .wait(HELM_RELEASE, "held", "names its chart", known)
        .await?;
    bench
        .namespace
        .merge(HELM_RELEASE, "held", json!({"spec": {"suspend": true}}))
        .await?;
    hold(&bench, "held").await?;
    bench.namespace.delete(HELM_RELEASE, "held").await?;
    let_go(&bench, "held").await?;
    // HC-CHART-011
    ensure!(
        bench.namespace.get(HELM_CHART, &name).await?.is_some(),
        "the chart of a suspended object went"
    );
    Ok(())
}

// HC-UNI-005
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_cannot_be_reached_blocks_a_deletion() -> Result {
    let bench = Bench::installed("hr-stays", json!({})).await?;
    let ns = bench.namespace.name().to_owned();
    let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kube", "labels": {"reconcile.fluxcd.io/watch": "Enabled"}}, "stringData": data});
    // HC-REMOTE-017: a file of the controller's own disk
    let file = "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}], clusters: [{name: k, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {tokenFile: /var/run/token}}]}";
    bench
        .namespace
        .apply(&secret(json!({"value": file})).to_string())
        .await?;
    bench
        .release(json!({"kubeConfig": {"secretRef": {"name": "kube"}}}))
        .await?;
    let refused = "user 'u' references a tokenFile, only an inline token is supported";
    bench.says("False", "RESTClientError", refused).await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    let said = "failed to build REST client getter to uninstall release: ";
    let object = bench.says("False", "UninstallFailed", said).await?;
    ensure!(
        has(&object, "Ready", "False", "UninstallFailed", refused),
        "{object}"
    );
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_some(),
        "the map went"
    );
    // HC-REMOTE-010: one that can be read, whose authorities contain no certificate
    let authorities = "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}], clusters: [{name: k, cluster: {server: 'https://127.0.0.1:1', certificate-authority-data: bm90aGluZw==}}], users: [{name: u, user: {token: t}}]}";
    bench
        .namespace
        .apply(&secret(json!({"value": authorities})).to_string())
        .await?;
    let none = "unable to load root certificates: unable to parse bytes as PEM block";
    let said = format!("could not get client set for 'Secret' storage driver: {none}");
    bench.says("False", "ConfigFactoryErr", &said).await?;
    // HC-REMOTE-009
    let other = json!({"kubeConfig": {"secretRef": {"name": "kube"}}});
    bench.release_named("other", other).await?;
    bench
        .named_says("other", "False", "ResourceManagerError", none)
        .await?;
    bench.namespace.delete(HELM_RELEASE, "other").await?;
    // HC-REMOTE-016: the labelled Secret is watched
    let kubeconfig = std::fs::read_to_string(bench.namespace.cluster().kubeconfig())?;
    bench
        .namespace
        .apply(&secret(json!({"value": kubeconfig})).to_string())
        .await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_none(),
        "the map stays in {ns}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_of_other_clients_end_a_deletion_in_their_own_way() -> Result {
    let bench = Bench::start("hr-foreign").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    // HC-UNI-013: another client has upgraded it since
    bench.release(json!({"interval": "1h"})).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let mut record = bench.record(1).await?;
    record["version"] = 2.into();
    bench.put_record(&record).await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    let said =
        format!("release mismatch: uninstalled release {ns}/web.v2 != current release {ns}/web.v1");
    let event = bench.event("UninstallFailed", &said).await?;
    ensure!(event["severity"] == "error", "{event}");
    // HC-UNI-012: another client has uninstalled it, and kept its records
    for name in bench.namespace.names(SECRET).await? {
        bench.namespace.delete(SECRET, &name).await?;
    }
    bench
        .release(json!({"uninstall": {"keepHistory": true}}))
        .await?;
    bench.says("True", "InstallSucceeded", "").await?;
    hold(&bench, "web").await?;
    let mut record = bench.record(1).await?;
    record["info"]["status"] = "uninstalled".into();
    bench.put_record(&record).await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    let said = format!("Release {ns}/web.v1 was already uninstalled");
    bench
        .condition("Released", "False", "UninstallSucceeded", &said)
        .await?;
    let_go(&bench, "web").await
}
