//! `/debug/pprof`: the paths of Go's profiles, with the information that a program not written in Go can give
//! (RT-PRB-004).

use std::fmt::Write as _;

use axum::Router;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::metrics::Metrics;

const INDEX: &str = "\
This controller is not written in Go. Under /debug/pprof it has:

cmdline     its command line
goroutine   what its controllers are working on, and since when
heap        its memory as the kernel counts it (status 501: there is no heap profile)

CPU time, memory and open files are on /metrics (process_*); CONTRIBUTING.md tells how to profile with perf.
";

/// The routes of `/debug/pprof` and below.
pub(crate) fn router(metrics: Metrics) -> Router {
    let index = || async { INDEX };
    Router::new()
        .route("/debug/pprof", get(index))
        .route("/debug/pprof/", get(index))
        .route("/debug/pprof/cmdline", get(command_line))
        .route(
            "/debug/pprof/goroutine",
            get(move || async move { text(StatusCode::OK, work(&metrics)) }),
        )
        .route(
            "/debug/pprof/heap",
            get(async || text(StatusCode::NOT_IMPLEMENTED, memory())),
        )
        .route("/debug/pprof/{profile}", get(no_profile))
}

fn text(status: StatusCode, body: String) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        body,
    )
        .into_response()
}

async fn command_line() -> String {
    std::env::args().collect::<Vec<_>>().join("\0")
}

async fn no_profile(Path(profile): Path<String>) -> Response {
    match profile.as_str() {
        "profile" | "symbol" | "trace" | "threadcreate" | "block" | "mutex" | "allocs" => text(
            StatusCode::NOT_IMPLEMENTED,
            format!(
                "profile '{profile}' belongs to the Go runtime, which this controller does not have; /debug/pprof/ lists what there is\n"
            ),
        ),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// What each controller is working on, the longest first.
fn work(metrics: &Metrics) -> String {
    let mut page = String::from("What the controllers work on, and for how long already:\n");
    for (controller, work) in metrics.work() {
        let _ = writeln!(page, "{controller}: {} under way", work.len());
        for work in work {
            let _ = writeln!(page, "  {:10.3} s  {}", work.age.as_secs_f64(), work.object);
        }
    }
    page
}

/// The kernel's figures for the memory of this process.
fn memory() -> String {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    // The first line is the range of addresses.
    let (_, figures) = rollup.split_once('\n').unwrap_or_default();
    format!(
        "There is no heap profile: the allocator keeps no account of who allocates. The whole process:\n{figures}"
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::queue::{BackOff, Key, LIVE, Queue};

    #[tokio::test]
    async fn running_reconciles_are_listed() {
        // RT-PRB-004
        let metrics = Metrics::new().unwrap();
        let back_off = BackOff {
            first: Duration::ZERO,
            last: Duration::ZERO,
        };
        let queue = Queue::new(back_off, metrics.queue("kustomization"));
        metrics.watch(queue.clone());
        assert!(work(&metrics).ends_with(":\nkustomization: 0 under way\n"));
        queue.add(Key::new("flux-system", "apps"), LIVE, None);
        queue.next().await;
        let page = work(&metrics);
        assert!(
            page.contains(":\nkustomization: 1 under way\n  ")
                && page.ends_with(" s  flux-system/apps\n"),
            "{page}"
        );
    }

    #[test]
    fn the_memory_profile_shows_kernel_figures() {
        let page = memory();
        assert!(
            page.contains("Rss:") && page.contains("Anonymous:"),
            "{page}"
        );
    }
}
