//! Behaviour of real API servers: kinds that are discovered late, unavailable groups, outages.

use kind_tests::controller::Settings;
use kind_tests::{Applier, Cluster, KUSTOMIZATION, Result, condition, ensure};
use serde_json::Value;

use crate::config_map;

/// A definition of the kind `Thing` in this group.
fn definition(group: &str) -> String {
    format!(
        "---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: things.{group}}}
spec:
  group: {group}
  scope: Namespaced
  names: {{kind: Thing, plural: things, singular: thing, listKind: ThingList}}
  versions:
  - {{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}
"
    )
}

fn thing(group: &str) -> String {
    format!("---\napiVersion: {group}/v1\nkind: Thing\nmetadata: {{name: t}}\nspec: {{a: 1}}\n")
}

fn failures(applier: &Applier) -> Vec<Value> {
    let lines = applier.kustomize.log().entries().into_iter();
    lines.filter(|line| line["level"] == "error").collect()
}

#[tokio::test]
async fn definitions_and_their_objects_apply_in_one_or_several_kustomizations() -> Result {
    let applier = Applier::start("crd-and-cr", Settings::default()).await?;
    let name = applier.namespace.name().to_owned();
    let groups: Vec<String> = (0..6).map(|n| format!("g{n}.{name}.example.com")).collect();
    let all: String = groups
        .iter()
        .map(|group| definition(group) + &thing(group))
        .collect();
    let (late, cr) = (
        definition(&format!("late.{name}.example.com")),
        thing(&format!("late.{name}.example.com")),
    );
    applier
        .publish(
            "main@sha1:1",
            &[
                ("together/all.yaml", &all),
                ("definition/crd.yaml", &late),
                ("object/cr.yaml", &cr),
            ],
        )
        .await?;
    for (name, path) in [
        ("together", "path: together"),
        ("definition", "path: definition"),
    ] {
        let yaml = applier.kustomization(name, &["prune: true", path]);
        applier.namespace.apply(&yaml).await?;
    }
    // KC-DEP-012: it is reconciled as soon as the definition is applied
    let dependant = [
        "prune: true",
        "path: object",
        "dependsOn: [{name: definition}]",
    ];
    let yaml = applier.kustomization("object", &dependant);
    applier.namespace.apply(&yaml).await?;
    // KC-SSA-009, KC-SSA-010
    for name in ["together", "definition", "object"] {
        applier.applied(name, "main@sha1:1").await?;
    }
    let failures = failures(&applier);
    ensure!(failures.is_empty(), "{failures:#?}");
    Ok(())
}

#[tokio::test]
async fn an_unavailable_api_group_fails_the_run_and_the_next_revision_recovers() -> Result {
    // A separate cluster: namespaces cannot be deleted while an API group is unavailable.
    let cluster = Cluster::own(kind_tests::Settings::default()).await?;
    let applier = Applier::start_on(&cluster, "unavailable", Settings::default()).await?;
    let broken = "apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.nobody.example.com}
spec:
  group: nobody.example.com
  version: v1
  groupPriorityMinimum: 100
  versionPriority: 100
  insecureSkipTLSVerify: true
  service: {name: none, namespace: default, port: 443}
";
    let object = "---\napiVersion: nobody.example.com/v1\nkind: Foo\nmetadata: {name: x}\n";
    applier
        .publish("main@sha1:1", &[("all.yaml", broken)])
        .await?;
    let yaml = applier.kustomization("app", &["prune: true", "retryInterval: 1h"]);
    let yaml = yaml.replace("  retryInterval: 2s\n", "");
    applier.namespace.apply(&yaml).await?;
    applier.applied("app", "main@sha1:1").await?;

    applier
        .publish("main@sha1:2", &[("all.yaml", &format!("{broken}{object}"))])
        .await?;
    // KC-SSA-031: with the text of upstream's client
    let says = format!(
        "Foo/{}/x dry-run failed (ServiceUnavailable): failed to get API group resources: unable to retrieve the complete list of server APIs: nobody.example.com/v1: the server is currently unable to handle the request",
        applier.namespace.name()
    );
    let failed = applier.says("app", "ReconciliationFailed", &says).await?;
    ensure!(
        failed["status"]["lastAppliedRevision"] == "main@sha1:1",
        "{failed:#}"
    );

    // KC-SRC-017
    applier
        .publish(
            "main@sha1:3",
            &[("all.yaml", broken), ("a.yaml", &config_map("a", "1"))],
        )
        .await?;
    applier.applied("app", "main@sha1:3").await?;

    // KC-PRUNE-008: a prune that needs the group fails as well, and what cannot be deleted stays in the inventory
    let entry = serde_json::json!({"id": format!("{}_x_nobody.example.com_Foo", applier.namespace.name()), "v": "v1"});
    let kept = applier
        .namespace
        .get(KUSTOMIZATION, "app")
        .await?
        .unwrap_or_default();
    let mut inventory = kept["status"]["inventory"].clone();
    if let Some(entries) = inventory["entries"].as_array_mut() {
        entries.push(entry.clone());
    }
    applier
        .namespace
        .set_status(
            KUSTOMIZATION,
            "app",
            serde_json::json!({"inventory": inventory}),
        )
        .await?;
    applier
        .publish("main@sha1:4", &[("all.yaml", broken)])
        .await?;
    let failed = applier.says("app", "PruneFailed", "Foo/").await?;
    let message = condition(&failed, "Ready").map(|ready| ready["message"].clone());
    ensure!(
        message.as_ref().and_then(Value::as_str).is_some_and(
            |message| message.contains("the server is currently unable to handle the request")
        ),
        "{message:?}"
    );
    let entries = failed["status"]["inventory"]["entries"].as_array();
    ensure!(
        entries.is_some_and(|entries| entries.contains(&entry)),
        "{failed:#}"
    );
    Ok(())
}
