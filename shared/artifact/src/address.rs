//! The address that the artifact server listens on, and the one that it advertises.

/// Why a listen address cannot be advertised.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid storage address \"{address}\": {problem}")]
pub struct AddressError {
    address: String,
    problem: &'static str,
}

/// The host of artifact URLs: `advertised` unchanged if it is not empty, else derived from the listen address
/// (SC-ART-020 to SC-ART-023).
///
/// `host_name` is called only if the server listens on `0.0.0.0`.
pub fn advertised_address(
    advertised: &str,
    listen: &str,
    host_name: impl FnOnce() -> String,
) -> Result<String, AddressError> {
    if !advertised.is_empty() {
        return Ok(advertised.to_owned());
    }
    let (host, port) = split_host_port(listen)?;
    let host = match host {
        "" => "localhost".to_owned(),
        "0.0.0.0" => host_name(),
        host => host.to_owned(),
    };
    Ok(if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    })
}

/// Splits `host:port`, where the host may be empty or an IPv6 address in brackets.
pub(crate) fn split_host_port(address: &str) -> Result<(&str, &str), AddressError> {
    let fail = |problem| AddressError {
        address: address.to_owned(),
        problem,
    };
    let (host, port) = address
        .rsplit_once(':')
        .ok_or_else(|| fail("missing port in address"))?;
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner
            .strip_suffix(']')
            .ok_or_else(|| fail("missing port in address"))?;
        return if inner.contains(['[', ']']) {
            Err(fail("unexpected '[' in address"))
        } else {
            Ok((inner, port))
        };
    }
    if host.contains(':') {
        return Err(fail("too many colons in address"));
    }
    if host.contains(['[', ']']) || port.contains(['[', ']']) {
        return Err(fail("unexpected '[' in address"));
    }
    Ok((host, port))
}

/// The URL of the artifact at `path` on `host` (SC-ART-024).
pub(crate) fn artifact_url(host: &str, path: &str) -> String {
    let path = path.trim_start_matches('/');
    if host.starts_with("http://") || host.starts_with("https://") {
        format!("{host}/{path}")
    } else {
        format!("http://{host}/{path}")
    }
}

/// `url` with its host and port replaced by `host`: with `SOURCE_CONTROLLER_LOCALHOST` a controller that runs outside
/// the cluster can reach artifacts (SC-ART-056). Empty if `url` is not a URL (SC-ART-026).
pub fn with_host(url: &str, host: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return String::new();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let user = authority.rfind('@').map_or("", |at| &authority[..=at]);
    format!("{scheme}://{user}{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // RT-ART-004
    #[test]
    fn the_advertised_address_defaults_to_the_listen_address() {
        for (advertised, listen, want) in [
            // SC-ART-020
            ("flux.example:80", ":9090", Ok("flux.example:80")),
            ("https://flux.example", "bad", Ok("https://flux.example")),
            // SC-ART-021
            ("", ":9090", Ok("localhost:9090")),
            // SC-ART-022
            ("", "0.0.0.0:9090", Ok("pod-1:9090")),
            ("", "10.0.0.1:9090", Ok("10.0.0.1:9090")),
            ("", "[::1]:9090", Ok("[::1]:9090")),
            // SC-ART-023
            (
                "",
                "9090",
                Err("invalid storage address \"9090\": missing port in address"),
            ),
            (
                "",
                "::1:9090",
                Err("invalid storage address \"::1:9090\": too many colons in address"),
            ),
            (
                "",
                "[::1]9090",
                Err("invalid storage address \"[::1]9090\": missing port in address"),
            ),
        ] {
            let found = advertised_address(advertised, listen, || "pod-1".into());
            assert_eq!(
                found.map_err(|error| error.to_string()),
                want.map(str::to_owned).map_err(str::to_owned)
            );
        }
    }

    // SC-ART-024 RT-ART-003
    #[test]
    fn artifact_urls_are_built_from_host_and_path() {
        for (host, path, want) in [
            (
                "host:80",
                "gitrepository/a/b/c.tar.gz",
                "http://host:80/gitrepository/a/b/c.tar.gz",
            ),
            ("https://host", "/a", "https://host/a"),
            ("http://host", "a", "http://host/a"),
            (
                "sc.flux-system.svc.cluster.local.",
                "a/sha256:b.tar.gz",
                "http://sc.flux-system.svc.cluster.local./a/sha256:b.tar.gz",
            ),
        ] {
            assert_eq!(artifact_url(host, path), want);
        }
    }

    // SC-ART-056
    #[test]
    fn the_host_of_a_url_is_replaced() {
        for (url, want) in [
            (
                "http://sc.ns.svc/a/b.tar.gz",
                "http://localhost:8080/a/b.tar.gz",
            ),
            ("http://sc:9090/a?b=c", "http://localhost:8080/a?b=c"),
            ("http://u:p@sc", "http://u:p@localhost:8080"),
            ("nothing", ""),
        ] {
            assert_eq!(with_host(url, "localhost:8080"), want);
        }
    }
}
