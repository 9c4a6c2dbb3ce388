//! The state of a release for every combination of record, history and spec.

use std::collections::BTreeMap;

use flux_api::helm::TestHookStatus;

use super::*;

const STATUSES: [Status; 9] = [
    Status::Unknown,
    Status::Deployed,
    Status::Uninstalled,
    Status::Superseded,
    Status::Failed,
    Status::Uninstalling,
    Status::PendingInstall,
    Status::PendingUpgrade,
    Status::PendingRollback,
];

fn record(status: Status, matches: Match) -> Record {
    Record {
        status,
        matches,
        chart_name: "web".to_owned(),
        chart_version: "1.0.0".to_owned(),
    }
}

const WANTED: Desired<'static> = Desired {
    chart: ("web", "1.0.0"),
    same_values: true,
    new_generation: false,
    same_post_renderers: true,
    same_common_metadata: true,
    tests: false,
    test_failures_count: None,
};

fn tested(phases: &[&str]) -> ReleaseSnapshot {
    let hooks = phases.iter().enumerate().map(|(index, phase)| {
        let status = TestHookStatus {
            phase: (!phase.is_empty()).then(|| (*phase).to_owned()),
            ..TestHookStatus::default()
        };
        (index.to_string(), status)
    });
    ReleaseSnapshot {
        version: 1,
        test_hooks: Some(hooks.collect::<BTreeMap<_, _>>()),
        ..ReleaseSnapshot::default()
    }
}

fn untested() -> ReleaseSnapshot {
    ReleaseSnapshot {
        version: 1,
        ..ReleaseSnapshot::default()
    }
}

/// The state and why, as the log has them.
fn said(record: Option<&Record>, history: &[ReleaseSnapshot], desired: &Desired<'_>) -> String {
    match determine(record, history, desired) {
        Ok(found) => format!("{:?}: {}", found.state, found.why),
        Err(error) => error.to_string(),
    }
}

// HC-ACT-033
#[test]
fn without_a_record_the_release_is_absent() {
    for history in [vec![], vec![untested()]] {
        assert_eq!(
            said(None, &history, &WANTED),
            "Absent: no release in storage for object"
        );
    }
}

#[test]
fn every_status_of_a_record_has_one_state() {
    for status in STATUSES {
        for matches in [Match::Same, Match::Other, Match::NoDigest] {
            let record = record(status, matches);
            for history in [vec![], vec![untested()]] {
                let want = match (status, history.is_empty(), matches) {
                    // HC-ACT-034
                    (
                        Status::PendingInstall | Status::PendingUpgrade | Status::PendingRollback,
                        ..,
                    ) => format!("Locked: release with status '{status}'"),
                    // HC-ACT-033, HC-ACT-035
                    (Status::Uninstalled, true, _) => {
                        "Absent: found uninstalled release in storage".to_owned()
                    }
                    (_, true, _) => "Unmanaged: found existing release in storage".to_owned(),
                    (_, _, Match::Other) => {
                        "Unmanaged: release not observed to be made for object".to_owned()
                    }
                    (_, _, Match::NoDigest) => {
                        "Unmanaged: release digest verification error".to_owned()
                    }
                    // HC-ACT-039
                    (Status::Failed, ..) => "Failed: ".to_owned(),
                    (Status::Uninstalled, ..) => {
                        "Absent: found uninstalled release in storage".to_owned()
                    }
                    // HC-ACT-044
                    (Status::Deployed, ..) => "InSync: ".to_owned(),
                    // HC-ACT-045, HC-ACT-106
                    (Status::Unknown | Status::Superseded | Status::Uninstalling, ..) => {
                        format!("unable to determine state for release with status '{status}'")
                    }
                };
                assert_eq!(said(Some(&record), &history, &WANTED), want);
            }
        }
    }
}

#[test]
fn what_the_spec_wants_is_compared_in_order() {
    let record = record(Status::Deployed, Match::Same);
    let history = [untested()];
    let said = |desired: &Desired<'_>| said(Some(&record), &history, desired);
    // HC-ACT-040
    for chart in [("other", "1.0.0"), ("web", "1.0.1"), ("web", "1.0.0+1")] {
        let desired = Desired {
            chart,
            same_values: false,
            ..WANTED
        };
        assert_eq!(said(&desired), "OutOfSync: release chart changed");
    }
    let desired = Desired {
        same_values: false,
        new_generation: true,
        same_post_renderers: false,
        ..WANTED
    };
    assert_eq!(said(&desired), "OutOfSync: release config values changed");
    // HC-ACT-041
    for (new_generation, same_post_renderers, same_common_metadata, want) in [
        (
            true,
            false,
            false,
            "OutOfSync: postrenderers digest has changed",
        ),
        (
            true,
            true,
            false,
            "OutOfSync: common metadata digest has changed",
        ),
        (true, true, true, "InSync: "),
        (false, false, false, "InSync: "),
    ] {
        let desired = Desired {
            new_generation,
            same_post_renderers,
            same_common_metadata,
            ..WANTED
        };
        assert_eq!(said(&desired), want);
    }
}

#[test]
fn tests_count_if_they_are_enabled() {
    let record = record(Status::Deployed, Match::Same);
    let said = |snapshot: ReleaseSnapshot, tests, test_failures_count| {
        let desired = Desired {
            tests,
            test_failures_count,
            ..WANTED
        };
        said(Some(&record), &[snapshot], &desired)
    };
    // HC-ACT-043, HC-ACT-087
    assert_eq!(said(untested(), true, Some(true)), "Untested: ");
    assert_eq!(said(tested(&["Succeeded", ""]), true, None), "Untested: ");
    assert_eq!(said(tested(&["Running"]), true, None), "Untested: ");
    assert_eq!(said(tested(&[]), true, Some(true)), "InSync: ");
    assert_eq!(said(tested(&["Succeeded"]), true, Some(true)), "InSync: ");
    // HC-ACT-039
    let failed = "Failed: release has test in failed phase";
    assert_eq!(said(tested(&["Failed", ""]), true, Some(true)), failed);
    assert_eq!(said(tested(&["Failed", ""]), true, Some(false)), "InSync: ");
    assert_eq!(said(tested(&["Failed"]), true, None), "InSync: ");
    for snapshot in [untested(), tested(&["Failed"])] {
        assert_eq!(said(snapshot, false, Some(true)), "InSync: ");
    }
}
