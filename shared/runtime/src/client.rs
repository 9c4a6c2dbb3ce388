//! The Kubernetes client (RT-KUB rows).

mod bearer;
mod versions;

use std::ffi::OsStr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use flux_http::{ProxyEnvironment, Secret};
use flux_objects::{TimeLimit, words_of_kubeconfig};
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower::{Layer, Service};

use self::bearer::Bearer;
pub use self::bearer::{BearerToken, TokenError};
pub use self::versions::VersionedKind;
use self::versions::Versions;
use crate::metrics::Metrics;

/// The response header of an API server that limits clients itself (RT-KUB-001).
const FLOW_CONTROL_HEADER: &str = "x-kubernetes-pf-flowschema-uid";

/// Why a client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// `KUBECONFIG` or the kubeconfig in the home folder is invalid.
    #[error("unable to load the kubeconfig: {0}")]
    Kubeconfig(String),
    /// There is neither a pod's service account nor a kubeconfig.
    #[error(
        "unable to load the in-cluster configuration, and there is no kubeconfig (set KUBECONFIG)"
    )]
    InCluster(#[source] kube::config::InClusterError),
    /// None of the files that `KUBECONFIG` lists exists.
    #[error("no kubeconfig: none of the files in KUBECONFIG exists ({0})")]
    NoFile(String),
    /// The token cannot be sent as a header.
    #[error(
        "the token of the kubeconfig does not fit into an HTTP header: is there a line break in it?"
    )]
    Token,
    /// No client can be created from the configuration.
    #[error("unable to create the Kubernetes client")]
    Build(#[source] kube::Error),
}

impl From<KubeconfigError> for ClientError {
    fn from(error: KubeconfigError) -> Self {
        Self::Kubeconfig(words_of_kubeconfig(&error))
    }
}

/// The configuration of the cluster: from `KUBECONFIG`, else the pod's service account, else the kubeconfig in the home
/// folder (RT-ENV-003). The proxy is the one that the kubeconfig names, else that of the environment (RT-ENV-004).
pub async fn config() -> Result<Config, ClientError> {
    let listed = std::env::var_os("KUBECONFIG").filter(|files| !files.is_empty());
    if let Some(files) = listed {
        return from_kubeconfig(merged(&files)?).await;
    }
    match Config::incluster() {
        Ok(mut config) => {
            config.proxy_url = environment_proxy(&config);
            Ok(config)
        }
        Err(incluster) => match Kubeconfig::read() {
            Ok(kubeconfig) => from_kubeconfig(kubeconfig).await,
            Err(_) => Err(ClientError::InCluster(incluster)),
        },
    }
}

/// Merges the kubeconfigs of a list of files. As in kubectl, a missing file counts as empty.
fn merged(files: &OsStr) -> Result<Kubeconfig, ClientError> {
    let mut merged: Option<Kubeconfig> = None;
    for path in std::env::split_paths(files).filter(|path| path.exists()) {
        let next = Kubeconfig::read_from(path)?;
        merged = Some(match merged {
            None => next,
            Some(before) => before.merge(next)?,
        });
    }
    merged.ok_or_else(|| ClientError::NoFile(files.to_string_lossy().into_owned()))
}

/// The configuration of the cluster in the current context of a kubeconfig. The proxy is the one that the kubeconfig
/// names, else that of the environment (RT-ENV-004).
pub async fn from_kubeconfig(kubeconfig: Kubeconfig) -> Result<Config, ClientError> {
    let named = own_proxy(&kubeconfig);
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    if !named {
        config.proxy_url = environment_proxy(&config);
    }
    Ok(config)
}

/// The cluster of a kubeconfig's current context, if there is one.
pub fn current_cluster(kubeconfig: &Kubeconfig) -> Option<&kube::config::Cluster> {
    let current = kubeconfig.current_context.as_deref();
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts.find(|context| Some(&*context.name) == current)?;
    let name = &context.context.as_ref()?.cluster;
    let mut clusters = kubeconfig.clusters.iter();
    clusters
        .find(|cluster| cluster.name == *name)?
        .cluster
        .as_ref()
}

/// Whether the cluster of the current context names a proxy.
fn own_proxy(kubeconfig: &Kubeconfig) -> bool {
    current_cluster(kubeconfig)
        .and_then(|cluster| cluster.proxy_url.as_deref())
        .is_some_and(|proxy| !proxy.is_empty())
}

fn environment_proxy(config: &Config) -> Option<http::Uri> {
    let url = url::Url::parse(&config.cluster_url.to_string()).ok()?;
    proxy_of(&ProxyEnvironment::from_process(), &url)
}

fn proxy_of(environment: &ProxyEnvironment, server: &url::Url) -> Option<http::Uri> {
    let proxy = environment.proxy_for(server)?;
    let mut url = proxy.url().clone();
    // Neither call fails, since the address of a proxy has a host.
    let _ = url.set_username(proxy.username().unwrap_or_default());
    let password = proxy.password().map(Secret::expose_text);
    let _ = url.set_password(password.as_deref());
    url.as_str().parse().ok()
}

/// Creates clients that count their requests, share a rate limit, and time out every request except watches.
#[derive(Clone)]
pub struct ClientFactory {
    metrics: Metrics,
    limit: Option<Arc<RateLimit>>,
    versions: Versions,
    time_limit: TimeLimit,
}

/// The time limit of requests to a cluster that is not the controller's own (RT-ACL-013).
const REMOTE_LIMIT: Duration = Duration::from_secs(30);

impl ClientFactory {
    /// A factory whose clients have no rate limit, whatever the API server is (RT-KUB-002).
    pub fn unlimited(metrics: Metrics) -> Self {
        Self {
            metrics,
            limit: None,
            versions: Versions::default(),
            time_limit: TimeLimit::DEFAULT,
        }
    }

    /// Creates a factory whose clients share a rate limit of `qps` requests per second and bursts of `burst`. One
    /// request finds out whether the API server behind `config` limits clients itself; then there is no client-side
    /// limit (RT-KUB-001, RT-KUB-003).
    pub async fn probing(config: &Config, metrics: Metrics, qps: f32, burst: usize) -> Self {
        let unlimited = Self::unlimited(metrics);
        let flow_control = match unlimited.client(config.clone()) {
            Ok(client) => has_flow_control(&client).await,
            Err(_) => false, // the caller meets the same error again, and reports it
        };
        // As in client-go: zero means its default, a negative value no limit.
        let qps = if qps.abs() > 0.0 { qps } else { 5.0 };
        let burst = if burst > 0 { burst } else { 10 };
        let limit =
            (!flow_control && qps > 0.0).then(|| Arc::new(RateLimit::new(f64::from(qps), burst)));
        Self { limit, ..unlimited }
    }

    /// A factory for another cluster, whose requests are limited to 30 seconds. As [`ClientFactory::probing`], with the
    /// rate of client-go if the API server does not limit clients itself (RT-ACL-013, KC-REMOTE-009).
    pub async fn remote(&self, config: &Config) -> Self {
        let factory = Self::probing(config, self.metrics.clone(), 0.0, 0).await;
        Self {
            time_limit: TimeLimit::new(REMOTE_LIMIT),
            ..factory
        }
    }

    /// A factory whose clients use each of these kinds in the newest version that the API server behind `client` serves.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached.
    pub async fn adapting(
        self,
        client: &Client,
        kinds: &[VersionedKind],
    ) -> Result<Self, kube::Error> {
        let versions = Versions::discover(client, kinds).await?;
        Ok(Self { versions, ..self })
    }

    /// Whether the clients use a kind in another version than the one that this process is built for.
    pub(crate) fn is_adapting(&self) -> bool {
        !self.versions.is_empty()
    }

    /// Whether the clients have a client-side rate limit.
    pub fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    /// Creates a client for `config`. Requests are not retried: kube would retry 429, 503 and 504 for minutes,
    /// regardless of the time that the reconcile has; retries are up to the queue.
    pub fn client(&self, config: Config) -> Result<Client, ClientError> {
        self.build(config, None)
    }

    /// As [`ClientFactory::client`], for a client that asks for a bearer token before each request (RT-ACL-015).
    pub fn client_with_tokens(
        &self,
        config: Config,
        token: BearerToken,
    ) -> Result<Client, ClientError> {
        self.build(config, Some(token))
    }

    fn build(&self, mut config: Config, token: Option<BearerToken>) -> Result<Client, ClientError> {
        if !has_valid_token(&config) {
            return Err(ClientError::Token);
        }
        config.default_retry = false;
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
            .with_layer(&Bearer::new(token))
            .with_layer(&self.time_limit)
            .with_layer(&self.versions)
            .with_layer(&layer) // outside of the limit: waiting for one's turn is not the server's time
            .build())
    }
}

/// Whether the token, if there is one, can be sent as a header; kube panics otherwise.
fn has_valid_token(config: &Config) -> bool {
    let auth = serde_json::to_value(&config.auth_info).unwrap_or_default();
    let token = auth["token"].as_str();
    token.is_none_or(|token| HeaderValue::from_str(token).is_ok())
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

/// Counts requests by status code (RT-MET-017).
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
    use crate::outcome::chain;

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_burst_are_paced_at_the_rate() {
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

    /// An API server that answers `/livez/ping` with this status, with or without the header; and the requests that it
    /// received.
    async fn server(
        status: u16,
        flow_control: bool,
    ) -> (Config, Arc<std::sync::Mutex<Vec<String>>>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let asked = Arc::<std::sync::Mutex<Vec<String>>>::default();
        let log = asked.clone();
        let answer = async move |method: Method, uri: http::Uri| {
            log.lock().unwrap().push(format!("{method} {uri}"));
            let mut answer = Response::builder().status(status);
            if flow_control {
                answer = answer.header("X-Kubernetes-PF-FlowSchema-UID", "u");
            }
            answer.body(axum::body::Body::empty()).unwrap()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        (Config::new(url.parse().unwrap()), asked)
    }

    #[tokio::test]
    async fn priority_and_fairness_is_probed_once() {
        // RT-KUB-001, KC-PROC-016
        for (status, header, limited) in [
            (200, true, false),
            (404, true, false),
            (200, false, true),
            (403, false, true),
            (500, false, true),
        ] {
            let (config, asked) = server(status, header).await;
            let metrics = Metrics::new().unwrap();
            let host = config.cluster_url.authority().unwrap().to_string();
            let factory = ClientFactory::probing(&config, metrics.clone(), 50.0, 300).await;
            // HC-REMOTE-001
            assert_eq!(factory.is_limited(), limited, "{status} {header}");
            assert_eq!(*asked.lock().unwrap(), ["HEAD /livez/ping"]);
            // RT-MET-017
            let page =
                String::from_utf8(metrics.page(crate::metrics::Page::default()).unwrap()).unwrap();
            let counted = format!(
                "rest_client_requests_total{{code=\"{status}\",host=\"{host}\",method=\"HEAD\"}} 1"
            );
            assert!(
                page.lines().any(|line| line == counted),
                "{counted} in\n{page}"
            );
            // KC-REMOTE-009, RT-ACL-013: the other server is asked too
            let remote = factory.remote(&config).await;
            assert_eq!(remote.is_limited(), limited);
            assert_eq!(*asked.lock().unwrap(), ["HEAD /livez/ping"; 2]);
        }
        // RT-KUB-003: without a server the flags apply, and the process starts
        let nobody = Config::new("http://127.0.0.1:1".parse().unwrap());
        let metrics = Metrics::new().unwrap();
        let factory = ClientFactory::probing(&nobody, metrics.clone(), 50.0, 300).await;
        assert!(factory.is_limited());
        let page =
            String::from_utf8(metrics.page(crate::metrics::Page::default()).unwrap()).unwrap();
        assert!(
            page.contains("rest_client_requests_total{code=\"<error>\",host=\"127.0.0.1:1\""),
            "{page}"
        );
        // a negative value means no limit
        let (config, _) = server(200, false).await;
        assert!(
            !ClientFactory::probing(&config, Metrics::new().unwrap(), -1.0, 300)
                .await
                .is_limited()
        );
    }

    #[tokio::test]
    async fn the_client_does_not_retry_by_itself() {
        for status in [429, 503, 504] {
            let (config, asked) = server(status, true).await;
            let metrics = Metrics::new().unwrap();
            let factory = ClientFactory::probing(&config, metrics, 50.0, 300).await;
            let client = factory.client(config).unwrap();
            assert!(client.apiserver_version().await.is_err());
            assert_eq!(*asked.lock().unwrap(), ["HEAD /livez/ping", "GET /version"]);
        }
    }

    const KUBECONFIG: &str = "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}]}";

    fn cluster(extra: &str) -> String {
        format!(
            "{{apiVersion: v1, kind: Config, clusters: [{{name: k, cluster: {{server: 'https://10.0.0.1:6443'{extra}}}}}], users: [{{name: u, user: {{token: t}}}}]}}"
        )
    }

    #[tokio::test]
    async fn errors_do_not_quote_an_invalid_kubeconfig() {
        let user = |data: &str| {
            format!(
                "{{apiVersion: v1, kind: Config, current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}], \
                 clusters: [{{name: k, cluster: {{server: 'https://10.0.0.1:6443'}}}}], users: [{{name: u, user: {{{data}}}}}]}}"
            )
        };
        for (text, words) in [
            (
                "users:\n- name: u\n  user:\n    token: s3cret\n   client-key-data: s3cret\n"
                    .to_owned(),
                "line 5, ",
            ),
            (
                "users: [{name: u, user: {token: [s3cret]}}]".to_owned(),
                "line 1, ",
            ),
            (
                user("client-certificate-data: s3cret%, client-key-data: s3cret%"),
                "not base64",
            ),
            (
                user("client-certificate-data: czNjcmV0, client-key-data: s3cret%"),
                "not base64",
            ),
            (
                user("client-certificate-data: czNjcmV0, client-key-data: czNjcmV0"),
                "",
            ),
            (user("username: 'a\\nb', password: s3cret"), ""),
            (user("token: \"s3cret\\n\""), "the token of the kubeconfig"),
            (
                user(
                    "exec: {apiVersion: client.authentication.k8s.io/v1, command: /bin/false, args: [s3cret], interactiveMode: Never}",
                ),
                "the command under `exec`",
            ),
        ] {
            let folder =
                std::env::temp_dir().join(format!("flux-runtime-{}", uuid::Uuid::new_v4()));
            std::fs::write(&folder, &text).unwrap();
            let made = async {
                let config = from_kubeconfig(merged(folder.as_os_str())?).await?;
                let metrics = Metrics::new().unwrap();
                let factory = ClientFactory {
                    metrics,
                    limit: None,
                    versions: Versions::default(),
                    time_limit: TimeLimit::DEFAULT,
                };
                factory.client(config).map(drop)
            };
            let said = made.await.err().map(|error| chain(&error));
            std::fs::remove_file(&folder).unwrap();
            let said = said.unwrap_or_default();
            assert!(said.contains(words), "{text}\n{said}");
            for hidden in ["s3cret", "czNjcmV0", "offset"] {
                assert!(!said.contains(hidden), "{text}\n{said}");
            }
        }
    }

    #[tokio::test]
    async fn a_list_of_kubeconfigs_is_merged() {
        // RT-ENV-003
        let folder = std::env::temp_dir().join(format!("flux-runtime-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let paths = [
            folder.join("missing"),
            file("context", KUBECONFIG),
            file("cluster", &cluster("")),
        ];
        let list = std::env::join_paths(&paths).unwrap();
        let config = from_kubeconfig(merged(&list).unwrap()).await.unwrap();
        assert_eq!(config.cluster_url, "https://10.0.0.1:6443/");
        let nothing = std::env::join_paths([&paths[0]]).unwrap();
        let refused = merged(&nothing).unwrap_err().to_string();
        assert!(
            refused.contains("none of the files in KUBECONFIG exists"),
            "{refused}"
        );
        let broken = std::env::join_paths([file("broken", "{")]).unwrap();
        assert!(matches!(merged(&broken), Err(ClientError::Kubeconfig(_))));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_proxy_is_read_from_the_environment() {
        // RT-ENV-004
        let environment = ProxyEnvironment::from_lookup(|name| {
            let value = match name {
                "HTTPS_PROXY" => "http://user:p%40ss@proxy.internal:3128",
                "NO_PROXY" => "10.0.0.0/8,.cluster.local,.cluster.local.",
                _ => return None,
            };
            Some(value.to_owned())
        });
        for (server, proxied) in [
            ("https://192.0.2.1:6443/", true),
            ("https://api.example.com/", true),
            ("https://10.96.0.1/", false),
            ("https://127.0.0.1:6443/", false),
            ("https://kubernetes.default.svc.cluster.local/", false),
            ("https://kubernetes.default.svc.cluster.local./", false),
            ("http://192.0.2.1/", false),
        ] {
            let proxy = proxy_of(&environment, &server.parse().unwrap());
            assert_eq!(
                proxy.map(|proxy| proxy.to_string()),
                proxied.then(|| "http://user:p%40ss@proxy.internal:3128/".to_owned()),
                "{server}"
            );
        }
    }

    #[test]
    fn a_kubeconfig_may_set_its_proxy() {
        // RT-ENV-004: the kubeconfig's own proxy takes precedence
        for (extra, own) in [
            ("", false),
            (", proxy-url: ''", false),
            (", proxy-url: 'http://p:1'", true),
        ] {
            let parse = |text: &str| Kubeconfig::from_yaml(text).unwrap();
            let whole = parse(KUBECONFIG).merge(parse(&cluster(extra))).unwrap();
            assert_eq!(own_proxy(&whole), own, "{extra}");
        }
    }
}
