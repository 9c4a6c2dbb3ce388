//! The steps that the caller of an action performs.

use super::Failed;
use crate::{Hook, Release};

/// The next step to perform. If it fails, pass the error to the next call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step<'a> {
    /// Parse the target objects of this record, the action's own ([`super::target_objects`]).
    Build(&'a Release),
    /// Parse the objects of the record that the action is based on ([`super::objects`]).
    BuildBase(&'a Release),
    /// Look up which objects exist that are not the base's, and check their ownership ([`super::Owner::check`]).
    CheckExisting,
    /// Create the release's namespace; it may exist already (HE-ACT-010).
    CreateNamespace,
    /// Create the Secret of this record.
    CreateRecord(&'a Release),
    /// Update the Secret of this record.
    UpdateRecord(&'a Release),
    /// Delete the Secret of this revision; it may be gone already.
    DeleteRecord(i64),
    /// Perform a step of a hook.
    Hook(HookStep, &'a Hook),
    /// Apply the release's objects: [`super::plan`] returns which are created, updated and pruned.
    Apply,
    /// Wait until the release's objects are ready.
    Wait,
    /// Delete the objects that the failed action created, if any.
    CleanUp,
    /// Delete the objects of this record ([`super::deletion`]).
    DeleteObjects(&'a Release),
    /// Wait until the deleted objects are gone.
    WaitDeleted,
    /// The action has ended: with success, or with this error.
    Done(Result<(), &'a Failed>),
}

/// A step of a hook (HE-HOOK-006, HE-HOOK-007, HE-HOOK-010, HE-HOOK-013).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookStep {
    /// Delete its object in the background, and wait until it is gone. It may be gone already.
    Delete,
    /// Parse its object.
    Build,
    /// Create its object.
    Create,
    /// Wait until it is ready: a Job completed, a Pod succeeded; other kinds are ready at once.
    Watch,
    /// Write or discard the logs of its Pods (HE-HOOK-014). Errors are ignored.
    Logs,
}
