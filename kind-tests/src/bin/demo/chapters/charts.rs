//! A chart, released once from the index of a Helm repository and once from an OCI registry, then upgraded.

use std::fmt::Write as _;
use std::time::Instant;

use kind_tests::{
    CONFIG_MAP, HELM_CHART, HELM_RELEASE, HELM_REPOSITORY, OCI_REPOSITORY, Result, ensure,
};
use registries::{Artifact, digest_of, tar_gz};
use serde_json::Value;

use crate::follow::Goal;
use crate::screen::{say, table, text};
use crate::stage::Stage;

const REPOSITORY: &str = "charts/hello";

/// The files of the chart, whose version is to be set.
const FILES: [(&str, &str); 8] = [
    (
        "hello/Chart.yaml",
        include_str!("../files/hello/Chart.yaml"),
    ),
    (
        "hello/values.yaml",
        include_str!("../files/hello/values.yaml"),
    ),
    (
        "hello/templates/_helpers.tpl",
        include_str!("../files/hello/templates/_helpers.tpl"),
    ),
    (
        "hello/templates/configmap.yaml",
        include_str!("../files/hello/templates/configmap.yaml"),
    ),
    (
        "hello/templates/deployment.yaml",
        include_str!("../files/hello/templates/deployment.yaml"),
    ),
    (
        "hello/templates/hpa.yaml",
        include_str!("../files/hello/templates/hpa.yaml"),
    ),
    (
        "hello/templates/service.yaml",
        include_str!("../files/hello/templates/service.yaml"),
    ),
    (
        "hello/templates/NOTES.txt",
        include_str!("../files/hello/templates/NOTES.txt"),
    ),
];

const OBJECTS: &str = "
apiVersion: source.toolkit.fluxcd.io/v1
kind: HelmRepository
metadata: {name: charts}
spec: {url: ${charts}, interval: 1m}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: frontend}
spec:
  interval: 10m
  chart:
    metadata: {labels: {kind-tests.fluxcd.io/shard: ${namespace}}}
    spec: {chart: hello, version: 1.x, sourceRef: {kind: HelmRepository, name: charts}}
  values: {replicaCount: 2, ui: {message: 'from the index, {{ .Chart.Version }}'}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {name: hello}
spec:
  url: oci://${repository}
  interval: 1m
  ref: {semver: 1.x}
  layerSelector: {mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {name: backend}
spec:
  interval: 10m
  chartRef: {kind: OCIRepository, name: hello}
  values: {service: {enabled: false}, ui: {message: 'from the registry, {{ .Chart.Version }}'}}
";

/// Both releases are installed, and upgraded by a new version of the chart.
pub(crate) async fn show(stage: &Stage) -> Result {
    publish(stage, &["1.0.0"])?;
    let objects = OBJECTS.replace("${charts}", &stage.charts());
    let repository = stage.registry.repository(REPOSITORY);
    let started = Instant::now();
    stage
        .apply(&objects.replace("${repository}", &repository))
        .await?;
    released(stage, started, "1.0.0", 1).await?;

    publish(stage, &["1.1.0", "1.0.0"])?;
    let started = Instant::now();
    stage.reconcile(HELM_REPOSITORY, "charts").await?;
    stage.reconcile(OCI_REPOSITORY, "hello").await?;
    released(stage, started, "1.1.0", 2).await
}

/// Pushes the first of these versions to the registry, and writes an index of all of them.
fn publish(stage: &Stage, versions: &[&str]) -> Result {
    let folder = stage.git.root();
    let mut index = "apiVersion: v1\nentries:\n  hello:\n".to_owned();
    for version in versions {
        let chart = chart(version);
        let name = format!("hello-{version}.tgz");
        let digest = digest_of(&chart).replace("sha256:", "");
        writeln!(
            index,
            "  - {{apiVersion: v2, name: hello, version: {version}, urls: [{name}], digest: {digest}}}"
        )?;
        if *version == versions[0] {
            stage
                .registry
                .push(REPOSITORY, version, &Artifact::helm(chart.clone()));
        }
        std::fs::write(folder.join(name), chart)?;
    }
    std::fs::write(folder.join("index.yaml"), index)?;
    say(&format!(
        "chart hello {} pushed to oci://{} and added to the index of {}",
        versions[0],
        stage.registry.repository(REPOSITORY),
        stage.charts()
    ));
    Ok(())
}

/// The archive of the chart.
fn chart(version: &str) -> Vec<u8> {
    let files = FILES.map(|(path, content)| (path, content.replace("${version}", version)));
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, content)| (*path, content.as_str()))
        .collect();
    tar_gz(&files)
}

/// Waits until both releases are at this version of the chart, and prints them.
async fn released(stage: &Stage, started: Instant, version: &str, revision: u64) -> Result {
    let chart = format!("{}-frontend", stage.namespace.name());
    // The digest of a chart from a registry is appended to its version.
    let deployed = |object: &Value| {
        let last = &object["status"]["history"][0];
        text(&last["chartVersion"]).starts_with(version) && last["status"] == "deployed"
    };
    let goals = [
        Goal::ready(HELM_REPOSITORY, "charts"),
        Goal::at(HELM_CHART, &chart, version),
        Goal::at(OCI_REPOSITORY, "hello", version),
        Goal::new(HELM_RELEASE, "frontend", deployed),
        Goal::new(HELM_RELEASE, "backend", deployed),
    ];
    let objects = stage.follow(started, &goals).await?;
    let mut rows = Vec::new();
    for release in &objects[3..] {
        let name = text(&release["metadata"]["name"]);
        let last = &release["status"]["history"][0];
        ensure!(
            last["version"] == revision,
            "{name} is at revision {}, not {revision}",
            last["version"]
        );
        let map = format!("{name}-hello");
        let map = stage.namespace.get(CONFIG_MAP, &map).await?;
        let map = map.unwrap_or_default();
        let message = text(&map["data"]["UI_MESSAGE"]);
        ensure!(message.contains(version), "{name} has the text {message:?}");
        rows.push(vec![
            format!("{name} v{revision}"),
            text(&last["chartVersion"]),
            text(&last["status"]),
            message,
        ]);
    }
    table(&["RELEASE", "CHART", "STATUS", "ITS TEXT"], &rows);
    Ok(())
}
