//! What cannot be pulled.

use git_servers::HttpGitServer;
use kind_tests::controller::Settings;
use kind_tests::{Result, ensure};
use serde_json::Value;

use crate::{plain, world};

#[tokio::test]
async fn charts_that_cannot_be_pulled() -> Result {
    let settings = Settings::default().flag("--helm-chart-max-size=2000");
    let server = HttpGitServer::builder().redirect("/charts/loop", "/charts/loop");
    let world = world("chart-failures", settings, server).await?;
    world.publish(&[
        ("web", "1.0.0"),
        ("broken", "1.0.0"),
        ("gone", "1.0.0"),
        ("large", "1.0.0"),
        ("loop", "1.0.0"),
        ("empty", "1.0.0"),
    ])?;
    let root = world.git.root();
    std::fs::write(root.join("broken-1.0.0.tgz"), "PK")?;
    std::fs::remove_file(root.join("gone-1.0.0.tgz"))?;
    std::fs::write(root.join("large-1.0.0.tgz"), vec![0x1f; 2001])?;
    let index = std::fs::read_to_string(root.join("index.yaml"))?;
    let index = index.replace("'loop-1.0.0.tgz'", "'loop/x.tgz'");
    let index = index.replace("urls: ['empty-1.0.0.tgz']", "urls: []");
    std::fs::write(root.join("index.yaml"), index)?;
    world.charts("charts", "").await?;
    let url = world.git.url("charts");
    let pull = "chart pull error: failed to download chart for remote reference";
    let written = "chart pull error: failed to load chart metadata from written chart";
    for (name, spec, reason, want) in [
        // SC-HCHART-020
        (
            "name",
            "chart: Web".to_owned(),
            "InvalidChartReference",
            "invalid chart reference: invalid chart name 'Web': a valid name must be lower case letters and numbers and MAY be separated with dashes (-), slashes (/) or periods (.)".to_owned(),
        ),
        // SC-HCHART-023
        (
            "missing",
            "chart: none".to_owned(),
            "InvalidChartReference",
            "invalid chart reference: failed to get chart version for remote reference: no chart name found".to_owned(),
        ),
        (
            "range",
            "chart: web, version: '>=2'".to_owned(),
            "InvalidChartReference",
            "invalid chart reference: failed to get chart version for remote reference: no 'web' chart with version matching '>=2' found".to_owned(),
        ),
        // SC-HCHART-027
        (
            "gone",
            "chart: gone".to_owned(),
            "ChartPullError",
            format!("{pull}: failed to fetch {url}/gone-1.0.0.tgz : 404 Not Found"),
        ),
        (
            "loop",
            "chart: loop".to_owned(),
            "ChartPullError",
            format!("{pull}: Get \"/charts/loop/x.tgz\": stopped after 10 redirects"),
        ),
        // SC-HCHART-026
        (
            "empty",
            "chart: empty".to_owned(),
            "ChartPullError",
            format!("{pull}: chart 'empty' has no downloadable URLs"),
        ),
        (
            "broken",
            "chart: broken".to_owned(),
            "ChartPullError",
            format!("{written}: gzip: invalid header"),
        ),
        // SC-HCHART-091
        (
            "large",
            "chart: large".to_owned(),
            "ChartPullError",
            format!("{written}: size of chart 'large-1.0.0.tgz' exceeds '2000' bytes limit"),
        ),
    ] {
        world.chart(name, "charts", &spec).await?;
        let text = world
            .condition(name, "FetchFailed", "True", reason)
            .await?;
        let is_same = text == want || (name == "loop" && text.contains("redirect"));
        ensure!(is_same, "{text}");
        // SC-HCHART-084
        let (condition, state) = match reason {
            "InvalidChartReference" => ("Stalled", reason),
            _ => ("Reconciling", "ProgressingWithRetry"),
        };
        world.condition(name, condition, "True", state).await?;
        // the condition that the summary shows
        let ready = world.condition(name, "Ready", "False", reason).await?;
        ensure!(ready == text, "{ready}");
        world.recorded(name, reason, "chart").await?;
    }
    // SC-HCHART-095
    let spec = "chart: web, verify: {provider: cosign}";
    world.chart("verify", "charts", spec).await?;
    let text = world
        .condition("verify", "BuildFailed", "True", "ChartVerificationError")
        .await?;
    ensure!(
        text == "chart verification error: not implemented",
        "{text}"
    );
    let text = world
        .condition("verify", "SourceVerified", "False", "VerificationError")
        .await?;
    ensure!(
        text == "chart verification error: not implemented",
        "{text}"
    );
    Ok(())
}

// SC-HCHART-013, SC-HCHART-014
#[tokio::test]
async fn a_chart_waits_for_its_source() -> Result {
    let world = plain("chart-source").await?;
    world.chart("web", "charts", "chart: web").await?;
    let text = world
        .condition("web", "FetchFailed", "True", "SourceUnavailable")
        .await?;
    ensure!(
        text == "failed to get source: HelmRepository.source.toolkit.fluxcd.io \"charts\" not found",
        "{text}"
    );
    let url = world.git.url("charts");
    let spec = format!("url: '{url}', interval: 1h");
    world.repository("charts", &spec).await?; // has no index
    let object = world
        .namespace
        .wait(world.kind, "web", "has no artifact", |object: &Value| {
            kind_tests::condition(object, "FetchFailed")
                .is_some_and(|found| found["reason"] == "NoSourceArtifact")
        })
        .await?;
    let text = crate::support::message(&object, "FetchFailed");
    ensure!(
        text == "no artifact available for HelmRepository source 'charts'",
        "{text}"
    );
    ensure!(
        object["status"]["observedGeneration"] == -1,
        "{}",
        object["status"]
    );
    world
        .recorded("web", "NoSourceArtifact", "no artifact available")
        .await?;
    world.publish(&[("web", "1.0.0")])?;
    world.refresh("charts").await?;
    world.revision("web", "1.0.0").await?;
    Ok(())
}

#[tokio::test]
async fn admission_is_that_of_upstream() -> Result {
    let world = plain("chart-admission").await?;
    for (spec, words) in [
        // SC-HCHART-001
        (
            "chart: web, sourceRef: {kind: HelmRepository, name: a}",
            "spec.interval",
        ),
        (
            "chart: web, interval: 1h, sourceRef: {kind: OCIRepository, name: a}",
            "Unsupported value: \"OCIRepository\"",
        ),
        (
            "chart: web, interval: 1h, sourceRef: {kind: Bucket}",
            "sourceRef.name",
        ),
        // SC-HCHART-003
        (
            "chart: web, interval: 1h, sourceRef: {kind: Bucket, name: a}, reconcileStrategy: Always",
            "Unsupported value: \"Always\"",
        ),
        // SC-HCHART-005
        (
            "chart: web, interval: 1h, sourceRef: {kind: Bucket, name: a}, verify: {provider: cosign}",
            "spec.verify is only supported when spec.sourceRef.kind is 'HelmRepository'",
        ),
    ] {
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: HelmChart, metadata: {{name: bad}}, spec: {{{spec}}}}}"
        );
        let refused = world.namespace.apply(&yaml).await;
        let text = refused.err().map(|error| error.to_string());
        let text = text.unwrap_or_default();
        ensure!(text.contains(words), "{spec}: {text}");
    }
    // SC-HCHART-002, SC-HCHART-003, SC-HCHART-004
    let spec = "chart: web, suspend: true, valuesFiles: [a], ignoreMissingValuesFiles: true";
    world.chart("good", "charts", spec).await?;
    let object = world.namespace.get(world.kind, "good").await?;
    let spec = object.unwrap_or_default()["spec"].clone();
    ensure!(
        spec["version"] == "*" && spec["reconcileStrategy"] == "ChartVersion",
        "{spec}"
    );
    Ok(())
}
