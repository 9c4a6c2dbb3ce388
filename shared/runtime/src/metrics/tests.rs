//! Tests of the metrics page.

use super::*;
use crate::queue::{BackOff, Queue};

fn page(metrics: &Metrics) -> String {
    String::from_utf8(metrics.page(Page::default()).unwrap()).unwrap()
}

/// Metrics of a controller that has reconciled once, and of everything else that a process measures.
fn used() -> Metrics {
    let metrics = Metrics::new().unwrap();
    let controller = metrics.controller("kustomization", 4);
    controller.time.observe(0.1);
    controller.ended(ReconcileResult::Success);
    let back_off = BackOff {
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
fn metric_names_types_and_labels_match_upstream() {
    let page = page(&used());
    // The sample's name and the names of its labels, except for the bound of a bucket.
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
        ("process_virtual_memory_max_bytes", "gauge", &[]),
        ("process_network_receive_bytes_total", "counter", &[]),
        ("process_network_transmit_bytes_total", "counter", &[]),
        ("process_open_fds", "gauge", &[]),
        ("process_max_fds", "gauge", &[]),
        ("process_start_time_seconds", "gauge", &[]),
        // RT-MET-020
        ("certwatcher_read_certificate_total", "counter", &[]),
        ("certwatcher_read_certificate_errors_total", "counter", &[]),
        ("controller_runtime_webhook_panics_total", "counter", &[]),
        (
            "controller_runtime_conversion_webhook_panics_total",
            "counter",
            &[],
        ),
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
fn metric_values_match_upstream() {
    let page = page(&used());
    for line in [
        // RT-MET-012
        "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"success\"} 1",
        "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"error\"} 0",
        "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"requeue_after\"} 0",
        "controller_runtime_reconcile_total{controller=\"kustomization\",result=\"requeue\"} 0",
        "controller_runtime_reconcile_panics_total{controller=\"kustomization\"} 0",
        // RT-MET-015
        "controller_runtime_max_concurrent_reconciles{controller=\"kustomization\"} 4",
        "gotk_reconcile_duration_seconds_bucket{kind=\"Kustomization\",name=\"apps\",namespace=\"flux-system\",le=\"0.01\"} 0",
        // RT-MET-017
        "rest_client_requests_total{code=\"200\",host=\"10.0.0.1:443\",method=\"GET\"} 1",
        // RT-MET-018
        "leader_election_master_status{name=\"kustomize-controller-leader-election\"} 1",
    ] {
        assert!(page.lines().any(|have| have == line), "{line} in\n{page}");
    }
}

#[test]
fn histogram_buckets_match_upstream() {
    // The bounds are label values.
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
    // RT-MET-003, SC-PROC-090, KC-PROC-052
    assert_eq!(
        bounds("gotk_reconcile_duration_seconds"),
        "0.01 0.038363583488692544 0.1471764538093883 0.5646216173286169 2.166090855590701 8.309900738254731 \
             31.879757075478317 122.30217221643493 469.19495946736544 1799.9999999999986 +Inf"
    );
    // RT-MET-014
    assert_eq!(
        bounds("controller_runtime_reconcile_time_seconds"),
        "0.005 0.01 0.025 0.05 0.1 0.15 0.2 0.25 0.3 0.35 0.4 0.45 0.5 0.6 0.7 0.8 0.9 1 1.25 1.5 1.75 2 2.5 3 3.5 4 4.5 5 \
             6 7 8 9 10 15 20 25 30 40 50 60 +Inf"
    );
}

#[test]
fn metrics_absent_upstream_are_not_exposed() {
    // RT-MET-006, RT-MET-018, RT-MET-023
    let page = page(&used());
    for name in [
        "gotk_reconcile_condition",
        "gotk_suspend_status",
        "leader_election_slowpath_total",
        "controller_runtime_webhook_latency",
        "controller_runtime_webhook_requests",
        "pod=",
        "exported_",
        "container=",
    ] {
        assert!(!page.contains(name), "{name} in\n{page}");
    }
}

#[test]
fn metrics_of_a_deleted_object_are_removed() {
    // RT-MET-005, KC-PROC-053
    let metrics = used();
    metrics.forget("Kustomization", "apps", "flux-system");
    assert!(!page(&metrics).contains("name=\"apps\""));
}

#[test]
fn metric_help_texts_match_upstream() {
    let page = page(&used());
    for (family, help) in [
        (
            "gotk_reconcile_duration_seconds",
            "The duration in seconds of a GitOps Toolkit resource reconciliation.",
        ),
        (
            "controller_runtime_reconcile_total",
            "Total number of reconciliations per controller",
        ),
        (
            "controller_runtime_reconcile_errors_total",
            "Total number of reconciliation errors per controller",
        ),
        (
            "controller_runtime_terminal_reconcile_errors_total",
            "Total number of terminal reconciliation errors per controller",
        ),
        (
            "controller_runtime_reconcile_panics_total",
            "Total number of reconciliation panics per controller",
        ),
        (
            "controller_runtime_reconcile_timeouts_total",
            "Total number of reconciliation timeouts per controller",
        ),
        (
            "controller_runtime_reconcile_time_seconds",
            "Length of time per reconciliation per controller",
        ),
        (
            "controller_runtime_active_workers",
            "Number of currently used workers per controller",
        ),
        (
            "controller_runtime_max_concurrent_reconciles",
            "Maximum number of concurrent reconciles per controller",
        ),
        (
            "workqueue_depth",
            "Current depth of workqueue by workqueue and priority",
        ),
        (
            "workqueue_adds_total",
            "Total number of adds handled by workqueue",
        ),
        (
            "workqueue_retries_total",
            "Total number of items added to the workqueue with a non-zero delay (rate-limited requeues, explicit RequeueAfter or AddAfter calls)",
        ),
        (
            "workqueue_unfinished_work_seconds",
            "How many seconds of work has been done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases.",
        ),
        (
            "workqueue_longest_running_processor_seconds",
            "How many seconds has the longest running processor for workqueue been running.",
        ),
        (
            "workqueue_queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested",
        ),
        (
            "workqueue_work_duration_seconds",
            "How long in seconds processing an item from workqueue takes.",
        ),
        (
            "rest_client_requests_total",
            "Number of HTTP requests, partitioned by status code, method, and host.",
        ),
        (
            "leader_election_master_status",
            "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. 'name' is the string used to identify the lease. Please make sure to group by name.",
        ),
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
        (
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
        ),
        (
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
        ),
        (
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
        ),
        (
            "process_virtual_memory_max_bytes",
            "Maximum amount of virtual memory available in bytes.",
        ),
        (
            "process_network_receive_bytes_total",
            "Number of bytes received by the process over the network.",
        ),
        (
            "process_network_transmit_bytes_total",
            "Number of bytes sent by the process over the network.",
        ),
        ("process_open_fds", "Number of open file descriptors."),
        (
            "process_max_fds",
            "Maximum number of open file descriptors.",
        ),
        (
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
        ),
    ] {
        let line = format!("# HELP {family} {help}");
        assert!(page.lines().any(|have| have == line), "{line} in\n{page}");
    }
}
