//! The health of what was applied (KC-HEALTH rows).

use std::collections::BTreeSet;
use std::time::Instant;

use flux_api::kustomize::Kustomization;
use flux_api::meta::GoDuration;
use flux_apply::{
    Action, ChangeSet, Cluster, Object, ObjectId, Target, WaitOptions, wait_until_current,
};
use flux_runtime::conditions::{ConditionType, Status};
use flux_runtime::{Failure, Pace, Run};
use kube::ResourceExt;

use super::plan::Timings;
use super::source::Resolved;
use super::{Kustomizations, metadata_of, owner_selector};

/// Whether the objects of a Kustomization are healthy.
pub(super) const HEALTHY: ConditionType = ConditionType::new("Healthy");

/// Waits until what is to be waited for is healthy, without holding a worker (KC-HEALTH-001..011).
#[allow(clippy::too_many_arguments)] // the facts of one run, each of which another step has found
pub(super) async fn check(
    shared: &Kustomizations,
    run: &mut Run<Kustomization>,
    object: &Kustomization,
    cluster: &Cluster,
    applied: &ChangeSet,
    built: &[Object],
    source: &Resolved,
    timings: &Timings,
) -> Result<(), Failure> {
    let Some(targets) = targets(object, applied) else {
        run.conditions.remove(HEALTHY);
        return Ok(());
    };
    let targets = shared.memories.unsettled(&run.key(), targets);
    let was_healthy = run.conditions.is_true(HEALTHY);
    let revision = &source.artifact.revision;
    let message = format!(
        "Running health checks for revision {revision} with a timeout of {}",
        GoDuration::from(timings.timeout)
    );
    let started = Instant::now();
    let options = WaitOptions {
        timeout: timings.timeout,
        fail_fast: shared.policy.fail_fast,
        jobs_with_ttl: jobs_with_ttl(built),
        selector: object.spec.wait.then(|| owner_selector(object)),
        by_kind: shared.policy.health_by_kind,
        ..WaitOptions::default()
    };
    let mut waiting = Box::pin(wait_until_current(cluster, &targets, &options));
    // What is healthy already is known after one look, and nobody needs to hear of a check that is over.
    let at_once = tokio::select! {
        biased;
        result = &mut waiting => Some(result),
        () = tokio::time::sleep(std::time::Duration::from_secs(1)), if !run.is_eager() => None,
        () = std::future::ready(()), if run.is_eager() => None,
    };
    let result = if let Some(result) = at_once {
        Ok(result)
    } else {
        run.conditions
            .set(HEALTHY, Status::Unknown, "Progressing", &message);
        run.progress_now(&message).await?;
        let interrupted = run.interrupted();
        let cancels = shared.policy.cancel_health_checks;
        let stop = run.shutting_down();
        run.idle(async {
            tokio::select! {
                result = waiting => Ok(result),
                trigger = interrupted, if cancels => Err(Some(trigger)),
                () = stop.cancelled() => Err(None),
            }
        })
        .await
    };
    let metadata = metadata_of(source);
    let result = result.map_err(|trigger| {
        let Some(trigger) = trigger else {
            // The process ends; the next one looks at every object when it starts.
            let message = "health checks canceled, the controller is shutting down";
            return Failure::superseded("HealthCheckCanceled", message).quietly();
        };
        let by = format!("{}/{}/{}", trigger.kind, trigger.namespace, trigger.name);
        tracing::info!("New reconciliation triggered, canceling health checks");
        let message = format!("Health checks canceled due to new reconciliation triggered by {by}");
        run.event("HealthCheckCanceled", message, &metadata);
        Failure::superseded(
            "HealthCheckCanceled",
            format!("New reconciliation triggered by {by}"),
        )
        .quietly()
    })?;
    match result {
        Ok(found) => shared.memories.note_current(&run.key(), found),
        Err(error) => {
            run.conditions.set(
                HEALTHY,
                Status::False,
                "HealthCheckFailed",
                error.to_string(),
            );
            let message = format!(
                "health check failed after {}: {error}",
                GoDuration::from(started.elapsed())
            );
            return Err(Failure::retry(
                "HealthCheckFailed",
                message,
                Pace::Exactly(timings.retry),
            ));
        }
    }

    let message = format!(
        "Health check passed in {}",
        GoDuration::from(started.elapsed())
    );
    let is_new = run.status.last_applied_revision.as_ref() != Some(revision);
    let drifted = applied
        .changes
        .iter()
        .any(|change| change.action.is_change());
    if !was_healthy || (is_new && drifted) {
        run.event("Progressing", message.clone(), &metadata);
    }
    if !was_healthy
        || run.is_eager()
        || run
            .conditions
            .get(HEALTHY)
            .is_none_or(|healthy| healthy.status != Status::True)
    {
        run.conditions
            .set(HEALTHY, Status::True, "Succeeded", message);
    }
    Ok(())
}

/// The objects to wait for, or nothing where there is no health check (KC-HEALTH-001, KC-HEALTH-002). The Kustomization is
/// never among them: it would wait for its own end (KC-HEALTH-003).
fn targets(object: &Kustomization, applied: &ChangeSet) -> Option<Vec<Target>> {
    let mut targets = if object.spec.wait {
        applied_targets(applied)
    } else {
        named_targets(object)
    };
    if targets.is_empty() {
        return None;
    }
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    // Upstream does not compare the group.
    targets.retain(|Target { id, .. }| {
        id.kind != "Kustomization" || id.namespace != namespace || id.name != name
    });
    Some(targets)
}

fn applied_targets(applied: &ChangeSet) -> Vec<Target> {
    let waited = applied
        .changes
        .iter()
        .filter(|change| change.action != Action::Skipped);
    waited
        .map(|change| Target::of(&change.id, &change.version))
        .collect()
}

fn named_targets(object: &Kustomization) -> Vec<Target> {
    let references = object.spec.health_checks.iter();
    references
        .map(|reference| {
            let version = reference
                .api_version
                .as_deref()
                .filter(|version| !version.is_empty())
                .unwrap_or("apps/v1"); // KC-API-028
            let (group, _) = version.split_once('/').unwrap_or(("", version));
            let id = ObjectId {
                group: group.to_owned(),
                kind: reference.kind.clone(),
                namespace: reference.namespace.clone().unwrap_or_default(),
                name: reference.name.clone(),
            };
            Target { id, version: None } // KC-HEALTH-005: in the version that the server prefers
        })
        .collect()
}

/// Jobs that delete themselves when they are done (KC-HEALTH-010): those whose TTL is an integer, zero included.
fn jobs_with_ttl(built: &[Object]) -> BTreeSet<ObjectId> {
    let jobs = built.iter().filter(|object| {
        let ttl = object.at(&["spec", "ttlSecondsAfterFinished"]);
        object.group() == "batch"
            && object.kind() == "Job"
            && ttl.is_some_and(serde_json::Value::is_i64)
    });
    jobs.map(|object| object.id().clone()).collect()
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{HealthCheckReference, KustomizationSpec};
    use flux_apply::Change;

    use super::*;

    fn change(id: &str, action: Action) -> Change {
        Change {
            id: ObjectId::from_inventory_id(id).unwrap(),
            version: "v1".into(),
            action,
        }
    }

    fn kustomization(spec: KustomizationSpec) -> Kustomization {
        let mut object = Kustomization::new("apps", spec);
        object.metadata.namespace = Some("flux-system".into());
        object
    }

    /// The inventory ids of what is waited for.
    fn ids(spec: KustomizationSpec, applied: &ChangeSet) -> Option<Vec<String>> {
        let targets = targets(&kustomization(spec), applied)?;
        let ids = targets.iter().map(|target| target.id.inventory_id());
        Some(ids.collect())
    }

    fn check(version: &str, kind: &str, namespace: &str, name: &str) -> HealthCheckReference {
        HealthCheckReference {
            api_version: Some(version.to_owned()),
            kind: kind.to_owned(),
            name: name.to_owned(),
            namespace: Some(namespace.to_owned()),
        }
    }

    #[test]
    fn with_wait_everything_that_was_applied_is_waited_for() {
        // KC-HEALTH-001, KC-API-017
        let applied = ChangeSet {
            changes: vec![
                change("apps_web_apps_Deployment", Action::Created),
                change("apps_left__ConfigMap", Action::Skipped),
                change("apps_map__ConfigMap", Action::Unchanged),
            ],
        };
        let spec = KustomizationSpec {
            wait: true,
            health_checks: vec![check("", "Deployment", "", "other")],
            ..KustomizationSpec::default()
        };
        let found = ids(spec.clone(), &applied).unwrap();
        assert_eq!(found, ["apps_web_apps_Deployment", "apps_map__ConfigMap"]);
        assert_eq!(ids(spec, &ChangeSet::default()), None);
    }

    #[test]
    fn without_wait_only_the_named_objects_are_waited_for() {
        // KC-HEALTH-002, KC-API-028
        let applied = ChangeSet {
            changes: vec![change("apps_web_apps_Deployment", Action::Created)],
        };
        let named = |health_checks: Vec<HealthCheckReference>| {
            let spec = KustomizationSpec {
                health_checks,
                ..KustomizationSpec::default()
            };
            ids(spec, &applied)
        };
        assert_eq!(named(Vec::new()), None);
        let found = named(vec![
            check("", "Deployment", "", "one"),
            check("v1", "Pod", "ns", "two"),
        ]);
        assert_eq!(found.unwrap(), ["_one_apps_Deployment", "ns_two__Pod"]);
    }

    #[test]
    fn a_kustomization_does_not_wait_for_itself() {
        // KC-HEALTH-003
        const GROUP_VERSION: &str = "kustomize.toolkit.fluxcd.io/v1";
        let itself = "flux-system_apps_kustomize.toolkit.fluxcd.io_Kustomization";
        let others = [
            "other_apps_kustomize.toolkit.fluxcd.io_Kustomization",
            "flux-system_other_kustomize.toolkit.fluxcd.io_Kustomization",
        ];
        let changes = [itself, others[0], others[1]].map(|id| change(id, Action::Unchanged));
        let applied = ChangeSet {
            changes: changes.into(),
        };
        let wait = KustomizationSpec {
            wait: true,
            ..KustomizationSpec::default()
        };
        assert_eq!(ids(wait.clone(), &applied).unwrap(), others);
        let named = KustomizationSpec {
            health_checks: vec![
                check(GROUP_VERSION, "Kustomization", "flux-system", "apps"),
                check(GROUP_VERSION, "Kustomization", "other", "apps"),
                check(GROUP_VERSION, "Kustomization", "flux-system", "other"),
            ],
            ..KustomizationSpec::default()
        };
        assert_eq!(ids(named, &applied).unwrap(), others);
        // Where it is the only one the check passes at once, and is told of.
        let alone = ChangeSet {
            changes: vec![change(itself, Action::Unchanged)],
        };
        assert_eq!(ids(wait, &alone), Some(Vec::new()));
    }

    #[test]
    fn jobs_with_an_integer_as_their_ttl_may_be_gone() {
        // KC-HEALTH-010
        let object = |version: &str, kind: &str, spec: serde_json::Value| {
            let object = serde_json::json!({"apiVersion": version, "kind": kind,
                "metadata": {"name": "x", "namespace": "ns"}, "spec": spec});
            Object::new(object).unwrap()
        };
        let ttl = |value: serde_json::Value| serde_json::json!({"ttlSecondsAfterFinished": value});
        for (what, object, counts) in [
            ("a TTL", object("batch/v1", "Job", ttl(60.into())), true),
            ("zero", object("batch/v1", "Job", ttl(0.into())), true),
            (
                "an old version",
                object("batch/v1beta1", "Job", ttl(60.into())),
                true,
            ),
            (
                "no TTL",
                object("batch/v1", "Job", serde_json::json!({})),
                false,
            ),
            (
                "null",
                object("batch/v1", "Job", ttl(serde_json::Value::Null)),
                false,
            ),
            ("a text", object("batch/v1", "Job", ttl("60".into())), false),
            (
                "another kind",
                object("batch/v1", "CronJob", ttl(60.into())),
                false,
            ),
            (
                "another group",
                object("example.com/v1", "Job", ttl(60.into())),
                false,
            ),
        ] {
            let found = jobs_with_ttl(std::slice::from_ref(&object));
            assert_eq!(found.contains(object.id()), counts, "{what}");
        }
    }
}
