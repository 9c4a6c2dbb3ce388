//! Forged statuses: they cannot make the controller read or remove another object's artifact.

use std::fs;

use kind_tests::{GIT_REPOSITORY, Result, ensure};
use serde_json::{Value, json};

use crate::support::World;

/// A repository `app` and another one, `victim`, each with an artifact; returns the latter's.
async fn two(topic: &str) -> Result<(World, Value)> {
    let world = World::start(topic).await?;
    world.repo("app.git");
    let victim = world.repo("victim.git");
    victim
        .commit("main")
        .file("secret", "of the victim")
        .create();
    for name in ["app", "victim"] {
        let repo = format!("{name}.git");
        world.apply(name, &repo, "ref: {branch: main}").await?;
    }
    world.ready("app").await?;
    let object = world.ready("victim").await?;
    Ok((world, object["status"]["artifact"].clone()))
}

// SC-ART-012, SC-ART-033
#[tokio::test]
async fn a_forged_artifact_of_another_object_is_neither_used_nor_removed() -> Result {
    let (world, victim) = two("git-forged").await?;
    let file = world
        .storage()
        .join(victim["path"].as_str().unwrap_or_default());
    let stray = world.folder("victim").join("older.tar.gz");
    fs::write(&stray, "which its own object would collect")?;
    fs::File::options()
        .append(true)
        .open(&stray)?
        .set_modified(std::time::SystemTime::UNIX_EPOCH)?;
    let mut forged = victim.clone();
    forged["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
    for artifact in [victim.clone(), forged] {
        world
            .namespace
            .set_status(GIT_REPOSITORY, "app", json!({"artifact": artifact}))
            .await?;
        let object = world.reconcile("app").await?;
        let path = object["status"]["artifact"]["path"]
            .as_str()
            .unwrap_or_default();
        ensure!(path.contains("/app/"), "{object}");
        ensure!(
            file.exists() && stray.exists(),
            "{:?}",
            world.stored("victim")
        );
        ensure!(
            !world.files(&object).await?.contains_key("secret"),
            "{object}"
        );
    }
    let message = format!(
        "failed to verify integrity of artifact: path '{}' is not one of this object's artifacts",
        victim["path"].as_str().unwrap_or_default()
    );
    let told = |event: &Value| {
        event["reason"] == "ArtifactVerificationFailed" && event["message"] == *message
    };
    world.events.wait("tells of the path", told).await?;
    Ok(())
}

// SC-GIT-097
#[tokio::test]
async fn only_a_complete_artifact_owned_by_the_repository_is_included() -> Result {
    let (world, victim) = two("git-borrowed").await?;
    world.repo("lib.git");
    let suspended = "ref: {branch: main}, suspend: true";
    world.apply("lib", "lib.git", "ref: {branch: main}").await?;
    let lib = world.ready("lib").await?["status"]["artifact"].clone();
    world.apply("lib", "lib.git", suspended).await?;
    // After that nothing else writes its status.
    let seen = |object: &Value| {
        object["spec"]["suspend"] == true
            && object["status"]["observedGeneration"] == object["metadata"]["generation"]
    };
    world
        .namespace
        .wait(GIT_REPOSITORY, "lib", "is suspended", seen)
        .await?;
    let text = |artifact: &Value, key: &str| artifact[key].as_str().unwrap_or_default().to_owned();

    // Its status refers to the victim's artifact, with the right digest.
    world
        .namespace
        .set_status(GIT_REPOSITORY, "lib", json!({"artifact": victim}))
        .await?;
    let include = "ref: {branch: main}, include: [{repository: {name: lib}}]";
    world.apply("app", "app.git", include).await?;
    let message = world
        .condition("app", "StorageOperationFailed", "True", "CopyFailure")
        .await?;
    let want = format!(
        "failed to copy 'lib' include from  to lib: path '{}' is not one of that repository's artifacts",
        text(&victim, "path")
    );
    assert_eq!(message, want);

    // Its own path, but with other bytes than its status says.
    world
        .namespace
        .set_status(GIT_REPOSITORY, "lib", json!({"artifact": lib}))
        .await?;
    fs::copy(
        world.storage().join(text(&victim, "path")),
        world.storage().join(text(&lib, "path")),
    )?;
    world.apply("next", "app.git", include).await?;
    let message = world
        .condition("next", "StorageOperationFailed", "True", "CopyFailure")
        .await?;
    ensure!(
        message.contains("failed to verify archive: computed digest doesn't match provided"),
        "{message}"
    );
    Ok(())
}
