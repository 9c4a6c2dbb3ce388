//! Continues behind an attempt whose process ended before it could record the result: the record is taken into the history as
//! that process would have done, instead of making another revision.

use flux_api::helm::HelmRelease;
use flux_helm::{Release, Status as ReleaseStatus, config_digest};
use flux_release::RecordsError;
use flux_runtime::Run;
use flux_runtime::conditions::Status;

use super::super::counters;
use super::super::decision::Step;
use super::super::pass::Pass;
use super::super::settings::{self, Attempt, Remediation};
use super::super::snapshot::{self, latest};
use super::super::summary::{RELEASED, REMEDIATED, TEST_SUCCESS, summarize};
use super::failure_reason;
use super::make::{report_made, take_inventory};
use super::remediate::report_rolled_back;

/// Takes the newest record into the history if it is the result of the step that was interrupted: newer than all that is
/// known, finished, and of this chart and these values, or of those that the step rolled back to. Returns whether it is.
///
/// # Errors
/// The records cannot be read.
pub(in super::super) async fn resume(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    step: Step,
) -> Result<bool, RecordsError> {
    match step {
        Step::Install => attempted(pass, run, Attempt::Install).await,
        Step::Upgrade => attempted(pass, run, Attempt::Upgrade).await,
        Step::Rollback => rolled_back(pass, run).await,
        _ => Ok(false),
    }
}

async fn attempted(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
    attempt: Attempt,
) -> Result<bool, RecordsError> {
    let records = pass.records();
    let Some(record) = records.last(&pass.name).await? else {
        return Ok(false);
    };
    if !is_result(pass, run, &record) {
        return Ok(false);
    }
    let algorithm = pass.tools.policy.digests;
    let older = latest(&run.status.history).map(|known| i64::from(known.version));
    let mut stored = Vec::new();
    if let Some(older) = older.filter(|_| attempt == Attempt::Upgrade) {
        stored.extend(records.get(&pass.name, older).await?);
    }
    stored.push(record.clone());
    if attempt == Attempt::Install {
        run.status.history.clear();
    }
    run.status.last_attempted_release_action = Some(attempt.action());
    run.conditions.remove(TEST_SUCCESS);
    run.conditions.remove(REMEDIATED);
    let (action, digest) = (attempt.action(), &pass.loaded.oci_digest);
    let history = &mut run.status.history;
    snapshot::record(history, &stored, algorithm, action.as_str(), digest);
    take_inventory(pass, run, &record).await;
    if record.status() == ReleaseStatus::Deployed {
        if let Some(current) = latest(&run.status.history).cloned() {
            report_made(pass, run, attempt, &current);
        }
    } else {
        let info = record.info.as_ref();
        let why = info.map(|info| info.description.as_str());
        let chart = &pass.loaded.chart.chart().metadata;
        let message = format!(
            "Helm {} failed for release {}/{} with chart {}@{}: {}",
            attempt.word(),
            pass.namespace,
            settings::full_release_name(&pass.object),
            chart.name,
            chart.version,
            why.unwrap_or_default()
        );
        counters::count_failure(&mut run.status);
        attempt.count_failure(&mut run.status);
        let reason = failure_reason(attempt);
        run.conditions.set(RELEASED, Status::False, reason, message);
    }
    summarize(run, algorithm);
    Ok(true)
}

async fn rolled_back(pass: &Pass<'_>, run: &mut Run<HelmRelease>) -> Result<bool, RecordsError> {
    let ignores_tests = Remediation::of(&pass.object, Attempt::Upgrade).ignores_tests;
    let history = &run.status.history;
    let Some(previous) = snapshot::previous(history, ignores_tests).cloned() else {
        return Ok(false);
    };
    let records = pass.records();
    let Some(record) = records.last(&pass.name).await? else {
        return Ok(false);
    };
    let is_newer = latest(history).is_some_and(|known| i64::from(known.version) < record.revision);
    if !is_newer || record.status() != ReleaseStatus::Deployed {
        return Ok(false);
    }
    let target = records.get(&pass.name, previous.version.into()).await?;
    let is_same = target.is_some_and(|target| {
        target.manifest == record.manifest
            && target.config == record.config
            && target.namespace == record.namespace
    });
    if !is_same {
        return Ok(false);
    }
    let algorithm = pass.tools.policy.digests;
    let history = &mut run.status.history;
    snapshot::record_rollback(history, &record, algorithm);
    snapshot::update(history, &record, algorithm, "rollback");
    take_inventory(pass, run, &record).await;
    report_rolled_back(pass, run, &previous);
    summarize(run, algorithm);
    Ok(true)
}

/// Whether a record is what the interrupted attempt made.
fn is_result(pass: &Pass<'_>, run: &Run<HelmRelease>, record: &Release) -> bool {
    let is_finished = matches!(
        record.status(),
        ReleaseStatus::Deployed | ReleaseStatus::Failed
    );
    let is_newer =
        latest(&run.status.history).is_none_or(|known| i64::from(known.version) < record.revision);
    let metadata = record
        .chart
        .as_ref()
        .and_then(|chart| chart.metadata.as_ref());
    let chart = &pass.loaded.chart.chart().metadata;
    let is_chart = metadata.is_some_and(|m| m.name == chart.name && m.version == chart.version);
    let digest = config_digest(pass.tools.policy.digests, &record.config);
    is_finished
        && is_newer
        && is_chart
        && record.namespace == pass.namespace
        && digest.as_ref() == Some(&pass.config_digest)
}
