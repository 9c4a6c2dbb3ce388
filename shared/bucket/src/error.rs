//! Why an object store could not be read.

use std::{fmt, io};

use flux_budget::Exhausted;
use flux_cloud::aws::SignError;
use flux_http::{BodyError, BuildError, ReadError, RequestError, Secret};
use reqwest::Method;
use url::Url;

use crate::key::KeyError;
use crate::token::BoxError;

/// The longest text of a server's message that is kept.
const MAX_MESSAGE: usize = 1024;
/// Shorter values are no secrets, and as parts of others they would garble every message.
const SHORTEST_SECRET: usize = 4;

/// Why an operation failed. No text has the query of a URL: it may hold a signature (SC-BKT-028, SC-BKT-068).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The settings of a client are unusable.
    #[error("{0}")]
    Settings(String),
    /// The HTTP client cannot be built.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// The name of a bucket, or a prefix, is not valid.
    #[error("{0}")]
    Name(&'static str),
    /// The key of an object is not one that can be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There are no credentials.
    #[error(transparent)]
    Credentials(BoxError),
    /// The request cannot be signed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The server was not reached, or did not answer.
    #[error("{0}")]
    Request(String),
    /// The server refused.
    #[error(transparent)]
    Status(#[from] StatusError),
    /// The response is too long, or ended early.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The content of an object ended early.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The response is not what it should be.
    #[error("invalid response: {0}")]
    Response(String),
    /// An object of a list, or one that was downloaded, has no ETag (SC-BKT-068).
    #[error("object '{0}' has no ETag")]
    NoEtag(String),
    /// There is more content than the caller reads.
    #[error("larger than {0} bytes, which is all that is read")]
    TooLarge(u64),
    /// A page does not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
    /// The file cannot be written.
    #[error("failed to write the object to a file")]
    Write(#[source] io::Error),
    /// A task of this process ended early, which is a defect.
    #[error("a task ended early")]
    Task,
}

impl Error {
    /// Whether the object is not there (SC-BKT-062, SC-BKT-065).
    pub fn is_missing_object(&self) -> bool {
        matches!(self, Self::Status(status) if status.missing == Some(Missing::Object))
    }

    /// Whether the bucket is not there (SC-BKT-026).
    pub fn is_missing_bucket(&self) -> bool {
        matches!(self, Self::Status(status) if status.missing == Some(Missing::Bucket))
    }

    /// Whether the connection ended within the content of an object.
    pub fn is_cut(&self) -> bool {
        matches!(self, Self::Read(_))
    }

    /// A request that was not answered: the operation and the URL as Go prints them, without the query.
    pub(crate) fn request(method: &Method, url: &Url, error: &RequestError) -> Self {
        Self::Request(format!(
            "{} \"{}\": {}",
            operation(method),
            bare(url),
            error.reason()
        ))
    }
}

/// A method as Go's `net/http` prints it.
fn operation(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "Head",
        Method::POST => "Post",
        _ => "Get",
    }
}

/// A URL without query, fragment and user.
pub(crate) fn bare(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Neither can fail for a URL that has a host.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// What is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Bucket,
    Object,
}

/// A response that refuses. Its text is that of the protocol's usual client, on one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct StatusError {
    /// The HTTP status.
    pub status: u16,
    /// The code of the store's own, such as `NoSuchKey`; empty if it gave no code.
    pub code: String,
    pub(crate) text: String,
    /// The region of the bucket, if the server names it.
    pub(crate) region: String,
    /// The program of the server, by its header.
    pub(crate) server: String,
    pub(crate) missing: Option<Missing>,
}

/// A server's message: the first line, shortened, without any of the secrets that it was sent.
pub(crate) fn message(text: &str, secrets: &[&Secret]) -> String {
    let line = text.trim().lines().next().unwrap_or_default().trim_end();
    let mut shown = line.to_owned();
    for secret in secrets {
        let value = secret.expose_text();
        if value.len() >= SHORTEST_SECRET {
            shown = shown.replace(&*value, "***");
        }
    }
    if shown.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE;
        while !shown.is_char_boundary(end) {
            end -= 1;
        }
        shown.truncate(end);
        shown.push_str("...");
    }
    shown
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect()
}

/// Why a SAS token or the endpoint that it belongs to cannot be used (SC-AUTH-068). It shows no part of the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SasError {
    /// The token has a percent sign without two digits.
    Token,
    /// The token has a semicolon.
    Separator,
    /// The endpoint is not a URL.
    Endpoint(String),
}

impl std::error::Error for SasError {}

impl fmt::Display for SasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("unable to parse SAS token: invalid URL escape \"***\""),
            Self::Separator => {
                f.write_str("unable to parse SAS token: invalid semicolon separator in query")
            }
            Self::Endpoint(why) => write!(f, "unable to parse endpoint URL: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-BKT-028, SC-BKT-068
    #[test]
    fn messages_show_no_secret_and_have_an_end() {
        let secret = Secret::new("S3CRET");
        let short = Secret::new("a");
        let shown = message("  a S3CRET\tb\nRequestId: 1", &[&secret, &short]);
        assert_eq!(shown, "a *** b");
        let long = message(&"ä".repeat(2000), &[]);
        assert_eq!(long.chars().count(), 512 + 3);
        let url = Url::parse("https://u:p@h/c/k?sig=S3CRET#x").unwrap();
        assert_eq!(bare(&url), "https://h/c/k");
    }
}
