//! Build errors, with kustomize's texts.

use flux_budget::Exhausted;
use flux_tree::TreePath;

/// Why a build failed.
///
/// The text is kustomize's: the chain of bases that led to the fault, the file, the field and the object. Paths are
/// relative to the tree's root, written as `/`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The sources are inconsistent or malformed: a field, a patch, an identity. Only changing them helps.
    #[error("{message}")]
    Invalid {
        /// What is wrong, and where.
        message: String,
    },
    /// The tree lacks a file or folder that a kustomization refers to.
    #[error("{message}")]
    Missing {
        /// The path of the missing file or folder.
        path: TreePath,
        /// What is wrong, and where.
        message: String,
    },
    /// A path leads out of its permitted area: the tree, the kustomization's folder, or a cloned repository.
    #[error("{message}")]
    Escapes {
        /// The path as written or resolved.
        path: String,
        /// What is wrong, and where.
        message: String,
    },
    /// The sources exceed a limit of [`Limits`](crate::Limits).
    #[error("{message}")]
    Limit {
        /// The limit that was exceeded.
        what: Limited,
        /// Its value.
        allowed: usize,
        /// What is wrong, and where.
        message: String,
    },
    /// The build needs more memory than its [`Allowance`](crate::Allowance) has.
    #[error("{message}")]
    Memory {
        /// The requested and the available memory.
        exhausted: Exhausted,
        /// What is wrong, and where.
        message: String,
    },
    /// The build was [cancelled](crate::Allowance::cancel).
    #[error("{message}")]
    Cancelled {
        /// The step that was cancelled.
        message: String,
    },
    /// No thread could be started for the build.
    #[error("{message}")]
    Thread {
        /// The system's error.
        message: String,
    },
    /// A remote file or repository could not be fetched; the reason is the caller's.
    #[error("{message}")]
    Remote {
        /// What is wrong, and where.
        message: String,
    },
}

/// A limit that was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limited {
    /// Kustomizations in one build.
    Kustomizations,
    /// Nesting of kustomizations.
    Depth,
    /// Objects.
    Resources,
    /// Steps of work.
    Steps,
    /// Nesting of collections.
    Nesting,
}

/// The maximum length of a message with its context prepended, in bytes.
const MAX_MESSAGE: usize = 64 << 10;

/// A failure on its way to the caller.
#[derive(Clone, Debug)]
pub(crate) struct Fail {
    pub(crate) cause: Cause,
    /// The message without quotes of object content.
    pub(crate) message: String,
    /// The message with quotes of object content, until the code that knows the object decides which one to show.
    quoting: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Cause {
    Invalid,
    Missing(TreePath),
    Escapes(String),
    Limit(Limited, usize),
    Memory(Exhausted),
    Cancelled,
    Remote,
    /// An HTTP response that ends the search for the file, whatever the URL looks like.
    Http,
    /// The caller must fetch something first.
    Needs,
}

pub(crate) type Result<T, E = Fail> = std::result::Result<T, E>;

impl From<String> for Fail {
    fn from(message: String) -> Self {
        Self {
            cause: Cause::Invalid,
            message,
            quoting: None,
        }
    }
}

impl From<&str> for Fail {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl Fail {
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
            quoting: None,
        }
    }

    /// A failure whose full message quotes the content of an object;
    /// [`Meter::in_object_of`](crate::meter::Meter::in_object_of) decides which of the two messages is shown, by
    /// default the first.
    pub(crate) fn quoting(message: impl Into<String>, quoting: impl Into<String>) -> Self {
        Self {
            quoting: Some(quoting.into()),
            ..Self::new(Cause::Invalid, message)
        }
    }

    /// The failure with its quotes.
    pub(crate) fn with_quotes(mut self) -> Self {
        if let Some(quoting) = self.quoting.take() {
            self.message = quoting;
        }
        self
    }

    /// The failure without its quotes.
    pub(crate) fn without_quotes(mut self) -> Self {
        self.quoting = None;
        self
    }

    /// Changes the message.
    pub(crate) fn reworded(mut self, reword: impl Fn(&str) -> String) -> Self {
        self.message = reword(&self.message);
        self.quoting = self.quoting.map(|text| reword(&text));
        self
    }

    /// Prepends the step that failed.
    pub(crate) fn within(self, doing: impl FnOnce() -> String) -> Self {
        // Each level that a failure passes may prepend a long path.
        if self.message.len() > MAX_MESSAGE {
            return self;
        }
        let doing = doing();
        self.reworded(|message| format!("{doing}: {message}"))
    }

    /// Whether the build must end, with no alternative tried.
    pub(crate) fn is_final(&self) -> bool {
        matches!(
            self.cause,
            Cause::Http | Cause::Limit(..) | Cause::Memory(_) | Cause::Cancelled
        )
    }

    pub(crate) fn is_malformed_yaml(&self) -> bool {
        self.message.contains("MalformedYAMLError")
    }

    pub(crate) fn into_error(self) -> Error {
        let message = self.message;
        match self.cause {
            Cause::Invalid | Cause::Needs => Error::Invalid { message },
            Cause::Missing(path) => Error::Missing { path, message },
            Cause::Escapes(path) => Error::Escapes { path, message },
            Cause::Limit(what, allowed) => Error::Limit {
                what,
                allowed,
                message,
            },
            Cause::Memory(exhausted) => Error::Memory { exhausted, message },
            Cause::Cancelled => Error::Cancelled { message },
            Cause::Remote | Cause::Http => Error::Remote { message },
        }
    }
}

/// Prepends the step to the message of a failure.
pub(crate) trait Context<T> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Fail>> Context<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|fail| fail.into().within(doing))
    }
}
