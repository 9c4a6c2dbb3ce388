//! Storage failures: reported with upstream's reason, retried, and recovered once the cause is gone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kind_tests::controller::Settings;
use kind_tests::{GIT_REPOSITORY, Result, condition, ensure};
use rustix::process::{Resource, getrlimit};

use crate::support::{World, limit_files};

/// An obstacle to storing an artifact: how it is created, and how it is reported.
struct Obstacle {
    name: &'static str,
    /// Creates it, given the folder of the object's artifacts and the name of the file.
    put: fn(&Path, &str) -> std::io::Result<PathBuf>,
    reason: &'static str,
    words: &'static str,
    /// Whether `StorageOperationFailed` reports it.
    marked: bool,
}

const OBSTACLES: &[Obstacle] = &[
    // SC-GIT-110, SC-PROC-061
    Obstacle {
        name: "file-as-folder",
        put: |folder, _| {
            fs::create_dir_all(folder.parent().unwrap_or(folder))?;
            fs::write(folder, "")?;
            Ok(folder.to_owned())
        },
        reason: "DirectoryCreationFailed",
        words: "failed to create artifact directory: mkdir ",
        marked: true,
    },
    Obstacle {
        name: "folder-as-lock",
        put: |folder, file| {
            let lock = folder.join(format!("{file}.lock"));
            fs::create_dir_all(&lock)?;
            Ok(lock)
        },
        reason: "Failed",
        words: "failed to acquire lock for artifact: lock ",
        marked: false,
    },
    Obstacle {
        name: "folder-as-artifact",
        put: |folder, file| {
            let artifact = folder.join(file);
            fs::create_dir_all(artifact.join("inner"))?;
            Ok(artifact)
        },
        reason: "ArchiveOperationFailed",
        words: "unable to archive artifact to storage: rename ",
        marked: true,
    },
];

#[tokio::test]
async fn obstacles_to_storing_an_artifact_are_reported() -> Result {
    let world = World::start("git-obstacle").await?;
    let repo = world.repo("app.git");
    let file = format!("{}.tar.gz", repo.rev_parse("main"));
    let mut put = Vec::new();
    for obstacle in OBSTACLES {
        put.push((obstacle.put)(&world.folder(obstacle.name), &file)?);
        world
            .apply(obstacle.name, "app.git", "ref: {branch: main}")
            .await?;
    }
    for (obstacle, path) in OBSTACLES.iter().zip(put) {
        let name = obstacle.name;
        let told = |event: &serde_json::Value| {
            event["involvedObject"]["name"] == name && event["reason"] == obstacle.reason
        };
        let event = world.events.wait(&format!("tells of {name}"), told).await?;
        let message = event["message"].as_str().unwrap_or_default();
        ensure!(message.starts_with(obstacle.words), "{name}: {message}");
        ensure!(event["severity"] == "error", "{event}");
        if obstacle.marked {
            let marked = world
                .condition(name, "StorageOperationFailed", "True", obstacle.reason)
                .await?;
            ensure!(marked == message, "{name}: {marked}");
            world
                .condition(name, "Ready", "False", obstacle.reason)
                .await?;
        }
        // No temporary files are left.
        let strays = world
            .stored(name)
            .into_iter()
            .filter(|stored| *stored != file && *stored != format!("{file}.lock"));
        assert_eq!(strays.count(), 0, "{name}: {:?}", world.stored(name));

        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
        world
            .namespace
            .request_reconcile(GIT_REPOSITORY, name)
            .await?;
        let object = world.ready(name).await?;
        ensure!(
            condition(&object, "StorageOperationFailed").is_none(),
            "{object}"
        );
        world.files(&object).await?;
    }
    Ok(())
}

// SC-ART-070, SC-ART-074, SC-PROC-054: no condition of its own, a warning, and a retry
#[tokio::test]
async fn unreadable_ignore_rules_are_reported() -> Result {
    let world = World::start("git-rules").await?;
    let repo = world.repo("app.git");
    repo.commit("loop")
        .symlink("deep/.sourceignore", ".sourceignore")
        .create();
    repo.commit("many")
        .file(".sourceignore", "x\n".repeat(70_000))
        .create();
    for (name, words) in [
        (
            "loop",
            "open deep/.sourceignore: too many levels of symbolic links",
        ),
        ("many", "65536"),
    ] {
        world
            .apply(name, "app.git", &format!("ref: {{branch: {name}}}"))
            .await?;
        let told = |event: &serde_json::Value| {
            event["involvedObject"]["name"] == name && event["reason"] == "SourceIgnoreError"
        };
        let event = world.events.wait(&format!("tells of {name}"), told).await?;
        let message = event["message"].as_str().unwrap_or_default();
        ensure!(
            message.starts_with("failed to load source ignore patterns from repository: ")
                && message.contains(words),
            "{name}: {message}"
        );
        let object = world
            .namespace
            .get(GIT_REPOSITORY, name)
            .await?
            .unwrap_or_default();
        for absent in [
            "StorageOperationFailed",
            "FetchFailed",
            "Stalled",
            "ArtifactInStorage",
        ] {
            ensure!(condition(&object, absent).is_none(), "{name}: {object}");
        }
    }
    repo.commit("loop").remove("deep/.sourceignore").create();
    world
        .namespace
        .request_reconcile(GIT_REPOSITORY, "loop")
        .await?;
    world.ready("loop").await?;
    Ok(())
}

// SC-PROC-061: fetched data is temporarily stored in the temporary folder
#[tokio::test]
async fn a_missing_temporary_folder_is_reported() -> Result {
    let settings = Settings::default().env("TMPDIR", "/nonexistent/tmp");
    let world = World::start_with("git-tmp", settings, git_servers::HttpGitServer::start()).await?;
    world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let message = world
        .condition(
            "app",
            "StorageOperationFailed",
            "True",
            "DirectoryCreationFailed",
        )
        .await?;
    ensure!(
        message.starts_with("failed to create temporary working directory: ")
            && message.contains("/nonexistent/tmp"),
        "{message}"
    );
    ensure!(
        world.git.requests().is_empty(),
        "it was fetched all the same"
    );
    Ok(())
}

// SC-ART-045, SC-ART-046
#[tokio::test]
async fn artifacts_that_cannot_be_removed_keep_the_finalizer() -> Result {
    let world = World::start("git-kept").await?;
    world
        .apply("app", "none.git", "ref: {branch: main}")
        .await?;
    world
        .condition("app", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    let folder = world.folder("app");
    let namespace = folder.parent().unwrap_or(&folder);
    fs::create_dir_all(namespace.parent().unwrap_or(namespace))?;
    fs::write(namespace, "")?;
    world.namespace.delete(GIT_REPOSITORY, "app").await?;
    let event = world
        .events
        .wait("tells of the failure", |event| {
            event["reason"] == "GarbageCollectionFailed"
        })
        .await?;
    let message = event["message"].as_str().unwrap_or_default();
    ensure!(
        message.starts_with("garbage collection for deleted resource failed: remove ")
            && event["severity"] == "error",
        "{event}"
    );
    let object = world
        .namespace
        .get(GIT_REPOSITORY, "app")
        .await?
        .unwrap_or_default();
    ensure!(
        object["metadata"]["finalizers"][0] == "finalizers.fluxcd.io",
        "{object}"
    );
    fs::remove_file(namespace)?;
    world.namespace.wait_gone(GIT_REPOSITORY, "app").await?;
    Ok(())
}

// SC-ART-033: only a file with another digest is removed
#[tokio::test]
async fn a_temporarily_unreadable_artifact_is_kept() -> Result {
    let world = World::start("git-unreadable").await?;
    world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;
    let path = before["status"]["artifact"]["path"].as_str();
    let file = world.storage().join(path.unwrap_or_default());
    let inode = fs::metadata(&file)?.ino();

    limit_files(world.controller.pid(), Some(0))?;
    world
        .namespace
        .request_reconcile(GIT_REPOSITORY, "app")
        .await?;
    let refused = |line: &serde_json::Value| {
        let error = line["error"].as_str().unwrap_or_default();
        error.starts_with("failed to verify integrity of artifact, which is kept: open ")
            && error.contains("Too many open files")
    };
    world
        .controller
        .log()
        .wait("of a file that cannot be opened", refused)
        .await?;
    ensure!(file.exists(), "{:?}", world.stored("app"));

    limit_files(world.controller.pid(), getrlimit(Resource::Nofile).current)?;
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    assert_eq!(fs::metadata(&file)?.ino(), inode, "the file is the same");
    world.files(&object).await?;
    Ok(())
}

// SC-ART-006, SC-ART-007
#[tokio::test]
async fn temporary_files_of_a_killed_controller_are_removed_at_startup() -> Result {
    let mut world = World::start("git-killed").await?;
    world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    world.ready("app").await?;
    let whole = world.stored("app");
    world.controller.kill()?;
    for left in ["f00d.tar.gz.aB3dE9", "f00d.tar.gz.lock"] {
        fs::write(world.folder("app").join(left), "half")?;
    }
    world.controller.restart().await?;
    let removed = |line: &serde_json::Value| {
        line["msg"] == "removed leftovers from storage" && line["count"] == 2
    };
    world.controller.log().wait("of leftovers", removed).await?;
    assert_eq!(world.stored("app"), whole);
    Ok(())
}
