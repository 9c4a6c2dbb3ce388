//! Smart HTTP over the shared client.
//!
//! The protocol is gix's; this is its HTTP implementation. Redirects are followed for the discovery only, within the
//! rules of [`redirected`]; credentials are only sent to the host they are for.

use std::io::{self, BufRead, Cursor, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use flux_http::{ClientOptions, ReadError, Redirects, Repeat, Secret, shown_url};
use gix_transport::client::blocking_io::http::{GetResponse, Http, PostBodyDataKind, PostResponse};
use url::Url;

use crate::error::Fault;
use crate::remote::Remote;
use crate::session::Session;

/// The maximum number of redirects, as in Go.
const MAX_REDIRECTS: usize = 10;
/// The maximum bytes of an error's body that are shown.
const MAX_REASON: usize = 1024;
const DISCOVERY: &str = "/info/refs";

/// The HTTP client with a remote's settings.
pub(crate) fn client(remote: &Remote) -> Result<reqwest::Client, Fault> {
    let options = ClientOptions {
        tls: remote.auth.tls.clone(),
        proxy: remote.options.proxy.clone(),
        redirects: Redirects::Refuse,
        connect_timeout: remote.options.connect_timeout,
        user_agent: Some(remote.options.user_agent.clone()),
        ..ClientOptions::default()
    };
    options
        .build()
        .map_err(|error| Fault::Connection(error.to_string()))
}

pub(super) fn connect(
    remote: &Remote,
    session: &Arc<Session>,
    service: super::Service,
) -> Result<Box<dyn super::Channel>, Fault> {
    let authorization = remote.auth.authorization();
    if let Some(value) = &authorization
        && reqwest::header::HeaderValue::from_bytes(value.expose()).is_err()
    {
        // Usually a token with a trailing newline.
        return Err(Fault::Connection(format!(
            "Get \"{}{DISCOVERY}?service={}\": net/http: invalid header field value for \"Authorization\"",
            remote.url,
            service.name()
        )));
    }
    let base = remote.url.without_user();
    let http = Client {
        session: Arc::clone(session),
        http: client(remote)?,
        authorization,
        keyed: base.contains('?'),
        redirected: None,
    };
    Ok(Box::new(super::smart::OverHttp::new(
        session, http, base, service,
    )))
}

struct Client {
    session: Arc<Session>,
    http: reqwest::Client,
    authorization: Option<Secret>,
    /// Whether the address has a query, which may be a token.
    keyed: bool,
    redirected: Option<String>,
}

impl Client {
    /// What may be shown of a rejection of the next request.
    fn explain(&self) -> Explain {
        if self.authorization.is_none() && !self.keyed && self.redirected.is_none() {
            Explain::Body
        } else {
            Explain::Nothing
        }
    }

    fn request(
        &self,
        method: reqwest::Method,
        url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, url);
        for header in headers {
            if let Some((name, value)) = header.as_ref().split_once(':')
                && !name.eq_ignore_ascii_case("user-agent")
            {
                request = request.header(name.trim(), value.trim());
            }
        }
        if let Some(value) = &self.authorization
            && let Ok(mut value) = reqwest::header::HeaderValue::from_bytes(value.expose())
        {
            value.set_sensitive(true);
            request = request.header(reqwest::header::AUTHORIZATION, value);
        }
        request
    }
}

/// What may be shown of a rejection's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Explain {
    /// Its text, as in upstream.
    Body,
    /// Nothing: the server has received credentials that it could echo, or was chosen by another server's redirect.
    Nothing,
}

/// Sends a request and turns every response except success and redirect into a fault.
///
/// Each request may be repeated if a proxy has closed the connection in between: the discovery and `git-upload-pack` only
/// read, and `git-receive-pack` gets the expected old value of each reference, so that the second of two equal requests
/// changes nothing.
fn send(
    session: &Session,
    request: reqwest::RequestBuilder,
    explain: Explain,
) -> Result<reqwest::Response, Fault> {
    let response = session
        .block_on(flux_http::send(request, Repeat::Idempotent))?
        .map_err(|error| Fault::Connection(error.to_string()))?;
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        return Ok(response);
    }
    let url = shown_url(response.url());
    let reason = match explain {
        Explain::Nothing => String::new(),
        Explain::Body => session
            .block_on(flux_http::read_body(response, MAX_REASON))?
            .map(|body| String::from_utf8_lossy(&body).trim().to_owned())
            .unwrap_or_default(),
    };
    Err(match status.as_u16() {
        401 => Fault::AuthenticationRequired(reason),
        403 => Fault::AuthorizationFailed(reason),
        404 => Fault::RepositoryNotFound(reason),
        status => Fault::UnexpectedStatus { url, status },
    })
}

/// The target of the discovery's redirect, if it may be followed: it must be another discovery, and never lead from
/// HTTPS to HTTP.
fn redirected(from: &Url, response: &reqwest::Response) -> Result<Url, Fault> {
    let refuse = |why: String| Err(Fault::Redirect(why));
    let location = response
        .headers()
        .get(reqwest::header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let Some(location) = location else {
        return refuse(format!(
            "status code {} without a location",
            response.status().as_u16()
        ));
    };
    let Ok(to) = from.join(location) else {
        return refuse("the location is not a URL".to_owned());
    };
    match (from.scheme(), to.scheme()) {
        ("http", "http" | "https") | ("https", "https") => {}
        (_, "http" | "https") => {
            return refuse(format!(
                "changes scheme from {:?} to {:?}",
                from.scheme(),
                to.scheme()
            ));
        }
        (_, other) => return refuse(format!("unsupported scheme {other:?}")),
    }
    if !to.path().ends_with(DISCOVERY) {
        return refuse(format!(
            "target {:?} does not end with {DISCOVERY}",
            to.path()
        ));
    }
    Ok(to)
}

impl Http for Client {
    type Headers = Lines;
    type ResponseBody = Body;
    type PostBody = PostBody;

    fn get(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
    ) -> gix::Result<GetResponse<Lines, Body>> {
        let headers: Vec<String> = headers
            .into_iter()
            .map(|header| header.as_ref().to_owned())
            .collect();
        let mut follow = || -> Result<reqwest::Response, Fault> {
            let mut at = Url::parse(url).map_err(|error| Fault::Connection(error.to_string()))?;
            let mut explain = self.explain();
            for _ in 0..=MAX_REDIRECTS {
                let response = send(
                    &self.session,
                    self.request(reqwest::Method::GET, at.as_str(), &headers),
                    explain,
                )?;
                if !response.status().is_redirection() {
                    return Ok(response);
                }
                let to = redirected(&at, &response)?;
                explain = Explain::Nothing;
                if to.origin() != at.origin() && !(same_host(&to, &at) && to.scheme() == "https") {
                    self.authorization = None;
                }
                let base = &to.path()[..to.path().len() - DISCOVERY.len()];
                self.redirected = Some(format!("{}{base}", to.origin().ascii_serialization()));
                at = to;
            }
            Err(Fault::Redirect("too many redirects".to_owned()))
        };
        let response =
            follow().map_err(|fault| gix::Error::from_error(self.session.fail(fault)))?;
        let exchange = Exchange::answered(&self.session, response);
        Ok(GetResponse {
            headers: Lines::new(&exchange),
            body: Body::new(&exchange),
        })
    }

    fn post(
        &mut self,
        url: &str,
        _base_url: &str,
        headers: impl IntoIterator<Item = impl AsRef<str>>,
        _body: PostBodyDataKind,
    ) -> gix::Result<PostResponse<Lines, Body, PostBody>> {
        // The body fits into memory; the request is sent when the response is first read.
        let request = self.request(reqwest::Method::POST, url, headers);
        let exchange = Exchange::pending(&self.session, request, self.explain());
        Ok(PostResponse {
            post_body: PostBody(Arc::clone(&exchange)),
            headers: Lines::new(&exchange),
            body: Body::new(&exchange),
        })
    }

    fn configure(&mut self, _config: &dyn std::any::Any) -> gix::Result {
        Ok(())
    }

    fn redirected_base_url(&self) -> Option<String> {
        self.redirected.clone()
    }
}

/// Whether both URLs have the same host with the default port of its scheme.
fn same_host(a: &Url, b: &Url) -> bool {
    a.host() == b.host() && a.port().is_none() && b.port().is_none()
}

enum State {
    /// The body is being collected.
    Pending(reqwest::RequestBuilder, Explain, Vec<u8>),
    /// The response's head was received.
    Answered(reqwest::Response),
    /// The request failed, or the response is being read.
    Over,
}

/// A request and its response, shared by the handles that gix holds.
struct Exchange {
    session: Arc<Session>,
    state: Mutex<State>,
}

impl Exchange {
    fn answered(session: &Arc<Session>, response: reqwest::Response) -> Arc<Self> {
        Arc::new(Self {
            session: Arc::clone(session),
            state: Mutex::new(State::Answered(response)),
        })
    }

    fn pending(
        session: &Arc<Session>,
        request: reqwest::RequestBuilder,
        explain: Explain,
    ) -> Arc<Self> {
        Arc::new(Self {
            session: Arc::clone(session),
            state: Mutex::new(State::Pending(request, explain, Vec::new())),
        })
    }

    /// Sends the request unless that is done, and reads from the response.
    fn with_answer<T>(
        &self,
        look: impl FnOnce(&mut reqwest::Response) -> Result<T, Fault>,
    ) -> io::Result<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = match std::mem::replace(&mut *state, State::Over) {
            State::Over => Err(Fault::Protocol("the answer is not available".to_owned())),
            State::Answered(response) => Ok(response),
            State::Pending(request, explain, body) => {
                send(&self.session, request.body(body), explain).and_then(|response| {
                    if response.status().is_redirection() {
                        let url = shown_url(response.url());
                        Err(Fault::Redirect(format!(
                            "redirect on non-initial request to {url}"
                        )))
                    } else {
                        Ok(response)
                    }
                })
            }
        };
        let looked = outcome.and_then(|mut response| {
            let looked = look(&mut response)?;
            *state = State::Answered(response);
            Ok(looked)
        });
        looked.map_err(|fault| self.session.fail(fault))
    }

    fn next_piece(&self) -> io::Result<Bytes> {
        self.with_answer(|response| {
            loop {
                let piece = self.session.block_on(response.chunk())?;
                let lost = |error| ReadError::new(response.url(), &error);
                let piece = piece.map_err(|error| Fault::Connection(lost(error).to_string()))?;
                let Some(piece) = piece else {
                    return Ok(Bytes::new());
                };
                self.session.count(piece.len())?;
                if !piece.is_empty() {
                    return Ok(piece);
                }
            }
        })
    }
}

/// Collects the request's body.
struct PostBody(Arc<Exchange>);

impl Write for PostBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Pending(_, _, body) => {
                body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The response's headers, one per line.
struct Lines {
    exchange: Arc<Exchange>,
    lines: Option<Cursor<Vec<u8>>>,
}

impl Lines {
    fn new(exchange: &Arc<Exchange>) -> Self {
        Self {
            exchange: Arc::clone(exchange),
            lines: None,
        }
    }

    fn lines(&mut self) -> io::Result<&mut Cursor<Vec<u8>>> {
        if self.lines.is_none() {
            let text = self.exchange.with_answer(|response| {
                let mut text = Vec::new();
                for (name, value) in response.headers() {
                    text.extend_from_slice(name.as_str().as_bytes());
                    text.extend_from_slice(b": ");
                    text.extend_from_slice(value.as_bytes());
                    text.push(b'\n');
                }
                Ok(text)
            })?;
            self.lines = Some(Cursor::new(text));
        }
        self.lines
            .as_mut()
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.lines()?.read(buffer)
    }
}

impl BufRead for Lines {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.lines()?.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Some(lines) = &mut self.lines {
            lines.consume(amount);
        }
    }
}

/// The response's body.
struct Body {
    exchange: Arc<Exchange>,
    piece: Bytes,
    over: bool,
}

impl Body {
    fn new(exchange: &Arc<Exchange>) -> Self {
        Self {
            exchange: Arc::clone(exchange),
            piece: Bytes::new(),
            over: false,
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.piece.is_empty() && !self.over {
            self.piece = self.exchange.next_piece()?;
            self.over = self.piece.is_empty();
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.piece.split_to(amount.min(self.piece.len()));
    }
}
