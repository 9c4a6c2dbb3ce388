//! StatefulSets: ready, current and updated replicas by update strategy.

use serde_json::Value;

use crate::Assessment;
use crate::fields::{integer, text};

pub(super) fn assess(object: &Value) -> Assessment {
    if text(object, &["spec", "updateStrategy", "type"], "") == "OnDelete" {
        return Assessment::current("StatefulSet is using the ondelete update strategy");
    }
    let wanted = integer(object, &["spec", "replicas"], 1);
    let partition = integer(
        object,
        &["spec", "updateStrategy", "rollingUpdate", "partition"],
        -1,
    );
    let count = |field| integer(object, &["status", field], 0);
    let (replicas, ready) = (count("replicas"), count("readyReplicas"));
    let (current, updated) = (count("currentReplicas"), count("updatedReplicas"));

    if wanted > replicas {
        return Assessment::in_progress("LessReplicas", format!("Replicas: {replicas}/{wanted}"));
    }
    if wanted > ready {
        return Assessment::in_progress("LessReady", format!("Ready: {ready}/{wanted}"));
    }
    if replicas > wanted {
        return Assessment::in_progress(
            "ExtraPods",
            format!("Pending termination: {}", replicas - wanted),
        );
    }
    if partition != -1 {
        let above = wanted.saturating_sub(partition);
        if updated < above {
            return Assessment::in_progress(
                "PartitionRollout",
                format!("updated: {updated}/{above}"),
            );
        }
        return Assessment::current(format!("Partition rollout complete. updated: {updated}"));
    }
    if wanted > current {
        return Assessment::in_progress("LessCurrent", format!("current: {current}/{wanted}"));
    }
    if text(object, &["status", "currentRevision"], "")
        != text(object, &["status", "updateRevision"], "")
    {
        return Assessment::in_progress(
            "RevisionMismatch",
            "Waiting for updated revision to match current",
        );
    }
    Assessment::current(format!(
        "All replicas scheduled as expected. Replicas: {replicas}"
    ))
}
