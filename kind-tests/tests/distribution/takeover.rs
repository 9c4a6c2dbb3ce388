//! A cluster that upstream's controllers ran on, taken over by these: nothing of what they applied, released or sent is
//! done once more.

use std::collections::BTreeMap;
use std::time::Duration;

use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::{
    ALERT, CONFIG_MAP, Cluster, Controller, DEPLOYMENT, GIT_REPOSITORY, HELM_RELEASE,
    KUSTOMIZATION, Kind, Namespace, OCI_REPOSITORY, PROVIDER, Result, SECRET, SHARD_LABEL, ensure,
    is_ready,
};
use kube::api::{Patch, PatchParams};
use registries::{Artifact, Registry, digest_of, tar_gz};
use serde_json::{Value, json};

use crate::sink::Sink;

const JOB: Kind = Kind("batch/v1", "Job");
const POD: Kind = Kind("v1", "Pod");
/// Where upstream's source-controller serves artifacts.
const UPSTREAM: &str = "http://source-controller.flux-system.svc.cluster.local./";

/// Objects that are applied, none of which is made anew.
pub(crate) const MANIFESTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: example.org/web:1, ports: [{containerPort: 80}]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: example.org/job:1}]}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: map}
data: {k: v}
";

const CHART: &[(&str, &str)] = &[
    (
        "web/Chart.yaml",
        "apiVersion: v2\nname: web\nversion: 1.2.3\n",
    ),
    (
        "web/templates/map.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: from-chart}\ndata: {size: small}\n",
    ),
];

/// The controllers that apply and tell; each is swapped by itself.
struct Controllers {
    source: Controller,
    kustomize: Controller,
    helm: Controller,
    notification: Controller,
}

impl Controllers {
    async fn start(namespace: &Namespace) -> Result<Self> {
        let settings = Settings::default();
        let notification =
            Controller::start("notification-controller", namespace, settings).await?;
        let address = notification.events_url().unwrap_or_default();
        let plain = || Settings::default().flag(format!("--events-addr={address}"));
        let source = Controller::start("source-controller", namespace, plain()).await?;
        let artifacts = source.artifact_address().unwrap_or_default();
        let local = || {
            plain()
                .env("SOURCE_CONTROLLER_LOCALHOST", &artifacts)
                .default_flag("--requeue-dependency=1s")
        };
        let kustomize = Controller::start("kustomize-controller", namespace, local()).await?;
        let helm = Controller::start("helm-controller", namespace, local()).await?;
        Ok(Self {
            source,
            kustomize,
            helm,
            notification,
        })
    }

    async fn end(mut self) -> Result {
        for controller in [
            &mut self.kustomize,
            &mut self.helm,
            &mut self.source,
            &mut self.notification,
        ] {
            controller.terminate().await?;
        }
        Ok(())
    }
}

/// What must not change: of each object its UID, generation and field managers, the pods, and Helm's records.
async fn facts(namespace: &Namespace) -> Result<BTreeMap<String, Value>> {
    let mut facts = BTreeMap::new();
    for (kind, name) in [
        (DEPLOYMENT, "web"),
        (JOB, "once"),
        (CONFIG_MAP, "map"),
        (CONFIG_MAP, "from-chart"),
        (GIT_REPOSITORY, "app"),
        (OCI_REPOSITORY, "chart"),
        (KUSTOMIZATION, "app"),
        (HELM_RELEASE, "rel"),
        (ALERT, "all"),
        (PROVIDER, "sink"),
    ] {
        let object = namespace.get(kind, name).await?.unwrap_or_default();
        let metadata = &object["metadata"];
        let managers = metadata["managedFields"].as_array().into_iter().flatten();
        let mut managers: Vec<String> = managers
            // Those of the test itself, which sets what upstream would have.
            .filter(|entry| entry["manager"] != kind_tests::FIELD_MANAGER)
            .map(|entry| {
                format!(
                    "{} {} {}",
                    entry["manager"], entry["operation"], entry["subresource"]
                )
            })
            .collect();
        managers.sort();
        let fact = json!({"uid": metadata["uid"], "generation": metadata["generation"], "managers": managers,
            "finalizers": metadata["finalizers"], "labels": metadata["labels"]});
        facts.insert(format!("{} {name}", kind.1), fact);
    }
    let mut pods = namespace.names(POD).await?;
    pods.sort();
    facts.insert("pods".to_owned(), json!(pods));
    let mut records = namespace.names(SECRET).await?;
    records.retain(|name| name.starts_with("sh.helm.release"));
    facts.insert("releases".to_owned(), json!(records));
    let release = namespace.get(HELM_RELEASE, "rel").await?;
    let history = release.unwrap_or_default()["status"]["history"].clone();
    facts.insert("history".to_owned(), history);
    let applied = namespace.get(KUSTOMIZATION, "app").await?;
    let inventory = applied.unwrap_or_default()["status"]["inventory"].clone();
    facts.insert("inventory".to_owned(), inventory);
    Ok(facts)
}

async fn applied(namespace: &Namespace) -> Result {
    for (kind, name) in [
        (GIT_REPOSITORY, "app"),
        (OCI_REPOSITORY, "chart"),
        (KUSTOMIZATION, "app"),
        (HELM_RELEASE, "rel"),
    ] {
        namespace.wait_ready(kind, name, "True").await?;
    }
    Ok(())
}

/// An Alert for these kinds that leads to `sink`, and what rolls out the manifests and the chart of these addresses.
pub(crate) fn objects(git: &str, charts: &str, sink: &str, told: &[&str]) -> String {
    let told = told
        .iter()
        .map(|kind| format!("{{kind: {kind}, name: '*'}}"));
    let told = told.collect::<Vec<_>>().join(", ");
    format!(
        "
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Provider
metadata: {{name: sink}}
spec: {{type: generic, address: '{sink}'}}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Alert
metadata: {{name: all}}
spec: {{providerRef: {{name: sink}}, eventSources: [{told}]}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: app}}
spec: {{interval: 1h, url: '{git}', ref: {{branch: main}}}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {{name: chart}}
spec: {{interval: 1h, timeout: 1m, url: 'oci://{charts}', insecure: true, ref: {{tag: 1.2.3}},
  layerSelector: {{mediaType: application/vnd.cncf.helm.chart.content.v1.tar+gzip, operation: copy}}}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: app}}
spec:
  interval: 1h
  path: ./deploy
  prune: true
  targetNamespace: ${{namespace}}
  sourceRef: {{kind: GitRepository, name: app}}
  commonMetadata: {{labels: {{{SHARD_LABEL}: ${{namespace}}}}}}
---
apiVersion: helm.toolkit.fluxcd.io/v2
kind: HelmRelease
metadata: {{name: rel}}
spec: {{interval: 1h, chartRef: {{kind: OCIRepository, name: chart}}, driftDetection: {{mode: enabled}}}}
"
    )
}

/// Writes the objects as upstream's kustomize-controller applies them, which sends empty fields that its Go types have.
pub(crate) async fn as_upstream_applies(namespace: &Namespace) -> Result {
    let labels = json!({"kustomize.toolkit.fluxcd.io/name": "app", "kustomize.toolkit.fluxcd.io/namespace": namespace.name(),
        SHARD_LABEL: namespace.name()});
    let metadata = |name: &str| json!({"name": name, "namespace": namespace.name(), "creationTimestamp": null, "labels": labels});
    for (kind, name, spec) in [
        (
            DEPLOYMENT,
            "web",
            json!({"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "strategy": {}, "template": {
                "metadata": {"creationTimestamp": null, "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "example.org/web:1", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                    "resources": {}}]}}}),
        ),
        (
            JOB,
            "once",
            json!({"template": {"metadata": {}, "spec": {"restartPolicy": "Never",
                "containers": [{"name": "c", "image": "example.org/job:1", "resources": {}}]}}}),
        ),
    ] {
        let payload = json!({"apiVersion": kind.0, "kind": kind.1, "metadata": metadata(name), "spec": spec, "status": {}});
        let params = PatchParams::apply("kustomize-controller").force();
        let api = namespace.api(kind).await?;
        api.patch(name, &params, &Patch::Apply(&payload)).await?;
    }
    Ok(())
}

/// Lets the source's status name an artifact of upstream: its host, and the digest that its gzip gave.
async fn as_upstream_stores(namespace: &Namespace, kind: Kind, name: &str) -> Result {
    let object = namespace.get(kind, name).await?.unwrap_or_default();
    let mut artifact = object["status"]["artifact"].clone();
    let path = artifact["path"].as_str().unwrap_or_default().to_owned();
    artifact["url"] = format!("{UPSTREAM}{path}").into();
    if kind == GIT_REPOSITORY {
        artifact["digest"] = digest_of(b"the same files, packed by Go").into();
    }
    let url = format!(
        "{UPSTREAM}{}/{}/{name}/latest.tar.gz",
        kind.1.to_lowercase(),
        namespace.name()
    );
    let status = json!({"artifact": artifact, "url": url});
    namespace.set_status(kind, name, status).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_of_the_controllers_repeats_nothing() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "swap").await?;
    let sink = Sink::start().await?;
    let registry = Registry::start();
    registry.push("org/web", "1.2.3", &Artifact::helm(tar_gz(CHART)));
    let git = HttpGitServer::start();
    let repo = Repo::init(git.root(), "app.git");
    repo.commit("main")
        .file("deploy/all.yaml", MANIFESTS)
        .create();
    let controllers = Controllers::start(&namespace).await?;
    let objects = objects(
        &git.url("app.git"),
        &registry.repository("org/web"),
        &sink.url(),
        &[
            "GitRepository",
            "OCIRepository",
            "Kustomization",
            "HelmRelease",
        ],
    );
    namespace.apply(&objects).await?;
    applied(&namespace).await?;
    namespace
        .wait(DEPLOYMENT, "web", "has its pods", |object| {
            object["status"]["readyReplicas"] == 2
        })
        .await?;
    let told = async {
        let told = |kind: &str| {
            let events = sink.events();
            events
                .iter()
                .any(|event| event["involvedObject"]["kind"] == kind)
        };
        while !(told("Kustomization") && told("HelmRelease")) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    namespace.wait_for("alerts of the first runs", told).await?;
    controllers.end().await?;

    // From here on everything is as upstream's controllers leave it; their volume was an emptyDir, which is gone.
    as_upstream_applies(&namespace).await?;
    as_upstream_stores(&namespace, GIT_REPOSITORY, "app").await?;
    as_upstream_stores(&namespace, OCI_REPOSITORY, "chart").await?;
    std::fs::remove_dir_all(namespace.folder().join("source-controller"))?;
    let before = facts(&namespace).await?;
    let sent = sink.events().len();

    let controllers = Controllers::start(&namespace).await?;
    // DI-TRP-003: what the volume no longer has is built again, and served here
    for (kind, name) in [(GIT_REPOSITORY, "app"), (OCI_REPOSITORY, "chart")] {
        namespace
            .wait(kind, name, "is served here", |object| {
                let url = object["status"]["artifact"]["url"].as_str();
                is_ready(object, "True") && !url.unwrap_or_default().starts_with(UPSTREAM)
            })
            .await?;
    }
    let ended = |kind: &'static str| {
        move |entry: &Value| {
            entry["controllerKind"] == kind
                && entry["msg"].as_str().is_some_and(|text| {
                    text.starts_with("Reconciliation finished") || text.contains("in-sync")
                })
        }
    };
    let log = controllers.kustomize.log();
    log.wait("of the first run", ended("Kustomization")).await?;
    let log = controllers.helm.log();
    log.wait("of the first run", ended("HelmRelease")).await?;
    for (kind, name) in [(KUSTOMIZATION, "app"), (HELM_RELEASE, "rel")] {
        let token = namespace.request_reconcile(kind, name).await?;
        namespace
            .wait(kind, name, "has handled the request", |object| {
                is_ready(object, "True") && object["status"]["lastHandledReconcileAt"] == *token
            })
            .await?;
    }

    // DI-TRP-001
    let after = facts(&namespace).await?;
    for (name, fact) in &before {
        ensure!(
            after.get(name) == Some(fact),
            "{name}: {fact:#} became {:#}",
            after.get(name).unwrap_or(&Value::Null)
        );
    }
    let events = sink.events();
    let alerts: Vec<&Value> = events
        .get(sent..)
        .unwrap_or_default()
        .iter()
        .filter(|event| {
            let kind = &event["involvedObject"]["kind"];
            // Each run that ends well refreshes the commit's status, upstream's too.
            let refreshes = event["metadata"]["commit_status"] == "update";
            event["severity"] == "error"
                || !refreshes && (kind == "Kustomization" || kind == "HelmRelease")
        })
        .collect();
    ensure!(alerts.is_empty(), "{alerts:#?}");
    controllers.end().await
}

/// A persistent volume: the artifact that upstream packed is served as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_artifact_on_the_volume_is_served_as_it_is() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "volume").await?;
    let git = HttpGitServer::start();
    let repo = Repo::init(git.root(), "app.git");
    let commit = repo.commit("main").file("a.yaml", "a: 1\n").create();
    let packed = tar_gz(&[("a.yaml", "a: 1\n")]);
    let path = format!("gitrepository/{}/app/{commit}.tar.gz", namespace.name());
    let file = namespace.folder().join("source-controller").join(&path);
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&file, &packed)?;
    let url = git.url("app.git");
    let object = namespace
        .apply(&format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: app, finalizers: [finalizers.fluxcd.io]}}, \
             spec: {{interval: 1h, url: '{url}', ref: {{branch: main}}}}}}"
        ))
        .await?;
    let generation = object
        .first()
        .map(|object| object["metadata"]["generation"].clone());
    let revision = format!("main@sha1:{commit}");
    let condition = |of_type: &str| {
        json!({"type": of_type, "status": "True", "reason": "Succeeded", "observedGeneration": generation,
            "message": format!("stored artifact for revision '{revision}'"), "lastTransitionTime": "2026-01-02T03:04:05Z"})
    };
    let digest = digest_of(&packed);
    let status = json!({
        "observedGeneration": generation, "conditions": [condition("Ready"), condition("ArtifactInStorage")],
        "artifact": {"path": path, "url": format!("{UPSTREAM}{path}"), "revision": revision, "digest": digest,
            "size": packed.len(), "lastUpdateTime": "2026-01-02T03:04:05Z"},
    });
    namespace.set_status(GIT_REPOSITORY, "app", status).await?;
    let source = Controller::start("source-controller", &namespace, Settings::default()).await?;
    let token = namespace.request_reconcile(GIT_REPOSITORY, "app").await?;
    let object = namespace
        .wait(GIT_REPOSITORY, "app", "has handled the request", |object| {
            is_ready(object, "True") && object["status"]["lastHandledReconcileAt"] == *token
        })
        .await?;
    // DI-TRP-003
    let artifact = &object["status"]["artifact"];
    assert_eq!(artifact["digest"], digest);
    assert_eq!(artifact["lastUpdateTime"], "2026-01-02T03:04:05Z");
    let address = source.artifact_address().unwrap_or_default();
    assert_eq!(artifact["url"], format!("http://{address}/{path}"));
    assert_eq!(std::fs::read(&file)?, packed);
    Ok(())
}
