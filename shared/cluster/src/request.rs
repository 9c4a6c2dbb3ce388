//! Sends one request: its time limit, its retries and the error of a refusal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use serde_json::Value;

use crate::error::RequestError;

/// The size limit of a response in bytes. A page of a list is far smaller.
const MAX_ANSWER: usize = 256 << 20;

/// How many bytes of a refusal that is not a `Status` are read, as in client-go.
const MAX_REFUSAL_TEXT: usize = 2048;

/// How often a request is retried because the server asks for it with `Retry-After`, as in client-go.
const MAX_RETRIES: u32 = 10;

/// The time limit of the requests of one run.
///
/// Each request has the whole time. Once one has used it up, no further request of the run is sent: a server that never
/// answers would otherwise delay the run by that time again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limit {
    each: Option<Duration>,
    /// Whether a request has reached the limit; `None` if that does not end later ones.
    expired: Option<Arc<AtomicBool>>,
}

impl Limit {
    pub(crate) fn new(each: Duration) -> Self {
        Self {
            each: Some(each),
            expired: Some(Arc::default()),
        }
    }

    /// The same limit for requests that have to be sent even after others have reached theirs.
    pub(crate) fn each_alone(&self) -> Self {
        Self {
            each: self.each,
            expired: None,
        }
    }

    /// Awaits `work` within the time limit of a request.
    pub(crate) async fn bound<T>(
        &self,
        work: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        let Some(each) = self.each else {
            return work.await;
        };
        let expired = self.expired.as_deref();
        if expired.is_some_and(|expired| expired.load(Ordering::Relaxed)) {
            return Err(RequestError::timed_out(each));
        }
        if let Ok(answer) = tokio::time::timeout(each, work).await {
            return answer;
        }
        if let Some(expired) = expired {
            expired.store(true, Ordering::Relaxed);
        }
        Err(RequestError::timed_out(each))
    }
}

/// The subject of a request, for a refusal without a message: the resource with its group, and a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub(crate) resource: String,
    pub(crate) name: String,
}

/// Sends a request and reads the whole response.
///
/// kube's own methods are not used: they log what they cannot parse, and what a server refuses may quote a Secret's
/// values.
///
/// # Errors
///
/// The server's refusal, or why there is no response.
pub(crate) async fn exchange(
    client: &Client,
    request: Request<Vec<u8>>,
    about: &About,
) -> Result<Bytes, RequestError> {
    let request = request.map(Bytes::from);
    let verb = request.method().as_str().to_lowercase();
    let mut retries = 0;
    let mut elected = false;
    loop {
        let response = client.send(request.clone().map(Body::from)).await?;
        if retries < MAX_RETRIES
            && let Some(delay) = wanted_delay(&response)
        {
            retries += 1;
            drop(response);
            tokio::time::sleep(delay).await;
            continue;
        }
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| RequestError::unreadable(&*error))?
            .to_bytes();
        if !elected && is_election(status, &body) {
            elected = true;
            continue;
        }
        return if status.is_success() {
            Ok(body)
        } else {
            Err(refusal(status, &body, &verb, about))
        };
    }
}

/// Whether the server failed because its store has just elected another leader: one more try usually helps (HC-REMOTE-011).
fn is_election(status: StatusCode, body: &[u8]) -> bool {
    const TEXTS: [&str; 2] = ["etcdserver: leader changed", "raft proposal dropped"];
    if !status.is_server_error() || body.len() > MAX_REFUSAL_TEXT {
        return false;
    }
    let answer: Result<Value, _> = serde_json::from_slice(body);
    let answer = answer.unwrap_or_default();
    let message = answer.get("message").and_then(Value::as_str);
    message.is_some_and(|message| TEXTS.iter().any(|text| message.contains(text)))
}

/// Sends a request and parses the response as JSON.
pub(crate) async fn exchange_json<T: serde::de::DeserializeOwned>(
    client: &Client,
    request: Request<Vec<u8>>,
    about: &About,
) -> Result<T, RequestError> {
    let body = exchange(client, request, about).await?;
    serde_json::from_slice(&body).map_err(|error| {
        // Only the position: the surrounding text may be a Secret's.
        RequestError::local(format!(
            "the server's answer is not the expected JSON (line {}, column {})",
            error.line(),
            error.column()
        ))
    })
}

/// The delay after which the server asks for a retry, if it does. As in client-go, a refusal without `Retry-After` is
/// final: retries are up to the caller.
fn wanted_delay<B>(response: &Response<B>) -> Option<Duration> {
    let status = response.status();
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return None;
    }
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?))
}

fn refusal(code: StatusCode, body: &[u8], verb: &str, about: &About) -> RequestError {
    let status = serde_json::from_slice::<Value>(body)
        .ok()
        .filter(|value| value["kind"] == "Status")
        .and_then(|value| serde_json::from_value::<Status>(value).ok());
    match status {
        Some(mut status) => {
            if status.code == 0 {
                status.code = code.as_u16();
            }
            RequestError::from(status)
        }
        None => generic(code.as_u16(), body, verb, about),
    }
}

/// The error of client-go for a refusal that is not a `Status`.
fn generic(code: u16, body: &[u8], verb: &str, about: &About) -> RequestError {
    let text = String::from_utf8_lossy(body.get(..MAX_REFUSAL_TEXT).unwrap_or(body));
    let text = Some(text.trim())
        .filter(|text| !text.is_empty())
        .unwrap_or("unknown");
    let (reason, message) = match code {
        400 => (
            "BadRequest",
            "the server rejected our request for an unknown reason".to_owned(),
        ),
        401 => (
            "Unauthorized",
            "the server has asked for the client to provide credentials".to_owned(),
        ),
        403 => ("Forbidden", text.to_owned()),
        404 => (
            "NotFound",
            "the server could not find the requested resource".to_owned(),
        ),
        405 => (
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource".to_owned(),
        ),
        406 if text == "unknown" => (
            "NotAcceptable",
            "the server was unable to respond with a content type that the client supports"
                .to_owned(),
        ),
        406 => ("NotAcceptable", text.to_owned()),
        409 if verb == "post" => ("AlreadyExists", "the server reported a conflict".to_owned()),
        409 => ("Conflict", "the server reported a conflict".to_owned()),
        415 => ("UnsupportedMediaType", text.to_owned()),
        422 => (
            "Invalid",
            "the server rejected our request due to an error in our request".to_owned(),
        ),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later"
                .to_owned(),
        ),
        503 => (
            "ServiceUnavailable",
            "the server is currently unable to handle the request".to_owned(),
        ),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request".to_owned(),
        ),
        500.. => (
            "InternalError",
            format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        ),
        _ => (
            "",
            format!(
                "the server responded with the status code {code} but did not return more information"
            ),
        ),
    };
    let About { resource, name } = about;
    let message = match (resource.is_empty(), name.is_empty()) {
        (true, _) => message,
        (false, true) => format!("{message} ({verb} {resource})"),
        (false, false) => format!("{message} ({verb} {resource} {name})"),
    };
    RequestError::refusal(code, reason, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Response, StatusCode};

    use super::{About, Limit, exchange, is_election, refusal, wanted_delay};
    use crate::error::RequestError;

    #[test]
    fn errors_without_a_status_read_as_in_client_go() {
        let about = |resource: &str, name: &str| About {
            resource: resource.into(),
            name: name.into(),
        };
        for (code, body, about, reason, message) in [
            (
                503,
                "service unavailable\n",
                about("", ""),
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            (
                404,
                "404 page not found\n",
                about("foos.example.com", "x"),
                "NotFound",
                "the server could not find the requested resource (patch foos.example.com x)",
            ),
            (
                500,
                " \"x\" ",
                about("foos.example.com", ""),
                "InternalError",
                "an error on the server (\"\\\"x\\\"\") has prevented the request from succeeding (patch foos.example.com)",
            ),
            (403, "no", about("", ""), "Forbidden", "no"),
            (
                418,
                "",
                about("", ""),
                "",
                "the server responded with the status code 418 but did not return more information",
            ),
        ] {
            let code = StatusCode::from_u16(code).unwrap();
            let error = refusal(code, body.as_bytes(), "patch", &about);
            assert_eq!(
                (error.reason.as_str(), error.message.as_str()),
                (reason, message)
            );
            assert_eq!(error.code, code.as_u16());
        }
        let status =
            br#"{"kind":"Status","status":"Failure","message":"m","reason":"Invalid","code":422}"#;
        let code = StatusCode::UNPROCESSABLE_ENTITY;
        let error = refusal(code, status, "patch", &About::default());
        assert_eq!(
            (error.reason.as_str(), error.message.as_str()),
            ("Invalid", "m")
        );
    }

    #[test]
    fn a_request_is_retried_only_on_retry_after() {
        let response = |code: u16, retry_after: Option<&str>| {
            let mut response = Response::builder().status(code);
            if let Some(value) = retry_after {
                response = response.header("Retry-After", value);
            }
            wanted_delay(&response.body(()).unwrap())
        };
        assert_eq!(response(503, None), None);
        assert_eq!(response(429, Some("2")), Some(Duration::from_secs(2)));
        assert_eq!(response(503, Some("1")), Some(Duration::from_secs(1)));
        assert_eq!(response(503, Some("tomorrow")), None);
        assert_eq!(response(409, Some("1")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_response_times_out_and_is_not_repeated() {
        let limit = Limit::new(Duration::from_secs(30));
        let started = tokio::time::Instant::now();
        let never = limit.bound(std::future::pending::<Result<(), RequestError>>());
        let error = never.await.unwrap_err();
        assert_eq!(started.elapsed(), Duration::from_secs(30));
        assert_eq!(
            error.to_string(),
            "the API server has not answered within 30s: context deadline exceeded"
        );
        let mut sent = false;
        let next = limit.bound(async {
            sent = true;
            Ok(())
        });
        assert!(next.await.is_err());
        assert!(!sent);
        assert!(limit.each_alone().bound(async { Ok(()) }).await.is_ok());
        assert!(Limit::default().bound(async { Ok(()) }).await.is_ok());
    }

    // HC-REMOTE-011, FR-H-043
    #[tokio::test]
    async fn an_election_of_the_store_is_waited_out_once() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU32, Ordering};

        let lost = r#"{"kind":"Status","message":"etcdserver: leader changed","code":500}"#;
        assert!(is_election(
            StatusCode::INTERNAL_SERVER_ERROR,
            lost.as_bytes()
        ));
        assert!(!is_election(StatusCode::CONFLICT, lost.as_bytes()));
        for body in [r#"{"message":"other"}"#, "etcdserver: leader changed", "[]"] {
            assert!(
                !is_election(StatusCode::INTERNAL_SERVER_ERROR, body.as_bytes()),
                "{body}"
            );
        }
        for (failing, ends_well) in [(1, true), (2, false)] {
            let asked = Arc::new(AtomicU32::new(0));
            let counted = asked.clone();
            let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
                let fails = counted.fetch_add(1, Ordering::Relaxed) < failing;
                let (code, body) = if fails { (500, lost) } else { (200, "{}") };
                let answer = Response::builder()
                    .status(code)
                    .body(kube::client::Body::from(body.as_bytes().to_vec()));
                std::future::ready(answer)
            });
            let client = kube::Client::new(service, "default");
            let request = http::Request::get("/x").body(Vec::new()).unwrap();
            let answer = exchange(&client, request, &About::default()).await;
            assert_eq!(answer.is_ok(), ends_well, "{answer:?}");
            assert_eq!(asked.load(Ordering::Relaxed), 2);
        }
    }
}
