//! Why nothing can be sent by a Provider.

use flux_http::{ProxyUrlError, SecretError};
use flux_identity::IdentityError;
use flux_references::ReadError;

use super::MAX_ADDRESS;

/// Why nothing can be sent by a Provider. The texts are upstream's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// A Secret cannot be read.
    #[error("failed to get secret '{name}'")]
    Secret {
        /// `namespace/name`.
        name: String,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The address in the Secret is too long.
    #[error("invalid address in secret: address exceeds maximum length of {MAX_ADDRESS} bytes")]
    AddressTooLong,
    /// The proxy in the Secret is no URL.
    #[error("invalid 'proxy' in secret '{0}'")]
    ProxyInSecret(String),
    /// The headers in the Secret are not a map of texts.
    #[error("failed to read headers from secret: {0}")]
    Headers(String),
    /// The proxy Secret is unusable.
    #[error("failed to get proxy URL")]
    ProxySecret(#[source] SecretError),
    /// `spec.proxy` is unusable.
    #[error("unable to parse proxy URL")]
    Proxy(#[source] ProxyUrlError),
    /// The TLS material is unusable.
    #[error("failed to get TLS config")]
    Tls(#[source] SecretError),
    /// The HTTP client cannot be made.
    #[error("failed to build the HTTP client")]
    Client(#[source] flux_http::BuildError),
    /// The address is not one.
    #[error("invalid {what} {address}{}", error.as_ref().map(|error| format!(": '{error}'")).unwrap_or_default())]
    Address {
        /// What it is an address of.
        what: &'static str,
        /// The address.
        address: String,
        /// What is wrong with it.
        error: Option<String>,
    },
    /// Something that the type needs is missing, or is not of the form that it needs.
    #[error("{0}")]
    Invalid(String),
    /// A request that has to succeed first failed.
    #[error("{what}")]
    Request {
        /// What failed.
        what: &'static str,
        /// Why.
        #[source]
        source: crate::provider::SendError,
    },
    /// No token could be had for a GitHub App.
    #[error(transparent)]
    GitHubApp(#[from] flux_cloud::GitHubAppError),
    /// The data of a GitHub App is incomplete.
    #[error(transparent)]
    GitHubAppData(SecretError),
    /// Azure gives no token for Azure DevOps.
    #[error("failed to acquire azure devops token: failed to get token")]
    AzureDevopsToken(#[source] IdentityError),
    /// Azure gives no token for Event Hubs.
    #[error("failed to create a eventhub using managed identity: failed to get token")]
    EventHubToken(#[source] IdentityError),
    /// Google gives no token for Pub/Sub.
    #[error("failed to get token for GCP Pub/Sub")]
    PubSubToken(#[source] IdentityError),
    /// The key in the Secret cannot be used.
    #[error("failed to use the GCP credentials in the secret")]
    PubSubKey(#[source] flux_cloud::gcp::Error),
    /// There is no such type here.
    #[error("provider {0} not supported")]
    Unsupported(String),
}

impl ConfigError {
    /// The error with a text of its own.
    pub(in crate::provider) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// Whether it comes of reading Secrets, before the type of the Provider counts.
    pub(crate) fn is_of_secrets(&self) -> bool {
        matches!(
            self,
            Self::Secret { .. }
                | Self::AddressTooLong
                | Self::ProxyInSecret(_)
                | Self::Headers(_)
                | Self::ProxySecret(_)
                | Self::Tls(_)
        )
    }
}
