//! Dependencies, waits and health checks.

use kind_tests::controller::Settings;
use kind_tests::{Applier, CONFIG_MAP, Flux, KUSTOMIZATION, Result, condition};
use serde_json::{Value, json};

use crate::config_map;

/// A Deployment whose pod fits no node: it never becomes ready.
const NEVER_READY: &str = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: stuck
spec:
  selector:
    matchLabels: {app: stuck}
  template:
    metadata:
      labels: {app: stuck}
    spec:
      nodeSelector: {no: such-node}
      containers:
      - name: stuck
        image: registry.k8s.io/pause:3.10
";

fn ready(object: &Value) -> Value {
    condition(object, "Ready").cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_kustomization_waits_until_its_dependencies_are_ready() -> Result {
    let flux = Flux::start("depends").await?;
    let revision = flux.commit(&[
        ("base/a.yaml", &config_map("a", "1")),
        ("apps/b.yaml", &config_map("b", "1")),
    ]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization(
            "apps",
            &["path: apps", "prune: true", "dependsOn: [{name: base}]"],
        ))
        .await?;
    let waiting = flux
        .namespace
        .wait_ready(KUSTOMIZATION, "apps", "False")
        .await?;
    // KC-DEP-003, KC-DEP-006
    assert_eq!(ready(&waiting)["reason"], "DependencyNotReady");
    let named = format!("dependency '{}/base' not found", flux.namespace.name());
    assert!(
        ready(&waiting)["message"]
            .as_str()
            .is_some_and(|text| text.starts_with(&named)),
        "{waiting:#}"
    );
    assert_eq!(flux.namespace.get(CONFIG_MAP, "b").await?, None);

    flux.namespace
        .apply(&flux.kustomization("base", &["path: base", "prune: true"]))
        .await?;
    flux.applied("apps", &revision).await?;
    let base = flux
        .namespace
        .get(KUSTOMIZATION, "base")
        .await?
        .unwrap_or_default();
    assert_eq!(base["status"]["lastAppliedRevision"], revision);
    Ok(())
}

/// How often Kustomizations ended a run with this reason, by name, in the order of the first.
fn ends(applier: &Applier, reason: &str) -> Vec<(String, usize)> {
    let mut ends: Vec<(String, usize)> = Vec::new();
    for event in applier.events.events() {
        let name = event["involvedObject"]["name"].as_str().unwrap_or_default();
        if event["reason"] != reason {
            continue;
        }
        match ends.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += 1,
            None => ends.push((name.to_owned(), 1)),
        }
    }
    ends
}

#[tokio::test]
async fn dependants_run_as_soon_as_their_dependency_is_ready() -> Result {
    const LINKS: usize = 10;
    // An hour before they would look again.
    let patient = Settings::default().flag("--requeue-dependency=1h");
    let applier = Applier::start("chain", patient).await?;
    let names: Vec<String> = (0..LINKS).map(|link| format!("link-{link}")).collect();
    let publish = async |revision: &str| {
        let files = names.iter();
        let files: Vec<(String, String)> = files
            .map(|name| (format!("{name}/a.yaml"), config_map(name, revision)))
            .collect();
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .collect();
        applier.publish(revision, &files).await
    };
    publish("main@sha1:1").await?;
    let once = |names: &[String]| -> Vec<(String, usize)> {
        names.iter().map(|name| (name.clone(), 1)).collect()
    };
    for (link, name) in names.iter().enumerate().rev() {
        let path = format!("path: {name}");
        let mut spec = vec![path.as_str(), "prune: true"];
        let depends = link
            .checked_sub(1)
            .map(|before| format!("dependsOn: [{{name: link-{before}}}]"));
        spec.extend(depends.as_deref());
        let yaml = applier.kustomization(name, &spec);
        applier.namespace.apply(&yaml).await?;
        if depends.is_some() {
            applier.says(name, "DependencyNotReady", "").await?;
        }
    }
    // KC-DEP-012
    applier.applied("link-9", "main@sha1:1").await?;
    applier
        .events
        .wait("of the last", |event| {
            event["reason"] == "ReconciliationSucceeded"
                && event["involvedObject"]["name"] == "link-9"
        })
        .await?;
    let succeeded = ends(&applier, "ReconciliationSucceeded");
    assert_eq!(succeeded, once(&names), "each runs once, in their order");
    let waited: Vec<String> = names.iter().skip(1).rev().cloned().collect();
    assert_eq!(ends(&applier, "DependencyNotReady"), once(&waited));

    // KC-DEP-005: a new revision goes the same way, also past a dependant that looked too early.
    publish("main@sha1:2").await?;
    applier.applied("link-9", "main@sha1:2").await?;
    Ok(())
}

#[tokio::test]
async fn a_new_revision_is_applied_to_dependencies_before_dependants() -> Result {
    let flux = Flux::start("in-order").await?;
    flux.commit(&[
        ("base/a.yaml", &config_map("a", "1")),
        ("apps/b.yaml", &config_map("b", "1")),
    ]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("base", &["path: base", "prune: true"]))
        .await?;
    flux.namespace
        .apply(&flux.kustomization(
            "apps",
            &["path: apps", "prune: true", "dependsOn: [{name: base}]"],
        ))
        .await?;
    flux.namespace
        .wait_ready(KUSTOMIZATION, "apps", "True")
        .await?;

    let revision = flux.commit(&[
        ("base/a.yaml", &config_map("a", "2")),
        ("apps/b.yaml", &config_map("b", "2")),
    ]);
    flux.fetch().await?;
    flux.namespace
        .wait(CONFIG_MAP, "b", "has the new value", |map| {
            map["data"]["v"] == "2"
        })
        .await?;
    // KC-DEP-005
    let base = flux
        .namespace
        .get(KUSTOMIZATION, "base")
        .await?
        .unwrap_or_default();
    assert_eq!(base["status"]["lastAppliedRevision"], revision);
    Ok(())
}

#[tokio::test]
async fn cyclic_dependencies_are_reported_and_nothing_is_applied() -> Result {
    let flux = Flux::start("cycle").await?;
    flux.commit(&[
        ("a/a.yaml", &config_map("a", "1")),
        ("b/b.yaml", &config_map("b", "1")),
    ]);
    flux.follow_main().await?;
    for (name, other) in [("a", "b"), ("b", "a")] {
        let (path, depends) = (
            format!("path: {name}"),
            format!("dependsOn: [{{name: {other}}}]"),
        );
        flux.namespace
            .apply(&flux.kustomization(name, &[&path, &depends, "prune: true"]))
            .await?;
    }
    for (name, other) in [("a", "b"), ("b", "a")] {
        // KC-DEP-011: behind upstream's words is the path of the cycle
        let namespace = flux.namespace.name();
        let expected = format!(
            "dependency '{namespace}/{other}' is not ready: circular dependency detected: \
             {namespace}/{name} -> {namespace}/{other} -> {namespace}/{name}"
        );
        flux.namespace
            .wait(
                KUSTOMIZATION,
                name,
                "says that the other is not ready",
                |object| {
                    ready(object)["reason"] == "DependencyNotReady"
                        && ready(object)["message"] == expected
                },
            )
            .await?;
    }
    assert_eq!(flux.namespace.get(CONFIG_MAP, "a").await?, None);
    assert_eq!(flux.namespace.get(CONFIG_MAP, "b").await?, None);
    Ok(())
}

#[tokio::test]
async fn a_failed_health_check_names_the_object_and_recovers_once_fixed() -> Result {
    let flux = Flux::start("health").await?;
    flux.commit(&[("web.yaml", NEVER_READY)]);
    flux.follow_main().await?;
    // Half a minute is the minimum (KC-API-010).
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true", "wait: true", "timeout: 30s"]))
        .await?;
    let waiting = flux
        .namespace
        .wait(KUSTOMIZATION, "app", "runs its health checks", |object| {
            condition(object, "Healthy").is_some_and(|healthy| healthy["status"] == "Unknown")
        })
        .await?;
    // KC-HEALTH-004
    let message = condition(&waiting, "Reconciling")
        .map(|progress| progress["message"].clone())
        .unwrap_or_default();
    let message = message.as_str().unwrap_or_default();
    assert!(
        message.starts_with("Running health checks for revision main@sha1:"),
        "{message}"
    );
    assert!(message.ends_with(" with a timeout of 30s"), "{message}");

    let failed = flux
        .namespace
        .wait(KUSTOMIZATION, "app", "fails its health check", |object| {
            ready(object)["reason"] == "HealthCheckFailed"
        })
        .await?;
    // KC-HEALTH-008, KC-HEALTH-013: behind upstream's words is the cause below the object
    let namespace = flux.namespace.name();
    let expected = format!(
        "timeout waiting for: [Deployment/{namespace}/stuck status: 'InProgress']; Deployment/{namespace}/stuck: Pod stuck-"
    );
    let failed = ready(&failed);
    let text = failed["message"].as_str().unwrap_or_default();
    for part in [
        &*expected,
        " has no node: Unschedulable: ",
        "last event: FailedScheduling: ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(failed["status"]["lastAppliedRevision"], json!(null));

    let fixed = flux.commit(&[(
        "web.yaml",
        &NEVER_READY.replace("      nodeSelector: {no: such-node}\n", ""),
    )]);
    flux.fetch().await?;
    flux.applied("app", &fixed).await?;
    Ok(())
}

#[tokio::test]
async fn health_checks_wait_for_the_named_objects() -> Result {
    let flux = Flux::start("checks").await?;
    let revision = flux.commit(&[("web.yaml", NEVER_READY), ("a.yaml", &config_map("a", "1"))]);
    flux.follow_main().await?;
    let check = format!(
        "healthChecks: [{{apiVersion: v1, kind: ConfigMap, name: a, namespace: {}}}]",
        flux.namespace.name()
    );
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true", &check]))
        .await?;
    // KC-HEALTH-002: only the named object, although the other Deployment never becomes ready
    let applied = flux.applied("app", &revision).await?;
    assert_eq!(
        condition(&applied, "Healthy").map(|healthy| &healthy["status"]),
        Some(&json!("True"))
    );
    Ok(())
}

#[tokio::test]
async fn custom_resources_are_applied_with_their_definition_in_one_commit() -> Result {
    let flux = Flux::start("stages").await?;
    let group = format!("{}.example.com", flux.namespace.name());
    let definition = format!(
        "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.{group}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Widget, plural: widgets}}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
"
    );
    let widget = format!("apiVersion: {group}/v1\nkind: Widget\nmetadata:\n  name: first\n");
    // By file name the resource comes first; the stages apply the definition first.
    let revision = flux.commit(&[
        ("a-widget.yaml", &widget),
        ("b-definition.yaml", &definition),
    ]);
    flux.follow_main().await?;
    flux.namespace
        .apply(&flux.kustomization("app", &["prune: true", "wait: true"]))
        .await?;
    // KC-SSA-009, KC-SSA-010, RT-KUB-007: the controller is already running when the definition is created
    flux.applied("app", &revision).await?;

    flux.namespace.delete(KUSTOMIZATION, "app").await?;
    flux.namespace.wait_gone(KUSTOMIZATION, "app").await
}
