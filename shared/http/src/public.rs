//! Documents at addresses that a tenant chose: from public hosts only, within bounds of time and size.
//!
//! Controllers run in a cluster's network. An address that an untrusted text names must not let that text reach what
//! the network keeps for its own: the loopback, link-local addresses (metadata services of clouds), private ranges. Names are
//! judged by what they resolve to, in the lookup that the connection is made with, and each redirect anew.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::LOCATION;
use reqwest::{Client, Response, StatusCode};
use url::{Host, Url};

use crate::body::{BodyError, read_body};
use crate::client::{BuildError, ClientOptions, Redirects};
use crate::dial::{Reach, Resolver};
use crate::environment::ProxyEnvironment;
use crate::error::RequestError;
use crate::proxy::Proxy;
use crate::request::{Repeat, send_within};

/// As many redirects as Go's client follows.
const MAX_REDIRECTS: usize = 10;

/// How documents at such addresses are fetched.
///
/// ```
/// # async fn example(url: url::Url) -> Result<(), flux_http::PublicError> {
/// use flux_http::PublicFetch;
///
/// let fetch = PublicFetch { limit: 1024 * 1024, ..PublicFetch::default() };
/// let text = fetch.get(&url).await?;
/// # let _ = text; Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct PublicFetch {
    /// Bound of the whole fetch, redirects and body included.
    pub timeout: Duration,
    /// The most bytes of the document.
    pub limit: usize,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Whether hosts that are not public are allowed.
    pub allow_private: bool,
    /// How requests leave. A name that goes to a proxy is resolved by the proxy; it is refused if it resolves here, too, and
    /// to an address that is not public.
    pub proxy: Proxy,
}

impl Default for PublicFetch {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            limit: 5 * 1024 * 1024,
            user_agent: None,
            allow_private: false,
            proxy: Proxy::default(),
        }
    }
}

/// Why a document could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublicError {
    /// The client cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The host is not public.
    #[error("host {host} is loopback, link-local or private ({address})")]
    Private {
        /// The host of the address, or of a redirect.
        host: String,
        /// What it is or resolves to.
        address: IpAddr,
    },
    /// There is no response.
    #[error(transparent)]
    Request(RequestError),
    /// The time is over before there is an answer.
    #[error("context deadline exceeded")]
    Timeout,
    /// A redirect leads to something that is not an address of HTTP.
    #[error("the redirect leads nowhere")]
    Location,
    /// Redirects lead to redirects.
    #[error("stopped after {MAX_REDIRECTS} redirects")]
    Redirects,
    /// The answer is not a document.
    #[error("status {} ({})", .0.as_u16(), .0.canonical_reason().unwrap_or_default())]
    Status(StatusCode),
    /// The document cannot be read, or is too large.
    #[error(transparent)]
    Body(BodyError),
}

impl PublicFetch {
    /// Fetches the document at an `http` or `https` address.
    ///
    /// # Errors
    /// [`PublicError`]
    pub async fn get(&self, url: &Url) -> Result<Bytes, PublicError> {
        let fetched = tokio::time::timeout(self.timeout, self.follow(url.clone())).await;
        fetched.unwrap_or(Err(PublicError::Timeout))
    }

    async fn follow(&self, mut url: Url) -> Result<Bytes, PublicError> {
        let start = Instant::now();
        for _ in 0..=MAX_REDIRECTS {
            let left = self.timeout.saturating_sub(start.elapsed());
            let response = self.request(&url, left).await?;
            let status = response.status();
            let location = response.headers().get(LOCATION);
            if let Some(location) = location.filter(|_| status.is_redirection()) {
                let location = location.to_str().ok();
                let next = location.and_then(|location| url.join(location).ok());
                let next = next.filter(|next| matches!(next.scheme(), "http" | "https"));
                url = next.ok_or(PublicError::Location)?;
                continue;
            }
            if status != StatusCode::OK {
                return Err(PublicError::Status(status));
            }
            let body = read_body(response, self.limit).await;
            return body.map_err(PublicError::Body);
        }
        Err(PublicError::Redirects)
    }

    async fn request(&self, url: &Url, timeout: Duration) -> Result<Response, PublicError> {
        let options = ClientOptions {
            proxy: self.proxy.clone(),
            redirects: Redirects::Refuse,
            timeout: Some(timeout),
            user_agent: self.user_agent.clone(),
            idle_connections: 0,
            ..ClientOptions::default()
        };
        if self.allow_private {
            let sent = self.send(&options.build()?, url).await;
            return sent.map_err(PublicError::Request);
        }
        let private = |address| PublicError::Private {
            host: url.host_str().unwrap_or_default().to_owned(),
            address,
        };
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        if let Some(address) = literal.filter(|address| !is_public(*address)) {
            return Err(private(address));
        }
        if self.is_proxied(url) {
            if let Some(Host::Domain(host)) = url.host()
                && let Ok(found) = tokio::net::lookup_host((host, 0)).await
                && let Some(address) = not_public(found)
            {
                return Err(private(address));
            }
            let sent = self.send(&options.build()?, url).await;
            return sent.map_err(PublicError::Request);
        }
        let options = ClientOptions {
            proxy: Proxy::None,
            ..options
        };
        let resolver = PublicResolver::default();
        let refused = Arc::clone(&resolver.refused);
        let client = options.build_resolving(Arc::new(resolver))?;
        let sent = self.send(&client, url).await;
        sent.map_err(|error| match refused.get() {
            Some(address) => private(*address),
            None => PublicError::Request(error),
        })
    }

    async fn send(&self, client: &Client, url: &Url) -> Result<Response, RequestError> {
        let reach = if self.allow_private {
            Reach::Any
        } else {
            Reach::Public
        };
        send_within(client.get(url.clone()), Repeat::Idempotent, reach).await
    }

    fn is_proxied(&self, url: &Url) -> bool {
        match &self.proxy {
            Proxy::None => false,
            Proxy::Url(_) => true,
            Proxy::Environment => ProxyEnvironment::from_process().proxy_for(url).is_some(),
        }
    }
}

/// The system's resolver, which gives no address if one of them is not public, and remembers that one.
#[derive(Debug, Default)]
struct PublicResolver {
    refused: Arc<OnceLock<IpAddr>>,
}

impl Resolve for PublicResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let refused = Arc::clone(&self.refused);
        Box::pin(async move {
            let found: Vec<SocketAddr> = Resolver.resolve(name).await?.collect();
            match not_public(found.iter().copied()) {
                None => Ok(Box::new(found.into_iter()) as Addrs),
                Some(address) => {
                    let _ = refused.set(address);
                    Err("the address is not public".into())
                }
            }
        })
    }
}

fn not_public(found: impl IntoIterator<Item = SocketAddr>) -> Option<IpAddr> {
    let mut addresses = found.into_iter().map(|found| found.ip());
    addresses.find(|address| !is_public(*address))
}

/// The metadata service of AWS over IPv6, which is in a private range.
const AWS_METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x254);

/// Whether an address is one that no server of others has: it is link-local, as the metadata service of a cloud is,
/// unspecified or multicast.
pub fn is_link_local(address: IpAddr) -> bool {
    let linked = match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local() || address == AWS_METADATA,
    };
    linked || address.to_canonical().is_unspecified() || address.to_canonical().is_multicast()
}

/// Whether the host of a URL is a link-local address.
pub(crate) fn is_at_link_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_link_local(address.into()),
        Some(Host::Ipv6(address)) => is_link_local(address.into()),
        Some(Host::Domain(_)) | None => false,
    }
}

/// A resolver that gives no link-local address.
#[derive(Debug)]
pub(crate) struct RoutedResolver<R>(pub(crate) R);

impl<R: Resolve> Resolve for RoutedResolver<R> {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.0.resolve(name);
        Box::pin(async move {
            let found: Vec<SocketAddr> = found.await?.collect();
            if found.iter().any(|address| is_link_local(address.ip())) {
                return Err("the address is link-local".into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address belongs to the public Internet: it is not loopback, link-local, private, shared, multicast or reserved,
/// and does not lead to such an address of IPv4.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmarks = a == 198 && matches!(b, 18 | 19);
    !(address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || shared
        || protocols
        || benchmarks
        || a == 0
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let within = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Unspecified, loopback, and addresses of IPv4 written as ones of IPv6, translated by NAT64 (RFC 6052) or reached by
        // 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => within(high, low),
        // NAT64 of a network's own (RFC 8215), Teredo, documentation.
        [0x64, 0xff9b, ..] | [0x2001, 0 | 0xdb8, ..] | [0x3fff, ..] => false,
        // Only this block is given out; unique-local, link-local, site-local and multicast addresses lie elsewhere.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests;
