//! The health of what was applied (KC-HEALTH rows).

use std::collections::BTreeSet;
use std::time::Instant;

use flux_api::kustomize::Kustomization;
use flux_api::meta::GoDuration;
use flux_apply::{
    Action, ChangeSet, Cluster, Object, ObjectId, Target, WaitOptions, wait_until_current,
};
use flux_runtime::conditions::Status;
use flux_runtime::{Failure, Pace, Run};
use kube::ResourceExt;

use super::plan::Timings;
use super::source::Resolved;
use super::{GROUP, Kustomizations, metadata_of, owner_selector};

/// Whether the objects of a Kustomization are healthy.
const HEALTHY: &str = "Healthy";

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
    let mut targets = targets(object, applied);
    if targets.is_empty() {
        run.conditions.remove(HEALTHY);
        return Ok(());
    }
    let itself = itself(object);
    targets.retain(|target| target.id != itself);
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
            .is_none_or(|healthy| healthy.status != "True")
    {
        run.conditions
            .set(HEALTHY, Status::True, "Succeeded", message);
    }
    Ok(())
}

/// The Kustomization as an object that it may have applied: it must not wait for itself (KC-HEALTH-003).
fn itself(object: &Kustomization) -> ObjectId {
    ObjectId {
        group: GROUP.to_owned(),
        kind: "Kustomization".to_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

/// The objects to wait for (KC-HEALTH-001, KC-HEALTH-002).
fn targets(object: &Kustomization, applied: &ChangeSet) -> Vec<Target> {
    if object.spec.wait {
        let waited = applied
            .changes
            .iter()
            .filter(|change| change.action != Action::Skipped);
        waited
            .map(|change| Target::of(&change.id, &change.version))
            .collect()
    } else {
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
}

/// Jobs that delete themselves when they are done (KC-HEALTH-010).
fn jobs_with_ttl(built: &[Object]) -> BTreeSet<ObjectId> {
    let jobs = built.iter().filter(|object| {
        object.group() == "batch"
            && object.kind() == "Job"
            && object.at(&["spec", "ttlSecondsAfterFinished"]).is_some()
    });
    jobs.map(Object::id).collect()
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

    #[test]
    fn what_is_waited_for() {
        // KC-HEALTH-001, KC-HEALTH-002, KC-HEALTH-003, KC-API-017, KC-API-028
        let applied = ChangeSet {
            changes: vec![
                change("apps_web_apps_Deployment", Action::Created),
                change("apps_left__ConfigMap", Action::Skipped),
                change(
                    "flux-system_apps_kustomize.toolkit.fluxcd.io_Kustomization",
                    Action::Unchanged,
                ),
            ],
        };
        let names = |wait: bool, checks: &[(&str, &str)]| {
            let check = |(version, name): &(&str, &str)| HealthCheckReference {
                api_version: Some((*version).to_owned()),
                kind: "Deployment".into(),
                name: (*name).to_owned(),
                ..HealthCheckReference::default()
            };
            let health_checks = checks.iter().map(check).collect();
            let mut object = Kustomization::new(
                "apps",
                KustomizationSpec {
                    wait,
                    health_checks,
                    ..KustomizationSpec::default()
                },
            );
            object.metadata.namespace = Some("flux-system".into());
            let itself = itself(&object);
            targets(&object, &applied)
                .into_iter()
                .filter(|target| target.id != itself)
                .map(|target| target.id.inventory_id())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(false, &[]), [""; 0]);
        assert_eq!(names(true, &[("", "other")]), ["apps_web_apps_Deployment"]);
        assert_eq!(names(false, &[("", "other")]), ["_other_apps_Deployment"]);
        assert_eq!(names(false, &[("v1", "other")]), ["_other__Deployment"]);
    }
}
