//! One reconcile of one object: what the frame hands to a [`Reconciler`](crate::Reconciler).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::conditions::{Conditions, PROGRESSING, READY, Status};
use crate::controller::Settings;
use crate::events::{Recorder, Severity, Subject};
use crate::outcome::{Failure, Pace};
use crate::queue::{Key, Trigger};
use crate::watch::Cache;

mod status;

use status::Server;
pub use status::StatusError;

/// The annotation that asks for a reconcile (RT-ANN-001).
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// How long a progress message stands before the next one is worth a request.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);

/// A kind that the frame can reconcile: namespaced, with a status that has `conditions`, `observedGeneration` and
/// `lastHandledReconcileAt`.
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status: Clone + Default + Serialize + DeserializeOwned + Send + Sync>
    + Clone
    + std::fmt::Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}
impl<K> Kind for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + HasStatus<Status: Clone + Default + Serialize + DeserializeOwned + Send + Sync>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// One reconcile of one object.
///
/// `status` and `conditions` are a draft, which the frame patches however the run ends, so that what a failing run has
/// learnt is kept.
pub struct Run<K: Kind> {
    /// The draft of the status, its conditions and the two fields of the frame left out.
    pub status: K::Status,
    /// The draft of the conditions.
    pub conditions: Conditions,
    pub(crate) object: Arc<K>,
    pub(crate) observed_generation: Option<i64>,
    pub(crate) handled: Option<String>,
    server: Server,
    eager: bool,
    context: Arc<Context<K>>,
    pub(crate) slot: Slot,
    interrupt: watch::Receiver<Option<Trigger>>,
    shutdown: CancellationToken,
    started: Instant,
    /// When the draft was last written within this run.
    told: Option<Instant>,
}

/// What all runs of one kind share.
pub(crate) struct Context<K: Kind> {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) status_manager: &'static str,
    pub(crate) recorder: Recorder,
    pub(crate) cache: Cache<K>,
}

/// Leave to be busy: one of the kind's `--concurrent` workers.
pub(crate) struct Slot {
    pub(crate) permit: Option<OwnedSemaphorePermit>,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) active: prometheus::IntGauge,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.permit.is_some() {
            self.active.dec();
        }
    }
}

impl<K: Kind> Run<K> {
    pub(crate) fn new(
        object: Arc<K>,
        context: Arc<Context<K>>,
        slot: Slot,
        interrupt: watch::Receiver<Option<Trigger>>,
        shutdown: CancellationToken,
    ) -> Result<Self, StatusError> {
        let server = Server::of(&*object)?;
        let generation = object.meta().generation.unwrap_or_default();
        let observed_generation = server
            .status
            .get("observedGeneration")
            .and_then(Value::as_i64);
        let handled = server
            .status
            .get("lastHandledReconcileAt")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let requested = object.annotations().get(REQUESTED_AT);
        let eager = observed_generation != Some(generation)
            || requested.is_some_and(|at| Some(at) != handled.as_ref());
        Ok(Self {
            status: object.status().cloned().unwrap_or_default(),
            conditions: Conditions::new(server.conditions.clone(), generation),
            observed_generation,
            handled,
            server,
            eager,
            object,
            context,
            slot,
            interrupt,
            shutdown,
            started: Instant::now(),
            told: None,
        })
    }

    /// The object as it was when the run began.
    pub fn object(&self) -> &Arc<K> {
        &self.object
    }

    /// Namespace and name of the object.
    pub fn key(&self) -> Key {
        Key::of(&*self.object)
    }

    /// The namespace of the object.
    pub fn namespace(&self) -> &str {
        self.object.meta().namespace.as_deref().unwrap_or_default()
    }

    /// The name of the object.
    pub fn name(&self) -> &str {
        self.object.meta().name.as_deref().unwrap_or_default()
    }

    /// The generation that this run works on.
    pub fn generation(&self) -> i64 {
        self.object.meta().generation.unwrap_or_default()
    }

    /// The generation that an earlier run has finished with, -1 for none.
    pub fn observed_generation(&self) -> i64 {
        self.observed_generation.unwrap_or(-1)
    }

    /// The client of the controller's own identity.
    pub fn client(&self) -> &Client {
        &self.context.client
    }

    /// How long the run has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether somebody looks at this run: a new generation or a request that no run has handled yet, or what
    /// [`Run::hurry`] was told.
    pub fn is_eager(&self) -> bool {
        self.eager
    }

    /// From here on progress is written as it happens: this run has something new to do.
    pub fn hurry(&mut self) {
        self.eager = true;
    }

    /// Sets Ready to Unknown while work is under way (RT-CON-008).
    pub fn unready(&mut self, message: &str) {
        self.conditions
            .set(READY, Status::Unknown, PROGRESSING, message);
    }

    /// Tells what is being done: Reconciling=True with this message. Where the run [is eager](Run::is_eager) the first
    /// such message is written at once and later ones when the last is a second old, since nobody can read faster; a
    /// routine run that changes nothing keeps them to itself. That saves a request a step.
    pub async fn progress(&mut self, message: impl Into<String>) -> Result<(), Failure> {
        self.conditions.mark_reconciling(PROGRESSING, message);
        let due = self
            .told
            .is_none_or(|told| told.elapsed() >= PROGRESS_PAUSE);
        if self.eager && due {
            self.patch_now().await
        } else {
            Ok(())
        }
    }

    /// As [`Run::progress`], always written at once: for what may take long.
    pub async fn progress_now(&mut self, message: impl Into<String>) -> Result<(), Failure> {
        self.conditions.mark_reconciling(PROGRESSING, message);
        self.patch_now().await
    }

    /// Writes the draft as it stands, so that a crash from here on does not lose it.
    pub async fn patch_now(&mut self) -> Result<(), Failure> {
        self.told = Some(Instant::now());
        self.patch().await.map_err(|error| {
            Failure::retry(crate::conditions::FAILED, error, Pace::BackOff).quietly()
        })
    }

    /// Tells Kubernetes and the notification-controller of news (RT-EVT-001). The keys of `metadata` come without the
    /// kind's group.
    pub fn event(
        &self,
        reason: &'static str,
        message: impl Into<String>,
        metadata: &BTreeMap<&'static str, String>,
    ) {
        self.record(Severity::Info, reason, message.into(), metadata);
    }

    /// Tells Kubernetes only (RT-EVT-003).
    pub fn trace(&self, reason: &'static str, message: impl Into<String>) {
        self.record(Severity::Trace, reason, message.into(), &BTreeMap::new());
    }

    /// Tells both of trouble that does not end the run.
    pub fn warn(
        &self,
        reason: &'static str,
        message: impl Into<String>,
        metadata: &BTreeMap<&'static str, String>,
    ) {
        self.record(Severity::Error, reason, message.into(), metadata);
    }

    pub(crate) fn record(
        &self,
        severity: Severity,
        reason: &'static str,
        message: String,
        metadata: &BTreeMap<&'static str, String>,
    ) {
        self.context.recorder.record(
            &Subject::of(&*self.object).at(&self.server.resource_version),
            severity,
            reason,
            message,
            metadata,
        );
    }

    /// Awaits `work` without holding a worker that another object could use, and takes one again afterwards.
    pub async fn idle<T>(&mut self, work: impl Future<Output = T>) -> T {
        if self.slot.permit.take().is_some() {
            self.slot.active.dec();
        }
        let result = work.await;
        // The semaphore is never closed; if it were, the run would go on without a permit.
        self.slot.permit = self.slot.slots.clone().acquire_owned().await.ok();
        if self.slot.permit.is_some() {
            self.slot.active.inc();
        }
        result
    }

    /// Resolves when the object is put into its queue anew while this run is under way, with what did it (RT-WAT-013).
    /// Borrows nothing, so that it can be raced with work that borrows the run.
    pub fn interrupted(&self) -> impl Future<Output = Trigger> + Send + use<K> {
        let mut interrupt = self.interrupt.clone();
        async move {
            loop {
                if let Some(trigger) = interrupt.borrow_and_update().clone() {
                    return trigger;
                }
                if interrupt.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Resolves when the process is asked to end.
    pub fn shutting_down(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.context.settings
    }
}
