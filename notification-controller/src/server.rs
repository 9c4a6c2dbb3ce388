//! The HTTP server of events and of webhooks: limits, metrics, shutdown (NC-PROC-040 to NC-PROC-054).

use std::collections::HashSet;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus::{HistogramOpts, HistogramVec, IntGaugeVec, Opts, Registry};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// The largest body of a request (NC-PROC-040).
pub(crate) const MAX_BODY: usize = 3 << 20;
/// The bytes behind that limit that are read so that a client sees the answer.
const DRAINED: usize = 256 << 10;
/// The largest head of a request (NC-PROC-042).
const MAX_HEAD: usize = 256 << 10;
const MAX_HEADERS: usize = 4096;
/// How long the head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// How long open requests may take after the server was stopped (NC-PROC-033).
const GRACE: Duration = Duration::from_secs(5);
/// The most concurrent connections.
const CONNECTIONS: usize = 512;
/// The memory for bodies that are being received or worked on, in kilobytes.
const ROOM: usize = 96 << 10;
/// What a request takes of it at least, in kilobytes.
const SMALLEST: u32 = 32;
/// How long a request waits for that memory.
const ROOM_TIMEOUT: Duration = Duration::from_secs(3);
/// How many paths the metrics tell apart.
const MAX_PATHS: usize = 1000;

/// A response.
pub(crate) type Answer = Response<Full<Bytes>>;

/// A response without a body.
pub(crate) fn status(code: StatusCode) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = code;
    answer
}

/// A plain text as Go's `http.Error` sends it.
pub(crate) fn plain(code: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    answer
}

/// The body of a request, and the memory that it takes.
pub(crate) struct Received {
    /// The bytes.
    pub(crate) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// A body that has not been read yet.
pub(crate) struct Body {
    incoming: Incoming,
    room: Arc<Semaphore>,
    logger: &'static str,
}

impl Body {
    /// Reads it.
    ///
    /// # Errors
    /// The answer to give instead: it is too large (NC-PROC-040), it ends early (NC-PROC-041), or too many requests are
    /// being worked on.
    #[expect(clippy::result_large_err, reason = "an answer is a whole response")]
    pub(crate) async fn read(self) -> Result<Received, Answer> {
        let failed = |code: StatusCode, error: &str| {
            tracing::error!(
                logger = self.logger,
                error,
                "reading the request body failed"
            );
            Err(status(code))
        };
        let too_large = "request body exceeds the maximum size of 3145728 bytes";
        let announced = self.incoming.size_hint().exact();
        let size = announced.map_or(MAX_BODY, |size| usize::try_from(size).unwrap_or(usize::MAX));
        if size > MAX_BODY {
            // A client reads the answer once it has sent its request; if the connection were closed before, it would not.
            let _ = timeout(BODY_TIMEOUT, discard(self.incoming)).await;
            return failed(StatusCode::PAYLOAD_TOO_LARGE, too_large);
        }
        // A small one takes more than its bytes while it is worked on.
        let wanted = u32::try_from(size / 1024 + 1).unwrap_or(u32::MAX);
        let wanted = wanted.max(SMALLEST);
        let room = timeout(ROOM_TIMEOUT, self.room.acquire_many_owned(wanted)).await;
        let Ok(Ok(room)) = room else {
            let busy = "too many requests are being worked on";
            return failed(StatusCode::SERVICE_UNAVAILABLE, busy);
        };
        let body = timeout(
            BODY_TIMEOUT,
            Limited::new(self.incoming, MAX_BODY).collect(),
        )
        .await;
        match body {
            Ok(Ok(body)) => Ok(Received {
                bytes: body.to_bytes(),
                _room: room,
            }),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                failed(StatusCode::PAYLOAD_TOO_LARGE, too_large)
            }
            Ok(Err(_)) => failed(StatusCode::BAD_REQUEST, "unexpected EOF"),
            Err(_) => failed(StatusCode::BAD_REQUEST, "i/o timeout"),
        }
    }
}

/// Reads a body that is too large and drops it, as far as Go's server does: up to the limit, and 256 KiB behind it.
async fn discard(mut body: Incoming) {
    let mut left = MAX_BODY + DRAINED;
    while left > 0 {
        let Some(Ok(frame)) = body.frame().await else {
            return;
        };
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
    }
}

/// What answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, head: request::Parts, body: Body) -> BoxFuture<'_, Answer>;
}

/// The metrics of one server (NC-PROC-050 to NC-PROC-053).
pub(crate) struct HttpMetrics {
    duration: HistogramVec,
    size: HistogramVec,
    inflight: IntGaugeVec,
    /// The label `handler`; `None` if it is the path of the request (NC-PROC-007).
    handler: Option<&'static str>,
    paths: Mutex<HashSet<String>>,
}

impl HttpMetrics {
    /// Registers the families that begin with `prefix`.
    ///
    /// # Errors
    /// They are registered already.
    pub(crate) fn new(
        registry: &Registry,
        prefix: &str,
        handler: Option<&'static str>,
    ) -> prometheus::Result<Self> {
        let labels = &["service", "handler", "method", "code"];
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let options =
                HistogramOpts::new(format!("{prefix}_http_{name}"), help).buckets(buckets);
            let family = HistogramVec::new(options, labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let inflight = Opts::new(
            format!("{prefix}_http_requests_inflight"),
            "The number of inflight requests being handled at the same time.",
        );
        let inflight = IntGaugeVec::new(inflight, &["service", "handler"])?;
        registry.register(Box::new(inflight.clone()))?;
        Ok(Self {
            duration: histogram(
                "request_duration_seconds",
                "The latency of the HTTP requests.",
                prometheus::DEFAULT_BUCKETS.to_vec(),
            )?,
            size: histogram(
                "response_size_bytes",
                "The size of the HTTP responses.",
                prometheus::exponential_buckets(100.0, 10.0, 8)?,
            )?,
            inflight,
            handler,
            paths: Mutex::default(),
        })
    }

    fn label(&self, path: &str) -> String {
        if let Some(handler) = self.handler {
            return handler.to_owned();
        }
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if paths.contains(path) || paths.len() < MAX_PATHS {
            paths.insert(path.to_owned());
            return path.to_owned();
        }
        "other".to_owned()
    }
}

/// The methods that the metrics tell apart: others are any text of the client's.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// A server.
pub(crate) struct Server<H> {
    /// What its log lines and its end are called by.
    pub(crate) name: &'static str,
    /// The logger.
    pub(crate) logger: &'static str,
    /// Its metrics.
    pub(crate) metrics: HttpMetrics,
    /// What answers.
    pub(crate) handler: H,
}

impl<H: Handler> Server<H> {
    /// Answers requests until `stop`, then gives open ones five seconds (NC-PROC-033).
    pub(crate) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let name = self.name;
        let logger = self.logger;
        let this = Arc::new(self);
        let room = Arc::new(Semaphore::new(ROOM));
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot,
                () = stop.cancelled() => break,
            };
            let stream = tokio::select! {
                stream = listener.accept() => stream,
                () = stop.cancelled() => break,
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if is_exhausted(&error) {
                        tracing::error!(logger, %error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                    continue;
                }
            };
            let (this, room, stop) = (this.clone(), room.clone(), stop.clone());
            connections.spawn(async move {
                let _slot = slot;
                this.converse(stream, room, stop).await;
            });
            while connections.try_join_next().is_some() {}
        }
        drop(listener);
        let ended = async { while connections.join_next().await.is_some() {} };
        if timeout(GRACE, ended).await.is_ok() {
            tracing::info!(logger, "{name} stopped");
        } else {
            tracing::error!(
                logger,
                error = "context deadline exceeded",
                "{name} graceful shutdown failed"
            );
        }
    }

    async fn converse(
        self: Arc<Self>,
        stream: TcpStream,
        room: Arc<Semaphore>,
        stop: CancellationToken,
    ) {
        let service = service_fn(|request: Request<Incoming>| {
            let (this, room) = (self.clone(), room.clone());
            async move { Ok::<_, Infallible>(this.measured(request, room).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD)
            .max_headers(MAX_HEADERS)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(logger = self.logger, %error, "lost a connection");
        }
    }

    async fn measured(&self, request: Request<Incoming>, room: Arc<Semaphore>) -> Answer {
        let started = Instant::now();
        let (head, incoming) = request.into_parts();
        let handler = self.metrics.label(head.uri.path());
        let method = method_label(&head.method);
        let inflight = self.metrics.inflight.with_label_values(&["", &*handler]);
        inflight.inc();
        let body = Body {
            incoming,
            room,
            logger: self.logger,
        };
        let answer = match cleaned(&head) {
            _ if size_of(&head) > MAX_HEAD => status(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            Some(moved) => moved,
            None => self.handler.answer(head, body).await,
        };
        inflight.dec();
        let code = answer.status();
        let labels = ["", &*handler, method, code.as_str()];
        let duration = self.metrics.duration.with_label_values(&labels);
        duration.observe(started.elapsed().as_secs_f64());
        let size = answer.body().size_hint().exact().unwrap_or_default();
        let sizes = self.metrics.size.with_label_values(&labels);
        sizes.observe(size as f64);
        answer
    }
}

/// The size of the head of a request, which the buffer bounds roughly only.
fn size_of(head: &request::Parts) -> usize {
    let uri = head
        .uri
        .path_and_query()
        .map_or(0, |uri| uri.as_str().len());
    let headers = head.headers.iter();
    let headers = headers.map(|(name, value)| name.as_str().len() + value.len() + 4);
    uri + headers.sum::<usize>()
}

/// Whether an error of accepting is the process's own lack of descriptors, not the client's.
fn is_exhausted(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// The redirect for a path with empty or dot segments, as Go's `ServeMux` sends it (NC-RECV-050).
fn cleaned(head: &request::Parts) -> Option<Answer> {
    let path = head.uri.path();
    let clean = clean(path);
    if clean == path || head.method == Method::CONNECT {
        return None;
    }
    let query = head.uri.query().map(|query| format!("?{query}"));
    let target = format!("{clean}{}", query.unwrap_or_default());
    let mut answer = status(StatusCode::TEMPORARY_REDIRECT);
    answer
        .headers_mut()
        .insert(header::LOCATION, HeaderValue::from_str(&target).ok()?);
    Some(answer)
}

/// A path without empty and dot segments.
fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut clean = format!("/{}", kept.join("/"));
    if path.ends_with('/') && clean.len() > 1 {
        clean.push('/');
    }
    clean
}

/// Listens on a Go-style address: `:9090` is the port on every address of the machine.
///
/// # Errors
/// The system's; the text is Go's.
pub(crate) async fn listen(address: &str) -> Result<TcpListener, String> {
    let bound = match address.strip_prefix(':') {
        None => TcpListener::bind(address).await,
        Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind(format!("0.0.0.0:{port}")).await
            }
            bound => bound,
        },
    };
    bound.map_err(|error| format!("listen tcp {address}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_by_serve_mux() {
        for (path, want) in [
            ("/", "/"),
            ("/hook/abc", "/hook/abc"),
            ("//hook//abc", "/hook/abc"),
            ("/hook/../x", "/x"),
            ("/hook/./x/", "/hook/x/"),
            ("/..", "/"),
            ("//", "/"),
        ] {
            assert_eq!(clean(path), want, "{path}");
        }
    }

    #[test]
    fn metrics_bound_what_clients_choose() {
        let registry = Registry::new();
        // NC-PROC-007
        let by_path = HttpMetrics::new(&registry, "gotk_event", None).unwrap();
        assert_eq!(by_path.label("/a"), "/a");
        for number in 0..MAX_PATHS {
            by_path.label(&format!("/{number}"));
        }
        assert_eq!(by_path.label("/new"), "other");
        assert_eq!(by_path.label("/a"), "/a");
        let constant = HttpMetrics::new(&registry, "gotk_receiver", Some("/hook/")).unwrap();
        assert_eq!(constant.label("/hook/abc"), "/hook/");
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "other");
    }
}
