//! Events: to Kubernetes, and to the notification-controller (RT-EVT rows).
//!
//! Both are written beside the reconcile, in order for each object, so that a notification-controller that does not
//! answer holds up nobody (RT-EVT-010).

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

mod correlate;
mod kubernetes;

/// Annotations with this prefix are copied into every event of the object (RT-EVT-014).
const ANNOTATION_PREFIX: &str = "event.toolkit.fluxcd.io/";
/// Events to Kubernetes that wait; more are dropped (RT-EVT-018).
const MAX_QUEUED: usize = 1_000;
/// Events of one object that wait for the notification-controller; then the oldest is given up.
const MAX_POSTS: usize = 100;
/// Attempts to post one event (RT-EVT-007).
const POST_ATTEMPTS: u32 = 5;

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// News.
    Info,
    /// Trouble: a warning in Kubernetes.
    Error,
    /// Routine: for Kubernetes only (RT-EVT-003).
    Trace,
}

/// The object that an event is about.
#[derive(Clone, Debug)]
pub struct Subject {
    reference: ObjectReference,
    group: String,
    annotations: BTreeMap<String, String>,
}

impl Subject {
    /// The object, as a reference with its annotations for events.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        let annotations = object.annotations().iter();
        Self {
            reference: object.object_ref(&()),
            group: K::group(&()).into_owned(),
            annotations: annotations
                .filter(|(key, _)| key.starts_with(ANNOTATION_PREFIX))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        }
    }
}

/// The body that the notification-controller gets (RT-EVT-004).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Post {
    involved_object: ObjectReference,
    severity: &'static str,
    timestamp: String,
    message: String,
    reason: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    reporting_controller: &'static str,
    reporting_instance: String,
}

/// Writes events. Clones share the queues.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    controller: &'static str,
    instance: String,
    kubernetes: mpsc::Sender<kubernetes::Entry>,
    posts: Option<Posts>,
    tasks: TaskTracker,
}

struct Posts {
    url: String,
    client: reqwest::Client,
    /// Before the first retry; doubled before each further one.
    pause: Duration,
    waiting: Mutex<HashMap<String, VecDeque<Post>>>,
}

/// Why a recorder could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// `--events-addr` is not a URL.
    #[error("invalid events address '{0}'")]
    Address(String, #[source] url::ParseError),
    /// No HTTP client.
    #[error("unable to create the events client")]
    Client(#[source] reqwest::Error),
}

impl Recorder {
    /// A recorder for `controller`. `address` is where the notification-controller listens; without one events go to
    /// Kubernetes only (SC-PROC-003). Must be called within a tokio runtime.
    pub fn new(
        client: Client,
        controller: &'static str,
        instance: String,
        address: Option<&str>,
    ) -> Result<Self, RecorderError> {
        let posts = address
            .filter(|address| !address.is_empty())
            .map(|address| {
                url::Url::parse(address)
                    .map_err(|error| RecorderError::Address(address.to_owned(), error))?;
                let client = reqwest::Client::builder()
                    .timeout(Duration::from_secs(5))
                    .build()
                    .map_err(RecorderError::Client)?;
                Ok(Posts {
                    url: address.to_owned(),
                    client,
                    pause: Duration::from_secs(1),
                    waiting: Mutex::default(),
                })
            })
            .transpose()?;
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        let tasks = TaskTracker::new();
        tasks.spawn(kubernetes::write(client, controller, receiver));
        Ok(Self {
            shared: Arc::new(Shared {
                controller,
                instance,
                kubernetes: sender,
                posts,
                tasks,
            }),
        })
    }

    /// Records one event. Metadata keys come without the kind's group, which is put before them (RT-EVT-012).
    pub fn record(
        &self,
        subject: &Subject,
        severity: Severity,
        reason: &'static str,
        message: String,
        metadata: &BTreeMap<&'static str, String>,
    ) {
        let mut annotations: BTreeMap<String, String> = metadata
            .iter()
            .map(|(key, value)| (format!("{}/{key}", subject.group), value.clone()))
            .collect();
        annotations.extend(subject.annotations.clone());
        let warning = severity == Severity::Error;
        let entry = kubernetes::Entry {
            subject: subject.reference.clone(),
            warning,
            reason,
            message: message.clone(),
            annotations: annotations.clone(),
            time: Timestamp::now(),
        };
        if self.shared.kubernetes.try_send(entry).is_err() {
            tracing::debug!(
                logger = "events",
                reason,
                "too many events wait, one is dropped"
            );
        }
        if warning {
            tracing::trace!(logger = "events", error = reason, "{message}");
        } else {
            tracing::trace!(logger = "events", reason, "{message}");
        }
        let Some(posts) = &self.shared.posts else {
            return;
        };
        if severity == Severity::Trace {
            return;
        }
        let object = &subject.reference;
        if [&object.kind, &object.name, &object.namespace]
            .iter()
            .any(|part| part.as_deref().unwrap_or_default().is_empty())
        {
            tracing::error!(
                logger = "events",
                reason,
                "object of the event has no kind, name or namespace"
            );
            return; // RT-EVT-011
        }
        let post = Post {
            involved_object: object.clone(),
            severity: if warning { "error" } else { "info" },
            timestamp: seconds(Timestamp::now()),
            message,
            reason,
            metadata: annotations,
            reporting_controller: self.shared.controller,
            reporting_instance: self.shared.instance.clone(),
        };
        self.enqueue(posts, post);
    }

    fn enqueue(&self, posts: &Posts, post: Post) {
        let key = post.involved_object.uid.clone().unwrap_or_default();
        let first = {
            let mut waiting = posts.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = waiting.entry(key.clone()).or_default();
            queue.push_back(post);
            if queue.len() > MAX_POSTS {
                queue.remove(1); // the first is being sent
                tracing::error!(
                    logger = "events",
                    error = "too many events of one object wait",
                    "unable to record event"
                );
            }
            queue.len() == 1
        };
        if first {
            let shared = self.shared.clone();
            self.shared.tasks.spawn(async move {
                let Some(posts) = &shared.posts else { return };
                loop {
                    let next = posts
                        .waiting
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get(&key)
                        .and_then(|queue| queue.front().cloned());
                    let Some(post) = next else { break };
                    posts.send(&post).await;
                    let mut waiting = posts.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(queue) = waiting.get_mut(&key) {
                        queue.pop_front();
                        if queue.is_empty() {
                            waiting.remove(&key);
                            break;
                        }
                    }
                }
            });
        }
    }

    /// Waits until what was recorded has been written, at most `limit`.
    pub async fn flush(&self, limit: Duration) {
        self.shared.tasks.close();
        let idle = async {
            while self.shared.kubernetes.capacity() < MAX_QUEUED || self.posts_wait() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(limit, idle).await.is_err() {
            tracing::error!(logger = "events", "events were left unsent at the end");
        }
    }

    fn posts_wait(&self) -> bool {
        let posts = self.shared.posts.as_ref();
        posts.is_some_and(|posts| {
            !posts
                .waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty()
        })
    }
}

impl Posts {
    /// Posts one event, trying again while that may help (RT-EVT-007..009).
    async fn send(&self, post: &Post) {
        let mut delay = self.pause;
        let mut last = String::new();
        for attempt in 1..=POST_ATTEMPTS {
            match self.client.post(&self.url).json(post).send().await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    if status == 501 || (1..500).contains(&status) {
                        return; // taken, or refused for good: 429 means that it is a duplicate (RT-EVT-008)
                    }
                    last = format!("event receiver answered with status {status}");
                    let wanted = answer
                        .headers()
                        .get("retry-after")
                        .and_then(|value| value.to_str().ok()?.parse().ok());
                    delay = wanted.map_or(delay, |seconds| delay.max(Duration::from_secs(seconds)));
                }
                Err(error) => {
                    last = crate::outcome::chain(&error);
                    if error.is_builder() || error.is_redirect() {
                        break;
                    }
                }
            }
            if attempt < POST_ATTEMPTS {
                tokio::time::sleep(delay.min(Duration::from_secs(30))).await;
                delay *= 2;
            }
        }
        tracing::error!(logger = "events", error = last, "unable to record event");
    }
}

/// A time as the API writes it: RFC 3339, UTC, whole seconds.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn posts_have_upstreams_form() {
        // RT-EVT-004, SC-PROC-081
        let post = Post {
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
            timestamp: seconds(Timestamp::from_second(0).unwrap()),
            message: "stored artifact".into(),
            reason: "NewArtifact",
            metadata: BTreeMap::new(),
            reporting_controller: "source-controller",
            reporting_instance: "pod-1".into(),
        };
        assert_eq!(
            serde_json::to_value(&post).unwrap(),
            serde_json::json!({
                "involvedObject": {"kind": "GitRepository", "namespace": "apps", "name": "repo", "uid": "u",
                    "apiVersion": "source.toolkit.fluxcd.io/v1", "resourceVersion": "7"},
                "severity": "info", "timestamp": "1970-01-01T00:00:00Z", "message": "stored artifact",
                "reason": "NewArtifact", "reportingController": "source-controller", "reportingInstance": "pod-1",
            })
        );
    }

    /// A receiver that answers with these statuses, the last one for ever, and counts.
    async fn receiver(statuses: &'static [u16]) -> (String, Arc<std::sync::atomic::AtomicUsize>) {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let _ = rustls::crypto::ring::default_provider().install_default();
        let count = Arc::new(AtomicUsize::new(0));
        let counter = count.clone();
        let answer = axum::routing::post(async move || {
            let at = counter
                .fetch_add(1, Ordering::SeqCst)
                .min(statuses.len() - 1);
            axum::http::StatusCode::from_u16(statuses[at]).unwrap()
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, axum::Router::new().route("/", answer)).await });
        (url, count)
    }

    fn posts(url: String) -> Posts {
        Posts {
            url,
            client: reqwest::Client::new(),
            pause: Duration::from_millis(1),
            waiting: Mutex::default(),
        }
    }

    fn post() -> Post {
        Post {
            involved_object: ObjectReference::default(),
            severity: "info",
            timestamp: seconds(Timestamp::UNIX_EPOCH),
            message: "m".into(),
            reason: "R",
            metadata: BTreeMap::new(),
            reporting_controller: "source-controller",
            reporting_instance: "pod-1".into(),
        }
    }

    #[tokio::test]
    async fn posts_are_tried_again_while_that_may_help() {
        // RT-EVT-006, RT-EVT-007, RT-EVT-008, RT-EVT-009, SC-PROC-082, KC-EVT-009
        for (statuses, attempts) in [
            (&[200][..], 1),
            (&[500, 503, 200], 3),
            (&[500], 5),
            (&[501], 1),
            (&[429], 1),
            (&[404], 1),
        ] {
            let (url, count) = receiver(statuses).await;
            posts(url).send(&post()).await;
            let counted = count.load(std::sync::atomic::Ordering::SeqCst);
            assert_eq!(counted, attempts, "{statuses:?}");
        }
    }

    #[test]
    fn event_annotations_of_the_object_are_taken_along() {
        // RT-EVT-014, RT-ANN-005, SC-PROC-084
        let mut object = ConfigMap::default();
        let annotations = [
            ("event.toolkit.fluxcd.io/change_request", "7"),
            ("other", "x"),
        ];
        object.metadata.annotations = Some(
            annotations
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        );
        let subject = Subject::of(&object);
        assert_eq!(
            subject.annotations,
            BTreeMap::from([(
                "event.toolkit.fluxcd.io/change_request".to_owned(),
                "7".to_owned()
            )])
        );
    }
}
