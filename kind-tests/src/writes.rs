//! A proxy to the API server that counts writes, and holds one back so that its client can be killed before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, Method, StatusCode, header};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;
use tokio::sync::watch;

use crate::cluster::Cluster;
use crate::failure::{Doing, Result};

/// More than any object has.
const MAX_BODY: usize = 16 << 20;

/// Passes requests on to the API server, except writes that it was told to hold.
///
/// Events and Leases do not count: they come at any time and say nothing about a release. It lives in the async runtime of
/// the test that starts it.
pub struct Writes {
    address: SocketAddr,
    folder: PathBuf,
    shared: Arc<Shared>,
    server: tokio::task::JoinHandle<()>,
}

struct Shared {
    client: Client,
    state: Mutex<Counts>,
    /// Whether writes pass.
    open: watch::Sender<bool>,
    /// The write that is held.
    held: watch::Sender<Option<String>>,
}

#[derive(Default)]
struct Counts {
    /// How many more writes pass; `None` for all.
    left: Option<usize>,
    seen: Vec<String>,
}

impl Writes {
    /// A proxy whose requests are those of `user`, a cluster administrator.
    pub async fn start(cluster: &Cluster, user: &str) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(cluster.kubeconfig_for(user)?)?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .doing("listen for requests to the API server")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            client: Client::try_from(config)?,
            state: Mutex::default(),
            open: watch::Sender::new(true),
            held: watch::Sender::new(None),
        });
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let server = tokio::spawn(async move {
            // It only ends with the runtime.
            let _ = axum::serve(listener, router).await;
        });
        let folder = std::env::temp_dir().join(format!("{user}-{:08x}", rand::random::<u32>()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            address,
            folder,
            shared,
            server,
        })
    }

    /// The path of a kubeconfig for clients of the proxy.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let path = self.folder.join("kubeconfig");
        let server = format!("http://{}", self.address);
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": server}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "users": [{"name": "proxy", "user": {}}],
        });
        std::fs::write(&path, text.to_string())?;
        Ok(path)
    }

    /// Lets this many more writes pass, and holds those after them.
    pub fn hold_after(&self, count: usize) {
        let mut state = self.shared.state();
        state.left = Some(count);
        state.seen.clear();
        self.shared.held.send_replace(None);
        self.shared.open.send_replace(false);
    }

    /// Lets all writes pass from now on; those that are held are refused.
    pub fn open(&self) {
        let mut state = self.shared.state();
        state.left = None;
        state.seen.clear();
        self.shared.open.send_replace(true);
    }

    /// Waits until a write is held, and returns its method and path.
    pub async fn held(&self) -> Result<String> {
        let mut held = self.shared.held.subscribe();
        let held = held.wait_for(Option::is_some).await?;
        Ok(held.clone().unwrap_or_default())
    }

    /// The methods and paths of the writes that passed since the last call of a method that changes what passes.
    pub fn passed(&self) -> Vec<String> {
        self.shared.state().seen.clone()
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.server.abort();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Counts> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a write; whether it passes.
    fn count(&self, write: &str) -> bool {
        let mut state = self.state();
        match &mut state.left {
            Some(0) => return false,
            Some(left) => *left -= 1,
            None => {}
        }
        state.seen.push(write.to_owned());
        true
    }
}

/// Whether a request changes something that counts.
fn is_write(request: &Request) -> bool {
    let path = request.uri().path();
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS];
    let uncounted = [
        "/events",
        "/leases/",
        "/leases",
        "selfsubject",
        "subjectaccess",
        "tokenreview",
    ];
    let query = request.uri().query().unwrap_or_default();
    !reads.contains(request.method())
        && !query.contains("dryRun=")
        && !uncounted.iter().any(|part| path.contains(part))
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if is_write(&request) {
        let write = format!("{} {}", request.method(), request.uri().path());
        if !shared.count(&write) {
            shared.held.send_replace(Some(write));
            // Its client is killed meanwhile, which drops this.
            let _ = shared.open.subscribe().wait_for(|open| *open).await;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    }
    forward(&shared.client, request)
        .await
        .unwrap_or_else(|error| (StatusCode::BAD_GATEWAY, error.to_string()).into_response())
}

async fn forward(client: &Client, request: Request) -> Result<Response> {
    let (mut parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY).await?;
    // The connection is another one.
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH] {
        parts.headers.remove(name);
    }
    let query = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    parts.uri = query.parse()?;
    let request = http::Request::from_parts(parts, body.to_vec().into());
    let (mut parts, body) = client.send(request).await?.into_parts();
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        HeaderName::from_static("keep-alive"),
    ] {
        parts.headers.remove(name);
    }
    Ok(Response::from_parts(parts, axum::body::Body::new(body)))
}
