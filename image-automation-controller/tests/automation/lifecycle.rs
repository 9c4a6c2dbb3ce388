//! From creation to deletion.

use kind_tests::{IMAGE_UPDATE_AUTOMATION, Result, condition, ensure};
use serde_json::{Value, json};

use crate::world::{World, content, is_settled, message};

#[tokio::test]
async fn a_selected_image_is_committed_and_pushed() -> Result {
    let world = World::start("ia-push").await?;
    let repo = world.repo("app.git");
    let first = repo.rev_parse("main");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    let object = world.pushed("auto", "").await?;
    let head = repo.rev_parse("main");
    let status = &object["status"];
    // IA-STATUS-022, IA-API-025
    ensure!(
        status["observedSourceRevision"] == format!("main@sha1:{head}"),
        "{object}"
    );
    // IA-STATUS-023, IA-API-023
    ensure!(
        status["lastPushCommit"] == head && status["lastPushTime"].is_string(),
        "{object}"
    );
    // IA-STATUS-007
    ensure!(status["lastAutomationRunTime"].is_string(), "{object}");
    // IA-API-024
    let image = json!({"app": {"name": "reg.io/app", "tag": "1.1.0"}});
    ensure!(status["observedPolicies"] == image, "{object}");
    // IA-STATUS-025, IA-STATUS-027
    ensure!(message(&object) == "repository up-to-date", "{object}");
    ensure!(status["observedGeneration"] == 1, "{object}");
    // IA-API-027
    ensure!(
        object["metadata"]["finalizers"] == json!(["finalizers.fluxcd.io"]),
        "{object}"
    );

    // IA-GIT-070, IA-UPD-068: one commit on top, and only the value differs
    ensure!(repo.rev_parse("main~1") == first, "history");
    let wanted = world
        .marked(crate::world::DEPLOYMENT)
        .replace("1.0.0", "1.1.0");
    let found = content(&repo, "main", "apps/deploy.yaml");
    ensure!(found == wanted.trim(), "{found}");
    // IA-MSG-001, IA-GIT-073
    let text = repo.git(&["log", "-1", "--format=%B|%an|%ae|%cn|%ce", "main"]);
    // IA-GIT-072
    ensure!(
        text == "Update from image update automation|Flux|flux@example.com|Flux|flux@example.com",
        "{text}"
    );

    // IA-STATUS-031, IA-STATUS-034, IA-MSG-026
    let summary = format!(
        "pushed commit '{}' to branch 'main'\nUpdate from image update automation",
        &head[..7]
    );
    let event = world
        .events
        .wait("of the push", |event| event["message"] == summary)
        .await?;
    // IA-PROC-032
    ensure!(
        event["reason"] == "Succeeded"
            && event["severity"] == "info"
            && event["action"] == "CommitAndPush"
            && event["reportingController"] == "image-automation-controller",
        "{event}"
    );
    // IA-PROC-033
    ensure!(
        event
            .get("metadata")
            .is_none_or(|metadata| metadata == &json!({})),
        "{event}"
    );
    world.recorded("auto", "Normal", &summary).await?;
    // IA-STATUS-035
    let line = world
        .controller
        .log()
        .wait("of the event", |line| line["msg"] == summary)
        .await?;
    ensure!(line["level"] == "info", "{line}");
    // IA-STATUS-060: the source has no status, and of the policy's only the image was there
    let source = world
        .namespace
        .get(kind_tests::GIT_REPOSITORY, "app")
        .await?;
    ensure!(
        source.is_some_and(|it| it["status"].get("artifact").is_none()),
        "the source was reconciled"
    );
    world.events.check()
}

#[tokio::test]
async fn a_remote_that_has_not_changed_is_only_listed() -> Result {
    let world = World::start("ia-list").await?;
    let repo = world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.0.0").await?;
    world.automation("auto", "", "").await?;
    let object = world.ready("auto").await?;
    let revision = |repo: &git_servers::Repo| format!("main@sha1:{}", repo.rev_parse("main"));
    // IA-STATUS-019
    ensure!(
        object["status"]["observedSourceRevision"] == revision(&repo),
        "{object}"
    );
    ensure!(object["status"].get("lastPushCommit").is_none(), "{object}");

    world.git.clear_requests();
    world.reconcile("auto").await?;
    // IA-STATUS-015, IA-GIT-051
    let requests = world.git.requests();
    ensure!(
        !requests.is_empty() && !requests.iter().any(|request| request.says("command=fetch")),
        "{requests:?}"
    );
    // IA-STATUS-033
    world
        .recorded("auto", "Normal", "no change since last reconciliation")
        .await?;
    ensure!(
        !world
            .events
            .events()
            .iter()
            .any(|event| { event["message"] == "no change since last reconciliation" }),
        "a Trace event is not posted"
    );

    repo.commit("main").file("other", "").create();
    world.git.clear_requests();
    let object = world.reconcile("auto").await?;
    // IA-STATUS-016
    ensure!(
        world
            .git
            .requests()
            .iter()
            .any(|request| request.says("command=fetch")),
        "it is fetched"
    );
    ensure!(
        object["status"]["observedSourceRevision"] == revision(&repo),
        "{object}"
    );

    // IA-GIT-054: the form of old releases
    let old = json!({"observedSourceRevision": format!("main/{}", repo.rev_parse("main"))});
    world
        .namespace
        .set_status(IMAGE_UPDATE_AUTOMATION, "auto", old)
        .await?;
    world.git.clear_requests();
    world.reconcile("auto").await?;
    ensure!(
        !world
            .git
            .requests()
            .iter()
            .any(|request| request.says("command=fetch")),
        "the old form is understood"
    );
    // IA-STATUS-013, IA-STATUS-061: the source's own controller has not even run
    ensure!(
        world
            .git
            .requests()
            .iter()
            .all(|request| request.status < 400),
        "requests"
    );
    Ok(())
}

#[tokio::test]
async fn a_suspended_automation_does_nothing() -> Result {
    let world = World::start("ia-suspend").await?;
    let repo = world.repo("app.git");
    world.source("app", "app.git", "suspend: true").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    // IA-STATUS-062: a suspended source does not stop it
    world.pushed("auto", "").await?;
    world.change("auto", json!({"suspend": true})).await?;
    // The run that the push caused may still end.
    let suspended = async |times: usize| -> Result<Option<Value>> {
        let is_told = |line: &Value| line["msg"] == "reconciliation is suspended for this object";
        let log = world.controller.log();
        log.wait("of the suspension", |_| {
            log.entries().iter().filter(|line| is_told(line)).count() >= times
        })
        .await?;
        let object = world.namespace.get(IMAGE_UPDATE_AUTOMATION, "auto").await?;
        Ok(object.map(|object| object["status"].clone()))
    };
    let before = suspended(1).await?;
    world.policy("app", "reg.io/app", "1.2.0").await?;
    world
        .namespace
        .request_reconcile(IMAGE_UPDATE_AUTOMATION, "auto")
        .await?;
    // IA-STATUS-005
    ensure!(suspended(2).await? == before, "the status stays");
    let head = repo.rev_parse("main");
    world.change("auto", json!({"suspend": false})).await?;
    let object = world.pushed("auto", &head).await?;
    ensure!(
        object["status"]["observedPolicies"]["app"]["tag"] == "1.2.0",
        "{object}"
    );
    ensure!(repo.rev_parse("main~1") == head, "one more commit");
    Ok(())
}

#[tokio::test]
async fn a_deleted_automation_is_gone_with_its_metrics() -> Result {
    let mut world = World::start("ia-delete").await?;
    let repo = world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "push: {branch: out}", "").await?;
    world.pushed("auto", "").await?;
    let labels = format!(
        "kind=\"ImageUpdateAutomation\",name=\"auto\",namespace=\"{}\"",
        world.namespace.name()
    );
    // IA-PROC-028
    let duration = format!("gotk_reconcile_duration_seconds_count{{{labels}}}");
    let page = world.controller.metrics_with(&[duration]).await?;
    ensure!(!page.contains("gotk_reconcile_condition{"), "{page}");
    // IA-PROC-030
    ensure!(
        page.contains("controller=\"imageupdateautomation\""),
        "{page}"
    );
    // IA-PROC-029
    ensure!(page.contains("gotk_token_cached_items"), "{page}");
    world
        .namespace
        .delete(IMAGE_UPDATE_AUTOMATION, "auto")
        .await?;
    world
        .namespace
        .wait_gone(IMAGE_UPDATE_AUTOMATION, "auto")
        .await?;
    let page = world.controller.metrics().await?;
    ensure!(!page.contains(&labels), "{page}");
    // IA-STATUS-006: the branch stays
    ensure!(!repo.rev_parse("out").is_empty(), "branch");
    // IA-PROC-027
    ensure!(
        world.controller.terminate().await?.success(),
        "ends cleanly"
    );
    Ok(())
}

#[tokio::test]
async fn a_killed_controller_continues_after_its_restart() -> Result {
    let mut world = World::start("ia-kill").await?;
    let repo = world.repo("app.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    let before = world.pushed("auto", "").await?;
    world.controller.kill()?;
    // IA-STATUS-037: as if the status had not been written after the push
    let head = repo.rev_parse("main");
    let lost =
        json!({"observedSourceRevision": null, "lastPushCommit": null, "observedPolicies": null});
    world
        .namespace
        .set_status(IMAGE_UPDATE_AUTOMATION, "auto", lost)
        .await?;
    world.controller.restart().await?;
    let synced = |object: &Value| {
        object["status"]["observedSourceRevision"] == before["status"]["observedSourceRevision"]
            && is_settled(object)
    };
    let object = world
        .namespace
        .wait(IMAGE_UPDATE_AUTOMATION, "auto", "has synced again", synced)
        .await?;
    ensure!(
        repo.rev_parse("main") == head,
        "no further commit: {object}"
    );
    ensure!(condition(&object, "Stalled").is_none(), "{object}");
    Ok(())
}
