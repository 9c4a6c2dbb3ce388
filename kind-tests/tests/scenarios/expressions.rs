//! Expressions of users: for the health of objects, and for the readiness of dependencies.

use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, KUSTOMIZATION, Kind, Result, condition, ensure};
use serde_json::{Value, json};

use crate::config_map;

const BUCKET: Kind = Kind("source.toolkit.fluxcd.io/v1", "Bucket");

/// A Bucket, for which no controller runs: only the test sets its status.
const OBJECT: &str = "apiVersion: source.toolkit.fluxcd.io/v1\nkind: Bucket\nmetadata: {name: one}\n\
                      spec: {interval: 1h, endpoint: 127.0.0.1, bucketName: b}\n";

/// Health checks by the condition `Custom`, with this expression for the object to be current.
fn checks(current: &str) -> String {
    json!([{
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "Bucket",
        "inProgress": "!has(status.conditions) || !status.conditions.exists(c, c.type == 'Custom')",
        "failed": "status.conditions.exists(c, c.type == 'Custom' && c.status == 'False')",
        "current": current,
    }])
    .to_string()
}

fn spec(current: &str) -> String {
    format!("healthCheckExprs: {}", checks(current))
}

async fn set_condition(applier: &Applier, kind: &str, status: &str) -> Result {
    let condition = json!({"type": kind, "status": status, "reason": "Test", "message": "as the test says",
        "lastTransitionTime": "2001-01-01T00:00:00Z"});
    let status = json!({"observedGeneration": 1, "conditions": [condition]});
    applier.namespace.set_status(BUCKET, "one", status).await?;
    Ok(())
}

fn is_stalled(object: &Value) -> bool {
    condition(object, "Stalled").is_some_and(|stalled| stalled["status"] == "True")
}

#[tokio::test]
async fn expressions_decide_whether_objects_are_healthy() -> Result {
    let applier = Applier::start("healthy-by", Settings::default()).await?;
    applier
        .publish("main@sha1:1", &[("one.yaml", OBJECT)])
        .await?;
    let current = "status.conditions.all(c, c.status == 'True')";
    let yaml = applier.kustomization("app", &["prune: true", "wait: true", &spec(current)]);
    applier.namespace.apply(&yaml).await?;
    let in_progress = |object: &Value| {
        condition(object, "Healthy").is_some_and(|healthy| healthy["status"] == "Unknown")
    };
    let wait = applier
        .namespace
        .wait(KUSTOMIZATION, "app", "waits", in_progress);
    wait.await?;
    // KC-HEALTH-031, KC-HEALTH-033: ready by the built-in rules is not enough
    set_condition(&applier, "Ready", "True").await?;
    set_condition(&applier, "Custom", "False").await?;
    let failed = format!(
        "failed early due to stalled resources: [Bucket/{}/one status: 'Failed']",
        applier.namespace.name()
    );
    applier.says("app", "HealthCheckFailed", &failed).await?;
    set_condition(&applier, "Custom", "True").await?;
    applier.run("app").await?;
    let healthy = applier.applied("app", "main@sha1:1").await?;
    ensure!(
        condition(&healthy, "Healthy").is_some_and(|healthy| healthy["status"] == "True"),
        "{healthy:#}"
    );

    // KC-PROC-063, KC-HEALTH-032: an expression that does not parse is refused at once
    let yaml = applier.kustomization("app", &["prune: true", "wait: true", &spec("status.")]);
    applier.namespace.apply(&yaml).await?;
    let text = "Reconciliation failed terminally due to configuration error: failed to create custom status evaluator for \
                healthchecks[0]: failed to parse the expression Current: failed to parse the CEL expression 'status.': \
                ERROR: <input>:1:8: Syntax error";
    let refused = applier.says("app", "InvalidCELExpression", text).await?;
    ensure!(is_stalled(&refused), "{refused:#}");
    assert_eq!(
        refused["status"]["observedGeneration"],
        refused["metadata"]["generation"]
    );
    applier
        .events
        .wait("of the expression", |event| {
            event["reason"] == "InvalidCELExpression"
                && event["severity"] == "error"
                && event["message"]
                    .as_str()
                    .is_some_and(|message| message.starts_with(text))
        })
        .await?;

    // KC-HEALTH-030
    let twice = checks("true").replace("}]", "},{\"apiVersion\": \"source.toolkit.fluxcd.io/v2\", \"kind\": \"Bucket\", \"current\": \"true\"}]");
    let twice = format!("healthCheckExprs: {twice}");
    let yaml = applier.kustomization("app", &["prune: true", "wait: true", &twice]);
    applier.namespace.apply(&yaml).await?;
    let text = "duplicate custom health check for GroupKind Bucket.source.toolkit.fluxcd.io at healthchecks[1]";
    applier.says("app", "InvalidCELExpression", text).await?;

    let yaml = applier.kustomization("app", &["prune: true", "wait: true", &spec("true")]);
    applier.namespace.apply(&yaml).await?;
    let generation = |object: &Value| {
        kind_tests::is_ready(object, "True")
            && object["status"]["observedGeneration"] == object["metadata"]["generation"]
            && !is_stalled(object)
    };
    let wait = applier
        .namespace
        .wait(KUSTOMIZATION, "app", "recovers", generation);
    wait.await?;
    Ok(())
}

/// A Kustomization that depends on `dep` by an expression.
fn dependant(applier: &Applier, expression: &str) -> String {
    let depends = json!([{ "name": "dep", "readyExpr": expression }]);
    applier.kustomization("app", &["prune: true", &format!("dependsOn: {depends}")])
}

/// A Kustomization that never becomes ready, since its source does not exist.
const DEPENDENCY: &str = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n\
    metadata: {name: dep, labels: {version: '1'}}\n\
    spec: {interval: 1h, prune: true, sourceRef: {kind: GitRepository, name: none}}\n";

#[tokio::test]
async fn an_expression_decides_whether_a_dependency_is_ready() -> Result {
    let applier = Applier::start("ready-by", Settings::default()).await?;
    let files = [("a.yaml", &*config_map("a", "1"))];
    applier.publish("main@sha1:1", &files).await?;
    applier.namespace.apply(DEPENDENCY).await?;
    let namespace = applier.namespace.name().to_owned();

    // KC-DEP-008, KC-DEP-009
    applier
        .namespace
        .apply(&dependant(&applier, "dep.metadata.labels"))
        .await?;
    let text = "Reconciliation failed terminally due to configuration error: terminal error: failed to evaluate dependency dep: \
                CEL expression output type mismatch: expected bool, got dyn";
    let refused = applier.says("app", "InvalidCELExpression", text).await?;
    ensure!(is_stalled(&refused), "{refused:#}");
    assert_eq!(
        refused["status"]["observedGeneration"],
        refused["metadata"]["generation"]
    );
    // KC-DEP-010
    applier
        .namespace
        .apply(&dependant(&applier, "dep.status.none == 'x'"))
        .await?;
    let text = "failed to evaluate the CEL expression 'dep.status.none == 'x'': no such key: none";
    let waiting = applier.says("app", "DependencyNotReady", text).await?;
    ensure!(!is_stalled(&waiting), "{waiting:#}");
    // KC-DEP-003, KC-DEP-007, RT-CEL-003: `dep` is read anew, `self` is the dependant
    let expression = "dep.metadata.labels.version == '2' && self.metadata.name == 'app'";
    applier
        .namespace
        .apply(&dependant(&applier, expression))
        .await?;
    let text = format!("dependency '{namespace}/dep' is not ready according to readyExpr eval");
    applier.says("app", "DependencyNotReady", &text).await?;
    assert_eq!(applier.namespace.get(CONFIG_MAP, "a").await?, None);
    let label = json!({ "metadata": { "labels": { "version": "2" } } });
    applier.namespace.merge(KUSTOMIZATION, "dep", label).await?;
    applier.applied("app", "main@sha1:1").await?;
    Ok(())
}

#[tokio::test]
async fn with_the_gate_an_expression_is_an_additional_check() -> Result {
    let gate = "--feature-gates=AdditiveCELDependencyCheck=true";
    let applier = Applier::start("ready-both", Settings::default().flag(gate)).await?;
    let files = [("a.yaml", &*config_map("a", "1"))];
    applier.publish("main@sha1:1", &files).await?;
    applier.namespace.apply(DEPENDENCY).await?;
    let namespace = applier.namespace.name().to_owned();
    // KC-DEP-007, KC-PROC-034, RT-FGM-006
    applier
        .namespace
        .apply(&dependant(&applier, "dep.metadata.labels.version == '2'"))
        .await?;
    let text = format!("dependency '{namespace}/dep' is not ready according to readyExpr eval");
    applier.says("app", "DependencyNotReady", &text).await?;
    let label = json!({ "metadata": { "labels": { "version": "2" } } });
    applier.namespace.merge(KUSTOMIZATION, "dep", label).await?;
    let is_unready = |object: &Value| {
        condition(object, "Ready").is_some_and(|ready| {
            ready["message"] == format!("dependency '{namespace}/dep' is not ready")
        })
    };
    let wait = applier
        .namespace
        .wait(KUSTOMIZATION, "app", "waits for both", is_unready);
    wait.await?;
    Ok(())
}
