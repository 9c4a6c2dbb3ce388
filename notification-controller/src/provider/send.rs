//! The one sender of all types: requests, retries, and the errors that users see (NC-HTTP-001 to NC-HTTP-009).

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flux_http::{ErrorKind, Repeat, read_body, shown_url};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use tokio::time::Instant;
use url::Url;

use super::otel::Traces;
use super::posted::Posted;
use super::settings::{ConfigError, Settings};
use crate::event::go_json;

/// Attempts after the first.
const RETRIES: u32 = 4;
/// The pause before the first retry, doubled before each further one.
const PAUSE: Duration = Duration::from_secs(2);
/// The longest pause of our own.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// The longest text of a service that an error quotes, in bytes.
const MAX_QUOTED: usize = 16 << 10;
/// The largest response that is read.
const MAX_ANSWER: usize = 8 << 20;

/// Which responses are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepts {
    /// Any 2xx (NC-HTTP-002).
    Success,
    /// Slack's API, whose body says whether it is (NC-SLACK-005).
    SlackApi,
}

/// A request, and what its result means.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(super) request: Exchange,
    pub(super) accepts: Accepts,
    /// What the error begins with.
    pub(super) context: &'static str,
    /// How errors are worded, and whether the request is sent again.
    pub(super) style: Style,
}

/// How a failed request is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As by upstream's common client, which retries.
    Common,
    /// By status alone, without retries.
    Once,
}

/// A request. Its `Debug` shows no header and no body.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) method: Method,
    pub(super) address: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Bytes,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exchange({})", self.method)
    }
}

impl Exchange {
    /// A request without a body.
    pub(super) fn new(method: Method, address: impl Into<String>) -> Self {
        Self {
            method,
            address: address.into(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// With a header, which replaces one of the same name.
    pub(super) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With a JSON body.
    pub(super) fn json(self, body: &impl Serialize) -> Self {
        // Texts and maps with texts for keys always have a JSON form.
        let body = go_json(body).unwrap_or_default();
        self.body("application/json", body)
    }

    /// With a body of this type.
    pub(super) fn body(self, kind: &str, body: impl Into<Bytes>) -> Self {
        let mut this = self.header("Content-Type", kind);
        this.body = body.into();
        this
    }

    /// With basic credentials.
    pub(super) fn basic(self, username: &str, password: &str) -> Self {
        let pair = STANDARD.encode(format!("{username}:{password}"));
        self.header("Authorization", format!("Basic {pair}"))
    }

    /// With a bearer token.
    pub(super) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }
}

impl Call {
    /// A POST of JSON to a webhook.
    pub(super) fn post(address: impl Into<String>, body: &impl Serialize) -> Self {
        Self::of(Exchange::new(Method::POST, address).json(body))
    }

    /// A request of upstream's common client.
    pub(super) fn of(request: Exchange) -> Self {
        Self {
            request,
            accepts: Accepts::Success,
            context: "postMessage failed: ",
            style: Style::Common,
        }
    }

    /// With a header.
    pub(super) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// With a bearer token, unless it is empty.
    pub(super) fn bearer_if_any(self, token: &str) -> Self {
        if token.is_empty() {
            return self;
        }
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// With another beginning of errors.
    pub(super) fn context(mut self, context: &'static str) -> Self {
        self.context = context;
        self
    }
}

/// Why an event was not delivered. The texts are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// The service was not reached, or kept refusing.
    #[error("{context}failed to execute request: {method} {url} giving up after {attempts} attempt(s){}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    GaveUp {
        /// What was being done.
        context: &'static str,
        /// The method.
        method: Method,
        /// The address, without password and query.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// The last error.
        cause: Option<String>,
        /// Whether the service may take it later. False if it is unknown whether it has taken it.
        may_pass: bool,
    },
    /// The time was over between two attempts.
    #[error("{context}failed to execute request: context deadline exceeded")]
    TimeOver {
        /// What was being done.
        context: &'static str,
    },
    /// The service refused.
    #[error("{context}request failed: request failed with status code {code}: {body}")]
    Refused {
        /// What was being done.
        context: &'static str,
        /// The status.
        code: u16,
        /// What the service said.
        body: String,
    },
    /// The service said no in a good response.
    #[error("{context}request failed: {reason}")]
    Denied {
        /// What was being done.
        context: &'static str,
        /// What it said.
        reason: String,
    },
    /// Anything else, with a text of its own.
    #[error("{0}")]
    Other(String),
    /// As [`SendError::Other`], where the service may take it later.
    #[error("{0}")]
    Later(String),
}

impl SendError {
    /// An error with a text of its own.
    pub(super) fn other(text: impl Into<String>) -> Self {
        Self::Other(text.into())
    }

    /// As this error, with a text of its own.
    pub(super) fn told(&self, text: impl Into<String>) -> Self {
        if self.may_pass() {
            Self::Later(text.into())
        } else {
            Self::Other(text.into())
        }
    }

    /// Whether the service has not taken the event, and may do so later (NC-EVT-057).
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::GaveUp { may_pass, .. } => *may_pass,
            Self::TimeOver { .. } | Self::Later(_) => true,
            Self::Refused { .. } | Self::Denied { .. } | Self::Other(_) => false,
        }
    }
}

/// A response.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Reply {
    /// The body for an error, of bounded length.
    pub(super) fn quoted(&self) -> String {
        let end = self.body.len().min(MAX_QUOTED);
        String::from_utf8_lossy(&self.body[..end]).into_owned()
    }

    /// Status and text, for errors of APIs.
    pub(super) fn refusal(&self, request: &Exchange) -> String {
        let url = Url::parse(&request.address).map(|url| shown_url(&url));
        let text = self.quoted();
        let text = text.trim();
        format!(
            "{} {}: {} {text}",
            request.method,
            url.unwrap_or_default(),
            self.status.as_u16()
        )
        .trim_end()
        .to_owned()
    }

    /// The error of a refusal with this text.
    pub(super) fn refused(&self, text: impl Into<String>) -> SendError {
        if is_retried(self.status) {
            SendError::Later(text.into())
        } else {
            SendError::Other(text.into())
        }
    }
}

/// Sends the requests of one Provider.
#[derive(Clone)]
pub(crate) struct Sender {
    client: reqwest::Client,
    pause: Duration,
    posted: Posted,
    traces: Traces,
}

/// How one attempt failed.
enum Attempt {
    /// No response; whether another attempt may succeed.
    Lost { text: String, may_pass: bool },
    /// The time is over.
    Late,
}

impl Sender {
    /// The sender for a Provider.
    ///
    /// # Errors
    /// The client cannot be made of its settings.
    pub(crate) fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let client = settings.client_options().build();
        Ok(Self {
            client: client.map_err(ConfigError::Client)?,
            pause: PAUSE,
            posted: Posted::default(),
            traces: Traces::default(),
        })
    }

    /// With the commit statuses that were set, and the traces that were begun, so far.
    pub(crate) fn knowing(mut self, posted: Posted, traces: Traces) -> Self {
        self.posted = posted;
        self.traces = traces;
        self
    }

    /// The traces that were begun.
    pub(super) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// The commit statuses that were set.
    pub(super) fn posted(&self) -> &Posted {
        &self.posted
    }

    /// The HTTP client.
    pub(crate) fn client(&self) -> &reqwest::Client {
        &self.client
    }

    #[cfg(test)]
    pub(super) fn pausing(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Sends a request until the service accepts it, refuses it for good, or the time is over.
    pub(super) async fn send(&self, call: &Call, deadline: Instant) -> Result<(), SendError> {
        let context = call.context;
        let retries = match call.style {
            Style::Common => RETRIES,
            Style::Once => 0,
        };
        let reply = self
            .attempts(&call.request, retries, context, deadline)
            .await?;
        match call.accepts {
            Accepts::SlackApi => slack_verdict(&reply, context),
            Accepts::Success if reply.status.is_success() => Ok(()),
            Accepts::Success if call.style == Style::Once => Err(reply.refused(format!(
                "{context}{} {}",
                reply.status.as_u16(),
                reply.status.canonical_reason().unwrap_or_default()
            ))),
            Accepts::Success => Err(SendError::Refused {
                context,
                code: reply.status.as_u16(),
                body: reply.quoted(),
            }),
        }
    }

    /// One request to an API, sent again `retries` times if the service is not reached or overloaded.
    pub(super) async fn exchange(
        &self,
        request: &Exchange,
        retries: u32,
        deadline: Instant,
    ) -> Result<Reply, SendError> {
        self.attempts(request, retries, "", deadline).await
    }

    /// Attempts until there is a response that another attempt would not change (NC-HTTP-004, NC-HTTP-005).
    async fn attempts(
        &self,
        request: &Exchange,
        retries: u32,
        context: &'static str,
        deadline: Instant,
    ) -> Result<Reply, SendError> {
        let mut attempts = 0;
        let gave_up = |attempts, cause, may_pass| SendError::GaveUp {
            context,
            method: request.method.clone(),
            url: Url::parse(&request.address)
                .map_or_else(|_| request.address.clone(), |url| shown_url(&url)),
            attempts,
            cause,
            may_pass,
        };
        loop {
            attempts += 1;
            let mut wanted = None;
            let cause = match self.once(request, deadline).await {
                Ok(reply) if !is_retried(reply.status) => return Ok(reply),
                // Without retries, or for the API that says in its body what is wrong, the response counts.
                Ok(reply) if retries == 0 => return Ok(reply),
                Ok(reply) => {
                    wanted = retry_after(&reply);
                    None
                }
                Err(Attempt::Late) => {
                    let late = "context deadline exceeded".to_owned();
                    return Err(gave_up(attempts, Some(late), false));
                }
                Err(Attempt::Lost { text, may_pass }) => {
                    if !may_pass {
                        return Err(gave_up(attempts, Some(text), false));
                    }
                    Some(text)
                }
            };
            if attempts > retries {
                return Err(gave_up(attempts, cause, true));
            }
            let own = self
                .pause
                .saturating_mul(1 << (attempts - 1))
                .min(MAX_PAUSE);
            let next = Instant::now() + wanted.unwrap_or(own);
            if next >= deadline {
                // Waiting would only delay the report (NC-HTTP-006).
                tokio::time::sleep_until(deadline).await;
                return Err(SendError::TimeOver { context });
            }
            tokio::time::sleep_until(next).await;
        }
    }

    async fn once(&self, request: &Exchange, deadline: Instant) -> Result<Reply, Attempt> {
        let hopeless = |text: String| Attempt::Lost {
            text,
            may_pass: false,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            if name.eq_ignore_ascii_case("host") {
                continue; // NC-GENERIC-003: Go sends the host of the URL
            }
            let parsed = HeaderName::from_bytes(name.as_bytes());
            let parsed = parsed
                .map_err(|_| hopeless(format!("net/http: invalid header field name {name:?}")))?;
            let value = HeaderValue::from_bytes(value).map_err(|_| {
                hopeless(format!("net/http: invalid header field value for {name:?}"))
            })?;
            headers.insert(parsed, value);
        }
        let Ok(url) = Url::parse(&request.address) else {
            return Err(hopeless("unsupported protocol scheme \"\"".to_owned()));
        };
        let mut builder = self
            .client
            .request(request.method.clone(), url)
            .headers(headers);
        if !request.body.is_empty() || request.method == Method::POST {
            builder = builder.body(request.body.clone());
        }
        let answer = async {
            let response = flux_http::send(builder, Repeat::Never).await;
            let response = response.map_err(|error| Attempt::Lost {
                may_pass: error.may_pass() && error.kind() != ErrorKind::Build,
                text: error.to_string(),
            })?;
            let (status, headers) = (response.status(), response.headers().clone());
            let body = read_body(response, MAX_ANSWER).await;
            let body = match body {
                Ok(body) => body,
                // The status says enough.
                Err(error) if status.is_success() => {
                    return Err(Attempt::Lost {
                        text: flux_errors::chain(&error),
                        may_pass: false,
                    });
                }
                Err(_) => Bytes::new(),
            };
            Ok(Reply {
                status,
                headers,
                body,
            })
        };
        match tokio::time::timeout_at(deadline, answer).await {
            Ok(answer) => answer,
            Err(_) => Err(Attempt::Late),
        }
    }
}

/// Whether another attempt may get another response (NC-HTTP-004).
fn is_retried(status: StatusCode) -> bool {
    let code = status.as_u16();
    code == 429 || (code >= 500 && code != 501)
}

/// How long the service asks to wait (NC-HTTP-004).
fn retry_after(reply: &Reply) -> Option<Duration> {
    if !matches!(reply.status.as_u16(), 429 | 503) {
        return None;
    }
    let value = reply.headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// What Slack's API says (NC-SLACK-005).
fn slack_verdict(reply: &Reply, context: &'static str) -> Result<(), SendError> {
    let denied = |reason: String| Err(SendError::Denied { context, reason });
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&reply.body) else {
        return denied("unable to unmarshal response body: it is not JSON".to_owned());
    };
    if body["ok"] == true {
        return Ok(());
    }
    let error = body["error"].as_str().unwrap_or_default();
    denied(format!("Slack responded with error: {error}"))
}

#[cfg(test)]
mod tests;
