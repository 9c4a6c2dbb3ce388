//! What follows from every state, with all combinations of what else matters.

use super::*;

const STATES: [State; 8] = [
    State::Absent,
    State::Unmanaged,
    State::OutOfSync,
    State::Drifted,
    State::Locked,
    State::Untested,
    State::InSync,
    State::Failed,
];

const RETRY: Duration = Duration::from_secs(7);

fn remediation(retries: i64, remediates_last: bool, remedy: Remedy) -> Remediation {
    Remediation {
        retries,
        ignores_tests: false,
        remediates_last,
        remedy,
    }
}

/// All combinations of the inputs that may matter.
fn all() -> Vec<Inputs> {
    let mut all = Vec::new();
    for last in [None, Some(Attempt::Install), Some(Attempt::Upgrade)] {
        for (failures, retries) in [(0, 0), (1, 0), (1, 1), (2, 1), (9, -1)] {
            for remedy in [Remedy::Rollback, Remedy::Uninstall] {
                for bits in 0..16_u8 {
                    let is = |bit: u8| bits & (1 << bit) != 0;
                    let retry = (is(0) && last.is_some()).then_some(RETRY);
                    all.push(Inputs {
                        last,
                        install: remediation(retries, is(1), Remedy::Uninstall),
                        upgrade: remediation(retries, is(1), remedy),
                        install_failures: failures,
                        upgrade_failures: failures,
                        retry,
                        ignores_tests: true,
                        forced: is(2),
                        corrects_drift: is(3),
                    });
                }
            }
        }
    }
    all
}

/// What upstream does, told in the order of its own checks.
fn expected(state: State, inputs: &Inputs) -> (HistoryEdit, Next) {
    use HistoryEdit::{Clear, Keep, KeepNewest, Truncate};
    let run = Next::Run;
    let install_exhausted = inputs.install.exhausted(inputs.install_failures);
    let upgrade_exhausted = inputs.upgrade.exhausted(inputs.upgrade_failures);
    match state {
        // HC-ACT-047
        State::InSync => {
            let edit = match (inputs.retry, inputs.last) {
                (Some(_), _) => KeepNewest,
                (None, None) => Truncate {
                    ignores_tests: true,
                },
                (None, Some(_)) => Truncate {
                    ignores_tests: false,
                },
            };
            let next = if inputs.forced {
                run(Step::Upgrade)
            } else {
                Next::Done
            };
            (edit, next)
        }
        // HC-ACT-051
        State::Locked => (Keep, run(Step::Unlock)),
        State::Unmanaged => (Clear, run(Step::Upgrade)),
        State::Untested => (Keep, run(Step::Test)),
        // HC-ACT-052
        State::Absent if install_exhausted && !inputs.forced => {
            (Keep, Next::Stalled(Exhausted::Install))
        }
        State::Absent => (Keep, run(Step::Install)),
        // HC-ACT-053
        State::OutOfSync if upgrade_exhausted && !inputs.forced => {
            (Keep, Next::Stalled(Exhausted::Upgrade))
        }
        State::OutOfSync => (Keep, run(Step::Upgrade)),
        // HC-ACT-054
        State::Drifted if inputs.corrects_drift => (Keep, run(Step::CorrectDrift)),
        State::Drifted => (Keep, Next::Done),
        State::Failed => {
            // HC-ACT-055
            if inputs.retry.is_some() {
                return (KeepNewest, run(Step::Upgrade));
            }
            // HC-ACT-056, HC-ACT-060
            let (remediation, failures, exhausted) = match inputs.last {
                None => return (Keep, run(Step::Upgrade)),
                Some(Attempt::Install) => {
                    (inputs.install, inputs.install_failures, install_exhausted)
                }
                Some(Attempt::Upgrade) => {
                    (inputs.upgrade, inputs.upgrade_failures, upgrade_exhausted)
                }
            };
            if failures == 0 || inputs.forced {
                return (Keep, run(Step::Upgrade));
            }
            if exhausted && !remediation.remediates_last {
                return (Keep, Next::Stalled(Exhausted::Remediate));
            }
            // HC-ACT-057, HC-ACT-058
            let edit = Truncate {
                ignores_tests: false,
            };
            match remediation.remedy {
                Remedy::Rollback => (edit, run(Step::Rollback)),
                Remedy::Uninstall => (edit, run(Step::Uninstall)),
            }
        }
    }
}

#[test]
fn every_state_has_upstreams_next_step() {
    let all = all();
    assert_eq!(all.len(), 480);
    for state in STATES {
        for inputs in &all {
            let decision = decide(state, inputs);
            let got = (decision.history, decision.next);
            assert_eq!(got, expected(state, inputs), "{state:?} {inputs:?}");
        }
    }
}

// HC-ACT-056
#[test]
fn install_failures_are_never_rolled_back() {
    for inputs in all() {
        if inputs.last == Some(Attempt::Install) {
            let decision = decide(State::Failed, &inputs);
            assert_ne!(decision.next, Next::Run(Step::Rollback), "{inputs:?}");
        }
    }
}

#[test]
fn a_repeated_step_waits_or_settles() {
    // HC-ACT-064, HC-ACT-071
    for inputs in all() {
        let exhausted = match inputs.last {
            None => false,
            Some(_) => inputs.install.exhausted(inputs.install_failures),
        };
        let want = match (inputs.retry, exhausted) {
            (Some(interval), _) => Pause::RetryAfter(interval),
            (None, true) => Pause::Settle,
            (None, false) => Pause::Requeue,
        };
        assert_eq!(repeated(&inputs), want, "{inputs:?}");
    }
}

// HC-ACT-066
#[test]
fn a_pass_ends_behind_a_remediation() {
    for inputs in all() {
        let exhausted = inputs.last.is_some() && inputs.install.exhausted(inputs.install_failures);
        let uninstalls =
            inputs.last == Some(Attempt::Upgrade) && inputs.upgrade.remedy == Remedy::Uninstall;
        let want = match (inputs.retry, exhausted && !uninstalls) {
            (Some(interval), _) => Pause::RetryAfter(interval),
            (None, true) => Pause::Stalled(Exhausted::AfterRemediation),
            (None, false) => Pause::Requeue,
        };
        assert_eq!(remediated(&inputs), want, "{inputs:?}");
    }
}

// HC-ACT-061, HC-ACT-062
#[test]
fn steps_have_upstreams_names_and_kinds() {
    for (step, name, kind) in [
        (Step::Install, "install", StepKind::Release),
        (Step::Upgrade, "upgrade", StepKind::Release),
        (Step::Test, "test", StepKind::Test),
        (Step::Unlock, "unlock", StepKind::Unlock),
        (
            Step::CorrectDrift,
            "correct cluster drift",
            StepKind::CorrectDrift,
        ),
        (Step::Rollback, "rollback", StepKind::Remediate),
        (Step::Uninstall, "uninstall", StepKind::Remediate),
    ] {
        assert_eq!((step.name(), step.kind()), (name, kind));
    }
}

// HC-ACT-052, HC-ACT-053, HC-ACT-056
#[test]
fn exhausted_attempts_have_upstreams_words() {
    for (exhausted, words) in [
        (
            Exhausted::Install,
            "exceeded maximum retries: cannot install release",
        ),
        (
            Exhausted::Upgrade,
            "exceeded maximum retries: cannot upgrade release",
        ),
        (
            Exhausted::Remediate,
            "exceeded maximum retries: cannot remediate failed release",
        ),
        (Exhausted::AfterRemediation, "exceeded maximum retries"),
    ] {
        assert_eq!(exhausted.to_string(), words);
    }
}
