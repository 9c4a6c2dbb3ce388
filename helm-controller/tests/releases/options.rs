//! What the spec and the gates can switch.

use kind_tests::controller::Settings;
use kind_tests::{CONFIG_MAP, HELM_RELEASE, Kind, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, STUCK, has, history};

const CRD: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");

// HC-WAIT-019, HC-WAIT-020, HC-PROC-042
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_chart_cancels_the_wait_for_the_older_one() -> Result {
    let gate = "--feature-gates=CancelHealthCheckOnNewRevision=true";
    let bench = Bench::with("hr-cancel", Settings::default().flag(gate)).await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    bench.release(json!({"timeout": "10m"})).await?;
    bench.wait_revisions(&[(1, "pending-install")]).await?;
    bench
        .publish("1.0.1", &[("templates/map.yaml", MAP)])
        .await?;
    let said =
        format!("Health checks canceled due to new reconciliation triggered by HelmChart/{ns}/web");
    let event = bench.event("HealthCheckCanceled", &said).await?;
    ensure!(event["severity"] == "info", "{event}");
    bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await
}

// HC-CHART-032, HC-PROC-036
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_may_stay_without_digests() -> Result {
    let gate = "--feature-gates=DisableChartDigestTracking=true";
    let bench = Bench::with("hr-track", Settings::default().flag(gate)).await?;
    let digest = bench.push("1.0.0", &[("templates/map.yaml", MAP)]).await?;
    bench
        .release(json!({"chartRef": {"kind": "OCIRepository", "name": "web"}}))
        .await?;
    let object = bench.says("True", "InstallSucceeded", "web@1.0.0").await?;
    let status = &object["status"];
    ensure!(status["lastAttemptedRevision"] == "1.0.0", "{status}");
    ensure!(status["lastAttemptedRevisionDigest"] == *digest, "{status}");
    ensure!(status["history"][0]["ociDigest"] == *digest, "{status}");
    Ok(())
}

// HC-PROC-041, HC-PROC-043
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gates_change_the_defaults() -> Result {
    let settings = Settings::default()
        .flag("--feature-gates=UseHelm3Defaults=true,DefaultToRetryOnFailure=true");
    let bench = Bench::with("hr-gates", settings).await?;
    bench
        .publish("1.0.0", &[("templates/stuck.yaml", STUCK)])
        .await?;
    bench.release(json!({"timeout": "1s"})).await?;
    // HC-WAIT-018
    bench
        .condition(
            "Released",
            "False",
            "InstallFailed",
            "context deadline exceeded",
        )
        .await?;
    let said = "retrying after 5m0s";
    bench
        .condition("Reconciling", "True", "ProgressingWithRetry", said)
        .await?;
    Ok(())
}

// HC-POST-001, HC-POST-003, HC-POST-014
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_are_post_rendered() -> Result {
    let bench = Bench::start("hr-post").await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench.release(json!({})).await?;
    let before = bench.says("True", "InstallSucceeded", "").await?;
    ensure!(
        before["status"]["observedPostRenderersDigest"].is_null(),
        "{before}"
    );
    let patch =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web-map}\ndata: {text: patched}\n";
    let spec = json!({"postRenderers": [{"kustomize": {"patches": [{"patch": patch}]}}],
        "commonMetadata": {"labels": {"team": "a", "helm.toolkit.fluxcd.io/name": "other"}, "annotations": {"note": "b"}}});
    bench.release(spec.clone()).await?;
    let object = bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    // HC-ACT-041, HC-EVT-007
    let status = &object["status"];
    ensure!(
        status["observedPostRenderersDigest"].is_string(),
        "{status}"
    );
    ensure!(
        status["observedCommonMetadataDigest"].is_string(),
        "{status}"
    );
    let map = bench
        .namespace
        .get(CONFIG_MAP, "web-map")
        .await?
        .unwrap_or_default();
    ensure!(map["data"]["text"] == "patched", "{map}");
    let metadata = &map["metadata"];
    ensure!(
        metadata["labels"]["team"] == "a"
            && metadata["annotations"]["note"] == "b"
            && metadata["labels"]["helm.toolkit.fluxcd.io/name"] == "web",
        "{metadata}"
    );
    bench.run().await?;
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await
}

// HC-CRD-001, HC-CRD-005, HC-CRD-011
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn definitions_of_the_chart_come_first() -> Result {
    let bench = Bench::start("hr-crds").await?;
    let group = format!("{}.example.com", bench.namespace.name());
    let name = format!("widgets.{group}");
    let crd = json!({"apiVersion": CRD.0, "kind": CRD.1, "metadata": {"name": name},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let widget = format!("apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: one}}\n");
    let files = [
        ("crds/widget.yaml", crd.to_string()),
        ("templates/widget.yaml", widget),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
    bench.publish("1.0.0", &files).await?;
    bench.release(json!({})).await?;
    let object = bench.says("True", "InstallSucceeded", "").await?;
    let ns = bench.namespace.name();
    ensure!(
        object["status"]["inventory"]["entries"]
            == json!([{"id": format!("{ns}_one_{group}_Widget"), "v": "v1"},
                {"id": format!("_{name}_apiextensions.k8s.io_CustomResourceDefinition"), "v": "v1"}]),
        "{object}"
    );
    let found = bench.namespace.get(CRD, &name).await?.unwrap_or_default();
    ensure!(
        found["metadata"]["labels"]["helm.toolkit.fluxcd.io/name"] == "web",
        "{found}"
    );

    // HC-CRD-001, HC-CRD-006: an upgrade makes new definitions, and leaves those that exist
    let second = format!("gadgets.{group}");
    let mut gadget = crd.clone();
    gadget["metadata"]["name"] = second.clone().into();
    gadget["spec"]["names"] = json!({"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"});
    let mut changed = crd;
    changed["spec"]["names"]["shortNames"] = json!(["wdg"]);
    let (gadget, changed) = (gadget.to_string(), changed.to_string());
    let mut files = files;
    files[0].1 = &changed;
    files.push(("crds/gadget.yaml", &gadget));
    bench.publish("1.1.0", &files).await?;
    bench.says("True", "UpgradeSucceeded", "web@1.1.0").await?;
    let made = bench.namespace.get(CRD, &second).await?;
    ensure!(made.is_some(), "the new definition was not made");
    let short = async || -> Result<Value> {
        let found = bench.namespace.get(CRD, &name).await?.unwrap_or_default();
        Ok(found["spec"]["names"]["shortNames"].clone())
    };
    ensure!(short().await?.is_null(), "{}", short().await?);
    // HC-CRD-007
    bench
        .release(json!({"upgrade": {"crds": "CreateReplace"}}))
        .await?;
    let seen =
        |object: &Value| object["status"]["observedGeneration"] == object["metadata"]["generation"];
    bench
        .namespace
        .wait(HELM_RELEASE, "web", "is seen", seen)
        .await?;
    bench.publish("1.2.0", &files).await?;
    bench.says("True", "UpgradeSucceeded", "web@1.2.0").await?;
    ensure!(short().await? == json!(["wdg"]), "{}", short().await?);

    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    for name in [&name, &second] {
        let kept = bench.namespace.get(CRD, name).await?;
        ensure!(kept.is_some(), "the definition {name} went");
        bench.namespace.delete(CRD, name).await?;
    }
    Ok(())
}

// HC-ACT-090, HC-UNI-008
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_history_is_replaced_on_request() -> Result {
    let bench = Bench::installed("hr-keep", json!({"uninstall": {"keepHistory": true}})).await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    bench.wait_revisions(&[(1, "uninstalled")]).await?;
    bench.release(json!({})).await?;
    let said = "release name check failed: cannot reuse a name that is still in use";
    let object = bench.says("False", "InstallFailed", said).await?;
    ensure!(object["status"]["installFailures"].is_null(), "{object}");
    bench.release(json!({"install": {"replace": true}})).await?;
    bench.says("True", "InstallSucceeded", "web.v2").await?;
    bench
        .wait_revisions(&[(1, "superseded"), (2, "deployed")])
        .await
}

// HC-REMOTE-004, HC-REMOTE-008, HC-UNI-004
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_may_be_on_another_cluster() -> Result {
    let bench = Bench::start("hr-remote").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench
        .release(json!({"kubeConfig": {"secretRef": {"name": "kube"}}}))
        .await?;
    let said = format!("could not get KubeConfig secret '{ns}/kube': ");
    bench.says("False", "RESTClientError", &said).await?;
    let secret = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "kube"}, "stringData": data});
    bench
        .namespace
        .apply(&secret(json!({"other": "x"})).to_string())
        .await?;
    let said = format!(
        "KubeConfig secret '{ns}/kube' does not contain a 'value' or 'value.yaml' key with data"
    );
    bench.says("False", "RESTClientError", &said).await?;
    let kubeconfig = std::fs::read_to_string(bench.namespace.cluster().kubeconfig())?;
    bench
        .namespace
        .apply(&secret(json!({"value": kubeconfig})).to_string())
        .await?;
    let object = bench.says("True", "InstallSucceeded", "").await?;
    ensure!(history(&object) == ["1 deployed install"], "{object}");
    // Without its kubeconfig the release cannot be removed, and is left.
    bench.namespace.delete(SECRET, "kube").await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    ensure!(
        bench.namespace.get(CONFIG_MAP, "web-map").await?.is_some(),
        "the map went"
    );
    Ok(())
}

// HC-ACT-089, HC-EVT-011
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_others_are_taken_over_unless_told_otherwise() -> Result {
    let bench = Bench::start("hr-own").await?;
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: web-map}, data: {text: theirs}}";
    bench.namespace.apply(map).await?;
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench
        .release(json!({"install": {"disableTakeOwnership": true}}))
        .await?;
    let said = "invalid ownership metadata";
    let object = bench.says("False", "InstallFailed", said).await?;
    ensure!(
        has(&object, "Released", "False", "InstallFailed", said),
        "{object}"
    );
    ensure!(bench.text().await? == "theirs", "it was taken over");
    bench.release(json!({})).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    ensure!(bench.text().await? == "default", "it was not taken over");
    Ok(())
}
