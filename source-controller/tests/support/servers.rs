//! Shared by the scenarios about all kinds: a server for each, with the same content.

#![allow(dead_code, reason = "no scenario file needs all of it")]

use std::fs;

use flux_chart::{Chart, File};
use git_servers::{HttpGitServer, Repo};
use kind_tests::{
    BUCKET, GIT_REPOSITORY, HELM_CHART, HELM_REPOSITORY, Kind, Namespace, OCI_REPOSITORY, Result,
};
use object_stores::{ACCESS_KEY, SECRET_KEY, Seaweed};
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

/// The repository in the registry.
pub(crate) const APP: &str = "org/app";

/// What all kinds are fetched from.
pub(crate) struct Servers {
    pub(crate) git: HttpGitServer,
    pub(crate) repo: Repo,
    pub(crate) registry: Registry,
    pub(crate) store: Seaweed,
}

impl Servers {
    /// `None` if a store is not installed.
    pub(crate) async fn start() -> Option<Self> {
        let store = Seaweed::start()?;
        store.make_bucket("app").await;
        let git = HttpGitServer::builder().files("/charts").start();
        let repo = Repo::init(git.root(), "app.git");
        Some(Self {
            git,
            repo,
            registry: Registry::start(),
            store,
        })
    }

    /// Puts this content everywhere.
    pub(crate) async fn publish(&self, version: &str, content: &str) -> Result {
        self.repo
            .commit("main")
            .file("content", content)
            .message(version)
            .create();
        let layer = tar_gz(&[("content", content)]);
        self.registry.push(APP, "latest", &Artifact::flux(layer));
        self.store.put("app", "content", content).await;
        let metadata = format!("apiVersion: v2\nname: web\nversion: {version}\n");
        let files = vec![
            File::new("Chart.yaml", metadata),
            File::new("content", content.to_owned()),
        ];
        let chart = Chart::from_files(files)?.package()?;
        fs::write(self.git.root().join("web.tgz"), chart)?;
        let index = |content: &str| {
            format!(
                "apiVersion: v1\nentries:\n  web:\n  - {{name: web, version: {version}, urls: [web.tgz], description: '{content}'}}\n"
            )
        };
        // The charts have an index of their own, which fits.
        fs::create_dir_all(self.git.root().join("small"))?;
        let chart = index("").replace("[web.tgz]", "['../web.tgz']");
        fs::write(self.git.root().join("small/index.yaml"), chart)?;
        fs::write(self.git.root().join("index.yaml"), index(content))?;
        Ok(())
    }

    /// The objects, each named after its kind, and the repository of the chart.
    pub(crate) fn objects(&self) -> [(Kind, &'static str, Value); 6] {
        let charts = self.git.url("charts");
        let source = json!({"kind": "HelmRepository", "name": "small"});
        let store = self.store.address().to_string();
        [
            (
                GIT_REPOSITORY,
                "git",
                json!({"url": self.git.url("app.git"), "ref": {"branch": "main"}}),
            ),
            (
                OCI_REPOSITORY,
                "oci",
                json!({"url": format!("oci://{}", self.registry.repository(APP))}),
            ),
            (
                BUCKET,
                "bucket",
                json!({"endpoint": store, "bucketName": "app", "insecure": true, "region": "us-east-1",
                    "secretRef": {"name": "keys"}}),
            ),
            (
                HELM_REPOSITORY,
                "small",
                json!({"url": format!("{charts}/small")}),
            ),
            (HELM_REPOSITORY, "index", json!({"url": charts})),
            (
                HELM_CHART,
                "chart",
                json!({"chart": "web", "sourceRef": source}),
            ),
        ]
    }

    /// Creates the Secret with the credentials of the store.
    pub(crate) async fn apply_secret(&self, namespace: &Namespace) -> Result {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
            "stringData": {"accesskey": ACCESS_KEY, "secretkey": SECRET_KEY}});
        namespace.apply(&secret.to_string()).await?;
        Ok(())
    }

    pub(crate) async fn apply(&self, namespace: &Namespace) -> Result {
        self.apply_secret(namespace).await?;
        for (kind, name, mut spec) in self.objects() {
            spec["interval"] = json!("1h");
            let object = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": {"name": name}, "spec": spec});
            namespace.apply(&object.to_string()).await?;
        }
        Ok(())
    }
}
