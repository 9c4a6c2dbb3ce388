//! The environment of a scenario: a cluster of its own with `flux-system`, the servers that the pages name, and the
//! controllers, which reach the servers by these names.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use git_servers::{Authority, HttpGitServer, Pair, Proxy, Repo};
use kind_tests::controller::Settings;
use kind_tests::{Cluster, Controller, Doing, Failure, Namespace, Result, ensure};
use kube::api::{Api, PostParams};
use object_stores::{Answer, Front, Request, Seaweed};
use registries::{Artifact, Registry, tar_gz};
use serde_json::json;
use tokio::sync::watch;

use crate::charts::{Template, chart};
use crate::pages::{Pages, as_in_tutorials};

/// The namespace of the controllers.
pub(crate) const SYSTEM: &str = "flux-system";

/// Names that the pages use, all served with one certificate.
const HOSTS: [&str; 8] = [
    "git.example.com",
    "charts.example.com",
    "registry.example.com",
    "s3.example.com",
    "hooks.slack.com",
    "events.pagerduty.com",
    "api.github.com",
    "otel.example.com",
];

/// The fields drop in this order: the controllers end before their servers and the cluster.
pub(crate) struct World {
    controllers: Vec<Controller>,
    pub(crate) services: Services,
    pub(crate) pages: Pages,
    _git: HttpGitServer,
    pub(crate) repo: Repo,
    pub(crate) registry: Registry,
    charts: HttpGitServer,
    _store: Option<(Seaweed, Front)>,
    _proxy: Proxy,
    _folder: tempfile::TempDir,
    pub(crate) system: Namespace,
    pub(crate) cluster: Cluster,
}

impl World {
    /// Starts these controllers.
    pub(crate) async fn start(controllers: &[&str]) -> Result<Self> {
        Self::start_with(controllers, None).await
    }

    /// As [`World::start`], with an object store; `None` if it is not installed.
    pub(crate) async fn start_with_store(controllers: &[&str]) -> Result<Option<Self>> {
        let Some(store) = Seaweed::start() else {
            return Ok(None);
        };
        store.make_bucket("settings").await;
        let settings = "data:\n  currency: GBP\n";
        store.put("settings", "production.yaml", settings).await;
        Ok(Some(Self::start_with(controllers, Some(store)).await?))
    }

    async fn start_with(controllers: &[&str], store: Option<Seaweed>) -> Result<Self> {
        let pages = Pages::read()?;
        let folder = tempfile::tempdir()?;
        let authority = Authority::new();
        let pair = authority.issue(&HOSTS);
        let roots = folder.path().join("authority.pem");
        std::fs::write(&roots, authority.pem())?;

        let git = HttpGitServer::builder()
            .basic_auth("flux", "git-token")
            .tls_pair(&pair)
            .start();
        let repo = Repo::init(git.root(), "shop.git");
        let charts = HttpGitServer::builder().files("/").tls_pair(&pair).start();
        let registry = Registry::builder()
            .basic_auth("flux", "registry-token")
            .tls_pair(&pair)
            .start();
        let services = Services::start(&pair);
        let proxy = Proxy::http(None);
        let resolve = |host: &str, address| proxy.resolve(&format!("{host}:443"), address);
        resolve("git.example.com", git.address());
        resolve("charts.example.com", charts.address());
        resolve("registry.example.com", registry.address());
        for host in &HOSTS[4..] {
            resolve(host, services.front.address());
        }
        let store = store.map(|store| {
            let front = Front::to(store.address()).tls_pair(&pair).start();
            resolve("s3.example.com", front.address());
            (store, front)
        });

        let through = proxy.url();
        let cluster = Cluster::own(kind_tests::Settings::default()).await?;
        let client = cluster.client().await?;
        let object = serde_json::from_value(json!({"metadata": {"name": SYSTEM}}))?;
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client);
        namespaces.create(&PostParams::default(), &object).await?;
        let system = Namespace::existing(&cluster, SYSTEM).await?;
        let mut world = Self {
            controllers: Vec::new(),
            services,
            pages,
            _git: git,
            repo,
            registry,
            charts,
            _store: store,
            _proxy: proxy,
            _folder: folder,
            system,
            cluster,
        };
        world.fill();
        let settings = Settings::default()
            .env("HTTPS_PROXY", through)
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("SSL_CERT_FILE", roots.to_string_lossy());
        for name in controllers {
            world.start_controller(name, settings.clone()).await?;
        }
        Ok(world)
    }

    async fn start_controller(&mut self, name: &str, mut settings: Settings) -> Result {
        if name == "notification-controller" {
            settings = settings.flag("--watch-all-namespaces=true");
        } else {
            // The objects have the labels that the pages write, and no others.
            settings = settings.flag("--watch-label-selector=");
            if let Some(url) = self.events_url() {
                settings = settings.flag(format!("--events-addr={url}"));
            }
        }
        if matches!(name, "kustomize-controller" | "helm-controller") {
            settings = settings
                .flag("--requeue-dependency=1s")
                .flag("--feature-gates=ExternalArtifact=true");
        }
        let started = Controller::start(name, &self.system, settings).await?;
        self.controllers.push(started);
        Ok(())
    }

    /// Where events are posted to.
    pub(crate) fn events_url(&self) -> Option<String> {
        self.controllers.iter().find_map(Controller::events_url)
    }

    /// Where webhooks are received, without a path.
    pub(crate) fn webhooks_url(&self) -> Option<String> {
        self.controllers.iter().find_map(Controller::webhooks_url)
    }

    /// The first commit, the artifacts and the images.
    fn fill(&self) {
        let mut commit = self.repo.commit("main");
        for (path, text) in self.pages.files() {
            commit = commit.file(path, text);
        }
        // Made by SOPS for the recipient of the third rule of the page.
        commit
            .file("secrets/production/smtp.env", include_str!("smtp.env"))
            .file("Jenkinsfile", "pipeline {}\n")
            .create();
        let policy =
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: policy\ndata:\n  level: strict\n";
        for version in ["1.1.0", "1.2.0"] {
            let layer = tar_gz(&[("policies/policy.yaml", policy)]);
            self.registry
                .push("shop/bundles", version, &Artifact::flux(layer));
        }
        for tag in [
            "v1.4.0",
            "v1.5.2",
            "v2.0.0",
            "latest",
            "main-4f2c9e1-1764000000",
            "main-0a1b2c3-1764000500",
        ] {
            let layer = tar_gz(&[("tag", tag)]);
            self.registry
                .push("shop/orders", tag, &Artifact::flux(layer));
        }
    }

    /// Commits to `main`, and returns the revision.
    pub(crate) fn commit(&self, path: &str, text: &str) -> String {
        let commit = self.repo.commit("main").file(path, text).create();
        format!("main@sha1:{commit}")
    }

    /// The newest revision of `main`.
    pub(crate) fn revision(&self) -> String {
        format!("main@sha1:{}", self.repo.rev_parse("main"))
    }

    /// Publishes charts of these names and versions in the Helm repository, all with these templates.
    pub(crate) fn publish_charts(&self, charts: &[(&str, &str, &[Template])]) -> Result {
        let mut index = "apiVersion: v1\nentries:\n".to_owned();
        let mut last = "";
        for (name, version, templates) in charts {
            let file = format!("{name}-{version}.tgz");
            let archive = chart(name, version, templates);
            std::fs::write(self.charts.root().join(&file), archive)?;
            if last != *name {
                writeln!(index, "  {name}:")?;
                last = name;
            }
            writeln!(
                index,
                "  - {{apiVersion: v2, name: {name}, version: {version}, urls: [{file}]}}"
            )?;
        }
        Ok(std::fs::write(
            self.charts.root().join("index.yaml"),
            index,
        )?)
    }

    /// Another namespace of the cluster.
    pub(crate) async fn namespace(&self, name: &str) -> Result<Namespace> {
        Namespace::existing(&self.cluster, name).await
    }

    /// Applies documents as tutorials write them; the API server warns of each old version, and of nothing else.
    pub(crate) async fn apply(&self, documents: &[&str]) -> Result {
        let old: Vec<(String, Option<String>)> = documents
            .iter()
            .map(|document| as_in_tutorials(document))
            .collect();
        let texts: Vec<&str> = old.iter().map(|(text, _)| text.as_str()).collect();
        let told = self
            .kubectl(&["apply", "-f", "-"], &texts.join("---\n"))
            .await?;
        let wanted = old.iter().filter_map(|(_, warning)| warning.as_deref());
        let wanted: BTreeSet<&str> = wanted.collect();
        let warnings = told
            .lines()
            .filter_map(|line| line.strip_prefix("Warning: "));
        let warnings: BTreeSet<&str> = warnings.collect();
        ensure!(warnings == wanted, "{warnings:?} {wanted:?}");
        Ok(())
    }

    /// Applies documents as the pages write them, after [`World::apply`]: they are the same objects.
    pub(crate) async fn apply_current(&self, documents: &[&str]) -> Result {
        let told = self
            .kubectl(&["apply", "-f", "-"], &documents.join("---\n"))
            .await?;
        ensure!(!told.contains("Warning: "), "{told}");
        Ok(())
    }

    /// Runs kubectl with this input; returns both of its outputs.
    pub(crate) async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut command = match self.cluster.kube() {
            Some(kube) => {
                let mut command = Command::new(kube);
                command.arg("kubectl");
                command
            }
            None => Command::new("kubectl"),
        };
        command
            .args(arguments)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        let run = move || {
            let mut child = command.spawn().doing("run kubectl")?;
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            let output = child.wait_with_output()?;
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            if output.status.success() {
                Ok(text)
            } else {
                Err(Failure::new(text))
            }
        };
        tokio::task::spawn_blocking(run).await?
    }
}

/// The services of others: chat, incidents, forge, traces. They accept everything.
pub(crate) struct Services {
    front: Front,
    heard: Arc<Mutex<Vec<Request>>>,
    count: watch::Receiver<usize>,
}

impl Services {
    fn start(pair: &Pair) -> Self {
        let heard: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (counted, count) = watch::channel(0);
        let kept = heard.clone();
        let front = Front::alone()
            .answering(move |request| {
                let mut heard = kept.lock().unwrap_or_else(PoisonError::into_inner);
                heard.push(request.clone());
                counted.send_replace(heard.len());
                Some(match (request.header("host"), &*request.method) {
                    // The statuses of a commit so far.
                    ("api.github.com", "GET") => Answer::new(200, "[]"),
                    ("api.github.com", _) => Answer::new(201, "{}"),
                    ("hooks.slack.com", "POST") => Answer::new(200, "ok"),
                    ("events.pagerduty.com", "POST") => Answer::new(202, "{}"),
                    ("otel.example.com", "POST") => Answer::With(
                        200,
                        vec![("content-type", "application/x-protobuf".to_owned())],
                        String::new(),
                    ),
                    _ => Answer::new(404, ""),
                })
            })
            .tls_pair(pair)
            .start();
        Self {
            front,
            heard,
            count,
        }
    }

    /// The requests to a host so far.
    pub(crate) fn heard(&self, host: &str) -> Vec<Request> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = heard
            .iter()
            .filter(|request| request.header("host") == host);
        of_host.cloned().collect()
    }

    /// Waits for a request to this host that satisfies `wanted`, including past ones.
    pub(crate) async fn wait(
        &self,
        host: &str,
        goal: &str,
        wanted: impl Fn(&Request) -> bool,
    ) -> Result<Request> {
        let mut count = self.count.clone();
        let found = tokio::time::timeout(kind_tests::deadline(), async {
            loop {
                count.borrow_and_update();
                if let Some(request) = self.heard(host).into_iter().find(&wanted) {
                    return Ok::<_, Failure>(request);
                }
                count.changed().await?;
            }
        });
        found.await.unwrap_or_else(|_| {
            let heard = self.heard(host).into_iter();
            let heard: Vec<String> = heard
                .map(|got| format!("{} {}", got.target, String::from_utf8_lossy(&got.body)))
                .collect();
            Err(Failure::new(format!(
                "{host} never heard {goal}: {heard:#?}"
            )))
        })
    }
}
