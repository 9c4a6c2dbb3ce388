//! Selecting a commit.

use kind_tests::{Result, ensure};
use serde_json::json;

use crate::support::{World, conditions};

#[tokio::test]
async fn an_artifact_follows_its_branch() -> Result {
    let world = World::start("git-branch").await?;
    let repo = world.repo("app.git");
    let first = repo.rev_parse("main");
    world.apply("app", "app.git", "ref: {branch: main}").await?;

    let object = world.ready("app").await?;
    // SC-GIT-042
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
    // SC-GIT-111
    let stored = format!("stored artifact for revision '{revision}'");
    assert_eq!(
        conditions(&object),
        [
            format!("Ready=True Succeeded: {stored}"),
            format!("ArtifactInStorage=True Succeeded: {stored}")
        ]
    );
    // SC-PROC-068
    ensure!(object["status"]["observedGeneration"] == 1, "{object}");
    // SC-PROC-056
    ensure!(
        object["metadata"]["finalizers"] == json!(["finalizers.fluxcd.io"]),
        "{object}"
    );
    assert_eq!(
        world.files(&object).await?,
        [("app/web.yaml".to_owned(), "kind: Service\n".to_owned())].into()
    );
    // SC-GIT-112
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
    // RT-EVT-021, SC-PROC-081
    ensure!(event["action"] == "ReconcileArtifact", "{event}");
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

#[tokio::test]
async fn every_reference_type_resolves_to_the_expected_revision() -> Result {
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
        // SC-GIT-040
        ("nothing", String::new(), format!("master@sha1:{first}")),
        // SC-GIT-042
        (
            "branch",
            "ref: {branch: feature/x}".into(),
            format!("feature/x@sha1:{third}"),
        ),
        // SC-GIT-043
        (
            "tag",
            "ref: {tag: v1.0.0}".into(),
            format!("v1.0.0@sha1:{first}"),
        ),
        // SC-GIT-043
        (
            "annotated",
            "ref: {tag: v1.1.0}".into(),
            format!("v1.1.0@sha1:{second}"),
        ),
        // SC-GIT-044
        (
            "semver",
            "ref: {semver: '>=1.0.0'}".into(),
            format!("v1.1.0@sha1:{second}"),
        ),
        // SC-GIT-046
        (
            "prerelease",
            "ref: {semver: '>=1.0.0-0'}".into(),
            format!("v2.0.0-rc.1@sha1:{second}"),
        ),
        // SC-GIT-041
        (
            "tag-wins",
            "ref: {tag: v1.0.0, semver: '*'}".into(),
            format!("v1.0.0@sha1:{first}"),
        ),
        // SC-GIT-048, SC-GIT-049
        (
            "name",
            "ref: {name: refs/pull/7/head}".into(),
            format!("refs/pull/7/head@sha1:{third}"),
        ),
        // SC-GIT-049
        (
            "name-branch",
            "ref: {name: refs/heads/main}".into(),
            format!("refs/heads/main@sha1:{second}"),
        ),
        // SC-GIT-048
        (
            "name-tag",
            "ref: {name: refs/tags/v1.1.0}".into(),
            format!("refs/tags/v1.1.0@sha1:{second}"),
        ),
        // SC-GIT-050
        (
            "commit",
            format!("ref: {{commit: {first}}}"),
            format!("sha1:{first}"),
        ),
        // SC-GIT-051
        (
            "commit-branch",
            format!("ref: {{branch: main, commit: {first}}}"),
            format!("main@sha1:{first}"),
        ),
        // SC-GIT-052
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
    // A second run gives the same result, and runs without changes report nothing else.
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
