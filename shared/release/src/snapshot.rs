//! What a HelmRelease's status says of a record, and whether a record is the one that it speaks of.

use std::collections::BTreeMap;

use flux_api::helm::{ReleaseSnapshot, TestFilter, TestHookStatus};
use flux_api::meta::Time;
use flux_helm::action::TestOptions;
use flux_helm::{
    DigestAlgorithm, Hook, HookEvent, HookPhase, Release, config_digest, is_snapshot_of,
    snapshot_digest,
};

pub use crate::error::SnapshotError;

/// The version of the digest's format (HC-ACT-036).
pub const SNAPSHOT_API_VERSION: &str = "v2";

/// The snapshot of a record as it was written (HC-ACT-076, HC-ACT-078..080). `action` is `install`, `upgrade`, `rollback`,
/// `uninstall` or `uninstall-remediation`, empty for none; `oci_digest` is empty for a chart without one.
pub fn snapshot(
    algorithm: DigestAlgorithm,
    release: &Release,
    action: &str,
    oci_digest: &str,
) -> ReleaseSnapshot {
    let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let info = release.info.clone().unwrap_or_default();
    let chart = release.chart.as_ref();
    let metadata = chart.and_then(|chart| chart.metadata.clone());
    let metadata = metadata.unwrap_or_default();
    let time = |time: flux_helm::Time| Time(time.instant());
    ReleaseSnapshot {
        action: (!action.is_empty()).then(|| action.into()),
        api_version: Some(SNAPSHOT_API_VERSION.to_owned()),
        app_version: set(&metadata.app_version),
        chart_name: metadata.name,
        chart_version: metadata.version,
        config_digest: config_digest(algorithm, &release.config).unwrap_or_default(),
        deleted: (!info.deleted.is_zero()).then(|| time(info.deleted)),
        digest: snapshot_digest(algorithm, release, oci_digest).unwrap_or_default(),
        first_deployed: time(info.first_deployed),
        last_deployed: time(info.last_deployed),
        name: release.name.clone(),
        namespace: release.namespace.clone(),
        oci_digest: set(oci_digest),
        status: info
            .status
            .map_or_else(String::new, |status| status.to_string()),
        test_hooks: None,
        version: i32::try_from(release.revision).unwrap_or(i32::MAX),
    }
}

/// Checks that a record is the one that the snapshot was taken from (HC-ACT-035). Snapshots of other versions of the
/// digest's format are not compared (HC-ACT-036).
///
/// # Errors
/// The record is another one, or the snapshot has no valid digest.
pub fn verify_record(snapshot: &ReleaseSnapshot, release: &Release) -> Result<(), SnapshotError> {
    if snapshot.api_version.as_deref() != Some(SNAPSHOT_API_VERSION) {
        return Ok(());
    }
    let oci_digest = snapshot.oci_digest.as_deref().unwrap_or_default();
    match is_snapshot_of(&snapshot.digest, release, oci_digest) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SnapshotError::NotObserved),
        Err(_) => Err(SnapshotError::Digest),
    }
}

/// The results of the test hooks that the filters select, by name (HC-TEST-005, HC-TEST-009).
pub fn test_hooks(release: &Release, filters: &[TestFilter]) -> BTreeMap<String, TestHookStatus> {
    let hooks = release.hooks.iter();
    let tests = hooks.filter(|hook| hook.events.contains(&HookEvent::Test));
    tests
        .filter(|hook| is_selected(&hook.name, filters))
        .map(|hook| (hook.name.clone(), status(hook)))
        .collect()
}

fn status(hook: &Hook) -> TestHookStatus {
    let run = &hook.last_run;
    let time = |time: flux_helm::Time| (!time.is_zero()).then(|| Time(time.instant()));
    let phase = match run.phase {
        HookPhase::None => None,
        HookPhase::Unknown => Some("Unknown"),
        HookPhase::Running => Some("Running"),
        HookPhase::Succeeded => Some("Succeeded"),
        HookPhase::Failed => Some("Failed"),
    };
    TestHookStatus {
        last_completed: time(run.completed_at),
        last_started: time(run.started_at),
        phase: phase.map(ToOwned::to_owned),
    }
}

/// Whether the filters let a test run: it is not excluded, and included if any is (HC-TEST-003).
fn is_selected(name: &str, filters: &[TestFilter]) -> bool {
    let named = |filter: &&TestFilter| filter.name == name;
    let (excluded, included): (Vec<&TestFilter>, Vec<&TestFilter>) =
        filters.iter().partition(|filter| filter.exclude);
    !excluded.iter().any(named) && (included.is_empty() || included.iter().any(named))
}

/// The filters as options of the test action (HC-TEST-003).
pub fn test_options(filters: &[TestFilter]) -> TestOptions {
    let names = |exclude: bool| {
        let filters = filters.iter().filter(|filter| filter.exclude == exclude);
        filters.map(|filter| filter.name.clone()).collect()
    };
    TestOptions {
        include: names(false),
        exclude: names(true),
    }
}

#[cfg(test)]
mod tests;
