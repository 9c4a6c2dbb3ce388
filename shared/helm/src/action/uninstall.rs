//! The action of uninstalling a release.

use super::course::{Ask, Change, Collected, Kind, OnError};
use super::{Action, ActionError, History, check_name};
use crate::{HookEvent, Status, Time};

/// Options of an uninstallation.
#[derive(Clone, Copy, Debug, Default)]
pub struct UninstallOptions {
    /// Whether to keep the records, the newest as uninstalled.
    pub keep_history: bool,
    /// Whether to skip hooks.
    pub disable_hooks: bool,
}

/// The uninstall action.
pub struct Uninstall;

impl Uninstall {
    /// Starts the uninstallation of the newest record (HE-ACT-030, HE-ACT-032, HE-ACT-035, HE-ACT-036).
    ///
    /// # Errors
    /// The name is invalid, there is no record, or the release is already uninstalled.
    pub fn start(
        history: &History,
        name: &str,
        options: UninstallOptions,
        now: Time,
    ) -> Result<Action, ActionError> {
        check_name(name).map_err(|_| ActionError::UninstallName(name.to_owned()))?;
        let last = history
            .last()
            .ok_or_else(|| ActionError::NotLoaded(name.to_owned()))?;
        let done = last.status() == Status::Uninstalled;
        if done && options.keep_history {
            return Err(ActionError::AlreadyDeleted(name.to_owned()));
        }
        let revisions: Vec<i64> = history.records().iter().map(|r| r.revision).collect();
        let mut action = Action::new(Kind::Uninstall, last.clone(), None);
        if done {
            for revision in revisions {
                let purge = "uninstall: Failed to purge the release: ";
                action.ask(Ask::Forget(revision), OnError::End(purge));
            }
            return Ok(action);
        }
        action.others = history
            .all_deployed()
            .filter(|record| record.revision != last.revision)
            .cloned()
            .collect();
        let underway = "Deletion in progress (or silently failed)";
        action.release.set_status(Status::Uninstalling, underway);
        action.release.info.get_or_insert_default().deleted = now;
        action.uninstall(options, &revisions);
        Ok(action)
    }
}

impl Action {
    fn uninstall(&mut self, options: UninstallOptions, revisions: &[i64]) {
        if !options.disable_hooks {
            self.hooks(HookEvent::PreDelete, OnError::End(""));
        }
        self.ask(Ask::Update, OnError::Ignore);
        self.ask(Ask::DeleteObjects, OnError::EndDeleting);
        self.ask(Ask::WaitDeleted, OnError::Collect(""));
        if !options.disable_hooks {
            self.hooks(HookEvent::PostDelete, OnError::Collect(""));
        }
        self.then(Change::Uninstalled);
        if options.keep_history {
            self.ask(Ask::Update, OnError::Ignore);
            self.supersede_others();
        } else {
            for revision in revisions {
                self.ask(Ask::Forget(*revision), OnError::EndPurging);
            }
        }
        self.then(Change::EndIfCollected(Collected::Uninstalling));
    }
}
