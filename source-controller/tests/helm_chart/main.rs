//! HelmCharts on a real API server, of repositories over HTTP and in registries, of Git repositories and buckets.

#[path = "../support/clouds.rs"]
mod cloud_settings;
#[path = "../support/signing.rs"]
mod signing;
#[path = "../support/mod.rs"]
mod support;

mod clients;
mod clouds;
mod dependencies;
mod failures;
mod hostile;
mod indexes;
mod repositories;
mod signatures;
mod sources;

use flux_chart::{Chart, File};
use git_servers::{HttpGitServer, HttpGitServerBuilder};
use kind_tests::controller::Settings;
use kind_tests::{HELM_CHART, HELM_REPOSITORY, Result};
use serde_json::Value;
use std::fmt::Write as _;

use crate::support::World;

/// A controller, and a server whose folder `charts` has charts and an index.
async fn world(topic: &str, settings: Settings, server: HttpGitServerBuilder) -> Result<World> {
    let world = World::start_with(topic, settings, server.files("/charts").start()).await?;
    Ok(world.of(HELM_CHART))
}

async fn plain(topic: &str) -> Result<World> {
    world(topic, Settings::default(), HttpGitServer::builder()).await
}

impl World {
    /// Applies a HelmRepository with these additional lines of its spec, in YAML's flow form, and waits until it is ready.
    async fn charts(&self, name: &str, spec: &str) -> Result {
        let url = self.git.url("charts");
        self.repository(name, &format!("url: '{url}', interval: 1h, {spec}"))
            .await?;
        self.namespace
            .wait_ready(HELM_REPOSITORY, name, "True")
            .await?;
        Ok(())
    }

    async fn repository(&self, name: &str, spec: &str) -> Result {
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: HelmRepository, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Applies a HelmChart of a HelmRepository.
    async fn chart(&self, name: &str, repository: &str, spec: &str) -> Result {
        self.chart_of(name, "HelmRepository", repository, spec)
            .await
    }

    async fn chart_of(&self, name: &str, kind: &str, source: &str, spec: &str) -> Result {
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: HelmChart, metadata: {{name: {name}}}, \
             spec: {{interval: 1h, sourceRef: {{kind: {kind}, name: {source}}}, {spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Puts charts and their index on the server.
    fn publish(&self, charts: &[(&str, &str)]) -> Result {
        let mut index = "apiVersion: v1\nentries:\n".to_owned();
        let mut names: Vec<_> = charts.iter().map(|(name, _)| name).collect();
        names.dedup();
        for name in names {
            let _ = writeln!(index, "  {name}:");
            for (_, version) in charts.iter().filter(|(own, _)| own == name) {
                let file = format!("{name}-{version}.tgz");
                std::fs::write(
                    self.git.root().join(&file),
                    packed(name, version, &[("values.yaml", "a: 1\n")]),
                )?;
                let digest = "0".repeat(64);
                let _ = writeln!(
                    index,
                    "  - {{name: {name}, version: {version}, urls: ['{file}'], digest: '{digest}'}}"
                );
            }
        }
        Ok(std::fs::write(self.git.root().join("index.yaml"), index)?)
    }

    /// Fetches the index of a repository again.
    async fn refresh(&self, repository: &str) -> Result {
        let at = self
            .namespace
            .request_reconcile(HELM_REPOSITORY, repository)
            .await?;
        let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at.as_str();
        self.namespace
            .wait(
                HELM_REPOSITORY,
                repository,
                "has handled the request",
                handled,
            )
            .await?;
        Ok(())
    }

    /// The stored archive of a chart.
    fn archive(&self, object: &Value) -> Result<Vec<u8>> {
        let path = object["status"]["artifact"]["path"]
            .as_str()
            .unwrap_or_default();
        Ok(std::fs::read(self.storage().join(path))?)
    }

    /// The stored chart.
    fn loaded(&self, object: &Value) -> Result<Chart> {
        Ok(Chart::from_archive(&self.archive(object)?)?)
    }

    /// Waits until the object is ready with this revision, and returns it.
    async fn revision(&self, name: &str, revision: &str) -> Result<Value> {
        let fits = |object: &Value| {
            object["status"]["artifact"]["revision"] == revision
                && kind_tests::is_ready(object, "True")
        };
        let goal = format!("is ready with revision {revision}");
        self.namespace.wait(self.kind, name, &goal, fits).await
    }
}

/// An archive of a chart.
fn packed(name: &str, version: &str, files: &[(&str, &str)]) -> Vec<u8> {
    let metadata = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
    let mut all = vec![File::new("Chart.yaml", metadata)];
    all.extend(
        files
            .iter()
            .map(|(name, text)| File::new(*name, (*text).to_owned())),
    );
    Chart::from_files(all).unwrap().package().unwrap()
}

/// A file of a chart.
fn file(chart: &Chart, name: &str) -> String {
    let found = chart.raw.iter().find(|file| file.name == name);
    found.map_or_else(String::new, |file| {
        String::from_utf8_lossy(&file.data).into_owned()
    })
}

/// The paths of the requests to a server.
fn targets(server: &HttpGitServer) -> Vec<String> {
    server
        .requests()
        .into_iter()
        .map(|request| request.target)
        .collect()
}
