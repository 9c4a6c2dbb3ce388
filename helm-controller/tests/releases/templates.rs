//! The objects that `spec.chart` makes.

use kind_tests::{HELM_CHART, HELM_RELEASE, OCI_REPOSITORY, Result, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, MAP, history};

fn template() -> Value {
    json!({"chartRef": null, "chart": {"spec": {"chart": "web", "version": "1.x",
        "sourceRef": {"kind": "HelmRepository", "name": "repo"}}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_is_followed_and_removed() -> Result {
    let bench = Bench::start("hr-chart").await?;
    let ns = bench.namespace.name().to_owned();
    let name = format!("{ns}-web");
    bench.release(template()).await?;
    // HC-CHART-001, HC-CHART-003, HC-CHART-008
    let made = |object: &Value| object["spec"]["version"] == "1.x";
    let chart = bench
        .namespace
        .wait(HELM_CHART, &name, "is made", made)
        .await?;
    let labels = &chart["metadata"]["labels"];
    ensure!(
        labels["helm.toolkit.fluxcd.io/name"] == "web"
            && labels["helm.toolkit.fluxcd.io/namespace"] == *ns,
        "{chart}"
    );
    // HC-CHART-004, HC-PROC-054
    let manager = &chart["metadata"]["managedFields"][0];
    ensure!(
        manager["manager"] == "helm-controller" && manager["operation"] == "Apply",
        "{chart}"
    );
    let known = |object: &Value| object["status"]["helmChart"] == format!("{ns}/{name}");
    bench
        .namespace
        .wait(HELM_RELEASE, "web", "names its chart", known)
        .await?;
    let artifact = bench.chart("1.0.0", &[("templates/map.yaml", MAP)])?;
    bench.serve_existing(HELM_CHART, &name, &artifact).await?;
    bench.says("True", "InstallSucceeded", "").await?;
    let before = bench
        .namespace
        .get(HELM_CHART, &name)
        .await?
        .unwrap_or_default();
    bench.run().await?;
    let after = bench
        .namespace
        .get(HELM_CHART, &name)
        .await?
        .unwrap_or_default();
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    ensure!(version(&before) == version(&after), "it was written");

    // HC-CHART-010: another source of the same chart is no reason to install again
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench.release(json!({})).await?;
    bench.namespace.wait_gone(HELM_CHART, &name).await?;
    let without = |object: &Value| object["status"]["helmChart"].is_null();
    let object = bench
        .namespace
        .wait(HELM_RELEASE, "web", "has no chart", without)
        .await?;
    ensure!(history(&object)[0].starts_with("1 deployed"), "{object}");
    Ok(())
}

// HC-CHART-035, HC-CHART-036, HC-CHART-037
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_may_make_an_oci_repository() -> Result {
    let bench = Bench::start("hr-oci").await?;
    let ns = bench.namespace.name().to_owned();
    let name = format!("{ns}-web");
    bench.release(template()).await?;
    let any = |_: &Value| true;
    bench
        .namespace
        .wait(HELM_CHART, &name, "is made", any)
        .await?;
    let oci = json!({"chartRef": null, "chart": {"kind": "OCIRepository",
        "spec": {"url": "oci://127.0.0.1/charts/web", "ref": {"tag": "1.0.0"}}}});
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_CHART, &name).await?;
    bench.release(oci).await?;
    let made = |object: &Value| object["spec"]["ref"]["tag"] == "1.0.0";
    bench
        .namespace
        .wait(OCI_REPOSITORY, &name, "is made", made)
        .await?;
    let known =
        |object: &Value| object["status"]["helmChart"] == format!("OCIRepository/{ns}/{name}");
    bench
        .namespace
        .wait(HELM_RELEASE, "web", "names its chart", known)
        .await?;
    let mut artifact = bench.chart("1.0.0", &[("templates/map.yaml", MAP)])?;
    let digest = artifact["digest"].as_str().unwrap_or_default().to_owned();
    artifact["revision"] = format!("1.0.0@{digest}").into();
    bench
        .serve_existing(OCI_REPOSITORY, &name, &artifact)
        .await?;
    // HC-CHART-038
    bench
        .says(
            "True",
            "InstallSucceeded",
            &format!("web@1.0.0+{}", &digest[7..19]),
        )
        .await?;
    // HC-CHART-009, HC-CHART-039
    bench.namespace.delete(OCI_REPOSITORY, &name).await?;
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    Ok(())
}
