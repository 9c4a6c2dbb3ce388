//! An artifact server controlled by a test.

use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{StatusCode, Uri, header};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::failure::{Doing, Result};

/// Serves archives, or other responses set by the test.
///
/// It runs in the async runtime of the test that starts it.
pub struct ArtifactServer {
    address: SocketAddr,
    shelf: Arc<Shelf>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Shelf {
    files: Mutex<HashMap<String, Vec<u8>>>,
    instead: Mutex<VecDeque<Answer>>,
    requests: Mutex<Vec<String>>,
}

/// A response to one request, instead of the archive.
#[derive(Clone, Debug)]
pub enum Answer {
    /// This status without an archive; the client may retry at once.
    Status(u16),
    /// A redirect to this URL.
    Redirect(String),
    /// The archive, after a delay.
    Late(Duration),
}

impl ArtifactServer {
    /// Starts listening on a free port.
    pub async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .doing("listen for downloads")?;
        let address = listener.local_addr()?;
        let shelf = Arc::new(Shelf::default());
        let router = Router::new().fallback(serve).with_state(shelf.clone());
        let server = tokio::spawn(async move {
            // It only ends with the runtime.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shelf,
            server,
        })
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a file.
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Serves these files as an archive `<name>.tar.gz`; returns the `status.artifact` of its source.
    pub fn put(&self, name: &str, revision: &str, files: &[(&str, &str)]) -> Result<Value> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, content.as_bytes())?;
        }
        let mut gzip = archive.into_inner()?;
        gzip.flush()?;
        Ok(self.put_bytes(&format!("{name}.tar.gz"), revision, gzip.finish()?))
    }

    /// Serves these bytes; returns the `status.artifact` of their source.
    pub fn put_bytes(&self, name: &str, revision: &str, bytes: Vec<u8>) -> Value {
        let artifact = json!({
            "url": self.url(name),
            "revision": revision,
            "digest": format!("sha256:{}", hex::encode(Sha256::digest(&bytes))),
            // Not used by consumers.
            "path": "somewhere/else.tar.gz",
            "size": 1,
            "lastUpdateTime": "2001-01-01T00:00:00Z",
        });
        lock(&self.shelf.files).insert(format!("/{name}"), bytes);
        artifact
    }

    /// Sets the responses to the next requests, in order.
    pub fn instead(&self, answers: impl IntoIterator<Item = Answer>) {
        lock(&self.shelf.instead).extend(answers);
    }

    /// The requested paths since the last call.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shelf.requests))
    }
}

impl Drop for ArtifactServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(State(shelf): State<Arc<Shelf>>, uri: Uri) -> Response {
    // Proxies receive the whole URL.
    lock(&shelf.requests).push(uri.to_string());
    let instead = lock(&shelf.instead).pop_front();
    match instead {
        Some(Answer::Status(code)) => {
            let status = StatusCode::from_u16(code).unwrap_or(StatusCode::IM_A_TEAPOT);
            return (status, [(header::RETRY_AFTER, "0")]).into_response();
        }
        Some(Answer::Redirect(url)) => {
            return (StatusCode::FOUND, [(header::LOCATION, url)]).into_response();
        }
        Some(Answer::Late(wait)) => tokio::time::sleep(wait).await,
        None => {}
    }
    let file = lock(&shelf.files).get(uri.path()).cloned();
    file.map_or_else(
        || StatusCode::NOT_FOUND.into_response(),
        IntoResponse::into_response,
    )
}
