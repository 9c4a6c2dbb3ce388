//! What starts a run, and for which objects.

use std::time::Duration;

use git_servers::HttpGitServer;
use kind_tests::controller::Settings;
use kind_tests::{IMAGE_UPDATE_AUTOMATION, Namespace, Result, ensure};
use serde_json::{Value, json};

use crate::world::{DEPLOYMENT, World, content, message};

/// How many runs of an automation have ended.
async fn runs(world: &World, name: &str) -> Result<u64> {
    let page = world
        .controller
        .metrics_at_rest("imageupdateautomation")
        .await?;
    let labels = format!(
        "gotk_reconcile_duration_seconds_count{{kind=\"ImageUpdateAutomation\",name=\"{name}\","
    );
    let line = page.lines().find(|line| line.starts_with(&labels));
    let count = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    Ok(count.unwrap_or_default())
}

#[tokio::test]
async fn changes_of_policies_and_sources_start_a_run() -> Result {
    let world = World::start("ia-wake").await?;
    let repo = world.repo("app.git");
    let other = world.repo("other.git");
    world.source("app", "app.git", "").await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    world.automation("auto", "", "").await?;
    let object = world.pushed("auto", "").await?;
    let pushed = object["status"]["lastPushCommit"]
        .as_str()
        .unwrap_or_default();
    let elsewhere = "policySelector: {matchLabels: {team: none}}";
    world.automation("bystander", "", elsewhere).await?;
    world.ready("bystander").await?;
    let before = runs(&world, "bystander").await?;
    // IA-STATUS-003, IA-STATUS-012
    world.policy("app", "reg.io/app", "1.2.0").await?;
    let object = world.pushed("auto", pushed).await?;
    // IA-STATUS-065: also of those that do not select the policy
    let woken = async {
        while runs(&world, "bystander").await? == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok::<_, kind_tests::Failure>(())
    };
    world
        .namespace
        .wait_for("the other automation has run", woken)
        .await??;
    // IA-STATUS-030
    world
        .recorded(
            "auto",
            "Normal",
            &format!("pushed commit '{}'", &repo.rev_parse("main")[..7]),
        )
        .await?;
    let pushed = object["status"]["lastPushCommit"]
        .as_str()
        .unwrap_or_default();
    // IA-STATUS-002: a change of the spec
    let url = world.git.url("other.git");
    world.change_source("app", json!({"url": url})).await?;
    let object = world.pushed("auto", pushed).await?;
    ensure!(
        object["status"]["lastPushCommit"] == other.rev_parse("main"),
        "{object}"
    );
    Ok(())
}

#[tokio::test]
async fn several_changes_within_the_delay_are_one_commit() -> Result {
    let world = World::start("ia-delay").await?;
    let repo = git_servers::Repo::init(world.git.root(), "app.git");
    let two =
        format!("{DEPLOYMENT}---\nother: old:1 # {{\"$imagepolicy\": \"NAMESPACE:other\"}}\n");
    repo.commit("main")
        .file("deploy.yaml", world.marked(&two))
        .create();
    world.source("app", "app.git", "").await?;
    let labels = "{team: a}";
    let image = |tag: &str| json!({"name": "reg.io/app", "tag": tag});
    world.labelled_policy("app", labels, image("1.0.0")).await?;
    world
        .labelled_policy("other", labels, json!({"name": "old", "tag": "1"}))
        .await?;
    world
        .automation(
            "auto",
            "",
            "policyChangeDelay: 5s, policySelector: {matchLabels: {team: a}}",
        )
        .await?;
    world.ready("auto").await?;
    let before = repo.rev_parse("main");
    // IA-STATUS-067
    world.labelled_policy("app", labels, image("1.1.0")).await?;
    world
        .labelled_policy("other", labels, json!({"name": "new", "tag": "2"}))
        .await?;
    let object = world.pushed("auto", "").await?;
    ensure!(repo.rev_parse("main~1") == before, "one commit: {object}");
    let text = content(&repo, "main", "deploy.yaml");
    ensure!(
        text.contains("reg.io/app:1.1.0 ") && text.contains("new:2 "),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn only_selected_policies_of_the_own_namespace_count() -> Result {
    let world = World::start("ia-select").await?;
    let repo = git_servers::Repo::init(world.git.root(), "app.git");
    let line = |policy: &str| {
        format!("{policy}: old # {{\"$imagepolicy\": \"NAMESPACE:{policy}:tag\"}}\n")
    };
    let text = format!(
        "{}{}{}foreign: old # {{\"$imagepolicy\": \"elsewhere:one:tag\"}}\n",
        line("one"),
        line("two"),
        line("none")
    );
    repo.commit("main")
        .file("a.yaml", world.marked(&text))
        .create();
    world.source("app", "app.git", "").await?;
    world
        .labelled_policy("one", "{team: a}", json!({"name": "app", "tag": "1"}))
        .await?;
    world
        .labelled_policy("two", "{team: b}", json!({"name": "app", "tag": "2"}))
        .await?;
    world
        .labelled_policy("none", "{team: a}", json!(null))
        .await?;
    let selector = "policySelector: {matchExpressions: [{key: team, operator: In, values: [a]}]}";
    world.automation("auto", "", selector).await?;
    let object = world.pushed("auto", "").await?;
    // IA-STATUS-009, IA-UPD-026
    let wanted = world.marked(&text).replacen("one: old", "one: \"1\"", 1);
    let found = content(&repo, "main", "a.yaml");
    ensure!(found == wanted.trim(), "{found}");
    let observed = json!({"one": {"name": "app", "tag": "1"}});
    ensure!(object["status"]["observedPolicies"] == observed, "{object}");
    // IA-STATUS-010
    let wrong =
        json!({"policySelector": {"matchExpressions": [{"key": "team", "operator": "Is"}]}});
    world.change("auto", wrong).await?;
    let object = world.failed("auto", "InvalidPolicySelector").await?;
    ensure!(
        message(&object).starts_with("failed to parse policy selector: \"Is\" is not a valid"),
        "{object}"
    );
    let stalled = kind_tests::condition(&object, "Stalled");
    ensure!(
        stalled.is_some_and(|stalled| stalled["status"] == "True"),
        "{object}"
    );
    Ok(())
}

#[tokio::test]
async fn a_source_in_another_namespace_can_be_blocked() -> Result {
    let world = World::start("ia-cross").await?;
    let repo = world.repo("app.git");
    let far = Namespace::create(world.namespace.cluster(), "ia-far").await?;
    let url = world.git.url("app.git");
    far.apply(&format!(
        "{{apiVersion: source.toolkit.fluxcd.io/v1, kind: GitRepository, metadata: {{name: app}}, \
         spec: {{url: '{url}', interval: 1h, ref: {{branch: main}}}}}}"
    ))
    .await?;
    world.policy("app", "reg.io/app", "1.1.0").await?;
    let source = format!(
        "sourceRef: {{kind: GitRepository, name: app, namespace: {}}}",
        far.name()
    );
    world.automation("auto", "", &source).await?;
    // IA-GIT-011
    let object = world.pushed("auto", "").await?;
    let first = repo.rev_parse("main");
    ensure!(object["status"]["lastPushCommit"] == first, "{object}");
    // FR-N-103: a change of a source of another namespace starts a run
    let other = world.repo("other.git");
    // Otherwise a push within the same second makes the same commit.
    other.commit("main").file("other", "x").create();
    let url = json!({"spec": {"url": world.git.url("other.git")}});
    far.merge(kind_tests::GIT_REPOSITORY, "app", url).await?;
    let object = world.pushed("auto", &first).await?;
    ensure!(
        object["status"]["lastPushCommit"] == other.rev_parse("main"),
        "{object}"
    );

    let settings = Settings::default().flag("--no-cross-namespace-refs");
    let strict = World::start_with("ia-strict", settings, HttpGitServer::builder()).await?;
    strict.automation("auto", "", &source).await?;
    let object = strict.failed("auto", "AccessDenied").await?;
    // IA-GIT-010, IA-PROC-012
    let text = format!(
        "can't access 'GitRepository/{}/app', cross-namespace references have been blocked",
        far.name()
    );
    ensure!(message(&object) == text, "{object}");
    // IA-STATUS-032
    strict.recorded("auto", "Warning", &text).await?;
    // IA-STATUS-028: without the reason it recovers
    strict.repo("app.git");
    strict.source("app", "app.git", "").await?;
    let own = json!({"sourceRef": {"kind": "GitRepository", "name": "app", "namespace": null}});
    strict.change("auto", own).await?;
    strict.ready("auto").await?;
    Ok(())
}

#[tokio::test]
async fn a_requested_run_is_reported_as_handled() -> Result {
    let world = World::start("ia-request").await?;
    world.automation("auto", "", "").await?;
    let object = world.failed("auto", "SourceManagerFailed").await?;
    // IA-GIT-003
    ensure!(
        message(&object).starts_with(
            "failed configuring source manager: referenced git repository does not exist: "
        ),
        "{object}"
    );
    // IA-STATUS-036: also of a run that fails
    let at = world
        .namespace
        .request_reconcile(IMAGE_UPDATE_AUTOMATION, "auto")
        .await?;
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at;
    let object = world
        .namespace
        .wait(IMAGE_UPDATE_AUTOMATION, "auto", "is handled", handled)
        .await?;
    // IA-STATUS-027
    ensure!(object["status"]["observedGeneration"] == -1, "{object}");
    let reconciling = kind_tests::condition(&object, "Reconciling");
    ensure!(
        reconciling.is_some_and(|it| it["reason"] == "ProgressingWithRetry"),
        "{object}"
    );
    Ok(())
}
