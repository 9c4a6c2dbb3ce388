//! Objects that count as failed when one of their pods has.

use jiff::Timestamp;
use serde_json::Value;

use crate::fields::{at, conditions};
use crate::generic::assess;
use crate::{Assessment, Error, Status};

/// Computes the status of a StatefulSet or ReplicaSet, given the pods that its selector matches (KC-HEALTH-025).
///
/// While it is in progress, a failed pod makes it failed, unless that pod is being deleted or unscheduled: both
/// conditions resolve on their own.
///
/// # Errors
///
/// If the status of the object has a form that the rules cannot read. A pod of such a form is ignored.
pub fn assess_owner_of_pods(
    object: &Value,
    pods: &[Value],
    now: Timestamp,
) -> Result<Assessment, Error> {
    let assessment = assess(object, now)?;
    if assessment.status != Status::InProgress {
        return Ok(assessment);
    }
    let stuck = pods.iter().filter(|pod| is_stuck(pod, now)).count();
    if stuck == 0 {
        return Ok(assessment);
    }
    Ok(Assessment {
        status: Status::Failed,
        reason: None,
        message: format!("{stuck} pods have failed"),
    })
}

fn is_stuck(pod: &Value, now: Timestamp) -> bool {
    assess(pod, now).is_ok_and(|assessment| assessment.status == Status::Failed)
        && at(pod, &["metadata", "deletionTimestamp"]).is_none_or(Value::is_null)
        && !waits_for_a_node(pod)
}

fn waits_for_a_node(pod: &Value) -> bool {
    conditions(pod).is_ok_and(|conditions| {
        let matches = |kind, status, reason| {
            (kind, status, reason) == ("PodScheduled", "False", "Unschedulable")
        };
        conditions
            .iter()
            .any(|condition| matches(condition.kind, condition.status, condition.reason))
    })
}
