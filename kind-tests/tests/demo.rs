//! `cargo demo`, run to its end and made to fail.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use kind_tests::{Result, ensure};

/// Runs the demo with these environment variables.
fn demo(environment: &[(&str, &str)]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command.arg("--leave").envs(environment.iter().copied());
    Ok(command.output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_demo_ends_with_every_object_ready() -> Result {
    let ran = demo(&[])?;
    let (shown, failure) = (text(&ran.stdout), text(&ran.stderr));
    ensure!(ran.status.success(), "{shown}\n{failure}");
    // Each step checks its result: here only that none is left out of the table.
    let rows: Vec<Vec<&str>> = shown
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for (kind, name, revision) in [
        ("GitRepository", "app", "main@sha1:"),
        ("OCIRepository", "policies", "1.1.0@sha256:"),
        ("HelmRelease", "frontend", "1.1.0"),
        ("HelmRelease", "backend", "1.1.0"),
        ("ExternalArtifact", "prod", "latest@sha256:"),
        ("Kustomization", "prod", "latest@sha256:"),
        ("Kustomization", "app", "main@sha1:"),
        ("ImagePolicy", "pause", "3.10.1"),
    ] {
        let row = |row: &&Vec<&str>| {
            let [found, of, at, ready, ..] = row.as_slice() else {
                return false;
            };
            (*found, *of, *ready) == (name, kind, "True") && at.starts_with(revision)
        };
        ensure!(
            rows.iter().any(|cells| row(&cells)),
            "no row of {kind}/{name} at {revision}:\n{shown}"
        );
    }
    Ok(())
}

#[test]
fn a_failed_demo_names_the_step_and_the_logs() -> Result {
    let folder = tempfile::tempdir()?;
    for controller in [
        "source-controller",
        "kustomize-controller",
        "helm-controller",
        "notification-controller",
        "image-reflector-controller",
        "image-automation-controller",
        "source-watcher",
    ] {
        let path = folder.path().join(controller);
        fs::write(&path, "#!/bin/sh\necho broken >&2\nexit 7\n")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    let binaries = folder.path().to_string_lossy();
    let ran = demo(&[("FLUX_TEST_BINARIES", &binaries)])?;
    ensure!(ran.status.code() == Some(1), "{:?}", ran.status);
    let failure = text(&ran.stderr);
    ensure!(
        failure.contains("2. The controllers start: notification-controller exited with")
            && failure.contains("exit status: 7"),
        "{failure}"
    );
    let logs = failure
        .lines()
        .find_map(|line| line.strip_prefix("The controllers' logs are in "))
        .unwrap_or_default();
    let log = fs::read_to_string(format!("{logs}/notification-controller.log"))?;
    assert_eq!(log, "broken\n");
    Ok(())
}
