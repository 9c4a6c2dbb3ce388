//! The HTTP client of all other crates.

use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::Resolve;
use reqwest::redirect::Policy;
use url::Url;

use crate::dial::Resolver;
use crate::environment::ProxyEnvironment;
use crate::proxy::Proxy;
use crate::public::{RoutedResolver, is_at_link_local};
use crate::tls::{TlsError, TlsSettings};

/// Default number of idle connections that a client keeps per host.
pub(crate) const DEFAULT_IDLE_CONNECTIONS: usize = 2;

/// How a client treats redirects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Follows up to this many; credentials are dropped when the host changes.
    Follow(usize),
    /// Returns the redirect to the caller.
    Refuse,
}

/// Options of a client. The default follows ten redirects, as in Go, trusts the system's authorities and takes the
/// proxy from the environment.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Certificate authorities and client certificate.
    pub tls: TlsSettings,
    /// The proxy.
    pub proxy: Proxy,
    /// Redirects. One that leads from elsewhere to a link-local address, such as the metadata service of a cloud, is not
    /// followed: the response is then the redirect itself.
    pub redirects: Redirects,
    /// Timeout of a whole request, its body included; `None` leaves it to the caller.
    pub timeout: Option<Duration>,
    /// Timeout of a connection attempt (TCP, proxy, TLS).
    pub connect_timeout: Duration,
    /// Timeout of each read of a response.
    pub read_timeout: Option<Duration>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Number of idle connections kept per host.
    pub idle_connections: usize,
    /// Whether link-local addresses are out of reach, as the metadata service of a cloud is one, for addresses that others
    /// choose: names that have one are not found, and redirects to one are not followed. The caller checks the address of
    /// the request with [`ClientOptions::allows`].
    pub refuse_link_local: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            tls: TlsSettings::default(),
            proxy: Proxy::default(),
            redirects: Redirects::Follow(10),
            timeout: None,
            connect_timeout: Duration::from_secs(30),
            read_timeout: None,
            user_agent: None,
            idle_connections: DEFAULT_IDLE_CONNECTIONS,
            refuse_link_local: false,
        }
    }
}

/// Why a client could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The TLS settings are unusable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The proxy's address is unusable. The library's own error would show its password.
    #[error("failed to configure the proxy")]
    Proxy,
    /// The HTTP library rejected the options, such as a `User-Agent` that is not a header value.
    #[error("failed to configure the HTTP client")]
    Client,
}

impl ClientOptions {
    /// Builds the client. It may be used from any tokio runtime.
    pub fn build(&self) -> Result<reqwest::Client, BuildError> {
        if self.refuse_link_local {
            self.build_resolving(Arc::new(RoutedResolver(Resolver)))
        } else {
            self.build_resolving(Arc::new(Resolver))
        }
    }

    /// Whether the address of a request is one that these options let it have.
    pub fn allows(&self, url: &Url) -> bool {
        !(self.refuse_link_local && is_at_link_local(url))
    }

    /// The same with a resolver of names.
    pub(crate) fn build_resolving<R: Resolve + 'static>(
        &self,
        resolver: Arc<R>,
    ) -> Result<reqwest::Client, BuildError> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.client_config()?)
            .no_proxy()
            .dns_resolver(resolver)
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(self.idle_connections)
            .redirect(match self.redirects {
                Redirects::Follow(limit) => {
                    let limited = Policy::limited(limit);
                    let refuse_link_local = self.refuse_link_local;
                    Policy::custom(move |attempt| {
                        let from = attempt.previous().last();
                        let is_allowed = !refuse_link_local && from.is_some_and(is_at_link_local);
                        if is_at_link_local(attempt.url()) && !is_allowed {
                            attempt.stop()
                        } else {
                            limited.redirect(attempt)
                        }
                    })
                }
                Redirects::Refuse => Policy::none(),
            });
        if let Some(timeout) = self.timeout {
            builder = builder.timeout(timeout);
        }
        if let Some(timeout) = self.read_timeout {
            builder = builder.read_timeout(timeout);
        }
        if let Some(agent) = &self.user_agent {
            builder = builder.user_agent(agent);
        }
        match &self.proxy {
            Proxy::None => {}
            Proxy::Url(proxy) => {
                let proxy =
                    reqwest::Proxy::all(proxy.for_reqwest()).map_err(|_| BuildError::Proxy)?;
                builder = builder.proxy(proxy);
            }
            Proxy::Environment => {
                let environment = ProxyEnvironment::from_process();
                if !environment.is_empty() {
                    builder = builder.proxy(reqwest::Proxy::custom(move |url| {
                        environment
                            .proxy_for(url)
                            .map(crate::proxy::ProxyUrl::for_reqwest)
                    }));
                }
            }
        }
        builder.build().map_err(|_| BuildError::Client)
    }
}
