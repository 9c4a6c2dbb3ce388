//! Why something could not be read from a registry.

use std::fmt::{self, Write as _};
use std::time::Duration;

use flux_budget::Exhausted;
use flux_http::{BodyError, BuildError, RequestError};
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::blob::BlobError;
use crate::digest::{Digest, DigestError};
use crate::name::NameError;

/// The most bytes of an error's body that are read.
pub(crate) const MAX_ERROR_BODY: usize = 64 * 1024;
/// The most characters of a body, and of one of its messages, that are shown.
const SHOWN: usize = 1024;
/// The most errors of a body that are shown.
const MAX_DIAGNOSTICS: usize = 16;

/// Why something could not be read from a registry. The texts are go-containerregistry's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client cannot be built from its options.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A tag is invalid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A digest is invalid.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// There was no response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The time of the caller ended between two requests, or while a body was read.
    #[error("{}", flux_http::DEADLINE)]
    DeadlineExceeded,
    /// Neither HTTPS nor HTTP worked.
    #[error("{https}; {http}")]
    Schemes {
        /// The error over HTTPS.
        https: Box<Error>,
        /// The error over HTTP.
        http: Box<Error>,
    },
    /// The response is an error.
    #[error(transparent)]
    Status(Box<StatusError>),
    /// A response cannot be read to its end, is too large, or does not fit into memory.
    #[error("{method} {url}")]
    Body {
        /// The method of the request.
        method: &'static str,
        /// The URL without secrets.
        url: String,
        /// The error of reading.
        source: BodyError,
    },
    /// What was read does not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
    /// A response is not the expected JSON.
    #[error("{url}: the response is not valid JSON: {reason}")]
    Json {
        /// The URL without secrets.
        url: String,
        /// The position, without quotes of the content.
        reason: String,
    },
    /// A manifest is not valid.
    #[error("the manifest is not valid JSON: {0}")]
    Manifest(String),
    /// A redirect is not followed.
    #[error("{method} \"{url}\": {reason}")]
    Redirect {
        /// The method of the request.
        method: &'static str,
        /// The URL without secrets.
        url: String,
        /// Why.
        reason: String,
    },
    /// The registry asks for a form of authentication that is unknown or incomplete.
    #[error("{0}")]
    Challenge(String),
    /// The name of the registry, or a link of it, makes no URL.
    #[error("invalid URL")]
    Url(#[from] url::ParseError),
    /// The token service gave no token.
    #[error("no token in bearer response")]
    NoToken,
    /// A credential cannot be sent in a header.
    #[error("net/http: invalid header field value for \"Authorization\"")]
    Header,
    /// A manifest has another digest than was asked for.
    #[error(
        "manifest digest: \"{actual}\" does not match requested digest: \"{wanted}\" for \"{reference}\""
    )]
    Mismatch {
        /// The digest of what was received.
        actual: Digest,
        /// The digest that was asked for.
        wanted: Digest,
        /// What was asked for.
        reference: String,
    },
    /// A response lacks a header.
    #[error("{method} {url}: response did not include {header} header")]
    HeaderMissing {
        /// The method of the request.
        method: &'static str,
        /// The URL without secrets.
        url: String,
        /// The header.
        header: &'static str,
    },
    /// The manifest is of a form that is not supported.
    #[error(
        "unsupported MediaType: \"{0}\", see https://github.com/google/go-containerregistry/issues/377"
    )]
    Schema1(String),
    /// An index has no manifest for linux/amd64.
    #[error("no child with platform linux/amd64 in index {0}")]
    NoChild(String),
    /// Indexes lead to indexes.
    #[error("index {0} is nested too deeply")]
    Nested(String),
    /// The list of tags, or of referrers, is larger than it may be, or has no end.
    #[error("{url}: {reason}")]
    List {
        /// The URL without secrets.
        url: String,
        /// Why.
        reason: String,
    },
    /// A blob is not what its descriptor says.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl Error {
    /// The status of the response, if it was an error.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status(error) => Some(error.status.as_u16()),
            _ => None,
        }
    }

    /// Whether the registry says that there is no such thing.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// The time that the registry wants its client to wait, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status(error) => error.retry_after,
            Self::Schemes { https, http } => http.retry_after().or_else(|| https.retry_after()),
            _ => None,
        }
    }

    /// Whether the content is larger than the whole memory budget, so that a retry is pointless.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        match self {
            Self::Memory(exhausted)
            | Self::Body {
                source: BodyError::Memory(exhausted),
                ..
            } => exhausted.is_too_large(),
            _ => false,
        }
    }
}

/// An error response. Prints as go-containerregistry's `transport.Error`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusError {
    pub(crate) method: &'static str,
    /// Without secrets.
    pub(crate) url: String,
    pub(crate) status: StatusCode,
    /// The errors of the body, as texts.
    pub(crate) diagnostics: Vec<String>,
    /// The body, if it has no errors in the registry's form.
    pub(crate) body: String,
    pub(crate) retry_after: Option<Duration>,
}

impl std::error::Error for StatusError {}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: ", self.method, self.url)?;
        match self.diagnostics.as_slice() {
            [] => {}
            [one] => return f.write_str(one),
            more => return write!(f, "multiple errors returned: {}", more.join("; ")),
        }
        let code = self.status.as_u16();
        let text = self.status.canonical_reason().unwrap_or_default();
        write!(f, "unexpected status code {code} {text}")?;
        if !self.body.is_empty() {
            return write!(f, ": {}", self.body);
        }
        if self.method == "HEAD" {
            f.write_str(" (HEAD responses have no body, use GET for details)")?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Diagnostics {
    errors: Vec<Diagnostic>,
}

#[derive(Deserialize)]
struct Diagnostic {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: Value,
}

impl StatusError {
    /// The error for this body. `hide` masks what the server may repeat of the credentials.
    pub(crate) fn new(
        method: &'static str,
        url: String,
        status: StatusCode,
        body: &[u8],
        hide: impl Fn(String) -> String,
    ) -> Self {
        let parsed = serde_json::from_slice::<Diagnostics>(body);
        let diagnostics = parsed.map(|parsed| parsed.errors).unwrap_or_default();
        let shown = |diagnostic: &Diagnostic| {
            let mut text = format!("{}: {}", diagnostic.code, diagnostic.message);
            if !diagnostic.detail.is_null() {
                text.push_str("; ");
                go_value(&mut text, &diagnostic.detail);
            }
            cut(&hide(text))
        };
        let diagnostics: Vec<_> = diagnostics
            .iter()
            .take(MAX_DIAGNOSTICS)
            .map(shown)
            .collect();
        let body = if diagnostics.is_empty() {
            cut(&hide(String::from_utf8_lossy(body).into_owned()))
        } else {
            String::new()
        };
        Self {
            method,
            url,
            status,
            diagnostics,
            body,
            retry_after: None,
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

/// A value as Go's `%v` prints it.
fn go_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::String(text) => out.push_str(text),
        Value::Array(values) => {
            out.push('[');
            for (number, value) in values.iter().enumerate() {
                if number > 0 {
                    out.push(' ');
                }
                go_value(out, value);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| *name);
            out.push_str("map[");
            for (number, (name, value)) in fields.into_iter().enumerate() {
                if number > 0 {
                    out.push(' ');
                }
                out.push_str(name);
                out.push(':');
                go_value(out, value);
            }
            out.push(']');
        }
        // Writing to a string cannot fail.
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    // SC-OCI-027: registry errors are shown with go-containerregistry's texts
    #[rstest]
    #[case(
        404,
        r#"{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": {"Tag": "v1", "Class": null}}]}"#,
        "GET https://r.io/v2/x: MANIFEST_UNKNOWN: manifest unknown; map[Class:<nil> Tag:v1]"
    )]
    #[case(
        401,
        r#"{"errors": [{"code": "UNAUTHORIZED", "message": "no", "detail": [{"Action": "pull"}]}, {"code": "DENIED"}]}"#,
        "GET https://r.io/v2/x: multiple errors returned: UNAUTHORIZED: no; [map[Action:pull]]; DENIED: "
    )]
    #[case(
        502,
        "<html>",
        "GET https://r.io/v2/x: unexpected status code 502 Bad Gateway: <html>"
    )]
    #[case(403, "", "GET https://r.io/v2/x: unexpected status code 403 Forbidden")]
    #[case(
        403,
        "token s3cret is wrong",
        "GET https://r.io/v2/x: unexpected status code 403 Forbidden: token *** is wrong"
    )]
    fn texts(#[case] status: u16, #[case] body: &str, #[case] expected: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let hide = |text: String| text.replace("s3cret", "***");
        let url = "https://r.io/v2/x".to_owned();
        let error = StatusError::new("GET", url, status, body.as_bytes(), hide);
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn long_bodies_are_cut() {
        let body = "x".repeat(5000);
        let url = "https://r.io/".to_owned();
        let error = StatusError::new("GET", url, StatusCode::NOT_FOUND, body.as_bytes(), |t| t);
        assert!(error.to_string().len() < 1200);
    }
}
