//! The conditions and paths of Receivers.

use kind_tests::controller::Settings;
use kind_tests::{RECEIVER, Result, condition, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::World;

const TARGET: &str = "resources: [{kind: GitRepository, name: app}]";

fn path(token: &str, name: &str, namespace: &str) -> String {
    let hash = Sha256::digest(format!("{token}{name}{namespace}"));
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("/hook/{hash}")
}

#[tokio::test]
async fn a_receiver_gets_its_path_from_the_token() -> Result {
    let world = World::start("receiver").await?;
    let namespace = world.namespace.name().to_owned();
    world.secret("token", "token: \"one\\n\"").await?;
    let spec = format!("type: github, secretRef: {{name: token}}, {TARGET}");
    world.apply("Receiver", "hook", &spec).await?;
    let ready = world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
    // NC-RECV-034, NC-RECV-035
    let first = path("one\n", "hook", &namespace);
    ensure!(ready["status"]["webhookPath"] == *first, "{ready}");
    let condition_of =
        |object: &Value, kind: &str| condition(object, kind).cloned().unwrap_or_default();
    let found = condition_of(&ready, "Ready");
    ensure!(found["reason"] == "Succeeded", "{found}");
    ensure!(
        found["message"] == format!("Receiver initialized for path: {first}"),
        "{found}"
    );
    // NC-RECV-004, NC-RECV-023, NC-RECV-039
    ensure!(ready["spec"]["interval"] == "10m", "{ready}");
    ensure!(
        ready["metadata"]["finalizers"] == json!(["finalizers.fluxcd.io"]),
        "{ready}"
    );
    ensure!(
        ready["status"]["observedGeneration"] == ready["metadata"]["generation"],
        "{ready}"
    );
    ensure!(condition(&ready, "Reconciling").is_none(), "{ready}");
    // NC-RECV-042
    world
        .recorded(
            "hook",
            "Succeeded",
            "Reconciliation finished, next run in 10m0s",
        )
        .await?;

    // NC-RECV-044
    let patch = json!({"spec": {"events": ["push"]}});
    let changed = world.namespace.merge(RECEIVER, "hook", patch).await?;
    let generation = changed["metadata"]["generation"].clone();
    let observed = |object: &Value| object["status"]["observedGeneration"] == generation;
    let after = world
        .namespace
        .wait(RECEIVER, "hook", "is observed", observed)
        .await?;
    ensure!(after["status"]["webhookPath"] == *first, "{after}");

    // NC-RECV-038: a request is handled, and shows the rotated token (NC-RECV-045)
    world.secret("token", "token: two").await?;
    let at = world.namespace.request_reconcile(RECEIVER, "hook").await?;
    let second = path("two", "hook", &namespace);
    let handled = |object: &Value| {
        object["status"]["lastHandledReconcileAt"] == *at
            && object["status"]["webhookPath"] == *second
    };
    world
        .namespace
        .wait(RECEIVER, "hook", "has handled the request", handled)
        .await?;

    // NC-RECV-021
    let label = json!({"metadata": {"labels": {"reconcile.fluxcd.io/watch": "Enabled"}}});
    world
        .namespace
        .merge(kind_tests::SECRET, "token", label)
        .await?;
    world.secret("token", "token: three").await?;
    let third = path("three", "hook", &namespace);
    let rotated = |object: &Value| object["status"]["webhookPath"] == *third;
    world
        .namespace
        .wait(RECEIVER, "hook", "follows the Secret", rotated)
        .await?;

    // NC-RECV-024
    let suspend = json!({"spec": {"suspend": true}});
    world.namespace.merge(RECEIVER, "hook", suspend).await?;
    let line = |line: &Value| line["msg"] == "Reconciliation is suspended for this object";
    world
        .controller
        .log()
        .wait("about the suspension", line)
        .await?;
    // NC-RECV-022
    world.namespace.delete(RECEIVER, "hook").await?;
    world.namespace.wait_gone(RECEIVER, "hook").await?;
    Ok(())
}

/// How often Receivers were reconciled, once none is being reconciled or waits for it: a status is written before its
/// run is counted.
async fn runs(world: &World) -> Result<u64> {
    let page = world.controller.metrics_at_rest("receiver").await?;
    let prefix = "controller_runtime_reconcile_total{controller=\"receiver\",result=";
    let lines = page.lines().filter(|line| line.starts_with(prefix));
    Ok(lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum())
}

#[tokio::test]
async fn only_changes_of_the_spec_and_requests_are_reconciled() -> Result {
    let settings = Settings::default().telling_progress();
    let world = World::start_with("receiver-runs", settings).await?;
    world.secret("token", "token: ''").await?;
    let spec = format!("type: generic, secretRef: {{name: token}}, {TARGET}");
    let progress = |object: &Value| {
        condition(object, "Reconciling").is_some_and(|condition| {
            condition["reason"] == "Progressing"
                && condition["message"] == "Reconciliation in progress"
        })
    };
    // NC-RECV-031
    let applied = world.apply("Receiver", "hook", &spec);
    world
        .namespace
        .wait_during(RECEIVER, "hook", "is in progress", progress, applied)
        .await?;
    let ready = world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
    // NC-RECV-089: an empty token is one
    let empty = path("", "hook", world.namespace.name());
    ensure!(ready["status"]["webhookPath"] == *empty, "{ready}");
    // NC-RECV-037
    let managers = ready["metadata"]["managedFields"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let of_status = managers.iter().any(|entry| {
        entry["manager"] == "notification-controller"
            && entry["subresource"] == "status"
            && entry["fieldsV1"].to_string().contains("f:conditions")
    });
    ensure!(of_status, "{managers:?}");
    let found = condition(&ready, "Ready").cloned().unwrap_or_default();
    ensure!(
        found["observedGeneration"] == ready["metadata"]["generation"],
        "{found}"
    );

    let before = runs(&world).await?;
    let at = world.namespace.request_reconcile(RECEIVER, "hook").await?;
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == *at;
    world
        .namespace
        .wait(RECEIVER, "hook", "has handled the request", handled)
        .await?;
    let after_request = runs(&world).await?;
    ensure!(after_request > before, "{before} {after_request}");
    // NC-RECV-020, NC-RECV-110: neither a label, nor another annotation, nor the end of the request
    for patch in [
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"a": "b"}}}),
        json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": null}}}),
    ] {
        world.namespace.merge(RECEIVER, "hook", patch).await?;
    }
    // What came before is known when another Receiver is ready.
    world.apply("Receiver", "other", &spec).await?;
    world
        .namespace
        .wait_ready(RECEIVER, "other", "True")
        .await?;
    let patch = json!({"spec": {"events": ["push"]}});
    let changed = world.namespace.merge(RECEIVER, "other", patch).await?;
    let generation = changed["metadata"]["generation"].clone();
    let observed = |object: &Value| object["status"]["observedGeneration"] == generation;
    world
        .namespace
        .wait(RECEIVER, "other", "is observed", observed)
        .await?;
    let own = world
        .namespace
        .get(RECEIVER, "hook")
        .await?
        .unwrap_or_default();
    ensure!(own["status"]["lastHandledReconcileAt"] == *at, "{own}");
    let total = runs(&world).await?;
    // Two of the other: the finalizer and its first run may be one or two.
    ensure!(total <= after_request + 3, "{after_request} {total}");
    Ok(())
}

#[tokio::test]
async fn a_missing_token_is_retried_and_reported() -> Result {
    let world = World::start("receiver-token").await?;
    let namespace = world.namespace.name().to_owned();
    let spec = format!("type: generic, secretRef: {{name: later}}, {TARGET}");
    world.apply("Receiver", "hook", &spec).await?;
    let not_ready = |words: &'static str| {
        move |object: &Value| {
            let ready = condition(object, "Ready").cloned().unwrap_or_default();
            let reconciling = condition(object, "Reconciling")
                .cloned()
                .unwrap_or_default();
            ready["status"] == "False"
                && ready["reason"] == "TokenNotFound"
                && ready["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(words))
                && reconciling["reason"] == "ProgressingWithRetry"
                && object["status"]["webhookPath"].is_null()
        }
    };
    // NC-RECV-032, NC-RECV-033, NC-RECV-040
    let wait = world.namespace.wait(
        RECEIVER,
        "hook",
        "lacks its Secret",
        not_ready("error: secrets \"later\" not found"),
    );
    let object = wait.await?;
    let text = format!(
        "unable to read token from secret '{namespace}/later' error: secrets \"later\" not found"
    );
    let ready = condition(&object, "Ready").cloned().unwrap_or_default();
    ensure!(ready["message"] == text, "{ready}");
    // NC-RECV-041
    let told = world.recorded("hook", "Failed", &text).await?;
    ensure!(told["type"] == "Warning", "{told}");
    world.secret("later", "other: x").await?;
    world.namespace.request_reconcile(RECEIVER, "hook").await?;
    let wait = world.namespace.wait(
        RECEIVER,
        "hook",
        "lacks its token",
        not_ready("secret data: required fields 'token'"),
    );
    wait.await?;
    world.secret("later", "token: t").await?;
    world.namespace.request_reconcile(RECEIVER, "hook").await?;
    world.namespace.wait_ready(RECEIVER, "hook", "True").await?;
    Ok(())
}

#[tokio::test]
async fn an_invalid_expression_stalls() -> Result {
    let world = World::start("receiver-cel").await?;
    world.secret("token", "token: t").await?;
    let spec = format!("type: generic, secretRef: {{name: token}}, resourceFilter: '1', {TARGET}");
    world.apply("Receiver", "hook", &spec).await?;
    let stalled = |object: &Value| {
        let stalled = condition(object, "Stalled").cloned().unwrap_or_default();
        let ready = condition(object, "Ready").cloned().unwrap_or_default();
        // NC-RECV-029
        stalled["reason"] == "InvalidCELExpression"
            && ready["status"] == "False"
            && ready["message"] == stalled["message"]
            && object["status"]["observedGeneration"] == object["metadata"]["generation"]
    };
    let object = world
        .namespace
        .wait(RECEIVER, "hook", "is stalled", stalled)
        .await?;
    let text = "Reconciliation failed terminally due to configuration error: invalid resourceFilter expression: CEL expression output type mismatch: expected bool, got int";
    let ready = condition(&object, "Ready").cloned().unwrap_or_default();
    ensure!(ready["message"] == text, "{ready}");
    world.recorded("hook", "InvalidCELExpression", text).await?;
    Ok(())
}
