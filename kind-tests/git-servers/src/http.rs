//! `git http-backend` behind a small HTTP/1.1 server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Response, StatusCode, header};
use tempfile::TempDir;

use crate::backend::{self, Asked, Body};
use crate::certificates::{Authority, Pair};
use crate::github::GitHubApp;
use crate::serving::{Listening, Serving};

/// A request with the status of its response.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: String,
    /// Path and query as sent.
    pub target: String,
    /// The `Authorization` header.
    pub authorization: Option<String>,
    /// The `Git-Protocol` header, as the client sent it.
    pub git_protocol: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The `Accept-Encoding` header.
    pub accept_encoding: Option<String>,
    /// Whether a header asks for the file only if it is another than before.
    pub is_conditional: bool,
    /// The request body's first mebibyte.
    pub body: Vec<u8>,
    /// The status of the response.
    pub status: u16,
}

impl Request {
    /// Whether the body contains this text (`command=ls-refs`, `want <hash>`, ...).
    pub fn says(&self, text: &str) -> bool {
        self.body
            .windows(text.len().max(1))
            .any(|window| window == text.as_bytes())
    }
}

#[derive(Default)]
struct Settings {
    basic: Option<(String, String)>,
    bearer: Option<String>,
    redirects: Vec<(String, String, u16)>,
    fixed: Vec<(String, u16, String)>,
    files: Vec<String>,
    hanging: Vec<String>,
    no_protocol_v2: bool,
    post_redirects: bool,
    github: Option<GitHubApp>,
    mangle: Option<Mangle>,
}

/// Changes Git's response, given the request's path and query.
type Mangle = Box<dyn Fn(&str, Vec<u8>) -> Vec<u8> + Send + Sync>;

/// Options of an [`HttpGitServer`].
#[derive(Default)]
pub struct HttpGitServerBuilder {
    root: Option<PathBuf>,
    settings: Settings,
    tls: Option<Pair>,
    client_authority: Option<String>,
}

impl HttpGitServerBuilder {
    /// Serves the repositories below this folder instead of a temporary one.
    pub fn root(mut self, root: &Path) -> Self {
        self.root = Some(root.to_owned());
        self
    }

    /// Requires HTTP basic authentication.
    pub fn basic_auth(mut self, user: &str, password: &str) -> Self {
        self.settings.basic = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Requires `Authorization: Bearer <token>`.
    pub fn bearer_token(mut self, token: &str) -> Self {
        self.settings.bearer = Some(token.to_owned());
        self
    }

    /// Serves the token API of this App (below `/api/v3`, as on GitHub Enterprise Server), and requires one of its
    /// tokens.
    pub fn github_app(mut self, app: GitHubApp) -> Self {
        self.settings.github = Some(app);
        self
    }

    /// Replaces each of Git's responses by the result of `mangle`, given the request's path and query, and the body.
    pub fn mangle(
        mut self,
        mangle: impl Fn(&str, Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        self.settings.mangle = Some(Box::new(mangle));
        self
    }

    /// Serves the files in the server's root, as they are at the time of a request, below the path `prefix`, each with an
    /// entity tag.
    pub fn files(mut self, prefix: &str) -> Self {
        self.settings.files.push(prefix.to_owned());
        self
    }

    /// Serves HTTPS with a certificate for `127.0.0.1` and `localhost` signed by this authority.
    pub fn tls(mut self, authority: &Authority) -> Self {
        self.tls = Some(authority.issue(&["127.0.0.1", "localhost"]));
        self
    }

    /// Serves HTTPS with this certificate.
    pub fn tls_pair(mut self, pair: &Pair) -> Self {
        self.tls = Some(pair.clone());
        self
    }

    /// Requires a client certificate signed by this authority.
    pub fn client_certificates(mut self, authority: &Authority) -> Self {
        self.client_authority = Some(authority.pem());
        self
    }

    /// Redirects requests below the path `prefix`: the prefix is replaced by `target`, which may be a whole URL.
    pub fn redirect(mut self, prefix: &str, target: &str) -> Self {
        self.settings
            .redirects
            .push((prefix.to_owned(), target.to_owned(), 302));
        self
    }

    /// Redirects POST requests, too (by default only the discovery).
    pub fn redirect_posts(mut self) -> Self {
        self.settings.post_redirects = true;
        self
    }

    /// Responds to requests below the path `prefix` with this status and text.
    pub fn answer(mut self, prefix: &str, status: u16, body: &str) -> Self {
        self.settings
            .fixed
            .push((prefix.to_owned(), status, body.to_owned()));
        self
    }

    /// Never responds to requests below the path `prefix`.
    pub fn hang(mut self, prefix: &str) -> Self {
        self.settings.hanging.push(prefix.to_owned());
        self
    }

    /// Hides the client's request for protocol version 2 from Git, like an old server.
    pub fn without_protocol_v2(mut self) -> Self {
        self.settings.no_protocol_v2 = true;
        self
    }

    /// Starts the server on a free port of 127.0.0.1.
    pub fn start(self) -> HttpGitServer {
        let temporary = TempDir::new().expect("temporary folder");
        let root = self.root.unwrap_or_else(|| temporary.path().to_owned());
        let listening = Listening::new(self.tls.as_ref(), self.client_authority.as_deref());
        let (address, scheme) = (listening.address(), listening.scheme());
        let shared = Arc::new(Shared {
            root: root.clone(),
            settings: self.settings,
            requests: Mutex::default(),
            sent: AtomicU64::new(0),
        });
        let state = Arc::clone(&shared);
        let serving = listening.serve(move |request| Arc::clone(&state).answer(request));
        HttpGitServer {
            address,
            scheme,
            root,
            shared,
            _serving: serving,
            _temporary: temporary,
        }
    }
}

/// A Git server over HTTP or HTTPS; stopped on drop.
pub struct HttpGitServer {
    address: SocketAddr,
    scheme: &'static str,
    root: PathBuf,
    shared: Arc<Shared>,
    _serving: Serving,
    _temporary: TempDir,
}

impl HttpGitServer {
    /// Options for a server.
    pub fn builder() -> HttpGitServerBuilder {
        HttpGitServerBuilder::default()
    }

    /// A server without authentication or TLS, over an empty folder.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// The folder of its repositories.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of the repository `name`.
    pub fn url(&self, name: &str) -> String {
        format!("{}://{}/{name}", self.scheme, self.address)
    }

    /// The URL of the repository `name` with user information.
    pub fn url_with_user(&self, user: &str, name: &str) -> String {
        format!("{}://{user}@{}/{name}", self.scheme, self.address)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("requests").clone()
    }

    /// Clears the recorded requests.
    pub fn clear_requests(&self) {
        self.shared.requests.lock().expect("requests").clear();
    }

    /// The bytes of response bodies sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

struct Shared {
    root: PathBuf,
    settings: Settings,
    requests: Mutex<Vec<Request>>,
    sent: AtomicU64,
}

fn text(status: u16, body: &str) -> Response<Body> {
    bytes(status, Bytes::copy_from_slice(body.as_bytes()))
}

fn bytes(status: u16, body: Bytes) -> Response<Body> {
    let body = Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    response
}

impl Shared {
    async fn answer(self: Arc<Self>, request: hyper::Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let named = |name: &str| {
            parts
                .headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned)
        };
        let mut entry = Request {
            method: parts.method.to_string(),
            target: parts
                .uri
                .path_and_query()
                .map(ToString::to_string)
                .unwrap_or_default(),
            authorization: named("authorization"),
            git_protocol: named("git-protocol"),
            user_agent: named("user-agent"),
            accept_encoding: named("accept-encoding"),
            is_conditional: ["if-none-match", "if-modified-since"]
                .iter()
                .any(|name| parts.headers.contains_key(*name)),
            body: Vec::new(),
            status: 0,
        };
        let target = entry.target.clone();
        let below = |prefix: &String| target.starts_with(prefix.as_str());
        if self.settings.hanging.iter().any(below) {
            std::future::pending::<()>().await;
        }
        if let Some((prefix, to, status)) = self
            .settings
            .redirects
            .iter()
            .find(|(prefix, ..)| below(prefix))
            && (entry.method == "GET" || self.settings.post_redirects)
        {
            let mut response = text(*status, "");
            let location = format!("{to}{}", &target[prefix.len()..]);
            response
                .headers_mut()
                .insert(header::LOCATION, location.parse().expect("a location"));
            return self.record(entry, response);
        }
        if let Some((_, status, body)) = self
            .settings
            .fixed
            .iter()
            .find(|(prefix, ..)| below(prefix))
        {
            return self.record(entry, text(*status, body));
        }
        if let Some(app) = &self.settings.github
            && let Some((status, body)) = app.answer(
                &entry.method,
                parts.uri.path(),
                entry.authorization.as_deref(),
            )
        {
            return self.record(entry, text(status, &body));
        }
        if !self.authorized(entry.authorization.as_deref()) {
            let mut response = text(401, "authentication required\n");
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                "Basic realm=\"git\"".parse().expect("a value"),
            );
            return self.record(entry, response);
        }
        if let Some(prefix) = self.settings.files.iter().find(|prefix| below(prefix)) {
            let name = parts.uri.path().strip_prefix(prefix.as_str());
            let name = name.unwrap_or_default().trim_start_matches('/');
            let file = std::fs::read(self.root.join(name));
            let response = match file {
                Ok(file) => {
                    let mut response = bytes(200, file.into());
                    let tag = header::HeaderValue::from_static("\"1\"");
                    response.headers_mut().insert(header::ETAG, tag);
                    response
                }
                Err(_) => text(404, "not found\n"),
            };
            return self.record(entry, response);
        }
        let shared = Arc::clone(&self);
        let asked = Asked {
            root: &self.root,
            method: &entry.method,
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            protocol: entry
                .git_protocol
                .as_deref()
                .filter(|_| !self.settings.no_protocol_v2),
        };
        let answer = backend::run(&asked, body, move |count| {
            shared.sent.fetch_add(count, Ordering::SeqCst);
        })
        .await;
        entry.body = answer.asked;
        let response = match &self.settings.mangle {
            None => answer.response,
            Some(mangle) => {
                let (head, body) = answer.response.into_parts();
                let whole = body
                    .collect()
                    .await
                    .map(http_body_util::Collected::to_bytes);
                let mangled = mangle(&entry.target, whole.unwrap_or_default().to_vec());
                let body = Full::new(Bytes::from(mangled)).map_err(|never| match never {});
                Response::from_parts(head, body.boxed_unsync())
            }
        };
        self.record(entry, response)
    }

    fn record(&self, mut entry: Request, response: Response<Body>) -> Response<Body> {
        entry.status = response.status().as_u16();
        self.requests.lock().expect("requests").push(entry);
        response
    }

    fn authorized(&self, header: Option<&str>) -> bool {
        let settings = &self.settings;
        if let Some(app) = &settings.github {
            return app.admits(header);
        }
        if settings.basic.is_none() && settings.bearer.is_none() {
            return true;
        }
        let basic = settings.basic.as_ref().map(|(user, password)| {
            format!(
                "Basic {}",
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
            )
        });
        let bearer = settings
            .bearer
            .as_ref()
            .map(|token| format!("Bearer {token}"));
        header.is_some() && (header == basic.as_deref() || header == bearer.as_deref())
    }
}
