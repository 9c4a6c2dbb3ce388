//! The rules by which a single object is assessed.

use std::collections::BTreeMap;

use flux_kstatus::{Assessment, Status, assess, assess_job, assess_owner_of_pods};
use jiff::Timestamp;
use serde_json::Value;

use super::expressions::CustomRules;
use super::options::Rules;
use crate::object::{Object, ObjectId};

/// The rules of a wait, and the expressions that precede them.
pub(super) type AllRules<'r> = (Rules, &'r CustomRules);

/// Whether the object alone shows that it is current, so that no wait is needed. False for kinds whose status depends
/// on other objects.
pub fn is_current(object: &Object, rules: Rules) -> bool {
    let custom = &CustomRules::default();
    is_current_value((rules, custom), object.id(), &object.to_value())
}

/// Kinds that are current by what is applied: nothing gives them a status that the rules read.
const WITHOUT_STATUS: [(&str, &[&str]); 6] = [
    (
        "",
        &[
            "ConfigMap",
            "LimitRange",
            "Secret",
            "Service",
            "ServiceAccount",
        ],
    ),
    ("batch", &["CronJob"]),
    (
        "networking.k8s.io",
        &["Ingress", "IngressClass", "NetworkPolicy"],
    ),
    (
        "rbac.authorization.k8s.io",
        &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    ),
    ("scheduling.k8s.io", &["PriorityClass"]),
    ("storage.k8s.io", &["StorageClass"]),
];

/// Whether the answer to a write shows that the object is current and stays so as long as it is not written again, so
/// that it need not be read once more (KC-HEALTH-019, KC-HEALTH-020).
pub fn is_current_as_written(object: &Object) -> bool {
    let id = object.id();
    let is_without_status = WITHOUT_STATUS
        .iter()
        .any(|(group, kinds)| id.group == *group && kinds.contains(&&*id.kind));
    is_without_status && is_current(object, Rules::Complete)
}

/// As [`is_current`], for an object as JSON.
pub(super) fn is_current_value(rules: AllRules<'_>, id: &ObjectId, object: &Value) -> bool {
    let assessed = judge(rules, id, object, &BTreeMap::new(), Timestamp::now());
    assessed.is_ok_and(|assessment| assessment.status == Status::Current)
}

/// Whether the status of an object depends on its pods as well.
pub(super) fn owns_pods(id: &ObjectId) -> bool {
    id.group == "apps" && matches!(id.kind.as_str(), "StatefulSet" | "ReplicaSet")
}

/// Assesses an object, and its pods if it has any.
///
/// # Errors
///
/// If a field that the rules read does not have the type that its kind defines, or an expression has no value.
pub(super) fn judge(
    (rules, custom): AllRules<'_>,
    id: &ObjectId,
    object: &Value,
    pods: &BTreeMap<String, Value>,
    now: Timestamp,
) -> Result<Assessment, String> {
    if let Some(status) = custom.assess(id, object) {
        let status = status.map_err(|error| error.to_string())?;
        return Ok(Assessment {
            status,
            reason: None,
            message: String::new(),
        });
    }
    if id.group == "batch" && id.kind == "Job" && rules != Rules::Running {
        return assess_job(object).map_err(|error| error.to_string());
    }
    if rules == Rules::Hook {
        return Ok(assess_hook(id, object));
    }
    if owns_pods(id) {
        let pods: Vec<Value> = pods.values().cloned().collect();
        return assess_owner_of_pods(object, &pods, now).map_err(|error| error.to_string());
    }
    assess(object, now).map_err(|error| error.to_string())
}

/// A Pod that is run as a hook has to complete; anything else is ready once it exists.
fn assess_hook(id: &ObjectId, object: &Value) -> Assessment {
    let (status, message) = match object.pointer("/status/phase").and_then(Value::as_str) {
        _ if !id.group.is_empty() || id.kind != "Pod" => (Status::Current, "is current"),
        Some("Succeeded") => (Status::Current, "succeeded"),
        Some("Failed") => (Status::Failed, "failed"),
        _ => (Status::InProgress, "in progress"),
    };
    Assessment {
        status,
        reason: None,
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_without_a_status_are_current_as_they_are_written() {
        let is_current = |api_version: &str, kind: &str, rest: Value| {
            let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "uid": "u"}});
            let (Value::Object(fields), Value::Object(rest)) = (&mut object, rest) else {
                unreachable!()
            };
            fields.extend(rest);
            is_current_as_written(&Object::new(object).unwrap())
        };
        // KC-HEALTH-019
        assert!(is_current("v1", "ConfigMap", json!({})));
        assert!(is_current("batch/v1", "CronJob", json!({})));
        // KC-HEALTH-020
        let balancer =
            |address: Value| json!({"spec": {"type": "LoadBalancer", "clusterIP": address}});
        assert!(is_current(
            "v1",
            "Service",
            json!({"spec": {"clusterIP": "10.0.0.1"}})
        ));
        assert!(is_current("v1", "Service", balancer(json!("10.0.0.1"))));
        assert!(!is_current("v1", "Service", balancer(json!(""))));
        // KC-HEALTH-014
        let deleted =
            json!({"metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert!(!is_current("v1", "ConfigMap", deleted));
        // Their status comes later.
        assert!(!is_current(
            "apps/v1",
            "Deployment",
            json!({"spec": {"replicas": 0}})
        ));
        assert!(!is_current("example.com/v1", "ConfigMap", json!({})));
        assert!(!is_current("example.com/v1", "Widget", json!({})));
    }
}
