//! The process: its flags, servers, metrics, leadership and end.

use std::process::{Command, Output};

use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{Cluster, Controller, Kind, Namespace, RECEIVER, Result, condition, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::World;
use crate::service::Service;

const LEASE: Kind = Kind("coordination.k8s.io/v1", "Lease");

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_notification-controller"))
        .args(args)
        .env("KUBECONFIG", "/nowhere/kubeconfig")
        .output()
        .unwrap()
}

/// The lines of a log that are JSON objects.
fn entries(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[test]
fn invalid_flags_end_the_process() {
    // NC-PROC-010: there is no sharding
    let unknown = run(&["--watch-label-selector=a=b"]);
    assert_eq!(unknown.status.code(), Some(2));
    let begins = |output: &Output, text: &str| {
        let last = entries(output).pop().unwrap_or_default();
        let error = last["error"].as_str().unwrap_or_default().to_owned();
        assert!(error.contains(text), "{last}");
        assert_eq!(output.status.code(), Some(1));
    };
    // NC-PROC-016
    begins(
        &run(&["--feature-gates=Other=true"]),
        "feature-gate 'Other' not supported",
    );
    // NC-PROC-009
    begins(
        &run(&["--watch-configs-label-selector=a in (b"]),
        "unable to parse",
    );
    let loaded =
        run(&["--feature-gates=CacheSecretsAndConfigMaps=true,ObjectLevelWorkloadIdentity=false"]);
    let lines = entries(&loaded);
    let loading = |line: &&Value| line["msg"] == "loading feature gate";
    let found = lines.iter().find(loading).cloned().unwrap_or_default();
    assert_eq!(found["CacheSecretsAndConfigMaps"], true, "{lines:?}");
    // NC-PROC-022: retired, whatever its value
    let retired = |line: &&Value| line.to_string().contains("ObjectLevelWorkloadIdentity");
    assert!(
        lines
            .iter()
            .any(|line| retired(&line) && line["level"] == "info"),
        "{lines:?}"
    );
}

#[tokio::test]
async fn a_busy_address_ends_the_process() -> Result {
    // NC-PROC-032
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let cluster = Cluster::shared().await?;
    let output = Command::new(env!("CARGO_BIN_EXE_notification-controller"))
        .args([
            format!("--events-addr={address}"),
            "--receiverAddr=127.0.0.1:0".to_owned(),
            "--health-addr=127.0.0.1:0".to_owned(),
            "--metrics-addr=127.0.0.1:0".to_owned(),
        ])
        .env("KUBECONFIG", cluster.kubeconfig())
        .env("RUNTIME_NAMESPACE", "default")
        .output()?;
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(text.contains(&format!("listen tcp {address}")), "{text}");
    Ok(())
}

/// The status of a raw request, and whether the connection was closed without an answer.
async fn raw(address: &str, request: &[u8], end: bool) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    if end {
        stream.shutdown().await?;
    }
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    Ok(answer.lines().next().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn probes_profiles_logs_and_metrics_are_upstreams() -> Result {
    let world = World::start_with(
        "notify-serves",
        Settings::default().flag("--log-level=debug"),
    )
    .await?;
    world.secret("token", "token: t").await?;
    let spec =
        "type: generic, secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]";
    world.apply("Receiver", "hook", spec).await?;
    world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
    let get = async |url: String| -> Result<(u16, String)> {
        let answer = world.client.get(url).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    // NC-PROC-028
    let health = world.controller.health_address();
    for path in ["healthz", "readyz", "healthz/ping", "readyz/ping"] {
        let (code, _) = get(format!("http://{health}/{path}")).await?;
        ensure!(code == 200, "{path}: {code}");
    }
    // NC-PROC-030: as far as that is possible without Go
    let metrics = world.controller.metrics_address();
    for (path, code) in [
        ("", 200),
        ("cmdline", 200),
        ("goroutine", 200),
        ("heap", 501),
        ("profile", 501),
    ] {
        let (have, text) = get(format!("http://{metrics}/debug/pprof/{path}")).await?;
        ensure!(have == code, "{path}: {have} {text}");
    }
    // NC-PROC-041
    let events = world.controller.events_url().unwrap_or_default();
    let events = events
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .to_owned();
    let half = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{";
    let line = raw(&events, half, true).await?;
    ensure!(line.starts_with("HTTP/1.1 400"), "{line}");
    // NC-PROC-045: no TLS
    let line = raw(&events, b"\x16\x03\x01\x00\x05hello\r\n\r\n", true).await?;
    ensure!(!line.contains("202"), "{line}");
    // NC-EVT-027
    let event = world.event("twice");
    world.post(&event).await?;
    world.post(&event).await?;
    let duplicate = |line: &Value| {
        line["msg"] == "Discarding event, rate limiting duplicate events"
            && line["level"] == "debug"
    };
    let line = world
        .controller
        .log()
        .wait("about the duplicate", duplicate)
        .await?;
    // NC-PROC-012
    for field in ["level", "ts", "logger", "msg"] {
        ensure!(line[field].is_string(), "{field}: {line}");
    }
    ensure!(line["logger"] == "event-server", "{line}");
    // NC-EVT-031
    let discarded = |line: &Value| {
        line["msg"] == "discarding event, no alerts found for the involved object"
            && line["eventInvolvedObject"]["name"] == "app"
    };
    world
        .controller
        .log()
        .wait("about no Alert", discarded)
        .await?;
    let hooks = world.controller.webhooks_url().unwrap_or_default();
    let (code, _) = get(format!("{}/hook/unknown", hooks.trim_end_matches('/'))).await?;
    ensure!(code == 404, "{code}");
    // NC-PROC-055
    let series = format!(
        "gotk_reconcile_duration_seconds_count{{kind=\"Receiver\",name=\"hook\",namespace=\"{}\"}}",
        world.namespace.name()
    );
    let page = world.controller.metrics_with(&[&series]).await?;
    ensure!(
        page.contains("gotk_reconcile_duration_seconds_bucket{kind=\"Receiver\"")
            && page.contains("le=\"0.01\""),
        "{page}"
    );
    // NC-PROC-056
    for family in ["gotk_reconcile_condition{", "gotk_suspend_status{"] {
        ensure!(!page.contains(family), "{family}\n{page}");
    }
    // NC-PROC-057: nothing of a token yet
    ensure!(page.contains("gotk_token_cached_items 0"), "{page}");
    for kind in ["Alert", "Provider"] {
        ensure!(
            !page.contains(&format!(
                "gotk_reconcile_duration_seconds_count{{kind=\"{kind}\""
            )),
            "{kind}"
        );
    }
    // RT-MET-011
    for family in [
        "gotk_event_http_request_duration_seconds_count{",
        "gotk_event_http_response_size_bytes_count{",
        "gotk_receiver_http_requests_inflight{",
    ] {
        ensure!(page.contains(family), "{family}");
    }
    // NC-PROC-055: the series ends with the object
    world.namespace.delete(RECEIVER, "hook").await?;
    world.namespace.wait_gone(RECEIVER, "hook").await?;
    let gone = async {
        while world.controller.metrics().await?.contains(&series) {
            tokio::task::yield_now().await;
        }
        Ok::<_, kind_tests::Failure>(())
    };
    world
        .namespace
        .wait_for("its series is gone", gone)
        .await??;
    // NC-RECV-043
    let entries = world.controller.log().entries().into_iter();
    let mut errors = entries.filter(|line| line["level"] == "error");
    let error = errors.find(|line| line["controllerKind"] == "Receiver");
    ensure!(error.is_none(), "{error:?}");
    Ok(())
}

#[tokio::test]
async fn both_servers_answer_without_leadership_and_the_lease_is_given_back() -> Result {
    let settings = || Settings::default().flag("--enable-leader-election=true");
    let mut world = World::start_with("notify-leads", settings()).await?;
    // NC-PROC-026
    let lease = "notification-controller-leader-election";
    let held = |object: &Value| {
        object["spec"]["holderIdentity"]
            .as_str()
            .is_some_and(|holder| !holder.is_empty())
    };
    let found = world.namespace.wait(LEASE, lease, "is held", held).await?;
    // NC-PROC-013
    ensure!(found["spec"]["leaseDurationSeconds"] == 35, "{found}");
    let mut second =
        Controller::start("notification-controller", &world.namespace, settings()).await?;
    // NC-PROC-027: the second one answers, too; its reconcilers wait
    let events = second.events_url().unwrap_or_default();
    let event = world.event("to the second");
    let accepted = async {
        loop {
            let sent = world
                .client
                .post(&*events)
                .body(event.to_string())
                .send()
                .await;
            if let Ok(sent) = sent {
                return sent.status().as_u16();
            }
            tokio::task::yield_now().await;
        }
    };
    let code = world
        .namespace
        .wait_for("the second answers", accepted)
        .await?;
    ensure!(code == 202, "{code}");
    let hooks = second.webhooks_url().unwrap_or_default();
    let answer = world.client.get(format!("{hooks}/hook/0")).send().await?;
    ensure!(answer.status() == 404, "{}", answer.status());
    // NC-PROC-033
    let status = world.controller.terminate().await?;
    ensure!(status.success(), "{status}");
    for server in ["Event server", "Receiver server"] {
        let stopped = |line: &Value| line["msg"] == format!("{server} stopped");
        world
            .controller
            .log()
            .wait("about the end", stopped)
            .await?;
    }
    world.secret("token", "token: t").await?;
    let spec =
        "type: generic, secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]";
    world.apply("Receiver", "hook", spec).await?;
    world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
    ensure!(second.terminate().await?.success(), "the second ends badly");
    Ok(())
}

#[tokio::test]
async fn secrets_are_read_at_each_use_or_cached() -> Result {
    for (gate, cached) in [("false", false), ("true", true)] {
        let settings = Settings::default()
            .flag(format!("--feature-gates=CacheSecretsAndConfigMaps={gate}"))
            // NC-PROC-018: it needs no gate
            .flag("--default-service-account=robot");
        let world = World::start_with("notify-reads", settings).await?;
        world
            .secret("out", &format!("address: '{}/s3cret'", world.service.url))
            .await?;
        world
            .apply("Provider", "out", "type: generic, secretRef: {name: out}")
            .await?;
        let spec = "providerRef: {name: out}, eventSources: [{kind: Kustomization, name: '*'}]";
        world.apply("Alert", "all", spec).await?;
        world.delivered("warm").await?;
        let cluster = world.namespace.cluster();
        if cluster.audit_log().is_none() {
            println!("skipped: the cluster has no audit log");
            return Ok(());
        }
        let counter = Counter::start(cluster, world.controller.user())?;
        world.delivered("counted").await?;
        // NC-PROC-020
        let reads = counter.requests()?;
        let reads = reads
            .iter()
            .filter(|request| request.verb == "get" && request.resource == "secrets")
            .count();
        ensure!((reads == 0) == cached, "{gate}: {reads}");
        // NC-PROC-011: the API server limits clients itself, and a burst is not slowed
        let lists = counter.requests()?.into_iter();
        // The watch of Receivers, which no event needs, may begin now.
        let lists: Vec<_> = lists
            .filter(|request| request.verb == "list" && request.resource != "receivers")
            .collect();
        ensure!(lists.is_empty() || cached, "{lists:?}");
    }
    Ok(())
}

#[tokio::test]
async fn only_the_own_namespace_is_watched_and_config_watches_can_be_off() -> Result {
    let settings = Settings::default().flag("--feature-gates=DisableConfigWatchers=true");
    let world = World::start_with("notify-own", settings).await?;
    // NC-PROC-023: an Alert in another namespace gets nothing
    let other = Namespace::create(&Cluster::shared().await?, "notify-foreign").await?;
    let service = Service::willing().await;
    let group = "notification.toolkit.fluxcd.io/v1";
    let source = format!(
        "{{kind: Kustomization, name: '*', namespace: {}}}",
        world.namespace.name()
    );
    for yaml in [
        format!(
            "{{apiVersion: {group}, kind: Provider, metadata: {{name: out}}, spec: {{type: generic, address: '{}'}}}}",
            service.url
        ),
        format!(
            "{{apiVersion: {group}, kind: Alert, metadata: {{name: all}}, spec: {{providerRef: {{name: out}}, eventSources: [{source}]}}}}"
        ),
    ] {
        other.apply(&yaml).await?;
    }
    let spec = format!("type: generic, address: '{}'", world.service.url);
    world.apply("Provider", "out", &spec).await?;
    let spec = "providerRef: {name: out}, eventSources: [{kind: Kustomization, name: '*'}]";
    world.apply("Alert", "all", spec).await?;
    world.delivered("to the own").await?;
    ensure!(service.got().is_empty(), "{:?}", service.lines());
    // NC-PROC-021: a labelled Secret that changes has no effect
    world.secret("token", "token: one").await?;
    let label = json!({"metadata": {"labels": {"reconcile.fluxcd.io/watch": "Enabled"}}});
    world
        .namespace
        .merge(kind_tests::SECRET, "token", label)
        .await?;
    let spec =
        "type: generic, secretRef: {name: token}, resources: [{kind: GitRepository, name: app}]";
    world.apply("Receiver", "hook", spec).await?;
    let first = world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
    world.secret("token", "token: two").await?;
    // An Alert's event needs the same watches to pass, so that the change is long known.
    world.delivered("afterwards").await?;
    let second = world
        .namespace
        .get(RECEIVER, "hook")
        .await?
        .unwrap_or_default();
    ensure!(
        first["status"]["webhookPath"] == second["status"]["webhookPath"],
        "{second}"
    );
    ensure!(
        condition(&second, "Ready").is_some_and(|ready| ready["status"] == "True"),
        "{second}"
    );
    Ok(())
}
