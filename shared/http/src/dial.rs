//! Name resolution and TCP connections, with the errors of Go's `net`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use std::{fmt, io};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::TcpStream;

use crate::public::is_public;

/// A name that could not be resolved; prints as `lookup x on 10.96.0.10:53: no such host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupError {
    host: String,
    server: Option<String>,
    reason: &'static str,
}

impl LookupError {
    fn new(host: &str, error: &io::Error) -> Self {
        // The standard library returns getaddrinfo's errors only as text. `EAI_AGAIN` covers both servers that answer
        // SERVFAIL and servers that do not answer.
        let text = error.to_string();
        let reason = if text.contains("Temporary failure") {
            "server misbehaving"
        } else if text.contains("Non-recoverable") {
            "cannot unmarshal DNS message"
        } else {
            "no such host"
        };
        Self {
            host: host.to_owned(),
            server: name_server(),
            reason,
        }
    }
}

impl LookupError {
    /// Whether it is about this host, rather than a proxy.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        self.host.eq_ignore_ascii_case(host)
    }
}

impl fmt::Display for LookupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lookup {}", self.host)?;
        if let Some(server) = &self.server {
            write!(f, " on {server}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for LookupError {}

/// The first name server of `/etc/resolv.conf`, which Go includes in its errors.
fn name_server() -> Option<String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").ok()?;
    first_name_server(&text)
}

fn first_name_server(text: &str) -> Option<String> {
    let address: IpAddr = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .find_map(|rest| rest.split_whitespace().next()?.parse().ok())?;
    Some(SocketAddr::new(address, 53).to_string())
}

/// The system's resolver, with Go's error texts.
#[derive(Debug)]
pub(crate) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await;
            let found: Vec<SocketAddr> = found
                .map_err(|error| LookupError::new(host, &error))?
                .collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Why a connection failed; prints as Go's `net.OpError`, `dial tcp 127.0.0.1:1: connect: connection refused`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name could not be resolved.
    #[error("dial tcp: {0}")]
    Lookup(LookupError),
    /// No address responded in time.
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(String),
    /// The first address rejected the connection.
    #[error("dial tcp {address}: connect: {reason}")]
    Connect {
        /// Address and port.
        address: SocketAddr,
        /// The system's text.
        reason: String,
    },
}

/// Which hosts a connection may lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Every host.
    Any,
    /// Hosts all of whose addresses are public.
    Public,
}

/// Connects to a host, trying its addresses in turn, within `timeout`.
pub async fn dial(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, DialError> {
    dial_within(host, port, timeout, Reach::Any).await
}

/// As [`dial`], to a host within `reach`; another one does not respond.
pub(crate) async fn dial_within(
    host: &str,
    port: u16,
    timeout: Duration,
    reach: Reach,
) -> Result<TcpStream, DialError> {
    let mut reached = None;
    let connect = async {
        let found = tokio::net::lookup_host((host, port)).await;
        let found = found.map_err(|error| DialError::Lookup(LookupError::new(host, &error)))?;
        let found: Vec<SocketAddr> = found.collect();
        if reach == Reach::Public && !found.iter().all(|address| is_public(address.ip())) {
            return Err(DialError::Timeout(with_port(host, port)));
        }
        let mut first = None;
        for address in found {
            reached.get_or_insert(address);
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    first.get_or_insert(DialError::Connect {
                        address,
                        reason: system_text(&error),
                    });
                }
            }
        }
        Err(first.unwrap_or_else(|| {
            let none = io::Error::other("no addresses");
            DialError::Lookup(LookupError::new(host, &none))
        }))
    };
    let outcome = tokio::time::timeout(timeout, connect).await;
    outcome.unwrap_or_else(|_| {
        let target = reached.map_or_else(|| with_port(host, port), |address| address.to_string());
        Err(DialError::Timeout(target))
    })
}

/// `host:port`, with brackets around an IPv6 address.
pub(crate) fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// The system's text of an error as Go prints it: in lower case and without the number.
pub fn system_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => return "EOF".to_owned(),
        io::ErrorKind::ConnectionRefused => return "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => return "connection reset by peer".to_owned(),
        io::ErrorKind::BrokenPipe => return "broken pipe".to_owned(),
        io::ErrorKind::HostUnreachable => return "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => return "network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => return "connection timed out".to_owned(),
        _ => {}
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "unknown error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn dial_errors_read_as_in_go() {
        let refused = dial("127.0.0.1", 1, Duration::from_secs(5))
            .await
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "dial tcp 127.0.0.1:1: connect: connection refused"
        );
        let unknown = dial("no-such-host.invalid", 443, Duration::from_mins(1))
            .await
            .unwrap_err()
            .to_string();
        assert!(
            unknown.starts_with("dial tcp: lookup no-such-host.invalid")
                && (unknown.ends_with(": no such host")
                    || unknown.ends_with(": server misbehaving")),
            "{unknown}"
        );
        assert_eq!(with_port("::1", 22), "[::1]:22");
        assert_eq!(with_port("git.example.com", 22), "git.example.com:22");
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_names_the_address_that_does_not_answer() {
        // The kernel drops what goes beyond the backlog of a listener that accepts nothing.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let _listener = socket.listen(1).unwrap();
        let mut waiting = Vec::new();
        let error = loop {
            match dial("localhost", port, Duration::from_secs(5)).await {
                Ok(stream) => waiting.push(stream),
                Err(error) => break error,
            }
        };
        // The first address of localhost may be the other one.
        let timeouts =
            ["127.0.0.1", "[::1]"].map(|ip| format!("dial tcp {ip}:{port}: i/o timeout"));
        assert!(timeouts.contains(&error.to_string()), "{error}");
    }

    #[test]
    fn the_first_name_server_is_found() {
        let text = "# made by\nsearch default.svc\n nameserver 10.96.0.10\nnameserver 1.1.1.1\n";
        assert_eq!(first_name_server(text).as_deref(), Some("10.96.0.10:53"));
        assert_eq!(
            first_name_server("nameserver fd00::a").as_deref(),
            Some("[fd00::a]:53")
        );
        assert_eq!(first_name_server("options ndots:5"), None);
    }

    #[test]
    fn lookup_errors_read_as_in_go() {
        let failed = |text: &str| {
            let error = LookupError {
                server: Some("10.96.0.10:53".to_owned()),
                ..LookupError::new("github.com", &io::Error::other(text.to_owned()))
            };
            DialError::Lookup(error).to_string()
        };
        assert_eq!(
            failed("failed to lookup address information: Name or service not known"),
            "dial tcp: lookup github.com on 10.96.0.10:53: no such host"
        );
        assert_eq!(
            failed("failed to lookup address information: Temporary failure in name resolution"),
            "dial tcp: lookup github.com on 10.96.0.10:53: server misbehaving"
        );
    }
}
