//! Corrects drift: creates objects that are missing and patches those that have changed.

use flux_apply::order::apply_order;
use flux_cluster::{Cluster, RequestError};

use super::difference::{Difference, Kind};
use super::{Detected, masking};

/// What was corrected, and what failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corrected {
    /// The corrected objects in order, each as `Kind/namespace/name created` or `... configured` (HC-DRIFT-020).
    pub changes: Vec<String>,
    /// The texts of the errors.
    pub errors: Vec<String>,
}

impl Corrected {
    /// The lines of the corrected objects, each with a line break, as in upstream's events.
    pub fn lines(&self) -> String {
        let lines = self.changes.iter().map(|change| format!("{change}\n"));
        lines.collect()
    }
}

/// Creates what is missing, then patches what has changed, each in the order in which objects are applied, also after
/// errors (HC-DRIFT-017). Neither writes a record nor runs hooks (HC-DRIFT-018). The caller bounds the time.
pub async fn correct(cluster: &Cluster, detected: &Detected) -> Corrected {
    let mut corrected = Corrected::default();
    for (is_kind, action) in [
        (is_removed as fn(&Difference) -> bool, "created"),
        (is_changed, "configured"),
    ] {
        let differences = detected.differences.iter();
        let mut differences: Vec<&Difference> = differences.filter(|each| is_kind(each)).collect();
        differences.sort_by(|left, right| apply_order(left.object(), right.object()));
        for difference in differences {
            let object = difference.object();
            match restore(cluster, difference).await {
                Ok(()) => corrected.changes.push(format!("{object} {action}")),
                Err(text) => corrected.errors.push(text),
            }
        }
    }
    corrected
}

fn is_removed(difference: &Difference) -> bool {
    difference.kind == Kind::Removed
}

fn is_changed(difference: &Difference) -> bool {
    matches!(difference.kind, Kind::Changed { .. })
}

async fn restore(cluster: &Cluster, difference: &Difference) -> Result<(), String> {
    let (object, desired) = (difference.object(), &difference.desired);
    let cluster = &masking(cluster, [Some(desired), difference.live.as_ref()]);
    let Some(resource) = &difference.resource else {
        return Ok(()); // only excluded objects have none
    };
    if is_removed(difference) {
        let created = cluster.create(resource, desired).await;
        return created
            .map(drop)
            .map_err(|error| format!("{object} creation failure: {error}"));
    }
    let patch = difference.patch.iter();
    let patch = patch.map(flux_apply::json_diff::Operation::to_json);
    let patched = cluster.json_patch(resource, object, patch.collect()).await;
    patched.map(drop).map_err(|error| {
        let text = if object.kind == "Secret" {
            reason_of(&error)
        } else {
            error.to_string()
        };
        format!("{object} patch failure: {text}")
    })
}

/// Only the reason that a Secret is invalid: what precedes it may quote values (HC-DRIFT-021).
fn reason_of(error: &RequestError) -> String {
    let text = error.to_string();
    match text.rsplit_once(':') {
        Some((_, reason)) if error.reason == "Invalid" => reason.trim().to_owned(),
        _ => text,
    }
}
