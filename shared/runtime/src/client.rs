//! The Kubernetes client (RT-KUB rows).

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::{Client, Config, client::Body};
use tokio::{sync::Mutex, time::Instant};
use tower::{Layer, Service};

use crate::metrics::Metrics;

/// The header by which an API server tells that it limits clients itself (RT-KUB-001).
const FLOW_CONTROL_HEADER: &str = "x-kubernetes-pf-flowschema-uid";

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `KUBECONFIG` or the file in the home folder does not fit.
    #[error("unable to load the kubeconfig")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Neither a pod's service account nor a kubeconfig is there.
    #[error(
        "unable to load the in-cluster configuration, and there is no kubeconfig (set KUBECONFIG)"
    )]
    InCluster(#[source] kube::config::InClusterError),
    /// The configuration does not make a client.
    #[error("unable to create the Kubernetes client")]
    Build(#[source] kube::Error),
}

/// The configuration of the cluster: `KUBECONFIG`, else the pod's service account, else the file in the home folder
/// (RT-ENV-003).
pub async fn config() -> Result<Config, ClientError> {
    let options = kube::config::KubeConfigOptions::default();
    if std::env::var("KUBECONFIG").is_ok_and(|files| !files.is_empty()) {
        return Ok(Config::from_kubeconfig(&options).await?);
    }
    match Config::incluster() {
        Ok(config) => Ok(config),
        Err(incluster) => Config::from_kubeconfig(&options)
            .await
            .map_err(|_| ClientError::InCluster(incluster)),
    }
}

/// Makes clients that count their requests and keep to the limit of requests.
#[derive(Clone)]
pub struct ClientFactory {
    metrics: Metrics,
    limit: Option<Arc<RateLimit>>,
}

impl ClientFactory {
    /// A factory whose clients share one limit of `qps` and `burst`, or have none where the API server behind `config`
    /// limits clients itself, which one request asks it (RT-KUB-001, RT-KUB-003).
    pub async fn probing(config: &Config, metrics: Metrics, qps: f32, burst: usize) -> Self {
        let unlimited = Self {
            metrics,
            limit: None,
        };
        let flow_control = match unlimited.client(config.clone()) {
            Ok(client) => has_flow_control(&client).await,
            Err(_) => false, // the caller meets the same error again, and reports it
        };
        let limit =
            (!flow_control && qps > 0.0).then(|| Arc::new(RateLimit::new(f64::from(qps), burst)));
        Self { limit, ..unlimited }
    }

    /// A client for `config`.
    pub fn client(&self, config: Config) -> Result<Client, ClientError> {
        let uri = &config.cluster_url;
        let default_port = if uri.scheme_str() == Some("http") {
            80
        } else {
            443
        };
        let host = format!(
            "{}:{}",
            uri.host().unwrap_or_default(),
            uri.port_u16().unwrap_or(default_port)
        );
        let layer = Metered {
            metrics: self.metrics.clone(),
            host: host.into(),
            limit: self.limit.clone(),
        };
        Ok(kube::client::ClientBuilder::try_from(config)
            .map_err(ClientError::Build)?
            .with_layer(&layer)
            .build())
    }
}

async fn has_flow_control(client: &Client) -> bool {
    let Ok(request) = Request::builder()
        .method(Method::HEAD)
        .uri("/livez/ping")
        .body(Body::empty())
    else {
        return false;
    };
    match tokio::time::timeout(Duration::from_secs(10), client.send(request)).await {
        Ok(Ok(answer)) => answer.headers().contains_key(FLOW_CONTROL_HEADER),
        Ok(Err(_)) | Err(_) => false,
    }
}

/// A token bucket shared by clients.
struct RateLimit {
    qps: f64,
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl RateLimit {
    fn new(qps: f64, burst: usize) -> Self {
        let burst = (burst as f64).max(1.0);
        Self {
            qps,
            burst,
            state: Mutex::new((burst, Instant::now())),
        }
    }

    async fn wait(&self) {
        let delay = {
            let mut state = self.state.lock().await;
            let now = Instant::now();
            let tokens = (state.0 + (now - state.1).as_secs_f64() * self.qps).min(self.burst) - 1.0;
            *state = (tokens, now);
            if tokens < 0.0 {
                Duration::from_secs_f64(-tokens / self.qps)
            } else {
                Duration::ZERO
            }
        };
        tokio::time::sleep(delay).await;
    }
}

#[derive(Clone)]
struct Metered {
    metrics: Metrics,
    host: Arc<str>,
    limit: Option<Arc<RateLimit>>,
}

impl<S> Layer<S> for Metered {
    type Service = MeteredService<S>;

    fn layer(&self, inner: S) -> MeteredService<S> {
        MeteredService {
            inner,
            meter: self.clone(),
        }
    }
}

/// Counts requests by what came of them (RT-MET-017).
#[derive(Clone)]
struct MeteredService<S> {
    inner: S,
    meter: Metered,
}

impl<S, B> Service<Request<Body>> for MeteredService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let meter = self.meter.clone();
        let method = request.method().as_str().to_owned();
        let answer = self.inner.call(request); // nothing is sent before it is awaited
        Box::pin(async move {
            if let Some(limit) = &meter.limit {
                limit.wait().await;
            }
            let result = answer.await;
            let code = result.as_ref().map_or_else(
                |_| "<error>".to_owned(),
                |answer| answer.status().as_u16().to_string(),
            );
            meter.metrics.requested(&code, &method, &meter.host);
            result
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_burst_comes_first_and_the_rate_after() {
        // RT-FLM-008, RT-FLM-009
        let limit = RateLimit::new(10.0, 3);
        let start = Instant::now();
        for _ in 0..3 {
            limit.wait().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        for _ in 0..5 {
            limit.wait().await;
        }
        assert!(
            (490..=510).contains(&start.elapsed().as_millis()),
            "{:?}",
            start.elapsed()
        );
    }
}
