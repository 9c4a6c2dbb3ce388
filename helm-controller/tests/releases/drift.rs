//! Changes on the cluster that no release made.

use kind_tests::{CONFIG_MAP, Result, ensure};
use serde_json::json;

use crate::bench::{Bench, MAP};

// HC-DRIFT-012, HC-DRIFT-017, HC-DRIFT-018
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drift_is_reported_and_corrected() -> Result {
    let bench = Bench::start("hr-drift").await?;
    let ns = bench.namespace.name().to_owned();
    bench
        .publish("1.0.0", &[("templates/map.yaml", MAP)])
        .await?;
    bench
        .release(json!({"driftDetection": {"mode": "warn"}}))
        .await?;
    // HC-ACT-050
    let none = "No drift detected against the cluster state";
    bench
        .condition("Drifted", "False", "NoDriftDetected", none)
        .await?;
    let change = json!({"data": {"text": "by hand"}});
    bench.namespace.merge(CONFIG_MAP, "web-map", change).await?;
    let object = bench.run().await?;
    let said = format!(
        "Cluster state of release {ns}/web.v1 has drifted from the desired state:\nConfigMap/{ns}/web-map changed (0 additions, 1 changes, 0 removals)"
    );
    ensure!(
        crate::bench::has(&object, "Drifted", "True", "DriftDetected", &said),
        "{object}"
    );
    // HC-DRIFT-023
    ensure!(
        crate::bench::has(&object, "Ready", "True", "InstallSucceeded", ""),
        "{object}"
    );
    let event = bench.event("DriftDetected", &said).await?;
    // HC-DRIFT-014
    ensure!(
        event["metadata"]["helm.toolkit.fluxcd.io/revision"].is_null(),
        "{event}"
    );
    ensure!(bench.text().await? == "by hand", "it was corrected");

    // HC-DRIFT-020
    bench
        .release(json!({"driftDetection": {"mode": "enabled"}}))
        .await?;
    let said = format!(
        "Cluster state of release {ns}/web.v1 has been corrected:\nConfigMap/{ns}/web-map configured"
    );
    bench.event("DriftCorrected", &said).await?;
    bench
        .condition("Drifted", "False", "NoDriftDetected", none)
        .await?;
    ensure!(bench.text().await? == "default", "it was not corrected");
    bench.namespace.delete(CONFIG_MAP, "web-map").await?;
    bench.run().await?;
    bench
        .event("DriftDetected", &format!("ConfigMap/{ns}/web-map removed"))
        .await?;
    bench
        .event("DriftCorrected", &format!("ConfigMap/{ns}/web-map created"))
        .await?;
    bench.wait_revisions(&[(1, "deployed")]).await?;

    // HC-DRIFT-008
    let ignore = json!([{"paths": ["/data/text"]}]);
    let detection = json!({"mode": "enabled", "ignore": ignore});
    bench.release(json!({"driftDetection": detection})).await?;
    bench.run().await?;
    let change = json!({"data": {"text": "by hand"}});
    bench.namespace.merge(CONFIG_MAP, "web-map", change).await?;
    let object = bench.run().await?;
    ensure!(
        crate::bench::has(&object, "Drifted", "False", "NoDriftDetected", none),
        "{object}"
    );
    ensure!(
        bench.text().await? == "by hand",
        "an ignored field was corrected"
    );
    Ok(())
}
