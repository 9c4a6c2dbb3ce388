//! What must stay the same when one implementation follows the other.

use std::collections::{BTreeMap, BTreeSet};

use kind_tests::{
    ALERT, ARTIFACT_GENERATOR, BUCKET, CONFIG_MAP, DEPLOYMENT, EXTERNAL_ARTIFACT, FIELD_MANAGER,
    GIT_REPOSITORY, HELM_CHART, HELM_RELEASE, HELM_REPOSITORY, IMAGE_POLICY, IMAGE_REPOSITORY,
    IMAGE_UPDATE_AUTOMATION, KUSTOMIZATION, Kind, OCI_REPOSITORY, PROVIDER, RECEIVER, Result,
    SECRET,
};
use serde_json::{Value, json};

use super::world::World;

/// The kinds of Flux, and those that are applied and released here.
const KINDS: [Kind; 21] = [
    GIT_REPOSITORY,
    OCI_REPOSITORY,
    HELM_REPOSITORY,
    BUCKET,
    HELM_CHART,
    KUSTOMIZATION,
    HELM_RELEASE,
    PROVIDER,
    ALERT,
    RECEIVER,
    IMAGE_REPOSITORY,
    IMAGE_POLICY,
    IMAGE_UPDATE_AUTOMATION,
    ARTIFACT_GENERATOR,
    EXTERNAL_ARTIFACT,
    DEPLOYMENT,
    CONFIG_MAP,
    SECRET,
    Kind("batch/v1", "Job"),
    Kind("v1", "Pod"),
    Kind("apps/v1", "ReplicaSet"),
];

/// All objects of the namespace by kind and name, the files of the volumes, and the head of the repository.
pub(super) struct Facts(BTreeMap<String, Value>);

impl Facts {
    pub(super) async fn read(world: &World) -> Result<Self> {
        let mut facts = BTreeMap::new();
        for kind in KINDS {
            for name in world.namespace.names(kind).await? {
                let object = world.get(kind, &name).await?;
                facts.insert(format!("{} {name}", kind.1), lasting(kind, object));
            }
        }
        for (path, digest) in world.files()? {
            facts.insert(format!("file {path}"), json!(digest));
        }
        // image-automation-controller pushes nothing that is there already.
        facts.insert("head".to_owned(), json!(world.repo.rev_parse("main")));
        Ok(Self(facts))
    }
}

/// The facts that are not what they were.
pub(super) async fn changes(before: &Facts, world: &World, when: &str) -> Result<Vec<String>> {
    let after = Facts::read(world).await?;
    let names: BTreeSet<&String> = before.0.keys().chain(after.0.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let (was, is) = (before.0.get(name), after.0.get(name));
        // DI-TRP-001
        if was != is {
            let text = |fact: Option<&Value>| {
                fact.map_or_else(|| "absent".to_owned(), |fact| format!("{fact:#}"))
            };
            changes.push(format!(
                "{when}: {name} was {}\nand is {}",
                text(was),
                text(is)
            ));
        }
    }
    Ok(changes)
}

/// The object without what each run renews, upstream's as well as ours.
fn lasting(kind: Kind, mut object: Value) -> Value {
    let managers = managers(kind, &object);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        // Of an object of Flux its status is written; any other is not written at all.
        if kind.0.contains(".fluxcd.io/") {
            metadata.remove("resourceVersion");
        }
        metadata.insert("managedFields".to_owned(), managers);
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove("reconcile.fluxcd.io/requestedAt");
        }
    }
    let conditions = object["status"]["conditions"].as_array_mut();
    for condition in conditions.into_iter().flatten() {
        remove(condition, &["lastTransitionTime"]);
    }
    let snapshots = object["status"]["history"].as_array_mut();
    for snapshot in snapshots.into_iter().flatten() {
        remove(
            snapshot,
            &[
                "lastReconciled",
                "lastReconciledDuration",
                "totalReconciliations",
            ],
        );
    }
    remove(
        &mut object["status"],
        &["lastHandledReconcileAt", "lastAutomationRunTime"],
    );
    remove(&mut object["status"]["lastScanResult"], &["scanTime"]);
    object
}

fn remove(value: &mut Value, keys: &[&str]) {
    if let Some(fields) = value.as_object_mut() {
        for key in keys {
            fields.remove(*key);
        }
    }
}

/// Who owns which fields, the request of a run aside: the test and webhooks ask for them in turn.
fn managers(kind: Kind, object: &Value) -> Value {
    let asks = |manager: &Value| {
        manager == FIELD_MANAGER
            || manager == "notification-controller" && !kind.0.starts_with("notification.")
    };
    let entries = object["metadata"]["managedFields"].as_array();
    let mut entries: Vec<Value> = entries
        .into_iter()
        .flatten()
        .filter(|entry| !asks(&entry["manager"]))
        .cloned()
        .collect();
    for entry in &mut entries {
        remove(entry, &["time"]);
    }
    entries.sort_by_key(Value::to_string);
    Value::Array(entries)
}
