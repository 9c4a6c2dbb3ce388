//! The conditions that follow from the state of a release alone, without a step (HC-ACT-048 to HC-ACT-050).

use flux_api::helm::HelmRelease;
use flux_release::drift::Detected;
use flux_runtime::Run;
use flux_runtime::conditions::Status;

use super::decision::Next;
use super::pass::Pass;
use super::reason::HelmReleaseReason as R;
use super::settings::{Attempt, DriftMode};
use super::snapshot::{full_name, latest};
use super::state::State;
use super::summary::{DRIFTED, RELEASED, REMEDIATED, summarize};
use super::{settings, steps};

/// Sets the conditions that follow from the state alone (HC-ACT-048 to HC-ACT-050, HC-ACT-108, HC-DRIFT-012).
pub(super) fn set_state_conditions(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    state: State,
    drift: Option<&Detected>,
    next: Next,
) {
    let current = latest(&run.status.history).cloned();
    match state {
        State::InSync if next == Next::Done => {
            upgraded_by_rollback(run);
            released_after_all(pass, run);
            if settings::drift_mode(&pass.object) != DriftMode::Disabled {
                let message = "No drift detected against the cluster state";
                run.conditions
                    .set(DRIFTED, Status::False, R::NoDriftDetected, message);
            }
        }
        State::Untested => upgraded_by_rollback(run),
        State::Drifted => {
            let (Some(current), Some(drift)) = (current, drift) else {
                return;
            };
            let message = format!(
                "Cluster state of release {} has drifted from the desired state:\n{}",
                full_name(&current),
                drift.summary()
            );
            run.warn(R::DriftDetected, &*message, &[].into());
            run.conditions
                .set(DRIFTED, Status::True, R::DriftDetected, message);
        }
        _ => {}
    }
}

/// The release that a rollback made is the one that the spec wants now (HC-ACT-048).
fn upgraded_by_rollback(run: &mut Run<HelmRelease>) {
    let current = latest(&run.status.history).cloned();
    if let Some(current) = current.filter(|_| run.conditions.is_true(REMEDIATED)) {
        let message = steps::succeeded(Attempt::Upgrade, &current);
        run.conditions.replace(
            REMEDIATED,
            RELEASED,
            Status::True,
            R::UpgradeSucceeded,
            message,
        );
    }
}

/// The release is as wanted although its conditions say otherwise: an attempt whose result was not written, or one that is
/// not what is wanted any more (HC-ACT-049, HC-ACT-108).
fn released_after_all(pass: &Pass<'_>, run: &mut Run<HelmRelease>) {
    if run.conditions.is_true("Ready") && run.conditions.is_true(RELEASED) {
        return;
    }
    let Some(current) = latest(&run.status.history).cloned() else {
        return;
    };
    let reason = run.conditions.get(RELEASED).map(|c| c.reason.clone());
    let attempt = match reason.as_deref() {
        Some("InstallFailed") => Attempt::Install,
        Some("UpgradeFailed") => Attempt::Upgrade,
        None => match current
            .action
            .as_ref()
            .map(flux_api::helm::ReleaseAction::as_str)
        {
            Some("install") => Attempt::Install,
            _ => Attempt::Upgrade,
        },
        Some(_) => return,
    };
    let message = steps::succeeded(attempt, &current);
    run.conditions.set(
        RELEASED,
        Status::True,
        steps::success_reason(attempt),
        message,
    );
    summarize(run, pass.tools.policy.digests);
}
