//! Takes an event to the services that Alerts name (NC-EVT-030 to NC-EVT-059).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use flux_api::notification::{Alert, Provider};
use flux_cluster::{Cluster, ObjectId};
use flux_errors::chain;
use flux_identity::Identities;
use flux_references::{ReadError, Reader};
use flux_runtime::events::{Recorder, Subject};
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout_at};

use super::LOGGER;
use super::journal::Entry;
use super::lines::{Attempt, Lines, Refusal, Turn, Turns};
use super::matching::{Complaint, Fit, Labels, is_for};
use super::metadata::combine;
use super::outcomes::{Outcome, Outcomes};
use super::selection::{Skip, skip, status_id};
use crate::event::Event;
use crate::provider::{self, ConfigError, Job, Mask, Posted, Secrets, Sender, Settings, Traces};

/// How long it may take to find out what is to be sent (NC-EVT-016).
const PREPARATION: Duration = Duration::from_secs(15);
/// Sends events to services.
pub(crate) struct Dispatcher {
    parts: Parts,
    /// The order of the events of each object, until their Alerts are known.
    objects: Turns<ObjectKey>,
    /// The order of the events of each object at each Provider.
    turns: Turns<(Key, ObjectKey)>,
    lines: Lines,
    posted: Posted,
    traces: Traces,
}

/// Kind, namespace and name of an object.
type ObjectKey = (String, String, String);

fn object_key(event: &Event) -> ObjectKey {
    let object = &event.involved_object;
    (
        object.kind.clone(),
        object.namespace.clone(),
        object.name.clone(),
    )
}

/// What dispatching needs.
pub(crate) struct Parts {
    /// The Alerts.
    pub(crate) alerts: Cache<Alert>,
    /// The Providers.
    pub(crate) providers: Cache<Provider>,
    /// The Secrets of Providers.
    pub(crate) secrets: Reader<Secret>,
    /// The tokens of GitHub Apps and of clouds.
    pub(crate) identities: Identities,
    /// Where Alerts' owners are told of failures.
    pub(crate) recorder: Recorder,
    /// Reads the labels of objects.
    pub(crate) cluster: Cluster,
    /// Whether Alerts get events of their own namespace only.
    pub(crate) no_cross_namespace: bool,
    /// What became of the events, counted.
    pub(crate) outcomes: Outcomes,
}

/// Why nothing is sent to the service of an Alert.
#[derive(Debug, thiserror::Error)]
enum DispatchError {
    #[error(
        "discarding event, access denied to cross-namespace sources: alert '{alert}' can't process event from '{object}', cross-namespace references have been blocked"
    )]
    Denied { alert: String, object: String },
    #[error("failed to read provider")]
    Provider(#[source] ReadError),
    #[error("failed to create commit status: {0}")]
    Status(String),
    #[error("failed to initialize notifier for provider '{name}'")]
    Secrets {
        name: String,
        #[source]
        source: ConfigError,
    },
    #[error("failed to initialize notifier for provider '{name}': failed to initialize notifier")]
    Notifier {
        name: String,
        #[source]
        source: ConfigError,
    },
    #[error("failed to initialize notifier for provider '{0}': context deadline exceeded")]
    Late(String),
}

/// Why an attempt has sent nothing.
#[derive(Clone, Copy)]
enum Unsent {
    /// The service is not told of such events.
    Skipped(Skip),
    /// It could not be found out what is to be sent.
    Failed,
}

impl Unsent {
    fn outcome(self) -> Outcome {
        match self {
            Self::Skipped(_) => Outcome::Skipped,
            Self::Failed => Outcome::Failed,
        }
    }
}

/// What is to be sent, by whom, and how long it may take.
struct Prepared {
    job: Job,
    sender: Sender,
    mask: Mask,
    timeout: Duration,
}

/// The labels of the involved object, read once.
struct ObjectLabels<'a> {
    cluster: &'a Cluster,
    event: &'a Event,
    read: OnceCell<Result<BTreeMap<String, String>, String>>,
}

impl Labels for ObjectLabels<'_> {
    async fn labels(&self) -> Result<BTreeMap<String, String>, String> {
        let read = self.read.get_or_init(|| async {
            let object = &self.event.involved_object;
            let version = object.api_version.rsplit('/').next().unwrap_or_default();
            let id = ObjectId {
                group: self.event.group().to_owned(),
                kind: object.kind.clone(),
                namespace: object.namespace.clone(),
                name: object.name.clone(),
            };
            let found = async {
                let resource = self.cluster.resource_of(&id, version).await?;
                self.cluster.get_metadata(&resource, &id).await
            };
            let found = found.await.map_err(|error| error.to_string())?;
            let labels = found.at(&["metadata", "labels"]);
            let labels = labels.and_then(serde_json::Value::as_object);
            Ok(labels
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect())
        });
        read.await.clone()
    }
}

impl Dispatcher {
    /// A dispatcher of these parts.
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts,
            objects: Turns::default(),
            turns: Turns::default(),
            lines: Lines::default(),
            posted: Posted::default(),
            traces: Traces::default(),
        }
    }

    /// The place of an event among those of its object. It is taken when the event is accepted.
    pub(super) async fn turn(&self, event: &Event) -> Turn {
        self.objects.take(object_key(event)).await
    }

    /// Sends an event to the services of all Alerts that it is for, and that `entry` does not name as served.
    pub(super) async fn dispatch(&self, event: Event, turn: Turn, entry: Entry) {
        let turn = turn.come().await;
        let about = json!({"eventInvolvedObject": event.involved_object.to_value()});
        let kv = about.to_string();
        let mut matched = self.alerts_for(&event).await;
        matched.retain(|alert| !entry.is_settled(&shown(alert)));
        if matched.is_empty() {
            tracing::info!(
                logger = LOGGER,
                kv,
                "discarding event, no alerts found for the involved object"
            );
            entry.finish();
            return;
        }
        let mut told = about.clone();
        told["message"] = json!(event.message);
        let told = told.to_string();
        tracing::info!(logger = LOGGER, kv = told, "dispatching event");
        // One after the other they would wait for the slowest service (NC-EVT-017).
        let (event, entry_of) = (&event, &entry);
        let sent = matched.iter().map(|alert| async move {
            let skip = self.dispatch_to(event, alert).await;
            entry_of.settle(&shown(alert));
            skip.map(|skip| (skip, shown(alert)))
        });
        let sent = {
            let mut sent = Box::pin(futures::future::join_all(sent));
            // Each has its place at its Provider once it was polled; then the next event of the object may come.
            let at_once = futures::poll!(&mut sent);
            drop(turn);
            match at_once {
                Poll::Ready(sent) => sent,
                Poll::Pending => sent.await,
            }
        };
        let skips: Vec<_> = sent.into_iter().flatten().collect();
        entry.finish();
        for (skip, message) in [
            (
                Skip::NoCommit,
                "event dropped for commit status providers due to missing commit metadata key",
            ),
            (
                Skip::NoChangeRequest,
                "event dropped for change request providers due to missing change request metadata key",
            ),
        ] {
            let alerts: Vec<&String> = skips
                .iter()
                .filter(|(other, _)| *other == skip)
                .map(|(_, alert)| alert)
                .collect();
            if !alerts.is_empty() {
                let mut told = about.clone();
                told["alerts"] = json!(alerts);
                let kv = told.to_string();
                tracing::info!(logger = LOGGER, kv, "{message}");
            }
        }
    }

    /// The Alerts that an event is for.
    async fn alerts_for(&self, event: &Event) -> Vec<Arc<Alert>> {
        let labels = ObjectLabels {
            cluster: &self.parts.cluster,
            event,
            read: OnceCell::new(),
        };
        let mut all = self.parts.alerts.all();
        all.sort_by_key(|alert| Key::of(&**alert));
        let mut matched = Vec::new();
        for alert in all {
            let mut complaints = Vec::new();
            match is_for(event, &alert, &labels, &mut complaints).await {
                Fit::Wanted => matched.push(alert.clone()),
                Fit::Filtered => self.parts.outcomes.count(&alert, Outcome::Excluded),
                Fit::Other => {}
            }
            for Complaint {
                reason,
                message,
                error,
            } in complaints
            {
                let kv = json!({"Alert": shown(&alert)}).to_string();
                tracing::error!(logger = LOGGER, kv, error, "{message}");
                self.tell(&alert, reason, &message);
            }
        }
        matched
    }

    /// Sends an event to the service of one Alert, or returns why that is not told of it.
    async fn dispatch_to(&self, event: &Event, alert: &Alert) -> Option<Skip> {
        let namespace = alert.namespace().unwrap_or_default();
        let provider = Key::new(&*namespace, &*alert.spec.provider_ref.name);
        let kv = json!({
            "eventInvolvedObject": event.involved_object.to_value(),
            "alert": {
                "name": alert.name_any(),
                "namespace": alert.namespace(),
                "providerName": alert.spec.provider_ref.name,
            },
        })
        .to_string();
        let kv = &*kv;
        let object = event.involved_object.shown();
        let failed = |error: &str| {
            tracing::error!(logger = LOGGER, kv, error, "failed to send notification");
            let message = format!("failed to send notification for {object}: {error}");
            self.tell(alert, "NotificationDispatchFailed", &message);
        };
        let skipped = Mutex::new(None);
        let attempt = || self.attempt(event, alert, kv, &skipped).boxed();
        let line = self.lines.of(&provider);
        // What waits for its turn counts, too: an object's events must not pile up behind one that hangs.
        let sent = match line.join() {
            None => Err(Refusal::Full),
            Some(waits) => {
                let turn = self.turns.take((provider.clone(), object_key(event)));
                let _turn = turn.await.come().await;
                let told = |error: &String| failed(error);
                line.send(waits, attempt, told).await
            }
        };
        let skip = skipped.into_inner().unwrap_or_else(PoisonError::into_inner);
        let outcome = match sent {
            Ok(()) => skip.map_or(Outcome::Sent, |skip: Unsent| skip.outcome()),
            Err(refusal) => {
                failed(&match refusal {
                    Refusal::Full => "too many events are waiting for the provider".to_owned(),
                    Refusal::Failed(error, 1) => error,
                    Refusal::Failed(error, attempts) => {
                        format!("{error}; gave up after {attempts} attempts")
                    }
                });
                Outcome::Failed
            }
        };
        self.parts.outcomes.count(alert, outcome);
        match skip {
            Some(Unsent::Skipped(skip)) => Some(skip),
            _ => None,
        }
    }

    /// One attempt to send an event. Why there is nothing to send is put into `unsent`.
    async fn attempt(
        &self,
        event: &Event,
        alert: &Alert,
        kv: &str,
        unsent: &Mutex<Option<Unsent>>,
    ) -> Attempt<String> {
        let put = |why| *unsent.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        let prepared = match self.prepare(event, alert).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(skip)) => {
                // FR-N-028
                tracing::debug!(
                    logger = LOGGER,
                    kv,
                    reason = skip.reason(),
                    "event is not sent"
                );
                put(Unsent::Skipped(skip));
                return Attempt::Done;
            }
            Err((error, mask)) => {
                let error = mask.apply(&chain(&error));
                tracing::error!(
                    logger = LOGGER,
                    kv,
                    error,
                    "failed to dispatch notification"
                );
                let object = event.involved_object.shown();
                let message = format!("failed to dispatch notification for {object}: {error}");
                self.tell(alert, "NotificationDispatchFailed", &message);
                put(Unsent::Failed);
                return Attempt::Done;
            }
        };
        let deadline = Instant::now() + prepared.timeout;
        match prepared.job.run(&prepared.sender, deadline).await {
            Ok(()) => Attempt::Done,
            Err(error) => {
                let text = prepared.mask.apply(&chain(&error));
                if error.may_pass() {
                    Attempt::Later(text)
                } else {
                    Attempt::Failed(text)
                }
            }
        }
    }

    /// Finds out what is to be sent. An error comes with what has to be removed from its text.
    async fn prepare(
        &self,
        event: &Event,
        alert: &Alert,
    ) -> Result<Result<Prepared, Skip>, (DispatchError, Mask)> {
        let plain = |error| (error, Mask::default());
        let namespace = alert.namespace().unwrap_or_default();
        // NC-EVT-040
        if self.parts.no_cross_namespace && event.involved_object.namespace != namespace {
            return Err(plain(DispatchError::Denied {
                alert: shown(alert),
                object: event.involved_object.shown(),
            }));
        }
        // NC-EVT-041
        let key = Key::new(&*namespace, &*alert.spec.provider_ref.name);
        let provider = Reader::Cached(self.parts.providers.clone()).get(&key).await;
        let provider = provider.map_err(|error| plain(DispatchError::Provider(error)))?;
        if let Some(skip) = skip(event, &provider) {
            return Ok(Err(skip));
        }
        // NC-EVT-032, NC-EVT-047
        let mut event = event.clone();
        self.combine(&mut event, alert);
        let (status, is_custom) = status_id(&event, &provider, alert)
            .map_err(|error| plain(DispatchError::Status(error)))?;
        let name = provider.name_any();
        let deadline = Instant::now() + PREPARATION;
        let prepared = self.prepare_job(&event, alert, &provider, (status, is_custom), deadline);
        match timeout_at(deadline, prepared).await {
            Ok(Ok(prepared)) => Ok(Ok(prepared)),
            Ok(Err((source, mask))) if source.is_of_secrets() => {
                Err((DispatchError::Secrets { name, source }, mask))
            }
            Ok(Err((source, mask))) => Err((DispatchError::Notifier { name, source }, mask)),
            Err(_) => Err(plain(DispatchError::Late(name))),
        }
    }

    async fn prepare_job(
        &self,
        event: &Event,
        alert: &Alert,
        provider: &Provider,
        (status, is_custom): (String, bool),
        deadline: Instant,
    ) -> Result<Prepared, (ConfigError, Mask)> {
        let plain = |error| (error, Mask::default());
        let secrets = Secrets::read(&self.parts.secrets, provider)
            .await
            .map_err(plain)?;
        let settings = Settings::new(provider, &secrets).map_err(plain)?;
        let settings = settings.with_status(status, is_custom);
        let namespace = alert.namespace().unwrap_or_default();
        let uid = alert.uid().unwrap_or_default();
        let mut settings = settings.with_alert(&namespace, &alert.name_any(), &uid);
        let mask = settings.mask();
        let masked = |error| (error, mask.clone());
        let sender = Sender::new(&settings).map_err(masked)?;
        let uid = provider.uid().unwrap_or_default();
        let posted = self.posted.of(&uid, settings.status_id());
        let sender = sender.knowing(posted, self.traces.clone());
        if let Some(app) = settings.wanted_app() {
            let app = flux_cloud::GitHubApp::new(app.clone());
            let app = app.map_err(|error| masked(error.into()))?;
            let token = self
                .parts
                .identities
                .tokens()
                .get(provider, app.cache_key(), || app.token(sender.client()))
                .await
                .map_err(|error| masked(error.into()))?;
            settings = settings.with_app_token(token.value);
        }
        if let Some(cloud) = settings.wanted_cloud() {
            let account = provider.spec.service_account_name.as_deref();
            let identity = self
                .parts
                .identities
                .of(provider, account, &settings.proxy());
            let identity = identity.map_err(|error| masked(ConfigError::Client(error)))?;
            let token = settings
                .cloud_token(&identity, cloud)
                .await
                .map_err(masked)?;
            settings = settings.with_cloud_token(token);
        }
        let mask = settings.mask();
        let job = provider::prepare(&settings, event, &sender, deadline).await;
        Ok(Prepared {
            job: job.map_err(|error| (error, mask.clone()))?,
            sender,
            mask,
            timeout: settings.timeout(),
        })
    }

    /// Combines the metadata of an event with that of an Alert, and tells of conflicts (NC-EVT-035).
    fn combine(&self, event: &mut Event, alert: &Alert) {
        let summary = alert.spec.summary.as_deref().unwrap_or_default();
        if !summary.is_empty() {
            // NC-EVT-037
            tracing::info!(
                logger = LOGGER,
                "warning: specifying an alert summary with '.spec.summary' is deprecated, use '.spec.eventMetadata.summary' instead"
            );
        }
        let conflicts = combine(event, &alert.spec);
        if conflicts.is_empty() {
            return;
        }
        let message = "metadata key conflicts detected (please refer to the Alert API docs and Flux RFC 0008 for more information)";
        let list: Vec<_> = conflicts
            .iter()
            .map(|(key, sources)| json!({"key": key, "sources": sources}))
            .collect();
        let kv = json!({"Alert": shown(alert), "conflictingKeys": list}).to_string();
        tracing::info!(logger = LOGGER, kv, "{message}");
        let annotations = conflicts.into_iter();
        let annotations = annotations.map(|(key, sources)| (key, sources.join(", ")));
        let subject = Subject::of(alert);
        let reason = "MetadataAppendFailed";
        self.parts
            .recorder
            .warn_annotated(&subject, reason, message, &annotations.collect());
    }

    /// Tells the owner of an Alert (NC-EVT-052, NC-EVT-053).
    fn tell(&self, alert: &Alert, reason: &'static str, message: &str) {
        let subject = Subject::of(alert);
        self.parts
            .recorder
            .warn_annotated(&subject, reason, message, &BTreeMap::new());
    }
}

fn shown(alert: &Alert) -> String {
    format!(
        "{}/{}",
        alert.namespace().unwrap_or_default(),
        alert.name_any()
    )
}
