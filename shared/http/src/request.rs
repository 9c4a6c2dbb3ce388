//! Sending a request: the one way out for every client, with its retries and the texts of its errors.

use reqwest::{RequestBuilder, Response};

use crate::error::{ErrorKind, RequestError, lost_before_answer};

/// Whether a request may be sent once more when the connection ends before an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Sending it twice has the effect of sending it once.
    Idempotent,
    /// It may have been carried out although no answer came.
    Never,
}

/// How often a request is repeated. A server or proxy that closes connections between requests does so for all that are kept,
/// and each attempt takes at most one of those: with [`DEFAULT_IDLE_CONNECTIONS`](crate::client::DEFAULT_IDLE_CONNECTIONS)
/// kept, the third attempt has a new one, and the last allows for one that another request has put back meanwhile.
const MAX_REPEATS: usize = 3;

/// Sends a request and gives the head of the answer, whatever its status.
///
/// A connection that a server or a proxy closes between two requests is noticed only by sending the next one. A request that is
/// [`Repeat::Idempotent`] is then sent again at once, on another connection; one whose body is a stream cannot be.
///
/// # Errors
/// [`RequestError`], which reads as Go's `net/http` has it (`Get "URL": dial tcp ...`) and shows no secret of the URL.
pub async fn send(request: RequestBuilder, repeat: Repeat) -> Result<Response, RequestError> {
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
            Err(error) => return Err(RequestError::new(&method, &url, &error).await),
        }
    }
}

impl RequestError {
    /// Whether the same request may succeed later: neither the request itself nor the server's certificate is wrong.
    pub fn may_pass(&self) -> bool {
        !matches!(
            self.kind(),
            ErrorKind::Build | ErrorKind::Redirect | ErrorKind::Untrusted
        )
    }
}
