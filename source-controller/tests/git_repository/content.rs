//! The content of an artifact.

use kind_tests::{GIT_REPOSITORY, Result, ensure};
use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn an_artifact_contains_the_selected_files() -> Result {
    let world = World::start("git-content").await?;
    let module = world.repo("module.git");
    let repo = world.repo("app.git");
    repo.commit("main")
        .executable("run.sh", "#!/bin/sh\n")
        .symlink("link", "run.sh")
        .file("docs/a.md", "# a\n")
        .file("docs/.sourceignore", "secret.txt\n")
        .file("docs/secret.txt", "x")
        .file("docs-old/b.md", "# b\n")
        .file(
            ".gitmodules",
            format!(
                "[submodule \"m\"]\n\tpath = vendor/m\n\turl = {}\n",
                world.git.url("module.git")
            ),
        )
        .submodule("vendor/m", &module.rev_parse("main"))
        .create();
    let all = [
        "app/web.yaml",
        "docs-old/b.md",
        "docs/.sourceignore",
        "docs/a.md",
        "run.sh*",
    ];
    let cases = [
        // SC-GIT-076: without the link
        ("all", "", &all[..]),
        // SC-GIT-071
        (
            "modules",
            ", recurseSubmodules: true",
            &[
                "app/web.yaml",
                "docs-old/b.md",
                "docs/.sourceignore",
                "docs/a.md",
                "run.sh*",
                "vendor/m/app/web.yaml",
            ],
        ),
        // SC-ART-074
        (
            "ignore",
            ", ignore: \"*.md\\n!docs/a.md\\n/app\"",
            &["docs/.sourceignore", "docs/a.md", "run.sh*"],
        ),
        // SC-GIT-073
        (
            "sparse",
            ", sparseCheckout: [./docs/, app]",
            &["app/web.yaml", "docs/.sourceignore", "docs/a.md"],
        ),
    ];
    for (name, spec, _) in cases {
        world
            .apply(name, "app.git", &format!("ref: {{branch: main}}{spec}"))
            .await?;
    }
    for (name, _, want) in cases {
        let object = world.ready(name).await?;
        let files: Vec<_> = world.files(&object).await?.into_keys().collect();
        assert_eq!(files, want, "{name}");
    }

    // SC-GIT-062, SC-GIT-065, SC-GIT-113: another configuration gives another artifact of the same revision
    let before = world.ready("all").await?;
    world
        .namespace
        .merge(
            GIT_REPOSITORY,
            "all",
            json!({"spec": {"ignore": "/docs\n"}}),
        )
        .await?;
    let object = world.ready("all").await?;
    ensure!(
        object["status"]["artifact"]["revision"] == before["status"]["artifact"]["revision"],
        "{object}"
    );
    ensure!(
        object["status"]["artifact"]["digest"] != before["status"]["artifact"]["digest"],
        "{object}"
    );
    ensure!(object["status"]["observedIgnore"] == "/docs\n", "{object}");
    Ok(())
}

// SC-GIT-071, SC-GIT-072, SC-GIT-075
#[tokio::test]
async fn submodules_use_the_credentials_of_their_repository() -> Result {
    let git = git_servers::HttpGitServer::builder()
        .basic_auth("flux", "s3cret")
        .start();
    let world = World::start_with(
        "git-modules",
        kind_tests::controller::Settings::default(),
        git,
    )
    .await?;
    let module = world.repo("module.git");
    let repo = world.repo("app.git");
    let modules = "[submodule \"m\"]\n\tpath = vendor/m\n\turl = ../module.git\n";
    repo.commit("main")
        .file(".gitmodules", modules)
        .submodule("vendor/m", &module.rev_parse("main"))
        .create();
    repo.commit("gone")
        .parent("main")
        .file(".gitmodules", modules.replace("module.git", "gone.git"))
        .submodule("vendor/m", &module.rev_parse("main"))
        .create();
    world
        .namespace
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: login}, stringData: {username: flux, password: s3cret}}")
        .await?;
    let login = "secretRef: {name: login}, recurseSubmodules: true";
    world
        .apply("app", "app.git", &format!("ref: {{branch: main}}, {login}"))
        .await?;
    world
        .apply(
            "sparse",
            "app.git",
            &format!("ref: {{branch: main}}, {login}, sparseCheckout: [app]"),
        )
        .await?;
    world
        .apply(
            "gone",
            "app.git",
            &format!("ref: {{branch: gone}}, {login}"),
        )
        .await?;

    let object = world.ready("app").await?;
    let files: Vec<_> = world.files(&object).await?.into_keys().collect();
    assert_eq!(files, ["app/web.yaml", "vendor/m/app/web.yaml"]);
    ensure!(
        object["status"]["observedRecurseSubmodules"] == true,
        "{object}"
    );
    let object = world.ready("sparse").await?;
    let files: Vec<_> = world.files(&object).await?.into_keys().collect();
    assert_eq!(files, ["app/web.yaml"]);
    let message = world
        .condition("gone", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    ensure!(
        message.contains("gone.git") && message.contains("repository not found"),
        "{message}"
    );
    Ok(())
}

// SC-GIT-129: nothing is checked out, so links do not matter, whatever becomes of what they point to
#[tokio::test]
async fn targets_of_links_may_go() -> Result {
    let world = World::start("git-links").await?;
    let repo = world.repo("app.git");
    repo.commit("main")
        .file("lib/target/a.yaml", "a\n")
        .file("lib/b.yaml", "b\n")
        .symlink("app/folder", "../lib/target")
        .symlink("app/file", "../lib/b.yaml")
        .create();
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    world.ready("app").await?;
    repo.commit("main").remove("lib").create();
    let object = world.reconcile("app").await?;
    let revision = format!("main@sha1:{}", repo.rev_parse("main"));
    ensure!(
        object["status"]["artifact"]["revision"] == revision.as_str(),
        "{object}"
    );
    let files: Vec<_> = world.files(&object).await?.into_keys().collect();
    assert_eq!(files, ["app/web.yaml"]);
    Ok(())
}
