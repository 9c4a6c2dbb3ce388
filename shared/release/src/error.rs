//! What keeps an action from beginning, and a record from being read or written. The texts, sources joined by `: `, are
//! Helm's.

use flux_apply::RequestError;
use flux_helm::RecordError;
use flux_helm::action::ActionError;

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
    /// The records say that it may not.
    #[error(transparent)]
    Action(#[from] ActionError),
}

/// A record that cannot be read or written (HE-ACT-040).
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// There is a record of this revision.
    #[error("release: already exists")]
    Exists,
    /// The server does not take a new record, such as one larger than a Secret may be.
    #[error("create: failed to create")]
    Create(#[source] RequestError),
    /// The server does not take a changed record.
    #[error("update: failed to update")]
    Update(#[source] RequestError),
    /// The server does not give the records of a release.
    #[error("query: failed to query with labels")]
    Query(#[source] RequestError),
    /// The server does not give a record.
    #[error("get: failed to get {key:?}")]
    Get {
        /// The Secret.
        key: String,
        /// Why not.
        source: RequestError,
    },
    /// A record cannot be read.
    #[error("get: failed to decode data {key:?}")]
    Decode {
        /// The Secret.
        key: String,
        /// Why not.
        source: RecordError,
    },
    /// A release cannot be made a record.
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
    /// The records of one release are larger than anybody's history.
    #[error("the records of release {release:?} are larger than {limit} bytes: delete old ones")]
    TooMuch {
        /// The release.
        release: String,
        /// [`crate::MAX_HISTORY_BYTES`].
        limit: usize,
    },
}
