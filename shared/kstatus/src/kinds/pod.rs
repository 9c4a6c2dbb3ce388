//! Pods: phase, scheduling and crash loops.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::fields::{at, conditions, text};
use crate::{Assessment, Error};

/// How long a pod may be unschedulable before it counts as failed.
const SCHEDULE_WINDOW: SignedDuration = SignedDuration::from_secs(15);

pub(super) fn assess(object: &Value, now: Timestamp) -> Result<Assessment, Error> {
    let conditions = conditions(object)?;
    let has = |kind, status| {
        conditions
            .iter()
            .find(|found| found.kind == kind && found.status == status)
    };
    Ok(match text(object, &["status", "phase"], "") {
        "Succeeded" => Assessment::current("Pod has completed successfully"),
        "Failed" => Assessment::current("Pod has completed, but not successfully"),
        "Running" if has("Ready", "True").is_some() => Assessment::current("Pod is Ready"),
        "Running" => match crash_looping(object).join(",") {
            names if names.is_empty() => {
                Assessment::in_progress("PodRunningNotReady", "Pod is running but is not Ready")
            }
            names => Assessment::failed(
                "ContainerCrashLooping",
                format!("Containers in CrashLoop state: {names}"),
            ),
        },
        "Pending" => match has("PodScheduled", "False") {
            Some(condition) if condition.reason == "Unschedulable" => {
                if is_young(object, now) {
                    Assessment::in_progress("PodNotScheduled", "Pod has not been scheduled")
                } else {
                    Assessment::failed("PodUnschedulable", "Pod could not be scheduled")
                }
            }
            _ => Assessment::in_progress("PodPending", "Pod is in the Pending phase"),
        },
        "" => Assessment::in_progress("PodNotObserved", "Pod phase not available"),
        phase => return Err(Error::UnknownPhase(phase.to_owned())),
    })
}

fn is_young(object: &Value, now: Timestamp) -> bool {
    let created: Option<Timestamp> = text(object, &["metadata", "creationTimestamp"], "")
        .parse()
        .ok();
    created.is_some_and(|created| now.duration_since(created) < SCHEDULE_WINDOW)
}

fn crash_looping(object: &Value) -> Vec<&str> {
    let statuses = at(object, &["status", "containerStatuses"]).and_then(Value::as_array);
    statuses
        .into_iter()
        .flatten()
        .filter(|status| text(status, &["state", "waiting", "reason"], "") == "CrashLoopBackOff")
        .filter_map(|status| status.get("name").and_then(Value::as_str))
        .collect()
}
