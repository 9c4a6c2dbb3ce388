//! `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, read as Go's `net/http` reads them.

use std::net::IpAddr;

use url::{Host, Url};

use crate::proxy::{ProxyScheme, ProxyUrl};

/// The proxy variables of the environment.
///
/// Upper case takes precedence over lower case. Requests to `localhost` and loopback addresses never use a proxy.
#[derive(Debug, Clone, Default)]
pub struct ProxyEnvironment {
    http: Option<ProxyUrl>,
    https: Option<ProxyUrl>,
    all: Option<ProxyUrl>,
    except: Vec<Exception>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Exception {
    All,
    Network {
        address: IpAddr,
        prefix: u32,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
    /// A name, and whether it matches itself as well as its subdomains.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl ProxyEnvironment {
    /// Reads the variables of this process.
    pub fn from_process() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`. A value that is not a proxy address counts as unset.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let either = |upper: &str| {
            let found = lookup(upper).filter(|value| !value.is_empty());
            found
                .or_else(|| lookup(&upper.to_lowercase()))
                .filter(|value| !value.is_empty())
        };
        let proxy = |name: &str| {
            let value = either(name)?;
            ProxyUrl::parse(&value)
                .or_else(|_| ProxyUrl::parse(&format!("http://{value}")))
                .ok()
        };
        let except = either("NO_PROXY").unwrap_or_default();
        Self {
            http: proxy("HTTP_PROXY"),
            https: proxy("HTTPS_PROXY"),
            all: either("ALL_PROXY").and_then(|value| ProxyUrl::parse(&value).ok()),
            except: except.split(',').filter_map(Exception::parse).collect(),
        }
    }

    /// The proxy for a plain TCP connection, such as SSH: `ALL_PROXY`, if it is a SOCKS proxy.
    pub fn proxy_for_tcp(&self, host: &str, port: u16) -> Option<&ProxyUrl> {
        let proxy = self
            .all
            .as_ref()
            .filter(|proxy| proxy.scheme() == ProxyScheme::Socks5)?;
        let address = host.parse::<IpAddr>().ok();
        let excepted = self
            .except
            .iter()
            .any(|entry| entry.covers(&host.to_lowercase(), address, Some(port)));
        (!excepted).then_some(proxy)
    }

    /// Whether no proxy is set.
    pub fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// The proxy for a request to `url`.
    pub fn proxy_for(&self, url: &Url) -> Option<&ProxyUrl> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        let port = url.port_or_known_default();
        let (name, address) = match url.host()? {
            Host::Domain(name) => (name.to_lowercase(), name.parse::<IpAddr>().ok()),
            Host::Ipv4(address) => (address.to_string(), Some(address.into())),
            Host::Ipv6(address) => (address.to_string(), Some(address.into())),
        };
        if name == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return None;
        }
        let excepted = self
            .except
            .iter()
            .any(|exception| exception.covers(&name, address, port));
        (!excepted).then_some(proxy)
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.trim().to_lowercase();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((address, prefix)) = entry.split_once('/')
            && let (Ok(address), Ok(prefix)) = (address.parse::<IpAddr>(), prefix.parse::<u32>())
        {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            return (prefix <= bits).then_some(Self::Network { address, prefix });
        }
        let (host, port) = match entry.rsplit_once(':') {
            Some((host, port))
                if entry.parse::<IpAddr>().is_err() && port.parse::<u16>().is_ok() =>
            {
                (
                    host.trim_start_matches('[').trim_end_matches(']'),
                    port.parse().ok(),
                )
            }
            _ => (entry.trim_start_matches('[').trim_end_matches(']'), None),
        };
        if let Ok(address) = host.parse() {
            return Some(Self::Address { address, port });
        }
        if host.is_empty() {
            return None;
        }
        // `*.example.com` and `.example.com` match the subdomains, `example.com` matches itself, too.
        let host = host
            .strip_prefix('*')
            .filter(|rest| rest.starts_with('.'))
            .unwrap_or(host);
        let (name, itself) = match host.strip_prefix('.') {
            Some(name) => (name, false),
            None => (host, true),
        };
        Some(Self::Domain {
            name: name.to_owned(),
            itself,
            port,
        })
    }

    fn covers(&self, name: &str, address: Option<IpAddr>, actual: Option<u16>) -> bool {
        match self {
            Self::All => true,
            Self::Network {
                address: network,
                prefix,
            } => address.is_some_and(|a| in_network(a, *network, *prefix)),
            Self::Address {
                address: wanted,
                port,
            } => address == Some(*wanted) && (port.is_none() || *port == actual),
            Self::Domain {
                name: wanted,
                itself,
                port,
            } => {
                let below = name
                    .strip_suffix(wanted.as_str())
                    .is_some_and(|rest| rest.ends_with('.'));
                (below || (*itself && name == wanted)) && (port.is_none() || *port == actual)
            }
        }
    }
}

fn in_network(address: IpAddr, network: IpAddr, prefix: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn environment(no_proxy: &str) -> ProxyEnvironment {
        let no_proxy = no_proxy.to_owned();
        ProxyEnvironment::from_lookup(move |name| match name {
            "HTTPS_PROXY" => Some("proxy.internal:3128".into()),
            "http_proxy" => Some("socks5://socks.internal".into()),
            "ALL_PROXY" => Some("socks5://all.internal".into()),
            "NO_PROXY" => Some(no_proxy.clone()),
            _ => None,
        })
    }

    // RT-GIT-019
    #[rstest]
    #[case("", "https://example.com", Some("http://proxy.internal:3128/"))]
    #[case("", "http://example.com", Some("socks5://socks.internal"))]
    #[case("", "https://localhost:8443", None)]
    #[case("", "https://127.0.0.2", None)]
    #[case("", "https://[::1]/", None)]
    #[case("*", "https://example.com", None)]
    #[case("example.com", "https://example.com", None)]
    #[case("example.com", "https://git.example.com", None)]
    #[case(
        "example.com",
        "https://notexample.com",
        Some("http://proxy.internal:3128/")
    )]
    #[case(
        ".example.com",
        "https://example.com",
        Some("http://proxy.internal:3128/")
    )]
    #[case(".example.com", "https://git.example.com", None)]
    #[case("*.example.com", "https://git.example.com", None)]
    #[case("other, EXAMPLE.com:8443", "https://example.com:8443", None)]
    #[case(
        "example.com:8443",
        "https://example.com",
        Some("http://proxy.internal:3128/")
    )]
    #[case("10.0.0.0/8", "https://10.1.2.3", None)]
    #[case("10.0.0.0/8", "https://11.1.2.3", Some("http://proxy.internal:3128/"))]
    #[case("0.0.0.0/0", "https://11.1.2.3", None)]
    #[case("10.1.2.3:443", "https://10.1.2.3", None)]
    #[case("fd00::/8", "https://[fd00::1]", None)]
    #[case("[fd00::1]:443", "https://[fd00::1]", None)]
    #[case("fd00::1", "https://[fd00::1]", None)]
    fn the_environment_decides(
        #[case] no_proxy: &str,
        #[case] url: &str,
        #[case] expected: Option<&str>,
    ) {
        let environment = environment(no_proxy);
        let url = Url::parse(url).unwrap();
        assert_eq!(
            environment
                .proxy_for(&url)
                .map(|proxy| proxy.url().as_str()),
            expected
        );
    }

    #[test]
    fn ssh_follows_all_proxy() {
        // SC-GIT-127
        let environment = environment("10.0.0.0/8,internal.example");
        assert!(environment.proxy_for_tcp("github.com", 22).is_some());
        assert!(
            environment
                .proxy_for_tcp("git.internal.example", 22)
                .is_none()
        );
        assert!(environment.proxy_for_tcp("10.1.2.3", 22).is_none());
        let http = ProxyEnvironment::from_lookup(|name| {
            (name == "ALL_PROXY").then(|| "http://p".to_owned())
        });
        assert!(http.proxy_for_tcp("github.com", 22).is_none());
    }
}
