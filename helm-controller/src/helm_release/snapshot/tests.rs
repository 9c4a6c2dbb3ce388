//! The history in the status.

use flux_helm::{Info, Release, Status};

use super::*;

fn snapshot_of(version: i32, status: &str) -> ReleaseSnapshot {
    ReleaseSnapshot {
        name: "web".to_owned(),
        namespace: "apps".to_owned(),
        version,
        status: status.to_owned(),
        chart_name: "chart".to_owned(),
        chart_version: "1.0.0".to_owned(),
        ..ReleaseSnapshot::default()
    }
}

fn with_test(snapshot: ReleaseSnapshot, phase: &str) -> ReleaseSnapshot {
    let hook = TestHookStatus {
        phase: Some(phase.to_owned()),
        ..TestHookStatus::default()
    };
    ReleaseSnapshot {
        test_hooks: Some([("test".to_owned(), hook)].into()),
        ..snapshot
    }
}

fn record_of(revision: i64, status: Status) -> Release {
    Release {
        name: "web".to_owned(),
        namespace: "apps".to_owned(),
        revision,
        info: Some(Info {
            status: Some(status),
            ..Info::default()
        }),
        ..Release::default()
    }
}

fn versions(history: &[ReleaseSnapshot]) -> Vec<(i32, &str, &str)> {
    let each = history.iter().map(|snapshot| {
        let action = snapshot.action.as_ref();
        let action = action.map_or("", flux_api::helm::ReleaseAction::as_str);
        (snapshot.version, &*snapshot.status, action)
    });
    each.collect()
}

// HC-ACT-088
#[test]
fn the_latest_has_the_highest_revision() {
    let history = [
        snapshot_of(2, "failed"),
        snapshot_of(3, "deployed"),
        snapshot_of(1, ""),
    ];
    assert_eq!(latest(&history).map(|latest| latest.version), Some(3));
    assert_eq!(latest(&[]), None);
    assert_eq!(full_name(&history[1]), "apps/web.v3");
    assert_eq!(versioned_chart(&history[1]), "chart@1.0.0");
}

// HC-ROLL-001
#[test]
fn the_newest_good_release_is_rolled_back_to() {
    let history = [
        snapshot_of(5, "deployed"),
        snapshot_of(4, "failed"),
        with_test(snapshot_of(3, "superseded"), "Failed"),
        snapshot_of(2, "superseded"),
        snapshot_of(1, "deployed"),
    ];
    let version = |ignores| previous(&history, ignores).map(|found| found.version);
    assert_eq!(version(false), Some(2));
    assert_eq!(version(true), Some(3));
    assert_eq!(previous(&history[..1], true), None);
    assert_eq!(previous(&history[..2], true), None);
}

#[test]
fn histories_end_behind_the_release_to_roll_back_to() {
    let truncated = |mut history: Vec<ReleaseSnapshot>, ignores| {
        truncate(&mut history, ignores);
        let versions = history.iter().map(|snapshot| snapshot.version);
        versions.collect::<Vec<_>>()
    };
    // HC-ACT-084
    let history = || {
        vec![
            snapshot_of(1, "deployed"),
            with_test(snapshot_of(2, "superseded"), "Failed"),
            snapshot_of(3, "failed"),
            snapshot_of(4, "deployed"),
        ]
    };
    assert_eq!(truncated(history(), false), [4, 3, 2, 1]);
    assert_eq!(truncated(history(), true), [4, 3, 2]);
    let failed = |count: i32| (1..=count).map(|version| snapshot_of(version, "failed"));
    assert_eq!(truncated(failed(7).collect(), false), [7, 6, 5, 4, 3]);
    assert_eq!(truncated(failed(1).collect(), false), [1]);
    // HC-ACT-085
    let mut history: Vec<_> = (1..=500)
        .map(|version| snapshot_of(version, "deployed"))
        .collect();
    keep_newest(&mut history);
    let left: Vec<_> = history.iter().map(|snapshot| snapshot.version).collect();
    assert_eq!(left, [500, 499, 498, 497, 496]); // FR-H-035
    // HC-ACT-107: the last good release is among those that go
    let mut history = vec![snapshot_of(1, "deployed")];
    history.extend((2..=6).map(|version| snapshot_of(version, "failed")));
    keep_newest(&mut history);
    assert_eq!(previous(&history, true), None);
}

// HC-ACT-086, HC-ACT-087
#[test]
fn a_release_is_tested_when_its_hooks_are_done() {
    let plain = || snapshot_of(1, "deployed");
    assert!(!is_tested(&plain()));
    let empty = ReleaseSnapshot {
        test_hooks: Some(BTreeMap::new()),
        ..plain()
    };
    assert!(is_tested(&empty) && !has_failed_test(&empty));
    assert!(is_tested(&with_test(plain(), "Succeeded")));
    assert!(is_tested(&with_test(plain(), "Failed")));
    assert!(has_failed_test(&with_test(plain(), "Failed")));
    assert!(!is_tested(&with_test(plain(), "Running"))); // FR-H-034
}

#[test]
fn an_upgrade_adds_its_release_and_updates_the_one_before() {
    // HC-ACT-076
    let mut before = with_test(snapshot_of(1, "deployed"), "Succeeded");
    before.oci_digest = Some("sha256:one".to_owned());
    let mut history = vec![before];
    let stored = [
        record_of(2, Status::PendingUpgrade),
        record_of(1, Status::Superseded),
        record_of(2, Status::Deployed),
    ];
    record(
        &mut history,
        &stored,
        DigestAlgorithm::Sha256,
        "upgrade",
        "sha256:two",
    );
    assert_eq!(
        versions(&history),
        [(2, "deployed", "upgrade"), (1, "superseded", "")]
    );
    assert_eq!(history[0].oci_digest.as_deref(), Some("sha256:two"));
    assert_eq!(history[1].oci_digest.as_deref(), Some("sha256:one"));
    assert!(is_tested(&history[1]), "its tests stay known");
    // HC-REL-012: nothing was stored
    record(&mut history, &[], DigestAlgorithm::Sha256, "upgrade", "");
    assert_eq!(history.len(), 2);
}

#[test]
fn a_rollback_is_a_new_release() {
    // HC-ACT-081, HC-ACT-082
    let mut history = vec![snapshot_of(2, "failed"), snapshot_of(1, "superseded")];
    let algorithm = DigestAlgorithm::Sha256;
    record_rollback(
        &mut history,
        &record_of(3, Status::PendingRollback),
        algorithm,
    );
    assert_eq!(history[0].action, None);
    record_rollback(&mut history, &record_of(2, Status::Superseded), algorithm);
    record_rollback(&mut history, &record_of(3, Status::Deployed), algorithm);
    assert_eq!(
        versions(&history),
        [
            (3, "deployed", "rollback"),
            (2, "superseded", "rollback"),
            (1, "superseded", "")
        ]
    );
    assert_eq!(history[0].oci_digest, None);
}

// HC-ACT-083
#[test]
fn an_uninstallation_updates_what_it_knows() {
    let mut history = vec![snapshot_of(2, "deployed"), snapshot_of(1, "superseded")];
    let algorithm = DigestAlgorithm::Sha256;
    let gone = record_of(2, Status::Uninstalling);
    assert!(update(&mut history, &gone, algorithm, "uninstall"));
    let other = record_of(9, Status::Uninstalling);
    assert!(!update(&mut history, &other, algorithm, "uninstall"));
    assert_eq!(
        versions(&history),
        [(2, "uninstalling", "uninstall"), (1, "superseded", "")]
    );
    // HC-ACT-100
    update_in_place(&mut history, &record_of(2, Status::Failed), algorithm);
    assert_eq!(versions(&history)[0], (2, "failed", "uninstall"));
}
