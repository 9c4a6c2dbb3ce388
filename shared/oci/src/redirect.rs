//! Where a registry may send its clients.
//!
//! A registry names its token service, and redirects to stores of blobs. The address may come from a tenant, and a
//! controller stands inside a cluster's network: what a server names must not let it reach the metadata service of a
//! cloud. Names are not resolved here, as in upstream.

use std::net::IpAddr;

use flux_http::is_link_local;
use url::{Host, Url};

/// The address of a URL's host, if it is one.
pub(crate) fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(
            address
                .to_ipv4_mapped()
                .map_or(IpAddr::V6(address), IpAddr::V4),
        ),
        Host::Domain(_) => None,
    }
}

/// Whether an address is one of a private network or of this machine.
pub(crate) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_private(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local(),
    }
}

/// Why a registry of this address may not redirect to `to`. A registry with a public address, or a name, may not redirect
/// to an address of a private network.
pub(crate) fn refusal(from: &Url, to: &Url) -> Option<String> {
    if from.host() == to.host() {
        return None;
    }
    let target = address(to)?;
    let private = is_private(target) && !address(from).is_some_and(is_private);
    (is_link_local(target) || private).then(|| {
        format!(
            "SSRF protection: redirect from {:?} to private/link-local host {:?} denied",
            from.host_str().unwrap_or_default(),
            to.host_str().unwrap_or_default()
        )
    })
}

/// Whether both have the same host and port, with the default ports of HTTP and HTTPS being the same port: a server that
/// redirects its own clients to HTTPS keeps their trust (SC-OCI-087).
pub(crate) fn same_server(registry: &Url, to: &Url) -> bool {
    let downgraded = registry.scheme() == "https" && to.scheme() == "http";
    registry.host() == to.host() && registry.port() == to.port() && !downgraded
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("https://r.io/v2/", "https://store.example.com/x", false)]
    #[case("https://r.io/v2/", "http://169.254.169.254/latest", true)]
    #[case("https://10.0.0.1/v2/", "http://169.254.169.254/latest", true)]
    #[case("https://r.io/v2/", "http://[fe80::1]/", true)]
    #[case("https://r.io/v2/", "http://[fd00:ec2::254]/", true)]
    #[case("https://r.io/v2/", "http://[::ffff:169.254.169.254]/", true)]
    #[case("https://r.io/v2/", "http://0.0.0.0/", true)]
    #[case("https://r.io/v2/", "https://10.0.0.1/x", true)]
    #[case("https://r.io/v2/", "https://127.0.0.1/x", true)]
    #[case("https://10.0.0.1/v2/", "https://10.0.0.2/x", false)]
    #[case("http://127.0.0.1:1/v2/", "http://127.0.0.1:2/x", false)]
    fn redirects(#[case] from: &str, #[case] to: &str, #[case] refused: bool) {
        let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
        assert_eq!(refusal(&from, &to).is_some(), refused);
    }

    // SC-OCI-087
    #[rstest]
    #[case("http://r.io/v2/", "https://r.io/v2/", true)]
    #[case("https://r.io/v2/", "https://r.io/v2/x", true)]
    #[case("http://r.io:5000/v2/", "https://r.io:5000/v2/", true)]
    #[case("https://r.io/v2/", "http://r.io/v2/", false)]
    #[case("https://r.io/v2/", "https://r.io:8443/v2/", false)]
    #[case("https://r.io/v2/", "https://blobs.r.io/v2/", false)]
    fn who_keeps_credentials(#[case] registry: &str, #[case] to: &str, #[case] expected: bool) {
        let (registry, to) = (Url::parse(registry).unwrap(), Url::parse(to).unwrap());
        assert_eq!(same_server(&registry, &to), expected);
    }
}
