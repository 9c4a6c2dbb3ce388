//! From creation to deletion.

use kind_tests::{GIT_REPOSITORY, Result, condition, ensure, is_ready};
use serde_json::{Value, json};

use crate::support::{World, message, progress};

// SC-PROC-057, SC-PROC-073
#[tokio::test]
async fn a_suspended_object_is_not_reconciled() -> Result {
    let world = World::start("git-suspend").await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;
    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"suspend": true}}))
        .await?;
    world
        .controller
        .log()
        .wait("of the suspension", |line| {
            line["msg"] == "reconciliation is suspended for this object"
        })
        .await?;
    repo.commit("main").file("f", "").create();
    world.git.clear_requests();
    let object = world.reconcile("app").await?;
    ensure!(
        object["status"]["artifact"] == before["status"]["artifact"],
        "{object}"
    );
    ensure!(object["status"]["observedGeneration"] == 2, "{object}");
    ensure!(
        world.git.requests().is_empty(),
        "{:?}",
        world.git.requests()
    );

    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"suspend": false}}))
        .await?;
    let object = world.ready("app").await?;
    ensure!(
        object["status"]["artifact"] != before["status"]["artifact"],
        "{object}"
    );
    Ok(())
}

// SC-ART-025, SC-PROC-045: killed and restarted, it continues where it was
#[tokio::test]
async fn a_killed_controller_continues_after_its_restart() -> Result {
    let mut world = World::start("git-kill").await?;
    let repo = world.repo("app.git");
    world.apply("app", "app.git", "ref: {branch: main}").await?;
    let before = world.ready("app").await?;
    world.controller.kill()?;
    let second = repo.commit("main").file("f", "").create();
    world.controller.restart().await?;
    let moved =
        |object: &Value| object["status"]["artifact"]["revision"] == format!("main@sha1:{second}");
    let object = world
        .namespace
        .wait(GIT_REPOSITORY, "app", "has the new revision", moved)
        .await?;
    ensure!(
        object["status"]["artifact"] != before["status"]["artifact"],
        "{object}"
    );
    ensure!(
        world.controller.terminate().await?.success(),
        "ends cleanly"
    );
    Ok(())
}

// SC-ART-045, SC-PROC-088, SC-PROC-090
#[tokio::test]
async fn a_deleted_object_is_cleaned_up() -> Result {
    let world = World::start("git-delete").await?;
    world.repo("app.git");
    for name in ["app", "stuck"] {
        let repo = if name == "app" { "app.git" } else { "none.git" };
        world.apply(name, repo, "ref: {branch: main}").await?;
    }
    world.ready("app").await?;
    world
        .condition("stuck", "FetchFailed", "True", "GitOperationFailed")
        .await?;
    ensure!(!world.stored("app").is_empty(), "nothing is stored");
    world
        .namespace
        .merge(GIT_REPOSITORY, "app", json!({"spec": {"suspend": true}}))
        .await?;
    for name in ["app", "stuck"] {
        world.namespace.delete(GIT_REPOSITORY, name).await?;
        world.namespace.wait_gone(GIT_REPOSITORY, name).await?;
    }
    ensure!(world.stored("app").is_empty(), "{:?}", world.stored("app"));
    let client = flux_http::ClientOptions::default().build()?;
    let page = client
        .get(format!(
            "http://{}/metrics",
            world.controller.metrics_address()
        ))
        .send()
        .await?
        .text()
        .await?;
    ensure!(
        !page.contains("name=\"app\""),
        "series of a deleted object:\n{page}"
    );
    Ok(())
}

#[tokio::test]
async fn progress_is_reported_for_new_work() -> Result {
    let world = World::start_telling("git-progress").await?;
    let repo = world.repo("app.git");
    let first = format!("main@sha1:{}", repo.rev_parse("main"));
    world
        .apply("app", "none.git", "ref: {branch: main}, suspend: true")
        .await?;
    let (good, bad) = (world.git.url("app.git"), world.git.url("none.git"));
    let change = async |spec: Value| -> Result {
        world
            .namespace
            .merge(GIT_REPOSITORY, "app", json!({"spec": spec}))
            .await?;
        Ok(())
    };
    let ready =
        |object: &Value| is_ready(object, "True") && condition(object, "Reconciling").is_none();

    // The first artifact: generation 2 of an object without status.
    let states = world
        .history("app", change(json!({"suspend": false, "url": good})), ready)
        .await?;
    // SC-PROC-060, SC-ART-032
    assert_eq!(
        progress(&states),
        [
            "processing object: new generation -1 -> 2".to_owned(),
            "building artifact".to_owned(),
            format!("building artifact: new upstream revision '{first}'"),
        ]
    );
    for state in &states {
        let (ready, under_way) = (condition(state, "Ready"), condition(state, "Reconciling"));
        let (Some(ready), Some(under_way)) = (ready, under_way) else {
            continue;
        };
        ensure!(
            ready["status"] == "Unknown" && ready["reason"] == "Progressing",
            "{state}"
        );
        ensure!(ready["message"] == under_way["message"], "{state}");
        ensure!(under_way["reason"] == "Progressing", "{state}");
    }

    // Another revision, on request: a ready object stays ready until it is known to be outdated.
    let second = format!("main@sha1:{}", repo.commit("main").file("f", "").create());
    let request = async {
        world
            .namespace
            .request_reconcile(GIT_REPOSITORY, "app")
            .await?;
        Ok(())
    };
    let has_second =
        |object: &Value| object["status"]["artifact"]["revision"] == second && ready(object);
    let states = world.history("app", request, has_second).await?;
    let outdated = format!("new upstream revision '{second}'");
    assert_eq!(
        progress(&states),
        [
            "reconciliation in progress".to_owned(),
            format!("building artifact: {outdated}")
        ]
    );
    for state in &states {
        match message(state, "Reconciling").as_str() {
            // SC-PROC-059
            "reconciliation in progress" => ensure!(
                condition(state, "Ready").is_some_and(|ready| ready["status"] == "True"),
                "{state}"
            ),
            "" => {}
            // SC-GIT-030
            _ => {
                let found = condition(state, "ArtifactOutdated")
                    .cloned()
                    .unwrap_or_default();
                ensure!(
                    found["status"] == "True"
                        && found["reason"] == "NewRevision"
                        && found["message"] == outdated,
                    "{state}"
                );
            }
        }
    }

    // A failure, and its recovery.
    let failed = |object: &Value| is_ready(object, "False");
    let states = world
        .history("app", change(json!({"url": bad})), failed)
        .await?;
    let last = states.last().cloned().unwrap_or_default();
    let told = condition(&last, "Reconciling").cloned().unwrap_or_default();
    ensure!(
        told["reason"] == "ProgressingWithRetry"
            && told["message"] == "processing object: new generation 2 -> 3",
        "{last}"
    );
    let states = world
        .history("app", change(json!({"url": good})), ready)
        .await?;
    let last = states.last().cloned().unwrap_or_default();
    // SC-GIT-028
    ensure!(condition(&last, "FetchFailed").is_none(), "{last}");
    ensure!(last["status"]["observedGeneration"] == 4, "{last}");
    Ok(())
}
