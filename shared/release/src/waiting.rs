//! Waiting for objects, by watching them.

use std::collections::BTreeSet;
use std::time::Duration;

use flux_apply::{
    Cluster, ObjectId, Rules, Target, WaitOptions, wait_until_current, wait_until_gone,
};
use flux_helm::action::{Object, WaitStrategy};

use crate::build::{Kinds, group_and_version};
use crate::live::id_of;

/// Waits until the objects of a release are ready (HE-KUBE-021, HC-WAIT-001, HC-WAIT-003..007).
pub(crate) async fn ready(
    cluster: &Cluster,
    objects: &[Object],
    strategy: WaitStrategy,
    for_jobs: bool,
    timeout: Duration,
) -> Result<(), String> {
    let rules = if for_jobs {
        Rules::Complete
    } else {
        Rules::Running
    };
    match strategy {
        WaitStrategy::HookOnly => Ok(()),
        WaitStrategy::Watcher | WaitStrategy::Legacy => {
            wait(cluster, objects, rules, true, timeout).await
        }
    }
}

/// Waits until the objects of a hook have done what they are for (HE-HOOK-010, HC-WAIT-009).
pub(crate) async fn hook(
    cluster: &Cluster,
    objects: &[Object],
    timeout: Duration,
) -> Result<(), String> {
    // Anything but a Job or a Pod is ready at once, and there is nothing to ask for.
    let runs = |object: &&Object| matches!(object.kind.as_str(), "Job" | "Pod");
    let running: Vec<Object> = objects.iter().filter(runs).cloned().collect();
    wait(cluster, &running, Rules::Hook, false, timeout).await
}

async fn wait(
    cluster: &Cluster,
    objects: &[Object],
    rules: Rules,
    fail_fast: bool,
    timeout: Duration,
) -> Result<(), String> {
    let waited_for: Vec<&Object> = objects
        .iter()
        .filter(|object| !is_paused(object) && !object.name.is_empty())
        .collect();
    let targets: Vec<Target> = waited_for
        .iter()
        .filter_map(|object| {
            let (_, version) = group_and_version(&object.api_version)?;
            Some(Target::of(&id_of(object), version))
        })
        .collect();
    let options = WaitOptions {
        timeout,
        fail_fast,
        jobs_with_ttl: jobs_with_ttl(&waited_for),
        rules,
        ..WaitOptions::default()
    };
    let ready = wait_until_current(cluster, &targets, &options).await;
    ready.map(drop).map_err(|error| error.to_string())
}

/// HC-WAIT-003
fn is_paused(object: &Object) -> bool {
    let paused = object.value.at(["spec", "paused"]);
    object.api_version == "apps/v1"
        && object.kind == "Deployment"
        && paused.and_then(flux_yaml::Value::as_bool) == Some(true)
}

/// HC-WAIT-005
fn jobs_with_ttl(objects: &[&Object]) -> BTreeSet<ObjectId> {
    let has_ttl = |object: &&&Object| {
        let ttl = object.value.at(["spec", "ttlSecondsAfterFinished"]);
        object.api_version == "batch/v1" && object.kind == "Job" && ttl.is_some()
    };
    objects
        .iter()
        .filter(has_ttl)
        .map(|object| id_of(object))
        .collect()
}

/// Waits until all of these are gone, one after the other within one timeout (HE-ACT-034, HC-WAIT-010).
pub(crate) async fn gone(
    cluster: &Cluster,
    kinds: &Kinds,
    objects: &[Object],
    timeout: Duration,
) -> Result<(), String> {
    let deadline = tokio::time::Instant::now() + timeout;
    for object in objects {
        let (resource, id) = (kinds.resource(object)?, id_of(object));
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let gone = wait_until_gone(cluster, resource, &id, left).await;
        gone.map_err(|error| format!("{id} termination timeout: {error}"))?;
    }
    Ok(())
}
