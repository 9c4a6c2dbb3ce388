//! Events as traces in a real OpenTelemetry collector, and the traces that the controllers export of their own work.

use kind_tests::controller::Settings;
use kind_tests::{ALERT, Cluster, Collector, Failure, Flux, RECEIVER, Result, Span, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::World;

const SOURCES: &str = "[{kind: GitRepository, name: '*'}, {kind: Kustomization, name: '*'}, {kind: HelmRelease, name: '*'}, \
                       {kind: HelmRepository, name: '*'}]";

/// The objects that send events to a collector.
fn objects(collector: &Collector) -> [String; 2] {
    let group = "notification.toolkit.fluxcd.io/v1";
    [
        format!(
            "{{apiVersion: {group}, kind: Provider, metadata: {{name: traces}}, spec: {{type: otel, address: '{}'}}}}",
            collector.http_url()
        ),
        format!(
            "{{apiVersion: {group}, kind: Alert, metadata: {{name: traces}}, spec: {{providerRef: {{name: traces}}, eventSources: {SOURCES}}}}}"
        ),
    ]
}

/// The trace of an Alert and a revision.
fn trace_id(alert: &Value, revision: &str) -> String {
    let uid = alert["metadata"]["uid"].as_str().unwrap_or_default();
    let hash = Sha256::digest(format!("{uid}:{revision}"));
    hex::encode(&hash[..16])
}

/// Whether a span is of this trace, and about an object of this kind.
fn is_of(span: &Span, trace: &str, kind: &str) -> bool {
    span.span["traceId"] == trace && span.attributes["object.kind"] == kind
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_gets_one_trace_for_each_revision() -> Result {
    let collector = Collector::start().await?;
    let flux = Flux::start_notified_on(&Cluster::shared().await?, "notify-traces").await?;
    let namespace = &flux.namespace;
    for object in objects(&collector) {
        namespace.apply(&object).await?;
    }
    let alert = namespace.get(ALERT, "traces").await?;
    let alert = alert.ok_or_else(|| Failure::new("no Alert"))?;
    let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
    let first = flux.commit(&[("a.yaml", &map("a"))]);
    flux.follow_main().await?;
    namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    flux.applied("app", &first).await?;
    let second = flux.commit(&[("a.yaml", "kind: [\n")]);
    flux.fetch().await?;

    let mut root = None;
    let (good, bad) = (trace_id(&alert, &first), trace_id(&alert, &second));
    for (trace, kind, code) in [
        (&good, "GitRepository", 1),
        (&good, "Kustomization", 1),
        (&bad, "GitRepository", 1),
        (&bad, "Kustomization", 2),
    ] {
        let goal = format!("of {kind} with the status {code}");
        let span = collector
            .wait(&goal, |span| {
                is_of(span, trace, kind) && span.span["status"]["code"] == code
            })
            .await?;
        // NC-OTEL-001, NC-OTEL-002, NC-OTEL-003
        let service = format!("{}/traces", namespace.name());
        let resource = json!({
            "service.name": service, "service.namespace": namespace.name(),
            "service.instance.id": alert["metadata"]["uid"],
        });
        ensure!(span.resource == resource, "{span:?}");
        ensure!(span.scope == "flux:notification-controller", "{span:?}");
        // NC-OTEL-004, NC-OTEL-005
        let name = format!("{kind}: {}/app", namespace.name());
        ensure!(span.span["name"] == name, "{span:?}");
        let parent = span.span["parentSpanId"].as_str().unwrap_or_default();
        match &root {
            Some(root) if kind == "Kustomization" => ensure!(parent == root, "{span:?}"),
            _ => ensure!(parent.is_empty(), "{span:?}"),
        }
        root = span.span["spanId"].as_str().map(str::to_owned);
        let revision = if *trace == good { &first } else { &second };
        ensure!(span.attributes["revision"] == **revision, "{span:?}");
    }
    // Each event has a span of its own.
    let mut ids: Vec<_> = collector
        .spans()
        .into_iter()
        .map(|span| span.span["spanId"].to_string())
        .collect();
    let count = ids.len();
    ids.sort();
    ids.dedup();
    ensure!(ids.len() == count, "{ids:?}");
    Ok(())
}

#[tokio::test]
async fn releases_are_traced_by_the_version_and_digest_of_their_chart() -> Result {
    let collector = Collector::start().await?;
    let world = World::start("notify-trace-release").await?;
    for object in objects(&collector) {
        world.namespace.apply(&object).await?;
    }
    world
        .apply(
            "Provider",
            "chat",
            &format!("type: generic, address: '{}'", world.service.url),
        )
        .await?;
    world
        .apply(
            "Alert",
            "chat",
            &format!("providerRef: {{name: chat}}, eventSources: {SOURCES}"),
        )
        .await?;
    // What was applied before is known as well, then.
    world.delivered("begin").await?;
    let alert = world.namespace.get(ALERT, "traces").await?;
    let alert = alert.ok_or_else(|| Failure::new("no Alert"))?;
    for kind in ["HelmRepository", "HelmRelease"] {
        let mut event = world.event("done");
        event["involvedObject"]["kind"] = json!(kind);
        event["involvedObject"]["apiVersion"] = json!("helm.toolkit.fluxcd.io/v2");
        event["metadata"] = json!({
            "helm.toolkit.fluxcd.io/app-version": "1.2.0",
            "helm.toolkit.fluxcd.io/oci-digest": "sha256:abc",
            "helm.toolkit.fluxcd.io/revision": "0.1.0",
        });
        world.post(&event).await?;
    }
    // NC-OTEL-003
    let trace = trace_id(&alert, "1.2.0@sha256:abc");
    collector
        .wait("of the release", |span| is_of(span, &trace, "HelmRelease"))
        .await?;
    // NC-OTEL-006: its event was posted before
    let other = |span: &Span| span.attributes["object.kind"] == "HelmRepository";
    world
        .service
        .wait(|got| got.json()["involvedObject"]["kind"] == "HelmRepository")
        .await
        .ok_or_else(|| Failure::new("no event of the repository"))?;
    ensure!(
        !collector.spans().iter().any(other),
        "{:?}",
        collector.spans()
    );
    Ok(())
}

#[tokio::test]
async fn controllers_export_traces_of_their_reconciles() -> Result {
    let collector = Collector::start().await?;
    for (protocol, address) in [
        ("http/protobuf", collector.http_url()),
        ("grpc", collector.grpc_url()),
    ] {
        let settings = Settings::default()
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", address)
            .env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
            // What is pending when the controller ends is sent before.
            .env("OTEL_BSP_SCHEDULE_DELAY", "600000");
        let mut world = World::start_with("own-traces", settings).await?;
        world.secret("hook", "token: t0ken").await?;
        let spec =
            "type: generic, secretRef: {name: hook}, resources: [{kind: GitRepository, name: app}]";
        world.apply("Receiver", "hook", spec).await?;
        world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
        let status = world.controller.terminate().await?;
        ensure!(status.success(), "{status}");
        let namespace = world.namespace.name().to_owned();
        let span = collector
            .wait(&format!("over {protocol}"), |span| {
                span.attributes["namespace"] == namespace
                    && span.span["name"] == "reconcile Receiver"
            })
            .await?;
        ensure!(
            span.resource["service.name"] == "notification-controller",
            "{span:?}"
        );
        ensure!(span.attributes["name"] == "hook", "{span:?}");
    }
    Ok(())
}
