//! Namespaces that a generator makes: allowed, described, adopted, and deleted with it.

use kind_tests::{Namespace, Result, ensure};
use serde_json::{Value, json};

use crate::world::{EXTERNAL_ARTIFACT, GENERATOR, NAMESPACE, World};

/// A name that no other test uses.
fn named(world: &World, suffix: &str) -> String {
    format!("{}-{suffix}", world.namespace.name())
}

/// An account that may write artifacts everywhere.
async fn account(world: &World) -> Result {
    let name = world.namespace.name();
    let yaml = format!(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: artifacts-{name}}}
rules: [{{apiGroups: [source.toolkit.fluxcd.io], resources: [externalartifacts], verbs: [create, patch]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: artifacts-{name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: artifacts-{name}}}
subjects: [{{kind: ServiceAccount, name: deployer, namespace: {name}}}]
"
    );
    world.namespace.apply(&yaml).await?;
    Ok(())
}

async fn deleted(world: &World, name: &str) -> Result {
    let gone = |object: &Value| object["status"]["phase"] == "Terminating";
    let waits = world
        .namespace
        .wait(NAMESPACE, name, "is being deleted", gone);
    tokio::select! {
        deleted = waits => deleted.map(drop),
        gone = world.namespace.wait_gone(NAMESPACE, name) => gone,
    }
}

fn label(object: &Value, key: &str) -> Value {
    object["metadata"]["labels"][key].clone()
}

/// The spec of a generator of the directories of the source, each a namespace.
fn spec(world: &World, prune: bool) -> String {
    let prefix = world.namespace.name();
    format!(
        "pathPattern: '@repo/teams/{{team}}', serviceAccountName: deployer,
         commonMetadata: {{labels: {{common: x}}}},
         managedNamespaces: {{prune: {prune}, allowedNames: [\"ns.startsWith('{prefix}-')\"], metadata: {{
            fromSource: {{path: '@repo/teams/{{team}}/namespace.yaml', allowedLabels: {{tier: \"value in ['gold', 'silver']\"}}}},
            from: [{{strategy: Merge, namespace: '*', labels: {{tier: none, more: m}}}}]}}}},
         artifacts: [{{name: app, namespace: '{prefix}-{{team}}', copy: [{{from: '@repo/teams/{{team}}/**', to: '@artifact/', optional: true}}]}}]"
    )
}

fn metadata(tier: &str) -> String {
    format!(
        "apiVersion: source.extensions.fluxcd.io/v1beta1\nkind: NamespaceMetadata\nmetadata:\n  labels: {{tier: {tier}, ignored: z}}\n"
    )
}

// SW-GEN-209, SW-GEN-210, SW-GEN-211
#[tokio::test]
async fn namespaces_follow_the_directories_of_a_source() -> Result {
    let world = World::start("managed").await?;
    account(&world).await?;
    let (gold, silver) = (metadata("gold"), metadata("silver"));
    let both = [
        ("teams/a/namespace.yaml", &*gold),
        ("teams/a/x.yaml", "1"),
        ("teams/b/namespace.yaml", &*silver),
    ];
    world.source("repo", "r1", &both).await?;
    world.generate("gen", &spec(&world, true)).await?;
    let generator = world.ready("gen").await?;
    let (a, b) = (named(&world, "a"), named(&world, "b"));
    let made = world
        .namespace
        .get(NAMESPACE, &a)
        .await?
        .unwrap_or_default();
    assert_eq!(label(&made, "tier"), "gold");
    assert_eq!([label(&made, "more"), label(&made, "common")], ["m", "x"]);
    assert_eq!(label(&made, "ignored"), Value::Null);
    // SW-ART-052, SW-GEN-026
    assert_eq!(
        label(&made, "source.extensions.fluxcd.io/generator"),
        generator["metadata"]["uid"]
    );
    // SW-GEN-216
    let entries = generator["status"]["inventory"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let kinds: Vec<Value> = entries
        .iter()
        .map(|entry| json!([entry["kind"], entry["name"], entry["namespace"]]))
        .collect();
    assert_eq!(
        kinds,
        [
            json!([null, "app", a]),
            json!([null, "app", b]),
            json!(["Namespace", a, null]),
            json!(["Namespace", b, null])
        ]
    );
    world
        .told("gen", &format!("Normal Ready: Namespace {a} created"))
        .await?;
    // no drift although a Namespace is among the entries (SW-GEN-065, SW-GEN-067)
    world.reconcile("gen").await?;
    world
        .told(
            "gen",
            "Normal Ready: No drift detected, 2 artifact(s) up to date",
        )
        .await?;

    // other labels in the file, and a directory that is gone
    let one = [
        ("teams/a/namespace.yaml", &*silver),
        ("teams/a/x.yaml", "1"),
    ];
    world.source("repo", "r2", &one).await?;
    world.settled("gen", &generator).await?;
    let changed = world
        .namespace
        .get(NAMESPACE, &a)
        .await?
        .unwrap_or_default();
    assert_eq!(label(&changed, "tier"), "silver");
    deleted(&world, &b).await?;

    // SW-GEN-210: the end of the generator
    world.namespace.delete(GENERATOR, "gen").await?;
    world.namespace.wait_gone(GENERATOR, "gen").await?;
    deleted(&world, &a).await
}

// SW-ART-071, SW-GEN-212
#[tokio::test]
async fn existing_namespaces_are_adopted_and_may_be_kept() -> Result {
    let world = World::start("adopted").await?;
    account(&world).await?;
    let existing = Namespace::create(world.namespace.cluster(), &named(&world, "t")).await?;
    let team = existing
        .name()
        .trim_start_matches(world.namespace.name())
        .trim_start_matches('-')
        .to_owned();
    let path = format!("teams/{team}/namespace.yaml");
    let gold = metadata("gold");
    world.source("repo", "r1", &[(&path, &gold)]).await?;
    world.generate("gen", &spec(&world, true)).await?;
    let generator = world.ready("gen").await?;
    let name = existing.name();
    let own = world.namespace.name();
    world
        .told(
            "gen",
            &format!("Warning Adopted: Namespace {name} is not managed by any ArtifactGenerator and is being adopted by {own}/gen"),
        )
        .await?;
    let adopted = world
        .namespace
        .get(NAMESPACE, name)
        .await?
        .unwrap_or_default();
    assert_eq!(label(&adopted, "tier"), "gold");

    // another generator does not take it over
    let other = spec(&world, true).replace("name: app,", "name: other,");
    world.generate("other", &other).await?;
    let message = world.fails("other", "OwnershipConflict").await?;
    assert_eq!(
        message,
        format!(
            "other reconcile failed: Namespace {name} is managed by ArtifactGenerator {own}/gen"
        )
    );
    world.namespace.delete(GENERATOR, "other").await?;
    world.namespace.wait_gone(GENERATOR, "other").await?;

    // SW-GEN-212: paused, its labels stay as they are
    let annotate = |key: &str, value: Value| json!({"metadata": {"annotations": {format!("source.extensions.fluxcd.io/{key}"): value}}});
    world
        .namespace
        .merge(NAMESPACE, name, annotate("ssa", json!("ignore")))
        .await?;
    let silver = metadata("silver");
    world.source("repo", "r2", &[(&path, &silver)]).await?;
    let generator = world.settled("gen", &generator).await?;
    let paused = world
        .namespace
        .get(NAMESPACE, name)
        .await?
        .unwrap_or_default();
    assert_eq!(label(&paused, "tier"), "gold");
    world
        .namespace
        .merge(NAMESPACE, name, annotate("ssa", Value::Null))
        .await?;
    world
        .source("repo", "r3", &[(&path, &silver), ("x", "")])
        .await?;
    world.settled("gen", &generator).await?;
    let resumed = world
        .namespace
        .get(NAMESPACE, name)
        .await?
        .unwrap_or_default();
    assert_eq!(label(&resumed, "tier"), "silver");

    // held by another object, it outlives the generator
    world
        .namespace
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: holder}}")
        .await?;
    let holder = world
        .namespace
        .get(kind_tests::CONFIG_MAP, "holder")
        .await?
        .unwrap_or_default();
    let uid = holder["metadata"]["uid"].as_str().unwrap_or_default();
    let value = format!("/v1/ConfigMap/{own}/holder/{uid}");
    world
        .namespace
        .merge(NAMESPACE, name, annotate("externalFinalizer", json!(value)))
        .await?;
    world.namespace.delete(GENERATOR, "gen").await?;
    world.namespace.wait_gone(GENERATOR, "gen").await?;
    existing.wait_gone(EXTERNAL_ARTIFACT, "app").await?;
    let left = world
        .namespace
        .get(NAMESPACE, name)
        .await?
        .unwrap_or_default();
    assert_eq!(left["status"]["phase"], "Active");
    Ok(())
}

// SW-GEN-208, SW-GEN-210, SW-GEN-211
#[tokio::test]
async fn only_allowed_namespaces_are_made() -> Result {
    let world = World::start("allowed").await?;
    account(&world).await?;
    world.source("repo", "r1", &[("a.yaml", "1")]).await?;
    let spec = |namespace: &str, rules: &str| {
        format!(
            "serviceAccountName: deployer, managedNamespaces: {{prune: true, {rules}}},
             artifacts: [{{name: app, namespace: {namespace}, copy: [{{from: '@repo/**', to: '@artifact/'}}]}}]"
        )
    };
    let any = "allowedNames: ['true']";
    let expensive = {
        let list = "[1,2,3,4,5,6,7,8,9,0]";
        let mut text = "true".to_owned();
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            text = format!("{list}.all({name}, {text})");
        }
        format!("allowedNames: ['{text}']")
    };
    for (spec, reason, expected) in [
        (
            spec("default", any),
            "AccessDenied",
            "namespace \"default\" is reserved and cannot be managed",
        ),
        (
            spec("kube-system", any),
            "AccessDenied",
            "namespace \"kube-system\" is reserved and cannot be managed",
        ),
        (
            spec("other", "allowedNames: [\"ns == 'x'\"]"),
            "AccessDenied",
            "namespace \"other\" is not allowed by managedNamespaces.allowedNames",
        ),
        (
            spec("other", "allowedNames: ['ns +']"),
            "ValidationFailed",
            "invalid expression in managedNamespaces.allowedNames[0]: failed to parse the CEL expression",
        ),
        (
            spec("other", "allowedNames: ['size(ns)']"),
            "ValidationFailed",
            "invalid expression in managedNamespaces.allowedNames[0]: CEL expression output type mismatch: expected bool, got int",
        ),
        (
            spec("other", &expensive),
            "ValidationFailed",
            "managedNamespaces.allowedNames cannot be applied to namespace \"other\"",
        ),
        (
            spec("other", any).replace("serviceAccountName: deployer, ", ""),
            "ValidationFailed",
            "managedNamespaces need a service account",
        ),
    ] {
        world.generate("gen", &spec).await?;
        let message = world.condition("gen", "Stalled", "True", reason).await?;
        ensure!(message.starts_with(expected), "{message}");
    }
    // a namespace of its own is never managed
    let own = spec(world.namespace.name(), "allowedNames: ['false']");
    world.generate("gen", &own).await?;
    let refused = world.condition("gen", "Stalled", "True", "AccessDenied");
    let ready = world.ready("gen");
    let generator = tokio::select! {
        ready = ready => ready?,
        refused = refused => return Err(kind_tests::Failure::new(refused?)),
    };
    assert_eq!(
        generator["status"]["inventory"].as_array().map(Vec::len),
        Some(1)
    );
    Ok(())
}

// SW-GEN-210, SW-ART-071
#[tokio::test]
async fn namespaces_of_a_killed_process_stay_its_own() -> Result {
    let mut world = World::start("managed-kill").await?;
    account(&world).await?;
    let gold = metadata("gold");
    let teams = ["a", "b", "c", "d", "e"];
    let paths = teams.map(|team| format!("teams/{team}/namespace.yaml"));
    let files: Vec<(&str, &str)> = paths.iter().map(|path| (&**path, &*gold)).collect();
    world.source("repo", "r1", &files).await?;
    world.generate("gen", &spec(&world, true)).await?;
    let first = named(&world, "a");
    let exists = |_: &Value| true;
    world
        .namespace
        .wait(NAMESPACE, &first, "exists", exists)
        .await?;
    world.watcher.kill()?;
    world.watcher.restart().await?;
    let generator = world.ready("gen").await?;
    let entries = generator["status"]["inventory"].as_array().cloned();
    let entries = entries.unwrap_or_default().into_iter();
    let namespaces = entries.filter(|entry| entry["kind"] == "Namespace");
    assert_eq!(namespaces.count(), teams.len());
    let events = world.namespace.report().await;
    ensure!(!events.contains("is being adopted"), "{events}");

    // killed once the first one is being deleted
    world.watcher.terminate().await?;
    world.namespace.delete(GENERATOR, "gen").await?;
    world.watcher.restart().await?;
    deleted(&world, &first).await?;
    world.watcher.kill()?;
    world.watcher.restart().await?;
    world.namespace.wait_gone(GENERATOR, "gen").await?;
    for team in teams {
        deleted(&world, &named(&world, team)).await?;
    }
    Ok(())
}
