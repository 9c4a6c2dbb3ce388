//! `cargo bench -p kind-tests --bench generator`: decomposes a repository of 200 MiB into 50 artifacts, then commits to one
//! of its folders, then reconciles without a change. `FLUX_BENCH_FILES` makes the repository smaller (20,000 files of ten
//! kilobytes).

mod figures;

use std::fmt::Write as _;
use std::process::ExitCode;

use figures::{Span, Took, mebibytes, print, seconds};
use kind_tests::controller::{Controller, Settings};
use kind_tests::{
    ARTIFACT_GENERATOR, ArtifactServer, EXTERNAL_ARTIFACT, GIT_REPOSITORY, Namespace, Result,
};
use serde_json::{Value, json};

const LINES: usize = 240;
const OUTPUTS: usize = 50;

fn main() -> ExitCode {
    figures::main(bench())
}

async fn bench() -> Result {
    let cluster = figures::cluster().await?;
    let server = ArtifactServer::start().await?;
    let namespace = Namespace::create(&cluster, "generator").await?;
    let watcher = Controller::start("source-watcher", &namespace, Settings::default()).await?;
    let yaml = format!(
        "{{apiVersion: {}, kind: {}, metadata: {{name: repo}}, spec: {{url: 'https://host/repo', interval: 1h}}}}",
        GIT_REPOSITORY.0, GIT_REPOSITORY.1
    );
    namespace.apply(&yaml).await?;

    let count = std::env::var("FLUX_BENCH_FILES").ok();
    let count = count.and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let mut files: Vec<(String, String)> = (0..count).map(file).collect();
    let bytes: usize = files.iter().map(|(_, text)| text.len()).sum();
    publish(&server, &namespace, "main@sha1:1", &files).await?;
    let outputs: Vec<Value> = (0..OUTPUTS)
        .map(|number| {
            let from = format!("@repo/app-{number:02}/**");
            json!({"name": format!("app-{number:02}"), "copy": [{"from": from, "to": "@artifact/"}]})
        })
        .collect();
    let generator = json!({
        "apiVersion": ARTIFACT_GENERATOR.0, "kind": ARTIFACT_GENERATOR.1, "metadata": {"name": "apps"},
        "spec": {
            "sources": [{"alias": "repo", "kind": "GitRepository", "name": "repo"}],
            "artifacts": outputs}});
    let span = Span::start(&watcher, &namespace)?;
    namespace.apply(&generator.to_string()).await?;
    namespace
        .wait_ready(ARTIFACT_GENERATOR, "apps", "True")
        .await?;
    let what = format!(
        "{} in {count} files into {OUTPUTS} artifacts",
        mebibytes(bytes as u64)
    );
    show(&what, &span.end(&watcher)?, &watcher)?;

    let before = revisions(&namespace).await?;
    files[0].1.push_str("changed: yes\n");
    let span = Span::start(&watcher, &namespace)?;
    publish(&server, &namespace, "main@sha1:2", &files).await?;
    let goal = "has a new revision of one artifact";
    let first = |object: &Value| object["status"]["artifact"]["revision"] != before[0];
    namespace
        .wait(EXTERNAL_ARTIFACT, "app-00", goal, first)
        .await?;
    show("commit to one folder", &span.end(&watcher)?, &watcher)?;
    let after = revisions(&namespace).await?;
    let changed = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    print("  artifacts with a new revision", &changed.to_string(), "1");

    let span = Span::start(&watcher, &namespace)?;
    let at = namespace
        .request_reconcile(ARTIFACT_GENERATOR, "apps")
        .await?;
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at.as_str();
    let goal = "has handled the request";
    namespace
        .wait(ARTIFACT_GENERATOR, "apps", goal, handled)
        .await?;
    show("no change", &span.end(&watcher)?, &watcher)
}

fn show(what: &str, took: &Took, watcher: &Controller) -> Result {
    print(what, &seconds(took.wall), "");
    print("  processor time", &seconds(took.cpu), "");
    let peak = mebibytes(watcher.peak_bytes()?);
    print("  peak memory of source-watcher", &peak, "target 100 MiB");
    Ok(())
}

/// Serves an artifact with these files, and writes it to the status of the repository.
async fn publish(
    server: &ArtifactServer,
    namespace: &Namespace,
    revision: &str,
    files: &[(String, String)],
) -> Result {
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let artifact = server.put(revision, revision, &files)?;
    let status = json!({"artifact": artifact});
    namespace.set_status(GIT_REPOSITORY, "repo", status).await?;
    Ok(())
}

/// The revisions of the artifacts, in the order of their names.
async fn revisions(namespace: &Namespace) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for number in 0..OUTPUTS {
        let name = format!("app-{number:02}");
        let object = namespace.get(EXTERNAL_ARTIFACT, &name).await?;
        all.push(object.unwrap_or_default()["status"]["artifact"]["revision"].clone());
    }
    Ok(all)
}

/// About ten kilobytes of text.
fn file(number: usize) -> (String, String) {
    let mut text = String::new();
    let mut state = number as u64 + 1;
    for line in 0..LINES {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let _ = writeln!(text, "key-{line:03}: value-{state:016x}-of-some-length");
    }
    let app = number % OUTPUTS;
    (format!("app-{app:02}/file-{number:05}.yaml"), text)
}
