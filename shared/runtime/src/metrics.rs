//! Prometheus metrics under upstream's names and labels (RT-MET rows).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::Resource;
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGaugeVec, Opts, Registry, Result,
};
use serde::Serialize;

use self::durations::Durations;
use crate::queue::Key;
use crate::watch::{Cache, Watched};

mod durations;
mod exposition;
mod process;
mod resources;

pub use exposition::{Page, negotiate};
pub(crate) use resources::wanted as resources_wanted;

/// Bounds of the histograms of queues: twelve decades, multiplied up as upstream does (RT-MET-016).
fn queue_buckets() -> Vec<f64> {
    std::iter::successors(Some(1e-8), |bound| Some(bound * 10.0))
        .take(12)
        .collect()
}

/// Bounds of `controller_runtime_reconcile_time_seconds` (RT-MET-014).
const TIME_BUCKETS: [f64; 40] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 50.0, 60.0,
];

/// Every metric of a controller. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    shared: Arc<Shared>,
}

struct Shared {
    registry: Registry,
    durations: Durations,
    reconciles: IntCounterVec,
    errors: IntCounterVec,
    terminal_errors: IntCounterVec,
    panics: IntCounterVec,
    timeouts: IntCounterVec,
    time: HistogramVec,
    active: IntGaugeVec,
    limit: IntGaugeVec,
    depth: IntGaugeVec,
    adds: IntCounterVec,
    retries: IntCounterVec,
    unfinished: GaugeVec,
    longest: GaugeVec,
    waited: HistogramVec,
    worked: HistogramVec,
    requests: IntCounterVec,
    leader: IntGaugeVec,
    /// Called for each object that is gone.
    forgetting: Mutex<Vec<Forget>>,
    queues: Mutex<Vec<Box<dyn Measured>>>,
    /// The states of objects, if they are published.
    resources: Option<resources::Resources>,
}

/// A queue whose gauges are set at every scrape.
pub trait Measured: Send + Sync {
    /// The name of its controller.
    fn controller(&self) -> &str;

    /// Sets its gauges.
    fn measure(&self);

    /// What is being processed, the longest first.
    fn work(&self) -> Vec<Work>;
}

/// An object that is being processed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The object, as `namespace/name`.
    pub object: String,
    /// How long it has been processed so far.
    pub age: Duration,
}

/// Removes the series of an object: its kind, name and namespace.
type Forget = Arc<dyn Fn(&str, &str, &str) + Send + Sync>;

/// The result of one reconcile, for `controller_runtime_reconcile_total` (RT-MET-012).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Success, without a requeue.
    Success,
    /// Failure, with back-off.
    Error,
    /// Requeued immediately, slowed by the back-off.
    Requeue,
    /// Requeued after a fixed time.
    RequeueAfter,
}

impl ReconcileResult {
    const ALL: [Self; 4] = [
        Self::Success,
        Self::Error,
        Self::Requeue,
        Self::RequeueAfter,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Requeue => "requeue",
            Self::RequeueAfter => "requeue_after",
        }
    }
}

/// Registers a metric that was created.
fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: Result<C>) -> Result<C> {
    let metric = made?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

impl Metrics {
    /// Creates a registry with every family of the frame. Fails only if a family's name or labels are invalid in
    /// Prometheus, or two families have the same name.
    pub fn new() -> Result<Self> {
        Self::with_resources(false)
    }

    /// As [`Metrics::new`]; with `gotk_resource_info` if `resources` is set ([`Metrics::publish`]).
    pub fn with_resources(resources: bool) -> Result<Self> {
        let registry = Registry::new();
        let resources = if resources {
            let resources = resources::Resources::new()?;
            registry.register(Box::new(resources.clone()))?;
            Some(resources)
        } else {
            None
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let float = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, GaugeVec::new(Opts::new(name, help), labels))
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>, labels: &[&str]| {
            registered(
                &registry,
                HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels),
            )
        };
        let by_queue = &["name", "controller"];
        let shared = Shared {
            durations: registered(&registry, Durations::new())?,
            reconciles: counter(
                "controller_runtime_reconcile_total",
                "Total number of reconciliations per controller",
                &["controller", "result"],
            )?,
            errors: counter(
                "controller_runtime_reconcile_errors_total",
                "Total number of reconciliation errors per controller",
                &["controller"],
            )?,
            terminal_errors: counter(
                "controller_runtime_terminal_reconcile_errors_total",
                "Total number of terminal reconciliation errors per controller",
                &["controller"],
            )?,
            panics: counter(
                "controller_runtime_reconcile_panics_total",
                "Total number of reconciliation panics per controller",
                &["controller"],
            )?,
            timeouts: counter(
                "controller_runtime_reconcile_timeouts_total",
                "Total number of reconciliation timeouts per controller",
                &["controller"],
            )?,
            time: histogram(
                "controller_runtime_reconcile_time_seconds",
                "Length of time per reconciliation per controller",
                TIME_BUCKETS.to_vec(),
                &["controller"],
            )?,
            active: gauge(
                "controller_runtime_active_workers",
                "Number of currently used workers per controller",
                &["controller"],
            )?,
            limit: gauge(
                "controller_runtime_max_concurrent_reconciles",
                "Maximum number of concurrent reconciles per controller",
                &["controller"],
            )?,
            depth: gauge(
                "workqueue_depth",
                "Current depth of workqueue by workqueue and priority",
                &["name", "controller", "priority"],
            )?,
            adds: counter(
                "workqueue_adds_total",
                "Total number of adds handled by workqueue",
                by_queue,
            )?,
            retries: counter(
                "workqueue_retries_total",
                "Total number of items added to the workqueue with a non-zero delay (rate-limited requeues, explicit \
                 RequeueAfter or AddAfter calls)",
                by_queue,
            )?,
            unfinished: float(
                "workqueue_unfinished_work_seconds",
                "How many seconds of work has been done that is in progress and hasn't been observed by work_duration. \
                 Large values indicate stuck threads. One can deduce the number of stuck threads by observing the \
                 rate at which this increases.",
                by_queue,
            )?,
            longest: float(
                "workqueue_longest_running_processor_seconds",
                "How many seconds has the longest running processor for workqueue been running.",
                by_queue,
            )?,
            waited: histogram(
                "workqueue_queue_duration_seconds",
                "How long in seconds an item stays in workqueue before being requested",
                queue_buckets(),
                by_queue,
            )?,
            worked: histogram(
                "workqueue_work_duration_seconds",
                "How long in seconds processing an item from workqueue takes.",
                queue_buckets(),
                by_queue,
            )?,
            requests: counter(
                "rest_client_requests_total",
                "Number of HTTP requests, partitioned by status code, method, and host.",
                &["code", "method", "host"],
            )?,
            leader: gauge(
                "leader_election_master_status",
                "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates \
                 master. 'name' is the string used to identify the lease. Please make sure to group by name.",
                &["name"],
            )?,
            forgetting: Mutex::default(),
            queues: Mutex::default(),
            resources,
            registry,
        };
        // Upstream's framework exports these whether there is such a server or not (RT-MET-020): they stay at zero.
        for (name, help) in [
            (
                "certwatcher_read_certificate_total",
                "Total number of certificate reads",
            ),
            (
                "certwatcher_read_certificate_errors_total",
                "Total number of certificate read errors",
            ),
            (
                "controller_runtime_webhook_panics_total",
                "Total number of webhook panics",
            ),
            (
                "controller_runtime_conversion_webhook_panics_total",
                "Total number of conversion webhook panics",
            ),
        ] {
            registered(&shared.registry, IntCounter::new(name, help))?;
        }
        process::register(&shared.registry)?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The registry, for families that are specific to a controller.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// The page of a scrape (RT-MET-001): in OpenMetrics if `page` asks for it, compressed if it does.
    pub fn page(&self, page: Page) -> Result<Vec<u8>> {
        for queue in &*self.queues() {
            queue.measure();
        }
        exposition::encode(&self.shared.registry.gather(), page)
    }

    /// What every controller of this process is working on, by the controller's name.
    pub fn work(&self) -> Vec<(String, Vec<Work>)> {
        let queues = self.queues();
        queues
            .iter()
            .map(|queue| (queue.controller().to_owned(), queue.work()))
            .collect()
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Box<dyn Measured>>> {
        self.shared
            .queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the state of each object in `cache`, if that is wanted.
    pub fn publish<K>(&self, cache: &Cache<K>)
    where
        K: Watched + Resource<DynamicType = ()> + Serialize,
    {
        if let Some(resources) = &self.shared.resources {
            resources.follow(cache);
        }
    }

    /// The metrics of the queue of one kind.
    pub fn queue(&self, controller: &str) -> QueueMetrics {
        let labels = &[controller, controller];
        let shared = &self.shared;
        QueueMetrics {
            controller: controller.to_owned(),
            depth: shared.depth.clone(),
            adds: shared.adds.with_label_values(labels),
            retries: shared.retries.with_label_values(labels),
            unfinished: shared.unfinished.with_label_values(labels),
            longest: shared.longest.with_label_values(labels),
            waited: shared.waited.with_label_values(labels),
            worked: shared.worked.with_label_values(labels),
        }
    }

    /// Measures `queue` at every scrape.
    pub fn watch(&self, queue: impl Measured + 'static) {
        self.queues().push(Box::new(queue));
    }

    /// The metrics of the reconciles of one kind, its series initialised to zero (RT-MET-012).
    pub fn controller(&self, controller: &str, workers: usize) -> ControllerMetrics {
        let shared = &self.shared;
        for result in ReconcileResult::ALL {
            shared
                .reconciles
                .with_label_values(&[controller, result.label()]);
        }
        shared
            .limit
            .with_label_values(&[controller])
            .set(i64::try_from(workers).unwrap_or(i64::MAX));
        ControllerMetrics {
            controller: controller.to_owned(),
            reconciles: shared.reconciles.clone(),
            errors: shared.errors.with_label_values(&[controller]),
            terminal_errors: shared.terminal_errors.with_label_values(&[controller]),
            panics: shared.panics.with_label_values(&[controller]),
            timeouts: shared.timeouts.with_label_values(&[controller]),
            time: shared.time.with_label_values(&[controller]),
            active: shared.active.with_label_values(&[controller]),
        }
    }

    /// Observes the duration in seconds of one reconcile of an object (RT-MET-004).
    pub fn reconciled(&self, kind: &str, name: &str, namespace: &str, seconds: f64) {
        let key = Key::new(namespace, name);
        self.shared.durations.observe(kind, key, seconds);
    }

    /// Removes the series of an object that is gone (RT-MET-005, RT-MET-010).
    pub fn forget(&self, kind: &str, name: &str, namespace: &str) {
        let key = Key::new(namespace, name);
        self.shared.durations.remove(kind, &key);
        let forgetting = self.forgetting().clone();
        for forget in forgetting {
            forget(kind, name, namespace);
        }
    }

    /// Calls `forget` with kind, name and namespace of each object that is gone, for families in
    /// [`registry`](Self::registry) that have series by object.
    pub fn on_forget(&self, forget: impl Fn(&str, &str, &str) + Send + Sync + 'static) {
        self.forgetting().push(Arc::new(forget));
    }

    fn forgetting(&self) -> MutexGuard<'_, Vec<Forget>> {
        self.shared
            .forgetting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one request to an API server (RT-MET-017). `code` is the status or `<error>`.
    pub fn requested(&self, code: &str, method: &str, host: &str) {
        self.shared
            .requests
            .with_label_values(&[code, method, host])
            .inc();
    }

    /// Sets whether this process leads (RT-MET-018).
    pub fn leads(&self, lease: &str, leads: bool) {
        self.shared
            .leader
            .with_label_values(&[lease])
            .set(i64::from(leads));
    }
}

/// The metrics of the queue of one kind.
pub struct QueueMetrics {
    pub(crate) controller: String,
    depth: IntGaugeVec,
    pub(crate) adds: IntCounter,
    pub(crate) retries: IntCounter,
    unfinished: Gauge,
    longest: Gauge,
    pub(crate) waited: Histogram,
    pub(crate) worked: Histogram,
}

impl QueueMetrics {
    /// Sets the gauges: due objects by priority (`None` has no series), the seconds of all work in progress and of the
    /// longest.
    pub(crate) fn measure(
        &self,
        depths: &BTreeMap<i32, Option<i64>>,
        unfinished: f64,
        longest: f64,
    ) {
        for (priority, depth) in depths {
            let labels = [&*self.controller, &*self.controller, &*priority.to_string()];
            if let Some(depth) = depth {
                self.depth.with_label_values(&labels).set(*depth);
            } else {
                let _ = self.depth.remove_label_values(&labels);
            }
        }
        self.unfinished.set(unfinished);
        self.longest.set(longest);
    }
}

/// The metrics of the reconciles of one kind.
#[derive(Clone)]
pub struct ControllerMetrics {
    controller: String,
    reconciles: IntCounterVec,
    /// Reconciles that failed.
    pub errors: IntCounter,
    /// Reconciles that failed with a terminal error.
    pub terminal_errors: IntCounter,
    /// Reconciles that panicked.
    pub panics: IntCounter,
    /// Reconciles that timed out.
    pub timeouts: IntCounter,
    /// Durations of reconciles in seconds.
    pub time: Histogram,
    /// Reconciles in progress.
    pub active: prometheus::IntGauge,
}

impl ControllerMetrics {
    /// Counts one reconcile by its result.
    pub fn ended(&self, result: ReconcileResult) {
        self.reconciles
            .with_label_values(&[&*self.controller, result.label()])
            .inc();
    }
}

#[cfg(test)]
mod tests;
