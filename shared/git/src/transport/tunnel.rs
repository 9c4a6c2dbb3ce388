//! TCP connections for SSH, direct or through a proxy (SC-GIT-127).

use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use flux_http::{
    Proxy, ProxyEnvironment, ProxyScheme, ProxyUrl, Secret, TlsSettings, handshake_text,
    system_text,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::error::Fault;

/// A bidirectional byte stream.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The maximum length of the response to `CONNECT`, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// Connects to `host:port`.
pub(super) async fn connect(
    proxy: &Proxy,
    host: &str,
    port: u16,
    timeout: Duration,
) -> Result<Pin<Box<dyn Stream>>, Fault> {
    let environment;
    let proxy = match proxy {
        Proxy::None => None,
        Proxy::Url(proxy) => Some(proxy),
        Proxy::Environment => {
            environment = ProxyEnvironment::from_process();
            environment.proxy_for_tcp(host, port)
        }
    };
    let Some(proxy) = proxy else {
        return Ok(Box::pin(dial(host, port, timeout).await?));
    };
    let (proxy_host, proxy_port) = proxy.host_and_port();
    let tcp = dial(&proxy_host, proxy_port, timeout)
        .await
        .map_err(|fault| Fault::Connection(format!("proxyconnect tcp: {fault}")))?;
    match proxy.scheme() {
        ProxyScheme::Socks5 => Ok(Box::pin(socks5(tcp, proxy, host, port).await?)),
        ProxyScheme::Http => Ok(Box::pin(http_connect(tcp, proxy, host, port).await?)),
        ProxyScheme::Https => {
            let tls = tls(tcp, &proxy_host).await?;
            Ok(Box::pin(http_connect(tls, proxy, host, port).await?))
        }
    }
}

async fn dial(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, Fault> {
    let stream = flux_http::dial(host, port, timeout)
        .await
        .map_err(|error| Fault::Connection(error.to_string()))?;
    // The protocol is a dialogue of small messages; on failure it is only slower.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn tls(tcp: TcpStream, host: &str) -> Result<impl Stream + use<>, Fault> {
    let failed = |why: &str| Fault::Connection(format!("proxyconnect tcp: {why}"));
    let config = TlsSettings::default()
        .client_config()
        .map_err(|error| failed(&error.to_string()))?;
    let name = rustls::pki_types::ServerName::try_from(host.to_owned())
        .map_err(|_| failed("the proxy's host is not a valid name"))?;
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    connector
        .connect(name, tcp)
        .await
        .map_err(|error| failed(&handshake_text(&error)))
}

async fn http_connect<S: Stream>(
    mut stream: S,
    proxy: &ProxyUrl,
    host: &str,
    port: u16,
) -> Result<S, Fault> {
    let failed = |error: std::io::Error| {
        Fault::Connection(format!("proxyconnect tcp: {}", system_text(&error)))
    };
    let bracketed = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let mut request =
        format!("CONNECT {bracketed}:{port} HTTP/1.1\r\nHost: {bracketed}:{port}\r\n").into_bytes();
    if let Some(username) = proxy.username() {
        let mut pair = format!("{username}:").into_bytes();
        pair.extend_from_slice(proxy.password().map(Secret::expose).unwrap_or_default());
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        request.extend_from_slice(format!("Proxy-Authorization: Basic {pair}\r\n").as_bytes());
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(failed)?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the head belongs to the tunnel.
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() >= MAX_ANSWER {
            return Err(Fault::Connection(
                "proxyconnect tcp: the answer to CONNECT is too long".to_owned(),
            ));
        }
        answer.push(stream.read_u8().await.map_err(failed)?);
    }
    // Only the status of the response is shown: a proxy may echo credentials.
    let line = String::from_utf8_lossy(&answer);
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|code| reqwest::StatusCode::from_bytes(code.as_bytes()).ok());
    match status {
        Some(status) if status == reqwest::StatusCode::OK => Ok(stream),
        Some(status) => Err(Fault::Connection(format!("proxyconnect tcp: {status}"))),
        None => Err(Fault::Connection(
            "proxyconnect tcp: malformed HTTP response".to_owned(),
        )),
    }
}

/// RFC 1928 with RFC 1929; the proxy resolves names.
async fn socks5<S: Stream>(
    mut stream: S,
    proxy: &ProxyUrl,
    host: &str,
    port: u16,
) -> Result<S, Fault> {
    let failed = |error: std::io::Error| {
        Fault::Connection(format!("socks connect: {}", system_text(&error)))
    };
    let refused = |what: &str| Fault::Connection(format!("socks connect: {what}"));
    let username = proxy.username();
    let methods: &[u8] = if username.is_some() {
        &[5, 2, 0, 2]
    } else {
        &[5, 1, 0]
    };
    stream.write_all(methods).await.map_err(failed)?;
    let mut choice = [0; 2];
    stream.read_exact(&mut choice).await.map_err(failed)?;
    match (choice, username) {
        ([5, 0], _) => {}
        ([5, 2], Some(username)) => {
            let password = proxy.password().map(Secret::expose).unwrap_or_default();
            let (Ok(user_length), Ok(password_length)) =
                (u8::try_from(username.len()), u8::try_from(password.len()))
            else {
                return Err(refused("user name or password is too long"));
            };
            let mut message = vec![1, user_length];
            message.extend_from_slice(username.as_bytes());
            message.push(password_length);
            message.extend_from_slice(password);
            stream.write_all(&message).await.map_err(failed)?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await.map_err(failed)?;
            if answer[1] != 0 {
                return Err(refused("username/password authentication failed"));
            }
        }
        _ => return Err(refused("no acceptable authentication methods")),
    }
    let mut request = vec![5, 1, 0];
    match host.parse() {
        Ok(std::net::IpAddr::V4(address)) => {
            request.push(1);
            request.extend_from_slice(&address.octets());
        }
        Ok(std::net::IpAddr::V6(address)) => {
            request.push(4);
            request.extend_from_slice(&address.octets());
        }
        Err(_) => {
            let length = u8::try_from(host.len()).map_err(|_| refused("host name is too long"))?;
            request.extend([3, length]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    stream.write_all(&request).await.map_err(failed)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.map_err(failed)?;
    if answer[1] != 0 {
        return Err(refused(match answer[1] {
            1 => "general SOCKS server failure",
            2 => "connection not allowed by ruleset",
            3 => "network unreachable",
            4 => "host unreachable",
            5 => "connection refused",
            6 => "TTL expired",
            _ => "the proxy refused the request",
        }));
    }
    let skip = match answer[3] {
        1 => 4,
        4 => 16,
        3 => usize::from(stream.read_u8().await.map_err(failed)?),
        _ => return Err(refused("unknown address type")),
    };
    let mut bound = vec![0; skip + 2];
    stream.read_exact(&mut bound).await.map_err(failed)?;
    Ok(stream)
}

/// Takes `input` as what an HTTP and a SOCKS proxy send, with and without credentials, and returns what they leave for
/// the connection; `None` where they refuse it.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) async fn through_proxies(input: &[u8]) -> [Option<&[u8]>; 3] {
    let proxy = |address: &str| ProxyUrl::parse(address).unwrap_or_else(|error| panic!("{error}"));
    let stream = || tokio::io::join(input, tokio::io::sink());
    let rest = |stream: Result<tokio::io::Join<_, _>, Fault>| stream.ok().map(|s| s.into_inner().0);
    [
        rest(http_connect(stream(), &proxy("http://p:3128"), "host", 22).await),
        rest(socks5(stream(), &proxy("socks5://p:1080"), "host", 22).await),
        rest(socks5(stream(), &proxy("socks5://u:p@p:1080"), "::1", 22).await),
    ]
}
