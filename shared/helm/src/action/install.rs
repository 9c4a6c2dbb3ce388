//! The action of installing a release.

use std::collections::BTreeMap;

use super::course::{Ask, Change, Kind, OnError};
use super::{Action, ActionError, ApplyMethod, Draft, History, check_labels, check_name};
use crate::{HookEvent, Info, Release, Status, Time};

/// Options of an installation.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// The release's name.
    pub name: String,
    /// The namespace of the release and its record.
    pub namespace: String,
    /// Whether to reuse a name whose last record is uninstalled or failed (HE-ACT-003).
    pub replace: bool,
    /// Whether to create the namespace.
    pub create_namespace: bool,
    /// Whether to skip hooks.
    pub disable_hooks: bool,
    /// How objects are applied.
    pub apply_method: ApplyMethod,
    /// Additional labels of the record.
    pub labels: BTreeMap<String, String>,
}

impl InstallOptions {
    /// Helm's defaults: hooks run, and objects are applied server-side.
    pub fn new(name: impl Into<String>, namespace: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            replace: false,
            create_namespace: false,
            disable_hooks: false,
            apply_method: ApplyMethod::ServerSide,
            labels: BTreeMap::new(),
        }
    }
}

/// An installation that passed its checks.
#[derive(Clone, Debug)]
pub struct Install {
    options: InstallOptions,
    last: Option<Release>,
}

impl Install {
    /// Checks the name (HE-ACT-002, HE-ACT-003).
    ///
    /// # Errors
    /// The name is invalid or in use.
    pub fn check(history: &History, options: InstallOptions) -> Result<Self, ActionError> {
        check_name(&options.name).map_err(|source| ActionError::Name {
            name: options.name.clone(),
            source,
        })?;
        let last = history.last();
        let free = last.is_none_or(|last| {
            options.replace && matches!(last.status(), Status::Uninstalled | Status::Failed)
        });
        if !free {
            return Err(ActionError::NameInUse);
        }
        check_labels(&options.labels)?;
        Ok(Self {
            last: last.cloned(),
            options,
        })
    }

    /// The value of `.Release.Revision` in templates: always 1, whatever the record's revision becomes (HE-ACT-004).
    pub const fn revision(&self) -> i64 {
        1
    }

    /// Starts the installation of a rendered chart (HE-ACT-011, HE-ACT-012).
    pub fn start(self, draft: Draft, now: Time) -> Action {
        let Self { options, last } = self;
        let info = Info {
            first_deployed: now,
            last_deployed: now,
            status: Some(Status::PendingInstall),
            description: "Initial install underway".to_owned(),
            ..Info::default()
        };
        let mut release = draft.into_release(options.name, options.namespace, info);
        release.revision = last.as_ref().map_or(1, |last| last.revision + 1);
        release.labels = options.labels;
        options
            .apply_method
            .name()
            .clone_into(&mut release.apply_method);

        let mut action = Action::new(Kind::Install, release, last);
        action.ask(
            Ask::Build,
            OnError::End("unable to build kubernetes objects from release manifest: "),
        );
        action.ask(
            Ask::CheckExisting,
            OnError::End("unable to continue with install: "),
        );
        if options.create_namespace {
            action.ask(Ask::CreateNamespace, OnError::End(""));
        }
        action.replace_last();
        action.ask(Ask::Create, OnError::End(""));
        if !options.disable_hooks {
            action.hooks(HookEvent::PreInstall, OnError::Fail("failed pre-install: "));
        }
        action.ask(Ask::Apply, OnError::Fail(""));
        action.ask(Ask::Wait, OnError::Fail(""));
        if !options.disable_hooks {
            action.hooks(
                HookEvent::PostInstall,
                OnError::Fail("failed post-install: "),
            );
        }
        action.then(Change::Deployed(Some("Install complete")));
        action.ask(Ask::Update, OnError::Ignore);
        action
    }
}

impl Action {
    /// Marks the record that this release replaces as superseded, unless it failed (HE-ACT-004).
    fn replace_last(&mut self) {
        let replaced = self
            .base
            .as_ref()
            .is_some_and(|last| last.status() != Status::Failed);
        if replaced {
            self.then(Change::ReplaceBase);
            self.ask(Ask::UpdateBase, OnError::End(""));
        }
    }
}
