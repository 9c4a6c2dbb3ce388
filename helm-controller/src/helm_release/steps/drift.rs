//! Corrects what has changed on the cluster since the release was made (HC-DRIFT-017 to HC-DRIFT-022).

use flux_api::helm::HelmRelease;
use flux_release::drift::{Corrected, Detected, correct as correct_drift};
use flux_runtime::Run;

use super::super::decision::Step;
use super::super::metadata::of_snapshot;
use super::super::pass::{Pass, masked};
use super::super::reason::HelmReleaseReason as R;
use super::super::release::timeout;
use super::super::snapshot::{full_name, latest};

/// Corrects the differences, and reports what was corrected and what could not be. A failure is no error of the pass: the
/// differences are found again.
pub(in super::super) async fn correct(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    detected: &Detected,
) {
    run.set_ready_unknown("correcting cluster drift");
    let limit = timeout(&pass.object, Step::CorrectDrift).to_std();
    let cluster = pass.target.cluster.within(limit);
    let corrected = correct_drift(&cluster, detected).await;
    let Some(current) = latest(&run.status.history).cloned() else {
        return;
    };
    let about = of_snapshot(&current);
    let confidential = pass.target.cluster.confidential();
    let masked = |text| masked(confidential, &pass.key, text);
    match message(&full_name(&current), &corrected) {
        Some((R::DriftCorrected, text)) => run.event(R::DriftCorrected, masked(text), &about),
        Some((reason, text)) => run.warn(reason, masked(text), &about),
        None => {}
    }
}

/// The reason and the message of the event (HC-DRIFT-020).
fn message(release: &str, corrected: &Corrected) -> Option<(R, String)> {
    let changes = corrected.changes.join("\n");
    if corrected.errors.is_empty() {
        let done = !corrected.changes.is_empty();
        let text = format!("Cluster state of release {release} has been corrected:\n{changes}");
        return done.then_some((R::DriftCorrected, text));
    }
    let partially = if changes.is_empty() { "" } else { "partially " };
    let mut text = format!(
        "Failed to {partially}correct cluster state of release {release}:\n{}",
        corrected.errors.join("\n")
    );
    if !changes.is_empty() {
        text.push_str("\n\nSuccessful corrections:\n");
        text.push_str(&changes);
    }
    Some((R::DriftCorrectionFailed, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    // HC-DRIFT-020
    #[test]
    fn corrections_and_failures_are_told_apart() {
        let corrected = |changes: &[&str], errors: &[&str]| Corrected {
            changes: changes.iter().map(ToString::to_string).collect(),
            errors: errors.iter().map(ToString::to_string).collect(),
        };
        let said =
            |changes: &[&str], errors: &[&str]| message("apps/web.v1", &corrected(changes, errors));
        assert_eq!(said(&[], &[]), None);
        assert_eq!(
            said(&["ConfigMap/apps/a created", "Secret/apps/b configured"], &[]),
            Some((
                R::DriftCorrected,
                "Cluster state of release apps/web.v1 has been corrected:\nConfigMap/apps/a created\nSecret/apps/b configured"
                    .to_owned()
            ))
        );
        assert_eq!(
            said(&[], &["no", "never"]),
            Some((
                R::DriftCorrectionFailed,
                "Failed to correct cluster state of release apps/web.v1:\nno\nnever".to_owned()
            ))
        );
        assert_eq!(
            said(&["ConfigMap/apps/a created"], &["no"]),
            Some((
                R::DriftCorrectionFailed,
                "Failed to partially correct cluster state of release apps/web.v1:\nno\n\nSuccessful corrections:\nConfigMap/apps/a created"
                    .to_owned()
            ))
        );
    }
}
