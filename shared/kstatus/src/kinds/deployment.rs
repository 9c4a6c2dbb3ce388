//! Deployments: the progress of a rollout.

use serde_json::Value;

use crate::fields::{conditions, integer};
use crate::{Assessment, Error};

/// The value by which Kubernetes represents the absence of a deadline.
const NO_DEADLINE: i64 = i32::MAX as i64;

pub(super) fn assess(object: &Value) -> Result<Assessment, Error> {
    // Without a deadline the controller never reports that the rollout is complete, so it is not required.
    let mut rolled_out =
        integer(object, &["spec", "progressDeadlineSeconds"], NO_DEADLINE) == NO_DEADLINE;
    let mut is_available = false;
    for condition in conditions(object)? {
        match (condition.kind, condition.status, condition.reason) {
            ("Progressing", _, "ProgressDeadlineExceeded") => {
                return Ok(Assessment::failed(
                    condition.reason,
                    "Progress deadline exceeded",
                ));
            }
            ("Progressing", "True", "NewReplicaSetAvailable") => rolled_out = true,
            ("Available", "True", _) => is_available = true,
            _ => {}
        }
    }

    let wanted = integer(object, &["spec", "replicas"], 1);
    let count = |field| integer(object, &["status", field], 0);
    let (replicas, updated) = (count("replicas"), count("updatedReplicas"));
    let (ready, available) = (count("readyReplicas"), count("availableReplicas"));
    Ok(if wanted > replicas {
        Assessment::in_progress("LessReplicas", format!("Replicas: {replicas}/{wanted}"))
    } else if wanted > updated {
        Assessment::in_progress("LessUpdated", format!("Updated: {updated}/{wanted}"))
    } else if replicas > wanted {
        Assessment::in_progress(
            "ExtraPods",
            format!("Pending termination: {}", replicas - wanted),
        )
    } else if updated > available {
        Assessment::in_progress("LessAvailable", format!("Available: {available}/{updated}"))
    } else if wanted > ready {
        Assessment::in_progress("LessReady", format!("Ready: {ready}/{wanted}"))
    } else if !rolled_out {
        Assessment::in_progress("ReplicaSetNotAvailable", "ReplicaSet not Available")
    } else if !is_available {
        Assessment::in_progress("DeploymentNotAvailable", "Deployment not Available")
    } else {
        Assessment::current(format!("Deployment is available. Replicas: {replicas}"))
    })
}
