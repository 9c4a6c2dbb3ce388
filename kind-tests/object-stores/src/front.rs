//! A server in front of an object store: TLS, failures, a record of the requests. Without a store behind it, it answers alone.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use git_servers::{Authority, Listening, Pair, Serving};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

type Body = UnsyncBoxBody<Bytes, hyper::Error>;
/// Answers a request in place of the store.
type Answering = Box<dyn Fn(&Request) -> Option<Answer> + Send + Sync>;
/// Changes the body of a response, given the request.
type Mangle = Box<dyn Fn(&Request, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// A request with the status of its response.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The status of the response; zero while it is not known.
    pub status: u16,
}

impl Request {
    /// A header as text, empty if absent.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// A response of the front's own.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status, these headers, this body.
    With(u16, Vec<(&'static str, String)>, String),
    /// None: the connection stays open.
    Never,
}

impl Answer {
    /// A response without headers of note.
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self::With(status, Vec::new(), body.into())
    }
}

/// Options of a [`Front`].
#[derive(Default)]
pub struct FrontBuilder {
    backend: Option<SocketAddr>,
    answering: Option<Answering>,
    mangle: Option<Mangle>,
    tls: Option<Pair>,
    client_authority: Option<String>,
}

impl FrontBuilder {
    /// Answers a request itself if the function returns something.
    #[must_use]
    pub fn answering(
        mut self,
        answering: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        self.answering = Some(Box::new(answering));
        self
    }

    /// Replaces the body of each of the store's responses to a GET by the result of `mangle`.
    #[must_use]
    pub fn mangling(
        mut self,
        mangle: impl Fn(&Request, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        self.mangle = Some(Box::new(mangle));
        self
    }

    /// Serves HTTPS with a certificate for `127.0.0.1`, `localhost` and these names, signed by this authority.
    #[must_use]
    pub fn tls(mut self, authority: &Authority, names: &[&str]) -> Self {
        let names = [&["127.0.0.1", "localhost"], names].concat();
        self.tls = Some(authority.issue(&names));
        self
    }

    /// Serves HTTPS with this certificate.
    #[must_use]
    pub fn tls_pair(mut self, pair: &Pair) -> Self {
        self.tls = Some(pair.clone());
        self
    }

    /// Requires a client certificate signed by this authority.
    #[must_use]
    pub fn client_certificates(mut self, authority: &Authority) -> Self {
        self.client_authority = Some(authority.pem());
        self
    }

    /// Starts it on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(self) -> Front {
        let listening = Listening::new(self.tls.as_ref(), self.client_authority.as_deref());
        let (address, scheme) = (listening.address(), listening.scheme());
        let shared = Arc::new(Shared {
            backend: self.backend,
            answering: self.answering,
            mangle: self.mangle,
            requests: Mutex::default(),
        });
        let state = Arc::clone(&shared);
        let serving = listening.serve(move |request| Arc::clone(&state).answer(request));
        Front {
            address,
            scheme,
            shared,
            _serving: serving,
        }
    }
}

/// A server in front of an object store; stopped on drop.
pub struct Front {
    address: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
    _serving: Serving,
}

impl Front {
    /// Options for a front of the store at this address.
    pub fn to(backend: SocketAddr) -> FrontBuilder {
        FrontBuilder {
            backend: Some(backend),
            ..FrontBuilder::default()
        }
    }

    /// Options for a server without a store behind it.
    pub fn alone() -> FrontBuilder {
        FrontBuilder::default()
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The requests so far.
    ///
    /// # Panics
    /// If a thread of the front has panicked.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("requests").clone()
    }

    /// The requests so far, as method and target.
    pub fn asked(&self) -> Vec<String> {
        let requests = self.requests().into_iter();
        requests
            .map(|request| format!("{} {}", request.method, request.target))
            .collect()
    }

    /// Clears the recorded requests.
    ///
    /// # Panics
    /// If a thread of the front has panicked.
    pub fn clear_requests(&self) {
        self.shared.requests.lock().expect("requests").clear();
    }
}

struct Shared {
    backend: Option<SocketAddr>,
    answering: Option<Answering>,
    mangle: Option<Mangle>,
    requests: Mutex<Vec<Request>>,
}

impl Shared {
    async fn answer(self: Arc<Self>, request: hyper::Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await;
        let body = body.map(http_body_util::Collected::to_bytes);
        let target = head.uri.path_and_query().map(ToString::to_string);
        let mut entry = Request {
            method: head.method.to_string(),
            target: target.unwrap_or_default(),
            headers: head.headers.clone(),
            body: body.unwrap_or_default(),
            status: 0,
        };
        let own = self
            .answering
            .as_ref()
            .and_then(|answering| answering(&entry));
        let response = match own {
            Some(Answer::Never) => {
                self.record(entry);
                return std::future::pending().await;
            }
            Some(Answer::With(status, headers, body)) => text(status, &headers, body),
            None => self.forward(head, &entry).await,
        };
        entry.status = response.status().as_u16();
        self.record(entry);
        response
    }

    fn record(&self, entry: Request) {
        self.requests.lock().expect("requests").push(entry);
    }

    async fn forward(&self, head: hyper::http::request::Parts, entry: &Request) -> Response<Body> {
        let Some(backend) = self.backend else {
            return text(404, &[], String::new());
        };
        let mut request = hyper::Request::new(Full::new(entry.body.clone()));
        *request.method_mut() = head.method;
        *request.uri_mut() = entry.target.parse().expect("a path");
        *request.headers_mut() = head.headers;
        let sent = async {
            let stream = TcpStream::connect(backend).await.ok()?;
            let io = TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
            tokio::spawn(connection);
            sender.send_request(request).await.ok()
        };
        let Some(response) = sent.await else {
            return text(502, &[], "the store does not answer\n".to_owned());
        };
        let Some(mangle) = self.mangle.as_ref().filter(|_| entry.method == "GET") else {
            return response.map(http_body_util::BodyExt::boxed_unsync);
        };
        let (mut head, body) = response.into_parts();
        let whole = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let mangled = mangle(entry, whole.unwrap_or_default().to_vec());
        head.headers.remove(CONTENT_LENGTH);
        let body = Full::new(Bytes::from(mangled)).map_err(|never| match never {});
        Response::from_parts(head, body.boxed_unsync())
    }
}

fn text(status: u16, headers: &[(&'static str, String)], body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a value");
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), value);
    }
    response
}
