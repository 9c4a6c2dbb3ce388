//! A source-watcher that is killed: no change of a spec or a source is lost, and nothing is left behind.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use kind_tests::{Answer, Result, condition, ensure};
use serde_json::Value;

use crate::world::{EXTERNAL_ARTIFACT, GENERATOR, World};

/// The artifacts of a generator in these tests.
const ARTIFACTS: usize = 30;

fn spec(folder: &str) -> String {
    let artifacts = (0..ARTIFACTS).map(|at| {
        format!("{{name: a{at:02}, copy: [{{from: '@repo/f{at:02}', to: '@artifact/{folder}'}}]}}")
    });
    format!("artifacts: [{}]", artifacts.collect::<Vec<_>>().join(", "))
}

async fn source(world: &World, revision: &str) -> Result {
    let files: Vec<(String, String)> = (0..ARTIFACTS)
        .map(|at| (format!("f{at:02}/x"), format!("{revision} {at}")))
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (&**path, &**text))
        .collect();
    world.source("repo", revision, &files).await?;
    Ok(())
}

/// Every file of an artifact is complete, and only locks are besides them.
fn check_storage(folder: &Path) -> Result {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(
            name.ends_with(".tar.gz") || name.ends_with(".tar.gz.lock"),
            "{name} was left"
        );
    }
    Ok(())
}

async fn all_are(world: &World, folder: &str, revision: &str) -> Result {
    for at in 0..ARTIFACTS {
        let name = format!("a{at:02}");
        let files = world.files(&name).await?;
        let path = format!("{folder}f{at:02}/x");
        assert_eq!(
            files.get(&path),
            Some(&format!("{revision} {at}")),
            "{files:?}"
        );
        check_storage(&world.folder(&name))?;
    }
    Ok(())
}

// SW-GEN-073
#[tokio::test]
async fn a_change_of_the_spec_survives_a_kill_while_sources_are_fetched() -> Result {
    let mut world = World::start("killed-fetch").await?;
    source(&world, "r1").await?;
    world.generate("gen", &spec("one/")).await?;
    world.ready("gen").await?;
    // the new process has nothing in its cache, so that it has to fetch
    world.watcher.terminate().await?;
    world.server.take_requests();
    world
        .server
        .instead([Answer::Late(Duration::from_hours(1))]);
    world.generate("gen", &spec("two/")).await?;
    world.watcher.restart().await?;
    let announced = |object: &Value| {
        condition(object, "Ready").is_some_and(|ready| {
            ready["status"] == "Unknown"
                && ready["observedGeneration"] == object["metadata"]["generation"]
        })
    };
    // SW-GEN-080
    let object = world
        .namespace
        .wait(GENERATOR, "gen", "has announced its work", announced)
        .await?;
    assert_eq!(
        condition(&object, "Ready").map(|ready| &ready["message"]),
        Some(&"Reconciliation in progress".into())
    );
    // Otherwise the next process gets the late answer, and waits until its download stalls.
    let asked = async {
        while world.server.take_requests().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    world
        .namespace
        .wait_for("the source is being fetched", asked)
        .await?;
    world.watcher.kill()?;
    world.watcher.restart().await?;
    world.ready("gen").await?;
    all_are(&world, "two/", "r1").await
}

/// The archives that are stored for an artifact.
fn archives(world: &World, name: &str) -> Vec<OsString> {
    let entries = fs::read_dir(world.folder(name)).into_iter().flatten();
    let names = entries.flatten().map(|entry| entry.file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".tar.gz"))
        .collect()
}

// SW-ART-020, SW-GEN-073: killed as soon as an archive is stored, which is before its object says so
#[tokio::test]
async fn archives_that_were_stored_are_published_after_a_kill() -> Result {
    let mut world = World::start("killed-stored").await?;
    source(&world, "r0").await?;
    world.generate("gen", &spec("")).await?;
    let mut generator = world.ready("gen").await?;
    for (round, at) in [0, 13, 29].into_iter().enumerate() {
        let (revision, name) = (format!("r{}", round + 1), format!("a{at:02}"));
        let before = archives(&world, &name);
        source(&world, &revision).await?;
        let stored = async {
            while archives(&world, &name)
                .iter()
                .all(|archive| before.contains(archive))
            {
                tokio::task::yield_now().await;
            }
        };
        world
            .namespace
            .wait_for("an archive is stored", stored)
            .await?;
        world.watcher.kill()?;
        world.watcher.restart().await?;
        generator = world.settled("gen", &generator).await?;
        all_are(&world, "", &revision).await?;
    }
    Ok(())
}

// SW-GEN-086, SW-ART-060
#[tokio::test]
async fn a_removal_of_artifacts_survives_a_kill() -> Result {
    let mut world = World::start("killed-prune").await?;
    source(&world, "r1").await?;
    world.generate("gen", &spec("")).await?;
    world.ready("gen").await?;
    let only = "artifacts: [{name: a29, copy: [{from: '@repo/f29/x', to: '@artifact/'}]}]";
    world.generate("gen", only).await?;
    world.namespace.wait_gone(EXTERNAL_ARTIFACT, "a00").await?;
    world.watcher.kill()?;
    world.watcher.restart().await?;
    let generator = world.ready("gen").await?;
    let entries = generator["status"]["inventory"].as_array().map(Vec::len);
    assert_eq!(entries, Some(1));
    assert_eq!(world.namespace.names(EXTERNAL_ARTIFACT).await?, ["a29"]);
    for at in 0..ARTIFACTS - 1 {
        ensure!(
            !world.folder(&format!("a{at:02}")).exists(),
            "files of a{at:02} are there"
        );
    }
    Ok(())
}

// SW-ART-020
#[tokio::test]
async fn kills_between_artifacts_lose_nothing() -> Result {
    let mut world = World::start("killed-build").await?;
    source(&world, "r0").await?;
    world.generate("gen", &spec("")).await?;
    let mut generator = world.ready("gen").await?;
    for (round, at) in [0, 7, 29].into_iter().enumerate() {
        let revision = format!("r{}", round + 1);
        let name = format!("a{at:02}");
        let before = world.artifact(&name).await?["status"]["artifact"]["digest"].clone();
        source(&world, &revision).await?;
        let published = |object: &Value| object["status"]["artifact"]["digest"] != before;
        world
            .namespace
            .wait(EXTERNAL_ARTIFACT, &name, "is published", published)
            .await?;
        world.watcher.kill()?;
        world.watcher.restart().await?;
        generator = world.settled("gen", &generator).await?;
        all_are(&world, "", &revision).await?;
        let entries = generator["status"]["inventory"].as_array().map(Vec::len);
        assert_eq!(entries, Some(ARTIFACTS));
    }
    Ok(())
}

// SW-ART-062: what a killed process has published and not recorded
#[tokio::test]
async fn artifacts_that_were_never_recorded_are_removed() -> Result {
    let mut world = World::start("killed-first").await?;
    source(&world, "r1").await?;
    world.generate("gen", &spec("")).await?;
    let published = |object: &Value| !object["status"]["artifact"].is_null();
    world
        .namespace
        .wait(EXTERNAL_ARTIFACT, "a00", "is published", published)
        .await?;
    world.watcher.kill()?;
    let only = "artifacts: [{name: other, copy: [{from: '@repo/f01/x', to: '@artifact/'}]}]";
    world.generate("gen", only).await?;
    world.watcher.restart().await?;
    let generator = world.ready("gen").await?;
    assert_eq!(
        generator["status"]["inventory"].as_array().map(Vec::len),
        Some(1)
    );
    world.namespace.wait_gone(EXTERNAL_ARTIFACT, "a00").await?;
    assert_eq!(world.namespace.names(EXTERNAL_ARTIFACT).await?, ["other"]);
    ensure!(!world.folder("a00").exists(), "its files are there");
    Ok(())
}

// SW-ART-060, SW-GEN-037
#[tokio::test]
async fn a_deletion_survives_a_kill() -> Result {
    let mut world = World::start("killed-delete").await?;
    source(&world, "r1").await?;
    world.generate("gen", &spec("")).await?;
    world.ready("gen").await?;
    world.watcher.kill()?;
    world.namespace.delete(GENERATOR, "gen").await?;
    world.watcher.restart().await?;
    world.namespace.wait_gone(EXTERNAL_ARTIFACT, "a00").await?;
    world.watcher.kill()?;
    world.watcher.restart().await?;
    world.namespace.wait_gone(GENERATOR, "gen").await?;
    assert_eq!(world.namespace.names(EXTERNAL_ARTIFACT).await?, [""; 0]);
    for at in 0..ARTIFACTS {
        ensure!(
            !world.folder(&format!("a{at:02}")).exists(),
            "files of a{at:02} are there"
        );
    }
    Ok(())
}
