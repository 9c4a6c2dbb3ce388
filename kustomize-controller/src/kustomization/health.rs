//! Health checks of the applied objects (KC-HEALTH rows).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use flux_api::kustomize::Kustomization;
use flux_api::meta::GoDuration;
use flux_apply::{Action, ChangeSet};
use flux_cluster::{
    Cluster, CustomRules, CustomRulesError, ObjectId, Target, Version, WaitError, WaitOptions,
    wait_until_current,
};
use flux_runtime::conditions::{ConditionType, Status};
use flux_runtime::queue::{Key, Trigger};
use flux_runtime::run::{Cancel, Canceled};
use flux_runtime::{Failure, Run};

use super::plan::Plan;
use super::reason::KustomizationReason;

/// Condition: whether the objects of a Kustomization are healthy.
pub(super) const HEALTHY: ConditionType = ConditionType::new("Healthy");

/// How long a routine run waits before it reports that it waits: objects that are already healthy need one look.
const SILENCE: Duration = Duration::from_secs(1);

/// Why a health check failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum HealthError {
    /// The process is shutting down. The next process checks every object when it starts.
    #[error("health checks canceled, the controller is shutting down")]
    ShuttingDown,
    /// A change requires a new run (KC-HEALTH-011).
    #[error("New reconciliation triggered by {by}")]
    Canceled {
        /// Kind, namespace and name of the object that changed.
        by: String,
    },
    #[error("health check failed after {}", GoDuration::from(*.took))]
    NotReady {
        took: Duration,
        #[source]
        source: WaitError,
    },
    /// The progress could not be written to the status.
    #[error("{}", .0.cause)]
    Status(Box<Failure>),
}

/// The expressions of `spec.healthCheckExprs` cannot be used (KC-PROC-063).
#[derive(Debug, thiserror::Error)]
#[error("Reconciliation failed terminally due to configuration error")]
pub(super) struct InvalidRules(#[from] CustomRulesError);

/// The rules of `spec.healthCheckExprs`. Without impersonation and on the own cluster they do not apply to Jobs
/// (KC-HEALTH-031).
///
/// # Errors
/// An expression cannot be compiled, or two entries are for one kind.
pub(super) fn rules(
    object: &Kustomization,
    impersonates: bool,
) -> Result<CustomRules, InvalidRules> {
    let spec = &object.spec;
    let rules = CustomRules::compile(&spec.health_check_exprs)?;
    if impersonates || spec.kube_config.is_some() {
        Ok(rules)
    } else {
        Ok(rules.except_jobs())
    }
}

/// A health check before it starts.
pub(super) struct Check {
    targets: Vec<Target>,
    /// Whether a run with new work reports the check, however short it is (KC-HEALTH-004).
    is_reported: bool,
    options: WaitOptions,
    was_healthy: bool,
    started: Instant,
}

impl Check {
    /// A check of `targets`; `jobs_with_ttl` are the Jobs among them that are deleted automatically.
    pub(super) fn new(
        run: &Run<Kustomization>,
        plan: &Plan<'_>,
        targets: Vec<Target>,
        is_reported: bool,
        jobs_with_ttl: &BTreeSet<ObjectId>,
    ) -> Self {
        let options = WaitOptions {
            timeout: plan.timings.timeout,
            fail_fast: plan.policy.fail_fast,
            jobs_with_ttl: jobs_with_ttl.clone(),
            selector: plan.spec().wait.then(|| plan.selector()),
            by_kind: plan.policy.health_by_kind,
            custom: plan.health_rules.clone(),
            causes: true,
            ..WaitOptions::default()
        };
        Self {
            targets,
            is_reported,
            options,
            was_healthy: run.conditions.is_true(HEALTHY),
            started: Instant::now(),
        }
    }

    /// Waits without a worker permit until all targets are healthy (KC-HEALTH-001..011). Returns the versions in which they
    /// were found healthy.
    pub(super) async fn wait(
        &self,
        run: &mut Run<Kustomization>,
        plan: &Plan<'_>,
        cluster: &Cluster,
    ) -> Result<Vec<(ObjectId, Version)>, HealthError> {
        let mut waiting = Box::pin(wait_until_current(cluster, &self.targets, &self.options));
        let reports = self.is_reported && run.is_eager();
        let at_once = tokio::select! {
            biased;
            () = std::future::ready(()), if reports => None,
            result = &mut waiting => Some(result),
            () = tokio::time::sleep(SILENCE) => None,
        };
        let result = match at_once {
            Some(result) => result,
            None => watched(run, plan, waiting).await?,
        };
        result.map_err(|source| {
            let (reason, message) = (KustomizationReason::HealthCheckFailed, source.to_string());
            run.conditions.set(HEALTHY, Status::False, reason, message);
            let took = self.started.elapsed();
            HealthError::NotReady { took, source }
        })
    }

    /// Reports that the check passed, unless that is known already.
    pub(super) fn passed(
        &self,
        run: &mut Run<Kustomization>,
        plan: &Plan<'_>,
        applied: &ChangeSet,
    ) {
        let took = GoDuration::from(self.started.elapsed());
        let message = format!("Health check passed in {took}");
        let is_new = run.status.last_applied_revision.as_deref() != Some(plan.revision());
        let mut changes = applied.changes.iter();
        let drifted = changes.any(|change| change.action.is_change());
        if !self.was_healthy || (is_new && drifted) {
            let reason = KustomizationReason::Progressing;
            run.event(reason, message.clone(), &plan.metadata);
        }
        if !self.was_healthy || run.is_eager() || !run.conditions.is_true(HEALTHY) {
            let reason = KustomizationReason::Succeeded;
            run.conditions.set(HEALTHY, Status::True, reason, message);
        }
    }
}

/// Awaits `waiting` and reports progress in the status. Ends early on shutdown or when a new run is required.
async fn watched<T>(
    run: &mut Run<Kustomization>,
    plan: &Plan<'_>,
    waiting: impl Future<Output = T>,
) -> Result<T, HealthError> {
    let message = plan.doing("Running health checks");
    let reason = KustomizationReason::Progressing;
    run.conditions
        .set(HEALTHY, Status::Unknown, reason, &*message);
    // At once, since it writes the inventory of what was applied (KC-PRUNE-002).
    run.progress_now(message)
        .await
        .map_err(|failure| HealthError::Status(Box::new(failure)))?;
    let cancel = if plan.policy.cancel_health_checks {
        Cancel::OnTrigger
    } else {
        Cancel::OnShutdownOnly
    };
    run.wait(waiting, cancel).await.map_err(Into::into)
}

impl From<Canceled> for HealthError {
    fn from(canceled: Canceled) -> Self {
        match canceled {
            Canceled::ShuttingDown => Self::ShuttingDown,
            Canceled::Triggered(Trigger {
                kind,
                namespace,
                name,
                ..
            }) => Self::Canceled {
                by: format!("{kind}/{namespace}/{name}"),
            },
        }
    }
}

/// The objects to wait for; `None` without health checks (KC-HEALTH-001, KC-HEALTH-002). The Kustomization itself is never
/// among them: it would wait for its own end (KC-HEALTH-003).
pub(super) fn targets(object: &Kustomization, applied: &ChangeSet) -> Option<Vec<Target>> {
    let mut targets = if object.spec.wait {
        applied_targets(applied)
    } else {
        named_targets(object)
    };
    if targets.is_empty() {
        return None;
    }
    let own = Key::of(object);
    // Upstream does not compare the group.
    targets.retain(|Target { id, .. }| {
        id.kind != "Kustomization" || id.namespace != own.namespace || id.name != own.name
    });
    Some(targets)
}

fn applied_targets(applied: &ChangeSet) -> Vec<Target> {
    let waited = applied
        .changes
        .iter()
        .filter(|change| change.action != Action::Skipped);
    waited.map(|change| applied.target(change)).collect()
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
            // KC-HEALTH-005: in the version that the server prefers
            Target {
                id,
                version: None,
                stored: None,
            }
        })
        .collect()
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

    /// The inventory ids of the targets.
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
    fn wait_includes_all_applied_objects() {
        // KC-HEALTH-001, KC-API-017
        let applied = ChangeSet::from(vec![
            change("apps_web_apps_Deployment", Action::Created),
            change("apps_left__ConfigMap", Action::Skipped),
            change("apps_map__ConfigMap", Action::Unchanged),
        ]);
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
    fn without_wait_only_listed_objects_are_checked() {
        // KC-HEALTH-002, KC-API-028
        let applied = ChangeSet::from(vec![change("apps_web_apps_Deployment", Action::Created)]);
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
        let applied = ChangeSet::from(changes.to_vec());
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
        // If it is the only target, the check passes at once and is reported.
        let alone = ChangeSet::from(vec![change(itself, Action::Unchanged)]);
        assert_eq!(ids(wait, &alone), Some(Vec::new()));
    }
}
