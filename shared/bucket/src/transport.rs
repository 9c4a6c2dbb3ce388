//! Requests to an object store: repeated while the failure is transient, and limited.

use std::time::Duration;

use bytes::Bytes;
use flux_budget::Claim;
use flux_http::{ErrorKind, Repeat, read_body_within, send};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Request, RequestBuilder, Response, StatusCode};
use tokio::time::sleep;

use crate::error::{Error, StatusError};

/// How often a request is sent at most.
const MAX_TRIES: u32 = 5;
/// The pause before the second try; it doubles for each of the next.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause, and the longest `Retry-After` that is waited for: the caller's time is short.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The statuses after which a request is repeated, as in minio-go.
const TRANSIENT: [u16; 8] = [408, 429, 499, 500, 502, 503, 504, 520];
/// The codes after which a request is repeated, as in minio-go.
const TRANSIENT_CODES: [&str; 12] = [
    "RequestError",
    "RequestTimeout",
    "Throttling",
    "ThrottlingException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "InternalError",
    "ExpiredToken",
    "ExpiredTokenException",
    "SlowDown",
    "SlowDownWrite",
    "SlowDownRead",
];
/// The most bytes of a page of a list, and of other documents: a thousand keys of 1,024 bytes, each of which may take nine.
pub(crate) const MAX_DOCUMENT: usize = 16 << 20;
/// The most bytes of an error.
const MAX_ERROR: usize = 64 << 10;

/// Sends what `request` makes, each time anew since a signature has a time, until it is answered with success. `refusal` reads
/// any other response.
pub(crate) async fn execute(
    client: &Client,
    request: impl Fn() -> Result<Request, Error>,
    refusal: impl Fn(&Refused) -> StatusError,
) -> Result<Response, Error> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 0;
    loop {
        tries += 1;
        let request = request()?;
        let (method, url) = (request.method().clone(), request.url().clone());
        let builder = RequestBuilder::from_parts(client.clone(), request);
        let (error, wait) = match send(builder, Repeat::Idempotent).await {
            Ok(response) if response.status().is_success() => return Ok(response),
            Ok(response) => {
                let after = retry_after(&response);
                let refused = Refused::read(response).await;
                let error = refusal(&refused);
                let transient = TRANSIENT.contains(&error.status)
                    || TRANSIENT_CODES.contains(&error.code.as_str());
                if !transient || after.is_some_and(|after| after > LONGEST_PAUSE) {
                    return Err(error.into());
                }
                (Error::Status(error), after)
            }
            Err(error) => {
                let lasting = !error.may_pass()
                    || error.kind() == ErrorKind::Tls
                    || error.kind() == ErrorKind::Timeout;
                let error = Error::request(&method, &url, &error);
                if lasting {
                    return Err(error);
                }
                (error, None)
            }
        };
        if tries == MAX_TRIES {
            return Err(error);
        }
        // Between a half and the whole, so that many objects do not return at the same moment.
        let spread = pause.mul_f64(rand::random_range(0.5..1.0));
        sleep(wait.unwrap_or(spread)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// A response that is no success.
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) url: url::Url,
    pub(crate) body: Bytes,
}

impl Refused {
    /// Reads the body as far as it is there.
    async fn read(response: Response) -> Self {
        let (status, url) = (response.status(), response.url().clone());
        let headers = response.headers().clone();
        let body = read_body_within(response, MAX_ERROR, &Claim::unlimited()).await;
        Self {
            status,
            headers,
            url,
            body: body.unwrap_or_default(),
        }
    }

    /// A header as text, empty if absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The status as Go prints it: `404 Not Found`.
    pub(crate) fn status_text(&self) -> String {
        let words = self.status.canonical_reason().unwrap_or_default();
        format!("{} {words}", self.status.as_u16())
            .trim_end()
            .to_owned()
    }
}

/// Reads a document; the memory for it is claimed while it is read, and given back when `parse` is done with it.
pub(crate) async fn document<T>(
    response: Response,
    claim: &Claim,
    parse: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    let before = claim.held();
    let body = read_body_within(response, MAX_DOCUMENT, claim).await;
    let parsed = match body {
        Ok(body) => parse(&body),
        Err(error) => Err(error.into()),
    };
    claim.give_back(claim.held().saturating_sub(before));
    parsed
}
