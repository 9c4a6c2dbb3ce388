//! The counters of failures, and requests by annotation (HC-ACT-029 to HC-ACT-032).

use flux_api::helm::{HelmRelease, HelmReleaseStatus};
use flux_helm::{Values, is_config_of};
use flux_runtime::run::REQUESTED_AT;
use kube::ResourceExt as _;

/// The annotation that asks for an attempt although nothing has changed (RT-ANN-003).
const FORCE_AT: &str = "reconcile.fluxcd.io/forceAt";
/// The annotation that asks to forget the failures (RT-ANN-004).
const RESET_AT: &str = "reconcile.fluxcd.io/resetAt";

/// Sets all counters back to zero.
pub(super) fn clear(status: &mut HelmReleaseStatus) {
    status.failures = None;
    status.install_failures = None;
    status.upgrade_failures = None;
}

/// Counts a failure of any action.
pub(super) fn count_failure(status: &mut HelmReleaseStatus) {
    status.failures = Some(status.failures.unwrap_or_default().saturating_add(1));
}

/// Why the counters are set back, if they are (HC-ACT-029). A request to do so counts as handled in any case (HC-ACT-031).
pub(super) fn reset_reason(
    object: &HelmRelease,
    status: &mut HelmReleaseStatus,
    chart_version: &str,
    values: &Values,
) -> Option<&'static str> {
    let requested = is_requested(object, RESET_AT, &mut status.last_handled_reset_at);
    let generation = object.metadata.generation.unwrap_or_default();
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    if status.last_attempted_generation.unwrap_or_default() != generation {
        return Some("generation differs from last attempt");
    }
    if text(&status.last_attempted_revision) != chart_version {
        return Some("chart version differs from last attempt");
    }
    let (digest, checksum) = (
        text(&status.last_attempted_config_digest),
        text(&status.last_attempted_values_checksum),
    );
    let digest = match (digest.is_empty(), checksum.is_empty()) {
        (false, _) => Some(digest),
        (true, false) => Some(format!("sha1:{checksum}")),
        (true, true) => None,
    };
    if digest.is_some_and(|digest| !is_config_of(&digest, values)) {
        return Some("values differ from last attempt");
    }
    requested.then_some("reset requested through annotation")
}

/// Whether an attempt is requested by annotation; the request counts as handled from here on (HC-ACT-032).
pub(super) fn is_forced(object: &HelmRelease, status: &mut HelmReleaseStatus) -> bool {
    is_requested(object, FORCE_AT, &mut status.last_handled_force_at)
}

/// Whether the annotation asks for something that no run has done yet: it has the value of the request for a reconcile, and
/// neither was handled.
fn is_requested(object: &HelmRelease, annotation: &str, handled: &mut Option<String>) -> bool {
    let Some(asked) = object.annotations().get(annotation) else {
        return false;
    };
    let before = handled.replace(asked.clone());
    let Some(requested) = object.annotations().get(REQUESTED_AT) else {
        return false;
    };
    let status = object.status.as_ref();
    let reconciled = status.and_then(|status| status.last_handled_reconcile_at.as_ref());
    asked == requested && before.as_ref() != Some(asked) && reconciled != Some(requested)
}

#[cfg(test)]
mod tests;
