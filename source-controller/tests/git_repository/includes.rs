//! Including repositories in others.

use kind_tests::controller::Settings;
use kind_tests::requests::{Counter, Request};
use kind_tests::{GIT_REPOSITORY, Result, condition, ensure, is_ready};
use serde_json::json;

use crate::support::{World, progress};

#[tokio::test]
async fn other_repositories_are_included() -> Result {
    let settings = Settings::default().flag("--requeue-dependency=100ms");
    let world =
        World::start_with("git-include", settings, git_servers::HttpGitServer::start()).await?;
    world.repo("app.git");
    let library = world.repo("lib.git");
    library.commit("main").file("deep/x", "1").create();
    let user = world.controller.user();
    let counter = Counter::start(world.namespace.cluster(), user)?;
    let include = "ref: {branch: main}, include: [{repository: {name: lib}}, {repository: {name: lib}, fromPath: deep, toPath: ../in/here}]";
    world.apply("app", "app.git", include).await?;
    // SC-GIT-091
    let message = world
        .condition("app", "IncludeUnavailable", "True", "NotFound")
        .await?;
    ensure!(
        message.starts_with("could not get resource for include 'lib': "),
        "{message}"
    );
    // SC-GIT-094: Ready reports it too, and the next attempt comes without a growing delay
    world.condition("app", "Ready", "False", "NotFound").await?;
    // SC-PROC-009: with the default half minute this would take two
    let again = |_: &serde_json::Value| {
        let entries = world.controller.log().entries();
        let looks = entries
            .iter()
            .filter(|line| line["msg"] == "reconciliation waiting")
            .count();
        looks >= 5
    };
    world
        .controller
        .log()
        .wait("of the fifth look", again)
        .await?;
    // SC-GIT-093: it is not asked for, so that no error of a request could stand for its absence
    let asked = counter.requests()?;
    let reads = |request: &Request| request.uri.contains("/gitrepositories/lib");
    ensure!(!asked.is_empty() && !asked.iter().any(reads), "{asked:?}");
    world.recorded("app", "NotFound", &message).await?; // SC-GIT-094: only as event in Kubernetes
    ensure!(world.told("app").is_empty(), "{:?}", world.told("app"));

    // SC-GIT-092
    world
        .apply("lib", "none.git", "ref: {branch: main}")
        .await?;
    let message = world
        .condition("app", "IncludeUnavailable", "True", "NoArtifact")
        .await?;
    assert_eq!(message, "no artifact available for include 'lib'");

    world.apply("lib", "lib.git", "ref: {branch: main}").await?;
    let lib = world.ready("lib").await?;
    let object = world.ready("app").await?;
    ensure!(
        condition(&object, "IncludeUnavailable").is_none(),
        "{object}"
    ); // SC-GIT-095
    // SC-GIT-097
    let files: Vec<_> = world.files(&object).await?.into_keys().collect();
    assert_eq!(
        files,
        [
            "app/web.yaml",
            "in/here/x",
            "lib/app/web.yaml",
            "lib/deep/x"
        ]
    );
    let included = &object["status"]["includedArtifacts"];
    ensure!(
        included[0] == lib["status"]["artifact"] && included[1] == included[0],
        "{object}"
    );
    ensure!(
        object["status"]["observedInclude"] == object["spec"]["include"],
        "{object}"
    );

    // A new revision of the included one is seen at the next reconcile of the including one.
    library.commit("main").file("deep/y", "2").create();
    world.reconcile("lib").await?;
    let object = world.reconcile("app").await?;
    ensure!(
        world.files(&object).await?.contains_key("in/here/y"),
        "{object}"
    );

    // SC-GIT-098
    world
        .apply(
            "bad",
            "app.git",
            "ref: {branch: main}, include: [{repository: {name: lib}, fromPath: nowhere}]",
        )
        .await?;
    let message = world
        .condition("bad", "StorageOperationFailed", "True", "CopyFailure")
        .await?;
    ensure!(
        message.starts_with("failed to copy 'lib' include from nowhere to lib: "),
        "{message}"
    );
    Ok(())
}

// SC-GIT-100
#[tokio::test]
async fn included_artifacts_are_listed_in_the_order_of_the_spec() -> Result {
    let world = World::start("git-order").await?;
    world.repo("app.git");
    for name in ["zeta", "alpha", "mid"] {
        let repo = format!("{name}.git");
        world.repo(&repo);
        world.apply(name, &repo, "ref: {branch: main}").await?;
        world.ready(name).await?;
    }
    for order in [["zeta", "alpha", "mid"], ["mid", "zeta", "alpha"]] {
        let includes = order.map(|name| format!("{{repository: {{name: {name}}}}}"));
        let spec = format!("ref: {{branch: main}}, include: [{}]", includes.join(", "));
        world.apply("app", "app.git", &spec).await?;
        let object = world.ready("app").await?;
        let status = &object["status"];
        for (index, name) in order.iter().enumerate() {
            let path = status["includedArtifacts"][index]["path"].as_str();
            let folder = format!("gitrepository/{}/{name}/", world.namespace.name());
            ensure!(
                path.is_some_and(|path| path.starts_with(&folder)),
                "{name} is not the include {index}: {object:#}"
            );
            ensure!(
                status["observedInclude"][index]["repository"]["name"] == *name,
                "{name} is not the observed include {index}: {object:#}"
            );
        }
    }
    Ok(())
}

// SC-GIT-096, SC-GIT-099
#[tokio::test]
async fn a_new_revision_of_an_include_is_used_at_the_next_reconcile() -> Result {
    let world = World::start_telling("git-moved").await?;
    for name in ["app.git", "other.git"] {
        world.repo(name);
    }
    let library = world.repo("lib.git");
    world.apply("lib", "lib.git", "ref: {branch: main}").await?;
    world
        .apply("other", "other.git", "ref: {branch: main}")
        .await?;
    world.ready("lib").await?;
    world
        .apply(
            "app",
            "app.git",
            "ref: {branch: main}, include: [{repository: {name: lib}}]",
        )
        .await?;
    world.ready("app").await?;

    library.commit("main").file("new", "").create();
    world.git.clear_requests();
    world.reconcile("lib").await?;
    // Anything triggered by the new revision would be in progress by now.
    for _ in 0..3 {
        world.reconcile("other").await?;
    }
    let asked = world.git.requests();
    ensure!(
        !asked
            .iter()
            .any(|request| request.target.starts_with("/app.git")),
        "{asked:?}"
    );

    let request = async {
        world
            .namespace
            .request_reconcile(GIT_REPOSITORY, "app")
            .await?;
        Ok(())
    };
    let has_new = |object: &serde_json::Value| {
        is_ready(object, "True")
            && object["status"]["includedArtifacts"][0]["revision"]
                .as_str()
                .is_some_and(|revision| revision.ends_with(&library.rev_parse("main")))
            && condition(object, "Reconciling").is_none()
    };
    let states = world.history("app", request, has_new).await?;
    let building = "building artifact: included artifacts differ from last observed includes";
    ensure!(
        progress(&states).iter().any(|told| told == building),
        "{:?}",
        progress(&states)
    );
    let outdated = states
        .iter()
        .find_map(|state| condition(state, "ArtifactOutdated").cloned());
    let outdated = outdated.unwrap_or_default();
    ensure!(
        outdated["status"] == "True"
            && outdated["reason"] == "IncludeChange"
            && outdated["message"] == "included artifacts differ from last observed includes",
        "{outdated}"
    );
    let last = states.last().cloned().unwrap_or_default();
    ensure!(condition(&last, "ArtifactOutdated").is_none(), "{last}");
    Ok(())
}

// SC-PROC-031, SC-PROC-107, SC-GIT-090: only objects of this controller, and only in the object's own namespace
#[tokio::test]
async fn repositories_in_other_namespaces_cannot_be_included() -> Result {
    let world = World::start("git-others").await?;
    let elsewhere =
        kind_tests::Namespace::create(world.namespace.cluster(), "git-elsewhere").await?;
    world.repo("app.git");
    let manifest = |namespace: &str, name: &str| {
        format!(
            "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: {name}, namespace: {namespace}}}, \
             spec: {{url: '{}', interval: 1h, ref: {{branch: main}}}}}}",
            world.git.url("app.git")
        )
    };
    // One of this controller, in another namespace.
    world
        .namespace
        .apply(&manifest(elsewhere.name(), "far"))
        .await?;
    // One in this namespace, of another shard.
    let api = world.namespace.api(GIT_REPOSITORY).await?;
    let mut other = json!({"apiVersion": GIT_REPOSITORY.0, "kind": GIT_REPOSITORY.1, "metadata": {"name": "other"},
        "spec": {"url": world.git.url("app.git"), "interval": "1h"}});
    other["metadata"]["labels"][kind_tests::SHARD_LABEL] = json!("another");
    let other = serde_json::from_value(other)?;
    api.create(&kube::api::PostParams::default(), &other)
        .await?;

    for name in ["far", "other"] {
        let spec = format!("ref: {{branch: main}}, include: [{{repository: {{name: {name}}}}}]");
        let including = format!("with-{name}");
        world.apply(&including, "app.git", &spec).await?;
        let message = world
            .condition(&including, "IncludeUnavailable", "True", "NotFound")
            .await?;
        ensure!(
            message.starts_with(&format!("could not get resource for include '{name}': ")),
            "{message}"
        );
    }
    let far = elsewhere.wait_ready(GIT_REPOSITORY, "far", "True").await?;
    ensure!(
        far["status"]["artifact"]["path"].as_str().is_some_and(
            |path| path.starts_with(&format!("gitrepository/{}/far/", elsewhere.name()))
        ),
        "{far}"
    );
    Ok(())
}
