//! Artifacts in the storage during an object's life.

use kind_tests::controller::Settings;
use kind_tests::{Controller, GIT_REPOSITORY, Result, ensure};
use serde_json::{Value, json};

use crate::support::World;

// SC-ART-031, SC-ART-033, RT-ART-011
#[tokio::test]
async fn a_lost_or_damaged_artifact_is_rebuilt() -> Result {
    let world = World::start("git-storage").await?;
    world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;
    let file = world.storage().join(
        before["status"]["artifact"]["path"]
            .as_str()
            .unwrap_or_default(),
    );

    std::fs::remove_file(&file)?;
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"],
        "{object}"
    );
    ensure!(file.exists(), "{}", file.display());

    std::fs::write(&file, "other bytes")?;
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"],
        "{object}"
    );
    let event = world
        .events
        .wait("tells of the damage", |event| {
            event["reason"] == "ArtifactVerificationFailed"
        })
        .await?;
    let message = event["message"].as_str().unwrap_or_default();
    ensure!(
        message
            .starts_with("failed to verify integrity of artifact: computed digest doesn't match '"),
        "{event}"
    );
    world.files(&object).await?;
    Ok(())
}

fn set_age(file: &std::path::Path, age: std::time::Duration) -> Result {
    let file = std::fs::File::options().append(true).open(file)?;
    file.set_modified(std::time::SystemTime::now() - age)?;
    Ok(())
}

const HOUR: std::time::Duration = std::time::Duration::from_hours(1);

#[tokio::test]
async fn old_artifacts_are_removed_on_reconcile() -> Result {
    let settings = Settings::default()
        .flag("--artifact-retention-records=1")
        .flag("--artifact-retention-ttl=30m");
    let world = World::start_with(
        "git-retention",
        settings,
        git_servers::HttpGitServer::start(),
    )
    .await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    world.ready("app").await?;
    let files = |commits: &[&str]| -> Vec<String> {
        let names = commits
            .iter()
            .flat_map(|commit| [format!("{commit}.tar.gz"), format!("{commit}.tar.gz.lock")]);
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    let first = repo.rev_parse("main");
    let second = repo.commit("main").file("f", "2").create();
    world.reconcile("app").await?;
    assert_eq!(
        world.stored("app"),
        files(&[&first, &second]),
        "a run collects before it stores"
    );
    let third = repo.commit("main").file("f", "3").create();
    world.reconcile("app").await?;
    // SC-ART-041, SC-PROC-020; SC-ART-042: with its lock
    assert_eq!(
        world.stored("app"),
        files(&[&second, &third]),
        "one record is kept: the current"
    );
    // SC-PROC-088
    world
        .recorded(
            "app",
            "GarbageCollectionSucceeded",
            "garbage collected 1 artifacts",
        )
        .await?;
    ensure!(
        !world
            .told("app")
            .iter()
            .any(|(reason, _)| reason == "GarbageCollectionSucceeded"),
        "{:?}",
        world.told("app")
    );
    Ok(())
}

// SC-ART-040: by age, though the count is not reached
#[tokio::test]
async fn expired_artifacts_are_removed() -> Result {
    let settings = Settings::default()
        .flag("--artifact-retention-records=100")
        // SC-PROC-019
        .flag("--artifact-retention-ttl=30m");
    let world =
        World::start_with("git-expiry", settings, git_servers::HttpGitServer::start()).await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    world.ready("app").await?;
    let first = format!("{}.tar.gz", repo.rev_parse("main"));
    let second = repo.commit("main").file("f", "2").create();
    let object = world.reconcile("app").await?;
    ensure!(
        world.stored("app").contains(&first),
        "{:?}",
        world.stored("app")
    );
    // SC-GIT-114: remains of older versions
    std::os::unix::fs::symlink(
        world.folder("app").join(&first),
        world.folder("app").join("latest.tar.gz"),
    )?;
    set_age(&world.folder("app").join(&first), HOUR)?;
    // The current one is kept, whatever its age.
    let path = object["status"]["artifact"]["path"]
        .as_str()
        .unwrap_or_default();
    set_age(&world.storage().join(path), HOUR)?;
    world.reconcile("app").await?;
    assert_eq!(
        world.stored("app"),
        [
            format!("{second}.tar.gz"),
            format!("{second}.tar.gz.lock"),
            "latest.tar.gz".to_owned()
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_new_advertised_address_does_not_rebuild_artifacts() -> Result {
    let mut world = World::start("git-address").await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let first = format!("{}.tar.gz", repo.rev_parse("main"));
    world.ready("app").await?;
    repo.commit("main").file("f", "2").create();
    let before = world.reconcile("app").await?;
    let path = before["status"]["artifact"]["path"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let written = std::fs::metadata(world.storage().join(&path))?.modified()?;
    ensure!(
        world.controller.terminate().await?.success(),
        "it ends cleanly"
    );

    set_age(&world.folder("app").join(&first), HOUR)?;
    // An object that was deleted while the controller was down.
    let gone = world.folder("gone");
    std::fs::create_dir_all(&gone)?;
    std::fs::write(gone.join("x.tar.gz"), "")?;
    world.git.clear_requests();
    // SC-ART-020, RT-ART-003
    for (address, url) in [
        (
            "artifacts.example.com",
            format!("http://artifacts.example.com/{path}"),
        ),
        (
            "https://artifacts.example.com/base",
            format!("https://artifacts.example.com/base/{path}"),
        ),
    ] {
        let settings = Settings::default().flag(format!("--storage-adv-addr={address}"));
        let mut controller =
            Controller::start("source-controller", &world.namespace, settings).await?;
        let moved = |object: &Value| object["status"]["artifact"]["url"] == url;
        let object = world
            .namespace
            .wait(GIT_REPOSITORY, "app", "has the new address", moved)
            .await?;
        // SC-ART-025, RT-ART-005
        let mut want = before["status"]["artifact"].clone();
        want["url"] = json!(url);
        ensure!(object["status"]["artifact"] == want, "{object}");
        ensure!(controller.terminate().await?.success(), "it ends cleanly");
    }
    ensure!(
        std::fs::metadata(world.storage().join(&path))?.modified()? == written,
        "it was written again"
    );
    let asked = world.git.requests();
    ensure!(
        !asked.iter().any(|request| request.says("command=fetch")),
        "{asked:?}"
    );
    // SC-ART-030
    ensure!(
        !world.stored("app").contains(&first),
        "{:?}",
        world.stored("app")
    );
    // SC-ART-043
    ensure!(gone.join("x.tar.gz").exists(), "what no object has stays");
    Ok(())
}

// SC-PROC-058
#[tokio::test]
async fn a_suspended_object_does_not_rebuild_a_lost_artifact() -> Result {
    let world = World::start("git-dormant").await?;
    world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;
    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"suspend": true}}))
        .await?;
    std::fs::remove_dir_all(world.folder("app"))?;
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    let url = before["status"]["artifact"]["url"]
        .as_str()
        .unwrap_or_default();
    let client = flux_http::ClientOptions::default().build()?;
    assert_eq!(client.get(url).send().await?.status(), 404);

    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"suspend": false}}))
        .await?;
    let rebuilt =
        |object: &Value| kind_tests::is_ready(object, "True") && world.folder("app").exists();
    let object = world
        .namespace
        .wait(GIT_REPOSITORY, "app", "is stored again", rebuilt)
        .await?;
    ensure!(
        object["status"]["artifact"]["digest"] == before["status"]["artifact"]["digest"],
        "{object}"
    );
    world.files(&object).await?;
    Ok(())
}

// SC-ART-004: the file of a commit is replaced at once; SC-GIT-113: and reported
#[tokio::test]
async fn different_content_of_the_same_commit_replaces_its_file() -> Result {
    let world = World::start("git-replace").await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;
    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"ignore": "/app\n"}}))
        .await?;
    let object = world.ready("app").await?;
    let (old, new) = (&before["status"]["artifact"], &object["status"]["artifact"]);
    ensure!(
        old["path"] == new["path"]
            && old["revision"] == new["revision"]
            && old["digest"] != new["digest"],
        "{old} {new}"
    );
    let name = format!("{}.tar.gz", repo.rev_parse("main"));
    assert_eq!(world.stored("app"), [name.clone(), format!("{name}.lock")]);
    assert_eq!(world.files(&object).await?.len(), 0); // SC-ART-067
    let with_digest =
        |event: &Value| event["metadata"]["source.toolkit.fluxcd.io/digest"] == new["digest"];
    let event = world
        .events
        .wait("tells of the other digest", with_digest)
        .await?;
    ensure!(event["reason"] == "NewArtifact", "{event}");
    Ok(())
}
