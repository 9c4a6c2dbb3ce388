//! The errors of releases. The texts, sources joined by `: ` ([`flux_errors::chain`]), are Helm's.

use flux_cluster::{RequestError, WaitError};
use flux_errors::chain;
use flux_helm::action::{ActionError, NotOwned, ObjectError};
use flux_helm::patch::PatchError;
use flux_helm::{ManifestError, RecordError};

/// Why an action cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The cluster does not answer an installation (HE-ACT-001).
    #[error("cluster reachability check failed: kubernetes cluster unreachable")]
    UnreachableForInstall(#[source] RequestError),
    /// The cluster does not answer any other action (HE-ACT-001).
    #[error("kubernetes cluster unreachable")]
    Unreachable(#[source] RequestError),
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The records do not allow the action.
    #[error(transparent)]
    Action(#[from] ActionError),
}

/// Why an action that was begun has failed.
#[derive(Debug, thiserror::Error)]
pub enum PerformError {
    /// The caller gave up the wait for the release's objects (HC-WAIT-019). The release is marked as failed.
    #[error("{message}")]
    Cancelled {
        /// Helm's text, as the record has it.
        message: String,
    },
    /// Steps of the action have failed.
    #[error("{message}")]
    Failed {
        /// Helm's text, as the record has it.
        message: String,
        /// The errors of the steps, in their order. Those that Helm passes over are among them.
        steps: Vec<StepError>,
    },
}

/// Why a step of an action has failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The caller gave up the wait (HC-WAIT-019).
    #[error("context canceled")]
    Cancelled,
    /// A record cannot be written or deleted.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A manifest does not hold objects, or an object is not valid.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The kinds of a manifest cannot be discovered.
    #[error("unable to recognize \"\"")]
    Discovery(#[source] RequestError),
    /// The cluster has no such kind.
    #[error("no matches for kind {kind:?} in version {api_version:?}")]
    NoMatch {
        /// `apiVersion`
        api_version: String,
        /// `kind`
        kind: String,
    },
    /// The manifest of a hook that is to be deleted cannot be read.
    #[error("unable to build kubernetes object for deleting hook {path}")]
    BuildHook {
        /// The template of the hook.
        path: String,
        /// Why not.
        source: Box<StepError>,
    },
    /// The manifest of a release that is to be uninstalled cannot be split into documents.
    #[error("corrupted release record. You must manually delete the resources")]
    CorruptRecord(#[source] ManifestError),
    /// The manifest of a release that is to be uninstalled cannot be read.
    #[error("unable to build kubernetes objects for delete")]
    BuildForDeletion(#[source] Box<StepError>),
    /// An object exists and is not the release's.
    #[error(transparent)]
    NotOwned(#[from] NotOwned),
    /// An object cannot be read.
    #[error("could not get information about the resource {object}")]
    Get {
        /// The object.
        object: String,
        /// Why not.
        source: RequestError,
    },
    /// An object that is to be updated cannot be read.
    #[error("could not get information about the resource")]
    GetForUpdate(#[source] RequestError),
    /// There is nothing to create.
    #[error("no objects visited")]
    NothingToCreate,
    /// There is nothing to delete.
    #[error("object not found, skipping delete: no objects visited")]
    NothingToDelete,
    /// The server does not support server-side apply (HE-KUBE-011).
    #[error("server-side apply not available on the server")]
    ApplyUnsupported(#[source] RequestError),
    /// Fields of an object are managed by others, or it was changed at the same time (HE-KUBE-011).
    #[error("conflict occurred while applying object {object}")]
    ApplyConflict {
        /// The object.
        object: String,
        /// The server's refusal.
        source: RequestError,
    },
    /// The server does not apply an object (HE-KUBE-011).
    #[error("server-side apply failed for object {object}")]
    Apply {
        /// The object.
        object: String,
        /// Why not.
        source: RequestError,
    },
    /// An object that is new in a release cannot be created.
    #[error("failed to create resource")]
    Create(#[source] Box<StepError>),
    /// An object cannot be replaced (HE-KUBE-014).
    #[error("failed to replace object")]
    Replace(#[source] RequestError),
    /// An object cannot be read again to migrate its managed fields (HE-KUBE-013).
    #[error("failed to get object {object}")]
    GetForMigration {
        /// The object.
        object: String,
        /// Why not.
        source: RequestError,
    },
    /// The managed fields of an object cannot be migrated (HE-KUBE-013).
    #[error("failed to patch object to upgrade CSA field manager {object}")]
    Migrate {
        /// The object.
        object: String,
        /// Why not.
        source: RequestError,
    },
    /// There is no patch from the old to the new object (HE-KUBE-009).
    #[error("failed to create patch")]
    CreatePatch(#[source] PatchError),
    /// An object cannot be patched.
    #[error("cannot patch {name:?} with kind {kind}")]
    Patch {
        /// The object's name.
        name: String,
        /// The object's kind.
        kind: String,
        /// Why not.
        source: RequestError,
    },
    /// An object that the release no longer has cannot be deleted.
    #[error("failed to delete resource namespace={namespace}, name={name}, kind={kind}")]
    Prune {
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// The object's kind.
        kind: String,
        /// Why not.
        source: Box<StepError>,
    },
    /// An object that was deleted is still there (HC-WAIT-010).
    #[error("{object} termination timeout")]
    Termination {
        /// The object.
        object: String,
        /// Why it was waited for no longer.
        source: RequestError,
    },
    /// Objects have not become ready (HC-WAIT-001).
    #[error(transparent)]
    NotReady(#[from] WaitError),
    /// Objects have not become ready, as Helm 3 judges it (HC-WAIT-018).
    #[error(transparent)]
    NotReadyLegacy(#[from] LegacyError),
    /// The server has refused a request, or not answered it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Several of these, each for one object or hook.
    #[error("{}", joined(.errors, .separator))]
    Several {
        /// The errors.
        errors: Vec<StepError>,
        /// What Helm writes between their texts.
        separator: &'static str,
    },
}

impl StepError {
    /// Fails with the one error, or with [`StepError::Several`]; succeeds if there is none.
    pub(crate) fn of_several(
        mut errors: Vec<StepError>,
        separator: &'static str,
    ) -> Result<(), StepError> {
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0)),
            _ => Err(Self::Several { errors, separator }),
        }
    }

    /// Whether the caller gave up a wait.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

/// Why Helm 3's way of waiting has ended without success (HC-WAIT-018).
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// The release's objects were not ready in time.
    #[error("context deadline exceeded")]
    TimedOut,
    /// A hook has not ended in time.
    #[error("timed out waiting for the condition")]
    HookTimedOut,
    /// An object is gone.
    #[error("{resource} {name:?} not found")]
    NotFound {
        /// The resource with its group, `deployments.apps`.
        resource: String,
        /// The object's name.
        name: String,
    },
    /// A Job has failed more often than it may.
    #[error("job is failed: {namespace}/{name}")]
    JobFailed {
        /// The Job's namespace.
        namespace: String,
        /// The Job's name.
        name: String,
    },
    /// The Job of a hook has failed.
    #[error("job {name} failed: {reason}")]
    HookJobFailed {
        /// The Job's name.
        name: String,
        /// The reason of its condition `Failed`.
        reason: String,
    },
    /// The Pod of a hook has failed.
    #[error("pod {name} failed")]
    HookPodFailed {
        /// The Pod's name.
        name: String,
    },
}

/// Why a template's `lookup` has no answer (HE-ENG-014, HE-ENG-015).
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookupError {
    /// The kind cannot be discovered, or the cluster does not serve its version.
    #[error(
        "unable to get apiresource from unstructured: {}{api_version}, Kind={kind}",
        if api_version.contains('/') { "" } else { "/" }
    )]
    Kind {
        api_version: String,
        kind: String,
        source: RequestError,
    },
    /// The objects cannot be read.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// There was no answer in time.
    #[error("context deadline exceeded")]
    TimedOut,
}

/// A record that cannot be read or written (HE-ACT-040).
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// There is a record of this revision.
    #[error("release: already exists")]
    Exists,
    /// The server does not store a new record, such as one larger than a Secret may be.
    #[error("create: failed to create")]
    Create(#[source] RequestError),
    /// The server does not store a changed record.
    #[error("update: failed to update")]
    Update(#[source] RequestError),
    /// The records of a release cannot be listed.
    #[error("query: failed to query with labels")]
    Query(#[source] RequestError),
    /// A record cannot be read from the server.
    #[error("get: failed to get {key:?}")]
    Get {
        /// The Secret.
        key: String,
        /// Why not.
        source: RequestError,
    },
    /// A record cannot be decoded.
    #[error("get: failed to decode data {key:?}")]
    Decode {
        /// The Secret.
        key: String,
        /// Why not.
        source: RecordError,
    },
    /// A release cannot be encoded as a record.
    #[error("{verb}: failed to encode release {release:?}")]
    Encode {
        /// `create` or `update`.
        verb: &'static str,
        /// The release.
        release: String,
        /// Why not.
        source: RecordError,
    },
    /// The server does not delete a record.
    #[error(transparent)]
    Delete(RequestError),
    /// The records of one release exceed the size limit for a release's history.
    #[error("the records of release {release:?} are larger than {limit} bytes: delete old ones")]
    TooMuch {
        /// The release.
        release: String,
        /// [`crate::MAX_HISTORY_BYTES`].
        limit: usize,
    },
}

fn joined(errors: &[StepError], separator: &str) -> String {
    let texts: Vec<String> = errors.iter().map(|error| chain(error)).collect();
    texts.join(separator)
}
