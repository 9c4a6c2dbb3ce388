//! Annotations on applied objects that change how they are handled.

use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, Result};
use serde_json::{Value, json};

/// A ConfigMap with an annotation of the controller, and further content.
fn annotated(name: &str, annotation: &str, rest: &str) -> String {
    let mark = if annotation.is_empty() {
        String::new()
    } else {
        format!(", annotations: {{kustomize.toolkit.fluxcd.io/{annotation}}}")
    };
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}{mark}}}, {rest}}}\n")
}

#[tokio::test]
async fn annotations_decide_how_objects_are_applied() -> Result {
    let applier = Applier::start("annotated", Settings::default()).await?;
    // Existing objects by another manager.
    for name in ["once", "left", "merged", "plain"] {
        let mine = format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}}}, data: {{mine: x}}}}"
        );
        applier.namespace.apply(&mine).await?;
    }
    let one = [
        annotated("kept", "prune: disabled", "data: {v: '1'}"),
        annotated("pruned", "", "data: {v: '1'}"),
        annotated("once", "ssa: IfNotPresent", "data: {v: '1'}"),
        annotated("left", "reconcile: disabled", "data: {v: '1'}"),
        annotated("merged", "ssa: Merge", "data: {v: '1'}"),
        annotated("plain", "", "data: {v: '1'}"),
        annotated(
            "forced",
            "force: enabled",
            "immutable: true, data: {v: '1'}",
        ),
        annotated("literal", "substitute: disabled", "data: {v: '${var}'}"),
        annotated("filled", "", "data: {v: '${var}'}"),
    ];
    let two = [
        annotated("once", "ssa: IfNotPresent", "data: {v: '2'}"),
        annotated(
            "forced",
            "force: enabled",
            "immutable: true, data: {v: '2'}",
        ),
    ];
    applier
        .publish("main@sha1:1", &[("all.yaml", &one.join("---\n"))])
        .await?;
    let substitute = "postBuild: {substitute: {var: filled}}";
    let yaml = applier.kustomization("app", &["prune: true", substitute]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    let data = async |name: &str| -> Result<Value> {
        let found = applier.namespace.get(CONFIG_MAP, name).await?;
        Ok(found.map_or(Value::Null, |object| object["data"].clone()))
    };
    // RT-ANN-006: those that the controller reads, in each spelling
    for (name, want) in [
        ("once", json!({"mine": "x"})),
        ("left", json!({"mine": "x"})),
        ("merged", json!({"mine": "x", "v": "1"})),
        ("forced", json!({"v": "1"})),
        ("literal", json!({"v": "${var}"})),
        ("filled", json!({"v": "filled"})),
    ] {
        assert_eq!(data(name).await?, want, "{name}");
    }
    applier
        .publish("main@sha1:2", &[("all.yaml", &two.join("---\n"))])
        .await?;
    applier.applied("app", "main@sha1:2").await?;
    for (name, want) in [
        ("kept", json!({"v": "1"})),
        ("pruned", Value::Null),
        ("once", json!({"mine": "x"})),
        ("forced", json!({"v": "2"})),
    ] {
        assert_eq!(data(name).await?, want, "{name}");
    }
    Ok(())
}
