//! Builds HTTP clients from proxy, TLS and authentication settings.
//!
//! ```
//! use flux_http::{ClientOptions, SecretData};
//!
//! // The Secret of a `certSecretRef`, as a client that trusts its authority and the system's.
//! let data = [("address", b"http://proxy.internal:3128".as_slice()), ("username", b"flux")];
//! let secret = SecretData::new("apps", "egress", data);
//! let options = ClientOptions { proxy: secret.proxy()?.into(), ..ClientOptions::default() };
//! let client = options.build()?;
//! assert!(secret.basic().is_err());
//! # let _ = client; Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`SecretData`] reads the well-known Secret formats (RT-SEC rows) into typed values, without a Kubernetes client.
//! - [`ClientOptions`] builds a `reqwest::Client` on rustls and ring only.
//! - [`send`] sends a request, repeats it if the connection was closed in between, and reports errors with
//!   upstream's texts.
//! - [`read_body`] reads a response up to a limit, [`read_body_within`] also within a budget of memory.
//! - [`PublicFetch`] gets a document from an address that a tenant chose, from public hosts only.
//!
//! Everything that may contain a secret is a [`Secret`] or a type made of them, whose `Debug` prints `***`.
//! Not part of this crate: cloud identities and token caches, registry credentials (`.dockerconfigjson`), SOPS keys.

#![forbid(unsafe_code)]

mod body;
mod client;
mod client_key;
mod dial;
mod environment;
mod error;
mod key_exchange;
mod proxy;
mod public;
mod request;
mod secret;
mod secrets;
mod shown_url;
mod tls;
mod x509;

pub use body::{BodyError, read_body, read_body_within};
pub use client::{BuildError, ClientOptions, Redirects};
pub use dial::{DialError, LookupError, dial, system_text};
pub use environment::ProxyEnvironment;
pub use error::{DEADLINE, ErrorKind, ReadError, RequestError, handshake_text};
pub use proxy::{MAX_PROXY_ADDRESS, Proxy, ProxyScheme, ProxyUrl, ProxyUrlError};
pub use public::{PublicError, PublicFetch, is_link_local, is_public};
pub use request::{Repeat, send};
pub use secret::{Hidden, Secret};
pub use secrets::{
    AuthMethods, BasicAuth, GitHubAppData, GitHubAppId, LegacyKey, SecretData, SecretError,
    SshAuth, keys,
};
pub use shown_url::{shown_query, shown_text, shown_url};
pub use tls::{ClientPair, RootCertificates, TlsError, TlsSettings};
