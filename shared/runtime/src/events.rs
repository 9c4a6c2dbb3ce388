//! Events: to Kubernetes, and to the notification-controller (RT-EVT rows).
//!
//! Both are written outside the reconcile, in order for each object, so that a notification-controller that does not
//! answer delays no reconcile (RT-EVT-010).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use flux_http::{ClientOptions, Repeat, shown_url};
use http::header::USER_AGENT;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;
use tracing::level_filters::LevelFilter;

use crate::action::Action;

mod correlate;
mod kubernetes;

/// Annotations with this prefix are copied into every event of the object (RT-EVT-014).
const ANNOTATION_PREFIX: &str = "event.toolkit.fluxcd.io/";
/// How many Kubernetes events may be queued; further ones are dropped (RT-EVT-018).
const MAX_QUEUED: usize = 1_000;
/// How many events of one object may be queued for the notification-controller; beyond that the oldest is dropped.
const MAX_POSTS: usize = 100;
/// The user agent that upstream's controllers send to the notification-controller: Go's default.
const AGENT: &str = "Go-http-client/1.1";
/// Attempts to post one event (RT-EVT-007).
const POST_ATTEMPTS: u32 = 5;
/// Timeout of one attempt.
const POST_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest pause between attempts, whether it is chosen here or requested by the receiver.
const MAX_PAUSE: Duration = Duration::from_secs(30);
const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);

/// The severity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Normal operation.
    Info,
    /// A failure: a Warning in Kubernetes.
    Error,
    /// Routine: in Kubernetes only (RT-EVT-003).
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
            reference: ObjectReference {
                resource_version: object.resource_version(),
                ..object.object_ref(&())
            },
            group: K::group(&()).into_owned(),
            annotations: annotations
                .filter(|(key, _)| key.starts_with(ANNOTATION_PREFIX))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
        }
    }
}

impl Subject {
    /// The same object at another resource version.
    pub(crate) fn at(mut self, resource_version: &str) -> Self {
        if !resource_version.is_empty() {
            self.reference.resource_version = Some(resource_version.to_owned());
        }
        self
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub struct What {
    /// Why it happened or why it is reported, as one word.
    pub reason: &'static str,
    /// In which step.
    pub action: Action,
    /// The text for users.
    pub message: String,
}

impl What {
    /// Something outside the steps of a reconcile.
    pub fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            action: Action::default(),
            message: message.into(),
        }
    }
}

/// The body of a post to the notification-controller (RT-EVT-004, RT-EVT-020).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Post {
    involved_object: ObjectReference,
    severity: &'static str,
    timestamp: String,
    message: String,
    reason: &'static str,
    action: &'static str,
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
    /// How many Kubernetes events are queued and not written yet.
    unwritten: Arc<AtomicUsize>,
    posts: Option<Posts>,
    tasks: TaskTracker,
}

struct Posts {
    url: String,
    client: reqwest::Client,
    /// The pause before the first retry; doubled before each further one.
    pause: Duration,
    waiting: Mutex<HashMap<String, VecDeque<Post>>>,
}

/// Why a recorder could not be created.
#[derive(Debug, thiserror::Error)]
pub enum RecorderError {
    /// `--events-addr` is not a URL. It is not shown, since it may contain a password.
    #[error("invalid events address")]
    Address(#[source] url::ParseError),
    /// The HTTP client cannot be created.
    #[error("unable to create the events client")]
    Client(#[source] flux_http::BuildError),
}

impl Recorder {
    /// Creates a recorder for `controller`. `address` is that of the notification-controller; without it, events go to
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
                url::Url::parse(address).map_err(RecorderError::Address)?;
                // Proxies from the environment and the system's certificate authorities, as for every other request
                // (RT-ENV-004).
                let options = ClientOptions {
                    timeout: Some(POST_TIMEOUT),
                    ..ClientOptions::default()
                };
                Ok(Posts {
                    url: address.to_owned(),
                    client: options.build().map_err(RecorderError::Client)?,
                    pause: Duration::from_secs(1),
                    waiting: Mutex::default(),
                })
            })
            .transpose()?;
        let (sender, receiver) = mpsc::channel(MAX_QUEUED);
        let tasks = TaskTracker::new();
        let unwritten = Arc::<AtomicUsize>::default();
        tasks.spawn(kubernetes::write(
            client,
            controller,
            receiver,
            unwritten.clone(),
        ));
        Ok(Self {
            shared: Arc::new(Shared {
                controller,
                instance,
                kubernetes: sender,
                unwritten,
                posts,
                tasks,
            }),
        })
    }

    /// Records one event. Metadata keys are given without the kind's group, which is prepended (RT-EVT-012).
    pub fn record(
        &self,
        subject: &Subject,
        severity: Severity,
        what: What,
        metadata: &BTreeMap<&'static str, String>,
    ) {
        let What {
            reason,
            action,
            message,
        } = what;
        let mut annotations: BTreeMap<String, String> = metadata
            .iter()
            .map(|(key, value)| (format!("{}/{key}", subject.group), value.clone()))
            .collect();
        annotations.extend(subject.annotations.clone());
        let warning = severity == Severity::Error;
        self.write(subject, warning, reason, &message, &annotations);
        log(&subject.reference, warning, reason, &message, &annotations);
        let Some(posts) = &self.shared.posts else {
            return;
        };
        if severity == Severity::Trace {
            return;
        }
        let object = &subject.reference;
        for (what, part) in [
            ("kind", &object.kind),
            ("name", &object.name),
            ("namespace", &object.namespace),
        ] {
            if part.as_deref().unwrap_or_default().is_empty() {
                give_up(object, &format!("failed to get object {what}"));
                return; // RT-EVT-011
            }
        }
        let post = Post {
            involved_object: object.clone(),
            severity: if warning { "error" } else { "info" },
            timestamp: seconds(Timestamp::now()),
            message,
            reason,
            action: action.as_str(),
            metadata: annotations,
            reporting_controller: self.shared.controller,
            reporting_instance: self.shared.instance.clone(),
        };
        self.enqueue(posts, post);
    }

    /// Records one event in Kubernetes only, with these annotations as they are (NC-EVT-035).
    pub fn warn_annotated(
        &self,
        subject: &Subject,
        reason: &'static str,
        message: &str,
        annotations: &BTreeMap<String, String>,
    ) {
        self.write(subject, true, reason, message, annotations);
    }

    /// Queues one event for Kubernetes.
    fn write(
        &self,
        subject: &Subject,
        warning: bool,
        reason: &'static str,
        message: &str,
        annotations: &BTreeMap<String, String>,
    ) {
        let entry = kubernetes::Entry {
            subject: subject.reference.clone(),
            warning,
            reason,
            message: message.to_owned(),
            annotations: annotations.clone(),
            time: Timestamp::now(),
        };
        self.shared.unwritten.fetch_add(1, Ordering::SeqCst);
        if self.shared.kubernetes.try_send(entry).is_err() {
            self.shared.unwritten.fetch_sub(1, Ordering::SeqCst);
            tracing::debug!(
                logger = "events",
                reason,
                "the event queue is full, dropping an event"
            );
        }
    }

    fn enqueue(&self, posts: &Posts, post: Post) {
        let subject = post.involved_object.clone();
        let key = subject.uid.clone().unwrap_or_default();
        let first = {
            let mut waiting = posts.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = waiting.entry(key.clone()).or_default();
            queue.push_back(post);
            if queue.len() > MAX_POSTS {
                queue.remove(1); // the first is being sent
                give_up(&subject, "too many events of one object wait");
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

    /// Waits until all recorded events have been written, for at most `limit`.
    pub async fn flush(&self, limit: Duration) {
        self.shared.tasks.close();
        let idle = async {
            while self.shared.unwritten.load(Ordering::SeqCst) > 0 || self.posts_wait() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(limit, idle).await.is_err() {
            tracing::error!(logger = "events", "events were not sent before shutdown");
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
    /// Posts one event, and logs a failure (RT-EVT-009).
    async fn send(&self, post: &Post) {
        if let Err(error) = self.deliver(post).await {
            give_up(&post.involved_object, &error);
        }
    }

    /// Posts one event, with retries while these may help (RT-EVT-007, RT-EVT-008). The error is upstream's text.
    async fn deliver(&self, post: &Post) -> Result<(), String> {
        let mut attempts = 0;
        // The error of the last attempt, unless it got a response.
        let mut last = None;
        for attempt in 0..POST_ATTEMPTS {
            attempts += 1;
            let mut wanted = None;
            // Posting an event twice is harmless: the receiver recognises duplicates (RT-EVT-008).
            let request = self.client.post(&self.url).header(USER_AGENT, AGENT);
            match flux_http::send(request.json(post), Repeat::Idempotent).await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    if !may_pass(status) {
                        return Ok(()); // taken, or refused for good: 429 means that it is a duplicate
                    }
                    last = None;
                    let header = answer.headers().get("retry-after");
                    wanted = header
                        .filter(|_| status == 503)
                        .and_then(|value| retry_after(value.to_str().ok()?, SystemTime::now()));
                }
                Err(error) => {
                    let hopeless = !error.may_pass();
                    last = Some(error);
                    if hopeless {
                        break;
                    }
                }
            }
            if attempt + 1 < POST_ATTEMPTS {
                let own = self.pause.saturating_mul(1 << attempt).min(MAX_PAUSE);
                tokio::time::sleep(wanted.unwrap_or(own)).await;
            }
        }
        let url = url::Url::parse(&self.url).map(|url| shown_url(&url));
        let url = url.unwrap_or_default();
        let mut text = format!("POST {url} giving up after {attempts} attempt(s)");
        if let Some(error) = last {
            let _ = write!(text, ": {error}");
        }
        Err(text)
    }
}

/// Whether a retry after a response with this status may succeed (RT-EVT-007).
fn may_pass(status: u16) -> bool {
    (status >= 500 && status != 501) || status == 0
}

/// The delay that `Retry-After` asks for: in seconds, or until a date.
fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let wait = match value.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(value)
            .ok()?
            .duration_since(now)
            .unwrap_or_default(),
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

/// Logs an event if the level is trace (RT-LOG-011).
fn log(
    object: &ObjectReference,
    warning: bool,
    reason: &str,
    message: &str,
    annotations: &BTreeMap<String, String>,
) {
    if LevelFilter::current() < LevelFilter::TRACE {
        return;
    }
    let name = object.name.as_deref().unwrap_or_default();
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let kind = object.kind.as_deref().unwrap_or_default();
    let kv = serde_json::json!({"annotations": annotations}).to_string();
    // Outside the reconcile's span: the line has the object's keys, not the reconcile's.
    if warning {
        tracing::error!(parent: None, name, namespace, "reconciler kind" = kind, error = reason, kv, "{message}");
    } else {
        tracing::info!(parent: None, name, namespace, "reconciler kind" = kind, reason, kv, "{message}");
    }
}

/// Logs an event that was not delivered to the notification-controller (RT-EVT-009).
fn give_up(object: &ObjectReference, error: &str) {
    tracing::error!(
        parent: None,
        name = object.name.as_deref().unwrap_or_default(),
        namespace = object.namespace.as_deref().unwrap_or_default(),
        "reconciler kind" = object.kind.as_deref().unwrap_or_default(),
        error,
        "unable to record event"
    );
}

/// A time in the API's format: RFC 3339, UTC, whole seconds.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests;
