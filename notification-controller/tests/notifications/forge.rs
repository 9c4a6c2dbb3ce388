//! The whole way with a real Git forge: Gitea has the repository, gets statuses and comments, and sends the webhooks.

use kind_tests::{
    Cluster, Failure, Flux, GIT_REPOSITORY, Gitea, KUSTOMIZATION, Namespace, RECEIVER, Result,
    ensure,
};
use serde_json::{Value, json};

use crate::World;
use crate::service::{Got, Service};

const GOOD: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
const BROKEN: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: [\n";
const GROUP: &str = "notification.toolkit.fluxcd.io/v1";

/// Applies a Secret with the token of the forge, as what Git and the API take.
async fn secret(namespace: &Namespace, forge: &Gitea) -> Result {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "forge"},
        "stringData": {"username": "flux", "password": forge.token()},
    });
    namespace.apply(&secret.to_string()).await?;
    Ok(())
}

/// Applies objects of the group: kind, name, spec in YAML's flow form.
async fn apply(namespace: &Namespace, objects: &[(&str, &str, String)]) -> Result {
    for (kind, name, spec) in objects {
        let yaml = format!(
            "{{apiVersion: {GROUP}, kind: {kind}, metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        );
        namespace.apply(&yaml).await?;
    }
    Ok(())
}

/// Waits until the newest status of a commit is this one, and returns all of them, the newest first.
async fn statuses(forge: &Gitea, commit: &str, state: &str) -> Result<Vec<Value>> {
    let call = format!("GET /repos/flux/app/commits/{commit}/statuses?sort=recentupdate");
    let goal = format!("{commit} is {state}");
    forge
        .wait(&goal, &call, |all| {
            let all = all.as_array()?;
            (all.first()?["status"] == state).then(|| all.clone())
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forge_shows_what_a_commit_broke_and_its_webhook_brings_the_fix() -> Result {
    let forge = Gitea::start().await?;
    let flux = Flux::start_notified_on(&Cluster::shared().await?, "notify-forge").await?;
    let namespace = &flux.namespace;
    let chat = Service::willing().await;
    // The repository is fetched by an old name, from which the forge redirects.
    forge.create("old").await?;
    forge
        .api("PATCH /repos/flux/old", &json!({"name": "app"}))
        .await?;
    let first = forge.commit("app", "main", "a.yaml", GOOD).await?;
    secret(namespace, &forge).await?;
    namespace
        .apply("{apiVersion: v1, kind: Secret, metadata: {name: hook}, stringData: {token: hook-t0ken}}")
        .await?;
    let sources =
        "eventSources: [{kind: GitRepository, name: '*'}, {kind: Kustomization, name: '*'}]";
    apply(
        namespace,
        &[
            ("Provider", "chat", format!("type: generic, address: '{}/chat'", chat.url)),
            (
                "Provider",
                "forge",
                format!("type: gitea, address: '{}/flux/app', secretRef: {{name: forge}}", forge.url()),
            ),
            ("Alert", "chat", format!("providerRef: {{name: chat}}, {sources}")),
            (
                "Alert",
                "forge",
                "providerRef: {name: forge}, eventSources: [{kind: Kustomization, name: app}]".to_owned(),
            ),
            (
                "Receiver",
                "forge",
                "type: github, events: [push], secretRef: {name: hook}, resources: [{kind: GitRepository, name: app}]"
                    .to_owned(),
            ),
        ],
    )
    .await?;
    let ready = namespace.wait_ready(RECEIVER, "forge", "True").await?;
    let path = ready["status"]["webhookPath"].as_str().unwrap_or_default();
    let notification = flux.notification.as_ref();
    let notification = notification.ok_or_else(|| Failure::new("no controller"))?;
    let url = format!("{}{path}", notification.webhooks_url().unwrap_or_default());
    let hook = json!({
        "type": "gitea", "active": true, "events": ["push"],
        "config": {"url": url, "content_type": "json", "secret": "hook-t0ken"},
    });
    forge.api("POST /repos/flux/app/hooks", &hook).await?;

    // SC-GIT-120, SC-GIT-121
    let yaml = flux
        .git_repository("app", "ref: {branch: main}\n  secretRef: {name: forge}")
        .replace(&flux.git.url("app.git"), &forge.git_url("old"));
    namespace.apply(&yaml).await?;
    namespace.wait_ready(GIT_REPOSITORY, "app", "True").await?;
    namespace
        .apply(&flux.kustomization("app", &["prune: true"]))
        .await?;
    flux.applied("app", &format!("main@sha1:{first}")).await?;
    // NC-GITEA-001, NC-GITEA-003, NC-GITEA-005
    let all = statuses(&forge, &first, "success").await?;
    ensure!(
        all[0]["description"] == "reconciliation succeeded",
        "{all:?}"
    );
    ensure!(all[0]["creator"]["login"] == "flux", "{all:?}");

    // A commit breaks it; only the webhook tells of it, since the interval is long.
    let broken = forge.commit("app", "main", "a.yaml", BROKEN).await?;
    let told = chat
        .wait(|got: &Got| got.json()["severity"] == "error")
        .await;
    let told = told.ok_or_else(|| Failure::new("no alert"))?.json();
    ensure!(told["reason"] == "BuildFailed", "{told}");
    ensure!(
        told["metadata"]["revision"] == format!("main@sha1:{broken}"),
        "{told}"
    );
    let all = statuses(&forge, &broken, "failure").await?;
    ensure!(all[0]["description"] == "build failed", "{all:?}");
    let context = &all[0]["context"];
    let combined = forge
        .api(
            &format!("GET /repos/flux/app/commits/{broken}/status"),
            &Value::Null,
        )
        .await?;
    ensure!(combined["state"] == "failure", "{combined}");

    // NC-GITEA-004: what is the newest status already is not set again
    let count = all.len();
    let handled = namespace.request_reconcile(KUSTOMIZATION, "app").await?;
    namespace
        .wait(KUSTOMIZATION, "app", "is reconciled", |object| {
            object["status"]["lastHandledReconcileAt"] == handled
        })
        .await?;

    // NC-RECV-067, NC-RECV-069
    let fixed = forge.commit("app", "main", "a.yaml", GOOD).await?;
    let object = flux.applied("app", &format!("main@sha1:{fixed}")).await?;
    ensure!(
        object["status"]["lastAppliedRevision"] == format!("main@sha1:{fixed}"),
        "{object}"
    );
    let last = statuses(&forge, &fixed, "success").await?;
    ensure!(&last[0]["context"] == context, "{last:?}");
    let all = statuses(&forge, &broken, "failure").await?;
    ensure!(all.len() == count, "{all:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_request_has_one_comment_for_each_object() -> Result {
    let forge = Gitea::start().await?;
    forge.create("app").await?;
    forge.commit("app", "feature", "a.yaml", GOOD).await?;
    let pull = json!({"title": "Add a", "head": "feature", "base": "main"});
    let pull = forge.api("POST /repos/flux/app/pulls", &pull).await?;
    let number = pull["number"].to_string();
    let world = World::start("notify-pull").await?;
    let namespace = &world.namespace;
    secret(namespace, &forge).await?;
    let sources = "eventSources: [{kind: Kustomization, name: '*'}]";
    apply(
        namespace,
        &[
            (
                "Provider",
                "forge",
                format!(
                    "type: giteapullrequestcomment, address: '{}/flux/app', secretRef: {{name: forge}}",
                    forge.url()
                ),
            ),
            (
                "Alert",
                "forge",
                format!("providerRef: {{name: forge}}, {sources}, inclusionList: ['^diff']"),
            ),
            ("Provider", "chat", format!("type: generic, address: '{}'", world.service.url)),
            ("Alert", "chat", format!("providerRef: {{name: chat}}, {sources}")),
        ],
    )
    .await?;
    // What was applied before is known as well, then.
    world.delivered("begin").await?;

    let event = |name: &str, message: &str| {
        let mut event = world.event(message);
        event["involvedObject"]["name"] = json!(name);
        event["metadata"] = json!({"event.toolkit.fluxcd.io/change_request": number});
        event
    };
    let call = format!("GET /repos/flux/app/issues/{number}/comments");
    let bodies = |comments: &Value| -> Vec<String> {
        let comments = comments.as_array().into_iter().flatten();
        comments
            .map(|comment| comment["body"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    world
        .post(&event("app", "diff of the first commit"))
        .await?;
    let first = forge
        .wait("a comment is written", &call, |comments| {
            let is_there = bodies(comments)
                .iter()
                .any(|body| body.contains("first commit"));
            is_there.then(|| comments.clone())
        })
        .await?;
    // NC-GITEAPULLREQUESTCOMMENT-001
    ensure!(first[0]["user"]["login"] == "flux", "{first}");
    let marker = format!("/Kustomization/{}/app -->", namespace.name());
    ensure!(
        bodies(&first)[0].starts_with("<!-- flux-pr-comment-key:")
            && bodies(&first)[0].contains(&marker),
        "{first}"
    );

    // Another object has a comment of its own, and a new event replaces the earlier one.
    world.post(&event("web", "diff of another object")).await?;
    world
        .post(&event("app", "diff of the second commit"))
        .await?;
    let both = forge
        .wait("the comment is replaced", &call, |comments| {
            let all = bodies(comments);
            let has = |text: &str| all.iter().any(|body| body.contains(text));
            (has("second commit") && has("another object")).then(|| comments.clone())
        })
        .await?;
    ensure!(bodies(&both).len() == 2, "{both}");
    let replaced = both
        .as_array()
        .into_iter()
        .flatten()
        .find(|comment| comment["id"] == first[0]["id"]);
    ensure!(
        replaced.is_some_and(|comment| comment["body"]
            .as_str()
            .is_some_and(|body| body.contains("second commit"))),
        "{both}"
    );
    Ok(())
}
