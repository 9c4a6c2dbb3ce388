//! Controllers that are killed while they write files: the leftovers are removed at the next start.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kind_tests::controller::Settings;
use kind_tests::{
    CONFIG_MAP, Controller, Flux, GIT_REPOSITORY, Gate, KUSTOMIZATION, Result, Way, ensure,
};

use crate::config_map;

/// Between two looks at files, which cannot be watched here.
const PAUSE: Duration = Duration::from_millis(1);

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8))
        .flat_map(|_| next())
        .take(length)
        .collect()
}

/// The files below a folder with their sizes, except locks.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.metadata() {
                Ok(kind) if kind.is_dir() => folders.push(path),
                Ok(kind) if !path.ends_with("lock") => found.push((path, kind.len())),
                _ => {}
            }
        }
    }
    found
}

/// The folders of processes in the work folder of a controller.
fn processes(work: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(work).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.path()).collect()
}

/// A folder for temporary files, and the flag that has a controller use it.
fn temporary(topic: &str) -> Result<(tempfile::TempDir, Settings)> {
    let folder = tempfile::Builder::new().prefix(topic).tempdir()?;
    let settings = Settings::default().env("TMPDIR", folder.path().to_string_lossy());
    Ok((folder, settings))
}

/// Waits until the controller has written to its work folder what came before the gate closed, kills it, and starts it again
/// behind the open gate.
async fn kill_in_the_middle(
    flux: &mut Flux,
    gate: &Gate,
    work: &Path,
    controller: fn(&mut Flux) -> &mut Controller,
) -> Result {
    let received = async {
        while files(work).iter().map(|(_, size)| size).sum::<u64>() < 1 << 20 {
            tokio::time::sleep(PAUSE).await;
        }
    };
    flux.namespace
        .wait_for("a part of the repository is on disk", received)
        .await?;
    let before = processes(work);
    ensure!(before.len() == 1, "{before:?}");
    controller(flux).kill()?;
    let left: u64 = files(work).iter().map(|(_, size)| size).sum();
    ensure!(left >= 1 << 20, "{left} bytes were left");
    gate.set(Way::Open);
    controller(flux).restart().await?;
    // The folders are checked before anything is reconciled.
    let gone = async {
        while !processes(work).is_disjoint(&before) {
            tokio::time::sleep(PAUSE).await;
        }
    };
    flux.namespace
        .wait_for("the folder of the killed process is gone", gone)
        .await
}

// SC-ART-043
#[tokio::test]
async fn a_killed_fetch_leaves_no_files() -> Result {
    let (folder, settings) = temporary("killed-fetch")?;
    let mut flux = Flux::start_with("killed-fetch", settings, Settings::default()).await?;
    let gate = Gate::start(flux.git.address()).await?;
    gate.set(Way::Bytes(3 << 20));
    let commit = flux.repo.commit("main").file("noise", noise(8 << 20));
    let commit = commit.file("a.yaml", config_map("a", "1")).create();
    let url = format!("http://{}/app.git", gate.address());
    let yaml = flux.git_repository("app", "ref: {branch: main}");
    let yaml = yaml.replace(&flux.git.url("app.git"), &url);
    flux.namespace.apply(&yaml).await?;

    let work = folder.path().join("flux-source-controller");
    kill_in_the_middle(&mut flux, &gate, &work, |flux| &mut flux.source).await?;
    let ready = flux
        .namespace
        .wait_ready(GIT_REPOSITORY, "app", "True")
        .await?;
    ensure!(
        ready["status"]["artifact"]["revision"] == format!("main@sha1:{commit}"),
        "{ready:#}"
    );
    Ok(())
}

// KC-BLD-024
#[tokio::test]
async fn a_killed_build_leaves_no_files() -> Result {
    let (folder, settings) = temporary("killed-build")?;
    let mut flux = Flux::start_with("killed-build", Settings::default(), settings).await?;
    let gate = Gate::start(flux.git.address()).await?;
    gate.set(Way::Bytes(3 << 20));
    let base = git_servers::Repo::init(flux.git.root(), "base.git");
    let map = config_map("a", "1");
    base.commit("main")
        .file("noise", noise(8 << 20))
        .file("a.yaml", &map)
        .file("kustomization.yaml", "resources: [a.yaml]\n")
        .create();
    let remote = format!(
        "resources: ['http://{}/base.git?ref=main']\n",
        gate.address()
    );
    let revision = flux.commit(&[("kustomization.yaml", &remote)]);
    flux.follow_main().await?;
    let yaml = flux.kustomization("app", &["prune: true"]);
    flux.namespace.apply(&yaml).await?;

    let work = folder.path().join("flux-kustomize-controller");
    kill_in_the_middle(&mut flux, &gate, &work, |flux| &mut flux.kustomize).await?;
    flux.applied("app", &revision).await?;
    let map = flux.namespace.get(CONFIG_MAP, "a").await?;
    ensure!(map.is_some(), "the base was not applied");
    flux.namespace.delete(KUSTOMIZATION, "app").await?;
    flux.namespace.wait_gone(KUSTOMIZATION, "app").await
}

// SC-ART-043
#[tokio::test]
async fn a_killed_artifact_write_leaves_no_files() -> Result {
    let mut flux = Flux::start("killed-archive").await?;
    let stored = flux.namespace.folder().join("source-controller");
    let half = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str());
        let lock = path.extension().is_some_and(|ending| ending == "lock");
        name.is_some_and(|name| name.contains(".tar.gz.") && !lock)
    };
    flux.commit(&[("a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;
    let content = noise(24 << 20);
    let mut caught = None;
    // An archive that is complete before it is seen does not count.
    for attempt in 0..20 {
        let commit = flux.repo.commit("main").file("noise", &content);
        let commit = commit
            .file("a.yaml", config_map("a", &attempt.to_string()))
            .create();
        flux.fetch().await?;
        let whole = stored
            .join(format!("gitrepository/{}/app", flux.namespace.name()))
            .join(format!("{commit}.tar.gz"));
        let seen = async {
            loop {
                if let Some((path, _)) = files(&stored).into_iter().find(|(path, _)| half(path)) {
                    return Some(path);
                }
                if whole.exists() {
                    return None;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let seen = flux
            .namespace
            .wait_for("the artifact is written", seen)
            .await?;
        flux.source.kill()?;
        if let Some(path) = seen.filter(|path| path.exists()) {
            caught = Some((path, format!("main@sha1:{commit}")));
            break;
        }
        flux.source.restart().await?;
    }
    let Some((path, revision)) = caught else {
        return Err(kind_tests::Failure::new("no archive was seen half written"));
    };
    flux.source.restart().await?;
    let goal = format!("has an artifact of {revision}");
    let has = |object: &serde_json::Value| object["status"]["artifact"]["revision"] == revision;
    flux.namespace
        .wait(GIT_REPOSITORY, "app", &goal, has)
        .await?;
    let gone = async {
        while path.exists() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    flux.namespace
        .wait_for("the half artifact is gone", gone)
        .await?;
    let left: Vec<_> = files(&stored)
        .into_iter()
        .filter(|(path, _)| half(path))
        .collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}
