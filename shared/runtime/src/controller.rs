//! The controller of one kind: its watch, its queue, its workers.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::events::Recorder;
use crate::frame;
use crate::metrics::{ControllerMetrics, Metrics};
use crate::outcome::{Failure, Outcome};
use crate::per_object::PerObject;
pub use crate::policy::{FINALIZER, Settings};
use crate::queue::{BackOff, INITIAL, Key, LIVE, Queue, Ticket, Trigger};
use crate::run::{Context, Kind, REQUESTED_AT, Run, Slot};
use crate::watch::{Cache, Change, Watched};

/// The part of a controller that is specific to its kind.
pub trait Reconciler: Send + Sync + 'static {
    /// The kind.
    type Kind: Kind;

    /// Whether the object is suspended (RT-ANN-007): by its spec, or by an annotation ([`is_disabled`], SW-GEN-024).
    fn suspended(&self, object: &Self::Kind) -> bool;

    /// Whether the object is static: it is not reconciled, and what earlier runs left behind is cleaned up once
    /// ([`finalize`](Self::finalize), finalizer and status; SC-HREPO-010 to SC-HREPO-013). For kinds of which only some
    /// objects are static.
    fn is_static(&self, _object: &Self::Kind) -> bool {
        false
    }

    /// Reconciles the object: brings the actual state to its spec.
    fn reconcile(
        &self,
        run: &mut Run<Self::Kind>,
    ) -> impl Future<Output = Result<Outcome, Failure>> + Send;

    /// Cleans up after an object that is being deleted. The finalizer is removed when this succeeds.
    fn finalize(
        &self,
        run: &mut Run<Self::Kind>,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Called when an object is gone, to drop in-memory state about it. A [`PerObject`] that was passed to
    /// [`Controller::clearing`] is cleared without it.
    fn forget(&self, _key: &Key) {}
}

/// Whether an annotation of the object disables reconciliation: its value is `Disabled`, compared without regard to
/// case (SW-GEN-024).
pub fn is_disabled<K: Resource>(object: &K, annotation: &str) -> bool {
    object
        .annotations()
        .get(annotation)
        .is_some_and(|value| value.eq_ignore_ascii_case("disabled"))
}

/// What a controller takes from the manager.
#[derive(Clone)]
pub struct Environment {
    /// The client of the controller's own identity.
    pub client: Client,
    /// The only namespace to watch, if there is one.
    pub namespace: Option<String>,
    /// The label selector of the primary kinds (RT-WAT-005).
    pub selector: Option<String>,
    /// How many objects are reconciled concurrently.
    pub workers: usize,
    /// Delays after failures.
    pub back_off: BackOff,
    /// The spread of intervals, in percent (RT-QUE-007).
    pub jitter: u8,
    /// The field manager of status writes.
    pub status_manager: &'static str,
    /// Where events go.
    pub recorder: Recorder,
    /// Where measurements go.
    pub metrics: Metrics,
}

/// The controller of one kind.
pub struct Controller<R: Reconciler> {
    pub(crate) reconciler: R,
    pub(crate) queue: Queue,
    pub(crate) metrics: ControllerMetrics,
    pub(crate) environment: Environment,
    context: Arc<Context<R::Kind>>,
    watches: Vec<Watch>,
    memories: Vec<Forget>,
}

type Watch =
    Box<dyn FnOnce(CancellationToken) -> futures::future::BoxFuture<'static, ()> + Send + Sync>;
type Forget = Box<dyn Fn(&Key) + Send + Sync>;
type Synced = futures::future::BoxFuture<'static, ()>;

/// Enqueues objects of the controller's kind because something else changed.
#[derive(Clone)]
pub struct Enqueue {
    queue: Queue,
}

impl Enqueue {
    /// Enqueues `key` because `trigger` changed.
    pub fn add<T: Resource<DynamicType = ()>>(&self, key: Key, trigger: &T) {
        self.queue.add(key, LIVE, Some(trigger_of(trigger)));
    }

    /// Enqueues `key` after `delay`, unless it is due earlier; a run that is under way is not interrupted (IA-STATUS-067).
    pub fn add_after(&self, key: Key, delay: Duration) {
        self.queue.add_after(key, delay, LIVE);
    }

    /// Enqueues `key` for an object of the initial list, at a lower priority than live changes.
    pub fn add_initial(&self, key: Key) {
        self.queue.add(key, INITIAL, None);
    }
}

/// Log lines for start and stop of a controller (RT-LOG-017).
pub(crate) struct Lifecycle {
    pub(crate) controller: &'static str,
    pub(crate) group: String,
    pub(crate) kind: String,
}

impl Lifecycle {
    pub(crate) fn info(&self, message: &'static str) {
        tracing::info!(
            controller = self.controller,
            controllerGroup = self.group,
            controllerKind = self.kind,
            "{message}"
        );
    }

    pub(crate) fn source(&self, type_name: &str) {
        let inner = type_name.rsplit('<').next().unwrap_or(type_name);
        let kind = inner.rsplit("::").next().unwrap_or(inner);
        tracing::info!(
            controller = self.controller,
            controllerGroup = self.group,
            controllerKind = self.kind,
            source = %format_args!("kind source: {}", kind.trim_end_matches('>')),
            "Starting EventSource"
        );
    }

    pub(crate) fn workers(&self, count: usize) {
        tracing::info!(
            controller = self.controller,
            controllerGroup = self.group,
            controllerKind = self.kind,
            "worker count" = count,
            "Starting workers"
        );
    }
}

pub(crate) fn trigger_of<T: Resource<DynamicType = ()>>(object: &T) -> Trigger {
    Trigger {
        kind: T::kind(&()).into_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
    }
}

impl<R: Reconciler> Controller<R> {
    /// A controller whose watch has not started. `cache` holds the objects of its kind.
    pub fn new(
        reconciler: R,
        settings: Settings,
        cache: Cache<R::Kind>,
        environment: Environment,
    ) -> Self {
        let queue = Queue::new(
            environment.back_off,
            environment.metrics.queue(settings.name),
        );
        environment.metrics.watch(queue.clone());
        environment.metrics.publish(&cache);
        let metrics = environment
            .metrics
            .controller(settings.name, environment.workers);
        let context = Arc::new(Context {
            client: environment.client.clone(),
            settings,
            status_manager: environment.status_manager,
            recorder: environment.recorder.clone(),
            cache,
            pause: crate::run::pause(),
        });
        Self {
            reconciler,
            queue,
            metrics,
            environment,
            context,
            watches: Vec::new(),
            memories: Vec::new(),
        }
    }

    /// Clears the object's value in `memory` when the object is gone.
    #[must_use]
    pub fn clearing<T: Send + Sync + 'static>(mut self, memory: &PerObject<T>) -> Self {
        let memory = memory.clone();
        self.memories.push(Box::new(move |key| memory.remove(key)));
        self
    }

    /// A handle with which changes of other kinds enqueue objects of this kind.
    pub fn enqueue(&self) -> Enqueue {
        Enqueue {
            queue: self.queue.clone(),
        }
    }

    /// Watches another kind as well: `cache` stores its objects, `on_change` enqueues the objects that a change
    /// concerns. The workers start when its initial list is complete.
    #[must_use]
    pub fn watching<T>(
        mut self,
        api: Api<T>,
        config: watcher::Config,
        cache: Cache<T>,
        on_change: impl Fn(&Change<T>, &Enqueue) + Send + Sync + 'static,
    ) -> Self
    where
        T: Watched,
    {
        let enqueue = self.enqueue();
        cache.subscribe(move |change| on_change(change, &enqueue));
        let log = self.lifecycle();
        self.watches.push(Box::new(move |stop| {
            Box::pin(async move {
                log.source(std::any::type_name::<T>());
                let synced = cache.clone();
                tokio::spawn(async move { cache.run(api, config, stop).await });
                synced.synced().await;
            })
        }));
        self
    }

    fn lifecycle(&self) -> Lifecycle {
        Lifecycle {
            controller: self.context.settings.name,
            group: R::Kind::group(&()).into_owned(),
            kind: R::Kind::kind(&()).into_owned(),
        }
    }

    /// Watches and reconciles until `stop`, then gives running reconciles `grace` to finish.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let log = self.lifecycle();
        log.source(std::any::type_name::<R::Kind>());
        let watches: Vec<Synced> = self
            .watches
            .drain(..)
            .map(|watch| watch(stop.clone()))
            .collect();
        tokio::select! {
            // Without an API server the initial lists may never complete.
            () = stop.cancelled() => return,
            _ = futures::future::join_all(watches) => {}
        }

        let cache = self.context.cache.clone();
        let this = Arc::new(self);
        let watcher = this.clone();
        cache.subscribe(move |change| watcher.primary_changed(change));
        let api = match &this.environment.namespace {
            Some(namespace) => in_checked_namespace(&this.environment.client, namespace),
            None => Api::all(this.environment.client.clone()),
        };
        let mut config = watcher::Config::default();
        if let Some(selector) = &this.environment.selector {
            config = config.labels(selector);
        }
        let reflector = cache.clone();
        let until = stop.clone();
        tokio::spawn(async move { reflector.run(api, config, until).await });

        log.info("Starting Controller");
        log.workers(this.environment.workers);
        let slots = Arc::new(Semaphore::new(this.environment.workers.max(1)));
        let running = TaskTracker::new();
        loop {
            let next = this.next(&slots);
            let (ticket, permit) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                next = next => next,
            };
            this.metrics.active.inc();
            let slot = Slot {
                permit,
                slots: slots.clone(),
                active: this.metrics.active.clone(),
            };
            running.spawn(this.clone().work(ticket, slot, stop.clone()));
        }
        running.close();
        log.info("Shutdown signal received, waiting for all workers to finish");
        if tokio::time::timeout(grace, running.wait()).await.is_ok() {
            log.info("All workers finished");
        } else {
            tracing::error!(
                controller = this.context.settings.name,
                "running reconciles did not finish in time"
            );
        }
    }

    /// The next object, with a permit for its run. As long as there is nothing to do no permit is held: a run that has waited
    /// for something needs one to go on, and with one worker there is no other.
    async fn next(&self, slots: &Arc<Semaphore>) -> (Ticket, Option<OwnedSemaphorePermit>) {
        loop {
            self.queue.due().await;
            let permit = slots.clone().acquire_owned().await.ok();
            // It may have been removed while all were working.
            if let Some(ticket) = self.queue.try_next() {
                return (ticket, permit);
            }
        }
    }

    /// Which changes of the kind itself cause a reconcile (RT-WAT-001..004).
    fn primary_changed(&self, change: &Change<R::Kind>) {
        let has_work = |object: &R::Kind| {
            !self.reconciler.is_static(object)
                || frame::has_leftovers(object, self.context.settings.finalizer)
        };
        match change {
            Change::Added { new, .. } | Change::Updated { new, .. } if !has_work(new) => {}
            Change::Added { new, initial } => {
                self.queue.add(
                    Key::of(&**new),
                    if *initial { INITIAL } else { LIVE },
                    Some(trigger_of(&**new)),
                );
            }
            Change::Updated { old, new } if asks_for_reconcile(&**old, &**new) => {
                if old.meta().uid != new.meta().uid {
                    self.forget(&Key::of(&**old)); // another object of the same name
                }
                self.queue
                    .add(Key::of(&**new), LIVE, Some(trigger_of(&**new)));
            }
            Change::Updated { .. } => {}
            Change::Deleted { old } => {
                let key = Key::of(&**old);
                self.environment
                    .metrics
                    .forget(&R::Kind::kind(&()), &key.name, &key.namespace);
                self.forget(&key);
                self.queue.remove(&key);
            }
        }
    }

    fn forget(&self, key: &Key) {
        self.reconciler.forget(key);
        for memory in &self.memories {
            memory(key);
        }
    }

    async fn work(self: Arc<Self>, ticket: Ticket, slot: Slot, stop: CancellationToken) {
        let Some(object) = self.context.cache.get(&ticket.key) else {
            self.queue.forget(&ticket.key);
            self.queue.done(&ticket.key);
            return;
        };
        let kind = R::Kind::kind(&());
        let span = tracing::info_span!(
            "reconcile",
            otel.name = %format!("reconcile {kind}"),
            controller = self.context.settings.name,
            controllerGroup = %R::Kind::group(&()),
            controllerKind = %kind,
            namespace = %ticket.key.namespace,
            name = %ticket.key.name,
            reconcileID = %uuid::Uuid::new_v4(),
        );
        let key = ticket.key.clone();
        let priority = ticket.priority;
        let run = Run::new(object, self.context.clone(), slot, ticket.interrupt, stop);
        let again = frame::reconcile(&self, run).instrument(span).await;
        match again {
            frame::Again::At(delay) => {
                self.queue.forget(&key);
                self.queue.add_after(key.clone(), delay, priority);
            }
            frame::Again::BackOff => {
                self.queue.add_rate_limited(key.clone(), priority);
            }
            frame::Again::Never => self.queue.forget(&key),
        }
        if !self.context.cache.has(&key) {
            self.forget(&key); // the run may have remembered something after its object was gone
        }
        self.queue.done(&key);
    }
}

/// The objects of a kind in the namespace of the process, which [`crate::manager`] has validated at startup.
#[expect(
    clippy::disallowed_methods,
    reason = "checked at the start of the process"
)]
pub(crate) fn in_checked_namespace<K>(client: &Client, namespace: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), namespace)
}

/// Whether an update of an object requests a reconcile: a new generation, or a request with another token (RT-WAT-001,
/// RT-WAT-002).
fn asks_for_reconcile<K: Resource>(old: &K, new: &K) -> bool {
    let requested = |object: &K| object.annotations().get(REQUESTED_AT).cloned();
    old.meta().generation != new.meta().generation
        || old.meta().uid != new.meta().uid
        || requested(new).is_some_and(|at| Some(at) != requested(old))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn only_spec_changes_and_requests_trigger_a_reconcile() {
        // RT-WAT-001, RT-WAT-002, SC-PROC-055
        let object = |generation: i64, requested: Option<&str>, label: &str| {
            let mut object = ConfigMap::default();
            object.metadata.generation = Some(generation);
            object.metadata.labels = Some([("l".to_owned(), label.to_owned())].into());
            object.metadata.annotations =
                requested.map(|at| [(REQUESTED_AT.to_owned(), at.to_owned())].into());
            object
        };
        for (old, new, want) in [
            (object(1, None, "a"), object(2, None, "a"), true),
            (object(1, None, "a"), object(1, None, "b"), false),
            (object(1, None, "a"), object(1, Some("now"), "a"), true),
            (
                object(1, Some("now"), "a"),
                object(1, Some("later"), "a"),
                true,
            ),
            (
                object(1, Some("now"), "a"),
                object(1, Some("now"), "b"),
                false,
            ),
            (object(1, Some("now"), "a"), object(1, None, "a"), false),
        ] {
            assert_eq!(asks_for_reconcile(&old, &new), want, "{old:?} {new:?}");
        }
    }
}
