//! Remediation of a failed release: rollback (HC-ROLL rows) and uninstallation (HC-UNI-016, HC-UNI-017).

use flux_api::helm::{HelmRelease, ReleaseSnapshot};
use flux_helm::action::RollbackOptions;
use flux_release::Options;
use flux_runtime::Run;
use flux_runtime::conditions::Status;

use super::super::decision::Step;
use super::super::logs::Logs;
use super::super::metadata::{of_snapshot, with_token};
use super::super::pass::{ActionFailed, Pass, masked};
use super::super::reason::HelmReleaseReason as R;
use super::super::release::timeout;
use super::super::settings::{Attempt, Remediation};
use super::super::snapshot::{self, full_name, latest, versioned_chart};
use super::super::summary::{REMEDIATED, summarize};
use super::super::{counters, settings};
use super::make::take_inventory;
use super::uninstall::{Ended, Uninstalling, is_unchanged, not_stored};

/// Rolls the release back to the newest good one before it.
///
/// # Errors
/// Nothing was stored: only a retry helps (HC-ROLL-006).
pub(in super::super) async fn roll_back(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
) -> Result<(), ActionFailed> {
    let result = Box::pin(roll_back_to_previous(pass, run)).await;
    summarize(run, pass.tools.policy.digests);
    result
}

async fn roll_back_to_previous(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
) -> Result<(), ActionFailed> {
    let ignores_tests = Remediation::of(&pass.object, Attempt::Upgrade).ignores_tests;
    let current = latest(&run.status.history).cloned();
    let previous = snapshot::previous(&run.status.history, ignores_tests).cloned();
    let (Some(current), Some(previous)) = (current, previous) else {
        let text = "missing target release for rollback: required to rollback";
        return Err(ActionFailed(text.to_owned()));
    };
    if (&previous.name, &previous.namespace) != (&current.name, &current.namespace) {
        return Err(ActionFailed(format!(
            "release mismatch: previous release name or namespace {} does not match current {}",
            full_name(&previous),
            full_name(&current)
        )));
    }
    let logs = Logs::default();
    let object = &pass.object;
    let spec = object.spec.rollback.clone().unwrap_or_default();
    let helm3 = pass.tools.policy.helm3_defaults;
    let options = Options {
        timeout: timeout(object, Step::Rollback).to_std(),
        wait: settings::wait_strategy(object, spec.disable_wait, helm3),
        wait_for_jobs: !spec.disable_wait_for_jobs,
        force: spec.force, // without effect where objects are applied server-side
        ..Options::default()
    };
    let releaser = pass.releaser(&logs, &options);
    let options = RollbackOptions {
        revision: previous.version.into(),
        disable_hooks: spec.disable_hooks,
        apply_method: settings::later_method(spec.server_side_apply.as_ref()),
        cleanup_on_fail: spec.cleanup_on_fail,
        max_history: settings::max_history(object),
    };
    let result = match releaser.rollback(&previous.name, &options).await {
        Err(error) => Err(pass.failed(&error)),
        Ok(action) => {
            let performed = pass.perform(run, &releaser, action).await;
            let algorithm = pass.tools.policy.digests;
            for record in &performed.stored {
                snapshot::record_rollback(&mut run.status.history, record, algorithm);
            }
            // Its first write made the snapshot, its last one says what became of it (HC-ACT-081).
            if let Some(last) = performed.stored.last() {
                snapshot::update(&mut run.status.history, last, algorithm, "rollback");
                pass.remember(run, performed.newest, last);
                take_inventory(pass, run, last).await;
            }
            performed.result
        }
    };
    match result {
        Ok(()) => {
            report_rolled_back(pass, run, &previous);
            Ok(())
        }
        Err(error) => {
            report_not_rolled_back(pass, run, &previous, &error, &logs);
            if latest(&run.status.history).is_none_or(|now| now.digest == current.digest) {
                Err(error)
            } else {
                Ok(())
            }
        }
    }
}

/// HC-ROLL-005
pub(super) fn report_rolled_back(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    previous: &ReleaseSnapshot,
) {
    let message = format!(
        "Helm rollback to previous release {} with chart {} succeeded",
        full_name(previous),
        versioned_chart(previous)
    );
    run.conditions
        .set(REMEDIATED, Status::True, R::RollbackSucceeded, &*message);
    let about = with_token(previous, &pass.config_digest);
    run.event(R::RollbackSucceeded, message, &about);
}

/// HC-ROLL-006
fn report_not_rolled_back(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    previous: &ReleaseSnapshot,
    error: &ActionFailed,
    logs: &Logs,
) {
    let message = format!(
        "Helm rollback to previous release {} with chart {} failed: {error}",
        full_name(previous),
        versioned_chart(previous)
    );
    counters::count_failure(&mut run.status);
    run.conditions
        .set(REMEDIATED, Status::False, R::RollbackFailed, &*message);
    let about = with_token(previous, &pass.config_digest);
    let confidential = pass.target.cluster.confidential();
    let logged = masked(confidential, &pass.key, logs.behind(&message));
    run.warn(R::RollbackFailed, logged, &about);
}

/// Uninstalls the failed release. Ready keeps the failure (HC-UNI-017).
///
/// # Errors
/// Nothing was stored: only a retry helps.
pub(in super::super) async fn uninstall_to_remediate(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
) -> Result<(), ActionFailed> {
    let Some(current) = latest(&run.status.history).cloned() else {
        return Err(ActionFailed(
            "no latest release: required to uninstall".to_owned(),
        ));
    };
    let logs = Logs::default();
    let with = Uninstalling {
        tools: pass.tools,
        object: pass.object.clone(),
        key: pass.key.clone(),
        target: &pass.target,
        storage: pass.storage.clone(),
    };
    let ended = with
        .run(run, &current, "uninstall-remediation", &logs)
        .await;
    let (name, chart) = (full_name(&current), versioned_chart(&current));
    let result = match ended {
        Ended::NotFound => Err(ActionFailed(format!(
            "uninstall: Release not loaded: {}: release: not found",
            current.name
        ))),
        Ended::Already => Err(ActionFailed(format!(
            "the release named {:?} is already deleted",
            current.name
        ))),
        Ended::Ran(Ok(())) if is_unchanged(run, &current) => Err(not_stored()),
        Ended::Ran(result) => result,
    };
    let Err(error) = result else {
        let message =
            format!("Helm uninstall remediation for release {name} with chart {chart} succeeded");
        run.conditions
            .set(REMEDIATED, Status::True, R::UninstallSucceeded, &*message);
        let about = latest(&run.status.history).map(of_snapshot);
        run.event(R::UninstallSucceeded, message, &about.unwrap_or_default());
        return Ok(());
    };
    let message =
        format!("Helm uninstall remediation for release {name} with chart {chart} failed: {error}");
    counters::count_failure(&mut run.status);
    run.conditions
        .set(REMEDIATED, Status::False, R::UninstallFailed, &*message);
    let about = latest(&run.status.history).map(of_snapshot);
    let confidential = pass.target.cluster.confidential();
    let logged = masked(confidential, &pass.key, logs.behind(&message));
    run.warn(R::UninstallFailed, logged, &about.unwrap_or_default());
    if is_unchanged(run, &current) {
        Err(error)
    } else {
        Ok(())
    }
}
