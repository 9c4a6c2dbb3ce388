//! The server's connections: how many are open, and how long each may be inactive.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::body::Body;
use super::stall::Stalling;

/// How long open downloads may continue after the server was stopped (SC-PROC-046).
const GRACE: Duration = Duration::from_secs(5);

/// The most concurrent connections, if the process may have enough descriptors.
const CONNECTIONS: usize = 1024;

/// The descriptors of a connection: its socket and the file that it is sent. As many again are left for the rest of the
/// process.
const DESCRIPTORS: usize = 4;

/// How much of a request's head, and of a response, is buffered for a connection.
const BUFFER: usize = 16 * 1024;

/// Limits on what clients may use of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most concurrent connections. A further one closes the connection that has been inactive for the longest
    /// time.
    pub connections: usize,
    /// How long the head of a request may take to arrive, also on a kept-alive connection.
    pub header: Duration,
    /// How long a client may read nothing of a response.
    pub stall: Duration,
}

impl Default for Limits {
    /// A thousand connections, or half of what the process's descriptor limit allows; a minute for a request, half a
    /// minute for a client that reads nothing.
    fn default() -> Self {
        let descriptors = descriptors().unwrap_or(CONNECTIONS * DESCRIPTORS);
        Self {
            connections: CONNECTIONS.min(descriptors / DESCRIPTORS).max(1),
            header: Duration::from_mins(1),
            stall: Duration::from_secs(30),
        }
    }
}

/// The limit of open descriptors of the process.
fn descriptors() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Answers requests until `stop` resolves, then gives open responses five seconds (RT-ART-013).
pub(super) async fn run<A, F>(
    listener: TcpListener,
    limits: Limits,
    answer: A,
    stop: impl Future<Output = ()>,
) where
    A: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let open = Arc::new(Open::new());
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (stopping, is_stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let stream = tokio::select! {
            stream = accept(&listener, &open) => stream,
            Some(_) = tasks.join_next(), if !tasks.is_empty() => continue,
            () = &mut stop => break,
        };
        if slots.available_permits() == 0 {
            open.close_least_active();
        }
        let slot = tokio::select! {
            slot = slots.clone().acquire_owned() => slot,
            () = &mut stop => break,
        };
        let (number, activity, closed) = open.enter();
        let (open, answer, is_stopping) = (open.clone(), answer.clone(), is_stopping.clone());
        tasks.spawn(async move {
            let _slot = slot;
            tokio::select! {
                () = converse(stream, limits, &activity, answer, is_stopping) => {}
                _ = closed => tracing::debug!("closed an inactive connection in favor of a new one"),
            }
            open.leave(number);
        });
    }
    drop(listener);
    let _ = stopping.send(true);
    let ended = async { while tasks.join_next().await.is_some() {} };
    let _ = timeout(GRACE, ended).await;
}

/// Accepts the next connection.
async fn accept(listener: &TcpListener, open: &Open) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                // Most likely the descriptors are exhausted: free one.
                tracing::error!(%error, "cannot accept a connection to the artifact server");
                open.close_least_active();
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// Answers the requests of one connection.
async fn converse<A, F>(
    stream: TcpStream,
    limits: Limits,
    activity: &Arc<Activity>,
    answer: A,
    mut stopping: watch::Receiver<bool>,
) where
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let io = TokioIo::new(Stalling::new(stream, limits.stall, activity.clone()));
    let service = service_fn(|request| {
        activity.note();
        let answering = answer(request);
        async { Ok::<_, Infallible>(answering.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(BUFFER)
        // A client that has closed its side may still read, as with Go's server.
        .half_close(true)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stops(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "lost a connection to the artifact server");
    }
}

async fn stops(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// When a connection was last active: a request arrived, or the client read a part of a response.
pub(super) struct Activity {
    started: Instant,
    /// In milliseconds since the start.
    last: AtomicU64,
}

impl Activity {
    pub(super) fn note(&self) {
        let elapsed = self.started.elapsed().as_millis();
        self.last
            .store(elapsed.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// The open connections.
struct Open {
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    connections: HashMap<u64, (Arc<Activity>, oneshot::Sender<()>)>,
}

impl Open {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a new connection. The receiver resolves when it has to be closed.
    fn enter(&self) -> (u64, Arc<Activity>, oneshot::Receiver<()>) {
        let activity = Arc::new(Activity {
            started: self.started,
            last: AtomicU64::default(),
        });
        activity.note();
        let (close, closed) = oneshot::channel();
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        state.connections.insert(number, (activity.clone(), close));
        (number, activity, closed)
    }

    fn leave(&self, number: u64) {
        self.state().connections.remove(&number);
    }

    fn close_least_active(&self) {
        let mut state = self.state();
        let least = state
            .connections
            .iter()
            .min_by_key(|(number, (activity, _))| (activity.last.load(Ordering::Relaxed), **number))
            .map(|(number, _)| *number);
        if let Some((_, close)) = least.and_then(|number| state.connections.remove(&number)) {
            let _ = close.send(());
        }
    }
}
