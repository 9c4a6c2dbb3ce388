//! Prometheus metrics under upstream's names and labels (RT-MET rows).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::{
    Counter, Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter,
    IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector, core::Desc,
    proto::MetricFamily,
};

use crate::queue::Queue;

/// Bounds of `gotk_reconcile_duration_seconds`: ten of them, geometric from 0.01 to 1800 (RT-MET-003).
fn duration_buckets() -> Vec<f64> {
    let step = (1800.0_f64 / 0.01).powf(1.0 / 9.0);
    let mut bounds: Vec<f64> = (0..10).map(|power| 0.01 * step.powi(power)).collect();
    bounds[9] = 1800.0;
    bounds
}

/// Bounds of `controller_runtime_reconcile_time_seconds` (RT-MET-014).
const TIME_BUCKETS: [f64; 39] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9,
    1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 15.0, 20.0,
    25.0, 30.0, 40.0, 50.0,
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

/// Makes a metric and registers it. The names below are fixed and distinct, which a test proves by making them all.
fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let metric = made.expect("the metric's name and labels are valid");
    registry
        .register(Box::new(metric.clone()))
        .expect("the metric's name is registered once");
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A registry with every family of the frame in it.
    pub fn new() -> Self {
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
        let decades = || (-8..4).map(|power| 10_f64.powi(power)).collect::<Vec<_>>();
        let by_queue = &["name", "controller"];
        let shared = Shared {
            reconcile_duration: histogram(
                "gotk_reconcile_duration_seconds",
                "Seconds that a reconcile of the object took.",
                duration_buckets(),
                &["kind", "name", "namespace"],
            ),
            reconciles: counter(
                "controller_runtime_reconcile_total",
                "Reconciles by what became of them.",
                &["controller", "result"],
            ),
            errors: counter(
                "controller_runtime_reconcile_errors_total",
                "Reconciles that failed.",
                &["controller"],
            ),
            terminal_errors: counter(
                "controller_runtime_terminal_reconcile_errors_total",
                "Reconciles that failed in a way that no retry helps.",
                &["controller"],
            ),
            panics: counter(
                "controller_runtime_reconcile_panics_total",
                "Reconciles that panicked.",
                &["controller"],
            ),
            timeouts: counter(
                "controller_runtime_reconcile_timeouts_total",
                "Reconciles that ran out of time.",
                &["controller"],
            ),
            time: histogram(
                "controller_runtime_reconcile_time_seconds",
                "Seconds that a reconcile took.",
                TIME_BUCKETS.to_vec(),
                &["controller"],
            ),
            active: gauge(
                "controller_runtime_active_workers",
                "Workers that are busy.",
                &["controller"],
            ),
            limit: gauge(
                "controller_runtime_max_concurrent_reconciles",
                "Reconciles that may run at once.",
                &["controller"],
            ),
            depth: gauge(
                "workqueue_depth",
                "Objects that are due.",
                &["name", "controller", "priority"],
            ),
            adds: counter(
                "workqueue_adds_total",
                "Objects put into the queue.",
                by_queue,
            ),
            retries: counter(
                "workqueue_retries_total",
                "Objects put into the queue after a failure.",
                by_queue,
            ),
            unfinished: float(
                "workqueue_unfinished_work_seconds",
                "Seconds spent so far on the work that is under way.",
                by_queue,
            ),
            longest: float(
                "workqueue_longest_running_processor_seconds",
                "Seconds spent so far on the longest work under way.",
                by_queue,
            ),
            waited: histogram(
                "workqueue_queue_duration_seconds",
                "Seconds that objects were due before somebody took them.",
                decades(),
                by_queue,
            ),
            worked: histogram(
                "workqueue_work_duration_seconds",
                "Seconds that work on an object took.",
                decades(),
                by_queue,
            ),
            requests: counter(
                "rest_client_requests_total",
                "Requests to API servers by status code, method and host.",
                &["code", "method", "host"],
            ),
            leader: gauge(
                "leader_election_master_status",
                "Whether this process holds the Lease.",
                &["name"],
            ),
            queues: Mutex::default(),
            registry,
        };
        registered_process(&shared.registry);
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The registry, for families of a controller's own.
    pub fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    /// The page that a scrape gets (RT-MET-001).
    pub fn page(&self) -> Result<Vec<u8>, prometheus::Error> {
        for queue in self
            .shared
            .queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            queue.measure();
        }
        let mut page = Vec::with_capacity(16 * 1024);
        TextEncoder::new().encode(&self.shared.registry.gather(), &mut page)?;
        Ok(page)
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
        self.shared
            .queues
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(queue);
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

    /// Takes away the series of an object that is gone (RT-MET-005).
    pub fn forget(&self, kind: &str, name: &str, namespace: &str) {
        // Nothing to remove is what was wanted.
        let _ = self
            .shared
            .reconcile_duration
            .remove_label_values(&[kind, name, namespace]);
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
    controller: String,
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

/// The `process_*` families (RT-MET-019), read from `/proc` at every scrape.
struct Process {
    cpu: Counter,
    resident: Gauge,
    virtual_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    start: Gauge,
}

fn registered_process(registry: &Registry) {
    let gauge =
        |name: &str, help: &str| Gauge::new(name, help).expect("the metric's name is valid");
    let process = Process {
        cpu: Counter::new("process_cpu_seconds_total", "CPU seconds of this process.")
            .expect("the metric's name is valid"),
        resident: gauge(
            "process_resident_memory_bytes",
            "Memory of this process that is in RAM.",
        ),
        virtual_memory: gauge(
            "process_virtual_memory_bytes",
            "Address space of this process.",
        ),
        open_fds: gauge("process_open_fds", "Open file descriptors."),
        max_fds: gauge("process_max_fds", "Limit of open file descriptors."),
        start: gauge(
            "process_start_time_seconds",
            "When this process started, in seconds since 1970.",
        ),
    };
    registry
        .register(Box::new(process))
        .expect("the metric's name is registered once");
}

impl Process {
    /// Clock ticks a second: fixed at 100 in what Linux shows to programs on every architecture it runs on.
    const TICKS: f64 = 100.0;

    fn read(&self) -> Option<()> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in brackets, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |at: usize| fields.get(at - 3).and_then(|text| text.parse::<f64>().ok());
        let cpu = (field(14)? + field(15)?) / Self::TICKS;
        self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
        self.virtual_memory.set(field(23)?);
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        self.resident.set(
            resident
                .trim()
                .trim_end_matches(" kB")
                .parse::<f64>()
                .ok()?
                * 1024.0,
        );
        let boot = std::fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = boot
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .trim()
            .parse()
            .ok()?;
        self.start.set(boot + field(22)? / Self::TICKS);
        self.open_fds
            .set(std::fs::read_dir("/proc/self/fd").ok()?.count() as f64);
        let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
        let limit = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"))?;
        self.max_fds.set(
            limit
                .split_whitespace()
                .next()?
                .parse()
                .unwrap_or(f64::INFINITY),
        );
        Some(())
    }

    fn collectors(&self) -> [&dyn Collector; 6] {
        [
            &self.cpu,
            &self.resident,
            &self.virtual_memory,
            &self.open_fds,
            &self.max_fds,
            &self.start,
        ]
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors()
            .into_iter()
            .flat_map(Collector::desc)
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // What /proc does not tell keeps its last value.
        let _ = self.read();
        self.collectors()
            .into_iter()
            .flat_map(Collector::collect)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(metrics: &Metrics) -> String {
        String::from_utf8(metrics.page().unwrap()).unwrap()
    }

    #[test]
    fn series_have_upstreams_names_and_labels() {
        // RT-MET-003, RT-MET-012, RT-MET-014, RT-MET-015, RT-MET-017, RT-MET-018
        let metrics = Metrics::new();
        let controller = metrics.controller("kustomization", 4);
        controller.time.observe(0.1);
        metrics.reconciled("Kustomization", "apps", "flux-system", 0.02);
        metrics.requested("200", "GET", "10.0.0.1:443");
        metrics.leads("kustomize-controller-leader-election", true);
        let page = page(&metrics);
        for line in [
            "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"requeue_after\"} 0",
            "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"requeue\"} 0",
            "controller_runtime_max_concurrent_reconciles{controller=\"kustomization\"} 4",
            "controller_runtime_reconcile_time_seconds_bucket{controller=\"kustomization\",le=\"0.15\"} 1",
            "gotk_reconcile_duration_seconds_bucket{kind=\"Kustomization\",name=\"apps\",namespace=\"flux-system\",le=\"1800\"} 1",
            "rest_client_requests_total{code=\"200\",host=\"10.0.0.1:443\",method=\"GET\"} 1",
            "leader_election_master_status{name=\"kustomize-controller-leader-election\"} 1",
        ] {
            assert!(page.lines().any(|have| have == line), "{line} in\n{page}");
        }
        // RT-MET-019
        assert!(
            page.lines()
                .any(|line| line.starts_with("process_resident_memory_bytes "))
        );
    }

    #[test]
    fn duration_buckets_are_geometric() {
        // RT-MET-003, SC-PROC-090, KC-PROC-052
        let want = [
            0.01,
            0.038_363_6,
            0.147_176,
            0.564_622,
            2.16609,
            8.30990,
            31.8798,
            122.302,
            469.195,
            1800.0,
        ];
        for (have, want) in duration_buckets().into_iter().zip(want) {
            assert!((have / want - 1.0).abs() < 1e-4, "{have} is not {want}");
        }
    }

    #[test]
    fn series_of_a_gone_object_disappear() {
        // RT-MET-005, KC-PROC-053
        let metrics = Metrics::new();
        metrics.reconciled("Kustomization", "apps", "flux-system", 0.02);
        metrics.forget("Kustomization", "apps", "flux-system");
        assert!(!page(&metrics).contains("name=\"apps\""));
    }
}
