//! The action of upgrading a release.

use std::collections::BTreeMap;

use super::course::{Ask, Change, Kind, OnError};
use super::{
    Action, ActionError, ApplyMethod, ApplyMethodChoice, Draft, History, check_labels, check_name,
};
use crate::{HookEvent, Info, Release, Status, Time};

/// Options of an upgrade.
#[derive(Clone, Debug, Default)]
pub struct UpgradeOptions {
    /// Whether to skip hooks.
    pub disable_hooks: bool,
    /// How objects are applied.
    pub apply_method: ApplyMethodChoice,
    /// Labels to add to those of the previous record; the value `null` removes one (HE-ACT-023).
    pub labels: BTreeMap<String, String>,
    /// Whether to delete what a failed upgrade created.
    pub cleanup_on_fail: bool,
    /// Maximum number of records; zero for no limit.
    pub max_history: usize,
}

/// An upgrade that passed its checks.
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
    /// Finds the base record (HE-ACT-014, HE-ACT-015, HE-ACT-016) and the apply method (HE-ACT-024).
    ///
    /// # Errors
    /// The name is invalid, there is no base, or another action is in progress.
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

    /// The value of `.Release.Revision` in templates, and the revision of the record.
    pub const fn revision(&self) -> i64 {
        self.revision
    }

    /// How objects are applied (HE-ACT-024).
    pub const fn method(&self) -> ApplyMethod {
        self.method
    }

    /// The record that the upgrade is based on, with the release's namespace and the old values.
    pub const fn base(&self) -> &Release {
        &self.base
    }

    /// Starts the upgrade to a rendered chart (HE-ACT-016, HE-ACT-017, HE-ACT-019, HE-ACT-021, HE-ACT-022).
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
