//! DaemonSets: pods scheduled, updated, available and ready on every node.

use serde_json::Value;

use crate::fields::{integer, strict_integer, text};
use crate::{Assessment, Error};

pub(super) fn assess(object: &Value) -> Result<Assessment, Error> {
    // The common rules accept a missing generation; a DaemonSet that its controller has seen has both.
    let kind = text(object, &["kind"], "");
    for (path, reason) in [
        (["metadata", "generation"], "NoGeneration"),
        (["status", "observedGeneration"], "NoObservedGeneration"),
    ] {
        if strict_integer(object, &path)?.is_none() {
            return Ok(Assessment::in_progress(
                reason,
                format!("{kind} {} not found", path.join(".")),
            ));
        }
    }

    let count = |field| integer(object, &["status", field], 0);
    let desired = integer(object, &["status", "desiredNumberScheduled"], -1);
    let (current, updated) = (
        count("currentNumberScheduled"),
        count("updatedNumberScheduled"),
    );
    let (available, ready) = (count("numberAvailable"), count("numberReady"));
    Ok(if desired == -1 {
        Assessment::in_progress("NoDesiredNumber", "Missing .status.desiredNumberScheduled")
    } else if desired > current {
        Assessment::in_progress("LessCurrent", format!("Current: {current}/{desired}"))
    } else if desired > updated {
        Assessment::in_progress("LessUpdated", format!("Updated: {updated}/{desired}"))
    } else if desired > available {
        Assessment::in_progress("LessAvailable", format!("Available: {available}/{desired}"))
    } else if desired > ready {
        Assessment::in_progress("LessReady", format!("Ready: {ready}/{desired}"))
    } else {
        Assessment::current(format!(
            "All replicas scheduled as expected. Replicas: {desired}"
        ))
    })
}
