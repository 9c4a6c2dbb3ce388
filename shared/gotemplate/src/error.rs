//! What can go wrong, in Go's words.

use crate::value::NilMap;

/// A template could not be parsed or executed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The text is not a template: `template: name:line: message`.
    #[error("template: {template}:{line}: {message}")]
    Parse {
        /// The name given to the text.
        template: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// Execution stopped: `template: file:line:column: executing "name" at <context>: message`.
    #[error("{text}")]
    Execute {
        /// The name of the template being executed.
        template: String,
        /// The whole text as Go gives it.
        text: String,
        /// Whether one of the [`Limits`](crate::Limits) was the reason, directly or in a nested template.
        limit: bool,
    },
    /// The template asked for does not exist.
    #[error("template: no template {name} associated with template {set}")]
    NotFound {
        /// The name asked for, quoted as Go quotes.
        name: String,
        /// The name of the set, quoted likewise.
        set: String,
    },
}

impl Error {
    /// Whether a limit of this library, not the template's own logic, stopped the work.
    pub const fn is_limit(&self) -> bool {
        matches!(self, Self::Execute { limit: true, .. })
    }
}

/// What a function or method gives instead of a value: becomes `error calling <name>: <message>`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    message: String,
    limit: bool,
}

impl CallError {
    /// A failure with that message: Go's returned error as well as its panic, which read the same.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            limit: false,
        }
    }

    /// A [limit](crate::Limits) was reached.
    pub fn limit(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            limit: true,
        }
    }

    /// Whether a limit was the reason.
    pub const fn is_limit(&self) -> bool {
        self.limit
    }
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        Self {
            limit: error.is_limit(),
            message: error.to_string(),
        }
    }
}

impl From<String> for CallError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for CallError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<NilMap> for CallError {
    fn from(error: NilMap) -> Self {
        Self::new(error.to_string())
    }
}
