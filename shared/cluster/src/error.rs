//! Failed requests.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use flux_api::meta::GoDuration;
use flux_errors::chain;

/// A request that the API server refused, or that did not reach it.
#[derive(Debug)]
pub struct RequestError {
    /// HTTP status; 0 without a response.
    pub code: u16,
    /// The machine-readable reason, such as `Invalid`; empty if the server gave none.
    pub reason: String,
    /// The server's message.
    pub message: String,
    /// Whether the request conflicts with fields of another manager.
    pub is_manager_conflict: bool,
}

impl RequestError {
    /// A refusal by the server with this HTTP status, reason and message, that is no conflict of managers.
    pub fn refusal(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            is_manager_conflict: false,
        }
    }

    /// An error of the client rather than of the server.
    pub fn local(message: impl Into<String>) -> Self {
        Self::refusal(0, "", message)
    }

    /// The server did not answer within the time limit of a request.
    pub(crate) fn timed_out(limit: Duration) -> Self {
        Self::local(format!(
            "the API server has not answered within {}: context deadline exceeded",
            GoDuration::from(limit)
        ))
    }

    /// The response ended early, or is too large.
    pub(crate) fn unreadable(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::local(format!(
            "reading the server's answer failed: {}",
            chain(error)
        ))
    }

    /// Whether a retry may succeed: there was no response, the server is overloaded, or it has failed.
    pub fn is_transient(&self) -> bool {
        self.code == 0 || self.code == 429 || self.code >= 500
    }

    /// Whether the server does not have the path, and so possibly not the kind.
    pub(crate) fn is_missing_path(&self) -> bool {
        self.is_not_found()
            && self
                .message
                .starts_with("the server could not find the requested resource")
    }

    /// Whether the object, or its kind, does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }

    /// Whether the caller is not permitted to do this.
    pub fn is_forbidden(&self) -> bool {
        self.code == 403
    }

    /// Whether recreating the object may help (KC-SSA-029): the error is a conflict, calls the object invalid, or
    /// mentions an immutable field.
    pub fn is_immutable(&self) -> bool {
        let speaks_of = |before: &str, after: &str| {
            self.message.match_indices(before).any(|(index, found)| {
                let rest = &self.message[index + found.len()..];
                let mut rest = rest.chars();
                rest.next().is_some_and(char::is_whitespace) && rest.as_str().starts_with(after)
            })
        };
        matches!(self.reason.as_str(), "Conflict" | "Invalid")
            || speaks_of("is", "immutable")
            || speaks_of("immutable", "field")
    }
}

impl Display for RequestError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RequestError {}

impl From<kube::Error> for RequestError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::from(*status),
            other => Self::local(flux_objects::words(&other).unwrap_or_else(|| chain(&other))),
        }
    }
}

impl From<flux_objects::Error> for RequestError {
    fn from(error: flux_objects::Error) -> Self {
        match error {
            flux_objects::Error::Invalid(error) => error.into(),
            flux_objects::Error::Request(error) => error.into(),
        }
    }
}

impl From<kube::core::Status> for RequestError {
    fn from(status: kube::core::Status) -> Self {
        let mut causes = status.details.iter().flat_map(|details| &details.causes);
        let is_manager_conflict = causes.any(|cause| cause.reason == "FieldManagerConflict");
        Self {
            code: status.code,
            reason: status.reason,
            message: status.message,
            is_manager_conflict,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RequestError;

    // KC-SSA-029
    #[test]
    fn immutable_errors_are_recognised_by_reason_or_message() {
        for (reason, message, immutable) in [
            ("Invalid", "spec.selector: whatever", true),
            ("Conflict", "", true),
            ("Forbidden", "no", false),
            ("", "admission webhook denied: field is immutable", true),
            ("", "this is\timmutable", true),
            ("BadRequest", "an immutable field was changed", true),
            ("BadRequest", "immutablefield", false),
            ("BadRequest", "immutable", false),
        ] {
            assert_eq!(
                RequestError::refusal(422, reason, message).is_immutable(),
                immutable,
                "{reason} {message}"
            );
        }
    }
}
