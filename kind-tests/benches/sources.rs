//! `cargo bench -p kind-tests --bench sources`: 100 and 500 OCIRepositories and HelmCharts of one small package each, and
//! an OCI layer of 200 MiB.

mod figures;

use std::process::ExitCode;

use figures::{Span, Took, mebibytes, print, seconds};
use git_servers::HttpGitServer;
use kind_tests::controller::{Controller, Settings};
use kind_tests::{Cluster, HELM_CHART, Kind, Namespace, OCI_REPOSITORY, Result, is_ready};
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

const LAYER: usize = 200 << 20;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    for count in [100, 500] {
        oci_repositories(&cluster, count).await?;
        helm_charts(&cluster, count).await?;
    }
    large_layer(&cluster).await
}

/// Objects of one kind that a source-controller of their own reconciles.
struct Sources {
    namespace: Namespace,
    controller: Controller,
    kind: Kind,
    count: usize,
}

impl Sources {
    async fn start(cluster: &Cluster, kind: Kind, count: usize) -> Result<Self> {
        let namespace = Namespace::create(cluster, "sources").await?;
        let controller =
            Controller::start("source-controller", &namespace, Settings::default()).await?;
        Ok(Self {
            namespace,
            controller,
            kind,
            count,
        })
    }

    /// Creates the objects with this spec, waits until they are ready, and lets them be reconciled once more.
    async fn measure(&self, spec: &Value) -> Result {
        let Kind(version, kind) = self.kind;
        let span = Span::start(&self.controller, &self.namespace)?;
        let names = || (0..self.count).map(|number| format!("source-{number:03}"));
        let objects = names().map(|name| {
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}).to_string()
        });
        figures::apply_all(&self.namespace, objects).await?;
        self.all("are ready", |_| true).await?;
        self.show("first", &span.end(&self.controller)?);

        let span = Span::start(&self.controller, &self.namespace)?;
        let at = "unchanged";
        figures::request_all(&self.namespace, self.kind, names(), at).await?;
        self.all("have handled the request", |object| {
            object["status"]["lastHandledReconcileAt"] == at
        })
        .await?;
        self.show(at, &span.end(&self.controller)?);
        print(
            "  peak memory",
            &mebibytes(self.controller.peak_bytes()?),
            "target 40 MiB",
        );
        Ok(())
    }

    async fn all(&self, goal: &str, done: impl Fn(&Value) -> bool) -> Result {
        let done = |object: &Value| is_ready(object, "True") && done(object);
        self.namespace
            .wait_all(self.kind, goal, |objects| {
                (objects.len() == self.count && objects.iter().all(done)).then_some(())
            })
            .await
    }

    fn show(&self, run: &str, took: &Took) {
        let Kind(_, kind) = self.kind;
        print(
            &format!("{} of {kind}: {run} run", self.count),
            &seconds(took.wall),
            "",
        );
        print("  processor time", &seconds(took.cpu), "");
        if let Some(total) = took.request_count() {
            let each = format!("{:.1}", total as f64 / self.count as f64);
            print("  API requests per object", &each, &took.breakdown());
        }
    }
}

async fn oci_repositories(cluster: &Cluster, count: usize) -> Result {
    let registry = Registry::start();
    let files = [("web.yaml", "kind: ConfigMap\n")];
    registry.push("org/app", "1.0.0", &Artifact::flux(tar_gz(&files)));
    let url = format!("oci://{}", registry.repository("org/app"));
    let spec = json!({"url": url, "insecure": true, "interval": "1h", "timeout": "1m", "ref": {"tag": "1.0.0"}});
    let sources = Sources::start(cluster, OCI_REPOSITORY, count).await?;
    sources.measure(&spec).await
}

async fn helm_charts(cluster: &Cluster, count: usize) -> Result {
    let server = HttpGitServer::builder().files("/charts").start();
    let chart = tar_gz(&[
        (
            "web/Chart.yaml",
            "apiVersion: v2\nname: web\nversion: 1.0.0\n",
        ),
        ("web/values.yaml", "replicas: 1\n"),
        ("web/templates/map.yaml", "kind: ConfigMap\n"),
    ]);
    std::fs::write(server.root().join("web-1.0.0.tgz"), chart)?;
    std::fs::write(server.root().join("index.yaml"), INDEX)?;
    let sources = Sources::start(cluster, HELM_CHART, count).await?;
    let repository = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "HelmRepository",
        "metadata": {"name": "charts"}, "spec": {"url": server.url("charts"), "interval": "1h"}});
    sources.namespace.apply(&repository.to_string()).await?;
    let source = json!({"kind": "HelmRepository", "name": "charts"});
    let spec = json!({"chart": "web", "version": "1.0.0", "interval": "1h", "sourceRef": source});
    sources.measure(&spec).await
}

const INDEX: &str = "apiVersion: v1
entries:
  web:
  - name: web
    version: 1.0.0
    urls: [web-1.0.0.tgz]
";

/// One layer that does not compress, copied into the artifact as it is.
async fn large_layer(cluster: &Cluster) -> Result {
    let registry = Registry::start();
    let mut state = 1_u64;
    let mut layer = Vec::with_capacity(LAYER);
    while layer.len() < LAYER {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        layer.extend_from_slice(&state.to_be_bytes());
    }
    registry.push("org/large", "1.0.0", &Artifact::flux(layer));
    let namespace = Namespace::create(cluster, "large").await?;
    let controller =
        Controller::start("source-controller", &namespace, Settings::default()).await?;
    let url = format!("oci://{}", registry.repository("org/large"));
    let spec = json!({"url": url, "insecure": true, "interval": "1h", "ref": {"tag": "1.0.0"},
        "layerSelector": {"operation": "copy"}, "timeout": "5m"});
    let object = json!({"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "OCIRepository",
        "metadata": {"name": "large"}, "spec": spec});
    let span = Span::start(&controller, &namespace)?;
    namespace.apply(&object.to_string()).await?;
    namespace
        .wait_ready(OCI_REPOSITORY, "large", "True")
        .await?;
    let took = span.end(&controller)?;
    print(
        "OCIRepository with a layer of 200 MiB",
        &seconds(took.wall),
        "",
    );
    print("  processor time", &seconds(took.cpu), "");
    print(
        "  peak memory",
        &mebibytes(controller.peak_bytes()?),
        "target 40 MiB",
    );
    Ok(())
}
