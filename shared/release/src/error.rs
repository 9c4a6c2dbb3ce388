//! The errors of releases. The texts, with sources joined by `: ` ([`flux_errors::chain`]), are Helm's.

use flux_apply::ignore::IgnoreError;
use flux_cluster::{RequestError, WaitError};
use flux_errors::chain;
use flux_helm::action::{ActionError, NotOwned, ObjectError};
use flux_helm::patch::PatchError;
use flux_helm::{ManifestError, RecordError};

/// Why an action cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// The cluster does not answer when an installation starts (HE-ACT-001).
    #[error("cluster reachability check failed: kubernetes cluster unreachable")]
    UnreachableForInstall(#[source] RequestError),
    /// The cluster does not answer when another action starts (HE-ACT-001).
    #[error("kubernetes cluster unreachable")]
    Unreachable(#[source] RequestError),
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The records do not allow the action.
    #[error(transparent)]
    Action(#[from] ActionError),
}

/// Why an action has failed after its start.
#[derive(Debug, thiserror::Error)]
pub enum PerformError {
    /// The caller cancelled the wait for the release's objects (HC-WAIT-019). The release is marked as failed.
    #[error("{message}")]
    Cancelled {
        /// Helm's text, as stored in the record.
        message: String,
    },
    /// Steps of the action have failed.
    #[error("{message}")]
    Failed {
        /// Helm's text, as stored in the record.
        message: String,
        /// The errors of the steps, in order, including those that Helm ignores.
        steps: Vec<StepError>,
    },
}

/// Why a step of an action has failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The caller cancelled the wait (HC-WAIT-019).
    #[error("context canceled")]
    Cancelled,
    /// A record cannot be written or deleted.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// A manifest cannot be parsed into objects, or an object is invalid.
    #[error(transparent)]
    Objects(#[from] ObjectError),
    /// The kinds of a manifest cannot be discovered.
    #[error("unable to recognize \"\"")]
    Discovery(#[source] RequestError),
    /// The cluster does not have the kind.
    #[error("no matches for kind {kind:?} in version {api_version:?}")]
    NoMatch {
        /// `apiVersion`
        api_version: String,
        /// `kind`
        kind: String,
    },
    /// The manifest of a hook that is to be deleted cannot be parsed.
    #[error("unable to build kubernetes object for deleting hook {path}")]
    BuildHook {
        /// The template of the hook.
        path: String,
        /// The error.
        source: Box<StepError>,
    },
    /// The manifest of a release that is to be uninstalled cannot be split into documents.
    #[error("corrupted release record. You must manually delete the resources")]
    CorruptRecord(#[source] ManifestError),
    /// The manifest of a release that is to be uninstalled cannot be parsed.
    #[error("unable to build kubernetes objects for delete")]
    BuildForDeletion(#[source] Box<StepError>),
    /// An object exists and is not owned by the release.
    #[error(transparent)]
    NotOwned(#[from] NotOwned),
    /// An object cannot be read.
    #[error("could not get information about the resource {object}")]
    Get {
        /// The object.
        object: String,
        /// The error.
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
        /// The error.
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
        /// The error.
        source: RequestError,
    },
    /// The managed fields of an object cannot be migrated (HE-KUBE-013).
    #[error("failed to patch object to upgrade CSA field manager {object}")]
    Migrate {
        /// The object.
        object: String,
        /// The error.
        source: RequestError,
    },
    /// The patch from the old to the new object cannot be computed (HE-KUBE-009).
    #[error("failed to create patch")]
    CreatePatch(#[source] PatchError),
    /// An object cannot be patched.
    #[error("cannot patch {name:?} with kind {kind}")]
    Patch {
        /// The object's name.
        name: String,
        /// The object's kind.
        kind: String,
        /// The error.
        source: RequestError,
    },
    /// An object that is no longer in the release cannot be deleted.
    #[error("failed to delete resource namespace={namespace}, name={name}, kind={kind}")]
    Prune {
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// The object's kind.
        kind: String,
        /// The error.
        source: Box<StepError>,
    },
    /// A deleted object still exists after the timeout (HC-WAIT-010).
    #[error("{object} termination timeout")]
    Termination {
        /// The object.
        object: String,
        /// Why the wait ended.
        source: RequestError,
    },
    /// Objects did not become ready (HC-WAIT-001).
    #[error(transparent)]
    NotReady(#[from] WaitError),
    /// Objects did not become ready by the rules of Helm 3 (HC-WAIT-018).
    #[error(transparent)]
    NotReadyLegacy(#[from] LegacyError),
    /// The server refused a request, or did not answer it.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Several errors, each of one object or hook.
    #[error("{}", joined(.errors, .separator))]
    Several {
        /// The errors.
        errors: Vec<StepError>,
        /// Helm's separator between their texts.
        separator: &'static str,
    },
}

impl StepError {
    /// Fails with the error if there is only one, or with [`StepError::Several`]; succeeds without errors.
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

    /// Whether the caller cancelled a wait.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled)
    }
}

/// Why waiting by the rules of Helm 3 failed (HC-WAIT-018).
#[derive(Debug, thiserror::Error)]
pub enum LegacyError {
    /// The release's objects were not ready in time.
    #[error("context deadline exceeded")]
    TimedOut,
    /// A hook did not end in time.
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
    /// A Job has failed more often than its limit allows.
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

/// Why the definitions of a chart were not applied (HC-CRD-010). The texts are upstream's.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionsError {
    /// The policy is unknown.
    #[error(
        "invalid CRD upgrade policy '{0}', valid values are 'Skip', 'Create' or 'CreateReplace'"
    )]
    Policy(String),
    /// A file is not a manifest.
    #[error("failed to parse CustomResourceDefinitions from {file}")]
    Parse {
        /// The path of the file in its chart.
        file: String,
        /// The error.
        source: Box<StepError>,
    },
    /// A definition was not created.
    #[error("failed to create CustomResourceDefinition {name}")]
    Create {
        /// Its name.
        name: String,
        /// The error.
        source: Box<StepError>,
    },
    /// Definitions were not replaced.
    #[error("failed to update CustomResourceDefinition(s)")]
    Update(#[source] Box<StepError>),
    /// Definitions were not established in time.
    #[error("failed to wait for CustomResourceDefinition(s)")]
    Wait(#[source] Box<StepError>),
}

/// Why a record is not the one that a snapshot was taken from. The texts are upstream's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The snapshot has no valid digest.
    #[error("release digest verification error")]
    Digest,
    /// The record has another content: it was changed or replaced.
    #[error("release not observed to be made for object")]
    NotObserved,
}

/// Why the record of a snapshot cannot be used (HC-ACT-057).
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no such record.
    #[error("release disappeared from storage")]
    Disappeared,
    /// The record is another one.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The record cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// What kept objects from being compared with the cluster (HC-DRIFT-011). The texts are upstream's.
#[derive(Debug, thiserror::Error)]
pub enum DriftError {
    /// The manifest in the record is not YAML.
    #[error("failed to read objects from release manifest: {0}")]
    Manifest(String),
    /// An ignore rule is invalid.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// It is unknown whether objects of a kind belong to a namespace.
    #[error("failed to determine if {kind} is namespace scoped")]
    Scope {
        /// The kind.
        kind: String,
        /// Why it is unknown.
        source: RequestError,
    },
    /// The fields of other managers were not taken over.
    #[error("failed to clean-up disallowed field managers")]
    TakeOver(#[source] RequestError),
    /// An object cannot be read.
    #[error(transparent)]
    Request(RequestError),
    /// The dry run of applying an object failed.
    #[error("{text}")]
    DryRun {
        /// Upstream's text, with the object.
        text: String,
    },
}

/// Why a `lookup` in a template failed (HE-ENG-014, HE-ENG-015).
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
    /// The lookup timed out.
    #[error("context deadline exceeded")]
    TimedOut,
}

/// Why a record could not be read or written (HE-ACT-040).
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A record of this revision exists.
    #[error("release: already exists")]
    Exists,
    /// The server did not store a new record, for example because it is larger than a Secret may be.
    #[error("create: failed to create")]
    Create(#[source] RequestError),
    /// The server did not store a changed record.
    #[error("update: failed to update")]
    Update(#[source] RequestError),
    /// The name of a release cannot be the value of a label, so that no record of it can be found (HC-REL-007).
    #[error(
        "invalid label value: {0:?}: a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    )]
    Label(String),
    /// The records of a release cannot be listed.
    #[error("query: failed to query with labels")]
    Query(#[source] RequestError),
    /// A record cannot be read from the server.
    #[error("get: failed to get {key:?}")]
    Get {
        /// The name of the Secret.
        key: String,
        /// The error.
        source: RequestError,
    },
    /// A record cannot be decoded.
    #[error("get: failed to decode data {key:?}")]
    Decode {
        /// The name of the Secret.
        key: String,
        /// The error.
        source: RecordError,
    },
    /// A release cannot be encoded as a record.
    #[error("{verb}: failed to encode release {release:?}")]
    Encode {
        /// `create` or `update`.
        verb: &'static str,
        /// The name of the release.
        release: String,
        /// The error.
        source: RecordError,
    },
    /// The server did not delete a record.
    #[error(transparent)]
    Delete(RequestError),
    /// The records of one release exceed the size limit for a release's history.
    #[error("the records of release {release:?} are larger than {limit} bytes: delete old ones")]
    TooMuch {
        /// The name of the release.
        release: String,
        /// [`crate::MAX_HISTORY_BYTES`].
        limit: usize,
    },
}

fn joined(errors: &[StepError], separator: &str) -> String {
    let texts: Vec<String> = errors.iter().map(|error| chain(error)).collect();
    texts.join(separator)
}
