//! `git http-backend` behind a small HTTP/1.1 server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Response, StatusCode, header};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

use crate::certificates::{Authority, Pair};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How much of each request body is kept for [`Request::body`].
const KEPT_BODY: usize = 1 << 20;

/// One request that the server has answered.
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
    /// The request body's first mebibyte.
    pub body: Vec<u8>,
    /// The status that was answered.
    pub status: u16,
}

impl Request {
    /// Whether the body holds this text (`command=ls-refs`, `want <hash>`, ...).
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
    hanging: Vec<String>,
    no_protocol_v2: bool,
    post_redirects: bool,
}

/// Options of an [`HttpGitServer`].
#[derive(Default)]
pub struct HttpGitServerBuilder {
    root: Option<PathBuf>,
    settings: Settings,
    tls: Option<Pair>,
    client_authority: Option<String>,
}

impl HttpGitServerBuilder {
    /// Serves the repositories below this folder rather than below a temporary one.
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

    /// Serves HTTPS with a certificate for `127.0.0.1` and `localhost` that this authority signs.
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

    /// Answers requests below the path `prefix` with a redirect: the prefix is replaced by `target`, which may be a whole URL.
    pub fn redirect(mut self, prefix: &str, target: &str) -> Self {
        self.settings
            .redirects
            .push((prefix.to_owned(), target.to_owned(), 302));
        self
    }

    /// Redirects POST requests too (by default only those of the discovery).
    pub fn redirect_posts(mut self) -> Self {
        self.settings.post_redirects = true;
        self
    }

    /// Answers requests below the path `prefix` with this status and text.
    pub fn answer(mut self, prefix: &str, status: u16, body: &str) -> Self {
        self.settings
            .fixed
            .push((prefix.to_owned(), status, body.to_owned()));
        self
    }

    /// Never answers requests below the path `prefix`.
    pub fn hang(mut self, prefix: &str) -> Self {
        self.settings.hanging.push(prefix.to_owned());
        self
    }

    /// Hides the client's wish for protocol version 2 from Git, as an old server would.
    pub fn without_protocol_v2(mut self) -> Self {
        self.settings.no_protocol_v2 = true;
        self
    }

    /// Starts the server on a free port of 127.0.0.1.
    pub fn start(self) -> HttpGitServer {
        let temporary = TempDir::new().expect("temporary folder");
        let root = self.root.unwrap_or_else(|| temporary.path().to_owned());
        let acceptor = self
            .tls
            .as_ref()
            .map(|pair| acceptor(pair, self.client_authority.as_deref()));
        let shared = Arc::new(Shared {
            root: root.clone(),
            settings: self.settings,
            requests: Mutex::default(),
            sent: AtomicU64::new(0),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a port");
        listener
            .set_nonblocking(true)
            .expect("non-blocking listener");
        let address = listener.local_addr().expect("local address");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let state = Arc::clone(&shared);
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("start a runtime");
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(listener, acceptor, state) => {}
                    _ = stopped => {}
                }
            });
        });
        HttpGitServer {
            address,
            scheme,
            root,
            shared,
            stop: Some(stop),
            thread: Some(thread),
            _temporary: temporary,
        }
    }
}

fn acceptor(pair: &Pair, client_authority: Option<&str>) -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("TLS versions");
    let builder = match client_authority {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = rustls::RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("authority"))
                .expect("authority");
            let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                provider,
            );
            builder.with_client_cert_verifier(verifier.build().expect("client verifier"))
        }
    };
    let chain =
        vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("certificate")];
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("private key");
    let config = builder
        .with_single_cert(chain, key)
        .expect("server certificate");
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}

/// A Git server over HTTP or HTTPS; it ends when dropped.
pub struct HttpGitServer {
    address: SocketAddr,
    scheme: &'static str,
    root: PathBuf,
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
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

    /// The folder below which it looks for repositories.
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

    /// The URL of the repository `name` with user information in it.
    pub fn url_with_user(&self, user: &str, name: &str) -> String {
        format!("{}://{user}@{}/{name}", self.scheme, self.address)
    }

    /// The requests answered so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("requests").clone()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.shared.requests.lock().expect("requests").clear();
    }

    /// Bytes of response bodies sent so far.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for HttpGitServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Shared {
    root: PathBuf,
    settings: Settings,
    requests: Mutex<Vec<Request>>,
    sent: AtomicU64,
}

async fn accept(
    listener: std::net::TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    shared: Arc<Shared>,
) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("listen");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.answer(request).await) }
            });
            let http = hyper::server::conn::http1::Builder::new();
            // A connection that the client breaks off is the client's business.
            match acceptor {
                None => {
                    let _ = http
                        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                        .await;
                }
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let _ = http
                            .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                            .await;
                    }
                }
            }
        });
    }
}

fn text(status: u16, body: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()))
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
        if !self.authorized(entry.authorization.as_deref()) {
            let mut response = text(401, "authentication required\n");
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                "Basic realm=\"git\"".parse().expect("a value"),
            );
            return self.record(entry, response);
        }
        let mut command = tokio::process::Command::new("git");
        command
            .arg("http-backend")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("GIT_PROJECT_ROOT", &self.root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*")
            .env("REQUEST_METHOD", &entry.method)
            .env("PATH_INFO", parts.uri.path())
            .env("QUERY_STRING", parts.uri.query().unwrap_or_default())
            .env("REMOTE_USER", "git")
            .env("REMOTE_ADDR", "127.0.0.1")
            .env("CONTENT_TYPE", named("content-type").unwrap_or_default())
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(length) = named("content-length") {
            command.env("CONTENT_LENGTH", length);
        }
        if let Some(encoding) = named("content-encoding") {
            command.env("HTTP_CONTENT_ENCODING", encoding);
        }
        if let Some(protocol) = named("git-protocol")
            && !self.settings.no_protocol_v2
        {
            command
                .env("HTTP_GIT_PROTOCOL", protocol.clone())
                .env("GIT_PROTOCOL", protocol);
        }
        let mut child = command.spawn().expect("start git http-backend");
        let stdin = child.stdin.take().expect("stdin is piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (kept, head) = tokio::join!(feed(stdin, body), cgi_head(&mut stdout));
        entry.body = kept;
        let (status, headers) = head;
        let shared = Arc::clone(&self);
        let stream = futures::stream::unfold((stdout, child), move |(mut stdout, child)| {
            let shared = Arc::clone(&shared);
            async move {
                let mut buffer = vec![0; 32 * 1024];
                match stdout.read(&mut buffer).await {
                    Ok(0) => None,
                    Ok(read) => {
                        shared.sent.fetch_add(read as u64, Ordering::SeqCst);
                        buffer.truncate(read);
                        Some((Ok(Frame::data(Bytes::from(buffer))), (stdout, child)))
                    }
                    Err(error) => Some((Err(error), (stdout, child))),
                }
            }
        });
        let mut response = Response::new(StreamBody::new(stream).boxed_unsync());
        *response.status_mut() = status;
        for (name, value) in headers {
            if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), value.parse()) {
                response.headers_mut().insert(name, value);
            }
        }
        self.record(entry, response)
    }

    fn record(&self, mut entry: Request, response: Response<Body>) -> Response<Body> {
        entry.status = response.status().as_u16();
        self.requests.lock().expect("requests").push(entry);
        response
    }

    fn authorized(&self, header: Option<&str>) -> bool {
        let settings = &self.settings;
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

/// Gives the request's body to the program and keeps its beginning.
async fn feed(mut stdin: tokio::process::ChildStdin, mut body: Incoming) -> Vec<u8> {
    let mut kept = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let room = KEPT_BODY.saturating_sub(kept.len()).min(data.len());
        kept.extend_from_slice(&data[..room]);
        if stdin.write_all(&data).await.is_err() {
            break;
        }
    }
    kept
}

/// Reads the headers that a CGI program prints before its body.
async fn cgi_head(
    stdout: &mut BufReader<tokio::process::ChildStdout>,
) -> (StatusCode, Vec<(String, String)>) {
    let mut status = StatusCode::OK;
    let mut headers = Vec::new();
    let mut line = String::new();
    loop {
        line.clear();
        if stdout.read_line(&mut line).await.unwrap_or(0) == 0 {
            return (
                if headers.is_empty() {
                    StatusCode::INTERNAL_SERVER_ERROR
                } else {
                    status
                },
                headers,
            );
        }
        let trimmed = line.trim_end();
        if trimmed.is_empty() {
            return (status, headers);
        }
        if let Some((name, value)) = trimmed.split_once(':') {
            if name.eq_ignore_ascii_case("status") {
                let code = value
                    .trim()
                    .split(' ')
                    .next()
                    .and_then(|code| code.parse().ok());
                status = code.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            } else {
                headers.push((name.to_owned(), value.trim().to_owned()));
            }
        }
    }
}
