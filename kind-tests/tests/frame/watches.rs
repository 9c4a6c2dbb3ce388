//! What triggers a reconcile, and how many run concurrently.

use std::sync::atomic::Ordering;

use flux_runtime::metrics::{Metrics, Page};
use kind_tests::{Cluster, GIT_REPOSITORY, Namespace, Result, is_ready};

use crate::{repository, start};

fn gauge(metrics: &Metrics, name: &str) -> Option<f64> {
    let page = String::from_utf8(metrics.page(Page::default()).ok()?).ok()?;
    let series = format!("{name}{{controller=\"gitrepository\"}} ");
    page.lines()
        .find_map(|line| line.strip_prefix(&series))?
        .parse()
        .ok()
}

#[tokio::test]
async fn every_object_is_reconciled_once_at_the_start() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-resync").await?;
    let first = start(&namespace).await?;
    for name in ["a", "b"] {
        namespace.apply(&repository(name, "ok")).await?;
        namespace
            .wait(GIT_REPOSITORY, name, "is ready", |object| {
                is_ready(object, "True")
            })
            .await?;
    }
    drop(first);
    // RT-WAT-004: nothing has changed, and yet each is reconciled
    let second = start(&namespace).await?;
    let all = async {
        while second.runs.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    };
    namespace.wait_for("a reconcile of each", all).await?;
    // A third object shows that the first two were not reconciled twice: its run comes after any waiting one.
    namespace.apply(&repository("c", "ok")).await?;
    namespace
        .wait(GIT_REPOSITORY, "c", "is ready", |object| {
            is_ready(object, "True")
        })
        .await?;
    // Its finalizer is a run without the reconciler.
    assert_eq!(second.runs.load(Ordering::SeqCst), 3);
    Ok(())
}

#[tokio::test]
async fn concurrency_is_limited_by_workers() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-workers").await?;
    let running = start(&namespace).await?;
    for name in ["a", "b", "c"] {
        namespace.apply(&repository(name, "hold")).await?;
    }
    let mut holding = running.holding.subscribe();
    namespace
        .wait_for(
            "both workers are busy",
            holding.wait_for(|holding| *holding == 2),
        )
        .await??;
    // RT-QUE-010, RT-MET-015, RT-MET-021: the third waits for a worker
    let waits = async {
        let depth =
            "workqueue_depth{controller=\"gitrepository\",name=\"gitrepository\",priority=\"0\"} 1";
        while !running.metrics.page(Page::default()).is_ok_and(|page| {
            String::from_utf8_lossy(&page)
                .lines()
                .any(|line| line == depth)
        }) {
            tokio::task::yield_now().await;
        }
    };
    namespace
        .wait_for("the third is in the queue", waits)
        .await?;
    assert_eq!(*running.holding.borrow(), 2);
    assert_eq!(
        gauge(&running.metrics, "controller_runtime_active_workers"),
        Some(2.0)
    );
    assert_eq!(
        gauge(
            &running.metrics,
            "controller_runtime_max_concurrent_reconciles"
        ),
        Some(2.0)
    );
    // RT-PRB-004: the work in progress
    let work: Vec<_> = running
        .metrics
        .work()
        .into_iter()
        .flat_map(|(_, work)| work)
        .collect();
    assert_eq!(work.len(), 2, "{work:?}");
    running.leave.send_replace(true);
    for name in ["a", "b", "c"] {
        namespace
            .wait(GIT_REPOSITORY, name, "is ready", |object| {
                is_ready(object, "True")
            })
            .await?;
    }
    Ok(())
}
