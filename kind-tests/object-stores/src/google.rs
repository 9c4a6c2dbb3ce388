//! fake-gcs-server, which speaks the JSON API of Google Cloud Storage and checks no credentials: its front does.

use std::net::SocketAddr;

use reqwest::{Client, Method};
use serde_json::json;
use tempfile::TempDir;

use crate::program::{Program, address, installed, ports};

/// A running fake-gcs-server; stopped on drop.
pub struct FakeGoogle {
    _program: Program,
    address: SocketAddr,
    client: Client,
}

impl FakeGoogle {
    /// Starts it on a free port; `None` if it is not installed.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start() -> Option<Self> {
        let binary = installed("fake-gcs-server")?;
        let folder = TempDir::new().expect("temporary folder");
        let [port] = ports();
        let arguments = [
            "-scheme".to_owned(),
            "http".to_owned(),
            "-host".to_owned(),
            "127.0.0.1".to_owned(),
            "-port".to_owned(),
            port.to_string(),
            "-backend".to_owned(),
            "memory".to_owned(),
        ];
        let program = Program::start(&binary, folder, &arguments, port);
        Some(Self {
            _program: program,
            address: address(port),
            client: crate::program::client(),
        })
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn make_bucket(&self, bucket: &str) {
        let body = json!({"name": bucket}).to_string();
        self.send(Method::POST, "storage/v1/b?project=p", body.into())
            .await;
    }

    /// Puts an object, whose key is written as in a query.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn put(&self, bucket: &str, key: &str, content: &str) {
        let path = format!("upload/storage/v1/b/{bucket}/o?uploadType=media&name={key}");
        self.send(Method::POST, &path, content.to_owned().into())
            .await;
    }

    /// Deletes an object, whose key is written as one segment of a path.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn delete(&self, bucket: &str, key: &str) {
        let path = format!("storage/v1/b/{bucket}/o/{key}");
        self.send(Method::DELETE, &path, Vec::new()).await;
    }

    async fn send(&self, method: Method, path: &str, body: Vec<u8>) {
        let url = format!("http://{}/{path}", self.address);
        let request = self.client.request(method, url).body(body);
        let response = request.send().await.expect("fake-gcs-server answers");
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
    }
}
