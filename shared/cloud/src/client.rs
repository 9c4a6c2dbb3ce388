//! The HTTP clients of credential requests, and how their responses are read.

use std::time::Duration;

use flux_http::{
    BodyError, BuildError, ClientOptions, ErrorKind, Proxy, Redirects, Repeat, RequestError,
    Secret, TlsSettings, read_body, shown_url,
};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;

use crate::environment::Environment;

/// The timeout of one request (RT-WID-019, SC-AUTH-073).
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// The most of a service's own explanation that errors repeat, in characters.
const MAX_REASON: usize = 1024;
/// How often a request is made that a service could not answer for reasons of its own.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; it doubles with each further one.
const PAUSE: Duration = Duration::from_millis(200);

/// What requests for credentials need: HTTP clients with the proxy of an object, and the process's environment.
///
/// Each request times out after ten seconds (RT-WID-019), no redirect is followed, and only the system's authorities
/// are trusted.
#[derive(Clone, Debug)]
pub struct CloudClient {
    http: Client,
    direct: Client,
    proxy: Secret,
    environment: Environment,
}

/// Why a request to a cloud's API failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request could not be sent, or had no response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The service refused. Of its response only the documented fields for an error are shown.
    #[error("{method} {url}: {status}{}", prefixed(reason))]
    Refused {
        /// The method.
        method: Method,
        /// The address.
        url: String,
        /// The status of the response.
        status: StatusCode,
        /// The service's code and explanation, empty if it has none.
        reason: String,
        /// The service's own ID of the request, empty if it has none.
        request_id: String,
    },
    /// The response cannot be read.
    #[error("{method} {url}: malformed answer")]
    Answer {
        /// The method.
        method: Method,
        /// The address.
        url: String,
        /// What is wrong with the response.
        #[source]
        source: AnswerError,
    },
}

/// What is wrong with a response. No part of the response is kept, since it may hold a credential.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It is incomplete or too large.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// It does not have the documented form.
    #[error("the answer is not what the API documents (line {line}, column {column})")]
    Json {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// A field is missing.
    #[error("the answer has no {0}")]
    Missing(&'static str),
    /// A field has a value that cannot be used.
    #[error("the answer has an invalid {0}")]
    Invalid(&'static str),
}

impl CallError {
    /// The status of the response, if the service refused.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

fn prefixed(reason: &str) -> String {
    if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    }
}

impl CloudClient {
    /// Clients whose requests leave through this proxy; those to metadata servers of GKE never do (RT-WID-019).
    ///
    /// # Errors
    /// The proxy cannot be used.
    pub fn new(proxy: &Proxy) -> Result<Self, BuildError> {
        Self::trusting(proxy, TlsSettings::default())
    }

    /// The same with other authorities than the system's.
    ///
    /// # Errors
    /// The proxy or the authorities cannot be used.
    pub fn trusting(proxy: &Proxy, tls: TlsSettings) -> Result<Self, BuildError> {
        let options = ClientOptions {
            tls,
            redirects: Redirects::Refuse,
            timeout: Some(TIMEOUT),
            ..ClientOptions::default()
        };
        let build = |proxy: Proxy| {
            ClientOptions {
                proxy,
                ..options.clone()
            }
            .build()
        };
        Ok(Self {
            http: build(proxy.clone())?,
            direct: build(Proxy::None)?,
            proxy: proxy_key(proxy),
            environment: Environment::of_process(),
        })
    }

    /// The same with other environment variables.
    #[must_use]
    pub fn with_environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// The client with the object's proxy, for further requests with the credentials, such as to a KMS.
    pub fn http(&self) -> &Client {
        &self.http
    }

    /// The client without a proxy.
    pub(crate) fn direct(&self) -> &Client {
        &self.direct
    }

    /// The environment variables.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The proxy with its credentials, for cache keys; empty if the object names none (RT-WID-023).
    pub fn proxy_key(&self) -> &Secret {
        &self.proxy
    }
}

fn proxy_key(proxy: &Proxy) -> Secret {
    match proxy {
        Proxy::Environment | Proxy::None => Secret::default(),
        Proxy::Url(url) => {
            let password = url.password().map(Secret::expose).unwrap_or_default();
            let username = url.username().unwrap_or_default();
            let parts = [
                url.url().as_str().as_bytes(),
                b"\n",
                username.as_bytes(),
                b"\n",
                password,
            ];
            Secret::new(parts.concat())
        }
    }
}

/// A response whose status says that the request succeeded.
pub(crate) struct Answer {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) body: bytes::Bytes,
}

/// What a service says of a refusal: code and explanation.
pub(crate) type Reason = fn(&[u8]) -> Option<String>;

/// Sends a request that has the effect of one if it is sent twice, and reads the response. A service that is busy is
/// asked again.
///
/// `secrets` are those in the request: a refusal that repeats one is not shown.
///
/// # Errors
/// [`CallError`]; the explanation of a refusal is what `reason` finds in the response.
pub(crate) async fn call(
    request: RequestBuilder,
    reason: Reason,
    secrets: &[&Secret],
) -> Result<Answer, CallError> {
    let (client, request) = request.build_split();
    let request = request.map_err(|_| CallError::Answer {
        method: Method::GET,
        url: String::new(),
        source: AnswerError::Invalid("address"),
    })?;
    let mut pause = PAUSE;
    for _ in 1..ATTEMPTS {
        let Some(copy) = request.try_clone() else {
            break;
        };
        let copy = RequestBuilder::from_parts(client.clone(), copy);
        match once(copy, reason, secrets).await {
            Err(error) if is_busy(&error) => tokio::time::sleep(pause).await,
            result => return result,
        }
        pause *= 2;
    }
    once(RequestBuilder::from_parts(client, request), reason, secrets).await
}

async fn once(
    request: RequestBuilder,
    reason: Reason,
    secrets: &[&Secret],
) -> Result<Answer, CallError> {
    let (client, built) = request.build_split();
    let (method, url) = match &built {
        Ok(request) => (request.method().clone(), shown_url(request.url())),
        Err(_) => (Method::GET, String::new()),
    };
    let malformed = |source| CallError::Answer {
        method: method.clone(),
        url: url.clone(),
        source,
    };
    let request = built.map_err(|_| malformed(AnswerError::Invalid("address")))?;
    let request = RequestBuilder::from_parts(client, request);
    let response = flux_http::send(request, Repeat::Idempotent).await?;
    let status = response.status();
    let id = ["x-amzn-requestid", "x-ms-request-id", "x-amz-request-id"]
        .iter()
        .find_map(|name| response.headers().get(*name)?.to_str().ok());
    let request_id = shown(id.unwrap_or_default(), secrets);
    let body = read_body(response, MAX_ANSWER).await;
    if !status.is_success() {
        let reason = body.ok().and_then(|body| reason(&body)).unwrap_or_default();
        return Err(CallError::Refused {
            reason: shown(&reason, secrets),
            method,
            url,
            status,
            request_id,
        });
    }
    let body = body.map_err(|error| malformed(error.into()))?;
    Ok(Answer { method, url, body })
}

/// Whether the same request may be answered a moment later.
fn is_busy(error: &CallError) -> bool {
    match error {
        CallError::Refused { status, .. } => {
            matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
        }
        CallError::Request(error) => error.may_pass() && !is_timeout(error),
        CallError::Answer { .. } => false,
    }
}

fn is_timeout(error: &RequestError) -> bool {
    matches!(error.kind(), ErrorKind::Timeout)
}

/// A text of a service in one line of bounded length, or nothing if it repeats a secret of the request.
fn shown(text: &str, secrets: &[&Secret]) -> String {
    let repeats =
        |secret: &&Secret| !secret.is_empty() && text.contains(secret.expose_text().as_ref());
    if secrets.iter().any(repeats) {
        return String::new();
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MAX_REASON).collect()
}

impl Answer {
    /// The response as JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            self.malformed(AnswerError::Json {
                line: error.line(),
                column: error.column(),
            })
        })
    }

    /// An error about the content of this response.
    pub(crate) fn malformed(&self, source: AnswerError) -> CallError {
        CallError::Answer {
            method: self.method.clone(),
            url: self.url.clone(),
            source,
        }
    }
}

/// The time when something ends that lasts `seconds` from this moment.
pub(crate) fn after(seconds: u64) -> std::time::SystemTime {
    // A century at most: the sum must be representable.
    let seconds = seconds.min(100 * 365 * 24 * 3600);
    std::time::SystemTime::now() + Duration::from_secs(seconds)
}

/// A time in seconds since 1970; a negative or absurd one counts as expired.
pub(crate) fn at(seconds: f64) -> std::time::SystemTime {
    let since = Duration::try_from_secs_f64(seconds.min(1e11)).unwrap_or_default();
    std::time::UNIX_EPOCH + since
}

/// Pairs in the form of a query or of the body of a form.
pub(crate) fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(pairs)
        .finish()
}
