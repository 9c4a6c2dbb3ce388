//! Tests of the event recorder.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, Request, StatusCode};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// What a fake server received.
type Sent = Arc<Mutex<Vec<Value>>>;

/// A client of an API server that accepts every event.
fn api() -> (Client, Sent) {
    let sent = Sent::default();
    let log = sent.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let log = log.clone();
        async move {
            let body = request
                .into_body()
                .collect_bytes()
                .await
                .unwrap_or_default();
            log.lock()
                .unwrap()
                .push(serde_json::from_slice(&body).unwrap());
            let answer = http::Response::builder().status(201);
            Ok::<_, std::convert::Infallible>(answer.body(Body::from(body)).unwrap())
        }
    });
    (Client::new(service, "default"), sent)
}

fn object(namespace: Option<&str>, name: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name.to_owned());
    object.metadata.namespace = namespace.map(str::to_owned);
    object.metadata.uid = Some(format!("uid-of-{name}"));
    object.metadata.resource_version = Some("7".into());
    object
}

/// A notification-controller that answers with these statuses, repeating the last one; and what it received.
async fn receiver(statuses: &'static [u16]) -> (String, Sent) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sent = Sent::default();
    let log = sent.clone();
    let answer = axum::routing::post(async move |headers: HeaderMap, body: axum::body::Bytes| {
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["user-agent"], "Go-http-client/1.1");
        let mut log = log.lock().unwrap();
        let at = log.len().min(statuses.len() - 1);
        log.push(serde_json::from_slice(&body).unwrap());
        StatusCode::from_u16(statuses[at]).unwrap()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, axum::Router::new().route("/", answer)).await });
    (url, sent)
}

fn posts(url: &str) -> Posts {
    Posts {
        url: url.to_owned(),
        client: ClientOptions::default().build().unwrap(),
        pause: Duration::from_millis(1),
        waiting: Mutex::default(),
    }
}

fn post() -> Post {
    Post {
        involved_object: ObjectReference {
            kind: Some("GitRepository".into()),
            namespace: Some("apps".into()),
            name: Some("repo".into()),
            uid: Some("u".into()),
            api_version: Some("source.toolkit.fluxcd.io/v1".into()),
            resource_version: Some("7".into()),
            field_path: None,
        },
        severity: "info",
        timestamp: seconds(Timestamp::UNIX_EPOCH),
        message: "stored artifact".into(),
        reason: "NewArtifact",
        action: "ReconcileArtifact",
        metadata: BTreeMap::new(),
        reporting_controller: "source-controller",
        reporting_instance: "pod-1".into(),
    }
}

#[test]
fn posted_events_match_upstream() {
    // RT-EVT-004, RT-EVT-019, RT-EVT-020
    assert_eq!(
        serde_json::to_value(post()).unwrap(),
        json!({
            "involvedObject": {"kind": "GitRepository", "namespace": "apps", "name": "repo", "uid": "u",
                "apiVersion": "source.toolkit.fluxcd.io/v1", "resourceVersion": "7"},
            "severity": "info", "timestamp": "1970-01-01T00:00:00Z", "message": "stored artifact",
            "reason": "NewArtifact", "action": "ReconcileArtifact", "reportingController": "source-controller", "reportingInstance": "pod-1",
        })
    );
}

#[tokio::test]
async fn posts_are_retried_on_transient_failures() {
    for (statuses, attempts) in [
        // RT-EVT-006
        (&[200][..], 1),
        // RT-EVT-007, KC-EVT-009, NC-EVT-060
        (&[500, 503, 200], 3),
        // RT-EVT-009, IR-PROC-046
        (&[500], 5),
        (&[501], 1),
        // RT-EVT-008, SC-PROC-082
        (&[429], 1),
        (&[404], 1),
    ] {
        let (url, sent) = receiver(statuses).await;
        posts(&url).send(&post()).await;
        assert_eq!(sent.lock().unwrap().len(), attempts, "{statuses:?}");
    }
}

#[test]
fn retry_after_of_the_receiver_is_honoured_within_limits() {
    // RT-EVT-007
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for (value, seconds) in [
        ("7", Some(7)),
        ("0", Some(0)),
        ("86400", Some(600)),
        ("Sun, 09 Sep 2001 01:46:50 GMT", Some(10)),
        ("Sun, 09 Sep 2001 01:46:00 GMT", Some(0)),
        ("soon", None),
        ("-1", None),
    ] {
        assert_eq!(
            retry_after(value, now).map(|wait| wait.as_secs()),
            seconds,
            "{value}"
        );
    }
}

#[tokio::test]
async fn permanent_post_failures_are_not_retried() {
    // RT-EVT-007: an unknown scheme, endless redirects, an untrusted certificate
    let _ = rustls::crypto::ring::default_provider().install_default();
    let again =
        axum::Router::new().fallback(async || axum::response::Redirect::temporary("/again"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let circle = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, again).await });
    let refused = "dial tcp 127.0.0.1:1: connect: connection refused";
    for (url, attempts, error) in [
        ("http://127.0.0.1:1/", 5, refused),
        ("ftp://localhost/", 1, "unsupported protocol scheme \"ftp\""),
        (&circle, 1, "stopped after 10 redirects"),
    ] {
        let text = posts(url).deliver(&post()).await.unwrap_err();
        let want =
            format!("POST {url} giving up after {attempts} attempt(s): Post \"{url}\": {error}");
        assert_eq!(text, want);
    }
    let (url, _) = receiver(&[500]).await;
    let text = posts(&url).deliver(&post()).await.unwrap_err();
    assert_eq!(text, format!("POST {url} giving up after 5 attempt(s)"));
}

#[tokio::test]
async fn the_severity_decides_where_an_event_is_sent() {
    // RT-EVT-001, RT-EVT-003, NC-EVT-061
    let (client, events) = api();
    let (url, posted) = receiver(&[200]).await;
    let recorder = Recorder::new(client, "source-controller", "pod-1".into(), Some(&url)).unwrap();
    let subject = Subject::of(&object(Some("apps"), "a"));
    for (severity, message) in [
        (Severity::Info, "news"),
        (Severity::Error, "trouble"),
        (Severity::Trace, "routine"),
    ] {
        recorder.record(
            &subject,
            severity,
            What::new("R", message),
            &BTreeMap::new(),
        );
    }
    recorder.flush(Duration::from_secs(10)).await;
    let pairs = |sent: &Sent, key: &str| -> Vec<_> {
        let sent = sent.lock().unwrap();
        sent.iter()
            .map(|event| (event["message"].clone(), event[key].clone()))
            .collect()
    };
    assert_eq!(
        pairs(&events, "type"),
        [
            (json!("news"), json!("Normal")),
            (json!("trouble"), json!("Warning")),
            (json!("routine"), json!("Normal"))
        ]
    );
    assert_eq!(
        pairs(&posted, "severity"),
        [
            (json!("news"), json!("info")),
            (json!("trouble"), json!("error"))
        ]
    );
}

#[tokio::test]
async fn events_name_the_version_of_their_object() {
    // RT-EVT-002, RT-EVT-004, KC-EVT-008
    let (client, events) = api();
    let (url, posted) = receiver(&[200]).await;
    let recorder = Recorder::new(client, "source-controller", "pod-1".into(), Some(&url)).unwrap();
    let subject = || Subject::of(&object(Some("apps"), "a"));
    for subject in [subject(), subject().at("9"), subject().at("")] {
        recorder.record(
            &subject,
            Severity::Info,
            What::new("R", "m"),
            &BTreeMap::new(),
        );
    }
    recorder.flush(Duration::from_secs(10)).await;
    // In Kubernetes, the second and third occurrence only increase the count of the first.
    let written = events.lock().unwrap()[0]["involvedObject"].clone();
    assert_eq!(written["resourceVersion"], "7");
    let posted = posted.lock().unwrap();
    let versions: Vec<_> = posted
        .iter()
        .map(|post| &post["involvedObject"]["resourceVersion"])
        .collect();
    assert_eq!(versions, ["7", "9", "7"]);
}

#[tokio::test]
async fn events_of_objects_without_name_or_namespace_are_not_posted() {
    // RT-EVT-011, NC-EVT-063
    let (client, events) = api();
    let (url, posted) = receiver(&[200]).await;
    let recorder = Recorder::new(client, "source-controller", "pod-1".into(), Some(&url)).unwrap();
    for object in [object(None, "a"), object(Some("apps"), "")] {
        recorder.record(
            &Subject::of(&object),
            Severity::Info,
            What::new("R", "m"),
            &BTreeMap::new(),
        );
    }
    let mut kindless = Subject::of(&object(Some("apps"), "a"));
    kindless.reference.kind = None;
    recorder.record(
        &kindless,
        Severity::Info,
        What::new("R", "m"),
        &BTreeMap::new(),
    );
    recorder.flush(Duration::from_secs(10)).await;
    assert!(posted.lock().unwrap().is_empty());
    assert_eq!(
        events.lock().unwrap().len(),
        3,
        "Kubernetes is told all the same"
    );
}

#[tokio::test]
async fn long_messages_are_posted_in_full() {
    // RT-EVT-005
    let (client, _) = api();
    let (url, posted) = receiver(&[200]).await;
    let recorder = Recorder::new(client, "source-controller", "pod-1".into(), Some(&url)).unwrap();
    let message = "m".repeat(40_000);
    let subject = Subject::of(&object(Some("apps"), "a"));
    recorder.record(
        &subject,
        Severity::Info,
        What::new("R", message.clone()),
        &BTreeMap::new(),
    );
    recorder.flush(Duration::from_secs(10)).await;
    assert_eq!(posted.lock().unwrap()[0]["message"], message);
}

#[tokio::test]
async fn a_hanging_receiver_delays_at_most_one_object() {
    // RT-EVT-010, KC-EVT-011, FR-N-038
    let (client, _) = api();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sent = Sent::default();
    let log = sent.clone();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let opened = gate.clone();
    let held = Arc::new(AtomicUsize::new(0));
    let holds = held.clone();
    let answer = axum::routing::post(async move |body: axum::body::Bytes| {
        let event: Value = serde_json::from_slice(&body).unwrap();
        if event["involvedObject"]["name"] == "slow" && holds.fetch_add(1, Ordering::SeqCst) == 0 {
            let _ = opened.acquire().await;
        }
        log.lock().unwrap().push(event["message"].clone());
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, axum::Router::new().route("/", answer)).await });

    let recorder = Recorder::new(client, "source-controller", "pod-1".into(), Some(&url)).unwrap();
    let record = |name: &str, message: &str| {
        let subject = Subject::of(&object(Some("apps"), name));
        recorder.record(
            &subject,
            Severity::Info,
            What::new("R", message),
            &BTreeMap::new(),
        );
    };
    record("slow", "slow 1");
    record("slow", "slow 2");
    record("quick", "quick 1");
    let arrived = |count: usize| {
        let sent = sent.clone();
        async move {
            while sent.lock().unwrap().len() < count {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrived(1))
        .await
        .unwrap();
    assert_eq!(*sent.lock().unwrap(), ["quick 1"]);
    gate.add_permits(1);
    tokio::time::timeout(Duration::from_secs(10), arrived(3))
        .await
        .unwrap();
    assert_eq!(
        *sent.lock().unwrap(),
        ["quick 1", "slow 1", "slow 2"],
        "in order for each object"
    );
}

#[tokio::test]
async fn event_annotations_of_the_object_are_included() {
    let (client, events) = api();
    let (url, posted) = receiver(&[200]).await;
    let recorder = Recorder::new(client, "source-controller", "pod-1".into(), Some(&url)).unwrap();
    let mut object = object(Some("apps"), "a");
    // RT-EVT-014, RT-ANN-005, SC-PROC-084
    let annotations = [
        ("event.toolkit.fluxcd.io/change_request", "7"),
        ("other", "x"),
    ];
    object.metadata.annotations = Some(
        annotations
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    );
    let mut subject = Subject::of(&object);
    "source.toolkit.fluxcd.io".clone_into(&mut subject.group);
    // RT-EVT-012
    let metadata = BTreeMap::from([("revision", "main@sha1:1".to_owned())]);
    recorder.record(&subject, Severity::Info, What::new("R", "first"), &metadata);
    subject.annotations = BTreeMap::from([(
        "source.toolkit.fluxcd.io/revision".to_owned(),
        "the object's".to_owned(),
    )]);
    recorder.record(
        &subject,
        Severity::Info,
        What::new("R", "second"),
        &metadata,
    );
    recorder.flush(Duration::from_secs(10)).await;
    let first = json!({"source.toolkit.fluxcd.io/revision": "main@sha1:1", "event.toolkit.fluxcd.io/change_request": "7"});
    let second = json!({"source.toolkit.fluxcd.io/revision": "the object's"});
    let posted = posted.lock().unwrap();
    assert_eq!(
        (&posted[0]["metadata"], &posted[1]["metadata"]),
        (&first, &second)
    );
    let events = events.lock().unwrap();
    let annotations = |at: usize| &events[at]["metadata"]["annotations"];
    assert_eq!((annotations(0), annotations(1)), (&first, &second));
    // RT-EVT-015, NC-EVT-062
    assert_eq!(metadata.len(), 1, "the caller's map is as it was");
}

fn logged(level: &str, speak: impl FnOnce()) -> Vec<Value> {
    let lines = crate::logging::tests::logged(level, "json", speak);
    let mut lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &mut lines {
        for volatile in ["ts", "stacktrace"] {
            line.as_object_mut().unwrap().remove(volatile);
        }
    }
    lines
}

#[test]
fn events_are_logged_at_trace_level() {
    // RT-LOG-011
    let object = post().involved_object;
    let annotations = BTreeMap::from([(
        "source.toolkit.fluxcd.io/revision".to_owned(),
        "main".to_owned(),
    )]);
    let speak = || {
        // Within a reconcile, whose keys the line does not have.
        let span = tracing::info_span!("reconcile", controller = "gitrepository", name = "other");
        span.in_scope(|| {
            log(
                &object,
                true,
                "GitOperationFailed",
                "no route",
                &annotations,
            );
            log(&object, false, "NewArtifact", "stored", &annotations);
        });
    };
    let keys = |level: &str, message: &str, key: &str, reason: &str| {
        json!({"level": level, "msg": message, "name": "repo", "namespace": "apps", "reconciler kind": "GitRepository",
            key: reason, "annotations": {"source.toolkit.fluxcd.io/revision": "main"}})
    };
    assert_eq!(
        logged("trace", speak),
        [
            keys("error", "no route", "error", "GitOperationFailed"),
            keys("info", "stored", "reason", "NewArtifact")
        ]
    );
}

#[tokio::test]
async fn a_failed_post_is_logged() {
    // RT-EVT-009: with the keys that `flux logs` searches for (RT-LOG-009)
    let lines = logged("info", || {
        give_up(&post().involved_object, "connection refused");
    });
    assert_eq!(
        lines,
        [
            json!({"level": "error", "msg": "unable to record event", "error": "connection refused", "name": "repo",
            "namespace": "apps", "reconciler kind": "GitRepository"})
        ]
    );
}

#[tokio::test]
async fn the_receiver_address_is_not_logged() {
    let address = |port: &str| format!("http://user:s3cret@127.0.0.1:{port}/?token=s3cret");
    let (client, _) = api();
    let refused = Recorder::new(client, "c", "p".into(), Some(&address("none")));
    let refused = crate::outcome::chain(&refused.err().unwrap());
    assert!(
        refused.contains("invalid events address") && !refused.contains("s3cret"),
        "{refused}"
    );

    let _ = rustls::crypto::ring::default_provider().install_default();
    let posts = posts(&address("1"));
    let lines = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        crate::logging::tests::logged("trace", "json", || runtime.block_on(posts.send(&post())))
    });
    let lines = lines.await.unwrap().concat();
    assert!(
        lines.contains("unable to record event") && !lines.contains("s3cret"),
        "{lines}"
    );
}

#[test]
fn kubernetes_events_are_logged_at_debug_level() {
    // RT-LOG-012
    let entry = kubernetes::Entry {
        subject: ObjectReference {
            kind: Some("GitRepository".into()),
            name: Some("repo".into()),
            ..ObjectReference::default()
        },
        warning: false,
        reason: "NewArtifact",
        message: "stored".into(),
        annotations: BTreeMap::new(),
        time: Timestamp::UNIX_EPOCH,
    };
    assert_eq!(
        logged("debug", || kubernetes::log(&entry)),
        [
            json!({"level": "debug", "logger": "events", "msg": "stored", "type": "Normal", "reason": "NewArtifact",
            "object": {"kind": "GitRepository", "name": "repo"}})
        ]
    );
}
