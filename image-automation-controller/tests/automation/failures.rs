//! What goes wrong, and how it is reported.

use git_servers::{HttpGitServer, Repo};
use kind_tests::controller::Settings;
use kind_tests::{IMAGE_UPDATE_AUTOMATION, Result, condition, ensure};
use serde_json::{Value, json};

use crate::world::{DEPLOYMENT, World, content, message};

#[tokio::test]
async fn repositories_that_cannot_be_checked_out() -> Result {
    let world = World::start("ia-checkout").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    Repo::init(world.git.root(), "empty.git");
    world.repo("app.git");
    for (name, repo, spec, text) in [
        // IA-GIT-056
        (
            "missing",
            "none.git",
            "",
            "unable to clone: repository not found: git repository: '",
        ),
        // IA-STATUS-039
        ("empty", "empty.git", "", "git repository is empty"),
        // IA-GIT-056
        (
            "branch",
            "app.git",
            "ref: {branch: none}",
            "unable to clone '",
        ),
        // IA-GIT-057
        (
            "named",
            "app.git",
            "ref: {name: refs/heads/none}",
            "unable to resolve ref 'refs/heads/none' to a specific commit",
        ),
    ] {
        world.source(name, repo, spec).await?;
        let source = format!("sourceRef: {{kind: GitRepository, name: {name}}}");
        world
            .automation(name, "push: {branch: main}", &source)
            .await?;
        let object = world.failed(name, "GitOperationFailed").await?;
        // IA-STATUS-017
        let wanted = format!("failed to checkout source: {text}");
        ensure!(message(&object).starts_with(&wanted), "{object}");
    }
    Ok(())
}

#[tokio::test]
async fn a_silent_server_does_not_hold_a_run() -> Result {
    let git = HttpGitServer::builder().hang("/silent.git");
    let world = World::start_with("ia-silent", Settings::default(), git).await?;
    world.repo("app.git");
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.source("silent", "silent.git", "timeout: 1s").await?;
    world.source("app", "app.git", "").await?;
    world
        .automation(
            "silent",
            "",
            "sourceRef: {kind: GitRepository, name: silent}",
        )
        .await?;
    world.automation("auto", "", "").await?;
    let object = world.failed("silent", "GitOperationFailed").await?;
    // IA-GIT-005, FR-N-106
    ensure!(
        message(&object).ends_with(": context deadline exceeded"),
        "{object}"
    );
    world.pushed("auto", "").await?;
    Ok(())
}

#[tokio::test]
async fn policies_and_paths_that_cannot_be_applied() -> Result {
    let world = World::start("ia-apply").await?;
    let repo = world.repo("app.git");
    let before = repo.rev_parse("main");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.policy("bad", "Not/An/Image", "x").await?;
    world.automation("auto", "", "").await?;
    let object = world.failed("auto", "UpdateFailed").await?;
    // IA-UPD-038, IA-UPD-039, IA-STATUS-018
    ensure!(
        message(&object)
            == "failed to apply policies: encountered invalid image ref \"Not/An/Image:x\": could not parse reference: Not/An/Image:x",
        "{object}"
    );
    world.policy("bad", "fine", "x").await?;
    world.pushed("auto", "").await?;
    ensure!(repo.rev_parse("main~1") == before, "one commit");
    // A change of the spec alone is not looked at: neither the remote nor the policies differ.
    world
        .change("auto", json!({"update": {"path": "./none"}}))
        .await?;
    world.policy("app", "reg.io/app", "1.2.0").await?;
    let object = world.failed("auto", "UpdateFailed").await?;
    // IA-UPD-003
    ensure!(
        message(&object)
            == "failed to apply policies: walking path for files: lstat ./none: no such file or directory",
        "{object}"
    );
    // IA-UPD-002
    world
        .change("auto", json!({"update": {"path": "apps/deploy.yaml"}}))
        .await?;
    let object = world.ready("auto").await?;
    ensure!(
        content(&repo, "main", "apps/deploy.yaml").contains("reg.io/app:1.2.0 "),
        "{object}"
    );
    Ok(())
}

#[tokio::test]
async fn a_source_without_a_usable_configuration() -> Result {
    let world = World::start("ia-config").await?;
    world.repo("app.git");
    world.source("app", "app.git", "ref: {tag: v1}").await?;
    world.automation("auto", "", "").await?;
    let object = world.failed("auto", "SourceManagerFailed").await?;
    // IA-GIT-007
    ensure!(
        message(&object).ends_with("push spec not provided, and cannot be inferred from .spec.git.checkout.ref or GitRepository .spec.ref"),
        "{object}"
    );
    world.change("auto", json!({"git": null})).await?;
    let object = world.failed("auto", "InvalidSourceConfiguration").await?;
    // IA-GIT-002, IA-API-012
    ensure!(
        message(&object)
            == "source kind 'GitRepository' necessitates field .spec.git: invalid source configuration",
        "{object}"
    );
    let stalled = condition(&object, "Stalled");
    ensure!(
        stalled.is_some_and(|stalled| stalled["status"] == "True"),
        "{object}"
    );
    // IA-GIT-031
    world.source("hub", "app.git", "provider: github").await?;
    world
        .automation("hub", "", "sourceRef: {kind: GitRepository, name: hub}")
        .await?;
    let object = world.failed("hub", "InvalidSourceConfiguration").await?;
    ensure!(
        message(&object)
            == "secretRef with github app data must be specified when provider is set to github: invalid source configuration",
        "{object}"
    );
    Ok(())
}

#[tokio::test]
async fn a_value_without_a_digest_stays() -> Result {
    let world = World::start("ia-digest").await?;
    let repo = Repo::init(world.git.root(), "app.git");
    let text = format!(
        "{DEPLOYMENT}digest: sha256:old # {{\"$imagepolicy\": \"NAMESPACE:app:digest\"}}\n"
    );
    repo.commit("main")
        .file("a.yaml", world.marked(&text))
        .create();
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    let object = world.pushed("auto", "").await?;
    // IA-UPD-025
    ensure!(
        content(&repo, "main", "a.yaml").contains("digest: sha256:old #"),
        "it stays"
    );
    let digest = format!("sha256:{}", "a".repeat(64));
    let latest = json!({"name": "reg.io/app", "tag": "1.1.0", "digest": digest});
    world.labelled_policy("app", "{}", latest).await?;
    let before = object["status"]["lastPushCommit"]
        .as_str()
        .unwrap_or_default();
    world.pushed("auto", before).await?;
    let found = content(&repo, "main", "a.yaml");
    // IA-UPD-024, IA-UPD-021
    ensure!(
        found.contains(&format!("digest: {digest} #"))
            && found.contains(&format!("reg.io/app:1.1.0@{digest} ")),
        "{found}"
    );
    Ok(())
}

#[tokio::test]
async fn a_value_that_differs_in_form_only_is_no_commit() -> Result {
    let world = World::start("ia-same").await?;
    let repo = Repo::init(world.git.root(), "app.git");
    repo.commit("main")
        .file(
            "a.yaml",
            world.marked("a: 'v1' # {\"$imagepolicy\": \"NAMESPACE:app:tag\"}\n"),
        )
        .create();
    let before = repo.rev_parse("main");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "v1").await?;
    world.automation("auto", "", "").await?;
    let object = world.ready("auto").await?;
    // IA-STATUS-019, IA-UPD-055, FR-N-097
    ensure!(repo.rev_parse("main") == before, "{object}");
    ensure!(object["status"].get("lastPushTime").is_none(), "{object}");
    let failing =
        |object: &Value| condition(object, "Ready").is_some_and(|it| it["status"] != "True");
    ensure!(!failing(&object), "{object}");
    let _ = IMAGE_UPDATE_AUTOMATION;
    Ok(())
}
