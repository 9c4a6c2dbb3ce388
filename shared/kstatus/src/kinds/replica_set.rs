//! ReplicaSets: labelled, available and ready replicas.

use serde_json::Value;

use crate::fields::{conditions, integer};
use crate::{Assessment, Error};

pub(super) fn assess(object: &Value) -> Result<Assessment, Error> {
    let fails = |kind, status| kind == "ReplicaFailure" && status == "True";
    if conditions(object)?
        .iter()
        .any(|condition| fails(condition.kind, condition.status))
    {
        return Ok(Assessment::in_progress(
            "ReplicaFailure",
            "Replica Failure condition. Check Pods",
        ));
    }
    let wanted = integer(object, &["spec", "replicas"], 1);
    let count = |field| integer(object, &["status", field], 0);
    let (replicas, labelled) = (count("replicas"), count("fullyLabeledReplicas"));
    let (available, ready) = (count("availableReplicas"), count("readyReplicas"));
    Ok(if wanted > labelled {
        Assessment::in_progress("LessLabelled", format!("Labelled: {labelled}/{wanted}"))
    } else if wanted > available {
        Assessment::in_progress("LessAvailable", format!("Available: {available}/{wanted}"))
    } else if wanted > ready {
        Assessment::in_progress("LessReady", format!("Ready: {ready}/{wanted}"))
    } else if replicas > wanted {
        Assessment::in_progress(
            "ExtraPods",
            format!("Pending termination: {}", replicas - wanted),
        )
    } else {
        Assessment::current(format!("ReplicaSet is available. Replicas: {replicas}"))
    })
}
