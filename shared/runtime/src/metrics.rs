//! Prometheus metrics under upstream's names and labels (RT-MET rows).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGaugeVec, Opts, Registry, Result, core::Collector,
};

use crate::queue::{Queue, Work};

mod exposition;
mod process;
pub mod tokens;

pub use exposition::{Page, negotiate};

/// Bounds of `gotk_reconcile_duration_seconds`: ten of them, geometric from 0.01 to 1800, to the last digit as upstream
/// computes them, since they are labels (RT-MET-003).
const DURATION_BUCKETS: [f64; 10] = [
    0.01,
    0.038_363_583_488_692_544,
    0.147_176_453_809_388_3,
    0.564_621_617_328_616_9,
    2.166_090_855_590_701,
    8.309_900_738_254_731,
    31.879_757_075_478_317,
    122.302_172_216_434_93,
    469.194_959_467_365_44,
    1_799.999_999_999_998_6,
];

/// Bounds of the histograms of queues: twelve decades, multiplied up as upstream does it (RT-MET-016).
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
    reconcile_duration: HistogramVec,
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
    /// None where the cache of tokens is off.
    tokens: OnceLock<tokens::Families>,
    queues: Mutex<Vec<Queue>>,
}

/// What became of one reconcile, for `controller_runtime_reconcile_total` (RT-MET-012).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReconcileResult {
    /// Done, nothing planned.
    Success,
    /// Failed, back-off.
    Error,
    /// Comes back at once, slowed by the back-off.
    Requeue,
    /// Comes back after a set time.
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

/// Makes a metric and registers it.
fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: Result<C>) -> Result<C> {
    let metric = made?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

impl Metrics {
    /// A registry with every family of the frame in it. It fails only where a family's name or labels are not what
    /// Prometheus allows, or two have one name.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
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
            reconcile_duration: histogram(
                "gotk_reconcile_duration_seconds",
                "Seconds that a reconcile of the object took.",
                DURATION_BUCKETS.to_vec(),
                &["kind", "name", "namespace"],
            )?,
            reconciles: counter(
                "controller_runtime_reconcile_total",
                "Reconciles by what became of them.",
                &["controller", "result"],
            )?,
            errors: counter(
                "controller_runtime_reconcile_errors_total",
                "Reconciles that failed.",
                &["controller"],
            )?,
            terminal_errors: counter(
                "controller_runtime_terminal_reconcile_errors_total",
                "Reconciles that failed in a way that no retry helps.",
                &["controller"],
            )?,
            panics: counter(
                "controller_runtime_reconcile_panics_total",
                "Reconciles that panicked.",
                &["controller"],
            )?,
            timeouts: counter(
                "controller_runtime_reconcile_timeouts_total",
                "Reconciles that ran out of time.",
                &["controller"],
            )?,
            time: histogram(
                "controller_runtime_reconcile_time_seconds",
                "Seconds that a reconcile took.",
                TIME_BUCKETS.to_vec(),
                &["controller"],
            )?,
            active: gauge(
                "controller_runtime_active_workers",
                "Workers that are busy.",
                &["controller"],
            )?,
            limit: gauge(
                "controller_runtime_max_concurrent_reconciles",
                "Reconciles that may run at once.",
                &["controller"],
            )?,
            depth: gauge(
                "workqueue_depth",
                "Objects that are due.",
                &["name", "controller", "priority"],
            )?,
            adds: counter(
                "workqueue_adds_total",
                "Objects put into the queue.",
                by_queue,
            )?,
            retries: counter(
                "workqueue_retries_total",
                "Objects put into the queue after a failure.",
                by_queue,
            )?,
            unfinished: float(
                "workqueue_unfinished_work_seconds",
                "Seconds spent so far on the work that is under way.",
                by_queue,
            )?,
            longest: float(
                "workqueue_longest_running_processor_seconds",
                "Seconds spent so far on the longest work under way.",
                by_queue,
            )?,
            waited: histogram(
                "workqueue_queue_duration_seconds",
                "Seconds that objects were due before somebody took them.",
                queue_buckets(),
                by_queue,
            )?,
            worked: histogram(
                "workqueue_work_duration_seconds",
                "Seconds that work on an object took.",
                queue_buckets(),
                by_queue,
            )?,
            requests: counter(
                "rest_client_requests_total",
                "Requests to API servers by status code, method and host.",
                &["code", "method", "host"],
            )?,
            leader: gauge(
                "leader_election_master_status",
                "Whether this process holds the Lease.",
                &["name"],
            )?,
            tokens: OnceLock::new(),
            queues: Mutex::default(),
            registry,
        };
        process::register(&shared.registry)?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The registry, for families of a controller's own.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// What a scrape gets (RT-MET-001): OpenMetrics where `page` asks for it, compressed where it does.
    pub fn page(&self, page: Page) -> Result<Vec<u8>> {
        for queue in &*self.queues() {
            queue.measure();
        }
        exposition::encode(&self.shared.registry.gather(), page)
    }

    /// What every controller of this process works on right now, under the controller's name.
    pub fn work(&self) -> Vec<(String, Vec<Work>)> {
        let queues = self.queues();
        queues
            .iter()
            .map(|queue| (queue.name().to_owned(), queue.work()))
            .collect()
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.shared
            .queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
    pub fn watch(&self, queue: Queue) {
        self.queues().push(queue);
    }

    /// The metrics of the reconciles of one kind, its series made at zero (RT-MET-012).
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

    /// Observes the seconds of one reconcile of an object (RT-MET-004).
    pub fn reconciled(&self, kind: &str, name: &str, namespace: &str, seconds: f64) {
        self.shared
            .reconcile_duration
            .with_label_values(&[kind, name, namespace])
            .observe(seconds);
    }

    /// Takes away the series of an object that is gone (RT-MET-005, RT-MET-010).
    pub fn forget(&self, kind: &str, name: &str, namespace: &str) {
        // Nothing to remove is what was wanted.
        let _ = self
            .shared
            .reconcile_duration
            .remove_label_values(&[kind, name, namespace]);
        if let Some(tokens) = self.shared.tokens.get() {
            tokens.forget(kind, name, namespace);
        }
    }

    /// Counts one request to an API server (RT-MET-017). `code` is the status or `<error>`.
    pub fn requested(&self, code: &str, method: &str, host: &str) {
        self.shared
            .requests
            .with_label_values(&[code, method, host])
            .inc();
    }

    /// Whether this process leads (RT-MET-018).
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
    /// Sets the gauges: due objects by priority, seconds of all work under way and of the longest.
    pub(crate) fn measure(&self, depths: &BTreeMap<i32, i64>, unfinished: f64, longest: f64) {
        for priority in [crate::queue::LIVE, crate::queue::INITIAL] {
            if !depths.contains_key(&priority) {
                let labels = [&*self.controller, &*self.controller, &*priority.to_string()];
                let _ = self.depth.remove_label_values(&labels);
            }
        }
        for (priority, depth) in depths {
            self.depth
                .with_label_values(&[&*self.controller, &*self.controller, &*priority.to_string()])
                .set(*depth);
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
    /// Reconciles that failed for good.
    pub terminal_errors: IntCounter,
    /// Reconciles that panicked.
    pub panics: IntCounter,
    /// Reconciles that ran out of time.
    pub timeouts: IntCounter,
    /// Seconds that reconciles took.
    pub time: Histogram,
    /// Reconciles under way.
    pub active: prometheus::IntGauge,
}

impl ControllerMetrics {
    /// Counts one reconcile by what became of it.
    pub fn ended(&self, result: ReconcileResult) {
        self.reconciles
            .with_label_values(&[&*self.controller, result.label()])
            .inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(metrics: &Metrics) -> String {
        String::from_utf8(metrics.page(Page::default()).unwrap()).unwrap()
    }

    /// Metrics of a controller that has reconciled once, and of all else that a process measures.
    fn used() -> Metrics {
        let metrics = Metrics::new().unwrap();
        let controller = metrics.controller("kustomization", 4);
        controller.time.observe(0.1);
        controller.ended(ReconcileResult::Success);
        let back_off = crate::queue::BackOff {
            first: std::time::Duration::from_secs(1),
            last: std::time::Duration::from_secs(1),
        };
        metrics.watch(Queue::new(back_off, metrics.queue("kustomization")));
        metrics.reconciled("Kustomization", "apps", "flux-system", 0.02);
        metrics.requested("200", "GET", "10.0.0.1:443");
        metrics.leads("kustomize-controller-leader-election", true);
        metrics
    }

    #[test]
    fn families_have_upstreams_names_types_and_labels() {
        let page = page(&used());
        // The sample's name with its labels, their values aside; the bound of a bucket is none of ours.
        let samples: Vec<(&str, Vec<&str>)> = page
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (series, _) = line.rsplit_once(' ').unwrap();
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let labels = labels
                    .split(['"'])
                    .step_by(2)
                    .filter_map(|part| part.trim_start_matches([',', '}']).strip_suffix('='));
                (name, labels.filter(|label| *label != "le").collect())
            })
            .collect();
        let by_controller = &["controller"][..];
        let by_queue = &["controller", "name"];
        for (family, kind, labels) in [
            // RT-MET-003
            (
                "gotk_reconcile_duration_seconds",
                "histogram",
                &["kind", "name", "namespace"][..],
            ),
            // RT-MET-012, RT-MET-013
            (
                "controller_runtime_reconcile_total",
                "counter",
                &["controller", "result"],
            ),
            (
                "controller_runtime_reconcile_errors_total",
                "counter",
                by_controller,
            ),
            (
                "controller_runtime_terminal_reconcile_errors_total",
                "counter",
                by_controller,
            ),
            (
                "controller_runtime_reconcile_panics_total",
                "counter",
                by_controller,
            ),
            (
                "controller_runtime_reconcile_timeouts_total",
                "counter",
                by_controller,
            ),
            // RT-MET-014, RT-MET-015
            (
                "controller_runtime_reconcile_time_seconds",
                "histogram",
                by_controller,
            ),
            ("controller_runtime_active_workers", "gauge", by_controller),
            (
                "controller_runtime_max_concurrent_reconciles",
                "gauge",
                by_controller,
            ),
            // RT-MET-016
            (
                "workqueue_depth",
                "gauge",
                &["controller", "name", "priority"],
            ),
            ("workqueue_adds_total", "counter", by_queue),
            ("workqueue_retries_total", "counter", by_queue),
            ("workqueue_unfinished_work_seconds", "gauge", by_queue),
            (
                "workqueue_longest_running_processor_seconds",
                "gauge",
                by_queue,
            ),
            ("workqueue_queue_duration_seconds", "histogram", by_queue),
            ("workqueue_work_duration_seconds", "histogram", by_queue),
            // RT-MET-017, RT-MET-018
            (
                "rest_client_requests_total",
                "counter",
                &["code", "host", "method"],
            ),
            ("leader_election_master_status", "gauge", &["name"]),
            // RT-MET-019
            ("process_cpu_seconds_total", "counter", &[]),
            ("process_resident_memory_bytes", "gauge", &[]),
            ("process_virtual_memory_bytes", "gauge", &[]),
            ("process_open_fds", "gauge", &[]),
            ("process_max_fds", "gauge", &[]),
            ("process_start_time_seconds", "gauge", &[]),
        ] {
            assert!(
                page.contains(&format!("# TYPE {family} {kind}\n")),
                "{family} in\n{page}"
            );
            let help = format!("# HELP {family} ");
            assert!(
                page.lines()
                    .any(|line| line.len() > help.len() && line.starts_with(&help)),
                "{family}"
            );
            let ours = |name: &str| {
                let rest = name.strip_prefix(family);
                rest == Some("")
                    || kind == "histogram" && matches!(rest, Some("_bucket" | "_sum" | "_count"))
            };
            let series: Vec<_> = samples.iter().filter(|(name, _)| ours(name)).collect();
            assert!(!series.is_empty(), "{family} in\n{page}");
            for (name, have) in series {
                assert_eq!(have, labels, "{name}");
            }
        }
    }

    #[test]
    fn series_have_upstreams_values() {
        // RT-MET-012, RT-MET-014, RT-MET-015, RT-MET-017, RT-MET-018
        let page = page(&used());
        for line in [
            "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"success\"} 1",
            "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"error\"} 0",
            "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"requeue_after\"} 0",
            "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"requeue\"} 0",
            "controller_runtime_reconcile_panics_total{controller=\"kustomization\"} 0",
            "controller_runtime_max_concurrent_reconciles{controller=\"kustomization\"} 4",
            "gotk_reconcile_duration_seconds_bucket{kind=\"Kustomization\",name=\"apps\",namespace=\"flux-system\",le=\"0.01\"} 0",
            "rest_client_requests_total{code=\"200\",host=\"10.0.0.1:443\",method=\"GET\"} 1",
            "leader_election_master_status{name=\"kustomize-controller-leader-election\"} 1",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} in\n{page}");
        }
    }

    #[test]
    fn bounds_are_upstreams_to_the_digit() {
        // RT-MET-003, RT-MET-014, SC-PROC-090, KC-PROC-052: they are labels
        let page = page(&used());
        let bounds = |family: &str| {
            let start = format!("{family}_bucket{{");
            let lines = page.lines().filter(|line| line.starts_with(&start));
            lines
                .map(|line| {
                    line.split("le=\"")
                        .nth(1)
                        .unwrap()
                        .split('"')
                        .next()
                        .unwrap()
                })
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            bounds("gotk_reconcile_duration_seconds"),
            "0.01 0.038363583488692544 0.1471764538093883 0.5646216173286169 2.166090855590701 8.309900738254731 \
             31.879757075478317 122.30217221643493 469.19495946736544 1799.9999999999986 +Inf"
        );
        assert_eq!(
            bounds("controller_runtime_reconcile_time_seconds"),
            "0.005 0.01 0.025 0.05 0.1 0.15 0.2 0.25 0.3 0.35 0.4 0.45 0.5 0.6 0.7 0.8 0.9 1 1.25 1.5 1.75 2 2.5 3 3.5 4 4.5 5 \
             6 7 8 9 10 15 20 25 30 40 50 60 +Inf"
        );
    }

    #[test]
    fn what_upstream_does_not_show_is_not_shown() {
        // RT-MET-006, RT-MET-018, RT-MET-020, RT-MET-023
        let page = page(&used());
        for name in [
            "gotk_reconcile_condition",
            "gotk_suspend_status",
            "leader_election_slowpath_total",
            "certwatcher_",
            "controller_runtime_webhook_",
            "pod=",
            "exported_",
            "container=",
        ] {
            assert!(!page.contains(name), "{name} in\n{page}");
        }
    }

    #[test]
    fn series_of_a_gone_object_disappear() {
        // RT-MET-005, KC-PROC-053
        let metrics = used();
        metrics.forget("Kustomization", "apps", "flux-system");
        assert!(!page(&metrics).contains("name=\"apps\""));
    }
}
