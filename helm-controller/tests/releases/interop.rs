//! Releases shared with the real helm commands.

use std::path::PathBuf;
use std::process::Command;

use kind_tests::helm_cli::{Helm, program};
use kind_tests::{Failure, HELM_RELEASE, Result, SECRET, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, history};

/// A hook that there is no node for.
const NEVER_DONE: &str = "apiVersion: batch/v1
kind: Job
metadata: {name: hook, annotations: {helm.sh/hook: pre-upgrade}}
spec: {template: {spec: {restartPolicy: Never, nodeSelector: {no: node}, containers: [{name: c, image: example.org/c:1}]}}}
";

/// The command helm on the cluster of the bench.
fn command(bench: &Bench, version: Helm, args: &[&str]) -> Result<Command> {
    let program: PathBuf = program(version)?;
    let mut command = Command::new(program);
    command
        .args(args)
        .args(["-n", bench.namespace.name()])
        .env("KUBECONFIG", bench.namespace.cluster().kubeconfig());
    Ok(command)
}

/// Runs helm on the cluster of the bench.
fn helm(bench: &Bench, version: Helm, args: &[&str]) -> Result<String> {
    let output = command(bench, version, args)?.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(format!("helm {args:?}: {error}")))
    }
}

// HC-REL-010, HC-REL-011, HC-ACT-037
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_reads_our_releases_and_we_take_back_what_it_changed() -> Result {
    let bench = Bench::installed("hr-helm", json!({"values": {"text": "one"}})).await?;
    bench.release(json!({"values": {"text": "two"}})).await?;
    bench.says("True", "UpgradeSucceeded", "web.v2").await?;
    for version in [Helm::V3, Helm::V4] {
        let listed: Value = serde_json::from_str(&helm(&bench, version, &["list", "-o", "json"])?)?;
        ensure!(
            listed[0]["name"] == "web"
                && listed[0]["status"] == "deployed"
                && listed[0]["revision"] == "2",
            "{listed}"
        );
        let values = helm(&bench, version, &["get", "values", "web", "-o", "json"])?;
        // HC-VAL-015
        ensure!(values.trim() == r#"{"text":"two"}"#, "{values}");
        let history: Value =
            serde_json::from_str(&helm(&bench, version, &["history", "web", "-o", "json"])?)?;
        ensure!(history.as_array().map(Vec::len) == Some(2), "{history}");
        ensure!(
            helm(&bench, version, &["get", "manifest", "web"])?.contains("web-map"),
            "manifest"
        );
    }
    helm(
        &bench,
        Helm::V4,
        &["rollback", "web", "1", "--force-conflicts"],
    )?;
    ensure!(bench.text().await? == "one", "helm did not roll back");
    bench.run().await?;
    let object = bench.says("True", "UpgradeSucceeded", "web.v4").await?;
    // HC-ACT-051
    ensure!(history(&object) == ["4 deployed upgrade"], "{object}");
    ensure!(bench.text().await? == "two", "it stays rolled back");

    // An upgrade that was killed leaves a record, and the one before as it was.
    bench.run().await?;
    let chart = tempfile::tempdir()?;
    std::fs::create_dir(chart.path().join("templates"))?;
    for (path, text) in [
        ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 9.0.0\n"),
        ("templates/hook.yaml", NEVER_DONE),
    ] {
        std::fs::write(chart.path().join(path), text)?;
    }
    let path = chart.path().to_string_lossy();
    let mut upgrade = command(&bench, Helm::V4, &["upgrade", "web", &path])?.spawn()?;
    let next = "sh.helm.release.v1.web.v5";
    bench
        .namespace
        .wait(SECRET, next, "is there", |_| true)
        .await?;
    upgrade.kill()?;
    upgrade.wait()?;
    bench.run().await?;
    // HC-ACT-104, HC-ACT-101
    let object = bench.says("True", "UpgradeSucceeded", "web.v6").await?;
    ensure!(history(&object)[0] == "6 deployed upgrade", "{object}");

    helm(&bench, Helm::V4, &["uninstall", "web"])?;
    // HC-UNI-011
    bench.namespace.delete(HELM_RELEASE, "web").await?;
    bench.namespace.wait_gone(HELM_RELEASE, "web").await?;
    Ok(())
}
