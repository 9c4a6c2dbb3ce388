//! The error type of tests and of the harness: a text for the user.

use std::fmt;

use flux_errors::chain;

/// The result of a test, and of everything in this crate that a test calls.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// A text that says which step failed and why.
///
/// Any error converts to it with `?`, including its sources. Tests return it, so that a failing one prints these lines
/// instead of a panic's location.
pub struct Failure(String);

impl Failure {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(chain(&error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// As [`fmt::Display`]: the test runner prints the `Debug` form of a returned error.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds the failed step to an error.
pub trait Doing<T> {
    /// `doing("start etcd")` turns "no such file" into "start etcd: no such file".
    fn doing(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: Into<Failure>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| Failure(format!("{what}: {}", error.into())))
    }
}

/// Returns a [`Failure`] of this format from the calling function unless the condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($format:tt)+) => {
        if !$condition {
            return Err($crate::Failure::new(format!($($format)+)));
        }
    };
}
