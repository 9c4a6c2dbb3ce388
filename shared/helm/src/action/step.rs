//! What an action asks of its caller, step by step.

use crate::{Hook, Release};

/// What to do next. A step that fails is answered with the text of what went wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// Read the objects that this record, the action's own, is to bring about ([`super::target_objects`]).
    Build(&'a Release),
    /// Read the objects of the record that the action starts from ([`super::objects`]).
    BuildBase(&'a Release),
    /// Look up which objects exist that are not the base's, and check whose they are ([`super::Owner::check`]).
    CheckExisting,
    /// Create the release's namespace; one that exists is fine (HE-ACT-010).
    CreateNamespace,
    /// Create the Secret of this record.
    CreateRecord(&'a Release),
    /// Write this record into its Secret.
    UpdateRecord(&'a Release),
    /// Delete the Secret of this revision; one that is gone is fine.
    DeleteRecord(i64),
    /// Do something for a hook.
    Hook(HookStep, &'a Hook),
    /// Bring the release's objects about: [`super::plan`] says which are created, updated and pruned.
    Apply,
    /// Wait until the release's objects are ready.
    Wait,
    /// Delete what the failed action created. With nothing created there is nothing to do.
    CleanUp,
    /// Delete the objects of this record ([`super::deletion`]).
    DeleteObjects(&'a Release),
    /// Wait until the deleted objects are gone.
    WaitDeleted,
    /// The action is over, well or with this error.
    Done(Result<(), &'a str>),
}

/// What to do for a hook (HE-HOOK-006, HE-HOOK-007, HE-HOOK-010, HE-HOOK-013).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookStep {
    /// Delete its object in the background, and wait until it is gone. One that is not there is fine.
    Delete,
    /// Read its object.
    Build,
    /// Create its object.
    Create,
    /// Wait until it is ready: a Job complete, a Pod succeeded, anything else at once.
    Watch,
    /// Put out the logs of its Pods, or drop them (HE-HOOK-014). Errors count for nothing.
    Logs,
}
