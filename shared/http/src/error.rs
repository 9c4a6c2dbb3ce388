//! Request errors with the texts of Go's `net/http` and `crypto/tls`.
//!
//! Alerts are excluded by patterns such as `dial.*tcp.*timeout`, so the texts are upstream's. They are derived from the
//! error types of the libraries below; an error without a specific type is called a transport error instead of quoting
//! the library.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use reqwest::Method;
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use url::Url;

use crate::dial::{DialError, LookupError, Reach, dial_within, system_text, with_port};
use crate::shown_url::shown_url;
use crate::x509::Refusal;

/// The timeout of the probe that finds out why a connection was not ready in time.
const PROBE: Duration = Duration::from_secs(1);

/// Go's text for a context whose time is over.
pub const DEADLINE: &str = "context deadline exceeded";

/// The kind of a [`RequestError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is invalid.
    Build,
    /// A redirect that is not followed.
    Redirect,
    /// No connection: the name is unknown, the connection is refused, or the proxy rejects it.
    Dial,
    /// A timeout.
    Timeout,
    /// The server's certificate is not trusted.
    Untrusted,
    /// The TLS handshake failed for another reason.
    Tls,
    /// The connection ended before the response.
    Lost,
    /// Anything else.
    Other,
}

/// Why a request failed. Prints as Go's `url.Error`: `Get "https://host/path": dial tcp 10.0.0.1:443: i/o timeout`. It
/// contains no library error, so that neither `Display` nor `Debug` can show more than this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestError {
    method: &'static str,
    url: String,
    kind: ErrorKind,
    reason: String,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.url.is_empty() {
            return f.write_str(&self.reason);
        }
        write!(f, "{} \"{}\": {}", self.method, self.url, self.reason)
    }
}

impl Error for RequestError {}

impl RequestError {
    /// The kind of error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The reason, without method and URL.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// A request that could not be built; it has no usable URL.
    pub(crate) fn build(error: &reqwest::Error) -> Self {
        let (url, reason) = match error.url() {
            Some(url) if !matches!(url.scheme(), "http" | "https") => (
                shown_url(url),
                format!("unsupported protocol scheme \"{}\"", url.scheme()),
            ),
            Some(url) => (shown_url(url), "the request is malformed".to_owned()),
            None => (
                String::new(),
                "the request is malformed: its URL or a header cannot be sent".to_owned(),
            ),
        };
        Self {
            method: "Get",
            url,
            kind: ErrorKind::Build,
            reason,
        }
    }

    /// A connection that was lost.
    pub(crate) fn lost(method: &Method, url: &Url) -> Self {
        Self {
            method: operation(method),
            url: shown_url(url),
            kind: ErrorKind::Lost,
            reason: "EOF".to_owned(),
        }
    }

    /// A request that was underway when the time of its caller ended.
    pub fn deadline_exceeded(method: &Method, url: &Url) -> Self {
        Self {
            method: operation(method),
            url: shown_url(url),
            kind: ErrorKind::Timeout,
            reason: DEADLINE.to_owned(),
        }
    }

    /// A request that its caller ended after a time. Neither the query of the URL nor credentials in it are shown.
    pub fn timed_out(method: &Method, uri: &http::Uri) -> Self {
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().map(|port| format!(":{port}"));
        let port = port.unwrap_or_default();
        Self {
            method: operation(method),
            url: match uri.scheme_str() {
                Some(scheme) => format!("{scheme}://{host}{port}{}", uri.path()),
                None => uri.path().to_owned(),
            },
            kind: ErrorKind::Timeout,
            reason: DEADLINE.to_owned(),
        }
    }

    /// What sending a request to a host within `reach` gave.
    pub(crate) async fn new(
        method: &Method,
        url: &Url,
        reach: Reach,
        error: &reqwest::Error,
    ) -> Self {
        let (kind, reason) = if error.is_timeout() && error.is_connect() {
            (ErrorKind::Timeout, connect_timeout(url, reach).await)
        } else {
            reason(url, error)
        };
        Self {
            method: operation(method),
            url: shown_url(url),
            kind,
            reason,
        }
    }
}

/// A method as Go prints it.
fn operation(method: &Method) -> &'static str {
    match *method {
        Method::GET => "Get",
        Method::POST => "Post",
        Method::HEAD => "Head",
        Method::PUT => "Put",
        Method::PATCH => "Patch",
        Method::DELETE => "Delete",
        _ => "Request",
    }
}

/// Why a connection was not ready in time: the address does not respond, or the TLS handshake does not finish. The
/// connector does not report how far it got, so one more connection is tried, which looks the name up again: it may lead
/// elsewhere by then, so the limit on hosts is checked again, too.
async fn connect_timeout(url: &Url, reach: Reach) -> String {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or(80);
    match dial_within(host, port, PROBE, reach).await {
        Ok(_) if url.scheme() == "https" => "net/http: TLS handshake timeout".to_owned(),
        Err(DialError::Timeout(target)) => format!("dial tcp {target}: i/o timeout"),
        Ok(_) | Err(_) => format!("dial tcp {}: i/o timeout", with_port(host, port)),
    }
}

/// An error with all its sources, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| {
        // An I/O error hides the error that it wraps: its source is that error's source.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|cause| cause.downcast_ref())
}

/// Whether the connection ended before any part of the response arrived, as it does if the peer had already closed it.
pub(crate) fn lost_before_answer(error: &reqwest::Error) -> bool {
    if error.is_timeout() || error.is_connect() || error.is_builder() || error.is_redirect() {
        return false;
    }
    causes(error).any(|cause| {
        let hyper = cause.downcast_ref::<hyper::Error>();
        let io = cause.downcast_ref::<io::Error>();
        hyper.is_some_and(|error| {
            error.is_incomplete_message() || error.is_canceled() || error.is_closed()
        }) || io.is_some_and(|error| is_lost(error.kind()))
    })
}

fn is_lost(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
    )
}

fn reason(url: &Url, error: &reqwest::Error) -> (ErrorKind, String) {
    if error.is_redirect() {
        return (ErrorKind::Redirect, "stopped after 10 redirects".to_owned());
    }
    if error.is_builder() {
        let reason = format!("unsupported protocol scheme \"{}\"", url.scheme());
        return (ErrorKind::Build, reason);
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return tls_reason(error);
    }
    if let Some(error) = find::<LookupError>(error) {
        let proxied = if error.is_for(url.host_str().unwrap_or_default()) {
            ""
        } else {
            "proxyconnect tcp: "
        };
        return (ErrorKind::Dial, format!("{proxied}dial tcp: {error}"));
    }
    if let Some(refused) = refused_by_proxy(error) {
        return (ErrorKind::Dial, refused);
    }
    if error.is_timeout() {
        let reason = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
        return (ErrorKind::Timeout, reason.to_owned());
    }
    let io = causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .last();
    if error.is_connect()
        && let Some(io) = io
    {
        return dial_reason(url, error, io);
    }
    if let Some(hyper) = find::<hyper::Error>(error)
        && hyper.is_parse()
    {
        let reason = "net/http: HTTP/1.x transport connection broken: malformed HTTP response";
        return (ErrorKind::Other, reason.to_owned());
    }
    if let Some(io) = io.filter(|io| io.kind() != io::ErrorKind::UnexpectedEof) {
        let host = url.host_str().unwrap_or_default();
        let target = with_port(host, url.port_or_known_default().unwrap_or(80));
        let reason = format!("read tcp {target}: read: {}", system_text(io));
        return (ErrorKind::Lost, reason);
    }
    if lost_before_answer(error) {
        return (ErrorKind::Lost, "EOF".to_owned());
    }
    (
        ErrorKind::Other,
        "net/http: HTTP transport error".to_owned(),
    )
}

/// The text for a refused connection.
fn dial_reason(url: &Url, error: &reqwest::Error, io: &io::Error) -> (ErrorKind, String) {
    if io.kind() == io::ErrorKind::UnexpectedEof {
        return (ErrorKind::Lost, "EOF".to_owned()); // during the handshake
    }
    // The connector knows the address but shows it only in its `Debug` form, `ConnectError("tcp connect error",
    // ADDRESS, ..)`.
    let address = causes(error).find_map(|cause| {
        let shown = format!("{cause:?}");
        let rest = shown.strip_prefix("ConnectError(\"tcp connect error\", ")?;
        rest.split(", ")
            .next()?
            .parse::<std::net::SocketAddr>()
            .ok()
    });
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let text = system_text(io);
    let Some(address) = address else {
        let target = with_port(host, port);
        return (ErrorKind::Lost, format!("read tcp {target}: read: {text}"));
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let elsewhere = address.port() != port
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|wanted| wanted != address.ip());
    let proxied = if elsewhere { "proxyconnect tcp: " } else { "" };
    (
        ErrorKind::Dial,
        format!("{proxied}dial tcp {address}: connect: {text}"),
    )
}

/// A proxy's response to `CONNECT`, if the connector's error is about one.
fn refused_by_proxy(error: &reqwest::Error) -> Option<String> {
    causes(error).find_map(|cause| {
        let text = cause.to_string();
        if let Some(why) = text.strip_prefix("tunnel error: ") {
            return match why {
                "proxy authorization required" => Some("Proxy Authentication Required".to_owned()),
                "unsuccessful" => Some("proxyconnect tcp: the proxy refused CONNECT".to_owned()),
                "unexpected end of file" => Some("proxyconnect tcp: EOF".to_owned()),
                "proxy response headers too long" => {
                    Some("proxyconnect tcp: the answer to CONNECT is too long".to_owned())
                }
                _ => None, // made of another error, which says more
            };
        }
        text.strip_prefix("SOCKS error: ")
            .filter(|why| !why.starts_with("failed to create") && !why.starts_with("io error"))
            .map(|why| format!("socks connect: {why}"))
    })
}

/// The versions and cipher suites of which the server must support one.
const OFFERED: &str = "the client offers TLS 1.2 and 1.3 with ECDHE and AES-GCM or ChaCha20-Poly1305: enable one of these on the server";

fn tls_reason(error: &rustls::Error) -> (ErrorKind, String) {
    use rustls::Error as E;
    let text = match error {
        E::InvalidCertificate(CertificateError::Other(other)) => {
            let refusal = other.0.downcast_ref::<Refusal>();
            let text = refusal.map_or("tls: failed to verify certificate", |refusal| &refusal.0);
            return (ErrorKind::Untrusted, text.to_owned());
        }
        E::InvalidCertificate(CertificateError::BadSignature) => {
            let text = "tls: invalid signature by the server certificate";
            return (ErrorKind::Untrusted, text.to_owned());
        }
        E::InvalidCertificate(_) => {
            return (
                ErrorKind::Untrusted,
                "tls: failed to verify certificate: x509: malformed certificate".to_owned(),
            );
        }
        E::AlertReceived(alert) => {
            let text = format!("remote error: tls: {}", alert_text(*alert));
            match alert {
                AlertDescription::HandshakeFailure
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity => format!("{text} ({OFFERED})"),
                _ => text,
            }
        }
        E::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "http: server gave HTTP response to HTTPS client".to_owned(),
        E::InvalidMessage(_) => "tls: error decoding message".to_owned(),
        E::PeerIncompatible(_) => {
            format!("tls: server selected an unsupported version or parameters ({OFFERED})")
        }
        E::PeerMisbehaved(_)
        | E::InappropriateMessage { .. }
        | E::InappropriateHandshakeMessage { .. } => {
            "tls: received unexpected handshake message".to_owned()
        }
        E::DecryptError => "tls: bad record MAC".to_owned(),
        E::NoCertificatesPresented => "tls: received empty certificates message".to_owned(),
        E::NoApplicationProtocol => "tls: no application protocol in common".to_owned(),
        _ => "tls: handshake failed".to_owned(),
    };
    (ErrorKind::Tls, text)
}

/// Go's names of TLS alerts.
fn alert_text(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let text = match alert {
        A::CloseNotify => "close notify",
        A::UnexpectedMessage => "unexpected message",
        A::BadRecordMac => "bad record MAC",
        A::RecordOverflow => "record overflow",
        A::HandshakeFailure => "handshake failure",
        A::BadCertificate => "bad certificate",
        A::UnsupportedCertificate => "unsupported certificate",
        A::CertificateRevoked => "revoked certificate",
        A::CertificateExpired => "expired certificate",
        A::CertificateUnknown => "unknown certificate",
        A::IllegalParameter => "illegal parameter",
        A::UnknownCA => "unknown certificate authority",
        A::AccessDenied => "access denied",
        A::DecodeError => "error decoding message",
        A::DecryptError => "error decrypting message",
        A::ProtocolVersion => "protocol version not supported",
        A::InsufficientSecurity => "insufficient security level",
        A::InternalError => "internal error",
        A::InappropriateFallback => "inappropriate fallback",
        A::UserCanceled => "user canceled",
        A::NoRenegotiation => "no renegotiation",
        A::MissingExtension => "missing extension",
        A::UnsupportedExtension => "unsupported extension",
        A::UnrecognisedName => "unrecognized name",
        A::BadCertificateStatusResponse => "bad certificate status response",
        A::UnknownPSKIdentity => "unknown PSK identity",
        A::CertificateRequired => "certificate required",
        A::NoApplicationProtocol => "no application protocol",
        other => return format!("alert({})", u8::from(other)),
    };
    text.to_owned()
}

/// Go's text for a failed TLS handshake on a given stream.
pub fn handshake_text(error: &io::Error) -> String {
    match find::<rustls::Error>(error) {
        Some(error) => tls_reason(error).1,
        None => system_text(error),
    }
}

/// Why the rest of a response could not be read; prints as Go's error of reading a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReadError(String);

impl ReadError {
    /// Why the body of a response to a request for `url` could not be read.
    pub fn new(url: &Url, error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            let text = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
            return Self(text.to_owned());
        }
        let io = causes(error)
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .last();
        Self(match io {
            Some(io) if io.kind() != io::ErrorKind::UnexpectedEof => {
                let host = url.host_str().unwrap_or_default();
                let target = with_port(host, url.port_or_known_default().unwrap_or(80));
                format!("read tcp {target}: read: {}", system_text(io))
            }
            _ => "unexpected EOF".to_owned(),
        })
    }
}
