//! Upgrading a release.

use std::collections::BTreeMap;

use super::course::{Ask, Change, Kind, OnError};
use super::{
    Action, ActionError, ApplyMethod, ApplyMethodChoice, Draft, History, check_labels, check_name,
};
use crate::{HookEvent, Info, Release, Status, Time};

/// What an upgrade is to be.
#[derive(Clone, Debug, Default)]
pub struct UpgradeOptions {
    /// Whether no hooks run.
    pub disable_hooks: bool,
    /// How objects are applied.
    pub apply_method: ApplyMethodChoice,
    /// Labels that the record gets beside those of the one before; the value `null` removes one (HE-ACT-023).
    pub labels: BTreeMap<String, String>,
    /// Whether what a failed upgrade created is deleted.
    pub cleanup_on_fail: bool,
    /// How many records there may be, zero for any number.
    pub max_history: usize,
}

/// An upgrade that may begin.
#[derive(Clone, Debug)]
pub struct Upgrade {
    base: Release,
    revision: i64,
    labels: BTreeMap<String, String>,
    method: ApplyMethod,
    surplus: Vec<i64>,
    options: UpgradeOptions,
}

impl Upgrade {
    /// Finds what to start from (HE-ACT-014, HE-ACT-015, HE-ACT-016), and how to apply (HE-ACT-024).
    ///
    /// # Errors
    /// The name is none, there is nothing to start from, or another action is under way.
    pub fn check(
        history: &History,
        name: &str,
        options: UpgradeOptions,
    ) -> Result<Self, ActionError> {
        check_name(name).map_err(|_| ActionError::UpgradeName(name.to_owned()))?;
        let base = history.base(name)?.clone();
        check_labels(&options.labels)?;
        let last = history.last().unwrap_or(&base);
        let mut labels = last.labels.clone();
        labels.extend(options.labels.clone());
        labels.retain(|_, value| value != "null");
        Ok(Self {
            revision: last.revision + 1,
            labels,
            method: options.apply_method.decide(&last.apply_method),
            surplus: history.surplus(options.max_history),
            base,
            options,
        })
    }

    /// What templates see as `.Release.Revision`, and the record's own.
    pub const fn revision(&self) -> i64 {
        self.revision
    }

    /// The record that the upgrade starts from: of the release's namespace, and with the old values.
    pub const fn base(&self) -> &Release {
        &self.base
    }

    /// Begins, with what was rendered (HE-ACT-016, HE-ACT-017, HE-ACT-019, HE-ACT-021, HE-ACT-022).
    pub fn start(self, draft: Draft, now: Time) -> Action {
        let Self { base, options, .. } = self;
        let info = Info {
            first_deployed: base
                .info
                .as_ref()
                .map_or(Time::zero(), |i| i.first_deployed),
            last_deployed: now,
            status: Some(Status::PendingUpgrade),
            description: "Preparing upgrade".to_owned(),
            ..Info::default()
        };
        let mut release = draft.into_release(base.name.clone(), base.namespace.clone(), info);
        release.revision = self.revision;
        release.labels = self.labels;
        self.method.name().clone_into(&mut release.apply_method);

        let kind = Kind::Upgrade {
            cleanup: options.cleanup_on_fail,
        };
        let mut action = Action::new(kind, release, Some(base));
        action.ask(Ask::Build, OnError::End(""));
        action.ask(
            Ask::BuildBase,
            OnError::End("unable to build kubernetes objects from current release manifest: "),
        );
        action.ask(
            Ask::CheckExisting,
            OnError::End("unable to continue with update: "),
        );
        action.store(&self.surplus);
        if !options.disable_hooks {
            action.hooks(
                HookEvent::PreUpgrade,
                OnError::Fail("pre-upgrade hooks failed: "),
            );
        }
        action.ask(Ask::Apply, OnError::FailApplied);
        action.ask(Ask::Wait, OnError::FailApplied);
        if !options.disable_hooks {
            action.hooks(
                HookEvent::PostUpgrade,
                OnError::Fail("post-upgrade hooks failed: "),
            );
        }
        action.then(Change::SupersedeBase);
        action.ask(Ask::UpdateBase, OnError::Ignore);
        action.then(Change::Deployed(Some("Upgrade complete")));
        action.ask(Ask::Update, OnError::End(""));
        action
    }
}
