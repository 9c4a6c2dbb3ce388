//! The front of the registry.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use git_servers::{Authority, Listening, Pair, Serving};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::artifact::{Artifact, digest_of};
use crate::program::Program;
use crate::push;

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

type Body = UnsyncBoxBody<Bytes, hyper::Error>;
/// Changes the body of a response, given the request's path and query.
type Mangle = Box<dyn Fn(&str, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// A request with the status of its response.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The body of a request for a token.
    pub body: String,
    /// The status of the response.
    pub status: u16,
}

/// A response in place of the registry's.
struct Fixed {
    method: String,
    prefix: String,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    left: AtomicUsize,
}

#[derive(Default)]
struct Settings {
    basic: Option<(String, String)>,
    tokens: bool,
    identity_token: Option<String>,
    accepted: Vec<(String, String)>,
    realm: Option<String>,
    fixed: Vec<Fixed>,
    hanging: Vec<String>,
    blob_store: Option<String>,
    mangle: Option<Mangle>,
}

/// Options of a [`Registry`].
#[derive(Default)]
pub struct RegistryBuilder {
    settings: Settings,
    tls: Option<Pair>,
    client_authority: Option<String>,
    arguments: Vec<String>,
}

impl RegistryBuilder {
    /// Serves HTTPS with a certificate for `127.0.0.1` and `localhost` signed by this authority.
    #[must_use]
    pub fn tls(mut self, authority: &Authority) -> Self {
        self.tls = Some(authority.issue(&["127.0.0.1", "localhost"]));
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

    /// Requires Basic authentication.
    #[must_use]
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.settings.basic = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Requires tokens of its own token service at `/token`, which this user gets.
    #[must_use]
    pub fn token_auth(mut self, user: &str, password: &str) -> Self {
        self.settings.tokens = true;
        self.basic_auth(user, password)
    }

    /// Requires tokens, which everyone gets.
    #[must_use]
    pub fn anonymous_tokens(mut self) -> Self {
        self.settings.tokens = true;
        self
    }

    /// Requires tokens, which are also given for this refresh token by OAuth 2.
    #[must_use]
    pub fn identity_token(mut self, token: &str) -> Self {
        self.settings.tokens = true;
        self.settings.identity_token = Some(token.to_owned());
        self
    }

    /// Accepts this token of another token service, for these scopes.
    #[must_use]
    pub fn accept(mut self, token: &str, scopes: &str) -> Self {
        self.settings.tokens = true;
        let accepted = (token.to_owned(), scopes.to_owned());
        self.settings.accepted.push(accepted);
        self
    }

    /// Names another token service.
    #[must_use]
    pub fn realm(mut self, realm: &str) -> Self {
        self.settings.realm = Some(realm.to_owned());
        self
    }

    /// Keeps no lists of referrers.
    #[must_use]
    pub fn without_referrers(mut self) -> Self {
        self.arguments.push("-referrers=false".to_owned());
        self
    }

    /// Gives at most this many tags in one page.
    #[must_use]
    pub fn page(mut self, tags: usize) -> Self {
        self.arguments.push(format!("-page={tags}"));
        self
    }

    /// Responds to requests of this method (or any, if empty) below the path `prefix` with this status and body, so many
    /// times.
    #[must_use]
    pub fn answer(self, times: usize, method: &str, prefix: &str, status: u16, body: &str) -> Self {
        self.answer_with(times, method, prefix, status, &[], body)
    }

    /// As [`answer`](Self::answer), with headers.
    #[must_use]
    pub fn answer_with(
        mut self,
        times: usize,
        method: &str,
        prefix: &str,
        status: u16,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Self {
        let headers = headers.iter();
        self.settings.fixed.push(Fixed {
            method: method.to_owned(),
            prefix: prefix.to_owned(),
            status,
            headers: headers
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            body: body.to_owned(),
            left: AtomicUsize::new(times),
        });
        self
    }

    /// Never responds to requests below the path `prefix`.
    #[must_use]
    pub fn hang(mut self, prefix: &str) -> Self {
        self.settings.hanging.push(prefix.to_owned());
        self
    }

    /// Redirects requests for blobs to the same path of another server.
    #[must_use]
    pub fn blob_store(mut self, url: &str) -> Self {
        self.settings.blob_store = Some(url.to_owned());
        self
    }

    /// Replaces the body of each response to a GET by the result of `mangle`.
    #[must_use]
    pub fn mangle(
        mut self,
        mangle: impl Fn(&str, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        self.settings.mangle = Some(Box::new(mangle));
        self
    }

    /// Starts the registry on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// If it cannot be built or started.
    pub fn start(self) -> Registry {
        let program = Program::start(&self.arguments);
        let listening = Listening::new(self.tls.as_ref(), self.client_authority.as_deref());
        let (address, scheme) = (listening.address(), listening.scheme());
        let granted = self.settings.accepted.clone();
        let shared = Arc::new(Shared {
            settings: self.settings,
            backend: program.address(),
            address,
            scheme,
            requests: Mutex::default(),
            granted: Mutex::new(granted),
        });
        let state = Arc::clone(&shared);
        let serving = listening.serve(move |request| Arc::clone(&state).answer(request));
        Registry {
            program,
            shared,
            _serving: serving,
        }
    }
}

/// A registry over HTTP or HTTPS; stopped on drop.
pub struct Registry {
    program: Program,
    shared: Arc<Shared>,
    _serving: Serving,
}

impl Registry {
    /// Options for a registry.
    pub fn builder() -> RegistryBuilder {
        RegistryBuilder::default()
    }

    /// A registry without authentication or TLS.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        self.shared.address.to_string()
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// The host and port of the registry behind the front, without TLS or authentication, for programs that push.
    pub fn backend(&self) -> String {
        self.shared.backend.to_string()
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.shared.scheme, self.shared.address)
    }

    /// The name of a repository, with the host.
    pub fn repository(&self, path: &str) -> String {
        format!("{}/{path}", self.host())
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

    /// Accepts this token, for these scopes, from here on.
    ///
    /// # Panics
    /// Never.
    pub fn grant(&self, token: &str, scopes: &str) {
        let mut granted = self.shared.granted.lock().expect("tokens");
        granted.push((token.to_owned(), scopes.to_owned()));
    }

    /// Takes all tokens back: requests with them are rejected.
    ///
    /// # Panics
    /// If a thread of the front has panicked.
    pub fn revoke_tokens(&self) {
        self.shared.granted.lock().expect("tokens").clear();
    }

    /// Pushes an artifact under a tag, and returns the digest of its manifest.
    pub fn push(&self, repository: &str, tag: &str, artifact: &Artifact) -> String {
        push::artifact(self.program.address(), repository, tag, artifact)
    }

    /// Pushes an artifact that refers to another, without a tag, and returns the digest of its manifest.
    pub fn push_referrer(&self, repository: &str, artifact: &Artifact) -> String {
        let digest = digest_of(&artifact.manifest());
        self.push(repository, &digest, artifact)
    }

    /// Pushes an index of these manifests (digest, and platform or artifact type as JSON fields) under a tag.
    ///
    /// # Panics
    /// If a manifest's description is not a JSON object.
    pub fn push_index(&self, repository: &str, tag: &str, manifests: &[Value]) -> String {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.push_manifest(repository, tag, INDEX, index.to_string().as_bytes())
    }

    /// Pushes a blob.
    ///
    /// # Panics
    /// If the registry refuses it.
    pub fn push_blob(&self, repository: &str, blob: &[u8]) {
        push::blob(self.program.address(), repository, blob);
    }

    /// Pushes a manifest under a tag or its digest, and returns its digest.
    ///
    /// # Panics
    /// If the registry refuses it.
    pub fn push_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        manifest: &[u8],
    ) -> String {
        let registry = self.program.address();
        push::manifest(registry, repository, reference, media_type, manifest)
    }
}

struct Shared {
    settings: Settings,
    backend: SocketAddr,
    address: SocketAddr,
    scheme: &'static str,
    requests: Mutex<Vec<Request>>,
    /// Tokens with their scopes.
    granted: Mutex<Vec<(String, String)>>,
}

fn text(status: u16, body: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    let mut response = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

impl Shared {
    async fn answer(self: Arc<Self>, request: hyper::Request<Incoming>) -> Response<Body> {
        let named = |name: &str| {
            let value = request.headers().get(name);
            value
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned)
        };
        let target = request.uri().path_and_query().map(ToString::to_string);
        let mut entry = Request {
            method: request.method().to_string(),
            target: target.unwrap_or_default(),
            authorization: named("authorization"),
            user_agent: named("user-agent"),
            body: String::new(),
            status: 0,
        };
        let target = entry.target.clone();
        let settings = &self.settings;
        if settings
            .hanging
            .iter()
            .any(|prefix| target.starts_with(prefix.as_str()))
        {
            tokio::time::sleep(Duration::from_hours(1)).await;
        }
        let of_request = |fixed: &&Fixed| {
            target.starts_with(&fixed.prefix)
                && (fixed.method.is_empty() || fixed.method == entry.method)
                && fixed
                    .left
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                        left.checked_sub(1)
                    })
                    .is_ok()
        };
        if let Some(fixed) = settings.fixed.iter().find(of_request) {
            let body = fixed.body.replace("{host}", &self.address.to_string());
            let mut response = text(fixed.status, &body);
            for (name, value) in &fixed.headers {
                let value = value.replace("{host}", &self.address.to_string());
                let name: hyper::header::HeaderName = name.parse().expect("a header");
                response
                    .headers_mut()
                    .insert(name, value.parse().expect("a value"));
            }
            return self.record(entry, response);
        }
        if target.starts_with("/token") {
            let body = request.into_body().collect().await;
            let body = body.map(http_body_util::Collected::to_bytes);
            entry.body = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
            let response = self.token(&entry);
            return self.record(entry, response);
        }
        if let Some(response) = self.challenge(&entry) {
            return self.record(entry, response);
        }
        if let Some(store) = &settings.blob_store
            && entry.method == "GET"
            && target.contains("/blobs/")
        {
            let mut response = text(307, "");
            let location = format!("{store}{target}").parse().expect("a location");
            response.headers_mut().insert(LOCATION, location);
            return self.record(entry, response);
        }
        let response = self.forward(request, &target).await;
        self.record(entry, response)
    }

    async fn forward(&self, mut request: hyper::Request<Incoming>, target: &str) -> Response<Body> {
        let is_get = request.method() == hyper::Method::GET;
        request.headers_mut().remove(AUTHORIZATION);
        let host = HeaderValue::from_str(&self.address.to_string()).expect("a host");
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = target.parse().expect("a path");
        let sent = async {
            let stream = TcpStream::connect(self.backend).await.ok()?;
            let io = TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.ok()?;
            tokio::spawn(connection);
            sender.send_request(request).await.ok()
        };
        let Some(response) = sent.await else {
            return text(502, "the registry does not answer\n");
        };
        let Some(mangle) = self.settings.mangle.as_ref().filter(|_| is_get) else {
            return response.map(http_body_util::BodyExt::boxed_unsync);
        };
        let (mut head, body) = response.into_parts();
        let whole = body
            .collect()
            .await
            .map(http_body_util::Collected::to_bytes);
        let mangled = mangle(target, whole.unwrap_or_default().to_vec());
        head.headers.remove(hyper::header::CONTENT_LENGTH);
        let body = Full::new(Bytes::from(mangled)).map_err(|never| match never {});
        Response::from_parts(head, body.boxed_unsync())
    }

    fn record(&self, mut entry: Request, response: Response<Body>) -> Response<Body> {
        entry.status = response.status().as_u16();
        self.requests.lock().expect("requests").push(entry);
        response
    }

    /// The response to a request that may not be made.
    fn challenge(&self, request: &Request) -> Option<Response<Body>> {
        let settings = &self.settings;
        let header = request.authorization.as_deref();
        let path = request.target.split('?').next().unwrap_or_default();
        let name = path.strip_prefix("/v2/").unwrap_or_default();
        let end = ["/manifests/", "/blobs/", "/tags/", "/referrers/"]
            .iter()
            .find_map(|part| name.find(part));
        let scope = end.map(|end| format!("repository:{}:pull", &name[..end]));
        if settings.tokens {
            let granted = self.granted.lock().expect("tokens");
            let held = granted
                .iter()
                .find(|(token, _)| header == Some(&format!("Bearer {token}")));
            let admitted = held.is_some_and(|(_, scopes)| {
                scope
                    .as_ref()
                    .is_none_or(|scope| scopes.split(' ').any(|held| held == scope))
            });
            if admitted {
                return None;
            }
            let own = format!("{}://{}/token", self.scheme, self.address);
            let realm = settings.realm.as_ref().unwrap_or(&own);
            let mut value = format!("Bearer realm=\"{realm}\",service=\"registry\"");
            if let Some(scope) = scope {
                value = format!("{value},scope=\"{scope}\"");
            }
            return Some(refused(&value));
        }
        let (user, password) = settings.basic.as_ref()?;
        let expected = basic(user, password);
        (header != Some(&expected)).then(|| refused("Basic realm=\"registry\""))
    }

    /// The token service.
    fn token(&self, request: &Request) -> Response<Body> {
        let settings = &self.settings;
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        let parameters = if request.method == "POST" {
            request.body.as_str()
        } else {
            query
        };
        let values = |wanted: &str| -> Vec<String> {
            let pairs = parameters
                .split('&')
                .filter_map(|pair| pair.split_once('='));
            pairs
                .filter(|(name, _)| *name == wanted)
                .map(|(_, value)| {
                    value
                        .replace("%3A", ":")
                        .replace("%2F", "/")
                        .replace('+', " ")
                })
                .collect()
        };
        let admitted = if request.method == "POST" {
            let Some(identity) = &settings.identity_token else {
                return text(404, "");
            };
            values("refresh_token") == [identity.as_str()]
        } else {
            let header = request.authorization.as_deref();
            match &settings.basic {
                None => settings.identity_token.is_none(),
                Some((user, password)) => header == Some(&basic(user, password)),
            }
        };
        if !admitted {
            let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"incorrect username or password"}]}"#;
            return text(401, body);
        }
        let mut granted = self.granted.lock().expect("tokens");
        let token = format!("token-{}", granted.len() + 1);
        granted.push((token.clone(), values("scope").join(" ")));
        text(200, &json!({"token": token, "expires_in": 300}).to_string())
    }
}

fn basic(user: &str, password: &str) -> String {
    let pair = format!("{user}:{password}");
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
    format!("Basic {encoded}")
}

fn refused(challenge: &str) -> Response<Body> {
    let body = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    let mut response = text(401, body);
    let challenge = challenge.parse().expect("a challenge");
    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    response
}
