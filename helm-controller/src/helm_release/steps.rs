//! The steps of the loop over a release: each performs one action, and records it in the history, the conditions and an event.

mod drift;
mod make;
mod remediate;
mod render;
mod resume;
mod test;
mod uninstall;
mod unlock;

use flux_api::helm::ReleaseSnapshot;

pub(super) use self::drift::correct;
pub(super) use self::make::make;
pub(super) use self::remediate::{roll_back, uninstall_to_remediate};
pub(super) use self::resume::resume;
pub(super) use self::test::test;
pub(super) use self::uninstall::{Uninstalling, uninstall};
pub(super) use self::unlock::unlock;
use super::reason::HelmReleaseReason as R;
use super::settings::Attempt;
use super::snapshot::{full_name, versioned_chart};

/// The message of an attempt that succeeded (HC-EVT-008, HC-EVT-009).
pub(super) fn succeeded(attempt: Attempt, current: &ReleaseSnapshot) -> String {
    format!(
        "Helm {} succeeded for release {} with chart {}",
        attempt.word(),
        full_name(current),
        versioned_chart(current)
    )
}

/// The reason of an attempt that succeeded.
pub(super) const fn success_reason(attempt: Attempt) -> R {
    match attempt {
        Attempt::Install => R::InstallSucceeded,
        Attempt::Upgrade => R::UpgradeSucceeded,
    }
}

/// The reason of an attempt that failed.
pub(super) const fn failure_reason(attempt: Attempt) -> R {
    match attempt {
        Attempt::Install => R::InstallFailed,
        Attempt::Upgrade => R::UpgradeFailed,
    }
}
