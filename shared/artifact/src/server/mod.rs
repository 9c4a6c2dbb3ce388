//! The artifact server: the store's files over plain HTTP (SC-ART-050).
//!
//! It answers as Go's `http.FileServer` does, on which existing consumers rely: listings of folders, `Last-Modified`, ranges and
//! conditional requests, redirects to the canonical path. Bodies are streamed.

mod body;
mod conditions;
mod listing;
mod range;
mod sniff;

use std::{
    future::Future,
    io,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header},
};
use tokio::{fs::File, io::AsyncReadExt, net::TcpListener, sync::oneshot, time::timeout};

use self::{
    body::{Part, stream},
    conditions::Precondition,
    range::{Range, RangeError},
};
use crate::{AddressError, address::split_host_port};

/// How long open downloads may go on once the server is told to stop (SC-PROC-046).
const GRACE: Duration = Duration::from_secs(5);

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is not `host:port`.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The port is taken, or may not be used.
    #[error("listen tcp {address}")]
    Bind {
        /// The address.
        address: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Listens on `address`, whose host may be empty for every interface.
pub async fn listen(address: &str) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError::Bind {
        address: address.to_owned(),
        source,
    };
    let (host, port) = split_host_port(address)?;
    let port = port.parse::<u16>();
    let port = port.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let bound = if host.is_empty() {
        // Both families, or IPv4 alone where the machine has no other.
        match TcpListener::bind(("::", port)).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                TcpListener::bind(("0.0.0.0", port)).await
            }
            bound => bound,
        }
    } else {
        TcpListener::bind((host, port)).await
    };
    bound.map_err(failed)
}

/// Serves the files below `root` until `stop` is done, then gives open downloads five seconds (RT-ART-013).
pub async fn serve(
    listener: TcpListener,
    root: impl Into<PathBuf>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stopped, stopping) = oneshot::channel();
    let stop = async move {
        stop.await;
        let _ = stopped.send(());
    };
    let serving = axum::serve(listener, router(root)).with_graceful_shutdown(stop);
    let mut serving = pin!(serving.into_future());
    tokio::select! {
        ended = &mut serving => ended,
        _ = stopping => timeout(GRACE, serving).await.unwrap_or(Ok(())),
    }
}

/// The server's routes, for use below another server or in a test.
pub fn router(root: impl Into<PathBuf>) -> Router {
    let root: Arc<Path> = root.into().into();
    Router::new().fallback(answer).with_state(root)
}

async fn answer(State(root): State<Arc<Path>>, request: Request<Body>) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let raw = parts.uri.path();
    let query = parts
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let canonical = clean(raw);
    if canonical != raw {
        return redirect(
            StatusCode::TEMPORARY_REDIRECT,
            &format!("{canonical}{query}"),
        );
    }
    let Some(path) = percent_decode(raw) else {
        return refuse(StatusCode::BAD_REQUEST, "400 Bad Request");
    };
    if path.ends_with("/index.html") {
        return redirect(StatusCode::MOVED_PERMANENTLY, &format!("./{query}"));
    }
    // Cleaned once more: what was encoded may have brought new dots.
    let name = clean(&path);
    let file = root.join(name.trim_matches('/'));
    let is_head = parts.method == Method::HEAD;
    let response = match open(&file).await {
        Ok((handle, found)) => {
            let last = path
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or_default();
            match (found.is_dir(), path.ends_with('/')) {
                (true, false) => {
                    redirect(StatusCode::MOVED_PERMANENTLY, &format!("{last}/{query}"))
                }
                (false, true) => {
                    redirect(StatusCode::MOVED_PERMANENTLY, &format!("../{last}{query}"))
                }
                (true, true) => {
                    serve_folder(&file, modified(&found), &parts.method, &parts.headers).await
                }
                (false, false) => serve_file(handle, &found, &parts.method, &parts.headers).await,
            }
        }
        Err(error) => refuse_for(&error),
    };
    if is_head {
        response.map(|_| Body::empty())
    } else {
        response
    }
}

async fn open(path: &Path) -> io::Result<(File, std::fs::Metadata)> {
    let file = File::open(path).await?;
    let found = file.metadata().await?;
    Ok((file, found))
}

async fn serve_folder(
    dir: &Path,
    modified: Option<SystemTime>,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Body> {
    // As with a file, `index.html` stands for the folder that holds it.
    if let Ok((handle, found)) = open(&dir.join("index.html")).await
        && !found.is_dir()
    {
        return serve_file(handle, &found, method, headers).await;
    }
    if conditions::not_modified_since(method, headers, modified) {
        return not_modified(modified);
    }
    match listing::of(dir).await {
        Ok(page) => {
            let mut response = Response::new(Body::from(page));
            set(
                &mut response,
                header::CONTENT_TYPE,
                "text/html; charset=utf-8",
            );
            set_last_modified(&mut response, modified);
            response
        }
        Err(error) => {
            tracing::error!(dir = %dir.display(), %error, "cannot list an artifact folder");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "Error reading directory")
        }
    }
}

async fn serve_file(
    mut file: File,
    found: &std::fs::Metadata,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Body> {
    let modified = modified(found);
    let range = match conditions::check(method, headers, modified) {
        Precondition::Failed => return empty(StatusCode::PRECONDITION_FAILED),
        Precondition::NotModified => return not_modified(modified),
        Precondition::Proceed { range } => range,
    };
    let kind = match sniff(&mut file).await {
        Ok(kind) => kind,
        Err(error) => return refuse_for(&error),
    };
    let size = found.len();
    let ranges = match range::parse(range, size) {
        Ok(ranges) => ranges,
        // Some clients add a range to every request: an empty file is sent whole.
        Err(RangeError::NoOverlap) if size == 0 => Vec::new(),
        Err(error) => {
            let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE, &error.to_string());
            if error == RangeError::NoOverlap {
                set(
                    &mut response,
                    header::CONTENT_RANGE,
                    &format!("bytes */{size}"),
                );
            }
            return response;
        }
    };
    let mut response = empty(StatusCode::OK);
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    set(&mut response, header::CONTENT_TYPE, kind);
    set_last_modified(&mut response, modified);
    let parts = match ranges.as_slice() {
        [] => vec![Part::File(Range {
            start: 0,
            length: size,
        })],
        [range] => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            set(
                &mut response,
                header::CONTENT_RANGE,
                &range.content_range(size),
            );
            vec![Part::File(*range)]
        }
        ranges => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let boundary = range::boundary(size, modified);
            set(
                &mut response,
                header::CONTENT_TYPE,
                &format!("multipart/byteranges; boundary={boundary}"),
            );
            range::multipart(ranges, &boundary, kind, size)
        }
    };
    let length: u64 = parts.iter().map(Part::len).sum();
    set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    *response.body_mut() = stream(file, parts);
    response
}

async fn sniff(file: &mut File) -> io::Result<&'static str> {
    let mut head = Vec::with_capacity(sniff::LENGTH);
    file.take(sniff::LENGTH as u64)
        .read_to_end(&mut head)
        .await?;
    Ok(sniff::by_content(&head))
}

/// The modification time, unless it is the epoch, which stands for none.
fn modified(found: &std::fs::Metadata) -> Option<SystemTime> {
    found.modified().ok().filter(|time| *time != UNIX_EPOCH)
}

/// Cleans a path of `.`, `..` and doubled slashes; a slash at its end stays.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut cleaned = format!("/{}", parts.join("/"));
    // As Go's server, which takes the text at its word: only a written slash counts, not a dot behind one.
    if path.ends_with('/') && cleaned != "/" {
        cleaned.push('/');
    }
    cleaned
}

fn percent_decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte == b'%' {
            let (digits, tail) = rest.split_at_checked(2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = tail;
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|path| !path.contains('\0'))
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn redirect(status: StatusCode, to: &str) -> Response<Body> {
    let mut response = empty(status);
    set(&mut response, header::LOCATION, to);
    response
}

fn not_modified(modified: Option<SystemTime>) -> Response<Body> {
    let mut response = empty(StatusCode::NOT_MODIFIED);
    set_last_modified(&mut response, modified);
    response
}

fn refuse(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    set(
        &mut response,
        header::CONTENT_TYPE,
        "text/plain; charset=utf-8",
    );
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

fn refuse_for(error: &io::Error) -> Response<Body> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            refuse(StatusCode::NOT_FOUND, "404 page not found")
        }
        io::ErrorKind::PermissionDenied => refuse(StatusCode::FORBIDDEN, "403 Forbidden"),
        _ => refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "500 Internal Server Error",
        ),
    }
}

fn set_last_modified(response: &mut Response<Body>, modified: Option<SystemTime>) {
    if let Some(modified) = modified {
        set(
            response,
            header::LAST_MODIFIED,
            &httpdate::fmt_http_date(modified),
        );
    }
}

fn set(response: &mut Response<Body>, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
