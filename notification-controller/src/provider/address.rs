//! Addresses of services and of Git repositories.

use flux_golang::strconv::quote;
use flux_golang::url::Url;

use super::settings::{ConfigError, Settings};

/// `url.ParseRequestURI`: an absolute URL or an absolute path (NC-HTTP-010). The error is Go's.
pub(super) fn parse_request_uri(text: &str) -> Result<Url, String> {
    let refuse = |why: &str| Err(format!("parse {}: {why}", quote(text)));
    if text.is_empty() {
        return refuse("empty url");
    }
    let url = Url::parse(text.as_bytes())?;
    if url.scheme.is_empty() && !text.starts_with('/') {
        return refuse("invalid URI for request");
    }
    Ok(url)
}

/// The address as a URL; `what` is the name of it in upstream's message.
pub(super) fn checked(settings: &Settings, what: &'static str) -> Result<Url, ConfigError> {
    parse_request_uri(&settings.address).map_err(|error| ConfigError::Address {
        what,
        address: settings.address.clone(),
        error: Some(error),
    })
}

/// As [`checked`], for types whose message does not say what is wrong.
pub(super) fn checked_briefly(settings: &Settings, what: &'static str) -> Result<Url, ConfigError> {
    checked(settings, what).map_err(|_| ConfigError::Address {
        what,
        address: settings.address.clone(),
        error: None,
    })
}

/// A part of a URL as text.
pub(super) fn text(part: &[u8]) -> String {
    String::from_utf8_lossy(part).into_owned()
}

/// Where a repository is: `scheme://host[:port]`, and the path of the repository (NC-PROV-078).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GitAddress {
    pub(super) host: String,
    pub(super) id: String,
}

const TRANSPORTS: [&[u8]; 10] = [
    b"ssh", b"git", b"git+ssh", b"http", b"https", b"ftp", b"ftps", b"rsync", b"file", b"svn",
];

/// Parses the address of a Git repository: a URL, or `git@host:path`.
pub(super) fn parse_git(text_in: &str) -> GitAddress {
    let (scheme, host, path) = match Url::parse(text_in.as_bytes()) {
        Ok(url) if TRANSPORTS.contains(&&*url.scheme) => {
            (text(&url.scheme), text(&url.host), text(&url.path))
        }
        _ => match scp_like(text_in) {
            Some((host, path)) => ("ssh".to_owned(), host.to_owned(), path.to_owned()),
            None => ("file".to_owned(), String::new(), text_in.to_owned()),
        },
    };
    let scheme = if scheme == "ssh" { "https" } else { &scheme };
    let id = path.trim_start_matches('/');
    let id = id.strip_suffix(".git").unwrap_or(id);
    GitAddress {
        host: format!("{scheme}://{host}"),
        id: id.to_owned(),
    }
}

/// Host and path of `user@host:path`.
fn scp_like(text: &str) -> Option<(&str, &str)> {
    let (before, path) = text.split_once(':')?;
    let host = before.split_once('@').map_or(before, |(_, host)| host);
    let fits = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    let user = before.split_once('@').map_or("git", |(user, _)| user);
    (fits(host) && fits(user) && !path.starts_with("//")).then_some((host, path))
}

/// Owner and name of a repository, if the path has just these.
pub(super) fn owner_and_name(id: &str) -> Option<(&str, &str)> {
    let (owner, name) = id.split_once('/')?;
    (!name.contains('/')).then_some((owner, name))
}

/// A path segment with everything escaped that could end it.
pub(super) fn segment(text: &str) -> String {
    flux_objects::path::escaped(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_uris_are_checked_as_in_go() {
        // NC-HTTP-010
        for (address, error) in [
            ("https://h/x", None),
            ("/x", None),
            ("mailto:a", None),
            ("", Some("parse \"\": empty url")),
            (
                "example.com",
                Some("parse \"example.com\": invalid URI for request"),
            ),
            (
                "http://a b",
                Some("parse \"http://a b\": invalid character \" \" in host name"),
            ),
        ] {
            let found = parse_request_uri(address).err();
            assert_eq!(found.as_deref(), error, "{address}");
        }
    }

    #[test]
    fn git_addresses_are_reduced_to_host_and_repository() {
        // NC-PROV-078, FR-N-020
        for (address, host, id) in [
            ("https://github.com/o/r.git", "https://github.com", "o/r"),
            (
                "https://user:pw@github.com/o/r",
                "https://github.com",
                "o/r",
            ),
            ("http://h:8080/o/r", "http://h:8080", "o/r"),
            ("ssh://git@h/o/r.git", "https://h", "o/r"),
            ("ssh://git@h:2222/o/r", "https://h:2222", "o/r"),
            ("git@github.com:o/r.git", "https://github.com", "o/r"),
            ("git@h:/o/r", "https://h", "o/r"),
            ("https://h/group/sub/r", "https://h", "group/sub/r"),
            ("foo/bar", "file://", "foo/bar"),
        ] {
            let want = GitAddress {
                host: host.to_owned(),
                id: id.to_owned(),
            };
            assert_eq!(parse_git(address), want, "{address}");
        }
        assert_eq!(owner_and_name("o/r"), Some(("o", "r")));
        assert_eq!(owner_and_name("o/r/x"), None);
        assert_eq!(owner_and_name("o"), None);
    }
}
