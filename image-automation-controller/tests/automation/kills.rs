//! Controllers that are killed in the middle of a run: the repository has all of a push or nothing of it, and the next run
//! completes the work without a second commit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::{Gate, IMAGE_UPDATE_AUTOMATION, Result, Way, ensure};
use serde_json::Value;

use crate::world::{World, content, is_settled};

/// Between two looks at files, which cannot be watched here.
const PAUSE: Duration = Duration::from_millis(1);

/// A place in a repository's server where the first one who comes waits until it is told how to end.
struct Hold {
    folder: PathBuf,
    /// Both ends, so that what is written before the one who waits has opened it is not lost.
    pipe: fs::File,
}

impl Hold {
    fn new(repo: &Repo) -> Result<Self> {
        let folder = repo.path().to_owned();
        let path = folder.join("hold");
        let made = Command::new("mkfifo").arg(&path).status()?;
        ensure!(made.success(), "mkfifo: {made}");
        let pipe = fs::OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { folder, pipe })
    }

    /// The shell script of the place.
    fn script(&self) -> String {
        let folder = self.folder.display();
        format!(
            "if mkdir '{folder}/reached' 2>/dev/null; then read status <'{folder}/hold'; exit $status; fi"
        )
    }

    /// Waits until the place is reached.
    async fn reached(&self, world: &World) -> Result {
        let reached = async {
            while !self.folder.join("reached").exists() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        world
            .namespace
            .wait_for("the server is at the place", reached)
            .await
    }

    /// Lets the one who waits end with this status.
    fn release(&self, status: &str) -> Result {
        use std::io::Write as _;
        writeln!(&self.pipe, "{status}")?;
        Ok(())
    }
}

/// A repository whose automation has something to push, with the place that `arrange` puts into it.
async fn started(
    topic: &str,
    arrange: impl FnOnce(&Repo, &Hold) -> Result,
) -> Result<(World, Repo, Hold)> {
    let world = World::start(topic).await?;
    let repo = world.repo("app.git");
    let hold = Hold::new(&repo)?;
    arrange(&repo, &hold)?;
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    Ok((world, repo, hold))
}

/// Waits until a run has ended with the branch as it is, and checks that there is exactly one commit more than at the start.
async fn completed(world: &World, repo: &Repo) -> Result {
    let done = |object: &Value| {
        object["status"]["observedPolicies"]["app"]["tag"] == "1.1.0" && is_settled(object)
    };
    let object = world
        .namespace
        .wait(IMAGE_UPDATE_AUTOMATION, "auto", "has completed", done)
        .await?;
    let head = repo.rev_parse("main");
    // IA-STATUS-037
    ensure!(
        object["status"]["observedSourceRevision"] == format!("main@sha1:{head}"),
        "{object}"
    );
    ensure!(
        repo.git(&["rev-list", "--count", "main"]) == "2",
        "one commit: {object}"
    );
    let found = content(repo, "main", "apps/deploy.yaml");
    ensure!(found.contains("reg.io/app:1.1.0 "), "{found}");
    let fsck = repo.git(&["fsck", "--strict", "--no-dangling"]);
    ensure!(fsck.is_empty(), "{fsck}");
    Ok(())
}

/// The bytes of all files below a folder.
fn bytes(folder: &Path) -> u64 {
    let mut sum = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) => sum += kind.len(),
                Err(_) => {}
            }
        }
    }
    sum
}

#[tokio::test]
async fn a_kill_during_the_checkout() -> Result {
    let folder = tempfile::Builder::new().prefix("ia-kill").tempdir()?;
    let settings = Settings::default().env("TMPDIR", folder.path().to_string_lossy());
    let mut world = World::start_with("ia-kill-clone", settings, HttpGitServer::builder()).await?;
    let repo = Repo::init(world.git.root(), "app.git");
    let mut state = 1_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(4 << 20)
    .collect();
    repo.commit("main")
        .file("apps/deploy.yaml", world.marked(crate::world::DEPLOYMENT))
        .file("noise", noise)
        .create();
    let gate = Gate::start(world.git.address()).await?;
    gate.set(Way::Bytes(2 << 20));
    let url = format!("http://{}/app.git", gate.address());
    world.source("app", &url, "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    let work = folder.path().join("flux-image-automation-controller");
    let received = async {
        while bytes(&work) < 1 << 20 {
            tokio::time::sleep(PAUSE).await;
        }
    };
    world
        .namespace
        .wait_for("a part of the repository is on disk", received)
        .await?;
    world.controller.kill()?;
    gate.set(Way::Open);
    world.controller.restart().await?;
    completed(&world, &repo).await?;
    // IA-PROC-027
    let gone = async {
        while bytes(&work) >= 1 << 20 {
            tokio::time::sleep(PAUSE).await;
        }
    };
    world
        .namespace
        .wait_for("the files of the killed process are gone", gone)
        .await
}

#[tokio::test]
async fn a_kill_between_the_commit_and_the_push() -> Result {
    // The server runs the command when it lists its references for a push.
    let arrange = |repo: &Repo, hold: &Hold| {
        let other = repo.path().join("other.git");
        let made = Command::new("git")
            .args(["init", "-q", "--bare"])
            .arg(&other)
            .status()?;
        ensure!(made.success(), "git init: {made}");
        let alternates = repo.path().join("objects/info/alternates");
        if let Some(folder) = alternates.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(alternates, format!("{}/objects\n", other.display()))?;
        let program = repo.path().join("wait");
        fs::write(&program, format!("#!/bin/sh\n{}\n", hold.script()))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let program = program.display().to_string();
        repo.git(&["config", "core.alternateRefsCommand", &program]);
        Ok(())
    };
    let (mut world, repo, hold) = started("ia-kill-commit", arrange).await?;
    let before = repo.rev_parse("main");
    hold.reached(&world).await?;
    world.controller.kill()?;
    hold.release("0")?;
    ensure!(repo.rev_parse("main") == before, "nothing is pushed");
    world.controller.restart().await?;
    completed(&world, &repo).await
}

#[tokio::test]
async fn a_kill_during_a_push_that_the_server_drops() -> Result {
    let arrange = |repo: &Repo, hold: &Hold| {
        repo.hook("pre-receive", &hold.script());
        Ok(())
    };
    let (mut world, repo, hold) = started("ia-kill-drop", arrange).await?;
    let before = repo.rev_parse("main");
    hold.reached(&world).await?;
    world.controller.kill()?;
    hold.release("1")?;
    ensure!(repo.rev_parse("main") == before, "nothing is pushed");
    world.controller.restart().await?;
    completed(&world, &repo).await
}

#[tokio::test]
async fn a_kill_during_a_push_that_the_server_completes() -> Result {
    let arrange = |repo: &Repo, hold: &Hold| {
        repo.hook("pre-receive", &hold.script());
        Ok(())
    };
    let (mut world, repo, hold) = started("ia-kill-late", arrange).await?;
    let before = repo.rev_parse("main");
    hold.reached(&world).await?;
    world.controller.kill()?;
    hold.release("0")?;
    let pushed = async {
        while repo.rev_parse("main") == before {
            tokio::time::sleep(PAUSE).await;
        }
    };
    world
        .namespace
        .wait_for("the server has moved the branch", pushed)
        .await?;
    let head = repo.rev_parse("main");
    world.controller.restart().await?;
    completed(&world, &repo).await?;
    ensure!(repo.rev_parse("main") == head, "it is not pushed again");
    Ok(())
}

#[tokio::test]
async fn a_push_that_completes_after_that_of_the_next_run_changes_nothing() -> Result {
    let arrange = |repo: &Repo, hold: &Hold| {
        repo.hook("pre-receive", &hold.script());
        Ok(())
    };
    let (mut world, repo, hold) = started("ia-kill-both", arrange).await?;
    hold.reached(&world).await?;
    world.controller.kill()?;
    world.controller.restart().await?;
    completed(&world, &repo).await?;
    let head = repo.rev_parse("main");
    hold.release("0")?;
    // The next run pushes after it, so that it has ended one way or the other.
    world.policy("app", "reg.io/app", "1.2.0").await?;
    world.pushed("auto", &head).await?;
    ensure!(repo.rev_parse("main~1") == head, "the branch was moved");
    Ok(())
}

#[tokio::test]
async fn a_kill_between_the_push_and_the_status() -> Result {
    let arrange = |repo: &Repo, hold: &Hold| {
        repo.hook("post-receive", &hold.script());
        Ok(())
    };
    let (mut world, repo, hold) = started("ia-kill-status", arrange).await?;
    hold.reached(&world).await?;
    let object = world
        .namespace
        .get(IMAGE_UPDATE_AUTOMATION, "auto")
        .await?
        .unwrap_or_default();
    ensure!(object["status"].get("lastPushCommit").is_none(), "{object}");
    let head = repo.rev_parse("main");
    world.controller.kill()?;
    hold.release("0")?;
    world.controller.restart().await?;
    completed(&world, &repo).await?;
    ensure!(repo.rev_parse("main") == head, "it is not pushed again");
    Ok(())
}
