//! Addresses of repositories.

use std::fmt;

use flux_http::Secret;

/// The transport of a repository address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Smart HTTP without TLS.
    Http,
    /// Smart HTTP over TLS.
    Https,
    /// `git-upload-pack` over SSH.
    Ssh,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ssh => "ssh",
        })
    }
}

/// The maximum length of a URL in bytes.
const MAX_URL: usize = 4096;

/// A parsed repository address. `Debug` and `Display` mask the password and the values of a query.
#[derive(Clone, PartialEq, Eq)]
pub struct GitUrl {
    transport: Transport,
    user: Option<String>,
    password: Option<Secret>,
    host: String,
    port: Option<u16>,
    path: String,
    /// Whether it was written as `user@host:path`: the path is relative to the login folder.
    scp_like: bool,
}

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is not a valid URL.
    #[error("invalid URL: {0}")]
    Malformed(#[from] url::ParseError),
    /// It has no host.
    #[error("invalid URL: no host")]
    NoHost,
    /// The scheme is not `http`, `https` or `ssh`.
    #[error("unsupported scheme '{0}': expected one of http, https, ssh")]
    Scheme(String),
    /// It exceeds the maximum length.
    #[error("URL is longer than {MAX_URL} characters")]
    TooLong,
    /// It contains a control character.
    #[error("invalid URL: control character")]
    ControlCharacter,
    /// SSH or a shell would interpret the host or user as an option.
    #[error("invalid URL: the {0} begins with a dash")]
    LeadingDash(&'static str),
}

impl GitUrl {
    /// Parses `http://`, `https://` and `ssh://` addresses, and SSH's `user@host:path` form.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL {
            return Err(UrlError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(UrlError::ControlCharacter);
        }
        let url = if is_with_scheme(text) {
            Self::parse_with_scheme(text)?
        } else if let Some(url) = Self::parse_scp_like(text) {
            url
        } else {
            return Err(UrlError::Malformed(url::ParseError::RelativeUrlWithoutBase));
        };
        // The user may be a token, so neither is shown.
        for (what, part) in [
            ("host", Some(url.host.as_str())),
            ("user", url.user.as_deref()),
        ] {
            if part.is_some_and(|part| part.starts_with('-')) {
                return Err(UrlError::LeadingDash(what));
            }
        }
        Ok(url)
    }

    fn parse_with_scheme(text: &str) -> Result<Self, UrlError> {
        let parsed = url::Url::parse(text)?;
        let transport = match parsed.scheme() {
            "http" => Transport::Http,
            "https" => Transport::Https,
            "ssh" => Transport::Ssh,
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        let host = parsed
            .host_str()
            .filter(|host| !host.is_empty())
            .ok_or(UrlError::NoHost)?;
        let decode = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        let mut path = match transport {
            // HTTP paths are sent as written, SSH paths are file names.
            Transport::Http | Transport::Https => parsed.path().to_owned(),
            Transport::Ssh => String::from_utf8_lossy(&decode(parsed.path())).into_owned(),
        };
        if let Some(query) = parsed.query() {
            path = format!("{path}?{query}");
        }
        if path.chars().any(char::is_control) {
            return Err(UrlError::ControlCharacter);
        }
        Ok(Self {
            transport,
            user: (!parsed.username().is_empty())
                .then(|| String::from_utf8_lossy(&decode(parsed.username())).into_owned()),
            password: parsed
                .password()
                .map(|password| Secret::new(decode(password))),
            host: host.to_owned(),
            port: parsed.port(),
            path,
            scp_like: false,
        })
    }

    fn parse_scp_like(text: &str) -> Option<Self> {
        let (user, rest) = match text.split_once('@') {
            Some((user, rest)) if !user.is_empty() && !user.contains([':', '/']) => {
                (Some(user), rest)
            }
            _ => (None, text),
        };
        let (host, path) = rest.split_once(':')?;
        if host.is_empty()
            || path.is_empty()
            || host.contains(|c: char| c == '/' || c.is_whitespace())
        {
            return None;
        }
        let (port, path) = match path.split_once(':') {
            Some((port, path)) if !path.is_empty() && port.parse::<u16>().is_ok() => {
                (port.parse().ok(), path)
            }
            _ => (None, path),
        };
        Some(Self {
            transport: Transport::Ssh,
            user: user.map(str::to_owned),
            password: None,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            scp_like: true,
        })
    }

    /// The transport.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// The user, if the address has one.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, if the address has one.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The host, without the brackets of IPv6 addresses.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, or the transport's default.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.transport {
            Transport::Http => 80,
            Transport::Https => 443,
            Transport::Ssh => 22,
        })
    }

    /// The repository's path on the host.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The address without user information, for HTTP requests.
    pub(crate) fn without_user(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}{}", self.transport, self.host, self.path)
    }

    /// Resolves a submodule's URL against this URL of its parent (SC-GIT-071): what is neither a URL nor
    /// `user@host:path` nor absolute is a path relative to the parent's; everything else is used unchanged.
    pub fn join(&self, submodule: &str) -> Result<Self, UrlError> {
        if is_with_scheme(submodule)
            || Self::parse_scp_like(submodule).is_some()
            || submodule.starts_with('/')
        {
            return Self::parse(submodule);
        }
        if submodule.chars().any(char::is_control) {
            return Err(UrlError::ControlCharacter);
        }
        let absolute = self.path.starts_with('/');
        let mut parts: Vec<&str> = self
            .path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        for part in submodule.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        let mut joined = self.clone();
        joined.path = format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"));
        Ok(joined)
    }
}

fn is_with_scheme(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && !scheme.contains(':'))
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match (&self.user, &self.password) {
            (None, None) => String::new(),
            (user, None) => format!("{}@", user.as_deref().unwrap_or_default()),
            (user, Some(_)) => format!("{}:***@", user.as_deref().unwrap_or_default()),
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        if self.scp_like {
            write!(
                f,
                "{user}{}:{}{}",
                self.host,
                port.trim_start_matches(':'),
                if port.is_empty() { "" } else { ":" }
            )?;
            return f.write_str(&self.path);
        }
        write!(f, "{}://{user}{}{port}", self.transport, self.host)?;
        match self.path.split_once('?') {
            // A query may contain a token.
            Some((path, query)) => write!(f, "{path}?{}", flux_http::shown_query(query)),
            None => f.write_str(&self.path),
        }
    }
}

impl fmt::Debug for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(
        "https://github.com/org/app",
        Transport::Https,
        None,
        "github.com",
        443,
        "/org/app"
    )]
    #[case(
        "http://us%40er:p%3Aw@git:8080/a%20b?x=1",
        Transport::Http,
        Some("us@er"),
        "git",
        8080,
        "/a%20b?x=1"
    )]
    #[case(
        "ssh://git@[::1]:2222/srv/a%20b.git",
        Transport::Ssh,
        Some("git"),
        "::1",
        2222,
        "/srv/a b.git"
    )]
    #[case(
        "ssh://example.com/~user/x",
        Transport::Ssh,
        None,
        "example.com",
        22,
        "/~user/x"
    )]
    #[case(
        "git@example.com:org/app.git",
        Transport::Ssh,
        Some("git"),
        "example.com",
        22,
        "org/app.git"
    )]
    #[case(
        "git@example.com:2222:org/app.git",
        Transport::Ssh,
        Some("git"),
        "example.com",
        2222,
        "org/app.git"
    )]
    #[case(
        "example.com:/srv/app.git",
        Transport::Ssh,
        None,
        "example.com",
        22,
        "/srv/app.git"
    )]
    fn addresses(
        #[case] text: &str,
        #[case] transport: Transport,
        #[case] user: Option<&str>,
        #[case] host: &str,
        #[case] port: u16,
        #[case] path: &str,
    ) {
        let url = GitUrl::parse(text).unwrap();
        assert_eq!(
            (
                url.transport(),
                url.user(),
                url.host(),
                url.port(),
                url.path()
            ),
            (transport, user, host, port, path)
        );
    }

    // SC-GIT-023
    #[rstest]
    #[case("", "invalid URL: relative URL without a base")]
    #[case("./relative:path", "invalid URL: relative URL without a base")]
    #[case("https://", "invalid URL: empty host")]
    #[case("ssh:///path", "invalid URL: no host")]
    #[case(
        "file:///etc/passwd",
        "unsupported scheme 'file': expected one of http, https, ssh"
    )]
    #[case("ext::sh -c x", "unsupported")]
    #[case("https://host:port/x", "invalid URL: invalid port number")]
    #[case("ssh://host/a\nb", "invalid URL: control character")]
    #[case("ssh://host/a%0ab", "invalid URL: control character")]
    #[case(
        "ssh://-oProxyCommand=x/path",
        "invalid URL: the host begins with a dash"
    )]
    #[case("-x@host:path", "invalid URL: the user begins with a dash")]
    fn malformed_addresses(#[case] text: &str, #[case] expected: &str) {
        match GitUrl::parse(text) {
            Ok(url) => assert_eq!(
                (expected, url.transport()),
                ("unsupported", Transport::Ssh),
                "{url}"
            ),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
    }

    // SC-GIT-071
    #[rstest]
    #[case("https://h/org/app.git", "../lib.git", "https://h/org/lib.git")]
    #[case("https://h/org/app.git", "./lib.git", "https://h/org/app.git/lib.git")]
    #[case("https://h/app.git", "../../../lib", "https://h/lib")]
    #[case("ssh://git@h:2222/org/app", "../lib", "ssh://git@h:2222/org/lib")]
    #[case("git@h:org/app", "../lib", "git@h:org/lib")]
    #[case("https://h/org/app", "https://other/lib", "https://other/lib")]
    #[case("https://h/org/app", "git@other:lib", "git@other:lib")]
    fn submodule_urls_are_resolved(
        #[case] parent: &str,
        #[case] submodule: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(
            GitUrl::parse(parent)
                .unwrap()
                .join(submodule)
                .unwrap()
                .to_string(),
            expected
        );
    }

    #[test]
    fn a_password_is_never_shown() {
        let url = GitUrl::parse("https://user:S3CRET@h/x").unwrap();
        assert_eq!(url.to_string(), "https://user:***@h/x");
        assert_eq!(format!("{url:?}"), "GitUrl(https://user:***@h/x)");
        let query = GitUrl::parse("https://h/x?private_token=S3CRET").unwrap();
        assert_eq!(query.to_string(), "https://h/x?private_token=***");
        assert_eq!(query.without_user(), "https://h/x?private_token=S3CRET");
        assert_eq!(url.without_user(), "https://h/x");
        assert!(
            GitUrl::parse("https://h/org")
                .unwrap()
                .join("/etc/passwd")
                .is_err()
        );
    }

    proptest::proptest! {
        #[test]
        fn the_parser_never_panics(text in ".{0,60}", relative in ".{0,20}") {
            if let Ok(url) = GitUrl::parse(&text) {
                let _ = (url.to_string(), url.without_user(), url.join(&relative));
            }
        }
    }
}
