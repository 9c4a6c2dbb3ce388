//! Runs that find nothing to do.

use kind_tests::{Result, ensure};

use crate::support::{World, conditions};

// SC-GIT-060, SC-GIT-063, SC-PROC-087
#[tokio::test]
async fn an_unchanged_remote_is_only_listed() -> Result {
    let world = World::start("git-noop").await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;

    world.git.clear_requests();
    let object = world.reconcile("app").await?;
    let asked: Vec<bool> = world
        .git
        .requests()
        .iter()
        .map(|request| request.says("command=fetch"))
        .collect();
    ensure!(
        !asked.is_empty() && !asked.contains(&true),
        "{:?}",
        world.git.requests()
    );
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    assert_eq!(conditions(&object), conditions(&before));
    let noop = format!(
        "no changes since last reconciliation: observed revision 'main@sha1:{}'",
        repo.rev_parse("main")
    );
    world
        .controller
        .log()
        .wait("of the run that found nothing", |line| line["msg"] == *noop)
        .await?;
    assert_eq!(
        world.told("app").len(),
        1,
        "routine is not told to the receiver"
    );

    // A force-pushed branch is just another revision.
    let other = repo.commit("main").orphan().file("other", "").create();
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"]["revision"] == format!("main@sha1:{other}"),
        "{object}"
    );
    assert_eq!(
        world.files(&object).await?,
        [("other".to_owned(), String::new())].into()
    );
    Ok(())
}

// SC-GIT-060, RT-GIT-002: its capabilities and references are requested, nothing else, whatever the kind of reference
#[tokio::test]
async fn an_unchanged_run_costs_two_requests() -> Result {
    let world = World::start("git-two").await?;
    let repo = world.repo("app.git");
    let main = repo.rev_parse("main");
    repo.annotated_tag("v1.0.0", &main).message("one").create();
    repo.update_ref("refs/pull/7/head", &main);
    let cases = [
        (
            "branch",
            "ref: {branch: main}",
            "ref-prefix refs/heads/main",
        ),
        ("tag", "ref: {tag: v1.0.0}", "ref-prefix refs/tags/v1.0.0"),
        (
            "name",
            "ref: {name: refs/pull/7/head}",
            "ref-prefix refs/pull/7/head",
        ),
        ("semver", "ref: {semver: '*'}", "ref-prefix refs/tags/"), // SC-GIT-055
    ];
    for (name, spec, _) in cases {
        world.apply(name, "app.git", spec).await?;
        world.ready(name).await?;
    }
    for (name, _, prefix) in cases {
        world.git.clear_requests();
        world.reconcile(name).await?;
        let requests = world.git.requests();
        ensure!(requests.len() == 2, "{name}: {requests:?}");
        ensure!(
            requests[0].method == "GET"
                && requests[0].target == "/app.git/info/refs?service=git-upload-pack",
            "{name}: {:?}",
            requests[0]
        );
        ensure!(
            requests[1].says("command=ls-refs") && requests[1].says(prefix),
            "{name}: {:?}",
            requests[1]
        );
        let message = "no changes since last reconciliation: observed revision '";
        world
            .recorded(name, "GitOperationSucceeded", message)
            .await?; // SC-GIT-063
    }
    Ok(())
}

// SC-PROC-078
#[tokio::test]
async fn without_an_interval_only_requests_trigger_reconciles() -> Result {
    let world = World::start("git-never").await?;
    world.repo("app.git");
    world.repo("other.git");
    world
        .apply("other", "other.git", "ref: {branch: main}")
        .await?;
    let url = world.git.url("app.git");
    let yaml = format!(
        "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: app}}, \
         spec: {{url: '{url}', interval: 0s, ref: {{branch: main}}}}}}"
    );
    world.namespace.apply(&yaml).await?;
    world.ready("app").await?;
    world.reconcile("app").await?;
    world.git.clear_requests();
    // If the first one were reconciled by itself, that would happen while the second is, again and again.
    for _ in 0..5 {
        world.reconcile("other").await?;
    }
    let of_app = |request: &git_servers::Request| request.target.starts_with("/app.git");
    let requests: Vec<_> = world.git.requests().into_iter().filter(of_app).collect();
    ensure!(requests.is_empty(), "{requests:?}");
    Ok(())
}
