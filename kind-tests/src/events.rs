//! A fake notification-controller that validates the events it receives.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;
use tokio::sync::watch;

use crate::failure::{Doing, Failure, Result};

/// Receives the events that controllers post to `--events-addr`, and validates each body against
/// notification-controller's format (RT-EVT-004).
///
/// It runs in the async runtime of the test that starts it.
pub struct EventSink {
    address: SocketAddr,
    inbox: Arc<Inbox>,
    changes: watch::Receiver<usize>,
    server: tokio::task::JoinHandle<()>,
}

struct Inbox {
    sender: Sender,
    events: Mutex<Vec<Value>>,
    violations: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
}

/// Who posts the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sender {
    /// The controllers themselves.
    Controllers,
    /// notification-controller, for a Provider of the type `generic`: without the groups of metadata, and with that of Alerts.
    Notification,
}

impl EventSink {
    /// Starts listening on a free port, for controllers.
    pub async fn start() -> Result<Self> {
        Self::start_for(Sender::Controllers).await
    }

    /// Starts listening on a free port, as the service of a Provider of the type `generic`.
    pub async fn start_as_service() -> Result<Self> {
        Self::start_for(Sender::Notification).await
    }

    async fn start_for(sender: Sender) -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .doing("listen for events")?;
        let address = listener.local_addr()?;
        let (count, changes) = watch::channel(0);
        let inbox = Arc::new(Inbox {
            sender,
            events: Mutex::default(),
            violations: Mutex::default(),
            count,
        });
        let router = Router::new().fallback(receive).with_state(inbox.clone());
        let server = tokio::spawn(async move {
            // It only ends with the runtime.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            inbox,
            changes,
            server,
        })
    }

    /// The value for `--events-addr`.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// All events so far, in order of arrival.
    pub fn events(&self) -> Vec<Value> {
        self.inbox
            .events
            .lock()
            .map(|events| events.clone())
            .unwrap_or_default()
    }

    /// Waits, for as long as it takes, until there are more than `known` events, and returns those after them.
    pub async fn after(&self, known: usize) -> Vec<Value> {
        let mut changes = self.changes.clone();
        loop {
            changes.borrow_and_update();
            let events = self.events();
            if events.len() > known {
                return events[known..].to_vec();
            }
            if changes.changed().await.is_err() {
                return Vec::new();
            }
        }
    }

    /// Waits for an event that satisfies `wanted`, including past ones.
    pub async fn wait(&self, goal: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut changes = self.changes.clone();
        let found = tokio::time::timeout(crate::deadline(), async {
            loop {
                changes.borrow_and_update();
                if let Some(event) = self.events().into_iter().find(&wanted) {
                    return Ok::<_, Failure>(event);
                }
                changes.changed().await?;
            }
        });
        match found.await {
            Ok(event) => event,
            Err(_) => Err(Failure::new(format!(
                "no event {goal}; received: {:#?}",
                self.events()
            ))),
        }
    }

    /// Fails if a request was invalid for notification-controller.
    pub fn check(&self) -> Result {
        let violations = self
            .inbox
            .violations
            .lock()
            .map(|found| found.clone())
            .unwrap_or_default();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(violations.join("\n")))
        }
    }
}

impl Drop for EventSink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(inbox): State<Arc<Inbox>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let content_type = headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let checked = check_request(&method, uri.path(), content_type)
        .and_then(|()| check_body(&body, inbox.sender));
    let accepted = match checked {
        Ok(event) => {
            if let Ok(mut events) = inbox.events.lock() {
                events.push(event);
            }
            true
        }
        Err(problem) => {
            let text = format!("bad event: {problem}: {}", String::from_utf8_lossy(&body));
            if let Ok(mut violations) = inbox.violations.lock() {
                violations.push(text);
            }
            false
        }
    };
    inbox.count.send_modify(|count| *count += 1);
    if accepted {
        StatusCode::ACCEPTED
    } else {
        StatusCode::BAD_REQUEST
    }
}

fn check_request(method: &Method, path: &str, content_type: &str) -> Result<(), String> {
    if method != Method::POST || path != "/" || content_type != "application/json" {
        return Err(format!(
            "{method} {path} with content type {content_type:?}"
        ));
    }
    Ok(())
}

/// Parses an event as notification-controller does, but more strictly: no unknown keys, no empty values.
fn check_body(body: &[u8], sender: Sender) -> Result<Value, String> {
    const KEYS: [&str; 10] = [
        "involvedObject",
        "severity",
        "timestamp",
        "message",
        "reason",
        "action",
        "metadata",
        "reportingController",
        "reportingInstance",
        "related",
    ];
    // RT-EVT-013: the keys that notification-controller knows; below `event.toolkit.fluxcd.io/` users set any key.
    const SUFFIXES: [&str; 10] = [
        "revision",
        "originRevision",
        "checksum",
        "digest",
        "token",
        "commit",
        "commit_status",
        "change_request",
        // HC-EVT-012
        "app-version",
        "oci-digest",
    ];
    let event: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let fields = event.as_object().ok_or("not an object")?;
    if let Some(unknown) = fields.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key {unknown}"));
    }
    for key in ["kind", "namespace", "name", "uid", "apiVersion"] {
        filled(
            &event["involvedObject"][key],
            &format!("involvedObject.{key}"),
        )?;
    }
    for key in [
        "message",
        "reason",
        "reportingController",
        "reportingInstance",
    ] {
        filled(&event[key], key)?;
    }
    if !matches!(event["severity"].as_str(), Some("info" | "error")) {
        return Err(format!("severity {}", event["severity"]));
    }
    let timestamp = event["timestamp"].as_str().unwrap_or_default();
    // Seconds and UTC: 2026-08-01T10:00:00Z has twenty characters.
    if timestamp.len() != 20
        || !timestamp.ends_with('Z')
        || timestamp.parse::<jiff::Timestamp>().is_err()
    {
        return Err(format!("timestamp {timestamp:?}"));
    }
    for (key, value) in event["metadata"].as_object().into_iter().flatten() {
        let known = key
            .split_once(".toolkit.fluxcd.io/")
            .is_some_and(|(group, suffix)| group == "event" || SUFFIXES.contains(&suffix));
        let known = known || sender == Sender::Notification;
        if !known || (key.ends_with("/commit_status") && value != "update") {
            return Err(format!("metadata {key}={value}"));
        }
    }
    match fields.get("metadata") {
        None => {}
        Some(Value::Object(metadata))
            if !metadata.is_empty() && metadata.values().all(Value::is_string) => {}
        Some(other) => return Err(format!("metadata {other}")),
    }
    Ok(event)
}

fn filled(value: &Value, name: &str) -> Result<(), String> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(()),
        _ => Err(format!("{name} is {value}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Sender, check_body};

    #[test]
    fn only_event_bodies_in_the_documented_format_are_accepted() {
        let good = json!({
            "involvedObject": {
                "kind": "GitRepository", "namespace": "a", "name": "b", "uid": "c",
                "apiVersion": "source.toolkit.fluxcd.io/v1", "resourceVersion": "1",
            },
            "severity": "info", "timestamp": "2026-08-01T10:00:00Z", "message": "m", "reason": "r",
            "metadata": {"source.toolkit.fluxcd.io/revision": "main@sha1:0"},
            "reportingController": "source-controller", "reportingInstance": "host",
        });
        assert_eq!(
            check_body(good.to_string().as_bytes(), Sender::Controllers),
            Ok(good.clone())
        );

        for (path, value) in [
            ("/severity", json!("trace")),
            ("/severity", json!(null)),
            ("/timestamp", json!("2026-08-01T10:00:00.123Z")),
            ("/timestamp", json!("2026-08-01T10:00:00+01:00")),
            ("/metadata", json!({})),
            ("/metadata", json!({"a": 1})),
            ("/metadata", json!({"revision": "main@sha1:0"})),
            (
                "/metadata",
                json!({"source.toolkit.fluxcd.io/revisions": "a"}),
            ),
            (
                "/metadata",
                json!({"kustomize.toolkit.fluxcd.io/commit_status": "create"}),
            ),
            ("/message", json!("")),
            ("/involvedObject/uid", json!(null)),
            ("/reportingInstance", json!("")),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            assert!(
                check_body(bad.to_string().as_bytes(), Sender::Controllers).is_err(),
                "{bad}"
            );
        }
        let mut forwarded = good.clone();
        forwarded["metadata"] = json!({"revision": "main@sha1:0", "env": "prod"});
        let body = forwarded.to_string();
        assert!(check_body(body.as_bytes(), Sender::Notification).is_ok());
        let mut unknown = good;
        unknown["involved"] = json!({});
        assert!(check_body(unknown.to_string().as_bytes(), Sender::Controllers).is_err());
    }
}
