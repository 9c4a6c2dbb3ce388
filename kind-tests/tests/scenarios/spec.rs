//! The fields of a Kustomization's spec that change the build, verified on the cluster.

use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, DEPLOYMENT, Kind, Result, condition};
use serde_json::{Value, json};

const ROOT: &str = "
resources: [web.yaml, maps.yaml]
namePrefix: replaced-
nameSuffix: -replaced
buildMetadata: [managedByLabel]
images: [{name: sidecar, newTag: replaced}]
";

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {kept: 'yes'}}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: 'app:v1'}
      - {name: sidecar, image: 'sidecar:v1'}
";

const MAPS: &str = "
{apiVersion: v1, kind: ConfigMap, metadata: {name: labelled, labels: {tier: front}}, data: {v: '${value}'}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: annotated, annotations: {mark: here}}, data: {v: '${value}'}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: elsewhere, namespace: old}, data: {v: '${value}'}}
";

const COMPONENT: &str = "
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
configMapGenerator: [{name: generated, literals: [from=component], options: {disableNameSuffixHash: true}}]
";

/// A patch that adds `by-<name>` to the data of the objects that the target selects.
fn adds(name: &str, target: &str) -> String {
    format!(
        "{{target: {{{target}}}, patch: '[{{\"op\": \"add\", \"path\": \"/data/by-{name}\", \"value\": \"yes\"}}]'}}"
    )
}

async fn data(applier: &Applier, name: &str) -> Result<Value> {
    let name = format!("pre-{name}-post");
    let map = applier.namespace.get(CONFIG_MAP, &name).await?;
    Ok(map.unwrap_or_default()["data"].clone())
}

// RT-KUS-004
#[tokio::test]
async fn every_spec_field_takes_effect_on_the_applied_objects() -> Result {
    let applier = Applier::start("spec", Settings::default()).await?;
    applier
        .publish(
            "main@sha1:1",
            &[
                ("deploy/kustomization.yaml", ROOT),
                ("deploy/web.yaml", WEB),
                ("deploy/maps.yaml", MAPS),
                ("component/kustomization.yaml", COMPONENT),
            ],
        )
        .await?;
    let merge = "{patch: '{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, annotations: {merged: \"yes\"}}}'}";
    let annotate = "{target: {group: apps, version: v1}, patch: '[{\"op\": \"add\", \"path\": \"/metadata/annotations/by-group\", \"value\": \"yes\"}]'}";
    let patches = [
        adds("kind", "kind: ConfigMap"),
        adds("name", "kind: ConfigMap, name: labelled"),
        adds("namespace", "kind: ConfigMap, namespace: old"),
        adds("label", "kind: ConfigMap, labelSelector: tier=front"),
        adds(
            "annotation",
            "kind: ConfigMap, annotationSelector: mark=here",
        ),
        annotate.to_owned(),
        merge.to_owned(),
    ];
    let digest = format!("sha256:{}", "0".repeat(64));
    let spec = [
        // KZ-FLX-001
        "path: ./deploy",
        "prune: true",
        "namePrefix: pre-",
        "nameSuffix: -post",
        "components: [../component, ../missing]",
        "ignoreMissingComponents: true",
        "buildMetadata: [originAnnotations]",
        &format!(
            "images: [{{name: app, newName: registry.example.com/app, newTag: v2}}, {{name: sidecar, digest: '{digest}'}}]"
        ),
        &format!("patches: [{}]", patches.join(", ")),
        "postBuild: {substitute: {value: substituted}}",
        "commonMetadata: {labels: {team: a}, annotations: {owner: b}}",
    ];
    applier
        .namespace
        .apply(&applier.kustomization("app", &spec))
        .await?;
    applier.applied("app", "main@sha1:1").await?;

    let data_of = |by: &[&str]| {
        let mut data = json!({"v": "substituted", "by-kind": "yes"});
        for name in by {
            data[format!("by-{name}")] = json!("yes");
        }
        data
    };
    // KC-BLD-008, KC-BLD-009: all of them are in the target namespace, and prefix and suffix replace those of the file
    for (name, by) in [
        // KC-BLD-010, KC-BLD-011: each patch changes only the objects that its target selects
        ("labelled", &["name", "label"][..]),
        ("annotated", &["annotation"]),
        ("elsewhere", &["namespace"]),
    ] {
        assert_eq!(data(&applier, name).await?, data_of(by), "{name}");
    }
    // KC-BLD-012, KC-BLD-013, KC-BLD-014
    assert_eq!(
        data(&applier, "generated").await?,
        json!({"from": "component", "by-kind": "yes"})
    );

    let web = applier.namespace.get(DEPLOYMENT, "pre-web-post").await?;
    let web = web.unwrap_or_default();
    let annotations = &web["metadata"]["annotations"];
    for (key, value) in [
        ("kept", "yes"),
        ("by-group", "yes"),
        ("merged", "yes"),
        // KC-API-020
        ("owner", "b"),
        // KC-BLD-016
        ("config.kubernetes.io/origin", "path: web.yaml\n"),
    ] {
        assert_eq!(annotations[key], value, "{key} of {annotations:#}");
    }
    let labels = &web["metadata"]["labels"];
    assert_eq!(labels["team"], "a");
    assert_eq!(
        labels["app.kubernetes.io/managed-by"],
        json!(null),
        "the spec's buildMetadata replaces the file's"
    );
    // KC-BLD-015
    let containers = web["spec"]["template"]["spec"]["containers"].as_array();
    let images: Vec<&Value> = containers
        .into_iter()
        .flatten()
        .map(|container| &container["image"])
        .collect();
    assert_eq!(
        images,
        [
            &json!("registry.example.com/app:v2"),
            &json!(format!("sidecar@{digest}"))
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_cluster_scoped_custom_resource_is_tracked_without_the_target_namespace() -> Result {
    const DEFINITION: Kind = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let applier = Applier::start("scope", Settings::default()).await?;
    let group = format!("{}.example.com", applier.namespace.name());
    let definition = format!(
        "{{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {{name: plants.{group}}}, spec: {{
          group: {group}, scope: Cluster, names: {{kind: Plant, plural: plants}}, versions: [{{name: v1, served: true, storage: true,
          schema: {{openAPIV3Schema: {{type: object}}}}}}]}}}}"
    );
    applier.namespace.apply(&definition).await?;
    let name = format!("plants.{group}");
    let is_established = |definition: &Value| {
        condition(definition, "Established").is_some_and(|is| is["status"] == "True")
    };
    applier
        .namespace
        .wait(DEFINITION, &name, "is established", is_established)
        .await?;
    let plant = format!("{{apiVersion: {group}/v1, kind: Plant, metadata: {{name: fern}}}}");
    applier
        .publish("main@sha1:1", &[("plant.yaml", &plant)])
        .await?;
    // Its targetNamespace is the test's.
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    let applied = applier.applied("app", "main@sha1:1").await?;
    // KC-BLD-037
    assert_eq!(
        applied["status"]["inventory"]["entries"],
        json!([{"id": format!("_fern_{group}_Plant"), "v": "v1"}])
    );
    applier.namespace.delete(DEFINITION, &name).await
}
