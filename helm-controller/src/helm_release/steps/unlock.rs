//! Unlocks a release that an interrupted action left pending (HC-ACT-100, HC-ACT-101, HC-EVT-010).

use flux_api::helm::HelmRelease;
use flux_helm::Status as ReleaseStatus;
use flux_release::snapshot::snapshot;
use flux_runtime::Run;
use flux_runtime::conditions::Status;

use super::super::counters;
use super::super::metadata::of_snapshot;
use super::super::pass::{ActionFailed, Pass};
use super::super::reason::HelmReleaseReason as R;
use super::super::snapshot::{self as history, full_name, is_of, versioned_chart};
use super::super::summary::{RELEASED, summarize};

/// Marks the newest record as failed if it is pending.
///
/// # Errors
/// The record cannot be read or written.
pub(in super::super) async fn unlock(
    pass: &Pass<'_>,
    run: &mut Run<HelmRelease>,
) -> Result<(), ActionFailed> {
    let result = unlock_newest(pass, run).await;
    summarize(run, pass.tools.policy.digests);
    result
}

async fn unlock_newest(pass: &Pass<'_>, run: &mut Run<HelmRelease>) -> Result<(), ActionFailed> {
    let records = pass.records();
    let record = records.last(&pass.name).await;
    let Some(mut record) = record.map_err(|error| pass.failed(&error))? else {
        return Ok(()); // gone meanwhile
    };
    let pending = record.status();
    if !pending.is_pending() {
        return Ok(());
    }
    let algorithm = pass.tools.policy.digests;
    let known = run
        .status
        .history
        .iter()
        .find(|known| is_of(known, &record));
    let digest = known.and_then(|known| known.oci_digest.clone());
    let current = snapshot(algorithm, &record, "", &digest.unwrap_or_default());
    let (name, chart) = (full_name(&current), versioned_chart(&current));
    let description = format!("Release unlocked from stale '{pending}' state");
    record.set_status(ReleaseStatus::Failed, description);
    let updated = records.update(&record).await;
    if let Err(error) = updated {
        let error = pass.failed(&error);
        let message = format!(
            "Unlock of Helm release {name} with chart {chart} in {pending} state failed: {error}"
        );
        counters::count_failure(&mut run.status);
        run.conditions
            .set(RELEASED, Status::False, R::PendingRelease, &*message);
        run.warn(R::PendingRelease, message, &of_snapshot(&current));
        return Err(error);
    }
    history::update_in_place(&mut run.status.history, &record, algorithm);
    let message = format!("Unlocked Helm release {name} with chart {chart} in {pending} state");
    run.conditions
        .set(RELEASED, Status::False, R::PendingRelease, &*message);
    run.event(R::PendingRelease, message, &of_snapshot(&current));
    Ok(())
}
