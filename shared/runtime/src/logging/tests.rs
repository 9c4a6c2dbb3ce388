//! Tests of the log format.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use flux_objects::Objects;
use http::{Request, Response};
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use kube::client::Body;
use kube::runtime::watcher;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::watch::Cache;

/// Keeps every callsite from being disabled. While a single dispatcher exists, `tracing` caches the interest in a
/// callsite when it is first reached, asking the dispatcher of that thread: a thread without a log would disable the
/// callsite for all tests. While two exist, all of them are asked, and the second of these never decides for good.
static UNDECIDED: LazyLock<[Dispatch; 2]> = LazyLock::new(|| {
    let unsure = dynamic_filter_fn(|_, _| false);
    [
        Dispatch::new(NoSubscriber::new()),
        Dispatch::new(tracing_subscriber::registry().with(unsure)),
    ]
});

pub(crate) fn logged(level: &str, encoding: &str, speak: impl FnOnce()) -> Vec<String> {
    LazyLock::force(&UNDECIDED);
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let log = Log::new(level, encoding, move |line: &[u8]| {
        sink.lock()
            .unwrap()
            .push(String::from_utf8(line.to_vec()).unwrap());
    });
    tracing::subscriber::with_default(tracing_subscriber::registry().with(log.filtered()), speak);
    lines.lock().unwrap().clone()
}

#[test]
fn log_line_keys_match_upstream() {
    let lines = logged("info", "json", || {
        let span = tracing::info_span!(
            "reconcile",
            otel.name = "x",
            controller = "kustomization",
            controllerGroup = "kustomize.toolkit.fluxcd.io",
            controllerKind = "Kustomization",
            namespace = "flux-system",
            name = "apps",
            reconcileID = "id"
        );
        span.in_scope(|| tracing::error!(error = "boom", "Reconciler error"));
        tracing::info!(
            logger = "setup",
            kv = r#"{"ExternalArtifact":true}"#,
            "loading feature gate"
        );
    });
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    // RT-LOG-004
    let time = line["ts"].as_str().unwrap();
    assert!(
        time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T',
        "{time}"
    );
    let mut rest = line.clone();
    rest.as_object_mut().unwrap().remove("ts");
    // RT-LOG-005, RT-LOG-007
    assert_eq!(
        rest,
        json!({"level": "error", "msg": "Reconciler error", "error": "boom", "controller": "kustomization",
            "controllerGroup": "kustomize.toolkit.fluxcd.io", "controllerKind": "Kustomization",
            "Kustomization": {"name": "apps", "namespace": "flux-system"}, "namespace": "flux-system",
            "name": "apps", "reconcileID": "id"})
    );
    assert!(lines[0].starts_with("{\"level\":\"error\",\"ts\":") && lines[0].ends_with("}\n"));
    // RT-LOG-002
    let gate: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!(
        (&gate["logger"], &gate["ExternalArtifact"]),
        (&Value::from("setup"), &Value::from(true))
    );
}

#[test]
fn fields_recorded_later_appear_in_the_following_lines() {
    // RT-LOG-007
    let lines = logged("info", "json", || {
        let span =
            tracing::info_span!("reconcile", name = "apps", revision = tracing::field::Empty);
        span.in_scope(|| tracing::info!("before"));
        span.record("revision", "main@sha1:1");
        span.record("name", "other");
        span.in_scope(|| tracing::info!("after"));
    });
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said = |line: &Value| {
        [
            line["msg"].clone(),
            line["name"].clone(),
            line["revision"].clone(),
        ]
    };
    assert_eq!(
        said(&lines[0]),
        [Value::from("before"), "apps".into(), Value::Null]
    );
    assert_eq!(
        said(&lines[1]),
        ["after", "other", "main@sha1:1"].map(Value::from)
    );
}

#[test]
fn log_lines_are_filtered_by_level() {
    // RT-LOG-013, SC-PROC-023
    let speak = || {
        tracing::error!("e");
        tracing::info!("i");
        tracing::debug!("d");
        tracing::trace!("t");
    };
    for (level, want) in [
        ("error", "e"),
        ("info", "ei"),
        ("debug", "eid"),
        ("trace", "eidt"),
        // RT-LOG-014
        ("foo", "ei"),
    ] {
        let lines: Vec<Value> = logged(level, "json", speak)
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let messages: String = lines
            .iter()
            .map(|line| line["msg"].as_str().unwrap())
            .collect();
        assert_eq!(messages, want, "{level}");
        // RT-LOG-006, SC-PROC-024, IR-PROC-015
        assert_eq!(
            lines[0].get("stacktrace").is_some(),
            !matches!(level, "error" | "info"),
            "{level}"
        );
    }
}

#[test]
fn the_console_has_columns() {
    // RT-LOG-003
    let lines = logged("info", "console", || {
        tracing::info!(logger = "setup", a = 1, "starting manager");
    });
    let columns: Vec<&str> = lines[0].trim_end().split('\t').collect();
    assert_eq!(
        columns[1..],
        ["INFO", "setup", "starting manager", "{\"a\":1}"]
    );
}

#[test]
fn repeated_log_lines_are_sampled() {
    // RT-LOG-015
    let mut sampler = Sampler::default();
    let mut admitted = |second| {
        (0..350)
            .filter(|_| sampler.admits(Level::INFO, "m", second))
            .count()
    };
    assert_eq!(admitted(1), 102);
    assert_eq!(admitted(2), 102);
}

#[test]
fn log_lines_of_libraries_have_the_same_format() {
    // RT-LOG-013, RT-LOG-016
    let lines = logged("debug", "json", || {
        tracing::warn!(target: "kube_client::client::tls", "connection lost");
        tracing::info!(target: "kube_client::client::tls", "nobody asked for this");
        tracing::debug!(target: "hyper_util::client", "nor this");
        tracing::info!(
            logger = "runtime",
            "attempting to acquire leader lease a/b..."
        );
    });
    let said: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .map(|line: Value| json!([line["logger"], line["level"], line["msg"]]))
        .collect();
    assert_eq!(
        said,
        [
            json!(["runtime", "info", "connection lost"]),
            json!([
                "runtime",
                "info",
                "attempting to acquire leader lease a/b..."
            ])
        ]
    );
}

/// Collects every line of every library, behind a filter.
#[derive(Clone, Default)]
struct Everything(Arc<Mutex<String>>);

impl Visit for Everything {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{value:?}").unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Everything {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut self.clone());
    }
}

const QUOTED: &str = "denied: the token MARKED-77ab";

/// A server that lists Secrets in a way that cannot be parsed, and refuses the rest; both answers have a marked value.
fn server() -> Client {
    let service = tower::service_fn(|request: Request<Body>| async move {
        let (code, text) = if request.uri().path() == "/api/v1/secrets" {
            let secret = json!({"metadata": {"name": "a"}, "stringData": {"token": QUOTED}});
            let invalid = json!({"metadata": {"name": "b"}, "data": QUOTED});
            let items = [secret, invalid];
            let list = json!({"kind": "SecretList", "apiVersion": "v1", "items": items});
            (200, list.to_string())
        } else {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403,
                "reason": "Forbidden", "message": QUOTED});
            (403, status.to_string())
        };
        let answer = Response::builder().status(code);
        Ok::<_, std::convert::Infallible>(answer.body(Body::from(text.into_bytes())).unwrap())
    });
    Client::new(service, "default")
}

/// Makes requests that fail: a list, that of a store's watch, and one by name.
fn ask_in_vain() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let api: Api<Secret> = Api::all(server());
        assert!(api.list(&ListParams::default()).await.is_err());
        let (store, stop) = (Cache::default(), CancellationToken::new());
        let watching = store.run(api, watcher::Config::default(), stop);
        let minute = Duration::from_mins(1);
        assert!(tokio::time::timeout(minute, watching).await.is_err());
        let objects = Objects::<Secret>::in_namespace(server(), "apps").unwrap();
        let (params, secret) = (PostParams::default(), Secret::default());
        let refused = objects.create(&params, &secret).await;
        assert_eq!(refused.unwrap_err().to_string(), QUOTED);
    });
}

#[test]
fn responses_of_the_api_server_are_neither_logged_nor_exported() {
    // RT-LOG-013
    const MARKED: &str = "MARKED-77ab";
    LazyLock::force(&UNDECIDED);
    let lines = Everything::default();
    let unfiltered = tracing_subscriber::registry().with(lines.clone());
    tracing::subscriber::with_default(unfiltered, ask_in_vain);
    let shown = lines.0.lock().unwrap().clone();
    let count = shown.matches(MARKED).count();
    assert!(count > 2, "kube shows each of the responses: {shown}");

    let lines = Everything::default();
    let traces = tracing_subscriber::registry().with(lines.clone().with_filter(exported()));
    tracing::subscriber::with_default(traces, ask_in_vain);
    let shown = lines.0.lock().unwrap().clone();
    assert!(shown.contains("watch interrupted"), "{shown}");
    assert!(!shown.contains(MARKED), "{shown}");

    for level in ["info", "trace"] {
        let shown = logged(level, "json", ask_in_vain).concat();
        assert!(shown.contains("watch interrupted"), "{shown}");
        assert!(!shown.contains(MARKED), "{shown}");
    }
}

#[test]
fn log_lines_have_unique_keys() {
    // RT-LOG-007: where the fields of an event and of its span differ, the event's is used
    let lines = logged("info", "json", || {
        let span = tracing::info_span!("reconcile", name = "outer", namespace = "ns");
        span.in_scope(|| tracing::info!(name = "inner", "m"));
    });
    assert_eq!(lines[0].matches("\"name\":").count(), 1, "{}", lines[0]);
    assert!(lines[0].contains("\"name\":\"inner\""), "{}", lines[0]);
}
