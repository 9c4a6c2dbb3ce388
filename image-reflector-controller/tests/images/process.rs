//! The process: flags that end it, its selector, its kinds of events.

use std::time::Duration;

use kind_tests::controller::Settings;
use kind_tests::{Cluster, Controller, IMAGE_POLICY, IMAGE_REPOSITORY, Namespace, Result, ensure};
use registries::Registry;
use serde_json::{Value, json};

use crate::world::{REFLECTOR, World};

/// Starts a controller that ends by itself, and returns its exit code and log.
async fn ended(topic: &str, flags: &[&str]) -> Result<(Option<i32>, Vec<Value>)> {
    let namespace = Namespace::create(&Cluster::shared().await?, topic).await?;
    let settings = flags
        .iter()
        .fold(Settings::default(), |settings, flag| settings.flag(*flag));
    let mut controller = Controller::start_unready(REFLECTOR, &namespace, settings).await?;
    controller
        .log()
        .wait("of the end", |line| {
            line["msg"] == "problem running manager"
        })
        .await?;
    // It ends by itself: the signal would tell another story.
    let ended = async {
        while controller.runs() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    namespace.wait_for("the end of the process", ended).await?;
    let status = controller.terminate().await?;
    Ok((status.code(), controller.log().entries()))
}

#[tokio::test]
async fn settings_that_cannot_work_end_the_process() -> Result {
    // IR-PROC-007
    let (code, log) = ended("img-threshold", &["--storage-compression-threshold=0"]).await?;
    let message = "invalid --storage-compression-threshold";
    ensure!(log.iter().any(|line| line["msg"] == message), "{log:?}");
    assert_eq!(code, Some(1));
    // IR-DB-015
    let (code, log) = ended("img-format", &["--storage-path=/proc/none"]).await?;
    let message = "unable to reconcile storage format";
    ensure!(log.iter().any(|line| line["msg"] == message), "{log:?}");
    assert_eq!(code, Some(1));
    Ok(())
}

// IR-PROC-021: a policy sees the repositories of its shard only
#[tokio::test]
async fn shards_do_not_see_each_other() -> Result {
    let world = World::start("img-shard", Registry::start()).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    world
        .policy("app", "app", "policy: {semver: {range: '*'}}")
        .await?;
    world.selected("app", "1.0.0").await?;
    let other = json!({"metadata": {"labels": {kind_tests::SHARD_LABEL: "other"}}});
    world
        .namespace
        .merge(IMAGE_REPOSITORY, "app", other)
        .await?;
    let text = world.refused("app", "DependencyNotReady").await?;
    ensure!(
        text.contains("referenced ImageRepository does not exist"),
        "{text}"
    );
    Ok(())
}

// IR-PROC-048: annotations of users reach events
#[tokio::test]
async fn annotations_for_events_are_passed_on() -> Result {
    let world = World::start("img-annotated", Registry::start()).await?;
    world.push(&["1.0.0"]);
    let yaml = format!(
        "{{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImageRepository, metadata: {{name: app, annotations: \
         {{event.toolkit.fluxcd.io/team: a}}}}, spec: {{image: '{}', interval: 1h}}}}",
        world.image()
    );
    world.namespace.apply(&yaml).await?;
    let event = world
        .events
        .wait("tells of the scan", |event| event["reason"] == "Succeeded")
        .await?;
    assert_eq!(
        event["metadata"],
        json!({"event.toolkit.fluxcd.io/team": "a"})
    );
    assert_eq!(event["reportingController"], REFLECTOR);
    let involved = &event["involvedObject"];
    assert_eq!(involved["apiVersion"], "image.toolkit.fluxcd.io/v1");
    ensure!(involved["resourceVersion"].is_string(), "{involved}");
    Ok(())
}

// IR-PROC-052: who wrote what
#[tokio::test]
async fn the_status_is_written_under_the_name_of_the_controller() -> Result {
    let world = World::start("img-manager", Registry::start()).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    world
        .policy("app", "app", "policy: {semver: {range: '*'}}")
        .await?;
    world.selected("app", "1.0.0").await?;
    for kind in [IMAGE_REPOSITORY, IMAGE_POLICY] {
        let object = world.namespace.get(kind, "app").await?.unwrap_or_default();
        let fields = object["metadata"]["managedFields"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let of_status: Vec<_> = fields
            .iter()
            .filter(|entry| entry["subresource"] == "status")
            .map(|entry| entry["manager"].clone())
            .collect();
        assert_eq!(of_status, [json!(REFLECTOR)]);
    }
    Ok(())
}

// IR-DB-030, IR-PROC-008: the first removal is after the first interval, which is a minute at least
#[tokio::test]
async fn tags_of_deleted_objects_are_removed() -> Result {
    let settings = Settings::default()
        .flag("--gc-interval=1")
        .flag("--log-level=debug");
    let world = World::start_with("img-orphans", settings, Registry::start()).await?;
    let orphan = world.storage().join("imagerepository/gone/app");
    std::fs::create_dir_all(&orphan)?;
    std::fs::write(orphan.join("tags.txt"), "1.0.0\n")?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    world.scanned("app").await?;
    let ran = |line: &Value| line["msg"] == "Ran filesystem storage GC";
    let line = world.controller.log().wait("of the removal", ran).await?;
    assert_eq!(line["deleted_entries"], 1);
    ensure!(
        !orphan.exists() && world.file("app").exists(),
        "wrong tags were removed"
    );
    let off = Settings::default()
        .flag("--gc-interval=0")
        .flag("--log-level=debug");
    let world = World::start_with("img-no-gc", off, Registry::start()).await?;
    let message = "filesystem storage garbage collector is disabled";
    let told = |line: &Value| line["msg"] == message;
    world.controller.log().wait("that it is off", told).await?;
    Ok(())
}

/// A small board: the store is not mapped into memory.
#[tokio::test]
async fn an_empty_store_needs_little_memory() -> Result {
    let world = World::start("img-small", Registry::start()).await?;
    world.push(&["1.0.0"]);
    world.apply("app", "").await?;
    world.scanned("app").await?;
    // FR-N-079
    let peak = world.controller.peak_bytes()?;
    ensure!(peak < 64 << 20, "{} MiB", peak >> 20);
    Ok(())
}
