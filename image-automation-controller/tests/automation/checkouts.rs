//! Which commit is checked out.

use kind_tests::{Result, ensure};

use crate::world::World;

#[tokio::test]
async fn references_select_the_commit() -> Result {
    let world = World::start("ia-refs").await?;
    let repo = world.repo("app.git");
    let first = repo.rev_parse("main");
    repo.tag("v1.0.0", &first);
    let second = repo.commit("main").file("two", "2").create();
    repo.annotated_tag("v1.1.0", &second).create();
    let third = repo.commit("main").file("three", "3").create();
    repo.tag("v1.2", &third);
    repo.tag("nightly", &third);
    repo.branch("unrelated", &third);
    world.policy("app", "reg.io/app", "1.1.0").await?;
    // A source's own settings for its artifacts do not count.
    // IA-GIT-004
    let unused = "ignore: '*', verify: {mode: HEAD, secretRef: {name: none}}, include: [{repository: {name: none}}]";
    world.source("app", "app.git", unused).await?;
    for (name, reference, commit) in [
        // IA-GIT-044
        ("branch", "{branch: main}", &third),
        ("tag", "{branch: main, tag: v1.0.0}", &first),
        // IA-GIT-055: only tags of three parts
        ("semver", "{branch: main, semver: '>=1.0.0'}", &second),
        (
            "name",
            "{semver: '>=1.0.0', name: refs/tags/nightly}",
            &third,
        ),
        (
            "commit",
            &format!("{{name: refs/tags/nightly, commit: {first}}}"),
            &first,
        ),
    ] {
        world.git.clear_requests();
        let git = format!("checkout: {{ref: {reference}}}, push: {{branch: out-{name}}}");
        world.automation(name, &git, "").await?;
        let object = world.pushed(name, "").await?;
        ensure!(
            repo.rev_parse(&format!("out-{name}~1")) == *commit,
            "{name}: {object}"
        );
        let revision = object["status"]["observedSourceRevision"].as_str();
        // IA-STATUS-022
        ensure!(
            revision.is_some_and(|it| it.ends_with(&**commit)),
            "{object}"
        );
        // IA-GIT-046, IA-GIT-049: nothing else is wanted
        let requests = world.git.requests();
        if name == "branch" {
            ensure!(
                !requests
                    .iter()
                    .any(|request| request.says(&format!("want {first}"))),
                "{requests:?}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn some_references_are_fetched_every_time() -> Result {
    let world = World::start("ia-always").await?;
    let repo = world.repo("app.git");
    let head = repo.rev_parse("main");
    repo.tag("v1.0.0", &head);
    world.policy("app", "reg.io/app", "1.0.0").await?;
    world.source("app", "app.git", "").await?;
    for (name, reference, again) in [
        ("branch", "{branch: main}".to_owned(), false),
        // IA-GIT-051
        ("tag", "{branch: main, tag: v1.0.0}".to_owned(), false),
        // IA-GIT-052
        (
            "semver",
            "{branch: main, semver: '>=1.0.0'}".to_owned(),
            true,
        ),
        ("commit", format!("{{branch: main, commit: {head}}}"), true),
        // IA-GIT-053
        (
            "name",
            "{branch: main, name: refs/heads/main}".to_owned(),
            true,
        ),
    ] {
        let git = format!("checkout: {{ref: {reference}}}");
        world.automation(name, &git, "").await?;
        world.ready(name).await?;
        world.git.clear_requests();
        world.reconcile(name).await?;
        let fetched = world
            .git
            .requests()
            .iter()
            .any(|request| request.says("command=fetch"));
        ensure!(fetched == again, "{name}: {fetched}");
    }
    Ok(())
}
