//! Downloading artifacts: retries, rejections, redirects, proxies.

use kind_tests::controller::Settings;
use kind_tests::{
    Answer, Applier, ArtifactServer, CONFIG_MAP, GIT_REPOSITORY, KUSTOMIZATION, Kind, Result,
    condition, ensure,
};
use serde_json::{Value, json};

use crate::config_map;

const OCI_REPOSITORY: Kind = Kind("source.toolkit.fluxcd.io/v1", "OCIRepository");

/// The server's first responses, and the expected Ready condition; `None` if the run succeeds.
struct Download {
    revision: &'static str,
    instead: &'static [u16],
    says: Option<&'static str>,
    /// Whether an event is emitted.
    told: bool,
}

// KC-EVT-013: a revision is any text.
const DOWNLOADS: &[Download] = &[
    // KC-SRC-007, KC-PROC-008
    Download {
        revision: "main@sha1:1",
        instead: &[503, 500],
        says: None,
        told: false,
    },
    Download {
        revision: "v1.2.3@sha256:2",
        instead: &[503, 502, 500],
        says: Some("failed to download archive: GET URL giving up after 3 attempt(s)"),
        told: true,
    },
    // KC-SRC-009: a single response of that kind is final
    Download {
        revision: "sha256:3",
        instead: &[403],
        says: Some("failed to download archive from URL (status: 403 Forbidden)"),
        told: true,
    },
    // KC-SRC-008, KC-EVT-006
    Download {
        revision: "latest/4",
        instead: &[404],
        says: Some("Source is not ready, artifact not found, retrying in 1s"),
        told: false,
    },
];

#[tokio::test]
async fn downloads_are_retried_within_limits_and_failures_reported() -> Result {
    let applier = Applier::start("download", Settings::default().flag("--http-retry=2")).await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    applier.says("app", "ArtifactFailed", "not found").await?;
    for download in DOWNLOADS {
        let revision = download.revision;
        let answers = download.instead.iter().map(|code| Answer::Status(*code));
        applier.artifacts.instead(answers);
        applier.artifacts.take_requests();
        let map = config_map("a", revision);
        let files = [("a.yaml", map.as_str())];
        let publish = applier.publish(revision, &files);
        let name = revision.replace([':', '@', '/'], "-");
        let url = applier.artifacts.url(&format!("{name}.tar.gz"));
        let says = download.says.map(|text| text.replace("URL", &url));
        if let Some(says) = &says {
            // It is temporary: the next run finds a healthy server.
            let failed = applier
                .says_during("app", "ArtifactFailed", says, publish)
                .await?;
            let reconciling = condition(&failed, "Reconciling")
                .cloned()
                .unwrap_or_default();
            assert_eq!(reconciling["reason"], "ProgressingWithRetry");
            ensure!(
                failed["status"]["lastAttemptedRevision"] != revision,
                "{failed:#}"
            );
        } else {
            publish.await?;
        }
        applier.applied("app", revision).await?;
        if says.is_none() {
            assert_eq!(applier.artifacts.take_requests().len(), 3, "{revision}");
        }
        let of_revision =
            |event: &Value| event["metadata"]["kustomize.toolkit.fluxcd.io/revision"] == revision;
        applier
            .events
            .wait("of the end", |event| {
                of_revision(event) && event["reason"] == "ReconciliationSucceeded"
            })
            .await?;
        let events = applier.events.events();
        let failures: Vec<&Value> = events
            .iter()
            .filter(|event| of_revision(event) && event["severity"] == "error")
            .collect();
        assert_eq!(
            failures.len(),
            usize::from(download.told),
            "{revision}: {failures:#?}"
        );
        for failure in failures {
            assert_eq!(failure["reason"], "ArtifactFailed");
            let text = failure["message"].as_str().unwrap_or_default();
            ensure!(
                says.as_ref().is_some_and(|says| text.starts_with(says)),
                "{text}"
            );
        }
    }
    // KC-EVT-006: the missing source at the start was not an event either
    let events = applier.events.events();
    let mut texts = events.iter().filter_map(|event| event["message"].as_str());
    ensure!(!texts.any(|text| text.contains("not found")), "{events:#?}");
    Ok(())
}

#[tokio::test]
async fn artifacts_with_a_wrong_digest_or_format_are_refused() -> Result {
    let applier = Applier::start("tampered", Settings::default()).await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    // KC-SRC-006
    let waiting = json!({"apiVersion": GIT_REPOSITORY.0, "kind": "GitRepository", "metadata": {"name": "app"},
        "spec": {"interval": "1h", "url": "https://127.0.0.1/app"}});
    applier.namespace.apply(&waiting.to_string()).await?;
    applier
        .says(
            "app",
            "ArtifactFailed",
            "Source artifact not found, retrying in 1s",
        )
        .await?;

    // KC-SRC-010
    let mut artifact =
        applier
            .artifacts
            .put("a", "main@sha1:1", &[("a.yaml", &config_map("a", "1"))])?;
    let right = artifact["digest"].clone();
    let wrong = format!("sha256:{}", "0".repeat(64));
    artifact["digest"] = json!(wrong);
    applier.serve(GIT_REPOSITORY, "app", &artifact).await?;
    let says = "Source is not ready, artifact digest changed, retrying in 1s";
    applier.says("app", "ArtifactFailed", says).await?;

    // KC-SRC-022: path, size and time in the status are others than those of the file
    artifact["digest"] = right;
    assert_eq!(
        (&artifact["path"], &artifact["size"]),
        (&json!("somewhere/else.tar.gz"), &json!(1))
    );
    applier.serve(GIT_REPOSITORY, "app", &artifact).await?;
    applier.applied("app", "main@sha1:1").await?;

    // KC-SRC-011
    let plain = applier
        .artifacts
        .put_bytes("plain.tar.gz", "main@sha1:2", b"no archive".to_vec());
    applier.serve(GIT_REPOSITORY, "app", &plain).await?;
    applier
        .says("app", "ArtifactFailed", "requires gzip-compressed body")
        .await?;
    Ok(())
}

#[tokio::test]
async fn redirects_proxies_and_other_hosts_are_followed() -> Result {
    let (proxy, source, watcher) = (
        ArtifactServer::start().await?,
        ArtifactServer::start().await?,
        ArtifactServer::start().await?,
    );
    let settings = Settings::default()
        .env("HTTP_PROXY", proxy.url(""))
        .env("NO_PROXY", "127.0.0.1")
        .env("SOURCE_WATCHER_LOCALHOST", watcher.address().to_string());
    let applier = Applier::start("hosts", settings).await?;
    let yaml = applier.kustomization("app", &["prune: true"]);
    applier.namespace.apply(&yaml).await?;
    let map = |value: &str| [("a.yaml", config_map("a", value))];
    let put = |server: &ArtifactServer, host: &str, revision: &str| -> Result<Value> {
        let files = map(revision);
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (*path, text.as_str()))
            .collect();
        let mut artifact = server.put(revision, revision, &files)?;
        if !host.is_empty() {
            artifact["url"] = json!(format!("http://{host}/{revision}.tar.gz"));
        }
        Ok(artifact)
    };
    // KC-SRC-013: a proxy from the environment
    applier
        .serve(
            GIT_REPOSITORY,
            "app",
            &put(&proxy, "artifacts.invalid", "one")?,
        )
        .await?;
    applier.applied("app", "one").await?;
    assert_eq!(
        proxy.take_requests(),
        ["http://artifacts.invalid/one.tar.gz"]
    );
    // KC-PROC-043: artifacts of source-watcher come from its own address
    let url = "source-watcher.flux-system.svc.cluster.local.";
    applier
        .serve(GIT_REPOSITORY, "app", &put(&watcher, url, "two")?)
        .await?;
    applier.applied("app", "two").await?;
    assert_eq!(watcher.take_requests(), ["/two.tar.gz"]);
    // KC-SRC-013: a redirect
    let moved = put(&source, "", "three")?;
    let artifact = put(&applier.artifacts, "", "three")?;
    applier.artifacts.instead([Answer::Redirect(
        moved["url"].as_str().unwrap_or_default().to_owned(),
    )]);
    applier.serve(GIT_REPOSITORY, "app", &artifact).await?;
    applier.applied("app", "three").await?;
    assert_eq!(source.take_requests(), ["/three.tar.gz"]);
    Ok(())
}

#[tokio::test]
async fn the_origin_revision_is_recorded_and_cleared() -> Result {
    let applier = Applier::start("origin", Settings::default()).await?;
    let mut artifact =
        applier
            .artifacts
            .put("a", "latest@sha256:1", &[("a.yaml", &config_map("a", "1"))])?;
    artifact["metadata"] =
        json!({"org.opencontainers.image.revision": "main@sha1:99", "other": "x"});
    applier.serve(OCI_REPOSITORY, "app", &artifact).await?;
    let yaml = applier
        .kustomization("app", &["prune: true"])
        .replace("kind: GitRepository", "kind: OCIRepository");
    applier.namespace.apply(&yaml).await?;
    // KC-SRC-016, KC-API-038
    let applied = applier.applied("app", "latest@sha256:1").await?;
    assert_eq!(
        applied["status"]["lastAppliedOriginRevision"],
        "main@sha1:99"
    );
    // KC-API-045
    let metadata = json!({"revision": "latest@sha256:1", "originRevision": "main@sha1:99"});
    assert_eq!(applied["status"]["history"][0]["metadata"], metadata);
    // KC-EVT-003
    let event = applier
        .events
        .wait("of the end", |event| {
            event["reason"] == "ReconciliationSucceeded"
        })
        .await?;
    assert_eq!(
        event["metadata"]["kustomize.toolkit.fluxcd.io/originRevision"],
        "main@sha1:99"
    );

    let mut next =
        applier
            .artifacts
            .put("b", "latest@sha256:2", &[("a.yaml", &config_map("a", "2"))])?;
    next["metadata"] = json!(null);
    applier.serve(OCI_REPOSITORY, "app", &next).await?;
    let applied = applier.applied("app", "latest@sha256:2").await?;
    // KC-API-038
    assert_eq!(applied["status"]["lastAppliedOriginRevision"], json!(null));
    let stored = applier
        .namespace
        .get(KUSTOMIZATION, "app")
        .await?
        .unwrap_or_default();
    assert_eq!(
        stored["status"]["history"][0]["metadata"],
        json!({"revision": "latest@sha256:2"})
    );

    // KC-EVT-003: the event of a deletion has the revisions that were applied last
    applier.serve(OCI_REPOSITORY, "app", &artifact).await?;
    applier.applied("app", "latest@sha256:1").await?;
    applier.namespace.delete(KUSTOMIZATION, "app").await?;
    let deleted = format!("ConfigMap/{}/a deleted", applier.namespace.name());
    let event = applier
        .events
        .wait("of the deletion", |event| event["message"] == deleted)
        .await?;
    assert_eq!(
        event["metadata"]["kustomize.toolkit.fluxcd.io/revision"],
        "latest@sha256:1"
    );
    assert_eq!(
        event["metadata"]["kustomize.toolkit.fluxcd.io/originRevision"],
        "main@sha1:99"
    );
    Ok(())
}

/// A server that accepts connections and never responds; reports each connection.
async fn hanging() -> Result<(String, tokio::sync::mpsc::UnboundedReceiver<()>)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            let _ = tell.send(());
        }
    });
    Ok((address, asked))
}

#[tokio::test]
async fn a_hanging_artifact_server_only_blocks_its_own_objects() -> Result {
    let (address, mut asked) = hanging().await?;
    let applier = Applier::start("hanging", Settings::default()).await?;
    let files = [("a.yaml", config_map("a", "1"))];
    let files = files.each_ref().map(|(path, text)| (*path, text.as_str()));
    let artifact = applier.artifacts.put("one", "main@sha1:1", &files)?;
    let mut stuck = artifact.clone();
    stuck["url"] = json!(format!("http://{address}/one.tar.gz"));
    applier.serve(GIT_REPOSITORY, "stuck", &stuck).await?;
    let yaml = applier
        .kustomization("stuck", &["prune: false"])
        .replace("name: app", "name: stuck");
    applier.namespace.apply(&yaml).await?;
    let hangs = tokio::time::timeout(std::time::Duration::from_mins(2), asked.recv());
    ensure!(matches!(hangs.await, Ok(Some(()))), "nobody asked for it");

    // The same artifact from a healthy server is available to all, finally also to the waiting one.
    applier.serve(GIT_REPOSITORY, "app", &artifact).await?;
    let yaml = applier.kustomization("app", &["prune: false"]);
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;
    applier.applied("stuck", "main@sha1:1").await?;
    assert!(asked.try_recv().is_err(), "it was asked once");
    Ok(())
}

#[tokio::test]
async fn an_uncacheable_artifact_is_not_fetched_if_nothing_is_built() -> Result {
    let applier = Applier::start("unchanged", Settings::default()).await?;
    // More than the controller keeps of artifacts in memory.
    let filler = "x".repeat(70 << 20);
    let map = config_map("a", "is-${v}");
    let files = [("app/a.yaml", map.as_str()), ("filler", filler.as_str())];
    applier.publish("main@sha1:1", &files).await?;
    let substitute = |value: &str| format!("postBuild: {{substitute: {{v: \"{value}\"}}}}");
    let path = "path: app";
    let apply = async |value: &str| {
        let yaml = applier.kustomization("app", &[path, "prune: true", &substitute(value)]);
        applier.namespace.apply(&yaml).await
    };
    apply("1").await?;
    applier.applied("app", "main@sha1:1").await?;
    assert_eq!(applier.artifacts.take_requests().len(), 1);
    for _ in 0..2 {
        applier.run("app").await?;
    }
    assert_eq!(applier.artifacts.take_requests().len(), 0);

    // Another build needs it again.
    apply("2").await?;
    applier
        .namespace
        .wait(CONFIG_MAP, "a", "has the new value", |map| {
            map["data"]["v"] == "is-2"
        })
        .await?;
    assert_eq!(applier.artifacts.take_requests().len(), 1);
    Ok(())
}
