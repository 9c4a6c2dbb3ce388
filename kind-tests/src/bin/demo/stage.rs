//! Everything that runs: the controllers, what they fetch from and send to, and the namespace that they work in.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::{Cluster, Controller, Failure, Kind, Namespace, Result};
use registries::Registry;

use crate::chat::Chat;
use crate::screen::{say, table};

/// All seven.
pub(crate) const CONTROLLERS: [&str; 7] = [
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
    "source-watcher",
];

/// The folder of charts on the Git server, which serves files as well.
const CHARTS: &str = "charts";

/// The fields drop in this order: the controllers end before the namespace is deleted.
pub(crate) struct Stage {
    controllers: Vec<Controller>,
    /// Receives the alerts.
    pub(crate) chat: Chat,
    /// Serves the repository, and the charts with their index.
    pub(crate) git: HttpGitServer,
    /// The Git repository, whose branch is `main`.
    pub(crate) repo: Repo,
    /// The OCI registry.
    pub(crate) registry: Registry,
    /// What each object said last, and how long its last change took.
    pub(crate) seen: RefCell<BTreeMap<(Kind, String), (String, Duration)>>,
    pub(crate) namespace: Namespace,
}

impl Stage {
    /// Starts all controllers in a new namespace; their logs are also written to files in this folder.
    pub(crate) async fn start(cluster: &Cluster, registry: Registry, logs: &Path) -> Result<Self> {
        let started = Instant::now();
        let namespace = Namespace::create(cluster, "demo").await?;
        namespace.keep_logs(logs);
        // All others send their events to it.
        let notification = "notification-controller";
        let notification = Controller::start(notification, &namespace, Settings::default()).await?;
        let events = notification
            .events_url()
            .ok_or_else(|| Failure::new("notification-controller has no address for events"))?;
        let others = CONTROLLERS
            .iter()
            .filter(|name| **name != notification.name());
        let others =
            others.map(|name| Controller::start(name, &namespace, settings(name, &events)));
        let mut controllers = try_join_all(others).await?;
        controllers.push(notification);
        let git = HttpGitServer::builder().files("/charts").start();
        let stage = Self {
            controllers,
            chat: Chat::start().await?,
            repo: Repo::init(git.root(), "app.git"),
            git,
            registry,
            seen: RefCell::default(),
            namespace,
        };
        say(&format!(
            "all seven are ready after {} ms",
            started.elapsed().as_millis()
        ));
        Ok(stage)
    }

    /// The URL of the Git repository.
    pub(crate) fn repository(&self) -> String {
        self.git.url("app.git")
    }

    /// The URL of the Helm repository.
    pub(crate) fn charts(&self) -> String {
        self.git.url(CHARTS)
    }

    /// Prints what each controller uses.
    pub(crate) fn show_processes(&self) -> Result {
        let mut rows = Vec::new();
        let (mut bytes, mut processor) = (0, Duration::ZERO);
        for controller in &self.controllers {
            let (held, used) = (controller.resident_bytes()?, controller.cpu()?);
            (bytes, processor) = (bytes + held, processor + used);
            rows.push(row(
                controller.name(),
                &controller.pid().to_string(),
                held,
                used,
            ));
        }
        rows.push(row("together", "", bytes, processor));
        table(&["CONTROLLER", "PROCESS", "MEMORY", "PROCESSOR"], &rows);
        say(
            "   (built for the demo without optimisation; what ships takes less than half of both)",
        );
        Ok(())
    }
}

fn row(name: &str, process: &str, bytes: u64, processor: Duration) -> Vec<String> {
    vec![
        name.to_owned(),
        process.to_owned(),
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        format!("{:.2} s", processor.as_secs_f64()),
    ]
}

fn settings(name: &str, events: &str) -> Settings {
    let settings = Settings::default().flag(format!("--events-addr={events}"));
    match name {
        // They apply what source-watcher makes.
        "kustomize-controller" | "helm-controller" => settings
            .flag("--feature-gates=ExternalArtifact=true")
            .flag("--requeue-dependency=1s"),
        _ => settings,
    }
}
