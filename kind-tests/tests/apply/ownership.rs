//! Fields owned by other managers, and taking them over.

use flux_apply::Options;
use kind_tests::{CONFIG_MAP, DEPLOYMENT, Kind, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::{Bench, GROUP, MANAGER, config_map};

#[tokio::test]
async fn an_immutable_field_needs_force() -> Result {
    let mut bench = Bench::new("apply-force").await?;
    let secret = |value: &str, extra: &str| {
        format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: s, namespace: '${{namespace}}'{extra}}}, immutable: true, stringData: {{k: {value}}}}}"
        )
    };
    bench.apply(&secret("one", "")).await?;
    let uid = bench.uid(SECRET, "s").await?;
    let options = bench.options();
    // RT-SSA-017, KC-SSA-031
    let error = bench.refused(&secret("two", ""), &options).await?;
    let want = "Secret/ns/s dry-run failed (Invalid): Secret \"s\" is invalid: data: Forbidden: field is immutable when `immutable` is set\n";
    ensure!(error == want, "{error:?}");
    ensure!(
        bench.uid(SECRET, "s").await? == uid,
        "it was recreated without leave"
    );

    // RT-SSA-013, KC-SSA-028: for the run, and for the object
    let changes = bench
        .apply_with(
            &secret("two", ""),
            &Options {
                force: true,
                ..bench.options()
            },
        )
        .await?;
    ensure!(changes == "Secret/ns/s created", "{changes}");
    let second = bench.uid(SECRET, "s").await?;
    ensure!(second != uid, "it was not recreated");
    let changes = bench
        .apply(&secret(
            "three",
            &format!(", annotations: {{{GROUP}/force: enabled}}"),
        ))
        .await?;
    ensure!(changes == "Secret/ns/s created", "{changes}");
    Ok(())
}

#[tokio::test]
async fn fields_owned_by_kubectl_are_taken_over() -> Result {
    let mut bench = Bench::new("apply-takeover").await?;
    let api = bench.namespace.api(CONFIG_MAP).await?;
    let edited: kube::api::DynamicObject = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "c", "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}" } },
        "data": { "k": "v", "extra": "by hand" },
    }))?;
    let by = |manager: &str| kube::api::PostParams {
        field_manager: Some(manager.to_owned()),
        ..Default::default()
    };
    api.create(&by("kubectl-client-side-apply"), &edited)
        .await?;

    // KC-SSA-023: not with this annotation
    let merge = config_map("c", &format!(", annotations: {{{GROUP}/ssa: merge}}"));
    bench.apply(&merge).await?;
    let live = bench
        .namespace
        .get(CONFIG_MAP, "c")
        .await?
        .unwrap_or_default();
    ensure!(
        live["data"]["extra"] == "by hand",
        "merging took over: {live}"
    );

    // The annotation on the live object still applies in the run that removes it.
    bench.apply(&config_map("c", "")).await?;
    let changes = bench.apply(&config_map("c", "")).await?;
    // KC-SSA-026
    ensure!(changes == "ConfigMap/ns/c configured", "{changes}");
    let live = bench
        .namespace
        .get(CONFIG_MAP, "c")
        .await?
        .unwrap_or_default();
    // KC-SSA-025
    ensure!(
        live["data"] == json!({ "k": "v" }),
        "the edit stayed: {live}"
    );
    // KC-SSA-023
    ensure!(
        live["metadata"].get("annotations").is_none(),
        "the annotation stayed: {live}"
    );
    // RT-SSA-014, KC-SSA-024
    let managers: Vec<&Value> = live["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|entry| &entry["manager"])
        .collect();
    ensure!(managers == [MANAGER], "{managers:?}");
    Ok(())
}

// RT-SSA-016 KC-SSA-040 KC-SSA-041
#[tokio::test]
async fn ignored_fields_stay_with_their_managers() -> Result {
    let mut bench = Bench::new("apply-ignore").await?;
    let deployment = |image: &str| {
        format!(
            "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: d, namespace: '${{namespace}}'}}, spec: {{replicas: 0, selector: {{matchLabels: {{a: b}}}},
               template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: {image}}}]}}}}}}}}"
        )
    };
    let rule = flux_api::meta::IgnoreRule {
        paths: vec!["/spec/replicas".to_owned()],
        target: None,
    };
    let options = |bench: &Bench| -> Result<Options> {
        Ok(Options {
            ignore: flux_apply::ignore::IgnoreRules::compile(std::slice::from_ref(&rule))?,
            ..bench.options()
        })
    };
    let first = options(&bench)?;
    bench.apply_with(&deployment("one"), &first).await?;
    bench
        .namespace
        .merge(DEPLOYMENT, "d", json!({ "spec": { "replicas": 3 } }))
        .await?;
    let changes = bench.apply_with(&deployment("one"), &first).await?;
    ensure!(changes == "Deployment/ns/d unchanged", "{changes}");
    let changes = bench.apply_with(&deployment("two"), &first).await?;
    ensure!(changes == "Deployment/ns/d configured", "{changes}");
    let live = bench
        .namespace
        .get(DEPLOYMENT, "d")
        .await?
        .unwrap_or_default();
    ensure!(
        live["spec"]["replicas"] == json!(3),
        "the scaled value was lost"
    );
    Ok(())
}

// KC-SSA-030
#[tokio::test]
async fn force_deletes_no_object_that_could_not_be_recreated() -> Result {
    let mut bench = Bench::new("apply-invalid").await?;
    let service = |ports: &str| {
        format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: '${{namespace}}'}}, spec: {{selector: {{a: b}}, ports: [{ports}]}}}}"
        )
    };
    bench.apply(&service("{port: 80}")).await?;
    let kind = Kind("v1", "Service");
    let uid = bench.uid(kind, "s").await?;
    let force = Options {
        force: true,
        ..bench.options()
    };
    let error = bench.refused(&service("{port: 70000}"), &force).await?;
    let head =
        "Service/ns/s dry-run failed (Invalid): Service \"s\" is invalid: [spec.ports[0].port:";
    ensure!(error.starts_with(head), "{error}");
    ensure!(bench.uid(kind, "s").await? == uid, "it was deleted");
    Ok(())
}
