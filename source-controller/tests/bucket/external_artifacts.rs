//! ExternalArtifacts: their definition comes with this controller, which leaves the objects alone.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use http::header::ACCEPT;
use kind_tests::{Failure, Kind, Namespace, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use object_stores::{Answer, Front};
use serde_json::{Value, json};

use crate::world::World;

const EXTERNAL_ARTIFACT: Kind = Kind("source.toolkit.fluxcd.io/v1", "ExternalArtifact");
const HELM_CHART: Kind = Kind("source.toolkit.fluxcd.io/v1", "HelmChart");

/// The message with which a dry run refuses this spec.
async fn refusal(namespace: &Namespace, kind: Kind, spec: Value) -> Result<String> {
    let object =
        json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": "app"}, "spec": spec});
    let object: DynamicObject = serde_json::from_value(object)?;
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match namespace.api(kind).await?.create(&params, &object).await {
        Err(kube::Error::Api(status)) => Ok(status.message.clone()),
        Err(error) => Err(error.into()),
        Ok(_) => Err(Failure::new(format!("{} is admitted", object.data["spec"]))),
    }
}

#[tokio::test]
async fn external_artifacts_are_admitted_and_left_alone() -> Result {
    let front = Front::alone().answering(|request| {
        Some(match request.target.as_str() {
            "/app/.sourceignore" => Answer::new(404, ""),
            "/app/" => Answer::new(200, ""),
            _ => Answer::new(200, "<ListBucketResult/>"),
        })
    });
    let world = World::start("external", front).await?;
    let namespace = &world.namespace;
    for (spec, words) in [
        // SC-EXT-002
        (
            json!({"sourceRef": {"name": "a"}}),
            "spec.sourceRef.kind: Required value",
        ),
        (
            json!({"sourceRef": {"kind": "A"}}),
            "spec.sourceRef.name: Required value",
        ),
    ] {
        let message = refusal(namespace, EXTERNAL_ARTIFACT, spec).await?;
        ensure!(message.contains(words), "{message}");
    }
    // SC-EXT-008
    let source = json!({"kind": "ExternalArtifact", "name": "app"});
    let chart = json!({"chart": "a", "interval": "1m", "sourceRef": source});
    let message = refusal(namespace, HELM_CHART, chart).await?;
    ensure!(
        message.contains("spec.sourceRef.kind: Unsupported value: \"ExternalArtifact\""),
        "{message}"
    );

    namespace
        .apply("{apiVersion: source.toolkit.fluxcd.io/v1, kind: ExternalArtifact, metadata: {name: app}, spec: {sourceRef: {apiVersion: v1, kind: A, name: origin, namespace: ns}}}")
        .await?;
    // whatever comes after it has been through the controller
    world.apply("later", "").await?;
    world.ready("later").await?;
    let object = namespace.get(EXTERNAL_ARTIFACT, "app").await?;
    let object = object.unwrap_or_default();
    // SC-EXT-001
    ensure!(object["metadata"]["finalizers"].is_null(), "{object}");
    ensure!(object["status"].is_null(), "{object}");

    // SC-EXT-003, SC-EXT-009
    let status = json!({
        "artifact": {
            "path": "externalartifact/ns/app/x.tar.gz", "url": "http://host/x", "revision": "v1@sha256:0",
            "digest": "sha256:0", "lastUpdateTime": "2026-01-02T03:04:05Z", "size": 5},
        "exportedInputs": {"text": "a", "number": 1, "list": [true, null], "map": {"a": {"b": "c"}}},
        "conditions": [{"type": "Ready", "status": "True", "reason": "Succeeded", "message": "stored",
            "lastTransitionTime": "2026-01-02T03:04:05Z"}]});
    let mut with_more = status.clone();
    with_more["observedGeneration"] = json!(1);
    with_more["lastHandledReconcileAt"] = json!("now");
    let api = namespace.api(EXTERNAL_ARTIFACT).await?;
    let patch = Patch::Merge(json!({"status": with_more}));
    let params = PatchParams::default();
    let made = api.patch_status("app", &params, &patch).await?;
    ensure!(
        made.data["status"]["exportedInputs"]["map"] == status["exportedInputs"]["map"],
        "{}",
        made.data
    );
    for absent in ["observedGeneration", "lastHandledReconcileAt"] {
        ensure!(made.data["status"][absent].is_null(), "{}", made.data);
    }

    // SC-EXT-004
    let uri = format!(
        "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/externalartifacts",
        namespace.name()
    );
    let request =
        http::Request::get(uri).header(ACCEPT, "application/json;as=Table;v=v1;g=meta.k8s.io");
    let request = request.body(Vec::new())?;
    let table: Value = namespace.client().request(request).await?;
    let columns = table["columnDefinitions"].as_array().cloned();
    let columns = columns.unwrap_or_default();
    let names: Vec<_> = columns.iter().map(|column| &column["name"]).collect();
    assert_eq!(names, ["Name", "Age", "Ready", "Status", "Source"]);
    let cells = &table["rows"][0]["cells"];
    ensure!(
        cells[2] == "True" && cells[3] == "stored" && cells[4] == "origin",
        "{cells}"
    );
    Ok(())
}
