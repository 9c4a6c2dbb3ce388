//! Two generators that claim one artifact, and tenants that try other namespaces.

use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{Namespace, Result, condition, ensure};
use serde_json::{Value, json};

use crate::world::{EXTERNAL_ARTIFACT, GENERATOR, World, files};

fn spec(from: &str) -> String {
    format!("artifacts: [{{name: app, copy: [{{from: '@repo/{from}', to: '@artifact/'}}]}}]")
}

// SW-ART-059, SW-ART-071
#[tokio::test]
async fn an_artifact_of_another_generator_is_not_taken_over() -> Result {
    let world = World::start("claims").await?;
    world
        .source("repo", "r1", &[("a.yaml", "a"), ("b.yaml", "b")])
        .await?;
    world.generate("first", &spec("a.yaml")).await?;
    let first = world.ready("first").await?;
    let artifact = world.artifact("app").await?;
    world.generate("second", &spec("b.yaml")).await?;
    let message = world.fails("second", "OwnershipConflict").await?;
    let namespace = world.namespace.name();
    assert_eq!(
        message,
        format!(
            "app reconcile failed: ExternalArtifact {namespace}/app is managed by ArtifactGenerator {namespace}/first"
        )
    );
    world
        .told("second", &format!("Warning OwnershipConflict: {message}"))
        .await?;
    assert_eq!(world.artifact("app").await?, artifact);
    assert_eq!(world.files("app").await?["a.yaml"], "a");
    // the end of the second one leaves the artifact alone
    world.namespace.delete(GENERATOR, "second").await?;
    world.namespace.wait_gone(GENERATOR, "second").await?;
    assert_eq!(world.artifact("app").await?, artifact);
    assert_eq!(world.files("app").await?["a.yaml"], "a");

    // and with the end of the first one the artifact is free
    world.generate("third", &spec("b.yaml")).await?;
    world.fails("third", "OwnershipConflict").await?;
    world.namespace.delete(GENERATOR, "first").await?;
    world.namespace.wait_gone(GENERATOR, "first").await?;
    world.reconcile("third").await?;
    let third = world.ready("third").await?;
    let app = world.artifact("app").await?;
    let owner = &app["metadata"]["labels"]["source.extensions.fluxcd.io/generator"];
    assert_eq!(*owner, third["metadata"]["uid"]);
    assert_ne!(*owner, first["metadata"]["uid"]);
    assert_eq!(world.files("app").await?["b.yaml"], "b");
    Ok(())
}

#[tokio::test]
async fn an_artifact_without_its_generator_is_adopted() -> Result {
    let world = World::start("adopt").await?;
    world.source("repo", "r1", &[("a.yaml", "a")]).await?;
    let orphan = json!({
        "apiVersion": EXTERNAL_ARTIFACT.0, "kind": EXTERNAL_ARTIFACT.1,
        "metadata": {"name": "app", "labels": {"source.extensions.fluxcd.io/generator": "11111111-1111-1111-1111-111111111111"}},
        "spec": {"sourceRef": {"kind": "ArtifactGenerator", "name": "gone"}},
    });
    world.namespace.apply(&orphan.to_string()).await?;
    world.generate("gen", &spec("a.yaml")).await?;
    let generator = world.ready("gen").await?;
    let app = world.artifact("app").await?;
    assert_eq!(
        app["metadata"]["labels"]["source.extensions.fluxcd.io/generator"],
        generator["metadata"]["uid"]
    );
    assert_eq!(app["spec"]["sourceRef"]["name"], "gen");
    Ok(())
}

/// A generator in the namespace of `world` with an artifact in `target`.
fn elsewhere(target: &Namespace, account: &str) -> String {
    format!(
        "{account} artifacts: [{{name: app, namespace: {}, copy: [{{from: '@repo/**', to: '@artifact/'}}]}}]",
        target.name()
    )
}

async fn grant(target: &Namespace, from: &Namespace, account: &str) -> Result {
    let yaml = format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: artifacts}}
rules: [{{apiGroups: [source.toolkit.fluxcd.io], resources: [externalartifacts], verbs: [create, patch]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: artifacts}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: artifacts}}
subjects: [{{kind: ServiceAccount, name: {account}, namespace: {}}}]
",
        from.name()
    );
    target.apply(&yaml).await?;
    Ok(())
}

// SW-GEN-207, SW-GEN-208, SW-ART-060
#[tokio::test]
async fn a_tenant_needs_rights_in_the_namespace_of_an_artifact() -> Result {
    let world = World::start("tenant").await?;
    let target = Namespace::create(world.namespace.cluster(), "target").await?;
    world.source("repo", "r1", &[("a.yaml", "a")]).await?;
    let counter = Counter::start(world.namespace.cluster(), world.watcher.user())?;
    let named = elsewhere(&target, "serviceAccountName: deployer,");
    world.generate("gen", &named).await?;
    let message = world
        .condition("gen", "Stalled", "True", "AccessDenied")
        .await?;
    let own = world.namespace.name();
    assert_eq!(
        message,
        format!(
            "service account {own}/deployer is not allowed to create externalartifacts in namespace {}",
            target.name()
        )
    );
    assert!(target.get(EXTERNAL_ARTIFACT, "app").await?.is_none());
    let asked = counter
        .requests()?
        .into_iter()
        .filter(|request| request.resource == "subjectaccessreviews")
        .count();
    ensure!(asked >= 1, "the API server was not asked");

    grant(&target, &world.namespace, "deployer").await?;
    world.reconcile("gen").await?;
    let generator = world.ready("gen").await?;
    ensure!(condition(&generator, "Stalled").is_none(), "{generator:#}");
    assert_eq!(
        generator["status"]["inventory"][0]["namespace"],
        target.name()
    );
    let app = target
        .get(EXTERNAL_ARTIFACT, "app")
        .await?
        .unwrap_or_default();
    assert_eq!(app["spec"]["sourceRef"]["namespace"], own);
    assert_eq!(files(&app["status"]["artifact"]).await?["a.yaml"], "a");
    assert!(
        world
            .namespace
            .get(EXTERNAL_ARTIFACT, "app")
            .await?
            .is_none()
    );
    // the rights for the own namespace are asked for too
    let both = named.replace(
        "artifacts: [",
        "artifacts: [{name: own, copy: [{from: '@repo/**', to: '@artifact/'}]}, ",
    );
    world.generate("gen", &both).await?;
    let message = world
        .condition("gen", "Stalled", "True", "AccessDenied")
        .await?;
    ensure!(
        message.ends_with(&format!("in namespace {own}")),
        "{message}"
    );

    world.namespace.delete(GENERATOR, "gen").await?;
    world.namespace.wait_gone(GENERATOR, "gen").await?;
    target.wait_gone(EXTERNAL_ARTIFACT, "app").await
}

// SW-GEN-208, SW-PROC-027
#[tokio::test]
async fn the_default_account_is_asked_for_other_namespaces() -> Result {
    let settings = Settings::default().flag("--default-service-account=fallback");
    let world = World::start_with("default-account", settings).await?;
    let target = Namespace::create(world.namespace.cluster(), "target").await?;
    world.source("repo", "r1", &[("a.yaml", "a")]).await?;
    // the controller's own rights serve the own namespace
    world.generate("own", &spec("**")).await?;
    world.ready("own").await?;
    world.generate("gen", &elsewhere(&target, "")).await?;
    let message = world
        .condition("gen", "Stalled", "True", "AccessDenied")
        .await?;
    ensure!(
        message.contains("/fallback is not allowed to create"),
        "{message}"
    );
    grant(&target, &world.namespace, "fallback").await?;
    world.reconcile("gen").await?;
    world.ready("gen").await?;
    Ok(())
}

// SW-GEN-053, SW-GEN-207, SW-PROC-009
#[tokio::test]
async fn other_namespaces_can_be_locked_out() -> Result {
    let settings = Settings::default().flag("--no-cross-namespace-refs");
    let world = World::start_with("locked", settings).await?;
    world.source("repo", "r1", &[("apps/a/x", "a")]).await?;
    let artifacts = "artifacts: [{name: a, copy: [{from: '@r/**', to: '@artifact/'}]}]";
    let source = |namespace: &str| {
        format!(
            "sources: [{{alias: r, kind: GitRepository, name: repo, namespace: {namespace}}}], {artifacts}"
        )
    };
    world.apply("source", &source("other")).await?;
    let message = world
        .condition("source", "Stalled", "True", "AccessDenied")
        .await?;
    assert_eq!(
        message,
        "cross-namespace reference to source GitRepository/other/repo is not allowed"
    );
    world.apply("source", &source("${namespace}")).await?;
    // SW-GEN-059
    let fixed = world.ready("source").await?;
    ensure!(condition(&fixed, "Stalled").is_none(), "{fixed:#}");

    let captured = "pathPattern: '@repo/apps/{app}', artifacts: [{name: x, namespace: '{app}', copy: [{from: '@repo/**', to: '@artifact/'}]}]";
    world.generate("captured", captured).await?;
    let message = world
        .condition("captured", "Stalled", "True", "AccessDenied")
        .await?;
    assert_eq!(
        message,
        "cross-namespace reference to artifact a/x is not allowed"
    );
    Ok(())
}

// SW-GEN-207: without `managedNamespaces` the namespace has to exist
#[tokio::test]
async fn a_namespace_that_is_not_managed_has_to_exist() -> Result {
    let world = World::start("missing-ns").await?;
    world.source("repo", "r1", &[("a.yaml", "a")]).await?;
    let spec = "artifacts: [{name: app, namespace: is-not-there, copy: [{from: '@repo/**', to: '@artifact/'}]}]";
    world.generate("gen", spec).await?;
    let message = world.fails("gen", "ReconciliationFailed").await?;
    assert_eq!(
        message,
        "app reconcile failed: failed to apply ExternalArtifact: namespaces \"is-not-there\" not found"
    );
    let generator = world
        .namespace
        .get(GENERATOR, "gen")
        .await?
        .unwrap_or_default();
    // SW-GEN-040
    let reconciling = condition(&generator, "Reconciling").map(|found| found["reason"].clone());
    assert_eq!(reconciling, Some(Value::from("ProgressingWithRetry")));
    Ok(())
}
