//! One reconcile of one object: what the frame hands to a [`Reconciler`](crate::Reconciler).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::FluxStatus;
use kube::core::NamespaceResourceScope;
use kube::core::object::HasStatus;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::action::Action;
use crate::conditions::{ConditionType, Conditions, PROGRESSING, READY, STALLED, Status, listed};
use crate::events::{Recorder, Severity, Subject, What};
use crate::policy::Settings;
use crate::queue::{Key, Trigger};
use crate::reason::Reason;
use crate::watch::Cache;

mod progress;
mod status;

use progress::Due;
pub(crate) use progress::pause;
pub use status::StatusError;

/// The annotation that asks for a reconcile (RT-ANN-001).
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// A kind that the frame can reconcile: namespaced, with a [`FluxStatus`].
pub trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + HasStatus<Status: FluxStatus + Clone + Default + PartialEq + Serialize + Send + Sync>
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
        + HasStatus<Status: FluxStatus + Clone + Default + PartialEq + Serialize + Send + Sync>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// What ends [`Run::wait`] early besides the end of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// A trigger for the object (RT-WAT-013).
    OnTrigger,
    /// Nothing.
    OnShutdownOnly,
}

/// Why [`Run::wait`] ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Canceled {
    /// This trigger; the object is queued again.
    Triggered(Trigger),
    /// The process is shutting down.
    ShuttingDown,
}

/// One reconcile of one object.
///
/// `status` and `conditions` are a draft, which the frame patches however the run ends, so that the findings of a
/// failed run are kept.
pub struct Run<K: Kind> {
    /// The draft of the status. Its conditions, `observedGeneration` and `lastHandledReconcileAt` are the frame's: what a
    /// reconciler sets there is overwritten.
    pub status: K::Status,
    /// The draft of the conditions.
    pub conditions: Conditions,
    pub(crate) object: Arc<K>,
    pub(crate) observed_generation: Option<i64>,
    pub(crate) handled: Option<String>,
    /// The metadata of every event of the run, by key without the kind's group.
    pub(crate) metadata: BTreeMap<&'static str, String>,
    /// The current step.
    action: Action,
    /// The object as the API server has it, as far as this run knows.
    server: Arc<K>,
    eager: bool,
    context: Arc<Context<K>>,
    pub(crate) slot: Slot,
    interrupt: watch::Receiver<Option<Trigger>>,
    shutdown: CancellationToken,
    started: Instant,
    /// Whether the reconciler found that its time was up.
    pub(crate) timed_out: bool,
    /// When progress was last written within this run.
    reported: Option<Instant>,
    /// Progress that is to be written.
    due: Option<Due<K>>,
}

/// The state that all runs of one kind share.
pub(crate) struct Context<K: Kind> {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) status_manager: &'static str,
    pub(crate) recorder: Recorder,
    pub(crate) cache: Cache<K>,
    /// How long progress waits before it is written.
    pub(crate) pause: Duration,
}

/// A worker permit: one of the kind's `--concurrent` workers.
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
    ) -> Self {
        let generation = object.meta().generation.unwrap_or_default();
        let status = object.status();
        let observed_generation = status.and_then(FluxStatus::observed_generation);
        let handled = status
            .and_then(FluxStatus::last_handled_reconcile_at)
            .map(str::to_owned);
        let requested = object.annotations().get(REQUESTED_AT);
        let eager = observed_generation != Some(generation)
            || requested.is_some_and(|at| Some(at) != handled.as_ref());
        Self {
            status: object.status().cloned().unwrap_or_default(),
            conditions: Conditions::new(listed(object.status()).to_vec(), generation),
            observed_generation,
            handled,
            metadata: BTreeMap::new(),
            action: Action::default(),
            server: object.clone(),
            eager,
            object,
            context,
            slot,
            interrupt,
            shutdown,
            started: Instant::now(),
            timed_out: false,
            reported: None,
            due: None,
        }
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

    /// The generation that an earlier run has observed, -1 without such a run.
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

    /// Counts the run as one that took too long (RT-QUE-009): for a reconciler that ends its own steps in time, so that the
    /// failure names the step.
    pub fn has_timed_out(&mut self) {
        self.timed_out = true;
    }

    /// Whether progress is reported as it happens: for a new generation, for a request that no run has handled yet, and
    /// after [`Run::report_progress`].
    pub fn is_eager(&self) -> bool {
        self.eager
    }

    /// Reports progress as it happens from here on: this run has new work.
    pub fn report_progress(&mut self) {
        self.eager = true;
    }

    /// Sets Ready to Unknown while work is under way (RT-CON-008).
    pub fn set_ready_unknown(&mut self, message: &str) {
        self.conditions
            .write(READY, Status::Unknown, PROGRESSING, message);
    }

    /// Sets Ready to the reason and message of a condition of the kind (HC-EVT-005); True ends a stall. Without that condition
    /// Ready is left as it is.
    pub fn set_ready_from(&mut self, condition: ConditionType, status: Status) {
        let Some(of) = self.conditions.get(condition) else {
            return;
        };
        let (reason, message) = (of.reason.clone(), of.message.clone());
        if status == Status::True {
            self.conditions.clear(STALLED);
        }
        self.conditions.write(READY, status, &reason, message);
    }

    /// Sets Ready=False during the run; at its end a [`Failure`](crate::Failure) does that.
    pub fn set_ready_false(&mut self, reason: impl Reason, message: impl Into<String>) {
        let reason = reason.as_str();
        self.conditions.write(READY, Status::False, reason, message);
    }

    /// Sets the metadata of all events of this run from here on, those of failures included. The keys come without the
    /// kind's group (RT-EVT-012); an event's own metadata wins.
    pub fn about(&mut self, metadata: BTreeMap<&'static str, String>) {
        self.metadata = metadata;
    }

    /// Begins a step: events from here on have its word, that of a failure included (RT-EVT-021).
    pub fn step(&mut self, action: Action) {
        self.action = action;
    }

    /// The current step.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Emits a Normal event in Kubernetes and at the notification-controller (RT-EVT-001), with `metadata` besides that of
    /// [`Run::about`].
    pub fn event(
        &self,
        reason: impl Reason,
        message: impl Into<String>,
        metadata: &BTreeMap<&'static str, String>,
    ) {
        self.record(Severity::Info, reason.as_str(), message.into(), metadata);
    }

    /// Emits a Normal event in Kubernetes only (RT-EVT-003).
    pub fn trace(&self, reason: impl Reason, message: impl Into<String>) {
        self.record(
            Severity::Trace,
            reason.as_str(),
            message.into(),
            &BTreeMap::new(),
        );
    }

    /// Emits a Warning event for a failure that does not end the run, as [`Run::event`] does.
    pub fn warn(
        &self,
        reason: impl Reason,
        message: impl Into<String>,
        metadata: &BTreeMap<&'static str, String>,
    ) {
        self.record(Severity::Error, reason.as_str(), message.into(), metadata);
    }

    pub(crate) fn record(
        &self,
        severity: Severity,
        reason: &'static str,
        message: String,
        metadata: &BTreeMap<&'static str, String>,
    ) {
        let version = self.server.meta().resource_version.as_deref();
        let mut all = self.metadata.clone();
        all.extend(metadata.iter().map(|(key, value)| (*key, value.clone())));
        self.context.recorder.record(
            &Subject::of(&*self.object).at(version.unwrap_or_default()),
            severity,
            What {
                reason,
                action: self.action,
                message,
            },
            &all,
        );
    }

    /// Awaits `work` without holding a worker permit, until `cancel` ends the wait: for changes that other programs
    /// make.
    ///
    /// # Errors
    ///
    /// What ended the wait early. `work` is dropped then.
    pub async fn wait<T>(
        &mut self,
        work: impl Future<Output = T>,
        cancel: Cancel,
    ) -> Result<T, Canceled> {
        let interrupted = self.interrupted();
        let stop = self.shutting_down();
        self.idle(async {
            tokio::select! {
                done = work => Ok(done),
                trigger = interrupted, if cancel == Cancel::OnTrigger => Err(Canceled::Triggered(trigger)),
                () = stop.cancelled() => Err(Canceled::ShuttingDown),
            }
        })
        .await
    }

    /// Awaits `work` without holding a worker permit, which another object can use, and acquires one again afterwards.
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

    /// Resolves when the object is queued again while this run is under way, with the trigger (RT-WAT-013).
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

    /// Cancelled when the process shuts down.
    pub fn shutting_down(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.context.settings
    }
}
