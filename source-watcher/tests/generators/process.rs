//! How the process starts, what it refuses, and that it ends as it should.

use std::process::{Command, Output};

use kind_tests::controller::Settings;
use kind_tests::{Controller, Namespace, Result, ensure};
use serde_json::Value;

use crate::world::World;

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_source-watcher"));
    command.args(args).env("KUBECONFIG", "/nowhere/kubeconfig");
    command.output().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn usage_errors_exit_with_two_and_help_with_zero() {
    // SW-PROC-027
    for args in [
        &["--no-such-flag"][..],
        &["--token-cache-max-size=1"],
        &["--concurrent=many"],
    ] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for flag in [
        "--override-manager",
        "--default-service-account",
        "--reconciliation-timeout",
    ] {
        assert!(text.contains(flag), "{flag}");
    }
}

// SW-PROC-008, SW-PROC-022, SW-PROC-025
#[test]
fn startup_errors_exit_with_one_and_a_message() {
    for (args, why) in [
        (&["--interval-jitter-percentage=100"][..], "jitter"),
        (
            &["--watch-label-selector=a in (b"],
            "unable to parse label selector",
        ),
        (
            &["--feature-gates=ExternalArtifact=true"],
            "feature-gate 'ExternalArtifact' not supported",
        ),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(
            errors(&output).contains(why),
            "{args:?}: {}",
            errors(&output)
        );
    }
}

// SW-PROC-010, SW-PROC-014, SW-PROC-034
#[tokio::test]
async fn storage_that_cannot_be_used_ends_the_process() -> Result {
    let world = World::start("storage").await?;
    let taken = world.watcher.artifact_address().unwrap_or_default();
    for (flag, why) in [
        (
            "--storage-path=/does/not/exist".to_owned(),
            "invalid dir path: /does/not/exist",
        ),
        (
            "--artifact-digest-algo=md5".to_owned(),
            "unable to configure canonical digest algorithm",
        ),
        (format!("--storage-addr={taken}"), "artifact server error"),
    ] {
        let namespace = Namespace::create(world.namespace.cluster(), "refused").await?;
        let settings = Settings::default().flag(flag);
        let mut refused = Controller::start_unready("source-watcher", &namespace, settings).await?;
        let ended = async {
            while refused.runs() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        namespace.wait_for("the process has ended", ended).await?;
        let told = async {
            while !refused.log().lines().join("\n").contains(why) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        namespace.wait_for(why, told).await?;
    }
    Ok(())
}

// SW-PROC-030, SW-ART-036
#[tokio::test]
async fn only_the_leader_serves_artifacts() -> Result {
    let settings = Settings::default().flag("--enable-leader-election");
    let mut world = World::start_with("leader", settings.clone()).await?;
    let said = |text: &'static str| {
        move |entry: &Value| {
            entry["msg"]
                .as_str()
                .is_some_and(|message| message.starts_with(text))
        }
    };
    world
        .watcher
        .log()
        .wait("about the storage", said("storage setup for "))
        .await?;
    world
        .watcher
        .log()
        .wait("about the server", said("starting artifact server"))
        .await?;
    // SW-PROC-020
    let leases = world
        .namespace
        .names(kind_tests::Kind("coordination.k8s.io/v1", "Lease"))
        .await?;
    ensure!(
        leases
            .iter()
            .any(|name| name.starts_with("source-watcher-leader-election-")),
        "{leases:?}"
    );

    let mut standby =
        Controller::start_unready("source-watcher", &world.namespace, settings).await?;
    standby.healthy().await?;
    let address = standby.artifact_address().unwrap_or_default();
    ensure!(
        tokio::net::TcpStream::connect(&address).await.is_err(),
        "the standby serves artifacts"
    );
    ensure!(
        world.watcher.terminate().await?.success(),
        "the leader failed"
    );
    standby.ready().await
}

// SW-PROC-043
#[tokio::test]
async fn no_temporary_files_are_left() -> Result {
    let folder = tempfile::tempdir()?;
    let settings = Settings::default().env("TMPDIR", folder.path().to_string_lossy());
    let world = World::start_with("temporary", settings).await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let spec = "artifacts: [{name: app, copy: [{from: '@repo/**', to: '@artifact/'}]}]";
    world.generate("gen", spec).await?;
    world.ready("gen").await?;
    let mut files = Vec::new();
    let mut folders = vec![folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("lock") {
                files.push(path);
            }
        }
    }
    assert_eq!(files, [""; 0].map(std::path::PathBuf::from));
    Ok(())
}
