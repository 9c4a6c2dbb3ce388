//! How the process starts, what it refuses, and that it ends as it should.

use std::process::{Command, Output};

use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{ArtifactServer, Controller, GIT_REPOSITORY, Namespace, Result, ensure};
use serde_json::Value;

use crate::world::{EXTERNAL_ARTIFACT, World};

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

// SW-PROC-030, SW-ART-036, RT-PRB-005
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
        .wait("about the storage", said("storage setup for /"))
        .await?;
    // SW-PROC-042
    let address = world.watcher.artifact_address().unwrap_or_default();
    let text = format!("starting storage server on {address}");
    let serves = |entry: &Value| entry["msg"] == text.as_str();
    world.watcher.log().wait("about the server", serves).await?;
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

// RT-KUB-002, SW-PROC-016, SW-PROC-040
#[tokio::test]
async fn neither_the_server_is_probed_nor_are_secrets_read() -> Result {
    let mut world = World::start("requests").await?;
    world.watcher.terminate().await?;
    let counter = Counter::start(world.namespace.cluster(), world.watcher.user())?;
    world.watcher.restart().await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let spec = "artifacts: [{name: app, copy: [{from: '@repo/**', to: '@artifact/'}]}]";
    world.generate("gen", spec).await?;
    world.ready("gen").await?;
    let requests = counter.requests()?;
    ensure!(!requests.is_empty(), "nothing was requested");
    for request in requests {
        ensure!(
            !request.uri.starts_with("/livez")
                && !matches!(&*request.resource, "secrets" | "configmaps"),
            "{request:?}"
        );
    }

    // a limit that is asked for depends on what the server says
    let namespace = Namespace::create(world.namespace.cluster(), "limited").await?;
    let user = format!("source-watcher.{}", namespace.name());
    let counter = Counter::start(namespace.cluster(), &user)?;
    let limited = Settings::default().flag("--kube-api-qps=20");
    let _other = Controller::start("source-watcher", &namespace, limited).await?;
    let probes = counter.requests()?.into_iter();
    let probes = probes.filter(|request| request.uri == "/livez/ping");
    assert_eq!(probes.count(), 1);
    Ok(())
}

// SW-PROC-028
#[tokio::test]
async fn the_host_of_sources_may_be_replaced() -> Result {
    let server = ArtifactServer::start().await?;
    let settings =
        Settings::default().env("SOURCE_CONTROLLER_LOCALHOST", server.address().to_string());
    let world = World::start_with("localhost", settings).await?;
    let spec = |kind: &str| {
        format!(
            "sources: [{{alias: s, kind: {kind}, name: s}}], artifacts: [{{name: app, copy: [{{from: '@s/**', to: '@artifact/'}}]}}]"
        )
    };
    for (kind, object) in [
        ("GitRepository", GIT_REPOSITORY),
        ("ExternalArtifact", EXTERNAL_ARTIFACT),
    ] {
        let mut artifact = server.put(kind, kind, &[("a.yaml", kind)])?;
        let elsewhere =
            format!("http://source-controller.flux-system.svc.cluster.local.:8080/{kind}.tar.gz");
        artifact["url"] = elsewhere.into();
        world.publish(object, "s", artifact).await?;
        world.apply("gen", &spec(kind)).await?;
        world.ready("gen").await?;
        assert_eq!(world.files("app").await?["a.yaml"], kind);
    }
    Ok(())
}
