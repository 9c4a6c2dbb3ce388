//! A namespace with all controllers and the servers that they read from.

use std::path::PathBuf;

use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{Cluster, Controller, Kind, Namespace, Result, SHARD_LABEL};
use registries::{Artifact, Registry, tar_gz};
use serde_json::Value;

use crate::cli::Flux;
use crate::sink::Sink;

pub(super) const CLI: &str = "flux-cli";

/// The fields drop in this order: the controllers end before the namespace is deleted.
pub(super) struct World {
    pub(super) controllers: Vec<Controller>,
    pub(super) notification: Controller,
    /// The requests of each controller, by its user.
    pub(super) counters: Vec<(String, Counter)>,
    pub(super) events: Sink,
    pub(super) registry: Registry,
    pub(super) git: HttpGitServer,
    pub(super) repo: Repo,
    pub(super) flux: Flux,
    pub(super) namespace: Namespace,
}

const CHART: &[(&str, &str)] = &[
    (
        "web/Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.2.3\n",
    ),
    (
        "web/templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-chart}\ndata: {size: \"{{ .Values.size }}\"}\n",
    ),
    ("web/values.yaml", "size: small\n"),
];

impl World {
    pub(super) async fn start() -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let namespace = Namespace::create(&cluster, "cli-all").await?;
        let mut counters = Vec::new();
        for name in kind_tests::bundle::CONTROLLERS {
            let user = format!("{name}.{}", namespace.name());
            let counter = Counter::start(&cluster, &user)?;
            counters.push((user, counter));
        }
        let events = Sink::start().await?;
        let registry = Registry::start();
        registry.push("org/web", "1.2.3", &Artifact::helm(tar_gz(CHART)));
        for tag in ["1.0.0", "1.1.0"] {
            let layer = tar_gz(&[("a", tag)]);
            registry.push("org/app", tag, &Artifact::flux(layer));
        }
        let git = HttpGitServer::start();
        let repo = Repo::init(git.root(), "app.git");
        let settings = Settings::default();
        let settings = settings.env("FLUX_RESOURCE_METRICS", "true");
        let notification = Controller::start("notification-controller", &namespace, settings);
        let notification = notification.await?;
        let address = notification.events_url().unwrap_or_default();
        let plain = || {
            Settings::default()
                .flag(format!("--events-addr={address}"))
                .env("FLUX_RESOURCE_METRICS", "true")
        };
        let source = Controller::start("source-controller", &namespace, plain()).await?;
        let artifacts = source.artifact_address().unwrap_or_default();
        let watcher = plain()
            .flag("--enable-leader-election")
            .env("SOURCE_CONTROLLER_LOCALHOST", &artifacts);
        let watcher = Controller::start("source-watcher", &namespace, watcher).await?;
        let mut controllers = vec![source, watcher];
        for name in ["kustomize-controller", "helm-controller"] {
            let settings = plain()
                .env("SOURCE_CONTROLLER_LOCALHOST", &artifacts)
                .default_flag("--requeue-dependency=1s");
            controllers.push(Controller::start(name, &namespace, settings).await?);
        }
        for name in ["image-reflector-controller", "image-automation-controller"] {
            controllers.push(Controller::start(name, &namespace, plain()).await?);
        }
        let flux = Flux::new(&cluster, CLI, namespace.name())?;
        Ok(Self {
            controllers,
            notification,
            counters,
            events,
            registry,
            git,
            repo,
            flux,
            namespace,
        })
    }

    /// The label by which the controllers of this test find objects.
    pub(super) fn label(&self) -> String {
        format!("--label={SHARD_LABEL}={}", self.namespace.name())
    }

    /// `flux create` with the label.
    pub(super) fn create(&self, arguments: &[&str]) -> Result<String> {
        let label = self.label();
        self.flux
            .run(&[&["create"][..], arguments, &[label.as_str()][..]].concat())
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.namespace.folder()
    }

    pub(super) async fn get(&self, kind: Kind, name: &str) -> Result<Value> {
        Ok(self.namespace.get(kind, name).await?.unwrap_or_default())
    }

    /// The repository: a map, an image with a marker, and a HelmRelease.
    pub(super) fn files(&self) -> Vec<(String, String)> {
        let (namespace, registry) = (self.namespace.name(), self.registry.host());
        let release = "apiVersion: helm.toolkit.fluxcd.io/v2\nkind: HelmRelease\nmetadata: {name: rel}\nspec: {interval: 1h, \
             chartRef: {kind: OCIRepository, name: chart}, values: {size: large}}\n";
        let marked = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: image}}\ndata:\n  image: {registry}/org/app:1.0.0 # {{\"$imagepolicy\": \"{namespace}:app\"}}\n"
        );
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: map}\ndata: {region: \"${region}\"}\n";
        vec![
            ("deploy/map.yaml".to_owned(), map.to_owned()),
            ("deploy/image.yaml".to_owned(), marked),
            ("deploy/release.yaml".to_owned(), release.to_owned()),
        ]
    }
}
