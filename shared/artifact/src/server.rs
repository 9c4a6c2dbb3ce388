//! The artifact server: serves the store's files over plain HTTP (SC-ART-050).
//!
//! It answers as Go's `http.FileServer` does, on which existing consumers rely: folder listings, `Last-Modified`,
//! ranges and conditional requests, redirects to the canonical path. Bodies are streamed, and [`Limits`] bound the
//! resources that clients can hold.

mod body;
mod conditions;
mod connections;
mod listing;
mod range;
mod sniff;
mod stall;

use std::fs::{File, Metadata};
use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Body as _;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

use self::body::{Body, Part, stream};
use self::conditions::Precondition;
pub use self::connections::Limits;
use self::range::{Range, RangeError};
use crate::AddressError;
use crate::address::split_host_port;

/// Why the server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is not `host:port`.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The port is in use, or the process may not use it.
    #[error("listen tcp {address}")]
    Bind {
        /// The address.
        address: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// Listens on `address`; an empty host means every interface.
pub async fn listen(address: &str) -> Result<TcpListener, ListenError> {
    let failed = |source| ListenError::Bind {
        address: address.to_owned(),
        source,
    };
    let (host, port) = split_host_port(address)?;
    let port = port.parse::<u16>();
    let port = port.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
    let bound = if host.is_empty() {
        // Both address families, or IPv4 alone if the machine has no IPv6.
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

/// Serves the files below `root` until `stop` resolves, then gives open downloads five seconds (RT-ART-013).
pub async fn serve(
    listener: TcpListener,
    root: impl Into<PathBuf>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let root: Arc<Path> = root.into().into();
    let respond = move |request: Request<_>| {
        let root = root.clone();
        async move {
            let (head, _) = request.into_parts();
            match refuse_hosts(&head) {
                Some(refusal) => refusal,
                None => answer(&root, &head).await,
            }
        }
    };
    connections::run(listener, limits, respond, stop).await;
}

/// Refuses a request with a wrong number of hosts: HTTP/1.1 requires exactly one (RFC 9112, section 3.2), HTTP/1.0 at
/// most one.
fn refuse_hosts(head: &http::request::Parts) -> Option<Response<Body>> {
    let hosts = head.headers.get_all(header::HOST);
    let problem = match hosts.iter().count() {
        0 if head.version == Version::HTTP_11 => ": missing required Host header",
        0 => return None,
        1 if hosts.iter().all(is_host) => return None,
        1 => ": malformed Host header",
        _ => "",
    };
    let mut response = Response::new(body::text(format!("400 Bad Request{problem}")));
    *response.status_mut() = StatusCode::BAD_REQUEST;
    let kind = "text/plain; charset=utf-8";
    set(&mut response, header::CONTENT_TYPE, kind);
    set(&mut response, header::CONNECTION, "close");
    Some(response)
}

/// Whether a value has only characters that Go allows in a host.
fn is_host(value: &HeaderValue) -> bool {
    value
        .as_bytes()
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"!$%&'()*+,-.:;=[]_~".contains(byte))
}

async fn answer(root: &Path, parts: &http::request::Parts) -> Response<Body> {
    let raw = parts.uri.path();
    let query = parts
        .uri
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let canonical = clean(raw);
    if canonical != raw {
        return moved(&parts.method, &format!("{canonical}{query}"));
    }
    let Some(path) = percent_decode(raw) else {
        return refuse(StatusCode::BAD_REQUEST, "400 Bad Request");
    };
    if path.ends_with("/index.html") {
        return redirect(StatusCode::MOVED_PERMANENTLY, &format!("./{query}"));
    }
    // Cleaned again: decoding may have revealed new dots.
    let name = clean(&path);
    let file = root.join(name.trim_matches('/'));
    let is_head = parts.method == Method::HEAD;
    let response = match open(file.clone()).await {
        Ok(found) => {
            let last = path
                .trim_end_matches('/')
                .rsplit('/')
                .next()
                .unwrap_or_default();
            match (found.metadata.is_dir(), path.ends_with('/')) {
                (true, false) => {
                    redirect(StatusCode::MOVED_PERMANENTLY, &format!("{last}/{query}"))
                }
                (false, true) => {
                    redirect(StatusCode::MOVED_PERMANENTLY, &format!("../{last}{query}"))
                }
                (true, true) => {
                    let modified = modified(&found.metadata);
                    serve_folder(file, modified, &parts.method, &parts.headers).await
                }
                (false, false) => serve_file(found, &parts.method, &parts.headers),
            }
        }
        Err(error) => refuse_for(&error),
    };
    if is_head {
        without_body(response)
    } else {
        response
    }
}

/// The same response for HEAD, with the length of the body.
fn without_body(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    if let Some(length) = length.filter(|length| *length > 0) {
        set(&mut response, header::CONTENT_LENGTH, &length.to_string());
    }
    response.map(|_| body::empty())
}

/// A file or folder that is open.
struct Opened {
    file: Arc<File>,
    metadata: Metadata,
    /// Its content type.
    kind: &'static str,
}

async fn open(path: PathBuf) -> io::Result<Opened> {
    let opening = spawn_blocking(move || {
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        let mut head = Vec::with_capacity(sniff::LENGTH);
        if !metadata.is_dir() {
            (&file).take(sniff::LENGTH as u64).read_to_end(&mut head)?;
        }
        Ok(Opened {
            file: Arc::new(file),
            metadata,
            kind: sniff::by_name(&path).unwrap_or_else(|| sniff::by_content(&head)),
        })
    });
    opening.await.map_err(io::Error::other)?
}

async fn serve_folder(
    dir: PathBuf,
    modified: Option<SystemTime>,
    method: &Method,
    headers: &HeaderMap,
) -> Response<Body> {
    // As for a file, `index.html` represents the folder that contains it.
    if let Ok(found) = open(dir.join("index.html")).await
        && !found.metadata.is_dir()
    {
        return serve_file(found, method, headers);
    }
    if conditions::not_modified_since(method, headers, modified) {
        return empty(StatusCode::NOT_MODIFIED);
    }
    let listed = spawn_blocking(move || listing::of(&dir)).await;
    match listed.map_err(io::Error::other).flatten() {
        Ok(page) => {
            let mut response = Response::new(body::text(page));
            set(
                &mut response,
                header::CONTENT_TYPE,
                "text/html; charset=utf-8",
            );
            set_last_modified(&mut response, modified);
            response
        }
        Err(error) => {
            tracing::error!(%error, "cannot list an artifact folder");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "Error reading directory")
        }
    }
}

fn serve_file(found: Opened, method: &Method, headers: &HeaderMap) -> Response<Body> {
    let modified = modified(&found.metadata);
    let range = match conditions::check(method, headers, modified) {
        Precondition::Failed => return unsent(StatusCode::PRECONDITION_FAILED, modified),
        Precondition::NotModified => return unsent(StatusCode::NOT_MODIFIED, modified),
        Precondition::Proceed { range } => range,
    };
    let (kind, size) = (found.kind, found.metadata.len());
    let ranges = match range::parse(range, size) {
        Ok(ranges) => ranges,
        // Some clients add a range to every request: an empty file is sent as a whole.
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
    *response.body_mut() = stream(found.file, parts);
    response
}

/// The modification time, unless it is the epoch, which means that it is unknown.
fn modified(found: &Metadata) -> Option<SystemTime> {
    found.modified().ok().filter(|time| *time != UNIX_EPOCH)
}

/// Removes `.`, `..` and repeated slashes from a path; a trailing slash is kept.
fn clean(path: &str) -> String {
    let mut cleaned = flux_golang::path::clean(format!("/{path}").as_str());
    // As in Go's server: only a written slash counts, not one that a trailing dot implies.
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
    let mut response = Response::new(body::empty());
    *response.status_mut() = status;
    response
}

/// The redirect to the canonical path, with the page of Go's router.
fn moved(method: &Method, to: &str) -> Response<Body> {
    let mut response = redirect(StatusCode::TEMPORARY_REDIRECT, to);
    if matches!(*method, Method::GET | Method::HEAD) {
        let kind = "text/html; charset=utf-8";
        set(&mut response, header::CONTENT_TYPE, kind);
    }
    if *method == Method::GET {
        let link = listing::html(to);
        let page = format!("<a href=\"{link}\">Temporary Redirect</a>.\n\n");
        *response.body_mut() = body::text(page);
    }
    response
}

fn redirect(status: StatusCode, to: &str) -> Response<Body> {
    let mut response = empty(status);
    set(&mut response, header::LOCATION, to);
    response
}

/// A response without the file.
fn unsent(status: StatusCode, modified: Option<SystemTime>) -> Response<Body> {
    let mut response = empty(status);
    set_last_modified(&mut response, modified);
    response
}

fn refuse(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(body::text(format!("{text}\n")));
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
