use flux_budget::Exhausted;
use flux_tree::TreePath;

/// Why a build failed.
///
/// The text is the one that users of kustomize know: the chain of bases that led to the fault, the file, the field and the
/// object. Paths are those of the tree, the root being `/`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The sources contradict themselves or the format: a field, a patch, an identity. Only a change of them helps.
    #[error("{message}")]
    Invalid {
        /// What is wrong, and where.
        message: String,
    },
    /// A file or folder that a kustomization names is not in the tree.
    #[error("{message}")]
    Missing {
        /// The path that was looked for.
        path: TreePath,
        /// What is wrong, and where.
        message: String,
    },
    /// A path leads out of where it may lead: of the tree, of the kustomization's folder, or of a cloned repository.
    #[error("{message}")]
    Escapes {
        /// The path as it was written or resolved.
        path: String,
        /// What is wrong, and where.
        message: String,
    },
    /// The sources exceed a bound of [`Limits`](crate::Limits).
    #[error("{message}")]
    Limit {
        /// What there was too much of.
        what: Limited,
        /// How much was allowed.
        allowed: usize,
        /// What is wrong, and where.
        message: String,
    },
    /// The build takes more memory than its [`Allowance`](crate::Allowance) has.
    #[error("{message}")]
    Memory {
        /// What was asked for, and what there was.
        exhausted: Exhausted,
        /// What is wrong, and where.
        message: String,
    },
    /// The build was [cancelled](crate::Allowance::cancel).
    #[error("{message}")]
    Cancelled {
        /// Where it was.
        message: String,
    },
    /// The system has no thread for the build.
    #[error("{message}")]
    Thread {
        /// The system's error.
        message: String,
    },
    /// A remote file or repository could not be had; the reason is the one that the caller gave.
    #[error("{message}")]
    Remote {
        /// What is wrong, and where.
        message: String,
    },
}

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limited {
    /// Kustomizations in one build.
    Kustomizations,
    /// Kustomizations inside one another.
    Depth,
    /// Objects.
    Resources,
    /// Steps of work.
    Steps,
    /// Collections inside one another.
    Nesting,
}

/// No message grows beyond this by what is put before it.
const MAX_MESSAGE: usize = 64 << 10;

/// A failure on its way up.
#[derive(Clone, Debug)]
pub(crate) struct Fail {
    pub(crate) cause: Cause,
    /// Quotes nothing that an object holds.
    pub(crate) message: String,
    /// The message with what it quotes of an object, until somebody who knows the object has decided.
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
    /// An answer over HTTP that ends the search for the file, whatever the URL looks like.
    Http,
    /// The caller has to fetch something first.
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

    /// A failure whose full message quotes what an object holds; [`Meter::in_object_of`](crate::meter::Meter::in_object_of)
    /// decides which of the two is told, and where nobody decides it is the first.
    pub(crate) fn quoting(message: impl Into<String>, quoting: impl Into<String>) -> Self {
        Self {
            quoting: Some(quoting.into()),
            ..Self::new(Cause::Invalid, message)
        }
    }

    /// The failure with what it quotes.
    pub(crate) fn with_quotes(mut self) -> Self {
        if let Some(quoting) = self.quoting.take() {
            self.message = quoting;
        }
        self
    }

    /// The failure without what it quotes.
    pub(crate) fn without_quotes(mut self) -> Self {
        self.quoting = None;
        self
    }

    /// Rewords the failure.
    pub(crate) fn reworded(mut self, reword: impl Fn(&str) -> String) -> Self {
        self.message = reword(&self.message);
        self.quoting = self.quoting.map(|text| reword(&text));
        self
    }

    /// The failure of something that was being done.
    pub(crate) fn within(self, doing: impl FnOnce() -> String) -> Self {
        // Each level that a failure passes may put a long path before it.
        if self.message.len() > MAX_MESSAGE {
            return self;
        }
        let doing = doing();
        self.reworded(|message| format!("{doing}: {message}"))
    }

    /// Whether the build cannot go on, whatever else is tried.
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

/// Adds what was being done to the front of a failure's text.
pub(crate) trait Context<T> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Fail>> Context<T> for Result<T, E> {
    fn context(self, doing: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|fail| fail.into().within(doing))
    }
}
