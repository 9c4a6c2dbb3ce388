//! What follows from the state of a release (HC-ACT-047 to HC-ACT-071): pure functions over the state, the spec and the
//! counters of the status.

use std::time::Duration;

use super::settings::{Attempt, Remediation, Remedy};
use super::state::State;

/// A step of the loop over a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Install it.
    Install,
    /// Upgrade it.
    Upgrade,
    /// Run its tests.
    Test,
    /// Mark what an interrupted action left as failed.
    Unlock,
    /// Undo what changed on the cluster.
    CorrectDrift,
    /// Roll it back, as remediation.
    Rollback,
    /// Uninstall it, as remediation.
    Uninstall,
}

/// The kind of a step: each runs at most once in one pass (HC-ACT-061).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StepKind {
    /// Installation and upgrade.
    Release,
    /// Rollback and uninstallation.
    Remediate,
    /// Tests.
    Test,
    /// Unlocking.
    Unlock,
    /// Correction of drift.
    CorrectDrift,
}

impl Step {
    /// The name in messages (HC-ACT-062).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Upgrade => "upgrade",
            Self::Test => "test",
            Self::Unlock => "unlock",
            Self::CorrectDrift => "correct cluster drift",
            Self::Rollback => "rollback",
            Self::Uninstall => "uninstall",
        }
    }

    /// The kind.
    pub(super) const fn kind(self) -> StepKind {
        match self {
            Self::Install | Self::Upgrade => StepKind::Release,
            Self::Test => StepKind::Test,
            Self::Unlock => StepKind::Unlock,
            Self::CorrectDrift => StepKind::CorrectDrift,
            Self::Rollback | Self::Uninstall => StepKind::Remediate,
        }
    }
}

/// What happens to the history before the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistoryEdit {
    /// Nothing.
    Keep,
    /// It is emptied: it says nothing about the release in storage (HC-ACT-051).
    Clear,
    /// It is cut behind the release to roll back to (HC-ACT-084).
    Truncate {
        /// Whether that one may have failed tests.
        ignores_tests: bool,
    },
    /// It is cut behind the newest five (HC-ACT-085).
    KeepNewest,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: the release is as wanted, or drift is only reported.
    Done,
    /// This step.
    Run(Step),
    /// Nothing before something changes (HC-ACT-067).
    Stalled(Exhausted),
}

/// Attempts are used up; the text is that of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exhausted {
    /// HC-ACT-052
    #[error("exceeded maximum retries: cannot install release")]
    Install,
    /// HC-ACT-053
    #[error("exceeded maximum retries: cannot upgrade release")]
    Upgrade,
    /// HC-ACT-056
    #[error("exceeded maximum retries: cannot remediate failed release")]
    Remediate,
    /// HC-ACT-066
    #[error("exceeded maximum retries")]
    AfterRemediation,
}

/// The next step, and what precedes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) history: HistoryEdit,
    pub(super) next: Next,
    /// Why a step runs that the state alone does not ask for, for the log.
    pub(super) forced: Option<&'static str>,
}

/// The inputs of a decision besides the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inputs {
    /// The last attempt, whose settings are in effect (HC-ACT-060).
    pub(super) last: Option<Attempt>,
    /// What is done about failed installations.
    pub(super) install: Remediation,
    /// What is done about failed upgrades.
    pub(super) upgrade: Remediation,
    /// The failed installations since the last change.
    pub(super) install_failures: i64,
    /// The failed upgrades since the last change.
    pub(super) upgrade_failures: i64,
    /// The interval of retries, if failures of the last attempt are retried instead of remediated.
    pub(super) retry: Option<Duration>,
    /// Whether failed tests are ignored by the tests' own settings.
    pub(super) ignores_tests: bool,
    /// Whether an attempt was requested by annotation (HC-ACT-032).
    pub(super) forced: bool,
    /// Whether drift is corrected.
    pub(super) corrects_drift: bool,
}

impl Inputs {
    /// What is done about failures of the last attempt, and how many there were.
    pub(super) fn active(&self) -> Option<(Attempt, Remediation, i64)> {
        let attempt = self.last?;
        Some(match attempt {
            Attempt::Install => (attempt, self.install, self.install_failures),
            Attempt::Upgrade => (attempt, self.upgrade, self.upgrade_failures),
        })
    }

    /// Whether the attempts are used up.
    fn are_exhausted(&self) -> bool {
        self.active()
            .is_some_and(|(_, remediation, failures)| remediation.exhausted(failures))
    }
}

/// What follows from a state.
pub(super) fn decide(state: State, inputs: &Inputs) -> Decision {
    let plain = |next| Decision {
        history: HistoryEdit::Keep,
        next,
        forced: None,
    };
    match state {
        State::InSync => in_sync(inputs),
        State::Locked => plain(Next::Run(Step::Unlock)),
        State::Absent => {
            let exhausted = inputs.install.exhausted(inputs.install_failures);
            let forced = "forcing install while out of retries";
            unless_exhausted(Step::Install, exhausted, inputs.forced, forced)
        }
        State::Unmanaged => Decision {
            history: HistoryEdit::Clear,
            ..plain(Next::Run(Step::Upgrade))
        },
        State::OutOfSync => {
            let exhausted = inputs.upgrade.exhausted(inputs.upgrade_failures);
            let forced = "forcing upgrade while out of retries";
            unless_exhausted(Step::Upgrade, exhausted, inputs.forced, forced)
        }
        State::Drifted if inputs.corrects_drift => plain(Next::Run(Step::CorrectDrift)),
        State::Drifted => plain(Next::Done),
        State::Untested => plain(Next::Run(Step::Test)),
        State::Failed => failed(inputs),
    }
}

/// HC-ACT-047
fn in_sync(inputs: &Inputs) -> Decision {
    let history = if inputs.retry.is_some() {
        HistoryEdit::KeepNewest
    } else {
        let ignores_tests = match inputs.active() {
            Some((_, remediation, _)) => remediation.ignores_tests,
            None => inputs.ignores_tests,
        };
        HistoryEdit::Truncate { ignores_tests }
    };
    if inputs.forced {
        return Decision {
            history,
            next: Next::Run(Step::Upgrade),
            forced: Some("forcing upgrade for in-sync release"),
        };
    }
    Decision {
        history,
        next: Next::Done,
        forced: None,
    }
}

/// HC-ACT-052, HC-ACT-053
fn unless_exhausted(
    step: Step,
    exhausted: bool,
    is_forced: bool,
    forced: &'static str,
) -> Decision {
    let next = match (exhausted && !is_forced, step) {
        (true, Step::Install) => Next::Stalled(Exhausted::Install),
        (true, _) => Next::Stalled(Exhausted::Upgrade),
        (false, step) => Next::Run(step),
    };
    Decision {
        history: HistoryEdit::Keep,
        next,
        forced: (exhausted && is_forced).then_some(forced),
    }
}

/// HC-ACT-055 to HC-ACT-058
fn failed(inputs: &Inputs) -> Decision {
    let upgrade = Decision {
        history: HistoryEdit::Keep,
        next: Next::Run(Step::Upgrade),
        forced: None,
    };
    if inputs.retry.is_some() {
        return Decision {
            history: HistoryEdit::KeepNewest,
            ..upgrade
        };
    }
    let Some((_, remediation, failures)) = inputs.active() else {
        return upgrade;
    };
    if failures <= 0 {
        return Decision {
            forced: Some("release conditions have changed since last failure"),
            ..upgrade
        };
    }
    if inputs.forced {
        return Decision {
            forced: Some("forcing upgrade for failed release"),
            ..upgrade
        };
    }
    if remediation.exhausted(failures) && !remediation.remediates_last {
        return Decision {
            next: Next::Stalled(Exhausted::Remediate),
            ..upgrade
        };
    }
    let step = match remediation.remedy {
        Remedy::Rollback => Step::Rollback,
        Remedy::Uninstall => Step::Uninstall,
    };
    Decision {
        history: HistoryEdit::Truncate {
            ignores_tests: remediation.ignores_tests,
        },
        next: Next::Run(step),
        forced: None,
    }
}

/// Why a pass ends before the release is as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// The next pass follows after this time (HC-ACT-064, HC-ACT-066).
    RetryAfter(Duration),
    /// The next pass follows at once.
    Requeue,
    /// The next pass follows after the interval.
    Settle,
    /// No pass follows (HC-ACT-066).
    Stalled(Exhausted),
}

/// The end of a pass whose next step is of a kind that has run already (HC-ACT-064).
pub(super) fn repeated(inputs: &Inputs) -> Pause {
    match inputs.retry {
        Some(interval) => Pause::RetryAfter(interval),
        None if inputs.are_exhausted() => Pause::Settle,
        None => Pause::Requeue,
    }
}

/// The end of a pass behind a remediation (HC-ACT-066).
pub(super) fn remediated(inputs: &Inputs) -> Pause {
    if let Some(interval) = inputs.retry {
        return Pause::RetryAfter(interval);
    }
    let uninstalls_upgrades = matches!(
        inputs.active(),
        Some((Attempt::Upgrade, remediation, _)) if remediation.remedy == Remedy::Uninstall
    );
    if inputs.are_exhausted() && !uninstalls_upgrades {
        Pause::Stalled(Exhausted::AfterRemediation)
    } else {
        Pause::Requeue
    }
}

#[cfg(test)]
mod tests;
