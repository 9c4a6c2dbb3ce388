//! Which commit is meant.

use kind_tests::{Result, ensure};
use serde_json::json;

use crate::support::{World, conditions};

// SC-PROC-056, SC-PROC-068, SC-PROC-083, SC-ART-003, SC-ART-008, SC-GIT-030, SC-GIT-042, SC-GIT-111, SC-GIT-112
#[tokio::test]
async fn a_branch_becomes_an_artifact_that_follows_it() -> Result {
    let world = World::start("git-branch").await?;
    let repo = world.repo("app.git");
    let first = repo.rev_parse("main");
    world.apply("app", "app.git", "ref: {branch: main}").await?;

    let object = world.ready("app").await?;
    let revision = format!("main@sha1:{first}");
    let artifact = &object["status"]["artifact"];
    let path = format!(
        "gitrepository/{}/app/{first}.tar.gz",
        world.namespace.name()
    );
    let address = world.controller.artifact_address().unwrap_or_default();
    ensure!(artifact["revision"] == *revision, "{artifact}");
    ensure!(artifact["path"] == *path, "{artifact}");
    ensure!(
        artifact["url"] == format!("http://{address}/{path}"),
        "{artifact}"
    );
    let size = std::fs::metadata(world.storage().join(&path))?.len();
    ensure!(artifact["size"] == size, "{artifact}");
    let stored = format!("stored artifact for revision '{revision}'");
    assert_eq!(
        conditions(&object),
        [
            format!("Ready=True Succeeded: {stored}"),
            format!("ArtifactInStorage=True Succeeded: {stored}")
        ]
    );
    ensure!(object["status"]["observedGeneration"] == 1, "{object}");
    ensure!(
        object["metadata"]["finalizers"] == json!(["finalizers.fluxcd.io"]),
        "{object}"
    );
    assert_eq!(
        world.files(&object).await?,
        [("app/web.yaml".to_owned(), "kind: Service\n".to_owned())].into()
    );
    let event = world
        .events
        .wait("tells of the artifact", |event| {
            event["reason"] == "NewArtifact"
        })
        .await?;
    ensure!(
        event["message"] == "stored artifact for commit 'first'",
        "{event}"
    );
    ensure!(event["severity"] == "info", "{event}");
    let metadata = json!({
        "source.toolkit.fluxcd.io/revision": revision,
        "source.toolkit.fluxcd.io/digest": artifact["digest"],
    });
    ensure!(event["metadata"] == metadata, "{event}");

    let second = repo
        .commit("main")
        .remove("app/web.yaml")
        .file("new", "x")
        .message(&"é".repeat(60))
        .create();
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"]["revision"] == format!("main@sha1:{second}"),
        "{object}"
    );
    assert_eq!(
        world.files(&object).await?,
        [("new".to_owned(), "x".to_owned())].into()
    );
    let message = format!("stored artifact for commit '{}...'", "é".repeat(50));
    world
        .events
        .wait("tells of the second artifact", |event| {
            event["message"] == *message
        })
        .await?;
    world.events.check()
}

// SC-GIT-040 to SC-GIT-052
#[tokio::test]
async fn every_kind_of_reference() -> Result {
    let world = World::start("git-refs").await?;
    let repo = world.repo("app.git");
    let first = repo.rev_parse("main");
    repo.tag("v1.0.0", &first);
    let second = repo.commit("main").file("f", "2").create();
    repo.annotated_tag("v1.1.0", &second)
        .message("release")
        .create();
    repo.tag("v2.0.0-rc.1", &second);
    let third = repo
        .commit("feature/x")
        .parent(&second)
        .file("f", "3")
        .create();
    repo.update_ref("refs/pull/7/head", &third);
    repo.branch("master", &first);

    let cases = [
        ("nothing", String::new(), format!("master@sha1:{first}")),
        (
            "branch",
            "ref: {branch: feature/x}".into(),
            format!("feature/x@sha1:{third}"),
        ),
        (
            "tag",
            "ref: {tag: v1.0.0}".into(),
            format!("v1.0.0@sha1:{first}"),
        ),
        (
            "annotated",
            "ref: {tag: v1.1.0}".into(),
            format!("v1.1.0@sha1:{second}"),
        ),
        (
            "semver",
            "ref: {semver: '>=1.0.0'}".into(),
            format!("v1.1.0@sha1:{second}"),
        ),
        (
            "prerelease",
            "ref: {semver: '>=1.0.0-0'}".into(),
            format!("v2.0.0-rc.1@sha1:{second}"),
        ),
        (
            "tag-wins",
            "ref: {tag: v1.0.0, semver: '*'}".into(),
            format!("v1.0.0@sha1:{first}"),
        ),
        (
            "name",
            "ref: {name: refs/pull/7/head}".into(),
            format!("refs/pull/7/head@sha1:{third}"),
        ),
        (
            "name-branch",
            "ref: {name: refs/heads/main}".into(),
            format!("refs/heads/main@sha1:{second}"),
        ),
        (
            "name-tag",
            "ref: {name: refs/tags/v1.1.0}".into(),
            format!("refs/tags/v1.1.0@sha1:{second}"),
        ),
        (
            "commit",
            format!("ref: {{commit: {first}}}"),
            format!("sha1:{first}"),
        ),
        (
            "commit-branch",
            format!("ref: {{branch: main, commit: {first}}}"),
            format!("main@sha1:{first}"),
        ),
        (
            "commit-name",
            format!("ref: {{name: refs/heads/main, commit: {first}}}"),
            format!("refs/heads/main@sha1:{first}"),
        ),
    ];
    for (name, spec, _) in &cases {
        world.apply(name, "app.git", spec).await?;
    }
    for (name, _, revision) in &cases {
        let object = world.ready(name).await?;
        ensure!(
            object["status"]["artifact"]["revision"] == **revision,
            "{name}: {}",
            object["status"]
        );
    }
    // A second look gives the same, and no run that found nothing says anything else.
    for (name, _, revision) in &cases {
        let object = world.reconcile(name).await?;
        ensure!(
            object["status"]["artifact"]["revision"] == **revision,
            "{name}: {}",
            object["status"]
        );
        assert_eq!(world.told(name).len(), 1, "{name}");
    }
    Ok(())
}
