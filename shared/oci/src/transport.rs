//! Requests to a registry: over which scheme, with which credentials, through which redirects, and how often.

use std::pin::pin;
use std::time::{Duration, SystemTime};

use flux_http::{ErrorKind, Repeat, Secret, read_body};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::auth::{Bearer, Challenge};
use crate::client::Client;
use crate::error::{Error, MAX_ERROR_BODY, StatusError};
use crate::redirect;

/// As many redirects as Go's client follows.
const MAX_REDIRECTS: usize = 10;
/// The statuses after which a request is repeated (SC-OCI-051).
const TRANSIENT: [u16; 8] = [408, 429, 499, 500, 502, 503, 504, 522];
/// The longest `Retry-After` that is waited for within a request. The caller decides about longer ones.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// The longest `Retry-After` that is reported.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(10);
/// How long HTTPS has to answer before HTTP is tried, too.
const FALLBACK: Duration = Duration::from_millis(300);
/// Where a shorter secret was sent, nothing of the answer is shown: as a part of other texts, its mask would give it away.
const SHORTEST_SECRET: usize = 4;

/// How a registry is reached.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// The root of the registry.
    pub(crate) base: Url,
    /// The token service; without one, Basic credentials are sent if there are any.
    bearer: Option<Bearer>,
}

/// A request without its URL.
pub(crate) struct Hop<'h> {
    pub(crate) method: &'h Method,
    pub(crate) headers: HeaderMap,
    /// A form to be posted.
    pub(crate) form: Option<&'h str>,
    pub(crate) repeat: Repeat,
}

/// Marks a response that another URL than the one asked for led to.
#[derive(Clone, Copy, Debug)]
struct Redirected;

/// The value of a header that holds a secret.
pub(crate) fn header_value(secret: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_bytes(secret.expose()).map_err(|_| Error::Header)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The method as go-containerregistry prints it.
pub(crate) fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        _ => "GET",
    }
}

/// The method as Go's `net/http` prints it.
fn operation(method: &Method) -> &'static str {
    match *method {
        Method::HEAD => "Head",
        Method::POST => "Post",
        _ => "Get",
    }
}

impl Session {
    /// The header with the credentials.
    fn authorization(&self, client: &Client) -> Result<Option<HeaderValue>, Error> {
        let secret = match &self.bearer {
            Some(bearer) => bearer.token.as_ref().map(bearer_header),
            None => match &client.credentials().registry_token {
                Some(token) => Some(bearer_header(token)),
                None => client.credentials().basic_header(),
            },
        };
        secret.as_ref().map(header_value).transpose()
    }
}

fn bearer_header(token: &Secret) -> Secret {
    Secret::new([b"Bearer ", token.expose()].concat())
}

impl Client {
    /// Sends a request to a path of the registry, with credentials. The response may have any status.
    pub(crate) async fn request(
        &self,
        method: &Method,
        path: &str,
        accept: Option<&str>,
    ) -> Result<Response, Error> {
        let session = self.session().await?;
        let url = session.base.join(path)?;
        let mut headers = HeaderMap::new();
        if let Some(accept) = accept.and_then(|accept| HeaderValue::from_str(accept).ok()) {
            headers.insert(ACCEPT, accept);
        }
        let hop = Hop {
            method,
            headers,
            form: None,
            repeat: Repeat::Idempotent,
        };
        let response = self.send_as(&session, &hop, &url).await?;
        if response.status() != StatusCode::UNAUTHORIZED || session.bearer.is_none() {
            return Ok(response);
        }
        // The token has expired, or lacks a scope.
        let Some(challenge) = Challenge::of(response.headers()) else {
            return Ok(response);
        };
        let session = self.renewed(&challenge).await?;
        self.send_as(&session, &hop, &url).await
    }

    async fn send_as(
        &self,
        session: &Session,
        hop: &Hop<'_>,
        url: &Url,
    ) -> Result<Response, Error> {
        let authorization = session.authorization(self)?;
        let authorize = |to: &Url, headers: &mut HeaderMap| {
            if let Some(value) = &authorization
                && redirect::same_server(&session.base, to)
            {
                headers.insert(AUTHORIZATION, value.clone());
            }
        };
        self.send(hop, url, &authorize, &redirect::refusal).await
    }

    /// The way to the registry, found out once.
    pub(crate) async fn session(&self) -> Result<Session, Error> {
        let mut held = self.held().lock().await;
        if let Some(session) = &*held {
            return Ok(session.clone());
        }
        let session = self.sign_in().await?;
        Ok(held.insert(session).clone())
    }

    async fn renewed(&self, challenge: &Challenge) -> Result<Session, Error> {
        let mut held = self.held().lock().await;
        let mut session = match held.take() {
            Some(session) => session,
            None => self.sign_in().await?,
        };
        if let Some(bearer) = &mut session.bearer {
            bearer.add_scopes(Some(challenge));
            bearer.renew(self, &session.base).await?;
        }
        Ok(held.insert(session).clone())
    }

    /// Finds out over which scheme the registry answers and how it wants to be signed in to, and gets a first token.
    async fn sign_in(&self) -> Result<Session, Error> {
        let (base, challenge) = self.reach().await?;
        let challenge = challenge.filter(|challenge| challenge.scheme == "bearer");
        let mut session = Session { base, bearer: None };
        if let Some(challenge) = challenge {
            let scope = self.repository().pull_scope();
            let mut bearer = Bearer::new(&challenge, &session.base, scope)?;
            bearer.renew(self, &session.base).await?;
            session.bearer = Some(bearer);
        }
        Ok(session)
    }

    /// Tries HTTPS; where HTTP is allowed, also HTTP if HTTPS fails or takes its time. The first to answer is used, as in
    /// upstream (SC-OCI-049).
    async fn reach(&self) -> Result<(Url, Option<Challenge>), Error> {
        if self.repository().is_plain_http() {
            return self.ping("http").await;
        }
        if !self.repository().may_use_http() {
            return self.ping("https").await;
        }
        let both = |https, http| Error::Schemes {
            https: Box::new(https),
            http: Box::new(http),
        };
        let mut https = pin!(self.ping("https"));
        match timeout(FALLBACK, &mut https).await {
            Ok(Ok(reached)) => Ok(reached),
            Ok(Err(error)) => {
                let reached = self.ping("http").await;
                reached.map_err(|http| both(error, http))
            }
            Err(_) => {
                let mut http = pin!(self.ping("http"));
                tokio::select! {
                    reached = &mut https => match reached {
                        Ok(reached) => Ok(reached),
                        Err(error) => http.await.map_err(|other| both(error, other)),
                    },
                    reached = &mut http => match reached {
                        Ok(reached) => Ok(reached),
                        Err(error) => https.await.map_err(|other| both(other, error)),
                    },
                }
            }
        }
    }

    async fn ping(&self, scheme: &str) -> Result<(Url, Option<Challenge>), Error> {
        let base = format!("{scheme}://{}/", self.repository().registry());
        let mut base = Url::parse(&base)?;
        let url = base.join("/v2/")?;
        let hop = Hop {
            method: &Method::GET,
            headers: HeaderMap::new(),
            form: None,
            repeat: Repeat::Idempotent,
        };
        let response = self
            .send(&hop, &url, &|_, _| {}, &redirect::refusal)
            .await?;
        if base.scheme() == "http" && response.url().scheme() == "https" {
            // The registry redirects to HTTPS, which is then used from the start.
            let _ = base.set_scheme("https");
        }
        let statuses = [StatusCode::OK, StatusCode::UNAUTHORIZED];
        let response = self
            .expect_early(response, &Method::GET, &statuses, Vec::new())
            .await?;
        if response.status() == StatusCode::OK {
            return Ok((base, None));
        }
        Ok((base, Challenge::of(response.headers())))
    }

    /// Sends a request and follows its redirects. `authorize` adds the credentials for a URL, `refusal` says why a
    /// redirect is not followed.
    async fn follow(
        &self,
        hop: &Hop<'_>,
        url: &Url,
        authorize: &(dyn Fn(&Url, &mut HeaderMap) + Sync),
        refusal: &(dyn Fn(&Url, &Url) -> Option<String> + Sync),
    ) -> Result<Response, Error> {
        let mut at = url.clone();
        let refused = |at: &Url, reason: String| Error::Redirect {
            method: operation(hop.method),
            url: flux_http::shown_url(at),
            reason,
        };
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = hop.headers.clone();
            authorize(&at, &mut headers);
            let mut request = self.http().request(hop.method.clone(), at.clone());
            if let Some(form) = hop.form {
                headers.insert(
                    CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                );
                request = request.body(form.to_owned());
            }
            *self.underway() = Some((hop.method.clone(), at.clone()));
            let sent = flux_http::send(request.headers(headers), hop.repeat).await;
            *self.underway() = None;
            let mut response = sent?;
            if at != *url {
                response.extensions_mut().insert(Redirected);
            }
            let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            let location = response.headers().get(LOCATION);
            let Some(location) = location.filter(|_| redirects) else {
                return Ok(response);
            };
            if hop.form.is_some() {
                // A form holds a token, which is sent to no other place than the one it is for.
                return Err(refused(&at, "redirect of a token request".to_owned()));
            }
            let next = location.to_str().ok().and_then(|text| at.join(text).ok());
            let Some(next) = next.filter(|next| matches!(next.scheme(), "http" | "https")) else {
                return Err(refused(&at, "the redirect leads nowhere".to_owned()));
            };
            if let Some(reason) = refusal(url, &next) {
                return Err(refused(&next, reason));
            }
            at = next;
        }
        Err(refused(
            &at,
            format!("stopped after {MAX_REDIRECTS} redirects"),
        ))
    }

    /// Sends a request as [`follow`](Self::follow) does, and repeats what fails for a transient reason: after the pauses of
    /// the options, or as long as the server asks for (SC-OCI-051).
    pub(crate) async fn send(
        &self,
        hop: &Hop<'_>,
        url: &Url,
        authorize: &(dyn Fn(&Url, &mut HeaderMap) + Sync),
        refusal: &(dyn Fn(&Url, &Url) -> Option<String> + Sync),
    ) -> Result<Response, Error> {
        let mut pauses = self.pauses().iter();
        loop {
            let sent = self.follow(hop, url, authorize, refusal).await;
            let wanted = match &sent {
                Ok(response) if TRANSIENT.contains(&response.status().as_u16()) => {
                    retry_after(response.headers()).unwrap_or_default()
                }
                Err(Error::Request(error))
                    if matches!(error.kind(), ErrorKind::Timeout | ErrorKind::Lost) =>
                {
                    Duration::ZERO
                }
                _ => return sent,
            };
            let Some(pause) = pauses.next().filter(|_| wanted <= LONGEST_WAIT) else {
                return sent;
            };
            sleep(wanted.max(*pause)).await;
        }
    }

    /// Turns a response with none of these statuses into an error.
    pub(crate) async fn expect(
        &self,
        response: Response,
        method: &Method,
        statuses: &[StatusCode],
    ) -> Result<Response, Error> {
        if statuses.contains(&response.status()) {
            return Ok(response);
        }
        let mut secrets = self.credentials().texts();
        if let Some(session) = &*self.held().lock().await {
            secrets.extend(session.bearer.iter().flat_map(Bearer::texts));
        }
        Err(self.failed(response, method, secrets).await)
    }

    /// As [`expect`](Self::expect), while the session is being made: what it is made of is in `secrets`.
    pub(crate) async fn expect_early(
        &self,
        response: Response,
        method: &Method,
        statuses: &[StatusCode],
        secrets: Vec<String>,
    ) -> Result<Response, Error> {
        if statuses.contains(&response.status()) {
            return Ok(response);
        }
        let secrets = [self.credentials().texts(), secrets].concat();
        Err(self.failed(response, method, secrets).await)
    }

    /// The error for a response, which shows none of these secrets.
    async fn failed(&self, response: Response, method: &Method, secrets: Vec<String>) -> Error {
        let status = response.status();
        let url = flux_http::shown_url(response.url());
        let retry_after = retry_after(response.headers());
        let mask = Mask::new(secrets);
        let body = match &mask {
            // An error is reported whether or not its body can be read.
            Some(_) if self.is_own(&response) => read_body(response, MAX_ERROR_BODY)
                .await
                .unwrap_or_default(),
            _ => bytes::Bytes::new(),
        };
        let hide = |text| match &mask {
            Some(mask) => mask.hide(text),
            None => text,
        };
        let mut error = StatusError::new(method_name(method), url, status, &body, hide);
        error.retry_after = retry_after;
        Error::Status(Box::new(error))
    }

    /// Whether a response is the registry's own, to a request whose every part may be shown. Where another server was asked, the registry chose it, and may have chosen
    /// one that its client can reach and it cannot: what that server says is for neither.
    fn is_own(&self, response: &Response) -> bool {
        let url = response.url();
        let registry = format!("{}://{}/", url.scheme(), self.repository().registry());
        let same = |own: Url| own.host() == url.host() && own.port() == url.port();
        let by_proxy = url.scheme() == "http" && self.proxy().has_credentials();
        // The query of a further page is the registry's, and a body may repeat it.
        let asked = |name: &str| matches!(name, "n" | "last" | "scope" | "service");
        let followed = url.query_pairs().any(|(name, _)| !asked(&name));
        let redirected = response.extensions().get::<Redirected>().is_some();
        !redirected && !by_proxy && !followed && Url::parse(&registry).is_ok_and(same)
    }
}

/// What no message may show.
struct Mask(Vec<String>);

impl Mask {
    /// Masks these secrets, as they are and as in forms and in JSON. `None` if one is too short for that.
    fn new(mut secrets: Vec<String>) -> Option<Self> {
        secrets.retain(|secret| !secret.is_empty());
        let encoded = |secret: &String| {
            let form = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            let json = Value::from(secret.as_str()).to_string();
            [form, json.trim_matches('"').to_owned()]
        };
        let encoded: Vec<_> = secrets.iter().flat_map(encoded).collect();
        secrets.extend(encoded);
        // The longest first: one may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        let shortest = secrets.last().map_or(SHORTEST_SECRET, String::len);
        (shortest >= SHORTEST_SECRET).then_some(Self(secrets))
    }

    fn hide(&self, mut text: String) -> String {
        for secret in &self.0 {
            if text.contains(secret) {
                text = text.replace(secret, "***");
            }
        }
        text
    }
}

/// The time that a `Retry-After` asks for, bounded.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if let Ok(seconds) = text.parse() {
        Duration::from_secs(seconds)
    } else {
        let at = httpdate::parse_http_date(text).ok()?;
        at.duration_since(SystemTime::now()).unwrap_or_default()
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("5", Some(5))]
    #[case("100000", Some(600))]
    #[case("Mon, 01 Jan 2001 00:00:00 GMT", Some(0))]
    #[case("Tue, 01 Jan 2999 00:00:00 GMT", Some(600))]
    #[case("soon", None)]
    fn retry_after_is_bounded(#[case] header: &str, #[case] seconds: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, header.parse().unwrap());
        assert_eq!(retry_after(&headers), seconds.map(Duration::from_secs));
    }
}
