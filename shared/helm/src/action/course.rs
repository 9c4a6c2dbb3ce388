//! The state machine of an action: a queue of steps, each with what happens if it fails.

use std::collections::VecDeque;

use super::{Failed, HookStep, Step};
use crate::{HookEvent, HookExecution, HookPhase, Release, Status, Time, executing};

const BEFORE_CREATION: &str = "before-hook-creation";
const SUCCEEDED: &str = "hook-succeeded";
const FAILED: &str = "hook-failed";

/// An action in progress. It performs nothing itself: [`Action::next`] takes the result of the last step and returns the
/// next one.
///
/// ```
/// use flux_helm::{Release, Time, action::{Action, Draft, History, InstallOptions, Install, Step}};
///
/// let history = History::new([]);
/// let install = Install::check(&history, InstallOptions::new("web", "apps"))?;
/// // ... render the chart with install.revision() ...
/// let mut action = install.start(Draft::default(), Time::zero());
/// let mut outcome = Ok(());
/// let mut stored = Vec::new();
/// loop {
///     match action.next(Time::zero(), outcome) {
///         Step::CreateRecord(record) | Step::UpdateRecord(record) => stored.push(record.status()),
///         Step::Done(result) => break assert_eq!(result, Ok(())),
///         _ => {} // applied, waited for, ...
///     }
///     outcome = Ok(());
/// }
/// assert_eq!(stored.map_to_text(), ["pending-install", "deployed"]);
/// # trait Text { fn map_to_text(&self) -> Vec<&str>; }
/// # impl Text for Vec<flux_helm::Status> { fn map_to_text(&self) -> Vec<&str> { self.iter().map(|s| s.as_str()).collect() } }
/// # Ok::<(), flux_helm::action::ActionError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Action {
    pub(super) kind: Kind,
    pub(super) release: Release,
    /// The record that the release is based on.
    pub(super) base: Option<Release>,
    /// Further records that the action changes.
    pub(super) others: Vec<Release>,
    pub(super) items: VecDeque<Item>,
    asked: Option<(Ask, OnError)>,
    /// Errors that did not end the action at once.
    collected: Vec<String>,
    /// The error that the action will end with.
    raised: Option<Failed>,
    /// The hooks of the event in progress, as indexes in the order of execution.
    hooks: Vec<usize>,
    /// Index of the first hook to run; those before it are skipped.
    skip_hooks: usize,
    /// Whether objects may have been created.
    applied: bool,
}

/// The kind of an action, with the options that matter for its failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Install,
    Upgrade { cleanup: bool },
    Rollback { cleanup: bool },
    Uninstall,
    Test,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    Ask(Ask, OnError),
    Change(Change),
    /// The hooks of an event, and what happens if one fails.
    Hooks(HookEvent, OnError),
    /// Marks the end of the hooks of an event.
    EndHooks(OnError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Build,
    BuildBase,
    CheckExisting,
    CreateNamespace,
    Create,
    Update,
    UpdateBase,
    UpdateOther(usize),
    Forget(i64),
    Hook(HookStep, usize),
    Apply,
    Wait,
    CleanUp,
    DeleteObjects,
    WaitDeleted,
}

/// What happens if a step fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnError {
    /// The error is ignored.
    Ignore,
    /// The action ends with this text before the error.
    End(&'static str),
    /// The action ends with the error, after the pending clean-up.
    Raise,
    /// The action ends with this text in place of the error, which is appended (HE-ACT-032, HE-ACT-033).
    EndDeleting,
    /// The release fails with this text before the error.
    Fail(&'static str),
    /// The release fails, and the base's record is written once more.
    FailApplied,
    /// The error is reported at the end, with this text before it.
    Collect(&'static str),
    /// The error is reported at the end, and no further record is deleted.
    EndPurging,
    /// The remaining hooks of this event are skipped.
    Hooks(HookEvent),
    /// The error of the clean-up replaces the one that caused the clean-up.
    Replace,
    /// The clean-up of a failed upgrade or rollback failed.
    CleanUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Marks the release as deployed, with this description if there is one.
    Deployed(Option<&'static str>),
    /// Marks the base as superseded.
    SupersedeBase,
    /// Marks the base as superseded by a release that takes its place as if it were the first.
    ReplaceBase,
    SupersedeOther(usize),
    /// Gives a hook without a deletion policy the default one, which the record then has (HE-HOOK-003).
    HookPolicy(usize),
    /// Marks a hook as running.
    HookStarts(usize),
    /// Sets the phase of a hook to unknown until it ends.
    HookRuns(usize),
    /// Records the end of a hook, and whether it succeeded.
    HookEnds(usize, bool),
    /// Marks the release as uninstalled.
    Uninstalled,
    /// Ends the action if errors were collected.
    EndIfCollected(Collected),
    /// Fails with the error that was deferred.
    Raise(OnError),
}

/// How collected errors are summarised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collected {
    Trimming,
    Uninstalling,
}

impl Action {
    pub(super) fn new(kind: Kind, release: Release, base: Option<Release>) -> Self {
        Self {
            kind,
            release,
            base,
            others: Vec::new(),
            items: VecDeque::new(),
            asked: None,
            collected: Vec::new(),
            raised: None,
            hooks: Vec::new(),
            skip_hooks: 0,
            applied: false,
        }
    }

    /// The current state of the action's record.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The record that the action is based on, whose objects are the old state: for an upgrade the last deployed one, for a
    /// rollback the newest one.
    pub fn base(&self) -> Option<&Release> {
        self.base.as_ref()
    }

    /// The record, after the last step.
    pub fn into_release(self) -> Release {
        self.release
    }

    /// Takes the result of the last step (any value on the first call), and returns the next step. `now` is the time for
    /// timestamps in records.
    pub fn next(&mut self, now: Time, outcome: Result<(), Failed>) -> Step<'_> {
        if let Some((ask, on_error)) = self.asked.take() {
            self.answer(ask, on_error, now, outcome);
        }
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Ask(ask, on_error) => {
                    self.asked = Some((ask, on_error));
                    self.applied |= ask == Ask::Apply;
                    return self.step(ask);
                }
                Item::Change(change) => self.change(change, now),
                Item::Hooks(event, on_error) => self.run_hooks(event, on_error),
                Item::EndHooks(_) => {}
            }
        }
        Step::Done(self.raised.as_ref().map_or(Ok(()), Err))
    }

    /// Whether [`Action::interrupt`] marks the record as failed: for an installation or upgrade.
    pub const fn is_interruptible(&self) -> bool {
        matches!(self.kind, Kind::Install | Kind::Upgrade { .. })
    }

    /// Aborts an installation or upgrade, for example on a timeout: the release fails with this error (HE-ACT-013,
    /// HC-ACT-074), and what was created stays. Any other action just ends. [`Action::next`] returns the remaining steps.
    pub fn interrupt(&mut self, now: Time, error: &Failed) {
        self.asked = None;
        let on_error = match self.kind {
            Kind::Install | Kind::Upgrade { .. } => OnError::Fail(""),
            _ => OnError::End(""),
        };
        self.failed(on_error, error.as_str(), now);
        let cleans_up = |item: &Item| matches!(item, Item::Ask(Ask::CleanUp, _));
        self.items.retain(|item| !cleans_up(item));
    }

    fn step(&self, ask: Ask) -> Step<'_> {
        match ask {
            Ask::Build => Step::Build(&self.release),
            Ask::BuildBase => Step::BuildBase(self.base.as_ref().unwrap_or(&self.release)),
            Ask::CheckExisting => Step::CheckExisting,
            Ask::CreateNamespace => Step::CreateNamespace,
            Ask::Create => Step::CreateRecord(&self.release),
            Ask::Update => Step::UpdateRecord(&self.release),
            Ask::UpdateBase => Step::UpdateRecord(self.base.as_ref().unwrap_or(&self.release)),
            Ask::UpdateOther(i) => Step::UpdateRecord(self.others.get(i).unwrap_or(&self.release)),
            Ask::Forget(revision) => Step::DeleteRecord(revision),
            Ask::Hook(step, hook) => match self.release.hooks.get(hook) {
                Some(hook) => Step::Hook(step, hook),
                None => Step::Done(Ok(())), // not to be reached: hooks are never removed
            },
            Ask::Apply => Step::Apply,
            Ask::Wait => Step::Wait,
            Ask::CleanUp => Step::CleanUp,
            Ask::DeleteObjects => Step::DeleteObjects(&self.release),
            Ask::WaitDeleted => Step::WaitDeleted,
        }
    }

    fn answer(&mut self, ask: Ask, on_error: OnError, now: Time, outcome: Result<(), Failed>) {
        let Err(error) = outcome else { return };
        match (ask, on_error) {
            (Ask::Hook(step, hook), OnError::Hooks(event)) => {
                self.hook_failed(step, hook, event, error.as_str(), now);
            }
            _ => self.failed(on_error, error.as_str(), now),
        }
    }

    fn failed(&mut self, on_error: OnError, error: &str, now: Time) {
        match on_error {
            OnError::Ignore | OnError::Hooks(_) => {}
            OnError::End(prefix) => self.end(format!("{prefix}{error}")),
            OnError::Raise => self.raised = Some(Failed::new(error)),
            OnError::EndDeleting => {
                let name = &self.release.name;
                self.end(format!("failed to delete release: {name}: {error}"));
            }
            OnError::Collect(prefix) => self.collected.push(format!("{prefix}{error}")),
            OnError::EndPurging => {
                self.items
                    .retain(|item| !matches!(item, Item::Ask(Ask::Forget(_), _)));
                let purge = "uninstall: Failed to purge the release";
                self.collected.push(format!("{purge}: {error}"));
            }
            OnError::Replace => {
                let on_error = self.skip_to_end_of_hooks();
                self.raised = Some(Failed::new(error));
                self.change(Change::Raise(on_error), now);
            }
            OnError::CleanUp => {
                let original = self.raised.take().unwrap_or_default();
                let what = match self.kind {
                    Kind::Rollback { .. } => "rollback error".to_owned(),
                    _ => format!("upgrade error: {original}"),
                };
                self.end(format!(
                    "an error occurred while cleaning up resources. original {what}: unable to cleanup resources: {error}"
                ));
            }
            OnError::Fail(prefix) => self.release_failed(&format!("{prefix}{error}"), false),
            OnError::FailApplied => self.release_failed(error, true),
        }
    }

    /// Ends the action without further steps.
    fn end(&mut self, error: String) {
        self.items.clear();
        self.raised = Some(Failed::new(error));
    }

    /// Marks the release as failed, and cleans up what was started (HE-ACT-012, HE-ACT-022, HE-ACT-029).
    fn release_failed(&mut self, error: &str, applied: bool) {
        let name = crate::text::quote(&self.release.name);
        let mut returned = error.to_owned();
        let (description, cleanup) = match self.kind {
            Kind::Upgrade { cleanup } => (
                format!("Upgrade {name} failed: {error}"),
                cleanup && self.applied,
            ),
            Kind::Rollback { cleanup } if applied => {
                supersede(self.base.as_mut());
                (format!("Rollback {name} failed: {error}"), cleanup)
            }
            Kind::Rollback { .. } => {
                returned = format!("release {} failed: {error}", self.release.name);
                (format!("Release {name} failed: {error}"), false)
            }
            _ => (format!("Release {name} failed: {error}"), false),
        };
        self.release.set_status(Status::Failed, description);
        self.items.clear();
        let rollback = matches!(self.kind, Kind::Rollback { .. });
        if rollback || applied && matches!(self.kind, Kind::Upgrade { .. }) {
            self.ask(Ask::UpdateBase, OnError::Ignore);
        }
        self.ask(Ask::Update, OnError::Ignore);
        if cleanup {
            self.ask(Ask::CleanUp, OnError::CleanUp);
        }
        self.raised = Some(Failed::new(returned));
    }

    pub(super) fn ask(&mut self, ask: Ask, on_error: OnError) {
        self.items.push_back(Item::Ask(ask, on_error));
    }

    pub(super) fn then(&mut self, change: Change) {
        self.items.push_back(Item::Change(change));
    }

    pub(super) const fn skip_hooks(&mut self, count: usize) {
        self.skip_hooks = count;
    }

    pub(super) fn hooks(&mut self, event: HookEvent, on_error: OnError) {
        self.items.push_back(Item::Hooks(event, on_error));
    }

    /// Runs the hooks of an event, one after the other (HE-HOOK-004..007, HE-HOOK-012, HE-HOOK-013).
    fn run_hooks(&mut self, event: HookEvent, on_error: OnError) {
        let rest = std::mem::take(&mut self.items);
        let mut hooks = executing(&self.release.hooks, event);
        hooks.retain(|hook| *hook >= self.skip_hooks);
        let failed = OnError::Hooks(event);
        for hook in hooks.iter().copied() {
            self.then(Change::HookPolicy(hook));
            if self.has_policy(hook, BEFORE_CREATION) {
                self.ask(Ask::Hook(HookStep::Delete, hook), failed);
            }
            self.ask(Ask::Hook(HookStep::Build, hook), failed);
            self.then(Change::HookStarts(hook));
            self.ask(Ask::Update, OnError::Ignore);
            self.then(Change::HookRuns(hook));
            self.ask(Ask::Hook(HookStep::Create, hook), failed);
            self.ask(Ask::Hook(HookStep::Watch, hook), failed);
            self.then(Change::HookEnds(hook, true));
        }
        if self.kind == Kind::Test {
            self.ask(Ask::Update, OnError::Raise);
        }
        for hook in hooks.iter().rev().copied() {
            if self.has_log_policy(hook, SUCCEEDED) {
                self.ask(Ask::Hook(HookStep::Logs, hook), OnError::Ignore);
            }
            if self.has_policy(hook, SUCCEEDED) {
                self.ask(Ask::Hook(HookStep::Delete, hook), failed);
            }
        }
        self.items.push_back(Item::EndHooks(on_error));
        self.items.extend(rest);
        self.hooks = hooks;
    }

    /// Handles the failure of a step of a hook: the other hooks are skipped, and those that ran are deleted according to
    /// their policies.
    fn hook_failed(
        &mut self,
        step: HookStep,
        hook: usize,
        event: HookEvent,
        error: &str,
        now: Time,
    ) {
        let path = self
            .release
            .hooks
            .get(hook)
            .map(|hook| hook.path.clone())
            .unwrap_or_default();
        let name = event.as_str();
        let error = match step {
            HookStep::Build => {
                format!("unable to build kubernetes object for {name} hook {path}: {error}")
            }
            HookStep::Create => format!("warning: Hook {name} {path} failed: {error}"),
            _ => error.to_owned(),
        };
        let ran = self.ran_before();
        let unrecorded = self.items.contains(&Item::Ask(Ask::Update, OnError::Raise));
        let on_error = self.skip_to_end_of_hooks();
        if matches!(step, HookStep::Create | HookStep::Watch) {
            self.change(Change::HookEnds(hook, false), now);
        }
        let mut items = Vec::new();
        let mut ask = |ask, on_error| items.push(Item::Ask(ask, on_error));
        let watched = step == HookStep::Watch;
        if watched && self.has_log_policy(hook, FAILED) {
            ask(Ask::Hook(HookStep::Logs, hook), OnError::Ignore);
        }
        if self.kind == Kind::Test && unrecorded {
            ask(Ask::Update, OnError::Ignore);
        }
        if watched {
            if self.has_policy(hook, FAILED) {
                ask(Ask::Hook(HookStep::Delete, hook), OnError::Ignore);
            }
            for earlier in ran {
                if self.has_policy(earlier, SUCCEEDED) {
                    ask(Ask::Hook(HookStep::Delete, earlier), OnError::Replace);
                }
            }
        }
        items.push(Item::Change(Change::Raise(on_error)));
        items.push(Item::EndHooks(on_error));
        self.raised = Some(Failed::new(error));
        for item in items.into_iter().rev() {
            self.items.push_front(item);
        }
    }

    /// The hooks of this event that ran before the current one.
    fn ran_before(&self) -> Vec<usize> {
        let left = self
            .items
            .iter()
            .take_while(|item| !matches!(item, Item::EndHooks(_)))
            .filter(|item| matches!(item, Item::Change(Change::HookEnds(..))))
            .count();
        let ran = self.hooks.len().saturating_sub(left);
        self.hooks.get(..ran).unwrap_or_default().to_vec()
    }

    /// Removes the remaining steps of the hooks in progress.
    fn skip_to_end_of_hooks(&mut self) -> OnError {
        while let Some(item) = self.items.pop_front() {
            if let Item::EndHooks(on_error) = item {
                return on_error;
            }
        }
        OnError::End("")
    }

    /// Whether a hook's object is deleted at this moment; by default before creation. Definitions are never deleted, since
    /// all their custom resources would be deleted with them.
    fn has_policy(&self, hook: usize, policy: &str) -> bool {
        self.release.hooks.get(hook).is_some_and(|hook| {
            let policies = &hook.delete_policies;
            let says = policies.iter().any(|p| p == policy)
                || policies.is_empty() && policy == BEFORE_CREATION;
            says && hook.kind != "CustomResourceDefinition"
        })
    }

    fn has_log_policy(&self, hook: usize, policy: &str) -> bool {
        self.release.hooks.get(hook).is_some_and(|hook| {
            matches!(hook.kind.as_str(), "Job" | "Pod")
                && hook.output_log_policies.iter().any(|p| p == policy)
        })
    }

    fn change(&mut self, change: Change, now: Time) {
        match change {
            Change::Deployed(description) => {
                let info = self.release.info.get_or_insert_default();
                info.status = Some(Status::Deployed);
                if let Some(description) = description {
                    description.clone_into(&mut info.description);
                }
            }
            Change::SupersedeBase => supersede(self.base.as_mut()),
            Change::ReplaceBase => {
                if let Some(base) = &mut self.base {
                    base.set_status(Status::Superseded, "superseded by new release");
                }
            }
            Change::SupersedeOther(i) => supersede(self.others.get_mut(i)),
            Change::HookPolicy(hook) => {
                if let Some(hook) = self.release.hooks.get_mut(hook)
                    && hook.delete_policies.is_empty()
                {
                    hook.delete_policies.push(BEFORE_CREATION.to_owned());
                }
            }
            Change::HookStarts(hook) => self.hook_ran(hook, |run| {
                *run = HookExecution {
                    started_at: now,
                    completed_at: Time::zero(),
                    phase: HookPhase::Running,
                };
            }),
            Change::HookRuns(hook) => self.hook_ran(hook, |run| run.phase = HookPhase::Unknown),
            Change::HookEnds(hook, well) => self.hook_ran(hook, |run| {
                run.completed_at = now;
                run.phase = if well {
                    HookPhase::Succeeded
                } else {
                    HookPhase::Failed
                };
            }),
            Change::Uninstalled => {
                let description = "Uninstallation complete".to_owned();
                self.release.set_status(Status::Uninstalled, description);
            }
            Change::EndIfCollected(how) => self.sum_up(how),
            Change::Raise(on_error) => {
                let error = self.raised.take().unwrap_or_default();
                self.failed(on_error, error.as_str(), now);
            }
        }
    }

    fn hook_ran(&mut self, hook: usize, how: impl FnOnce(&mut HookExecution)) {
        if let Some(hook) = self.release.hooks.get_mut(hook) {
            how(&mut hook.last_run);
        }
    }

    fn sum_up(&mut self, how: Collected) {
        let count = self.collected.len();
        let Some(first) = self.collected.first() else {
            return;
        };
        let error = match how {
            Collected::Trimming if count == 1 => first.clone(),
            Collected::Trimming => {
                format!("encountered {count} deletion errors. First is: {first}")
            }
            Collected::Uninstalling => format!(
                "uninstallation completed with {count} error(s): {}",
                self.collected.join("; ")
            ),
        };
        self.end(error);
    }
}

fn supersede(record: Option<&mut Release>) {
    if let Some(record) = record {
        record.info.get_or_insert_default().status = Some(Status::Superseded);
    }
}
