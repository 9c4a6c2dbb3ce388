//! Indexes in memory: read once, and counted as upstream's cache counts them.

use git_servers::HttpGitServer;
use kind_tests::controller::Settings;
use kind_tests::{HELM_REPOSITORY, Result, ensure};
use serde_json::{Value, json};

use crate::{targets, world};

// SC-HCHART-035, FR-H-085
#[tokio::test]
async fn a_hundred_charts_read_the_index_once() -> Result {
    const CHARTS: usize = 100;
    let settings = Settings::default()
        .flag("--log-level=debug")
        .flag("--concurrent=8");
    let mut world = world("chart-hundred", settings, HttpGitServer::builder()).await?;
    world.publish(&[("web", "1.0.0")])?;
    world.charts("charts", "").await?;
    // The table of the index is gone with the process: it is read from the storage.
    world.controller.restart().await?;
    world.controller.ready().await?;
    let charts = (0..CHARTS).map(|number| {
        json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmChart",
            "metadata": {"name": format!("web-{number}")},
            "spec": {"chart": "web", "interval": "1h", "sourceRef": {"kind": "HelmRepository", "name": "charts"}}})
    });
    for chart in charts {
        world.namespace.apply(&chart.to_string()).await?;
    }
    for number in 0..CHARTS {
        world.ready(&format!("web-{number}")).await?;
    }
    let entries = world.controller.log().entries();
    let reads = entries
        .iter()
        .filter(|line| line["msg"] == "reading Helm repository index");
    ensure!(reads.count() <= 1, "read more than once");
    let asked = targets(&world.git);
    let indexes = asked.iter().filter(|path| path.ends_with("index.yaml"));
    ensure!(indexes.count() <= 2, "{asked:?}"); // one for each process
    // SC-PROC-092: without the flags nothing is counted
    let metrics = world.controller.metrics().await?;
    ensure!(!metrics.contains("gotk_cache_events_total{"), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn the_cache_of_the_flags_shows_in_a_metric_and_an_event() -> Result {
    let settings = Settings::default()
        .flag("--helm-cache-max-size=1")
        .flag("--helm-cache-ttl=1h")
        .flag("--helm-cache-purge-interval=1h");
    let world = world("chart-cache", settings, HttpGitServer::builder()).await?;
    world.publish(&[("web", "1.0.0")])?;
    world.charts("charts", "").await?;
    world.charts("full", "").await?;
    // SC-HREPO-039
    let full = "failed to cache index: Cache is full";
    let of = world.of(HELM_REPOSITORY);
    of.recorded("full", "CacheOperationFailed", full).await?;
    let world = of.of(kind_tests::HELM_CHART);
    world.chart("web", "charts", "chart: web").await?;
    world.ready("web").await?;
    world.chart("other", "full", "chart: web").await?;
    world.ready("other").await?;
    // SC-HCHART-034
    world
        .recorded("other", "CacheOperationFailed", full)
        .await?;
    let namespace = world.namespace.name().to_owned();
    let series = |event: &str, name: &str| {
        format!(
            "gotk_cache_events_total{{event_type=\"{event}\",name=\"{name}\",namespace=\"{namespace}\"}} 1"
        )
    };
    let metrics = world.controller.metrics().await?;
    // SC-PROC-092, SC-HCHART-034, RT-MET-007
    for line in [series("cache_hit", "charts"), series("cache_miss", "full")] {
        ensure!(metrics.contains(&line), "no {line} in\n{metrics}");
    }

    // SC-HREPO-047: a new index takes the place of the one before
    world.publish(&[("web", "1.1.0")])?;
    world.refresh("charts").await?;
    world.revision("web", "1.1.0").await?;
    let repository = world.namespace.get(HELM_REPOSITORY, "charts").await?;
    let uid = repository.unwrap_or_default()["metadata"]["uid"].clone();
    let events = world
        .namespace
        .wait_all(kind_tests::Kind("v1", "Event"), "are listed", |events| {
            Some(events.to_vec())
        })
        .await?;
    let failed = |event: &&Value| {
        event["reason"] == "CacheOperationFailed" && event["involvedObject"]["uid"] == uid
    };
    ensure!(events.iter().find(failed).is_none(), "{events:#?}");

    // SC-HREPO-043
    world.namespace.delete(HELM_REPOSITORY, "charts").await?;
    world.namespace.wait_gone(HELM_REPOSITORY, "charts").await?;
    let gone = async {
        loop {
            let metrics = world.controller.metrics().await?;
            if !metrics.contains("name=\"charts\"") {
                return Ok::<_, kind_tests::Failure>(());
            }
            tokio::task::yield_now().await;
        }
    };
    world
        .namespace
        .wait_for("the series are gone", gone)
        .await??;
    Ok(())
}
