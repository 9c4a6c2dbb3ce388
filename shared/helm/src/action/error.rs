//! Why an action cannot begin, in Helm's words.

use super::NameError;
use crate::SYSTEM_LABELS;
use crate::text::quote;

/// Why an action cannot begin. The texts, sources joined by `: `, are Helm's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// An installation under a name that is none (HE-ACT-002).
    #[error("release name check failed: release name {}", quote(name))]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// An installation under a name that has records (HE-ACT-003).
    #[error("release name check failed: cannot reuse a name that is still in use")]
    NameInUse,
    /// An upgrade of a name that is none.
    #[error("release name is invalid: {0}")]
    UpgradeName(String),
    /// A rollback of a name that is none.
    #[error("prepareRollback: Release name is invalid: {0}")]
    RollbackName(String),
    /// An uninstallation of a name that is none.
    #[error("uninstall: Release name is invalid: {0}")]
    UninstallName(String),
    /// A test of a name that is none.
    #[error("releaseTest: Release name is invalid: {0}")]
    TestName(String),
    /// An upgrade without anything to start from (HE-ACT-014, HE-ACT-015).
    #[error("{} has no deployed releases", quote(.0))]
    NoDeployedReleases(String),
    /// The newest record is pending.
    #[error("another operation (install/upgrade/rollback) is in progress")]
    InProgress,
    /// A rollback or a test of a release without records.
    #[error("release: not found")]
    NotFound,
    /// A rollback to a negative revision.
    #[error("invalid release revision")]
    InvalidRevision,
    /// A rollback to a revision that there is not (HE-ACT-026).
    #[error("release has no {0} version")]
    NoRevision(i64),
    /// An uninstallation of a release without records (HE-ACT-037).
    #[error("uninstall: Release not loaded: {0}: release: not found")]
    NotLoaded(String),
    /// An uninstallation that keeps its history, of a release that is uninstalled (HE-ACT-036).
    #[error("the release named {} is already deleted", quote(.0))]
    AlreadyDeleted(String),
    /// Labels that are Helm's own.
    #[error(
        "user supplied labels contains system reserved label name. System labels: [{list}]",
        list = SYSTEM_LABELS.join(" ")
    )]
    SystemLabels,
}
