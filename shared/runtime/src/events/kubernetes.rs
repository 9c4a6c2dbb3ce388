//! Events as Kubernetes objects (RT-EVT-002).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flux_objects::{Error, Objects};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;
use tracing::level_filters::LevelFilter;

use super::correlate::{Correlator, Sort, Verdict};
use super::seconds;

/// How often one event is written at most, and the pause between attempts (RT-EVT-018).
const ATTEMPTS: u32 = 12;
const PAUSE: Duration = Duration::from_secs(10);

/// One occurrence.
pub(super) struct Entry {
    pub(super) subject: ObjectReference,
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) time: Timestamp,
}

/// Writes the entries that arrive, until the senders are dropped. Each entry is subtracted from `unwritten` when it is
/// finished.
pub(super) async fn write(
    client: Client,
    controller: &'static str,
    mut entries: mpsc::Receiver<Entry>,
    unwritten: Arc<AtomicUsize>,
) {
    let mut correlator = Correlator::<String>::new();
    while let Some(entry) = entries.recv().await {
        log(&entry);
        let events = Objects::in_namespace(client.clone(), entry.namespace());
        let sort = entry.sort();
        // Judged once, regardless of retries: one occurrence counts once.
        let mut verdict = correlator.judge(&sort, entry.message.clone(), entry.time);
        for attempt in 1..=ATTEMPTS {
            let written = match &events {
                Ok(events) => write_one(events, controller, &entry, &verdict).await,
                Err(error) => Err(error.clone().into()),
            };
            match written {
                Ok(Written::Nothing) => break,
                Ok(Written::Created(message, id)) => {
                    correlator.wrote(&sort, &message, id);
                    break;
                }
                Ok(Written::Lost(message)) => {
                    // Events live for an hour: this one has expired, and a new one begins.
                    correlator.lost(&sort, &message);
                    verdict = Verdict::Create(message);
                }
                Err(error) if is_moot(&error) => break,
                Err(error) if attempt == ATTEMPTS || !may_pass(&error) => {
                    tracing::error!(
                        logger = "events",
                        error = crate::outcome::chain(&error),
                        "unable to write Kubernetes event"
                    );
                    break;
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
        unwritten.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Entry {
    /// The namespace of the event: that of its object, or the default namespace if the object has no namespace.
    fn namespace(&self) -> &str {
        let own = self.subject.namespace.as_deref().unwrap_or_default();
        if own.is_empty() { "default" } else { own }
    }

    fn sort(&self) -> Sort {
        let object = [
            &self.subject.uid,
            &self.subject.api_version,
            &self.subject.kind,
            &self.subject.name,
        ]
        .map(|part| part.as_deref().unwrap_or_default())
        .join("/");
        Sort {
            object: format!("{}/{object}", self.namespace()),
            warning: self.warning,
            reason: self.reason,
        }
    }

    fn kind(&self) -> &'static str {
        if self.warning { "Warning" } else { "Normal" }
    }
}

/// Logs what is sent to the API (RT-LOG-012).
pub(super) fn log(entry: &Entry) {
    if LevelFilter::current() < LevelFilter::DEBUG {
        return;
    }
    let kv = json!({"object": entry.subject}).to_string();
    tracing::debug!(
        logger = "events",
        "type" = entry.kind(),
        kv,
        reason = entry.reason,
        "{}",
        entry.message
    );
}

/// Whether a retry may succeed: the server was not reached, or is overloaded.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Invalid(_) => false,
        Error::Request(_) => error.code().is_none_or(|code| code == 429 || code >= 500),
    }
}

/// Whether a retry is pointless: the event exists already, or its namespace is being deleted.
fn is_moot(error: &Error) -> bool {
    let Error::Request(kube::Error::Api(status)) = error else {
        return false;
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    status.is_already_exists()
        || causes
            .into_iter()
            .any(|cause| cause.reason == "NamespaceTerminating")
}

/// The result of one write.
enum Written {
    /// There was nothing to do, or one more occurrence was counted.
    Nothing,
    /// A new event with this message was created under this name.
    Created(String, String),
    /// The event to be counted is gone; this message needs a new one.
    Lost(String),
}

async fn write_one(
    events: &Objects<Event>,
    controller: &'static str,
    entry: &Entry,
    verdict: &Verdict<String>,
) -> Result<Written, Error> {
    match verdict {
        Verdict::Drop => Ok(Written::Nothing),
        Verdict::Create(message) => {
            let new = event(controller, entry, message);
            let made = events.create(&PostParams::default(), &new).await?;
            Ok(Written::Created(message.clone(), made.name_any()))
        }
        Verdict::Count { id, count, message } => {
            let time = seconds(entry.time);
            let body = json!({"count": count, "lastTimestamp": time, "message": message});
            let params = PatchParams::default();
            match events.patch(id, &params, &Patch::Merge(&body)).await {
                Ok(_) => Ok(Written::Nothing),
                Err(error) if error.is_not_found() => Ok(Written::Lost(message.clone())),
                Err(error) => Err(error),
            }
        }
    }
}

fn event(controller: &str, entry: &Entry, message: &str) -> Event {
    let subject = entry.subject.name.as_deref().unwrap_or_default();
    let time = Time(Timestamp::from_second(entry.time.as_second()).unwrap_or(entry.time));
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{subject}.{:x}", entry.time.as_nanosecond())),
            namespace: Some(entry.namespace().to_owned()),
            annotations: (!entry.annotations.is_empty()).then(|| entry.annotations.clone()),
            ..ObjectMeta::default()
        },
        involved_object: entry.subject.clone(),
        type_: Some(entry.kind().to_owned()),
        reason: Some(entry.reason.to_owned()),
        message: Some(message.to_owned()),
        source: Some(EventSource {
            component: Some(controller.to_owned()),
            host: None,
        }),
        reporting_component: Some(controller.to_owned()),
        count: Some(1),
        first_timestamp: Some(time.clone()),
        last_timestamp: Some(time),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use http::Request;
    use kube::client::Body;
    use serde_json::Value;

    use super::*;

    #[test]
    fn event_fields_match_upstream() {
        // RT-EVT-002, SC-PROC-080
        let entry = Entry {
            subject: ObjectReference {
                name: Some("repo".into()),
                namespace: Some("apps".into()),
                ..ObjectReference::default()
            },
            warning: true,
            reason: "GitOperationFailed",
            message: "m".into(),
            annotations: BTreeMap::new(),
            time: Timestamp::from_nanosecond(0x1234_5678_9abc_def0).unwrap(),
        };
        let event = event("source-controller", &entry, "m");
        assert_eq!(
            event.metadata.name.as_deref(),
            Some("repo.123456789abcdef0")
        );
        assert_eq!(event.type_.as_deref(), Some("Warning"));
        assert_eq!(event.source.unwrap().component, event.reporting_component);
        assert_eq!(
            (event.count, event.first_timestamp),
            (Some(1), event.last_timestamp)
        );
    }

    fn entry(message: &str) -> Entry {
        Entry {
            subject: ObjectReference {
                name: Some("repo".into()),
                namespace: Some("apps".into()),
                ..ObjectReference::default()
            },
            warning: false,
            reason: "NewArtifact",
            message: message.into(),
            annotations: BTreeMap::new(),
            time: Timestamp::UNIX_EPOCH,
        }
    }

    /// The requests to an API server: method, path and the body's count.
    type Asked = Arc<Mutex<Vec<(String, String, Option<i64>)>>>;

    /// A client of an API server that answers with these statuses in order, and with 201 after them.
    fn api(statuses: &[u16], cause: Option<&'static str>) -> (Client, Asked) {
        let asked = Asked::default();
        let log = asked.clone();
        let statuses = Arc::new(Mutex::new(
            statuses.iter().copied().collect::<VecDeque<_>>(),
        ));
        let service = tower::service_fn(move |request: Request<Body>| {
            let (log, statuses) = (log.clone(), statuses.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await.unwrap_or_default();
                let mut object: Value = serde_json::from_slice(&body).unwrap_or_default();
                let asked = (
                    parts.method.to_string(),
                    parts.uri.path().to_owned(),
                    object["count"].as_i64(),
                );
                log.lock().unwrap().push(asked);
                if parts.method == http::Method::PATCH {
                    object = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "m"}, "involvedObject": {}});
                }
                let status = statuses.lock().unwrap().pop_front().unwrap_or(201);
                if status >= 400 {
                    object = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status,
                        "message": "no", "reason": "No", "details": {"causes": [{"reason": cause.unwrap_or_default(), "message": "", "field": ""}]}});
                }
                let answer = http::Response::builder().status(status);
                Ok::<_, std::convert::Infallible>(
                    answer
                        .body(Body::from(object.to_string().into_bytes()))
                        .unwrap(),
                )
            }
        });
        (Client::new(service, "default"), asked)
    }

    /// Writes these messages one after another, and returns how long that took.
    async fn written(client: Client, messages: &[&str]) -> Duration {
        let (sender, receiver) = mpsc::channel(10);
        let unwritten = Arc::new(AtomicUsize::new(messages.len()));
        for message in messages {
            sender.send(entry(message)).await.unwrap();
        }
        drop(sender);
        let started = tokio::time::Instant::now();
        write(client, "source-controller", receiver, unwritten.clone()).await;
        assert_eq!(unwritten.load(Ordering::SeqCst), 0);
        started.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn transient_write_failures_are_retried() {
        // RT-EVT-018
        for (statuses, cause, attempts, seconds) in [
            (&[][..], None, 1, 0),
            (&[500, 503, 429], None, 4, 30),
            (&[500; 20], None, 12, 110),
            (&[403], None, 1, 0),
            (&[409], None, 1, 0),
            (&[403], Some("NamespaceTerminating"), 1, 0),
        ] {
            let (client, asked) = api(statuses, cause);
            let took = written(client, &["m"]).await;
            let asked = asked.lock().unwrap().len();
            assert_eq!(
                (asked, took.as_secs()),
                (attempts, seconds),
                "{statuses:?} {cause:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_retried_write_does_not_increase_the_count() {
        // RT-EVT-016, RT-EVT-018
        let (client, asked) = api(&[201, 500, 500, 200, 404], None);
        written(client, &["m", "m", "m"]).await;
        let asked: Vec<_> = asked
            .lock()
            .unwrap()
            .iter()
            .map(|(method, _, count)| format!("{method} {}", count.unwrap_or_default()))
            .collect();
        // created, counted at the third attempt, and recreated when the server no longer had it
        assert_eq!(
            asked,
            [
                "POST 1", "PATCH 2", "PATCH 2", "PATCH 2", "PATCH 3", "POST 1"
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_created_in_the_namespace_of_the_object() {
        // RT-EVT-002
        let (client, asked) = api(&[], None);
        written(client, &["m"]).await;
        let paths: Vec<_> = asked
            .lock()
            .unwrap()
            .iter()
            .map(|(_, path, _)| path.clone())
            .collect();
        assert_eq!(paths, ["/api/v1/namespaces/apps/events"]);
        let lone = Entry {
            subject: ObjectReference::default(),
            ..entry("m")
        };
        assert_eq!(lone.namespace(), "default");
    }
}
