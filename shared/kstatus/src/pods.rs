//! Objects that are stuck when one of their pods is.

use jiff::Timestamp;
use serde_json::Value;

use crate::fields::{at, conditions};
use crate::generic::assess;
use crate::{Assessment, Error, Status};

/// Tells how a StatefulSet or ReplicaSet stands, given the pods that its selector finds (KC-HEALTH-025).
///
/// While it is on its way, a pod that is stuck makes it stuck, unless that pod is being deleted or waits for a node:
/// both pass by themselves.
///
/// # Errors
///
/// Where the status of the object has a form that the rules cannot read. A pod of such a form is left out.
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
