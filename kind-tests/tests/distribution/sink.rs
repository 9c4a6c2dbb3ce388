//! A service that alerts are sent to: it takes and keeps every request.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use kind_tests::Result;
use serde_json::Value;

/// It runs in the async runtime of the test that starts it.
pub(crate) struct Sink {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Value>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Sink {
    pub(crate) async fn start() -> Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let bodies: Arc<Mutex<Vec<Value>>> = Arc::default();
        let router = Router::new().fallback(take).with_state(bodies.clone());
        let server = tokio::spawn(async move {
            // It only ends with the runtime.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            bodies,
            server,
        })
    }

    /// The address for a Provider of type `generic`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The events so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.bodies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(bodies): State<Arc<Mutex<Vec<Value>>>>, body: Bytes) {
    let event = serde_json::from_slice(&body).unwrap_or_default();
    bodies
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(event);
}
