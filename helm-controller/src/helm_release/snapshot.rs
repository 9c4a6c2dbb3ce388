//! The history of a HelmRelease in its status: a snapshot of each release (HC-ACT-076 to HC-ACT-088).

use std::collections::BTreeMap;

use flux_api::helm::{ReleaseSnapshot, TestHookStatus};
use flux_helm::{DigestAlgorithm, Release};
use flux_release::snapshot::snapshot;

/// How many snapshots are kept if none of them can be rolled back to (HC-ACT-084).
const KEPT: usize = 5;

const SUCCEEDED: &str = "Succeeded";
const FAILED: &str = "Failed";

/// Whether a snapshot is of this record.
pub(super) fn is_of(snapshot: &ReleaseSnapshot, record: &Release) -> bool {
    snapshot.name == record.name
        && snapshot.namespace == record.namespace
        && i64::from(snapshot.version) == record.revision
}

/// `<namespace>/<name>.v<revision>`
pub(super) fn full_name(snapshot: &ReleaseSnapshot) -> String {
    let ReleaseSnapshot {
        namespace,
        name,
        version,
        ..
    } = snapshot;
    format!("{namespace}/{name}.v{version}")
}

/// `<chart>@<version>`
pub(super) fn versioned_chart(snapshot: &ReleaseSnapshot) -> String {
    format!("{}@{}", snapshot.chart_name, snapshot.chart_version)
}

/// Sorts a history: the newest first (HC-ACT-088).
pub(super) fn sort(history: &mut [ReleaseSnapshot]) {
    history.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.version));
}

/// The newest snapshot (HC-ACT-088).
pub(super) fn latest(history: &[ReleaseSnapshot]) -> Option<&ReleaseSnapshot> {
    history.iter().reduce(|newest, snapshot| {
        if snapshot.version > newest.version {
            snapshot
        } else {
            newest
        }
    })
}

/// The newest snapshot before the latest that can be rolled back to: one that was deployed, without a failed test unless
/// those are ignored (HC-ROLL-001).
pub(super) fn previous(
    history: &[ReleaseSnapshot],
    ignores_tests: bool,
) -> Option<&ReleaseSnapshot> {
    let mut newest: Vec<&ReleaseSnapshot> = history.iter().collect();
    newest.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.version));
    let mut earlier = newest.into_iter().skip(1);
    earlier.find(|snapshot| is_good(snapshot, ignores_tests))
}

fn is_good(snapshot: &ReleaseSnapshot, ignores_tests: bool) -> bool {
    let was_deployed = matches!(&*snapshot.status, "deployed" | "superseded");
    was_deployed && (ignores_tests || !has_failed_test(snapshot))
}

/// Drops the snapshots behind the newest one that can be rolled back to; without one, all but the newest five
/// (HC-ACT-084).
pub(super) fn truncate(history: &mut Vec<ReleaseSnapshot>, ignores_tests: bool) {
    if history.len() < 2 {
        return;
    }
    sort(history);
    let mut earlier = history.iter().skip(1);
    let keep = match earlier.position(|snapshot| is_good(snapshot, ignores_tests)) {
        Some(position) => position + 2,
        None => KEPT,
    };
    history.truncate(keep);
}

/// Drops all but the newest five snapshots (HC-ACT-085).
pub(super) fn keep_newest(history: &mut Vec<ReleaseSnapshot>) {
    sort(history);
    history.truncate(KEPT);
}

/// Whether the tests have run: a hook failed, or all succeeded; no hooks count as run (HC-ACT-086, HC-ACT-087).
pub(super) fn is_tested(snapshot: &ReleaseSnapshot) -> bool {
    let Some(hooks) = &snapshot.test_hooks else {
        return false;
    };
    has_failed_test(snapshot) || hooks.values().all(|hook| phase(hook) == SUCCEEDED)
}

/// Whether a test has failed.
pub(super) fn has_failed_test(snapshot: &ReleaseSnapshot) -> bool {
    let mut hooks = snapshot.test_hooks.iter().flat_map(BTreeMap::values);
    hooks.any(|hook| phase(hook) == FAILED)
}

fn phase(hook: &TestHookStatus) -> &str {
    hook.phase.as_deref().unwrap_or_default()
}

/// Records what an installation or upgrade has stored, in the order in which it did: the newest record becomes a new snapshot
/// with the digest of the chart's artifact, the next older one updates its snapshot (HC-ACT-076).
pub(super) fn record(
    history: &mut Vec<ReleaseSnapshot>,
    stored: &[Release],
    algorithm: DigestAlgorithm,
    action: &str,
    oci_digest: &str,
) {
    // The last state of each revision, the newest first.
    let mut revisions: BTreeMap<i64, &Release> = BTreeMap::new();
    for record in stored {
        revisions.insert(record.revision, record);
    }
    let mut revisions = revisions.into_values().rev();
    let Some(newest) = revisions.next() else {
        return;
    };
    history.insert(0, snapshot(algorithm, newest, action, oci_digest));
    for older in revisions {
        // Upstream leaves the action of an updated snapshot empty.
        if update(history, older, algorithm, "") {
            return;
        }
    }
}

/// Records one stored state of a release in the snapshot of its revision, with `action`; results of tests and the digest of
/// the artifact stay. Returns whether there is such a snapshot.
pub(super) fn update(
    history: &mut [ReleaseSnapshot],
    stored: &Release,
    algorithm: DigestAlgorithm,
    action: &str,
) -> bool {
    let place = history.iter_mut().find(|snapshot| is_of(snapshot, stored));
    let Some(place) = place else {
        return false;
    };
    let digest = place.oci_digest.clone().unwrap_or_default();
    *place = ReleaseSnapshot {
        test_hooks: place.test_hooks.take(),
        ..snapshot(algorithm, stored, action, &digest)
    };
    true
}

/// As [`update`], with the action that the snapshot has.
pub(super) fn update_in_place(
    history: &mut [ReleaseSnapshot],
    stored: &Release,
    algorithm: DigestAlgorithm,
) {
    let place = history.iter().find(|snapshot| is_of(snapshot, stored));
    let action = place.and_then(|snapshot| snapshot.action.clone());
    let action = action.as_ref().map(flux_api::helm::ReleaseAction::as_str);
    let action = action.unwrap_or_default().to_owned();
    update(history, stored, algorithm, &action);
}

/// Records one stored state of a rollback: the first write of its revision makes a new snapshot, without action and without
/// the digest of an artifact (HC-ACT-081, HC-ACT-082).
pub(super) fn record_rollback(
    history: &mut Vec<ReleaseSnapshot>,
    stored: &Release,
    algorithm: DigestAlgorithm,
) {
    if !update(history, stored, algorithm, "rollback") {
        history.insert(0, snapshot(algorithm, stored, "", ""));
    }
}

#[cfg(test)]
mod tests;
