//! What a generator has made, and what became of it: nothing is built without need, and what is damaged is repaired.

#![expect(clippy::disallowed_methods, reason = "a test names its own objects")]

use std::fs;

use kind_tests::requests::Counter;
use kind_tests::{GIT_REPOSITORY, Kind, Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;

use crate::world::{EXTERNAL_ARTIFACT, World};

const SPEC: &str = "artifacts: [
    {name: one, copy: [{from: '@repo/one/**', to: '@artifact/'}]},
    {name: two, copy: [{from: '@repo/two/**', to: '@artifact/'}]}]";

async fn start(topic: &str) -> Result<(World, Value)> {
    let world = World::start(topic).await?;
    let files = [("one/a.yaml", "1"), ("two/a.yaml", "1")];
    world.source("repo", "r1", &files).await?;
    world.generate("gen", SPEC).await?;
    let generator = world.ready("gen").await?;
    Ok((world, generator))
}

#[tokio::test]
async fn nothing_is_built_without_drift() -> Result {
    let (world, before) = start("settled").await?;
    let artifact = world.artifact("one").await?;
    assert_eq!(world.server.take_requests().len(), 1);
    let counter = Counter::start(world.namespace.cluster(), world.watcher.user())?;
    // SW-GEN-069, SW-GEN-039
    let after = world.reconcile("gen").await?;
    assert_eq!(
        after["status"]["conditions"],
        before["status"]["conditions"]
    );
    // SW-GEN-068
    let message = "Normal Ready: No drift detected, 2 artifact(s) up to date";
    world.told("gen", message).await?;
    assert_eq!(world.server.take_requests(), [""; 0]);
    assert_eq!(world.artifact("one").await?, artifact);
    let requests = counter.requests()?;
    let writes: Vec<&str> = requests
        .iter()
        .filter(|request| request.verb == "patch")
        .map(|request| request.resource.as_str())
        .collect();
    assert_eq!(
        writes,
        ["artifactgenerators/status"],
        "the request is marked as handled"
    );
    Ok(())
}

#[tokio::test]
async fn only_what_changed_is_published() -> Result {
    let (world, before) = start("changed").await?;
    let [one, two] = [world.artifact("one").await?, world.artifact("two").await?];
    let files = [("one/a.yaml", "2"), ("two/a.yaml", "1")];
    world.source("repo", "r2", &files).await?;
    let after = world.settled("gen", &before).await?;
    // SW-GEN-202, SW-ART-056: the other object is not written, the time of its condition included
    assert_eq!(world.artifact("two").await?, two);
    assert_ne!(
        world.artifact("one").await?["metadata"]["resourceVersion"],
        one["metadata"]["resourceVersion"]
    );
    let digests = |object: &Value, at: usize| object["status"]["inventory"][at]["digest"].clone();
    ensure!(
        digests(&before, 0) != digests(&after, 0) && digests(&before, 1) == digests(&after, 1),
        "{after:#}"
    );
    // SW-GEN-089: only the changed one is in the news
    let posted = world.posted("gen");
    let last = posted.last().cloned().unwrap_or_default();
    ensure!(
        last.contains("/one (") && !last.contains("/two ("),
        "{posted:?}"
    );

    // SW-GEN-032: the same revision, another file
    let more = [("one/a.yaml", "3"), ("two/a.yaml", "1")];
    let artifact = world.server.put("same", "r2", &more)?;
    world
        .publish(kind_tests::GIT_REPOSITORY, "repo", artifact)
        .await?;
    world.settled("gen", &after).await?;
    assert_eq!(world.files("one").await?["a.yaml"], "3");
    Ok(())
}

// SW-ART-008, FR-N-118
#[tokio::test]
async fn a_source_is_downloaded_once_for_all_generators() -> Result {
    let world = World::start("shared").await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    for at in 0..20 {
        let spec =
            format!("artifacts: [{{name: a{at}, copy: [{{from: '@repo/**', to: '@artifact/'}}]}}]");
        world.generate(&format!("gen-{at}"), &spec).await?;
    }
    for at in 0..20 {
        world.ready(&format!("gen-{at}")).await?;
    }
    assert_eq!(world.server.take_requests().len(), 1);
    // another source of the generator changes, this one does not
    world.source("other", "o1", &[("b.yaml", "1")]).await?;
    let spec = |to: &str| {
        format!("sources: [{{alias: repo, kind: GitRepository, name: repo}}, {{alias: other, kind: GitRepository, name: other}}],
            artifacts: [{{name: both, copy: [{{from: '@repo/**', to: '@artifact/{to}'}}, {{from: '@other/**', to: '@artifact/'}}]}}]")
    };
    world.apply("both", &spec("x/")).await?;
    world.ready("both").await?;
    assert_eq!(world.server.take_requests(), ["/other-o1.tar.gz"]);
    world.apply("both", &spec("y/")).await?;
    world.ready("both").await?;
    assert_eq!(world.files("both").await?.len(), 2);
    assert_eq!(world.server.take_requests(), [""; 0]);
    Ok(())
}

#[tokio::test]
async fn damage_is_repaired() -> Result {
    let (world, before) = start("damage").await?;
    let digest = before["status"]["inventory"][0]["digest"].clone();
    let file = before["status"]["inventory"][0]["filename"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let file = world.folder("one").join(file);
    let logged = async |reason: &str| {
        let fits = |entry: &Value| {
            entry["reason"] == reason && entry["msg"] == "Reconciliation in progress"
        };
        world
            .watcher
            .log()
            .wait(&format!("about {reason}"), fits)
            .await
    };
    // SW-GEN-066
    fs::remove_file(&file)?;
    world.reconcile("gen").await?;
    logged("ArtifactMissing").await?;
    world.ready("gen").await?;
    ensure!(file.is_file(), "the file is not back");
    fs::write(&file, "damaged")?;
    world.reconcile("gen").await?;
    logged("ArtifactCorrupted").await?;
    let after = world.ready("gen").await?;
    // SW-ART-015
    assert_eq!(after["status"]["inventory"][0]["digest"], digest);
    assert_eq!(world.files("one").await?["a.yaml"], "1");

    // SW-GEN-067, SW-GEN-072, SW-GEN-074
    let edits: [fn(&mut Value); 3] = [
        |status| status["artifact"]["digest"] = json!(format!("sha256:{}", "0".repeat(64))),
        |status| status["artifact"]["url"] = json!("http://elsewhere/x"),
        |status| {
            status
                .as_object_mut()
                .map(|status| status.remove("artifact"));
        },
    ];
    for edit in edits {
        let mut status = world.artifact("one").await?["status"].clone();
        let expected = status["artifact"]["url"].clone();
        edit(&mut status);
        // as the manager of the fields: another one would be in conflict (SW-ART-057)
        let patch = json!({
            "apiVersion": EXTERNAL_ARTIFACT.0, "kind": EXTERNAL_ARTIFACT.1, "status": status});
        let objects = world.namespace.api(EXTERNAL_ARTIFACT).await?;
        let manager = PatchParams::apply("source-watcher");
        objects
            .patch_status("one", &manager, &Patch::Apply(&patch))
            .await?;
        let repaired = |object: &Value| {
            object["status"]["artifact"]["url"] == expected
                && object["status"]["artifact"]["digest"] == digest
        };
        // A run that begins before the watch has told of the edit finds nothing to do.
        for _ in 0..20 {
            world.reconcile("gen").await?;
            if repaired(&world.artifact("one").await?) {
                break;
            }
        }
        let goal = "is repaired";
        let repair = world
            .namespace
            .wait(EXTERNAL_ARTIFACT, "one", goal, repaired);
        repair.await?;
    }
    logged("ExternalArtifactsChanged").await?;
    // SW-ART-063
    world.namespace.delete(EXTERNAL_ARTIFACT, "two").await?;
    world.namespace.wait_gone(EXTERNAL_ARTIFACT, "two").await?;
    world.reconcile("gen").await?;
    world
        .namespace
        .wait(EXTERNAL_ARTIFACT, "two", "is back", |object| {
            !object["status"]["artifact"].is_null()
        })
        .await?;
    Ok(())
}

// SW-ART-057
#[tokio::test]
async fn fields_of_another_manager_are_a_conflict() -> Result {
    let (world, before) = start("manager").await?;
    let status = json!({"artifact": {"revision": "edited"}});
    world
        .namespace
        .set_status(EXTERNAL_ARTIFACT, "one", status)
        .await?;
    world
        .source("repo", "r2", &[("one/a.yaml", "2"), ("two/a.yaml", "2")])
        .await?;
    let message = world.fails("gen", "ReconciliationFailed").await?;
    ensure!(
        message.starts_with("one reconcile failed: failed to patchStatus ExternalArtifact status: Apply failed with 1 conflict"),
        "{message}"
    );
    // SW-GEN-082: the other one is current; SW-GEN-084
    assert_eq!(world.files("two").await?["a.yaml"], "2");
    let now = world
        .namespace
        .get(crate::world::GENERATOR, "gen")
        .await?
        .unwrap_or_default();
    assert_eq!(now["status"]["inventory"], before["status"]["inventory"]);
    assert_eq!(
        now["status"]["observedSourcesDigest"],
        before["status"]["observedSourcesDigest"]
    );
    Ok(())
}

// SW-GEN-070, SW-ART-047, SW-ART-070
#[tokio::test]
async fn an_empty_storage_is_filled_with_the_same_artifacts() -> Result {
    let (mut world, before) = start("empty").await?;
    let url = world.artifact("one").await?["status"]["artifact"]["url"].clone();
    world.watcher.terminate().await?;
    let storage = world.namespace.folder().join("source-watcher");
    fs::remove_dir_all(&storage)?;
    fs::create_dir(&storage)?;
    let stale = storage.join("externalartifact/other/gone");
    fs::create_dir_all(&stale)?;
    world.watcher.restart().await?;
    let back = async {
        while !world.folder("two").exists() || stale.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    world
        .namespace
        .wait_for("the artifacts are stored again", back)
        .await?;
    let after = world.ready("gen").await?;
    assert_eq!(after["status"]["inventory"], before["status"]["inventory"]);
    let artifact = world.artifact("one").await?["status"]["artifact"].clone();
    assert_eq!(artifact["url"], url);
    assert_eq!(world.files("one").await?["a.yaml"], "1");
    Ok(())
}

// SW-ART-040, SW-ART-041, SW-ART-044
#[tokio::test]
async fn old_files_are_collected() -> Result {
    let settings = kind_tests::controller::Settings::default().flag("--artifact-retention-ttl=1h");
    let world = World::start_with("retention", settings).await?;
    world
        .source("repo", "r0", &[("one/a.yaml", "0"), ("two/a.yaml", "")])
        .await?;
    world.generate("gen", SPEC).await?;
    let mut generator = world.ready("gen").await?;
    for at in 1..4 {
        let text = at.to_string();
        world
            .source(
                "repo",
                &format!("r{at}"),
                &[("one/a.yaml", &text), ("two/a.yaml", "")],
            )
            .await?;
        generator = world.settled("gen", &generator).await?;
    }
    let stored = |name: &str| -> Result<Vec<String>> {
        let names = fs::read_dir(world.folder(name))?;
        let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    let files = stored("one")?;
    let archives = files
        .iter()
        .filter(|name| name.ends_with(".tar.gz"))
        .count();
    // SW-ART-042
    assert_eq!((archives, files.len()), (2, 4), "{files:?}");
    assert_eq!(stored("two")?.len(), 2);
    fs::write(world.folder("one").join("1.tar.gz"), "")?;
    world.reconcile("gen").await?;
    assert_eq!(stored("one")?.len(), 5);
    Ok(())
}

// SW-ART-045
#[tokio::test]
async fn a_slow_download_outlives_the_file() -> Result {
    let settings =
        kind_tests::controller::Settings::default().flag("--artifact-retention-records=1");
    let world = World::start_with("slow", settings).await?;
    // More than the buffers of both ends hold.
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()
    });
    let noise: Vec<u8> = noise.take(1 << 20).flatten().collect();
    let archive = |more: &[u8]| -> Result<Vec<u8>> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        let mut archive = tar::Builder::new(gzip);
        for (path, content) in [
            ("one/noise", &noise[..]),
            ("one/more", more),
            ("two/x", b""),
        ] {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len().try_into()?);
            header.set_mode(0o600);
            archive.append_data(&mut header, path, content)?;
        }
        Ok(archive.into_inner()?.finish()?)
    };
    let publish = async |revision: &str| {
        let bytes = archive(revision.as_bytes())?;
        let artifact = world.server.put_bytes(revision, revision, bytes);
        world.publish(GIT_REPOSITORY, "repo", artifact).await
    };
    publish("r1").await?;
    world.generate("gen", SPEC).await?;
    let before = world.ready("gen").await?;
    let artifact = world.artifact("one").await?["status"]["artifact"].clone();
    let path = artifact["path"].as_str().unwrap_or_default();
    let file = world
        .folder("one")
        .join(path.rsplit('/').next().unwrap_or_default());

    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let address = world.watcher.artifact_address().unwrap_or_default();
    let mut stream = socket.connect(address.parse()?).await?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![0; 1024];
    stream.read_exact(&mut answer).await?;
    publish("r2").await?;
    world.settled("gen", &before).await?;
    ensure!(!file.exists(), "{} is there", file.display());
    stream.read_to_end(&mut answer).await?;
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let body = &answer[body.unwrap_or_default() + 4..];
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(body)));
    assert_eq!(artifact["digest"], digest.as_str());
    Ok(())
}

/// The API server cannot ask this webhook, so that no ExternalArtifact can be deleted.
const WEBHOOK: Kind = Kind(
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
);

// SW-ART-061
#[tokio::test]
async fn deletions_that_fail_are_tried_again() -> Result {
    let (world, _) = start("undeleted").await?;
    let name = world.namespace.name().to_owned();
    let webhook = format!(
        "{{apiVersion: {}, kind: {}, metadata: {{name: {name}}}, webhooks: [{{name: deletions.example.com, \
          admissionReviewVersions: [v1], sideEffects: None, failurePolicy: Fail, timeoutSeconds: 1, \
          clientConfig: {{url: 'https://127.0.0.1:1/'}}, \
          namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}, \
          rules: [{{apiGroups: [source.toolkit.fluxcd.io], apiVersions: ['*'], resources: [externalartifacts], operations: [DELETE]}}]}}]}}",
        WEBHOOK.0, WEBHOOK.1
    );
    let failed = |entry: &Value| entry["msg"] == "Failed to delete ExternalArtifact";
    world.namespace.apply(&webhook).await?;
    // The API server learns of a webhook a moment later.
    let objects = world.namespace.api(EXTERNAL_ARTIFACT).await?;
    let dry = DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    };
    let active = async {
        while objects.delete("one", &dry).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    world
        .namespace
        .wait_for("the webhook is active", active)
        .await?;

    let one = "artifacts: [{name: one, copy: [{from: '@repo/one/**', to: '@artifact/'}]}]";
    world.generate("gen", one).await?;
    world.ready("gen").await?;
    world
        .watcher
        .log()
        .wait("about the deletion", failed)
        .await?;
    world.artifact("two").await?;
    world.namespace.delete(WEBHOOK, &name).await?;
    let inactive = async {
        while objects.delete("one", &dry).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    world
        .namespace
        .wait_for("the webhook is gone", inactive)
        .await?;
    world.reconcile("gen").await?;
    world.namespace.wait_gone(EXTERNAL_ARTIFACT, "two").await
}
