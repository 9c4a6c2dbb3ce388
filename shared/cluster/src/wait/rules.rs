//! The rules by which a single object is assessed.

use std::collections::BTreeMap;

use flux_kstatus::{Assessment, Status, assess, assess_job, assess_owner_of_pods};
use jiff::Timestamp;
use serde_json::Value;

use super::options::Rules;
use crate::object::{Object, ObjectId};

/// Whether the object alone shows that it is current, so that no wait is needed. False for kinds whose status depends
/// on other objects.
pub fn is_current(object: &Object, rules: Rules) -> bool {
    is_current_value(rules, object.id(), &object.to_value())
}

/// As [`is_current`], for an object as JSON.
pub(super) fn is_current_value(rules: Rules, id: &ObjectId, object: &Value) -> bool {
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
/// If a field that the rules read does not have the type that its kind defines.
pub(super) fn judge(
    rules: Rules,
    id: &ObjectId,
    object: &Value,
    pods: &BTreeMap<String, Value>,
    now: Timestamp,
) -> Result<Assessment, flux_kstatus::Error> {
    if id.group == "batch" && id.kind == "Job" && rules != Rules::Running {
        return assess_job(object);
    }
    if rules == Rules::Hook {
        return Ok(assess_hook(id, object));
    }
    if owns_pods(id) {
        let pods: Vec<Value> = pods.values().cloned().collect();
        return assess_owner_of_pods(object, &pods, now);
    }
    assess(object, now)
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
