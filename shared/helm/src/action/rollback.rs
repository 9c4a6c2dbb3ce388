//! The action of rolling a release back to an earlier revision.

use super::course::{Ask, Change, Kind, OnError};
use super::{Action, ActionError, ApplyMethodChoice, History, check_name};
use crate::{HookEvent, Info, Release, Status, Time};

/// Options of a rollback.
#[derive(Clone, Debug, Default)]
pub struct RollbackOptions {
    /// The revision to roll back to; zero for the one before the newest.
    pub revision: i64,
    /// Whether to skip hooks.
    pub disable_hooks: bool,
    /// How objects are applied.
    pub apply_method: ApplyMethodChoice,
    /// Whether to delete what a failed rollback created.
    pub cleanup_on_fail: bool,
    /// Maximum number of records; zero for no limit.
    pub max_history: usize,
}

/// The rollback action.
pub struct Rollback;

impl Rollback {
    /// Starts a rollback if its target revision exists (HE-ACT-025, HE-ACT-026, HE-ACT-027, HE-ACT-028).
    ///
    /// # Errors
    /// The name is invalid, or there is no such revision.
    pub fn start(
        history: &History,
        name: &str,
        options: &RollbackOptions,
        now: Time,
    ) -> Result<Action, ActionError> {
        check_name(name).map_err(|_| ActionError::RollbackName(name.to_owned()))?;
        if options.revision < 0 {
            return Err(ActionError::InvalidRevision);
        }
        let current = history.last().ok_or(ActionError::NotFound)?;
        let wanted = match options.revision {
            0 => current.revision - 1,
            revision => revision,
        };
        let target = history.get(wanted).ok_or(ActionError::NoRevision(wanted))?;
        let kind = Kind::Rollback {
            cleanup: options.cleanup_on_fail,
        };
        let release = again(target, current, options, now);
        let mut action = Action::new(kind, release, Some(current.clone()));
        action.others = history.all_deployed().cloned().collect();
        action.store(&history.surplus(options.max_history));
        action.ask(
            Ask::BuildBase,
            OnError::End("unable to build kubernetes objects from current release manifest: "),
        );
        action.ask(
            Ask::Build,
            OnError::End("unable to build kubernetes objects from new release manifest: "),
        );
        if !options.disable_hooks {
            action.hooks(HookEvent::PreRollback, OnError::End(""));
        }
        action.ask(Ask::Apply, OnError::FailApplied);
        action.ask(Ask::Wait, OnError::Fail(""));
        if !options.disable_hooks {
            action.hooks(HookEvent::PostRollback, OnError::End(""));
        }
        action.supersede_others();
        action.then(Change::Deployed(None));
        action.ask(Ask::Update, OnError::End(""));
        Ok(action)
    }
}

/// A copy of the record `target`, as a new revision after `current`.
fn again(target: &Release, current: &Release, options: &RollbackOptions, now: Time) -> Release {
    let info = |release: &Release| release.info.clone().unwrap_or_default();
    let method = options.apply_method.decide(&target.apply_method);
    Release {
        name: current.name.clone(),
        namespace: current.namespace.clone(),
        info: Some(Info {
            first_deployed: info(current).first_deployed,
            last_deployed: now,
            status: Some(Status::PendingRollback),
            rollback_revision: target.revision,
            notes: info(target).notes,
            description: format!("Rollback to {}", target.revision),
            ..Info::default()
        }),
        revision: current.revision + 1,
        apply_method: method.name().to_owned(),
        ..target.clone()
    }
}

impl Action {
    /// Deletes surplus records and stores the new one (HE-REL-015, HE-REL-017).
    pub(super) fn store(&mut self, surplus: &[i64]) {
        for revision in surplus {
            self.ask(Ask::Forget(*revision), OnError::Collect(""));
        }
        if !surplus.is_empty() {
            self.then(Change::EndIfCollected(super::course::Collected::Trimming));
        }
        self.ask(Ask::Create, OnError::End(""));
    }

    /// Marks every deployed record as superseded.
    pub(super) fn supersede_others(&mut self) {
        for other in 0..self.others.len() {
            self.then(Change::SupersedeOther(other));
            self.ask(Ask::UpdateOther(other), OnError::Ignore);
        }
    }
}
