//! Errors, with Go's texts.

use crate::value::NilMap;

/// A template could not be parsed or executed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The text is not a template: `template: name:line: message`.
    #[error("template: {template}:{line}: {message}")]
    Parse {
        /// The name of the text.
        template: String,
        /// The line, counted from 1.
        line: usize,
        /// The error.
        message: String,
    },
    /// The execution failed: `template: file:line:column: executing "name" at <context>: message`.
    #[error("{text}")]
    Execute {
        /// The name of the template being executed.
        template: String,
        /// The whole text, the same as Go's.
        text: String,
        /// Whether a [`Limits`](crate::Limits) was exceeded, directly or in a nested template.
        limit: bool,
    },
    /// There is no template with the requested name.
    #[error("template: no template {name} associated with template {set}")]
    NotFound {
        /// The requested name, quoted as in Go.
        name: String,
        /// The name of the set, quoted as in Go.
        set: String,
    },
}

impl Error {
    /// Whether a limit of this library, not the template's own logic, ended the execution.
    pub const fn is_limit(&self) -> bool {
        matches!(self, Self::Execute { limit: true, .. })
    }
}

/// The error of a function or method: becomes `error calling <name>: <message>`.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct CallError {
    message: String,
    limit: bool,
}

impl CallError {
    /// An error with this message: for Go's returned errors as well as panics, which have the same text.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            limit: false,
        }
    }

    /// An error for an exceeded [limit](crate::Limits).
    pub fn limit(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            limit: true,
        }
    }

    /// Whether a limit was exceeded.
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

impl From<flux_budget::Exhausted> for CallError {
    fn from(exhausted: flux_budget::Exhausted) -> Self {
        Self::limit(exhausted.to_string())
    }
}
