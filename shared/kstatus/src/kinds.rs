//! The rules for Kubernetes' built-in kinds.

mod crd;
mod daemon_set;
mod deployment;
pub(crate) mod job;
mod pod;
mod replica_set;
mod stateful_set;

use jiff::Timestamp;
use serde_json::Value;

use crate::fields::text;
use crate::{Assessment, Error};

/// The status by the rules of the object's kind; `None` for other kinds.
pub(crate) fn assess(object: &Value, now: Timestamp) -> Result<Option<Assessment>, Error> {
    let (group, kind) = group_and_kind(object);
    let assessment = match (group, kind) {
        ("", "Secret" | "ConfigMap") | ("batch", "CronJob") => {
            Assessment::current("Resource is always ready")
        }
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => persistent_volume_claim(object),
        ("", "Pod") => pod::assess(object, now)?,
        ("apps", "StatefulSet") => stateful_set::assess(object),
        ("apps" | "extensions", "DaemonSet") => daemon_set::assess(object)?,
        ("apps" | "extensions", "Deployment") => deployment::assess(object)?,
        ("apps" | "extensions", "ReplicaSet") => replica_set::assess(object)?,
        // The common rules have checked that the generation is observed; the budget is computed with it.
        ("policy", "PodDisruptionBudget") => {
            Assessment::current("AllowedDisruptions has been computed.")
        }
        ("batch", "Job") => job::assess(object)?,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crd::assess(object)?,
        _ => return Ok(None),
    };
    Ok(Some(assessment))
}

/// The group and kind of an object.
pub(crate) fn group_and_kind(object: &Value) -> (&str, &str) {
    let api_version = text(object, &["apiVersion"], "");
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    (group, text(object, &["kind"], ""))
}

fn service(object: &Value) -> Assessment {
    let balanced = text(object, &["spec", "type"], "ClusterIP") == "LoadBalancer";
    if balanced && text(object, &["spec", "clusterIP"], "").is_empty() {
        return Assessment::in_progress(
            "NoIPAssigned",
            "ClusterIP not set. Service type: LoadBalancer",
        );
    }
    Assessment::current("Service is ready")
}

fn persistent_volume_claim(object: &Value) -> Assessment {
    match text(object, &["status", "phase"], "unknown") {
        "Bound" => Assessment::current("PVC is Bound"),
        phase => Assessment::in_progress("NotBound", format!("PVC is not Bound. phase: {phase}")),
    }
}
