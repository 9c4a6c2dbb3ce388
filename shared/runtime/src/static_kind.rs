//! Controllers of static kinds: no status and no work, at most a finalizer (NC-ALERT-020, NC-PROV-015).

use std::sync::Arc;
use std::time::Duration;

use flux_objects::Objects;
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::controller::{Environment, Lifecycle, in_checked_namespace};
use crate::events::{Severity, Subject, What};
use crate::finalizer;
use crate::metrics::{ControllerMetrics, ReconcileResult};
use crate::outcome::chain;
use crate::policy::FINALIZER;
use crate::queue::{INITIAL, Key, LIVE, Queue};
use crate::watch::{Cache, Change, Watched};

/// A kind whose objects are ready as soon as they exist.
pub trait StaticKind: Send + Sync + 'static {
    /// The kind.
    type Kind: Watched + Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize;

    /// How the finalizer is handled.
    const FINALIZER: StaticFinalizer;

    /// Whether the object is suspended.
    fn suspended(&self, _object: &Self::Kind) -> bool {
        false
    }

    /// Called when an object is deleted, before its finalizer is removed, to drop state and metrics of the object.
    fn forget(&self, _key: &Key) {}
}

/// How the finalizer of a static kind is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaticFinalizer {
    /// Every object has it, suspended ones too, until it is deleted (NC-PROV-015 to NC-PROV-017).
    Kept,
    /// Older versions added it: it is removed, with an event of this reason; not while the object is suspended, unless
    /// it is being deleted (NC-ALERT-021, NC-ALERT-022).
    Removed {
        /// The reason of the event.
        reason: &'static str,
    },
}

/// What has to be done for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Add,
    Remove,
    /// Remove, and emit the event.
    Migrate,
}

/// The controller of a static kind. Objects that need no change are never queued (NC-ALERT-023, NC-PROV-017).
pub struct StaticController<S: StaticKind> {
    kind: S,
    name: &'static str,
    queue: Queue,
    metrics: ControllerMetrics,
    environment: Environment,
    cache: Cache<S::Kind>,
}

impl<S: StaticKind> StaticController<S> {
    /// A controller whose watch has not started. `name` is that of queue and controller: the kind in lower case
    /// (RT-QUE-002). `cache` holds the objects of its kind.
    pub fn new(
        kind: S,
        name: &'static str,
        cache: Cache<S::Kind>,
        environment: Environment,
    ) -> Self {
        let queue = Queue::new(environment.back_off, environment.metrics.queue(name));
        environment.metrics.watch(queue.clone());
        environment.metrics.publish(&cache);
        let metrics = environment.metrics.controller(name, environment.workers);
        Self {
            kind,
            name,
            queue,
            metrics,
            environment,
            cache,
        }
    }

    /// Watches, and adds or removes finalizers as the kind requires, until `stop`; then gives running requests `grace`
    /// to finish.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        let log = Lifecycle {
            controller: self.name,
            group: S::Kind::group(&()).into_owned(),
            kind: S::Kind::kind(&()).into_owned(),
        };
        log.source(std::any::type_name::<S::Kind>());
        let this = Arc::new(self);
        let watching = this.clone();
        this.cache.subscribe(move |change| watching.changed(change));
        let api = match &this.environment.namespace {
            Some(namespace) => in_checked_namespace(&this.environment.client, namespace),
            None => Api::all(this.environment.client.clone()),
        };
        let mut config = watcher::Config::default();
        if let Some(selector) = &this.environment.selector {
            config = config.labels(selector);
        }
        let (reflector, until) = (this.cache.clone(), stop.clone());
        tokio::spawn(async move { reflector.run(api, config, until).await });

        log.info("Starting Controller");
        log.workers(this.environment.workers);
        let workers = TaskTracker::new();
        for _ in 0..this.environment.workers.max(1) {
            let (this, stop) = (this.clone(), stop.clone());
            workers.spawn(async move {
                loop {
                    let ticket = tokio::select! {
                        biased;
                        () = stop.cancelled() => return,
                        ticket = this.queue.next() => ticket,
                    };
                    this.work(&ticket.key, ticket.priority).await;
                }
            });
        }
        workers.close();
        stop.cancelled().await;
        log.info("Shutdown signal received, waiting for all workers to finish");
        if tokio::time::timeout(grace, workers.wait()).await.is_ok() {
            log.info("All workers finished");
        }
    }

    fn changed(&self, change: &Change<S::Kind>) {
        match change {
            Change::Added { new, initial } => {
                if self.task(new).is_some() {
                    let priority = if *initial { INITIAL } else { LIVE };
                    self.queue.add(Key::of(&**new), priority, None);
                }
            }
            Change::Updated { new, .. } => {
                if self.task(new).is_some() {
                    self.queue.add(Key::of(&**new), LIVE, None);
                }
            }
            Change::Deleted { old } => self.queue.remove(&Key::of(&**old)),
        }
    }

    fn task(&self, object: &S::Kind) -> Option<Task> {
        let is_deleted = object.meta().deletion_timestamp.is_some();
        let is_set = finalizer::is_set(object, FINALIZER);
        match S::FINALIZER {
            StaticFinalizer::Kept if is_deleted => is_set.then_some(Task::Remove),
            StaticFinalizer::Kept => (!is_set).then_some(Task::Add),
            StaticFinalizer::Removed { .. } => {
                (is_set && (is_deleted || !self.kind.suspended(object))).then_some(Task::Migrate)
            }
        }
    }

    async fn work(&self, key: &Key, priority: i32) {
        self.metrics.active.inc();
        let started = std::time::Instant::now();
        let result = match self.cache.get(key) {
            Some(object) => match self.task(&object) {
                Some(task) => self.carry_out(task, &object).await,
                None => Ok(()),
            },
            None => Ok(()),
        };
        self.metrics.time.observe(started.elapsed().as_secs_f64());
        match result {
            Ok(()) => {
                self.metrics.ended(ReconcileResult::Success);
                self.queue.forget(key);
            }
            Err(error) => {
                self.metrics.errors.inc();
                self.metrics.ended(ReconcileResult::Error);
                tracing::error!(
                    controller = self.name,
                    namespace = key.namespace,
                    name = key.name,
                    error = chain(&error),
                    "Reconciler error"
                );
                self.queue.add_rate_limited(key.clone(), priority);
            }
        }
        self.queue.done(key);
        self.metrics.active.dec();
    }

    async fn carry_out(&self, task: Task, object: &S::Kind) -> Result<(), flux_objects::Error> {
        let key = Key::of(object);
        if object.meta().deletion_timestamp.is_some() {
            self.kind.forget(&key);
        }
        let client = self.environment.client.clone();
        let objects = Objects::in_namespace(client, &key.namespace)?;
        let stored = finalizer::set(
            &objects,
            object,
            &object.resource_version().unwrap_or_default(),
            FINALIZER,
            task == Task::Add,
            self.environment.status_manager,
        )
        .await?;
        if let (Task::Migrate, StaticFinalizer::Removed { reason }) = (task, S::FINALIZER) {
            let kind = S::Kind::kind(&());
            self.environment.recorder.record(
                &Subject::of(object),
                Severity::Trace,
                What::new(
                    reason,
                    format!("removed finalizer from {kind} to migrate to static {kind}"),
                ),
                &std::collections::BTreeMap::new(),
            );
        }
        if let Some(stored) = stored.filter(|stored| stored.meta().deletion_timestamp.is_none()) {
            self.cache.upsert(stored);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
