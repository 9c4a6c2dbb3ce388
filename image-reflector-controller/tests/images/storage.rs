//! The store across restarts, and what other programs and power cuts leave of it.

use std::fs;

use kind_tests::controller::Settings;
use kind_tests::{Cluster, IMAGE_POLICY, IMAGE_REPOSITORY, Namespace, Result, ensure};
use registries::Registry;
use serde_json::Value;

use crate::world::{REFLECTOR, World, message};

const SEMVER: &str = "policy: {semver: {range: '*'}}";

async fn running(topic: &str, tags: &[&str]) -> Result<World> {
    let world = World::start(topic, Registry::start()).await?;
    world.push(tags);
    world.apply("app", "").await?;
    world.policy("app", "app", SEMVER).await?;
    world.scanned("app").await?;
    world.selected("app", tags.last().unwrap_or(&"")).await?;
    Ok(world)
}

/// Waits until the store has a file for the repository again.
async fn rescanned(world: &World) -> Result {
    let file = world.file("app");
    let scanning = |line: &Value| {
        let text = line["msg"].as_str().unwrap_or_default();
        text.starts_with("tags did not change") || text.starts_with("successful scan")
    };
    let before = world
        .controller
        .log()
        .entries()
        .iter()
        .filter(|line| scanning(line))
        .count();
    ensure!(before > 0, "no scan");
    world.reconcile(IMAGE_POLICY, "app").await?;
    ensure!(file.exists(), "no tags");
    Ok(())
}

// IR-DB-007: tags are used again
#[tokio::test]
async fn a_restart_scans_nothing_again() -> Result {
    let mut world = running("img-restart", &["1.0.0", "1.1.0"]).await?;
    world.controller.kill()?;
    world.controller.restart().await?;
    // IR-REPO-120
    world
        .recorded(
            "app",
            "no change in repository configuration since last scan",
        )
        .await?;
    let object = world.reconcile(IMAGE_POLICY, "app").await?;
    ensure!(kind_tests::is_ready(&object, "True"), "{object}");
    assert_eq!(world.scans(), 1);
    Ok(())
}

// FR-N-074, IR-DB-001, IR-DB-002: an empty volume after a restart, and many policies
#[tokio::test]
async fn lost_tags_are_scanned_again_without_warnings() -> Result {
    let mut world = running("img-lost", &["1.0.0", "1.1.0"]).await?;
    for number in 0..20 {
        world.policy(&format!("p{number}"), "app", SEMVER).await?;
    }
    for number in 0..20 {
        world.selected(&format!("p{number}"), "1.1.0").await?;
    }
    world.controller.terminate().await?;
    fs::remove_dir_all(world.storage())?;
    let warnings = |world: &World| {
        let events = world.events.events();
        events
            .iter()
            .filter(|event| event["severity"] == "error")
            .count()
    };
    let before = warnings(&world);
    world.controller.restart().await?;
    // IR-REPO-121: after the interval exactly
    let scanned = |line: &Value| line["msg"] == "tags did not change, next scan in 1h0m0s";
    world.controller.log().wait("of the scan", scanned).await?;
    for number in 0..20 {
        let name = format!("p{number}");
        let object = world.reconcile(IMAGE_POLICY, &name).await?;
        ensure!(kind_tests::is_ready(&object, "True"), "{object}");
    }
    assert_eq!((world.scans(), warnings(&world)), (2, before));
    Ok(())
}

// FR-N-077: tags of an older scan
#[tokio::test]
async fn a_policy_does_not_go_back_to_older_tags() -> Result {
    let mut world = running("img-stale", &["1.0.0", "1.1.0"]).await?;
    let older = fs::read(world.file("app"))?;
    world.push(&["1.2.0"]);
    world.reconcile(IMAGE_REPOSITORY, "app").await?;
    world.selected("app", "1.2.0").await?;
    world.controller.kill()?;
    fs::write(world.file("app"), older)?;
    world.controller.restart().await?;
    let scanned = |line: &Value| line["msg"] == "tags did not change, next scan in 1h0m0s";
    world.controller.log().wait("of the scan", scanned).await?;
    let object = world.reconcile(IMAGE_POLICY, "app").await?;
    ensure!(kind_tests::is_ready(&object, "True"), "{object}");
    let status = &object["status"];
    assert_eq!(
        (
            &status["latestRef"]["tag"],
            &status["observedPreviousRef"]["tag"]
        ),
        (&"1.2.0".into(), &"1.1.0".into())
    );
    let told = world.told(IMAGE_POLICY, "app");
    ensure!(
        !told
            .iter()
            .any(|event| event[3].contains("resolved to 1.1.0 (")),
        "{told:?}"
    );
    Ok(())
}

// FR-N-078, IR-REPO-074: a file that cannot be read
#[tokio::test]
async fn damaged_tags_are_dropped_and_scanned_again() -> Result {
    let mut world = running("img-damaged", &["1.0.0"]).await?;
    let file = world.file("app");
    for damage in ["folder", "empty", "half"] {
        world.controller.kill()?;
        fs::remove_file(&file)?;
        match damage {
            "folder" => fs::create_dir(&file)?,
            "empty" => fs::write(&file, "")?,
            _ => fs::write(file.with_extension("txt.gz"), [0x1f, 0x8b, 8, 0, 0])?,
        }
        let scans = world.scans();
        world.controller.restart().await?;
        let goal = "has tags again";
        let ready = |object: &Value| kind_tests::is_ready(object, "True") && file.is_file();
        // Its condition changes twice.
        world.reconcile(IMAGE_REPOSITORY, "app").await?;
        world
            .namespace
            .wait(IMAGE_REPOSITORY, "app", goal, ready)
            .await?;
        assert_eq!(fs::read_to_string(&file)?, "1.0.0\n", "{damage}");
        ensure!(world.scans() > scans, "{damage}");
        rescanned(&world).await?;
    }
    let dropped = |line: &Value| line["msg"] == "dropped the stored tags, which cannot be read";
    world
        .controller
        .log()
        .wait("of the damage", dropped)
        .await?;
    Ok(())
}

// IR-DB-012, IR-DB-051, RT-DIF-005: the volume and the objects of upstream's previous release
#[tokio::test]
async fn the_volume_of_a_badger_database_is_taken_over() -> Result {
    let namespace = Namespace::create(&Cluster::shared().await?, "img-badger").await?;
    let folder = namespace.folder().join(REFLECTOR);
    fs::create_dir_all(&folder)?;
    for name in [
        "MANIFEST",
        "000001.vlog",
        "00001.mem",
        "DISCARD",
        "KEYREGISTRY",
        "LOCK",
    ] {
        fs::write(folder.join(name), "badger")?;
    }
    let world = World::start_in(namespace, Settings::default(), Registry::start()).await?;
    world.push(&["1.0.0"]);
    ensure!(!folder.join("MANIFEST").exists(), "Badger's files are left");
    assert_eq!(fs::read_to_string(folder.join(".storage-version"))?, "2\n");
    // IR-DB-052, IR-DB-053
    world.apply("app", "").await?;
    world.policy("app", "app", SEMVER).await?;
    let object = world.scanned("app").await?;
    let revision = object["status"]["lastScanResult"]["revision"].as_str();
    ensure!(
        revision.is_some_and(|text| text.starts_with("sha256:")),
        "{object}"
    );
    world.selected("app", "1.0.0").await?;
    Ok(())
}

// FR-N-073: the status of an older release, whose revision has another form, and a policy that has given up
#[tokio::test]
async fn objects_in_the_state_of_an_older_release_recover() -> Result {
    let mut world = running("img-older", &["1.0.0"]).await?;
    world.controller.terminate().await?;
    let status = serde_json::json!({"lastScanResult": {"revision": "139002383"}});
    world
        .namespace
        .set_status(IMAGE_REPOSITORY, "app", status)
        .await?;
    let stuck = serde_json::json!({"conditions": [{"type": "Ready", "status": "False", "reason": "DependencyNotReady",
        "message": "retrying in 30s error: no tags in database", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    world
        .namespace
        .set_status(IMAGE_POLICY, "app", stuck)
        .await?;
    world.controller.restart().await?;
    world.selected("app", "1.0.0").await?;
    Ok(())
}

// IR-DB-006, IR-DB-016, IR-DB-043: the gate decides which revisions there are
#[tokio::test]
async fn without_the_gate_revisions_are_those_of_badger() -> Result {
    let gate = Settings::default().flag("--feature-gates=FluxStorage=false");
    let world = World::start_with(
        "img-gate",
        gate.flag("--storage-compression-threshold=0"),
        Registry::start(),
    )
    .await?;
    world.push(&["v1.1.0", "v1.0.0"]);
    world.apply("app", "").await?;
    world.policy("app", "app", SEMVER).await?;
    let object = world.scanned("app").await?;
    assert_eq!(object["status"]["lastScanResult"]["revision"], "728237108");
    let ready = "successful scan: found 2 tags with checksum 728237108";
    assert_eq!(message(&object, "Ready"), ready);
    world.selected("app", "v1.1.0").await?;
    Ok(())
}

// IR-DB-022, IR-DB-041: two repositories of one image
#[tokio::test]
async fn repositories_of_one_image_do_not_disturb_each_other() -> Result {
    let world = World::start("img-shared", Registry::start()).await?;
    world.push(&["1.0.0", "2.0.0"]);
    world.apply("all", "").await?;
    world.apply("some", "exclusionList: ['^2']").await?;
    world.policy("all", "all", SEMVER).await?;
    world.policy("some", "some", SEMVER).await?;
    world.selected("all", "2.0.0").await?;
    world.selected("some", "1.0.0").await?;
    world.namespace.delete(IMAGE_REPOSITORY, "all").await?;
    world.namespace.wait_gone(IMAGE_REPOSITORY, "all").await?;
    let object = world.reconcile(IMAGE_POLICY, "some").await?;
    ensure!(kind_tests::is_ready(&object, "True"), "{object}");
    Ok(())
}

// IR-REPO-088, FR-N-080: a store that cannot be written keeps what it has, and recovers by itself
#[tokio::test]
async fn a_store_that_cannot_be_written_recovers() -> Result {
    let world = World::start("img-unwritable", Registry::start()).await?;
    world.push(&["1.0.0"]);
    let kind = world.storage().join("imagerepository");
    fs::create_dir_all(&kind)?;
    let blocked = kind.join(world.namespace.name());
    fs::write(&blocked, "")?;
    world.apply("app", "").await?;
    let text = world.failed("app", "ReadOperationFailed").await?;
    let begin = "scan failed: failed to set tags for \"HOST/org/app\": failed to create storage directory: ";
    ensure!(text.starts_with(begin), "{text}");
    fs::remove_file(&blocked)?;
    world.scanned("app").await?;
    Ok(())
}
