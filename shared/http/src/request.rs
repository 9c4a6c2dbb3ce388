//! Sends requests: the single path of every client, with its retries and error texts.

use reqwest::{RequestBuilder, Response};

use crate::dial::Reach;
use crate::error::{ErrorKind, RequestError, lost_before_answer};

/// Whether a request may be repeated if the connection ends before a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Sending it twice has the effect of sending it once.
    Idempotent,
    /// It may have been carried out without a response.
    Never,
}

/// The maximum number of repetitions. A server or proxy that closes connections between requests closes all idle ones,
/// and each attempt uses at most one of those: with
/// [`DEFAULT_IDLE_CONNECTIONS`](crate::client::DEFAULT_IDLE_CONNECTIONS) idle connections, the third attempt uses a new
/// one, and the last allows for one that another request has returned in between.
const MAX_REPEATS: usize = 3;

/// Sends a request and returns the head of the response, whatever its status.
///
/// That a server or proxy has closed a connection between two requests is only noticed when the next one is sent. A
/// request that is [`Repeat::Idempotent`] is then repeated at once on another connection, unless its body is a stream.
///
/// # Errors
/// [`RequestError`], with the text of Go's `net/http` (`Get "URL": dial tcp ...`) and without secrets of the URL.
pub async fn send(request: RequestBuilder, repeat: Repeat) -> Result<Response, RequestError> {
    send_within(request, repeat, Reach::Any).await
}

/// As [`send`], without a connection of its own to a host that is not within `reach`.
pub(crate) async fn send_within(
    request: RequestBuilder,
    repeat: Repeat,
    reach: Reach,
) -> Result<Response, RequestError> {
    let (client, request) = request.build_split();
    let request = request.map_err(|error| RequestError::build(&error))?;
    let (method, url) = (request.method().clone(), request.url().clone());
    let mut next = Some(request);
    let mut repeats = 0;
    loop {
        let Some(request) = next.take() else {
            return Err(RequestError::lost(&method, &url));
        };
        let again = (repeat == Repeat::Idempotent && repeats < MAX_REPEATS)
            .then(|| request.try_clone())
            .flatten();
        match client.execute(request).await {
            Ok(response) => return Ok(response),
            Err(error) if again.is_some() && lost_before_answer(&error) => {
                repeats += 1;
                next = again;
            }
            Err(error) => return Err(RequestError::new(&method, &url, reach, &error).await),
        }
    }
}

impl RequestError {
    /// Whether the same request may succeed later: neither the request itself nor the server's certificate is invalid.
    pub fn may_pass(&self) -> bool {
        !matches!(
            self.kind(),
            ErrorKind::Build | ErrorKind::Redirect | ErrorKind::Untrusted
        )
    }
}
