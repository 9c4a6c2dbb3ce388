//! The rules of Helm 3 for the readiness of objects (HC-WAIT-017).

use flux_helm::action::Object;
use serde_json::Value;

use crate::error::LegacyError;

/// The rule by which objects of a kind are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Pod,
    Job,
    Deployment,
    Claim,
    Service,
    DaemonSet,
    Definition,
    StatefulSet,
    /// A ReplicaSet or ReplicationController, whose Pods all have to be ready.
    Replicas,
    /// A Job of a hook.
    HookJob,
    /// A Pod of a hook.
    HookPod,
}

impl Rule {
    /// The rule for an object; `None` if it is always ready.
    pub(super) fn of(object: &Object, for_jobs: bool) -> Option<Self> {
        Some(match (object.api_version.as_str(), object.kind.as_str()) {
            ("v1", "Pod") => Self::Pod,
            ("batch/v1", "Job") if for_jobs => Self::Job,
            ("apps/v1", "Deployment") => Self::Deployment,
            ("v1", "PersistentVolumeClaim") => Self::Claim,
            ("v1", "Service") => Self::Service,
            ("apps/v1", "DaemonSet") => Self::DaemonSet,
            (
                "apiextensions.k8s.io/v1" | "apiextensions.k8s.io/v1beta1",
                "CustomResourceDefinition",
            ) => Self::Definition,
            ("apps/v1", "StatefulSet") => Self::StatefulSet,
            ("v1", "ReplicationController") | ("apps/v1", "ReplicaSet") => Self::Replicas,
            _ => return None,
        })
    }

    /// Whether an object is ready; `related` are the ReplicaSets of a Deployment, or the Pods of a ReplicaSet.
    pub(super) fn is_met(self, live: &Value, related: &[Value]) -> Result<bool, LegacyError> {
        Ok(match self {
            Self::Pod => has_condition(live, "Ready", "True"),
            Self::Job => return job_is_complete(live),
            Self::Deployment => deployment_is_ready(live, related),
            Self::Claim => live["status"]["phase"] == "Bound",
            Self::Service => service_is_ready(&live["spec"], &live["status"]),
            Self::DaemonSet => daemon_set_is_ready(live),
            Self::Definition => {
                has_condition(live, "Established", "True")
                    || has_condition(live, "NamesAccepted", "False")
            }
            Self::StatefulSet => stateful_set_is_ready(live),
            Self::HookJob => return hook_job_is_done(live),
            Self::HookPod => return hook_pod_is_done(live),
            Self::Replicas => {
                is_observed(live)
                    && related
                        .iter()
                        .all(|pod| has_condition(pod, "Ready", "True"))
            }
        })
    }
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64()
}

fn count(value: &Value) -> i64 {
    number(value).unwrap_or_default()
}

fn is_observed(live: &Value) -> bool {
    count(&live["status"]["observedGeneration"]) == count(&live["metadata"]["generation"])
}

fn has_condition(live: &Value, of_type: &str, status: &str) -> bool {
    let conditions = live["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == of_type && condition["status"] == status)
}

fn job_is_complete(live: &Value) -> Result<bool, LegacyError> {
    let (spec, status, metadata) = (&live["spec"], &live["status"], &live["metadata"]);
    if count(&status["failed"]) > number(&spec["backoffLimit"]).unwrap_or(6) {
        let namespace = metadata["namespace"].as_str().unwrap_or_default();
        return Err(LegacyError::JobFailed {
            namespace: namespace.to_owned(),
            name: name(live),
        });
    }
    let wanted = number(&spec["completions"]);
    Ok(wanted.is_none_or(|wanted| count(&status["succeeded"]) >= wanted))
}

fn hook_job_is_done(live: &Value) -> Result<bool, LegacyError> {
    let conditions = live["status"]["conditions"].as_array();
    for condition in conditions.into_iter().flatten() {
        let holds = condition["status"] == "True";
        if holds && condition["type"] == "Complete" {
            return Ok(true);
        }
        if holds && condition["type"] == "Failed" {
            let reason = condition["reason"].as_str().unwrap_or_default();
            return Err(LegacyError::HookJobFailed {
                name: name(live),
                reason: reason.to_owned(),
            });
        }
    }
    Ok(false)
}

fn hook_pod_is_done(live: &Value) -> Result<bool, LegacyError> {
    match live["status"]["phase"].as_str() {
        Some("Succeeded") => Ok(true),
        Some("Failed") => Err(LegacyError::HookPodFailed { name: name(live) }),
        _ => Ok(false),
    }
}

fn name(live: &Value) -> String {
    let name = live["metadata"]["name"].as_str();
    name.unwrap_or_default().to_owned()
}

/// The revision of a Deployment, which its ReplicaSets have as well.
const REVISION: &str = "deployment.kubernetes.io/revision";

/// A number, or a percentage of `total`, rounded up or down.
fn allowed(value: &Value, total: i64, up: bool) -> Option<i64> {
    if let Some(number) = number(value) {
        return Some(number);
    }
    let percent: i64 = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    let share = percent.checked_mul(total)?;
    Some(if up {
        share.checked_add(99)?.div_euclid(100)
    } else {
        share.div_euclid(100)
    })
}

fn deployment_is_ready(live: &Value, replica_sets: &[Value]) -> bool {
    let spec = &live["spec"];
    if spec["paused"] == true {
        return true;
    }
    let revision = &live["metadata"]["annotations"][REVISION];
    let is_new =
        |set: &&Value| !revision.is_null() && set["metadata"]["annotations"][REVISION] == *revision;
    let Some(set) = replica_sets.iter().find(is_new) else {
        return false;
    };
    let replicas = number(&spec["replicas"]).unwrap_or(1);
    let rolling = &spec["strategy"]["rollingUpdate"];
    let rolls = spec["strategy"]["type"] == "RollingUpdate" && replicas > 0;
    let unavailable = if rolls {
        let unavailable = allowed(&rolling["maxUnavailable"], replicas, false).unwrap_or_default();
        let surge = allowed(&rolling["maxSurge"], replicas, true).unwrap_or_default();
        // If neither is allowed, a rollout could not proceed.
        let least = i64::from(surge == 0);
        unavailable.clamp(least.min(replicas), replicas)
    } else {
        0
    };
    is_observed(set)
        && is_observed(live)
        && count(&set["status"]["readyReplicas"]) >= replicas - unavailable
}

fn service_is_ready(spec: &Value, status: &Value) -> bool {
    if spec["type"] == "ExternalName" {
        return true;
    }
    let is_filled = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    let has_address = spec["clusterIP"].as_str().is_some_and(|ip| !ip.is_empty());
    let balanced = spec["type"] != "LoadBalancer"
        || is_filled(&spec["externalIPs"])
        || is_filled(&status["loadBalancer"]["ingress"]);
    has_address && balanced
}

fn daemon_set_is_ready(live: &Value) -> bool {
    let (strategy, status) = (&live["spec"]["updateStrategy"], &live["status"]);
    if !is_observed(live) {
        return false;
    }
    if strategy["type"] != "RollingUpdate" {
        return true;
    }
    let desired = count(&status["desiredNumberScheduled"]);
    let unavailable = &strategy["rollingUpdate"]["maxUnavailable"];
    let unavailable = allowed(unavailable, desired, true).unwrap_or(desired);
    count(&status["updatedNumberScheduled"]) == desired
        && count(&status["numberReady"]) >= desired - unavailable
}

fn stateful_set_is_ready(live: &Value) -> bool {
    let (spec, status) = (&live["spec"], &live["status"]);
    if !is_observed(live) {
        return false;
    }
    let strategy = &spec["updateStrategy"];
    if strategy["type"] != "RollingUpdate" {
        return true;
    }
    let partition = count(&strategy["rollingUpdate"]["partition"]);
    let replicas = number(&spec["replicas"]).unwrap_or(1);
    count(&status["updatedReplicas"]) >= replicas - partition
        && count(&status["readyReplicas"]) == replicas
        && (partition != 0 || status["currentRevision"] == status["updateRevision"])
}

#[cfg(test)]
mod tests;
