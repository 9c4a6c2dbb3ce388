//! Recreating objects, and server rejections while doing so.

use flux_apply::Options;
use kind_tests::{Kind, Result, ensure};
use serde_json::json;

use crate::Bench;

const SERVICE: Kind = Kind("v1", "Service");

/// A bench with a Service `s` on a node port, and that Service's YAML with another cluster address and this session
/// affinity.
async fn node_port(topic: &str) -> Result<(Bench, impl Fn(&str) -> String)> {
    let mut bench = Bench::new(topic).await?;
    let service = |address: &str, node_port: &str, affinity: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: '${{namespace}}'}}, spec: {{type: NodePort, {address} selector: {{a: b}}, sessionAffinity: {affinity}, ports: [{{port: 80{node_port}}}]}}}}"
        )
    };
    bench.apply(&service("", "", "None")).await?;
    let made = bench.namespace.get(SERVICE, "s").await?.unwrap_or_default();
    let spec = &made["spec"];
    let node_port = format!(", nodePort: {}", spec["ports"][0]["nodePort"]);
    // Addresses below 256 are reserved for explicit requests.
    let prefix = spec["clusterIP"].as_str().unwrap_or_default();
    let prefix = prefix.split('.').take(2).collect::<Vec<_>>().join(".");
    let address = format!("clusterIP: {prefix}.0.{},", rand::random_range(20..250));
    Ok((bench, move |affinity: &str| {
        service(&address, &node_port, affinity)
    }))
}

// KC-SSA-028 KC-SSA-030
#[tokio::test]
async fn resources_held_by_an_object_do_not_block_its_recreation() -> Result {
    let (mut bench, service) = node_port("apply-node-port").await?;
    let before = bench.uid(SERVICE, "s").await?;
    let options = bench.options();
    let error = bench.refused(&service("None"), &options).await?;
    ensure!(error.contains("may not change once set"), "{error}");
    let force = Options {
        force: true,
        ..options
    };
    let changes = bench.apply_with(&service("None"), &force).await?;
    ensure!(changes == "Service/ns/s created", "{changes}");
    ensure!(
        bench.uid(SERVICE, "s").await? != before,
        "it is the old one"
    );
    Ok(())
}

// KC-SSA-030
#[tokio::test]
async fn the_previous_object_is_restored_if_its_replacement_is_rejected() -> Result {
    let (mut bench, service) = node_port("apply-restore").await?;
    let label = json!({ "metadata": { "labels": { "kept": "yes" } } });
    let before = bench.namespace.merge(SERVICE, "s", label).await?;
    let force = Options {
        force: true,
        ..bench.options()
    };
    // The server validates the port's allocation before anything else.
    let error = bench.refused(&service("Nope"), &force).await?;
    let head = "Service/ns/s immutable field detected, failed to recreate object, its previous content was restored: Service \"s\" is invalid:";
    ensure!(
        error.starts_with(head) && error.contains("spec.sessionAffinity: Unsupported value"),
        "{error}"
    );
    let restored = bench.namespace.get(SERVICE, "s").await?.unwrap_or_default();
    ensure!(restored["spec"] == before["spec"], "{restored:#}");
    ensure!(
        restored["metadata"]["labels"]["kept"] == "yes",
        "{restored:#}"
    );

    // It is not deleted again for the same content, whatever else triggers a full comparison.
    let uid = bench.uid(SERVICE, "s").await?;
    bench.memory.forget();
    let error = bench.refused(&service("Nope"), &force).await?;
    ensure!(
        error.starts_with("Service/ns/s dry-run failed (Invalid):"),
        "{error}"
    );
    ensure!(
        bench.uid(SERVICE, "s").await? == uid,
        "it was deleted again"
    );

    let changes = bench.apply_with(&service("ClientIP"), &force).await?;
    ensure!(changes == "Service/ns/s created", "{changes}");
    Ok(())
}
