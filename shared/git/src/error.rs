//! Errors, with upstream's texts where users see them.

use flux_budget::Exhausted;

use crate::auth::AuthError;
use crate::url::UrlError;

/// Why a repository could not be listed, fetched or read. Print it with its sources, joined by `: `.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address does not parse.
    #[error("cannot parse url")]
    Url(#[from] UrlError),
    /// The credentials are unusable (RT-GIT-010, RT-GIT-011).
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The proxy or TLS settings are unusable (SC-GIT-123).
    #[error("unable to set up the connection to '{url}'")]
    Setup {
        /// The repository, its password masked.
        url: String,
        /// What failed.
        #[source]
        source: Fault,
    },
    /// The remote's references could not be listed.
    #[error("unable to list remote for '{url}'")]
    List {
        /// The repository, its password masked.
        url: String,
        /// What failed.
        #[source]
        source: Fault,
    },
    /// The repository could not be fetched (SC-GIT-054, RT-GIT-007).
    #[error("unable to clone '{url}'")]
    Clone {
        /// The repository, its password masked.
        url: String,
        /// What failed.
        #[source]
        source: Fault,
    },
    /// The repository does not exist or is empty (RT-GIT-007).
    #[error("unable to clone: {reason}: git repository: '{url}'")]
    RepositoryNotFound {
        /// The repository, its password masked.
        url: String,
        /// Which of the two; part of upstream's text.
        reason: &'static str,
    },
    /// A reference that begins or ends with a slash (SC-GIT-047).
    #[error("ref {0} is invalid; Git refs cannot begin or end with a slash '/'")]
    ReferenceInvalid(String),
    /// The remote has no such reference (SC-GIT-047).
    #[error("unable to resolve ref '{0}' to a specific commit")]
    ReferenceUnresolved(String),
    /// The remote has no such commit, or not where it was expected (SC-GIT-053).
    #[error("unable to resolve commit object for '{commit}'")]
    CommitNotFound {
        /// The requested commit.
        commit: String,
        /// What is wrong with it.
        #[source]
        source: Fault,
    },
    /// The range of versions does not parse (SC-GIT-045).
    #[error("semver parse error")]
    SemVerInvalid(#[source] flux_semver::ConstraintError),
    /// No tag is in the range (SC-GIT-045).
    #[error("no match found for semver: {0}")]
    SemVerNoMatch(String),
    /// A submodule could not be fetched or is misconfigured (SC-GIT-071).
    #[error("unable to update submodule '{name}'")]
    Submodule {
        /// Its name in `.gitmodules`.
        name: String,
        /// What failed.
        #[source]
        source: Box<Error>,
    },
    /// `.gitmodules` is invalid.
    #[error("invalid .gitmodules: {0}")]
    Modules(String),
    /// A path in the repository would write outside of its work tree (SC-GIT-077).
    #[error("invalid path {path:?}: {reason}")]
    Path {
        /// The path.
        path: String,
        /// Why it is rejected.
        reason: &'static str,
    },
    /// An object is missing, damaged or of an unexpected kind.
    #[error("unable to read {what}")]
    Object {
        /// Which object.
        what: String,
        /// What failed.
        #[source]
        source: Fault,
    },
    /// A file could not be written.
    #[error("unable to write '{path}'")]
    Write {
        /// The path in the repository.
        path: String,
        /// What failed.
        #[source]
        source: std::io::Error,
    },
}

/// The root cause of an [`Error`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The deadline has passed (SC-GIT-029).
    #[error("context deadline exceeded")]
    DeadlineExceeded,
    /// The caller dropped the future.
    #[error("context canceled")]
    Cancelled,
    /// The server requires credentials, or rejects the given ones.
    #[error("authentication required{}", after_colon(.0))]
    AuthenticationRequired(String),
    /// The server knows the client and denies access.
    #[error("authorization failed{}", after_colon(.0))]
    AuthorizationFailed(String),
    /// The server has no such repository.
    #[error("repository not found{}", after_colon(.0))]
    RepositoryNotFound(String),
    /// The server responded with an unexpected status.
    #[error("unexpected client error: unexpected requesting {url:?} status code: {status}")]
    UnexpectedStatus {
        /// The requested URL.
        url: String,
        /// The status.
        status: u16,
    },
    /// A redirect that must not be followed.
    #[error("http redirect: {0}")]
    Redirect(String),
    /// The repository has no references at all.
    #[error("remote repository is empty")]
    EmptyRemote,
    /// The remote has no such reference.
    #[error("couldn't find remote ref {0:?}")]
    ReferenceNotFound(String),
    /// The object does not exist.
    #[error("object not found")]
    ObjectNotFound,
    /// The connection failed or was lost.
    #[error("{0}")]
    Connection(String),
    /// The SSH handshake or login failed.
    #[error("ssh: handshake failed: {0}")]
    SshHandshake(String),
    /// The SSH settings (key, algorithms) are unusable.
    #[error("{0}")]
    SshSettings(String),
    /// The server's own explanation of why it does not serve.
    #[error("remote: {0}")]
    Remote(String),
    /// The server responded with an `ERR` line.
    #[error("{0}")]
    ErrorLine(String),
    /// The server violated Git's protocol.
    #[error("{0}")]
    Protocol(String),
    /// The repository uses hashes other than SHA-1 (SC-GIT-058).
    #[error("the repository uses the object format '{0}', which is not supported: only sha1 is")]
    ObjectFormat(String),
    /// More data than allowed was received or is to be unpacked.
    #[error("the repository exceeds the limit of {limit} {unit}")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// Its unit.
        unit: &'static str,
    },
    /// The repository's content does not fit into the memory that this process may use.
    #[error(
        "the {what} of the repository take too much memory: {exhausted}{}",
        remedy(exhausted)
    )]
    Memory {
        /// The kind of data that did not fit.
        what: &'static str,
        /// How much was requested, and of which budget.
        exhausted: Exhausted,
    },
    /// The temporary folder is unusable.
    #[error("temporary storage: {0}")]
    Storage(String),
    /// An object is damaged.
    #[error("{0}")]
    Corrupt(String),
}

impl Fault {
    /// Whether the repository is too large for this process, so that a retry does not help.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::Memory { exhausted, .. } => exhausted.is_too_large(),
            _ => false,
        }
    }
}

impl Error {
    /// Whether the repository is too large for this process or exceeds its limits, so that a retry does not help.
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Setup { source, .. }
            | Self::List { source, .. }
            | Self::Clone { source, .. }
            | Self::CommitNotFound { source, .. }
            | Self::Object { source, .. } => source.is_too_large(),
            Self::Submodule { source, .. } => source.is_too_large(),
            _ => false,
        }
    }
}

/// A hint for a repository that does not fit into memory.
fn remedy(exhausted: &Exhausted) -> &'static str {
    if exhausted.is_too_large() {
        "; make the repository smaller, or raise the controller's memory limit"
    } else {
        ""
    }
}

fn after_colon(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    }
}
