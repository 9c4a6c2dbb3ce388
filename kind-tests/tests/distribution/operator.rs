//! flux-operator as a client: the objects that it applies, the shards that it makes, and the arguments that it adds.

use kind_tests::bundle::CONTROLLERS;
use kind_tests::controller::Settings;
use kind_tests::{
    BUCKET, CONFIG_MAP, Cluster, Controller, Flux, GIT_REPOSITORY, KUSTOMIZATION, Namespace,
    OCI_REPOSITORY, Result, ensure,
};
use kube::api::{Patch, PatchParams};
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

/// The host that artifacts of the shard name.
const SHARD: &str = "source-controller-shard1.flux-system.svc.cluster.local.";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_of_the_operator_is_applied_and_leaves_its_objects_alone() -> Result {
    let source = Settings::default()
        .flag(format!("--storage-adv-addr={SHARD}"))
        .flag("--feature-gates=ObjectLevelWorkloadIdentity=false");
    let kustomize = Settings::default().flag("--feature-gates=ObjectLevelWorkloadIdentity=true");
    let flux = Flux::start_with("operator", source, kustomize).await?;
    let namespace = &flux.namespace;
    let registry = Registry::start();
    registry.push(
        "org/sync",
        "latest",
        &Artifact::flux(tar_gz(&[("a.yaml", "a: 1\n")])),
    );
    let map = |name: &str, owner: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: {}}}\ndata: {{owner: {owner}}}\n",
            namespace.name()
        )
    };
    // What the operator has installed, annotated as it does, is in the repository too, as after a bootstrap.
    let installed = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "component", "annotations":
        {"kustomize.toolkit.fluxcd.io/ssa": "Ignore", "kustomize.toolkit.fluxcd.io/prune": "Disabled"}},
        "data": {"owner": "operator"}});
    let params = PatchParams::apply("flux-operator").force();
    let maps = namespace.api(CONFIG_MAP).await?;
    maps.patch("component", &params, &Patch::Apply(&installed))
        .await?;
    let version = maps.get("component").await?.metadata.resource_version;
    let (app, component) = (map("app", "sync"), map("component", "sync"));
    let commit = flux.commit(&[
        ("clusters/one/app.yaml", &*app),
        ("clusters/one/gotk-components.yaml", &*component),
    ]);
    let (url, host) = (flux.git.url("app.git"), registry.host());
    // FO-BLD-024: the sources and the Kustomization of `spec.sync`, by kind of source
    namespace
        .apply(&format!(
            "
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {{name: flux-system}}
spec: {{interval: 1m, url: '{url}', ref: {{name: refs/heads/main}}}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: OCIRepository
metadata: {{name: flux-system}}
spec: {{interval: 1m, url: 'oci://{host}/org/sync', insecure: true, provider: generic, ref: {{tag: latest}}}}
---
apiVersion: source.toolkit.fluxcd.io/v1
kind: Bucket
metadata: {{name: flux-system}}
spec: {{interval: 1m, endpoint: '{host}', bucketName: flux, insecure: true, provider: generic, suspend: true}}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {{name: flux-system}}
spec:
  interval: 10m0s
  path: clusters/one
  prune: true
  sourceRef: {{kind: GitRepository, name: flux-system}}
"
        ))
        .await?;
    let revision = format!("refs/heads/{commit}");
    flux.applied("flux-system", &revision).await?;
    let oci = namespace
        .wait_ready(OCI_REPOSITORY, "flux-system", "True")
        .await?;
    ensure!(
        namespace.get(BUCKET, "flux-system").await?.is_some(),
        "no Bucket"
    );
    // FO-SHD-007: the shard's host is in each URL, and a controller of another shard has fetched from it
    let source = namespace
        .get(GIT_REPOSITORY, "flux-system")
        .await?
        .unwrap_or_default();
    for (object, kind) in [(&source, "gitrepository"), (&oci, "ocirepository")] {
        let url = object["status"]["artifact"]["url"].as_str();
        let begin = format!("http://{SHARD}/{kind}/{}/flux-system/", namespace.name());
        ensure!(
            url.is_some_and(|url| url.starts_with(&begin)),
            "{url:?} is not below {begin}"
        );
    }
    let applied = namespace.get(CONFIG_MAP, "app").await?.unwrap_or_default();
    assert_eq!(applied["data"]["owner"], "sync");
    // FO-ALT-008
    let unchanged = maps.get("component").await?;
    assert_eq!(unchanged.metadata.resource_version, version);
    let mut next = flux
        .repo
        .commit("main")
        .remove("clusters/one/gotk-components.yaml");
    next = next
        .remove("clusters/one/app.yaml")
        .file("clusters/one/other.yaml", map("other", "sync"));
    let revision = format!("refs/heads/main@sha1:{}", next.create());
    namespace
        .request_reconcile(GIT_REPOSITORY, "flux-system")
        .await?;
    flux.applied("flux-system", &revision).await?;
    namespace.wait_gone(CONFIG_MAP, "app").await?;
    let unchanged = maps.get("component").await?;
    assert_eq!(unchanged.metadata.resource_version, version);

    // FO-ALT-011: each line is one that clients of logs read, and those of a run name its object
    for controller in [&flux.source, &flux.kustomize] {
        let lines = controller.log().lines();
        let parse = |line: &String| serde_json::from_str::<Value>(line);
        let entries: Vec<Value> = lines.iter().map(parse).collect::<Result<_, _>>()?;
        for entry in &entries {
            for key in ["level", "ts", "msg"] {
                ensure!(entry[key].is_string(), "no {key}: {entry}");
            }
        }
        let ran = entries.iter().any(|entry| {
            entry["name"] == "flux-system"
                && entry["namespace"] == namespace.name()
                && entry["controllerKind"].is_string()
                && entry["reconcileID"].is_string()
        });
        ensure!(ran, "{}: no line of a run", controller.name());
    }
    flux.suspend(KUSTOMIZATION, "flux-system", true).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_retired_gate_of_identities_is_accepted_with_any_value() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "gates").await?;
    // source-watcher never had it.
    for name in CONTROLLERS
        .into_iter()
        .filter(|name| *name != "source-watcher")
    {
        for value in ["true", "false"] {
            let gate = format!("--feature-gates=ObjectLevelWorkloadIdentity={value}");
            let settings = Settings::default().flag(gate);
            // FO-BLD-027: it gets ready
            let mut controller = Controller::start(name, &namespace, settings).await?;
            controller.kill()?;
        }
    }
    Ok(())
}
