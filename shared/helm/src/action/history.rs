//! The records of one release, as the input of actions.

use super::ActionError;
use crate::{Release, Status};

/// All records of one release, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History(Vec<Release>);

impl History {
    /// The records of a release, in any order.
    pub fn new(records: impl IntoIterator<Item = Release>) -> Self {
        let mut records: Vec<_> = records.into_iter().collect();
        records.sort_by_key(|record| record.revision);
        Self(records)
    }

    /// The records, oldest first.
    pub fn records(&self) -> &[Release] {
        &self.0
    }

    /// The newest record.
    pub fn last(&self) -> Option<&Release> {
        self.0.last()
    }

    /// The record of a revision.
    pub fn get(&self, revision: i64) -> Option<&Release> {
        self.0.iter().find(|record| record.revision == revision)
    }

    /// The newest record that is deployed.
    pub fn deployed(&self) -> Option<&Release> {
        self.all_deployed().next_back()
    }

    /// All records that are deployed, oldest first; several only after two actions ran concurrently.
    pub(super) fn all_deployed(&self) -> impl DoubleEndedIterator<Item = &Release> {
        self.0
            .iter()
            .filter(|record| record.status() == Status::Deployed)
    }

    /// The record that an upgrade is based on: the last deployed one; if none is deployed, the newest one if it failed or
    /// was superseded (HE-ACT-014, HE-ACT-015). Its manifest is the old state of the three-way merge.
    ///
    /// # Errors
    /// There is no such record, or an action is in progress or was interrupted.
    pub fn base(&self, name: &str) -> Result<&Release, ActionError> {
        let none = || ActionError::NoDeployedReleases(name.to_owned());
        let last = self.last().ok_or_else(none)?;
        if last.status().is_pending() {
            return Err(ActionError::InProgress);
        }
        match (self.deployed(), last.status()) {
            (Some(deployed), _) => Ok(deployed),
            (None, Status::Failed | Status::Superseded) => Ok(last),
            (None, _) => Err(none()),
        }
    }

    /// The revisions to delete before another record is stored, so that no more than `max` remain: the oldest ones, never
    /// the last deployed one (HE-REL-015). Zero means no limit.
    pub fn surplus(&self, max: usize) -> Vec<i64> {
        if max == 0 {
            return Vec::new();
        }
        let keep = self.deployed().map(|record| record.revision);
        let count = (self.0.len() + 1).saturating_sub(max);
        self.0
            .iter()
            .map(|record| record.revision)
            .filter(|revision| Some(*revision) != keep)
            .take(count)
            .collect()
    }
}
