//! The minimal kind on a real API server, and the page that explains it.

use std::path::Path;
use std::time::Duration;

use flux_objects::Objects;
use flux_references::triggers::on_config;
use flux_references::{Index, Reader};
use flux_runtime::controller::Controller;
use flux_runtime::metrics::Metrics;
use flux_runtime::per_object::PerObject;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use k8s_openapi::api::core::v1::Secret;
use kind_tests::{Cluster, Kind, Namespace, Result, condition, is_ready};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::steps::references;
use super::{Buckets, SETTINGS};
use crate::environment;

const BUCKET: Kind = Kind("source.toolkit.fluxcd.io/v1", "Bucket");

#[tokio::test]
async fn a_minimal_kind_is_reconciled() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "frame-minimal").await?;
    let stop = CancellationToken::new();
    let _stopped = stop.clone().drop_guard();
    let environment = environment(&namespace, &Metrics::new()?, None)?;
    let seen = PerObject::default();
    let buckets = Buckets {
        secrets: Reader::Direct(environment.client.clone()),
        seen: seen.clone(),
    };
    let secrets: Objects<PartialObjectMeta<Secret>> =
        Objects::in_namespace(environment.client.clone(), namespace.name())?;
    let (api, all) = (secrets.into_api(), watcher::Config::default());
    let known = Cache::default();
    let index = Index::of(&known, references);
    let on_secret = on_config(index, known.clone());
    let controller = Controller::new(buckets, SETTINGS, known, environment);
    let controller = controller.watching(api, all, Cache::default(), on_secret);
    let controller = controller.clearing(&seen);
    tokio::spawn(controller.run(stop, Duration::from_secs(1)));

    namespace
        .apply(
            "{apiVersion: source.toolkit.fluxcd.io/v1, kind: Bucket, metadata: {name: b}, spec: {interval: 1h, \
             bucketName: b, endpoint: minio.example, secretRef: {name: keys}}}",
        )
        .await?;
    let failed = namespace
        .wait(BUCKET, "b", "lacks its Secret", |object| {
            is_ready(object, "False")
        })
        .await?;
    let ready = condition(&failed, "Ready").cloned().unwrap_or_default();
    assert_eq!(
        (&ready["reason"], &ready["message"]),
        (
            &json!("AuthenticationFailed"),
            &json!("secret 'keys' not found")
        )
    );

    namespace
        .apply(
            "{apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {accesskey: one}}",
        )
        .await?;
    let ready = namespace
        .wait(BUCKET, "b", "is ready", |object| is_ready(object, "True"))
        .await?;
    let ready = condition(&ready, "Ready").cloned().unwrap_or_default();
    assert_eq!(
        (&ready["reason"], &ready["message"]),
        (
            &json!("Succeeded"),
            &json!("credentials for 'minio.example' are usable")
        )
    );
    let key = Key::new(namespace.name(), "b");
    assert_eq!(seen.get(&key).as_deref(), Some("one"));

    // The next run by the interval is an hour away.
    namespace
        .apply(
            "{apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {accesskey: two}}",
        )
        .await?;
    let renewed = async {
        while seen.get(&key).as_deref() != Some("two") {
            tokio::task::yield_now().await;
        }
    };
    namespace
        .wait_for("the new credentials to be seen", renewed)
        .await?;

    namespace.delete(BUCKET, "b").await?;
    namespace.wait_gone(BUCKET, "b").await?;
    // the watch reports the deletion to the controller as well
    let cleared = async {
        while seen.get(&key).is_some() {
            tokio::task::yield_now().await;
        }
    };
    namespace.wait_for("its value to be cleared", cleared).await
}

/// What `docs/adding-a-kind.md` shows is what is compiled and run here.
#[test]
fn adding_a_kind_page_quotes_this_code() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(folder.join(path)).unwrap_or_default();
    let code: Vec<String> = ["mod", "reason", "steps", "failure", "scenario"]
        .map(|file| read(&format!("tests/frame/minimal/{file}.rs")))
        .into();
    let page = read("../docs/adding-a-kind.md");
    let blocks: Vec<&str> = page
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(blocks.len() >= 4, "a block for each file");
    for block in blocks {
        let shown: Vec<&str> = block.lines().map(str::trim).collect();
        let is_there = code.iter().any(|file| {
            let lines: Vec<&str> = file.lines().map(str::trim).collect();
            lines.windows(shown.len()).any(|window| window == shown)
        });
        assert!(is_there, "not in tests/frame/minimal:\n{block}");
    }
}
