//! How requests leave: directly, through the environment's proxy, or through a given one.

use std::fmt;

use url::Url;

use crate::secret::Secret;

/// The maximum length of a proxy address in a Secret, in bytes (RT-SEC-012).
pub const MAX_PROXY_ADDRESS: usize = 2048;

/// The proxy of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    /// `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` at the time the client is built.
    #[default]
    Environment,
    /// Direct connections.
    None,
    /// This proxy for every destination, whatever the environment says (RT-GIT-019).
    Url(ProxyUrl),
}

impl Proxy {
    /// Whether requests carry credentials for a proxy that an object names: what such a proxy answers may repeat them.
    pub fn has_credentials(&self) -> bool {
        matches!(self, Self::Url(url) if url.username.is_some())
    }
}

impl From<ProxyUrl> for Proxy {
    fn from(url: ProxyUrl) -> Self {
        Self::Url(url)
    }
}

/// The protocol of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyScheme {
    /// HTTP, `CONNECT` for tunnels.
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS version 5; the proxy resolves names.
    Socks5,
}

/// The address of a proxy with its credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl {
    scheme: ProxyScheme,
    url: Url,
    username: Option<String>,
    password: Option<Secret>,
}

/// Why an address is not a proxy address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// Longer than [`MAX_PROXY_ADDRESS`].
    #[error("proxy URL exceeds maximum length of {MAX_PROXY_ADDRESS} characters")]
    TooLong,
    /// Not a URL.
    #[error("failed to parse proxy address: {0}")]
    Malformed(url::ParseError),
    /// A URL, but with an unsupported scheme.
    #[error("proxy URL must use one of the supported schemes (http, https, socks5), got '{0}'")]
    Scheme(String),
    /// It has no host.
    #[error("proxy URL has no host")]
    NoHost,
}

impl ProxyUrl {
    /// Parses an address; user information in it becomes the credentials.
    pub fn parse(address: &str) -> Result<Self, ProxyUrlError> {
        if address.len() > MAX_PROXY_ADDRESS {
            return Err(ProxyUrlError::TooLong);
        }
        let mut url = match Url::parse(address) {
            Ok(url) => url,
            // Go parses `host` and `/path` as URLs without scheme and then rejects the scheme.
            Err(url::ParseError::RelativeUrlWithoutBase) => {
                return Err(ProxyUrlError::Scheme(String::new()));
            }
            Err(error) => return Err(ProxyUrlError::Malformed(error)),
        };
        let scheme = match url.scheme() {
            "http" => ProxyScheme::Http,
            "https" => ProxyScheme::Https,
            "socks5" => ProxyScheme::Socks5,
            // For `user:password@host` the user would be shown as the scheme.
            other if address.contains("://") => {
                return Err(ProxyUrlError::Scheme(other.to_owned()));
            }
            _ => return Err(ProxyUrlError::Scheme(String::new())),
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(ProxyUrlError::NoHost);
        }
        let decoded = |text: &str| percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
        let username = (!url.username().is_empty())
            .then(|| String::from_utf8_lossy(&decoded(url.username())).into_owned());
        let password = url
            .password()
            .map(|password| Secret::new(decoded(password)));
        // Neither call can fail for a URL that has a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        Ok(Self {
            scheme,
            url,
            username,
            password,
        })
    }

    /// Replaces the credentials.
    pub fn with_credentials(mut self, username: &str, password: Option<Secret>) -> Self {
        self.username = Some(username.to_owned());
        self.password = password;
        self
    }

    /// The protocol.
    pub fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// The address without credentials.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Host and port, the scheme's default port filled in.
    pub fn host_and_port(&self) -> (String, u16) {
        let default = match self.scheme {
            ProxyScheme::Http => 80,
            ProxyScheme::Https => 443,
            ProxyScheme::Socks5 => 1080,
        };
        let host = self.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (host.to_owned(), self.url.port().unwrap_or(default))
    }

    /// The user, if any.
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The password, if any.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The URL for reqwest: the SOCKS proxy resolves names, as in Go.
    pub(crate) fn for_reqwest(&self) -> Url {
        let mut text = self.url.to_string();
        if self.scheme == ProxyScheme::Socks5 {
            text = text.replacen("socks5://", "socks5h://", 1);
        }
        let mut url = Url::parse(&text).unwrap_or_else(|_| self.url.clone());
        if let Some(username) = &self.username {
            let _ = url.set_username(username);
            let _ = url.set_password(self.password.as_ref().map(Secret::expose_text).as_deref());
        }
        url
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({}", self.url)?;
        if self.username.is_some() {
            f.write_str(", credentials ***")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_removed_from_the_address_and_never_shown() {
        let proxy = ProxyUrl::parse("http://us%40er:p%3Aw@proxy:3128").unwrap();
        assert_eq!(proxy.username(), Some("us@er"));
        assert_eq!(proxy.password().unwrap().expose(), b"p:w");
        assert_eq!(proxy.host_and_port(), ("proxy".to_owned(), 3128));
        assert_eq!(
            format!("{proxy:?}"),
            "ProxyUrl(http://proxy:3128/, credentials ***)"
        );
        assert_eq!(
            proxy.for_reqwest().as_str(),
            "http://us%40er:p%3Aw@proxy:3128/"
        );
        let socks = ProxyUrl::parse("socks5://10.0.0.1").unwrap();
        assert_eq!(socks.host_and_port(), ("10.0.0.1".to_owned(), 1080));
        assert_eq!(socks.for_reqwest().as_str(), "socks5h://10.0.0.1");
    }
}
