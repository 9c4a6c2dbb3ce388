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
