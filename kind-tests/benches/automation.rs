//! `cargo bench -p kind-tests --bench automation`: updates a repository of 5,000 files with 2,000 markers in one run, and then
//! looks at it once more without a change. `FLUX_BENCH_SCALE=10` makes both a tenth as large.

mod figures;

use std::fmt::Write as _;
use std::process::ExitCode;

use figures::{Span, mebibytes, print, seconds};
use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::{Controller, Settings};
use kind_tests::{
    GIT_REPOSITORY, IMAGE_POLICY, IMAGE_UPDATE_AUTOMATION, Namespace, Result, ensure,
};
use serde_json::{Value, json};

const FILES: usize = 5000;
const MARKERS: usize = 2000;
/// The object and the lines around a value, as a Deployment has them.
const LINES: usize = 40;

fn main() -> ExitCode {
    figures::main(bench())
}

/// A Deployment; marked if it is one of the first.
fn file(namespace: &str, number: usize, markers: usize) -> String {
    let marker = if number < markers {
        format!(" # {{\"$imagepolicy\": \"{namespace}:app\"}}")
    } else {
        String::new()
    };
    let mut text = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{number}\nspec:\n  image: reg.io/app:1.0.0{marker}\n  env:\n"
    );
    for line in 0..LINES {
        let _ = writeln!(
            text,
            "  - name: VARIABLE_{line}\n    value: {number}-{line}"
        );
    }
    text
}

async fn bench() -> Result {
    let scale = figures::scale();
    let (files, markers) = (FILES / scale, MARKERS / scale);
    let cluster = figures::cluster().await?;
    let namespace = Namespace::create(&cluster, "automation").await?;
    let git = HttpGitServer::start();
    let repo = Repo::init(git.root(), "app.git");
    let mut commit = repo.commit("main");
    for number in 0..files {
        let path = format!("apps/{:02}/{number:04}.yaml", number % 100);
        commit = commit.file(&path, file(namespace.name(), number, markers));
    }
    commit.create();
    let name = "image-automation-controller";
    let controller = Controller::start(name, &namespace, Settings::default()).await?;
    let idle = mebibytes(controller.resident_bytes()?);
    print("memory without objects", &idle, "target 12 MiB");

    let source = json!({"apiVersion": GIT_REPOSITORY.0, "kind": GIT_REPOSITORY.1, "metadata": {"name": "app"},
        "spec": {"url": git.url("app.git"), "interval": "1h", "ref": {"branch": "main"}}});
    namespace.apply(&source.to_string()).await?;
    let policy = json!({"apiVersion": IMAGE_POLICY.0, "kind": IMAGE_POLICY.1, "metadata": {"name": "app"},
        "spec": {"imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": "*"}}}});
    namespace.apply(&policy.to_string()).await?;
    let latest = json!({"latestRef": {"name": "reg.io/app", "tag": "1.1.0"}});
    namespace.set_status(IMAGE_POLICY, "app", latest).await?;

    let span = Span::start(&controller, &namespace)?;
    let automation = json!({"apiVersion": IMAGE_UPDATE_AUTOMATION.0, "kind": IMAGE_UPDATE_AUTOMATION.1,
        "metadata": {"name": "app"},
        "spec": {"interval": "1h", "sourceRef": {"kind": "GitRepository", "name": "app"},
            "git": {"commit": {"author": {"email": "flux@example.com"}}}}});
    namespace.apply(&automation.to_string()).await?;
    let pushed = |object: &Value| object["status"]["lastPushCommit"].is_string();
    namespace
        .wait(IMAGE_UPDATE_AUTOMATION, "app", "has pushed", pushed)
        .await?;
    let took = span.end(&controller)?;
    let what = format!("{markers} markers in {files} files, fetched to pushed");
    print(&what, &seconds(took.wall), "");
    print("  processor time", &seconds(took.cpu), "target 0.50 s");
    print("  peak memory", &mebibytes(controller.peak_bytes()?), "");
    let changed = repo.git(&["diff", "--name-only", "main~1", "main"]);
    ensure!(changed.lines().count() == markers, "files are missing");

    // A commit of another writer, so that all files are looked at again.
    repo.commit("main").file("note", "by hand\n").create();
    let span = Span::start(&controller, &namespace)?;
    let at = namespace
        .request_reconcile(IMAGE_UPDATE_AUTOMATION, "app")
        .await?;
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at;
    namespace
        .wait(IMAGE_UPDATE_AUTOMATION, "app", "is reconciled", handled)
        .await?;
    let took = span.end(&controller)?;
    print("nothing to change in them", &seconds(took.wall), "");
    print("  processor time", &seconds(took.cpu), "");
    Ok(())
}
