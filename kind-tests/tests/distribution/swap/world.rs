//! A cluster that upstream's controllers run on, with objects of every kind, and what takes their place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use git_servers::{HttpGitServer, Repo};
use kind_tests::bundle::CONTROLLERS;
use kind_tests::controller::Settings;
use kind_tests::requests::{Counter, Request};
use kind_tests::{
    BUCKET, Cluster, Controller, DEPLOYMENT, EXTERNAL_ARTIFACT, EventSink, GIT_REPOSITORY,
    HELM_CHART, HELM_REPOSITORY, KUSTOMIZATION, Kind, Namespace, OCI_REPOSITORY, RECEIVER, Result,
    ensure, free_ports, is_ready,
};
use object_stores::Seaweed;
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::objects::{self, Addresses};
use super::upstream::{self, Volume};
use crate::install::post;
use crate::sink::Sink;
use crate::takeover;

/// Names a folder with upstream's own programs, which then run instead of what is recorded of them.
const UPSTREAM: &str = "FLUX_TEST_UPSTREAM_BINARIES";

/// The controllers with a volume that artifacts are served from, with the kinds of these.
const SERVING: [(&str, &[Kind]); 2] = [
    (
        "source-controller",
        &[
            GIT_REPOSITORY,
            OCI_REPOSITORY,
            HELM_REPOSITORY,
            BUCKET,
            HELM_CHART,
        ],
    ),
    ("source-watcher", &[EXTERNAL_ARTIFACT]),
];

/// The fields drop in this order: the controllers end before the namespace is deleted.
pub(super) struct World {
    ours: BTreeMap<&'static str, Controller>,
    upstream: BTreeMap<&'static str, Controller>,
    /// Upstream's programs, if there are any.
    programs: Option<PathBuf>,
    ports: BTreeMap<&'static str, [u16; 3]>,
    volumes: BTreeMap<&'static str, Volume>,
    /// The requests of each controller since it took over.
    counters: BTreeMap<&'static str, Counter>,
    /// In place of upstream's notification-controller.
    events: EventSink,
    /// Where alerts are sent.
    sink: Sink,
    /// The alerts that were taken, and the events.
    taken: [usize; 2],
    registry: Registry,
    /// Serves the Git repository, and a Helm repository.
    git: HttpGitServer,
    store: Seaweed,
    pub(super) repo: Repo,
    pub(super) namespace: Namespace,
}

/// The ConfigMap that Kustomization `app` applies, with this value.
pub(super) fn map(value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: map}}\ndata: {{k: {value}}}\n")
}

impl World {
    /// With everything ready, and upstream's controllers running if there are any.
    ///
    /// `None` if the object store is not installed.
    pub(super) async fn start() -> Result<Option<Self>> {
        let Some(store) = Seaweed::start() else {
            return Ok(None);
        };
        let cluster = Cluster::shared().await?;
        let namespace = Namespace::create(&cluster, "swap-one").await?;
        let mut ports = BTreeMap::new();
        for name in CONTROLLERS {
            ports.insert(name, free_ports()?);
        }
        let programs = std::env::var_os(UPSTREAM).filter(|folder| !folder.is_empty());
        let git = HttpGitServer::builder().files("/charts").start();
        let mut world = Self {
            ours: BTreeMap::new(),
            upstream: BTreeMap::new(),
            programs: programs.map(PathBuf::from),
            ports,
            volumes: BTreeMap::new(),
            counters: BTreeMap::new(),
            events: EventSink::start().await?,
            sink: Sink::start().await?,
            taken: [0; 2],
            registry: Registry::start(),
            repo: Repo::init(git.root(), "app.git"),
            git,
            store,
            namespace,
        };
        world.push_chart("1.2.3", "small");
        let layer = tar_gz(&[("a", "1.0.0")]);
        world
            .registry
            .push("org/app", "1.0.0", &Artifact::flux(layer));
        world.start_all().await?;
        world.apply_all().await?;
        Ok(Some(world))
    }

    /// Starts what the objects are made with.
    async fn start_all(&mut self) -> Result {
        for name in order() {
            let settings = self.settings(name, self.programs.is_some());
            let started = Controller::start(name, &self.namespace, settings).await?;
            match self.programs {
                Some(_) => self.upstream.insert(name, started),
                None => self.ours.insert(name, started),
            };
        }
        Ok(())
    }

    async fn apply_all(&self) -> Result {
        let image = format!("{}/org/app", self.registry.host());
        let marked = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: image}}\ndata:\n  \
             image: {image}:1.0.0 # {{\"$imagepolicy\": \"{}:app\"}}\n",
            self.namespace.name()
        );
        let [packed, indexed] = ["packed", "indexed"].map(objects::chart);
        let (objects, _) = takeover::MANIFESTS.rsplit_once("---\n").unwrap_or_default();
        self.repo
            .commit("main")
            .file("deploy/all.yaml", objects)
            .file("deploy/map.yaml", map("v"))
            .file("deploy/image.yaml", marked)
            .file(
                "parts/map.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-part}\ndata: {a: b}\n",
            )
            .file(&format!("charts/packed/{}", packed[0].0), &packed[0].1)
            .file(&format!("charts/packed/{}", packed[1].0), &packed[1].1)
            .create();
        std::fs::write(
            self.git.root().join("index.yaml"),
            "apiVersion: v1\nentries:\n  indexed:\n  - {name: indexed, version: 0.1.0, urls: [indexed-0.1.0.tgz]}\n",
        )?;
        let indexed = indexed.map(|(path, text)| (format!("indexed/{path}"), text));
        let [manifest, template] = &indexed;
        let packed = tar_gz(&[(&*manifest.0, &*manifest.1), (&*template.0, &*template.1)]);
        std::fs::write(self.git.root().join("indexed-0.1.0.tgz"), packed)?;
        self.store.make_bucket("public").await;
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-bucket}\ndata: {a: b}\n";
        self.store.put("public", "map.yaml", map).await;
        let addresses = Addresses {
            git: self.git.url("app.git"),
            charts: self.git.url("charts"),
            oci_chart: self.registry.repository("org/web"),
            image,
            store: self.store.address().to_string(),
            sink: self.sink.url(),
        };
        self.namespace
            .apply(&objects::manifests(&addresses))
            .await?;
        for name in CONTROLLERS {
            for (kind, name) in self.objects(name) {
                self.namespace.wait_ready(kind, &name, "True").await?;
            }
        }
        self.namespace
            .wait(DEPLOYMENT, "web", "has its pods", |object| {
                object["status"]["readyReplicas"] == 2
            })
            .await?;
        let job = Kind("batch/v1", "Job");
        self.namespace
            .wait(job, "once", "is complete", |object| {
                object["status"]["succeeded"] == 1
            })
            .await?;
        self.webhook().await
    }

    fn objects(&self, controller: &str) -> Vec<(Kind, String)> {
        objects::of(controller, self.namespace.name())
    }

    fn settings(&self, name: &str, of_upstream: bool) -> Settings {
        let ports = self.ports.get(name).copied().unwrap_or_default();
        let mut settings = Settings::default().ports(ports);
        if name != "notification-controller" {
            let running = |side: &BTreeMap<&'static str, Controller>| {
                let notification = side.get("notification-controller");
                notification.and_then(Controller::events_url)
            };
            let address = running(&self.ours).or_else(|| running(&self.upstream));
            let address = address.unwrap_or_else(|| self.events.url());
            settings = settings.flag(format!("--events-addr={address}"));
        }
        if matches!(name, "kustomize-controller" | "helm-controller") {
            settings = settings
                .default_flag("--requeue-dependency=1s")
                .flag("--feature-gates=ExternalArtifact=true");
        }
        if name == "image-reflector-controller" {
            // Upstream's default since 2.10.
            settings = settings.flag("--feature-gates=FluxStorage=true");
        }
        match &self.programs {
            // Outside a pod they do not find the namespace of their Lease.
            Some(folder) if of_upstream => settings.program = Some(folder.join(name)),
            _ => settings = settings.flag("--enable-leader-election"),
        }
        settings
    }

    /// Lets everything be as upstream's controllers leave it, if they are not there themselves.
    pub(super) async fn as_upstream_leaves(&mut self) -> Result {
        for name in CONTROLLERS {
            self.handle_all(name).await?;
        }
        if self.programs.is_some() {
            self.take_alerts();
            return Ok(());
        }
        // Of what each other controller makes of an artifact, a part is made of its digest.
        for (controller, kinds) in SERVING {
            self.end_all().await?;
            for kind in kinds {
                for name in self.namespace.names(*kind).await? {
                    // Charts and indexes have the bytes of their registry or repository.
                    let is_copied = matches!(*kind, OCI_REPOSITORY | HELM_REPOSITORY)
                        || name.ends_with("-indexed");
                    if !is_copied {
                        upstream::repack(&self.namespace, controller, *kind, &name).await?;
                    }
                }
            }
            // What depends on them follows before the facts are read.
            self.start_all().await?;
            for name in CONTROLLERS {
                self.handle_all(name).await?;
            }
        }
        self.end_all().await?;
        takeover::as_upstream_applies(&self.namespace).await?;
        for (controller, _) in SERVING {
            self.serve_volume(controller).await?;
        }
        self.take_alerts();
        Ok(())
    }

    async fn end_all(&mut self) -> Result {
        for (name, mut controller) in std::mem::take(&mut self.ours) {
            let status = controller.terminate().await?;
            ensure!(status.success(), "{name} exited with {status}");
        }
        Ok(())
    }

    /// Serves the volume of upstream's controller.
    async fn serve_volume(&mut self, name: &'static str) -> Result {
        let Some([port, ..]) = self.ports.get(name).copied() else {
            return Ok(());
        };
        let folder = self.namespace.folder().join(name);
        self.volumes
            .insert(name, Volume::serve(folder, port).await?);
        Ok(())
    }

    /// Ends upstream's controller and starts ours in its place.
    pub(super) async fn swap(&mut self, name: &'static str) -> Result {
        if let Some(upstream) = self.upstream.get_mut(name) {
            upstream.terminate().await?;
        } else {
            upstream::release_lease(&self.namespace, name).await?;
        }
        if let Some(volume) = self.volumes.remove(name) {
            volume.end().await;
        }
        let user = format!("{name}.{}", self.namespace.name());
        let counter = Counter::start(self.namespace.cluster(), &user)?;
        self.counters.insert(name, counter);
        let settings = self.settings(name, false);
        let ours = Controller::start(name, &self.namespace, settings).await?;
        self.ours.insert(name, ours);
        if self.programs.is_none() {
            upstream::held_lease(&self.namespace, name).await?;
        }
        Ok(())
    }

    /// Ends ours; upstream's goes on.
    pub(super) async fn give_back(&mut self, name: &'static str) -> Result {
        if let Some(mut ours) = self.ours.remove(name) {
            let status = ours.terminate().await?;
            ensure!(status.success(), "{name} exited with {status}");
        }
        if let Some(upstream) = self.upstream.get_mut(name) {
            upstream.restart().await?;
            return self.handle_all(name).await;
        }
        upstream::take_lease(&self.namespace, name).await?;
        for (kind, object) in self.objects(name) {
            upstream::go_on(&self.namespace, name, kind, &object).await?;
        }
        for (serving, kinds) in SERVING {
            if serving == name {
                self.check_volume(serving, kinds).await?;
                self.serve_volume(serving).await?;
            }
        }
        Ok(())
    }

    /// What upstream finds on the volume: each artifact that a status names, with that digest, and nothing that it would
    /// not have put there itself.
    async fn check_volume(&self, controller: &str, kinds: &[Kind]) -> Result {
        let mut files = upstream::files_below(&self.namespace.folder().join(controller))?;
        for kind in kinds {
            for name in self.namespace.names(*kind).await? {
                let object = self.get(*kind, &name).await?;
                let artifact = &object["status"]["artifact"];
                let path = artifact["path"].as_str().unwrap_or_default();
                // DI-TRP-001, DI-TRP-003
                let digest = files.remove(path);
                assert_eq!(digest.as_deref(), artifact["digest"].as_str(), "{path}");
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                let wanted = format!("{}/{}/{name}", kind.1.to_lowercase(), self.namespace.name());
                assert_eq!(folder, wanted);
            }
        }
        let is_link =
            |path: &str| path.ends_with("/latest.tar.gz") || path.ends_with("/index.yaml");
        files.retain(|path, _| !is_lock(path) && !is_link(path));
        // A revision before this one stays until it is collected.
        files.retain(|path, _| !path.contains("/app/") && !path.contains("/chart/"));
        ensure!(files.is_empty(), "{controller} left {files:#?}");
        Ok(())
    }

    /// Requests a run of each object of the controller, and waits until it has been.
    pub(super) async fn handle_all(&self, name: &str) -> Result {
        for (kind, object) in self.objects(name) {
            let token = self.namespace.request_reconcile(kind, &object).await?;
            self.namespace
                .wait(kind, &object, "has handled the request", |object| {
                    is_ready(object, "True") && object["status"]["lastHandledReconcileAt"] == *token
                })
                .await?;
        }
        Ok(())
    }

    pub(super) async fn get(&self, kind: Kind, name: &str) -> Result<Value> {
        Ok(self.namespace.get(kind, name).await?.unwrap_or_default())
    }

    /// The files on all volumes.
    pub(super) fn files(&self) -> Result<BTreeMap<String, String>> {
        let mut all = BTreeMap::new();
        for name in CONTROLLERS {
            for (path, digest) in upstream::files_below(&self.namespace.folder().join(name))? {
                // Which files were locked before is of no consequence.
                if !is_lock(&path) {
                    all.insert(format!("{name} {path}"), digest);
                }
            }
        }
        Ok(all)
    }

    pub(super) fn push_chart(&self, version: &str, size: &str) {
        let chart = format!("apiVersion: v2\nname: web\nversion: {version}\n");
        let map = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: from-chart}}\ndata: {{size: {size}}}\n"
        );
        let files = [
            ("web/Chart.yaml", &*chart),
            ("web/templates/map.yaml", &*map),
        ];
        self.registry
            .push("org/web", version, &Artifact::helm(tar_gz(&files)));
    }

    /// The requests of the controller since it took over.
    pub(super) fn requests(&self, name: &str) -> Result<Vec<Request>> {
        let counter = self.counters.get(name);
        Ok(counter
            .map(Counter::requests)
            .transpose()?
            .unwrap_or_default())
    }

    /// The alerts since the last look: those sent, and the events that upstream's notification-controller would send.
    /// Without events that refresh commit statuses, which only generic services get (NC-EVT-043).
    pub(super) fn alerts(&self) -> Vec<Value> {
        let refreshes = |event: &Value| {
            let metadata = event["metadata"].as_object();
            metadata.into_iter().flatten().any(|(key, value)| {
                value == "update" && (key == "commit_status" || key.ends_with("/commit_status"))
            })
        };
        let sent = self.sink.events().into_iter().skip(self.taken[0]);
        let posted = self.events.events().into_iter().skip(self.taken[1]);
        sent.chain(posted)
            .filter(|event| !refreshes(event))
            .collect()
    }

    /// As [`World::alerts`], which then begin anew.
    pub(super) fn take_alerts(&mut self) -> Vec<Value> {
        let alerts = self.alerts();
        self.taken = [self.sink.events().len(), self.events.events().len()];
        alerts
    }

    /// Waits until an alert with this reason was sent.
    pub(super) async fn alerted(&self, reason: &str) -> Result {
        let sent = async {
            while !self.alerts().iter().any(|event| event["reason"] == *reason) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        self.namespace.wait_for("an alert was sent", sent).await
    }

    /// Posts an event about Kustomization `app`, as upstream's kustomize-controller does.
    pub(super) async fn post_event(&self, severity: &str, reason: &str, refresh: bool) -> Result {
        let object = self.get(KUSTOMIZATION, "app").await?;
        let metadata = &object["metadata"];
        let mut event = json!({
            "involvedObject": {"apiVersion": KUSTOMIZATION.0, "kind": KUSTOMIZATION.1, "name": "app",
                "namespace": metadata["namespace"], "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]},
            "severity": severity, "timestamp": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "message": format!("{reason}, as upstream tells it"), "reason": reason,
            "reportingController": "kustomize-controller", "reportingInstance": "kustomize-controller-5d8c9f7b6-x2x9k",
            "metadata": {"kustomize.toolkit.fluxcd.io/revision": object["status"]["lastAppliedRevision"]},
        });
        if refresh {
            event["metadata"]["kustomize.toolkit.fluxcd.io/commit_status"] = "update".into();
        }
        let port = self.ports["notification-controller"][1];
        post(&format!("127.0.0.1:{port}"), &event.to_string()).await
    }

    /// A webhook of a service, at the path that the Receiver has.
    pub(super) async fn webhook(&self) -> Result {
        let receiver = self.get(RECEIVER, "hook").await?;
        let path = receiver["status"]["webhookPath"]
            .as_str()
            .unwrap_or_default();
        let port = self.ports["notification-controller"][2];
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: hooks\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        ensure!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        Ok(())
    }
}

/// Whether the file only says who writes.
fn is_lock(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "lock")
}

/// The order of a start: what others talk to comes first.
pub(super) fn order() -> impl Iterator<Item = &'static str> {
    let first = "notification-controller";
    let others = CONTROLLERS.into_iter().filter(move |name| *name != first);
    std::iter::once(first).chain(others)
}
