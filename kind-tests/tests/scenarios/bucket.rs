//! From the objects of a bucket to objects on a cluster, and what the flux command shows of it.

use std::process::Command;

use kind_tests::{BUCKET, CONFIG_MAP, Flux, KUSTOMIZATION, Result, ensure, flux_cli, is_ready};
use object_stores::{ACCESS_KEY, SECRET_KEY, Seaweed};
use serde_json::{Value, json};

use crate::config_map;

/// A store with a bucket that has a manifest, and its Bucket; `None` if the store is not installed.
async fn bucket(flux: &Flux) -> Result<Option<Seaweed>> {
    let Some(store) = Seaweed::start() else {
        return Ok(None);
    };
    store.make_bucket("app").await;
    store
        .put("app", "deploy/a.yaml", config_map("a", "1"))
        .await;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"},
        "stringData": {"accesskey": ACCESS_KEY, "secretkey": SECRET_KEY}});
    flux.namespace.apply(&secret.to_string()).await?;
    flux.namespace
        .apply(&format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: Bucket, metadata: {{name: app}}, spec: \
             {{endpoint: '{}', bucketName: app, insecure: true, interval: 10m, secretRef: {{name: keys}}}}}}",
            store.address()
        ))
        .await?;
    Ok(Some(store))
}

fn revision(object: &Value) -> String {
    let revision = object["status"]["artifact"]["revision"].as_str();
    revision.unwrap_or_default().to_owned()
}

// KC-API-011
#[tokio::test]
async fn a_kustomization_applies_what_a_bucket_holds() -> Result {
    let flux = Flux::start("bucket").await?;
    let Some(store) = bucket(&flux).await? else {
        return Ok(());
    };
    let kustomization = flux.kustomization("app", &["path: deploy", "prune: true"]);
    let kustomization = kustomization.replace("kind: GitRepository", "kind: Bucket");
    flux.namespace.apply(&kustomization).await?;
    let applied = async |revision: String| {
        let fits = |object: &Value| {
            is_ready(object, "True") && object["status"]["lastAppliedRevision"] == revision
        };
        let goal = format!("is ready at {revision}");
        flux.namespace.wait(KUSTOMIZATION, "app", &goal, fits).await
    };
    let source = flux.namespace.wait_ready(BUCKET, "app", "True").await?;
    let first = revision(&source);
    applied(first.clone()).await?;

    // A changed object is applied without a request for the Kustomization.
    store
        .put("app", "deploy/a.yaml", config_map("a", "2"))
        .await;
    flux.namespace.request_reconcile(BUCKET, "app").await?;
    let moved = |object: &Value| revision(object) != first;
    let source = flux.namespace.wait(BUCKET, "app", "moved", moved).await?;
    applied(revision(&source)).await?;
    let map = flux.namespace.get(CONFIG_MAP, "a").await?;
    ensure!(
        map.as_ref().is_some_and(|map| map["data"]["v"] == "2"),
        "{map:?}"
    );
    Ok(())
}

// DI-GET-004
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_flux_cli_can_get_and_reconcile_a_bucket() -> Result {
    let flux = Flux::start("bucket-cli").await?;
    let Some(store) = bucket(&flux).await? else {
        return Ok(());
    };
    flux.namespace.wait_ready(BUCKET, "app", "True").await?;
    store.put("app", "deploy/b.yaml", "").await;
    let run = |arguments: &[&str]| -> Result<String> {
        let output = Command::new(flux_cli::program()?)
            .args(arguments)
            .args(["--namespace", flux.namespace.name(), "--timeout", "60s"])
            .env("KUBECONFIG", flux.namespace.cluster().kubeconfig())
            .output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(output.status.success(), "{text}");
        Ok(text)
    };
    let told = run(&["reconcile", "source", "bucket", "app"])?;
    let source = flux.namespace.wait_ready(BUCKET, "app", "True").await?;
    let revision = revision(&source);
    ensure!(
        told.contains(&format!("fetched revision {revision}")),
        "{told}"
    );
    let table = run(&["get", "sources", "bucket"])?;
    let shown = revision.get(.."sha256:".len() + 8).unwrap_or_default();
    let message = format!("stored artifact: revision '{shown}'");
    ensure!(table.contains(shown) && table.contains(&message), "{table}");
    Ok(())
}
