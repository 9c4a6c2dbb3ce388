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
}

/// A failure on its way up.
#[derive(Clone, Debug)]
pub(crate) struct Fail {
    pub(crate) cause: Cause,
    pub(crate) message: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Cause {
    Invalid,
    Missing(TreePath),
    Escapes(String),
    Limit(Limited, usize),
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
        }
    }
}

impl From<&str> for Fail {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl From<crate::node::WrongKind> for Fail {
    fn from(wrong: crate::node::WrongKind) -> Self {
        String::from(wrong).into()
    }
}

impl Fail {
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self {
            cause,
            message: message.into(),
        }
    }

    /// The failure of an operation on an object of this kind: what a Secret holds is not told.
    pub(crate) fn in_object_of(mut self, kind: &str) -> Self {
        const CONTENTS: &str = ": node contents:\n";
        if kind == "Secret"
            && let Some(at) = self.message.find(CONTENTS)
        {
            self.message.truncate(at);
        }
        self
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
        self.map_err(|fail| {
            let mut fail = fail.into();
            fail.message = format!("{}: {}", doing(), fail.message);
            fail
        })
    }
}
