//! Events of controllers, and how the event server answers.

use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::{ALERT, Controller, GIT_REPOSITORY, PROVIDER, Result, ensure};
use serde_json::json;

use crate::World;

const SOURCES: &str =
    "eventSources: [{kind: Kustomization, name: '*'}, {kind: GitRepository, name: '*'}]";

#[tokio::test]
async fn an_event_of_a_controller_reaches_the_service_of_an_alert() -> Result {
    let world = World::start("notify-flow").await?;
    let address = format!("type: generic, address: '{}/hook'", world.service.url);
    world.apply("Provider", "out", &address).await?;
    let spec = format!("providerRef: {{name: out}}, {SOURCES}, eventMetadata: {{cluster: one}}");
    world.apply("Alert", "all", &spec).await?;
    world.delivered("warm up").await?;

    let git = HttpGitServer::start();
    let repo = Repo::init(git.root(), "app.git");
    let commit = repo
        .commit("main")
        .file("a", "b")
        .message("first\n")
        .create();
    let events = world.controller.events_url().unwrap_or_default();
    let settings = Settings::default().flag(format!("--events-addr={events}"));
    let _source = Controller::start("source-controller", &world.namespace, settings).await?;
    let yaml = format!(
        "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: app, annotations: {{event.toolkit.fluxcd.io/env: prod}}}}, \
         spec: {{url: '{}', interval: 1h, ref: {{branch: main}}}}}}",
        git.url("app.git")
    );
    world.namespace.apply(&yaml).await?;
    world
        .namespace
        .wait_ready(GIT_REPOSITORY, "app", "True")
        .await?;
    let got = world
        .service
        .wait(|got| got.json()["involvedObject"]["kind"] == "GitRepository")
        .await;
    let got = got.ok_or_else(|| kind_tests::Failure::new("no event of the GitRepository"))?;
    let body = got.json();
    // NC-GENERIC-001, NC-GENERIC-002
    ensure!(got.line == "POST /hook", "{}", got.line);
    ensure!(
        got.header("gotk-component") == "source-controller",
        "{:?}",
        got.headers
    );
    ensure!(
        body["reason"] == "NewArtifact" && body["severity"] == "info",
        "{body}"
    );
    // NC-EVT-033, NC-EVT-034, NC-EVT-020
    let metadata = json!({
        "revision": format!("main@sha1:{commit}"),
        "cluster": "one",
        "env": "prod",
    });
    ensure!(body["metadata"] == metadata, "{body}");
    // NC-EVT-066: the step that the source told of
    ensure!(body["action"] == "ReconcileArtifact", "{body}");
    Ok(())
}

#[tokio::test]
async fn requests_are_answered_as_by_upstream() -> Result {
    let world = World::start("notify-http").await?;
    let url = world.controller.events_url().unwrap_or_default();
    let first = world.post(&world.event("once")).await?;
    // NC-EVT-012, NC-EVT-014
    ensure!(first.status() == 202, "{}", first.status());
    let header = |answer: &reqwest::Response, name: &str| {
        let value = answer.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    ensure!(header(&first, "x-ratelimit-limit") == "1", "{first:?}");
    ensure!(header(&first, "x-ratelimit-remaining") == "0", "{first:?}");
    ensure!(
        header(&first, "x-ratelimit-reset").ends_with(" UTC"),
        "{first:?}"
    );
    ensure!(header(&first, "retry-after").is_empty(), "{first:?}");
    ensure!(first.text().await?.is_empty(), "a body");
    // NC-EVT-013, NC-EVT-015: although no Alert matches
    let second = world.post(&world.event("once")).await?;
    ensure!(second.status() == 429, "{}", second.status());
    let reset = header(&second, "x-ratelimit-reset");
    ensure!(header(&second, "retry-after") == reset, "{second:?}");
    ensure!(
        second.text().await? == "Too Many Requests\n",
        "another body"
    );
    // NC-EVT-024
    let mut other = world.event("once");
    other["reason"] = json!("Other");
    ensure!(
        world.post(&other).await?.status() == 429,
        "another reason passes"
    );
    other["metadata"] = json!({"kustomize.toolkit.fluxcd.io/revision": "r2"});
    ensure!(
        world.post(&other).await?.status() == 202,
        "another revision does not"
    );

    let answer = async |method: &str, path: &str, body: String| -> Result<u16> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let request = world
            .client
            .request(method, format!("{url}{path}"))
            .body(body);
        Ok(request.send().await?.status().as_u16())
    };
    let event = |message: &str| world.event(message).to_string();
    let padded = |length: usize| {
        let empty = json!({"message": ""}).to_string().len();
        json!({"message": "m".repeat(length - empty)}).to_string()
    };
    for (method, path, body, want) in [
        // NC-EVT-010, NC-PROC-044
        ("PUT", "foo", event("put"), 202),
        ("GET", "foo/bar", event("get"), 202),
        // NC-EVT-004
        ("POST", "", "{}".to_owned(), 202),
        // NC-EVT-011
        ("POST", "", "no".to_owned(), 400),
        ("POST", "", String::new(), 400),
        // NC-PROC-040
        ("POST", "", padded(3_145_728), 202),
        ("POST", "", padded(3_145_729), 413),
    ] {
        let shown: String = body.chars().take(40).collect();
        let have = answer(method, path, body).await?;
        ensure!(have == want, "{method} {path} {shown}: {have}");
    }
    // FR-N-045
    let hinted = |line: &serde_json::Value| {
        line["msg"]
            .as_str()
            .is_some_and(|text| text.contains("webhooks belong to the receiver server"))
    };
    world
        .controller
        .log()
        .wait("about a webhook at the event server", hinted)
        .await?;
    // NC-PROC-042
    let long = "x".repeat(300 << 10);
    let request = world.client.post(&url).header("x-long", long).body("{}");
    ensure!(
        request.send().await?.status() == 431,
        "long headers are read"
    );

    // NC-RECV-050, NC-PROC-043
    let hooks = world.controller.webhooks_url().unwrap_or_default();
    let get = world.client.get(format!("{hooks}/other")).send().await?;
    ensure!(get.status() == 404, "{}", get.status());
    ensure!(get.text().await? == "404 page not found\n", "another body");
    let unknown = format!("{hooks}/hook/0123");
    let small = world.client.post(&unknown).body("x").send().await?;
    ensure!(
        small.status() == 404 && small.text().await?.is_empty(),
        "a body"
    );
    let large = world
        .client
        .post(&unknown)
        .body(padded(3_145_729))
        .send()
        .await?;
    ensure!(large.status() == 413, "{}", large.status());

    let series = [
        // NC-PROC-050, NC-PROC-053, NC-PROC-054
        "gotk_event_http_request_duration_seconds_count{code=\"429\",handler=\"/\",method=\"POST\",service=\"\"} 2",
        "gotk_event_http_request_duration_seconds_bucket{code=\"429\",handler=\"/\",method=\"POST\",service=\"\",le=\"0.005\"}",
        "gotk_receiver_http_request_duration_seconds_count{code=\"413\",handler=\"/hook/\",method=\"POST\",service=\"\"} 1",
        // NC-PROC-051
        "gotk_event_http_response_size_bytes_bucket{code=\"429\",handler=\"/\",method=\"POST\",service=\"\",le=\"1e+09\"} 2",
        // NC-PROC-052
        "gotk_event_http_requests_inflight{handler=\"/\",service=\"\"} 0",
        "gotk_receiver_http_requests_inflight{handler=\"/hook/\",service=\"\"} 0",
        // NC-PROC-005, NC-PROC-058
        "controller_runtime_max_concurrent_reconciles{controller=\"receiver\"} 4",
        "controller_runtime_max_concurrent_reconciles{controller=\"alert\"} 4",
        "controller_runtime_max_concurrent_reconciles{controller=\"provider\"} 4",
    ];
    world.controller.metrics_with(&series).await?;
    Ok(())
}

#[tokio::test]
async fn the_deprecated_fields_work_in_both_versions() -> Result {
    let world = World::start("notify-old").await?;
    let spec = format!(
        "type: generic, interval: 10m, address: '{}'",
        world.service.url
    );
    world.apply_as("v1beta3", "Provider", "out", &spec).await?;
    let spec = format!("providerRef: {{name: out}}, {SOURCES}, summary: from spec");
    for version in ["v1beta3", "v1"] {
        let name = format!("of-{version}");
        world.apply_as(version, "Alert", &name, &spec).await?;
        // NC-COMPAT-020, NC-COMPAT-021, NC-ALERT-008: a write of metadata loses nothing
        let annotation = json!({"metadata": {"annotations": {"a": "b"}}});
        let alert = world.namespace.merge(ALERT, &name, annotation).await?;
        ensure!(alert["spec"]["summary"] == "from spec", "{alert}");
        // NC-EVT-033
        let got = world.delivered(version).await?;
        ensure!(
            got.json()["metadata"]["summary"] == "from spec",
            "{:?}",
            got.json()
        );
        world.namespace.delete(ALERT, &name).await?;
        world.namespace.wait_gone(ALERT, &name).await?;
    }
    // NC-EVT-037
    let hint = |line: &serde_json::Value| {
        line["msg"]
            .as_str()
            .is_some_and(|text| text.contains("'.spec.summary' is deprecated"))
    };
    world
        .controller
        .log()
        .wait("about the summary", hint)
        .await?;
    // NC-PROV-015, NC-PROV-004
    let has = |object: &serde_json::Value| {
        object["metadata"]["finalizers"] == json!(["finalizers.fluxcd.io"])
    };
    let provider = world
        .namespace
        .wait(PROVIDER, "out", "has the finalizer", has)
        .await?;
    ensure!(provider["spec"]["interval"] == "10m", "{provider}");
    ensure!(provider.get("status").is_none(), "{provider}");
    // NC-PROV-016
    world.namespace.delete(PROVIDER, "out").await?;
    world.namespace.wait_gone(PROVIDER, "out").await?;
    // NC-ALERT-021
    let yaml = format!(
        "{{apiVersion: notification.toolkit.fluxcd.io/v1, kind: Alert, metadata: {{name: older, finalizers: [finalizers.fluxcd.io]}}, spec: {{providerRef: {{name: out}}, {SOURCES}}}}}"
    );
    world.namespace.apply(&yaml).await?;
    let none = |object: &serde_json::Value| object["metadata"]["finalizers"].is_null();
    world
        .namespace
        .wait(ALERT, "older", "has no finalizer", none)
        .await?;
    let text = "removed finalizer from Alert to migrate to static Alert";
    world.recorded("older", "Migration", text).await?;
    Ok(())
}
