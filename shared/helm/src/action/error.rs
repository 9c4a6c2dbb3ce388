//! Why an action cannot start, and why it failed, with Helm's texts.

use std::error::Error;

use flux_errors::chain;

use super::NameError;
use crate::SYSTEM_LABELS;
use crate::text::quote;

/// Why an action cannot start. The texts, sources joined by `: `, are Helm's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// An installation under an invalid name (HE-ACT-002).
    #[error("release name check failed: release name {}", quote(name))]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: NameError,
    },
    /// An installation under a name that is in use (HE-ACT-003).
    #[error("release name check failed: cannot reuse a name that is still in use")]
    NameInUse,
    /// An upgrade under an invalid name.
    #[error("release name is invalid: {0}")]
    UpgradeName(String),
    /// A rollback under an invalid name.
    #[error("prepareRollback: Release name is invalid: {0}")]
    RollbackName(String),
    /// An uninstallation under an invalid name.
    #[error("uninstall: Release name is invalid: {0}")]
    UninstallName(String),
    /// A test under an invalid name.
    #[error("releaseTest: Release name is invalid: {0}")]
    TestName(String),
    /// An upgrade without a deployed release (HE-ACT-014, HE-ACT-015).
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
    /// A rollback to a revision that does not exist (HE-ACT-026).
    #[error("release has no {0} version")]
    NoRevision(i64),
    /// An uninstallation of a release without records (HE-ACT-037).
    #[error("uninstall: Release not loaded: {0}: release: not found")]
    NotLoaded(String),
    /// An uninstallation that keeps the history, of a release that is already uninstalled (HE-ACT-036).
    #[error("the release named {} is already deleted", quote(.0))]
    AlreadyDeleted(String),
    /// Labels that Helm reserves for itself.
    #[error(
        "user supplied labels contains system reserved label name. System labels: [{list}]",
        list = SYSTEM_LABELS.join(" ")
    )]
    SystemLabels,
}

/// Why a step of an action failed, or the action as a whole, in Helm's words: sources are joined by `: `. A record gets the
/// same text. What follows a failure depends on the step, never on the text.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

impl Failed {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The failure of a step because of `error`.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        Self(chain(error))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
