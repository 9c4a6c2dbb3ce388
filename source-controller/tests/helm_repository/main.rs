//! HelmRepositories on a real API server, whose indexes come over HTTP and HTTPS.

#[path = "../support/mod.rs"]
mod support;

mod admission;
mod failures;
mod hostile;
mod index;
mod lifecycle;

use git_servers::{HttpGitServer, HttpGitServerBuilder};
use kind_tests::controller::Settings;
use kind_tests::{HELM_REPOSITORY, Result};

use crate::support::World;

/// A controller, and a server whose folder `charts` has an index.
async fn world(topic: &str, settings: Settings, server: HttpGitServerBuilder) -> Result<World> {
    let world = World::start_with(topic, settings, server.files("/charts").start()).await?;
    let world = world.of(HELM_REPOSITORY);
    world.publish(INDEX)?;
    Ok(world)
}

async fn plain(topic: &str) -> Result<World> {
    world(topic, Settings::default(), HttpGitServer::builder()).await
}

impl World {
    /// Applies a HelmRepository with these additional lines of its spec, in YAML's flow form.
    async fn repository(&self, name: &str, spec: &str) -> Result {
        let url = format!("url: '{}'", self.git.url("charts"));
        self.repository_at(name, &format!("{url}, interval: 1h, {spec}"))
            .await
    }

    async fn repository_at(&self, name: &str, spec: &str) -> Result {
        let yaml = format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: HelmRepository, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        );
        self.namespace.apply(&yaml).await?;
        Ok(())
    }

    /// Replaces the index on the server.
    fn publish(&self, index: &str) -> Result {
        Ok(std::fs::write(self.git.root().join("index.yaml"), index)?)
    }
}

const INDEX: &str = "apiVersion: v1
entries:
  web:
  - name: web
    version: 1.0.0
    urls: [web-1.0.0.tgz]
    created: 2026-01-02T03:04:05Z
generated: 2026-01-02T03:04:05Z
";
