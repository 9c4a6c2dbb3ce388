//! From a commit to objects: a repository in parts, each of which is applied for itself.

use std::collections::BTreeMap;
use std::time::Duration;

use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::{
    CONFIG_MAP, Cluster, Controller, EventSink, Flux, KUSTOMIZATION, Namespace, Result, ensure,
};
use serde_json::Value;

use crate::world::{EXTERNAL_ARTIFACT, GENERATOR};

/// The parts of the repository.
const PARTS: usize = 10;

fn map(part: usize, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: part-{part}\ndata:\n  v: \"{value}\"\n"
    )
}

/// How often each Kustomization was reconciled.
async fn reconciles(kustomize: &Controller) -> Result<BTreeMap<String, u64>> {
    let page = kustomize.metrics().await?;
    let lines = page.lines().filter(|line| {
        line.starts_with("gotk_reconcile_duration_seconds_count")
            && line.contains("kind=\"Kustomization\"")
    });
    let count = |line: &str| {
        let name = line.split("name=\"").nth(1)?.split('"').next()?;
        let value: f64 = line.rsplit(' ').next()?.parse().ok()?;
        Some((name.to_owned(), value as u64))
    };
    Ok(lines.filter_map(count).collect())
}

/// Everything of the path, with source-watcher between the source and what is applied.
async fn start() -> Result<(Flux, Controller)> {
    let namespace = Namespace::create(&Cluster::shared().await?, "monorepo").await?;
    let events = EventSink::start().await?;
    let git = HttpGitServer::start();
    let repo = Repo::init(git.root(), "app.git");
    let source = Controller::start("source-controller", &namespace, Settings::default()).await?;
    let at_source = source.artifact_address().unwrap_or_default();
    let settings = Settings::default()
        .env("SOURCE_CONTROLLER_LOCALHOST", &at_source)
        .flag("--storage-adv-addr=source-watcher.flux-system.svc.cluster.local.");
    let watcher = Controller::start("source-watcher", &namespace, settings).await?;
    let settings = Settings::default()
        .env("SOURCE_CONTROLLER_LOCALHOST", at_source)
        .env(
            "SOURCE_WATCHER_LOCALHOST",
            watcher.artifact_address().unwrap_or_default(),
        )
        .flag("--feature-gates=ExternalArtifact=true")
        .flag("--requeue-dependency=1s");
    let kustomize = Controller::start("kustomize-controller", &namespace, settings).await?;
    let flux = Flux {
        source,
        kustomize,
        notification: None,
        events,
        git,
        repo,
        namespace,
    };
    Ok((flux, watcher))
}

/// SW-GEN-117, SW-GEN-202, SW-ART-065: a commit that changes one folder costs the reconcile of one Kustomization.
#[tokio::test]
async fn a_commit_to_one_folder_reconciles_one_kustomization() -> Result {
    let (flux, watcher) = start().await?;
    let mut commit = flux.repo.commit("main");
    for part in 0..PARTS {
        commit = commit.file(&format!("apps/part-{part}/map.yaml"), map(part, "1"));
    }
    commit.create();
    flux.follow_main().await?;
    let mut yaml = format!(
        "apiVersion: {}\nkind: {}\nmetadata: {{name: parts}}\nspec:\n  pathPattern: '@repo/apps/{{app}}'\n  \
         sources: [{{alias: repo, kind: GitRepository, name: app}}]\n  \
         artifacts: [{{name: '{{app}}', originRevision: '@repo', copy: [{{from: '@repo/apps/{{app}}/**', to: '@artifact/'}}]}}]\n",
        GENERATOR.0, GENERATOR.1
    );
    for part in 0..PARTS {
        yaml.push_str("---\n");
        let kustomization = flux.kustomization(&format!("part-{part}"), &["prune: true"]);
        let source = format!("sourceRef: {{kind: ExternalArtifact, name: part-{part}}}");
        yaml.push_str(
            &kustomization.replace("sourceRef: {kind: GitRepository, name: app}", &source),
        );
    }
    flux.namespace.apply(&yaml).await?;
    let generator = flux
        .namespace
        .wait_ready(GENERATOR, "parts", "True")
        .await?;
    for part in 0..PARTS {
        let name = format!("part-{part}");
        flux.namespace
            .wait_ready(KUSTOMIZATION, &name, "True")
            .await?;
        // SW-GEN-114
        let artifact = flux
            .namespace
            .get(EXTERNAL_ARTIFACT, &name)
            .await?
            .unwrap_or_default();
        assert_eq!(artifact["metadata"]["labels"]["app"], name.as_str());
    }
    let before = reconciles(&flux.kustomize).await?;
    assert_eq!(before.len(), PARTS, "{before:?}");

    flux.commit(&[("apps/part-3/map.yaml", &map(3, "2"))]);
    flux.fetch().await?;
    let changed = |map: &Value| map["data"]["v"] == "2";
    flux.namespace
        .wait(CONFIG_MAP, "part-3", "has the new value", changed)
        .await?;
    let seen = |object: &Value| {
        kind_tests::is_ready(object, "True")
            && object["status"]["observedSourcesDigest"]
                != generator["status"]["observedSourcesDigest"]
    };
    let after = flux
        .namespace
        .wait(GENERATOR, "parts", "has seen the commit", seen)
        .await?;
    flux.namespace
        .wait_ready(KUSTOMIZATION, "part-3", "True")
        .await?;
    let counts = reconciles(&flux.kustomize).await?;
    let more: Vec<&String> = counts
        .iter()
        .filter(|(name, count)| before.get(*name) != Some(*count))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(more, ["part-3"], "{before:?} {counts:?}");
    // one digest of the inventory has changed
    let digests = |object: &Value| -> Vec<Value> {
        let entries = object["status"]["inventory"]
            .as_array()
            .into_iter()
            .flatten();
        entries.map(|entry| entry["digest"].clone()).collect()
    };
    let (old, new) = (digests(&generator), digests(&after));
    assert_eq!(
        old.iter().zip(&new).filter(|(old, new)| old != new).count(),
        1
    );

    // SW-GEN-116: a folder that is gone takes its artifact with it
    let removed = flux
        .repo
        .commit("main")
        .remove("apps/part-7/map.yaml")
        .create();
    ensure!(!removed.is_empty(), "nothing was committed");
    flux.fetch().await?;
    flux.namespace
        .wait_gone(EXTERNAL_ARTIFACT, "part-7")
        .await?;
    let folder = flux
        .namespace
        .folder()
        .join("source-watcher/externalartifact")
        .join(flux.namespace.name());
    let gone = async {
        while folder.join("part-7").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    flux.namespace.wait_for("its files are gone", gone).await?;
    ensure!(folder.join("part-6").is_dir(), "other files are gone too");
    watcher.check_memory()
}
