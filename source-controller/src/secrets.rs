//! Reads Secrets at the time of use.

use std::sync::Arc;

use flux_http::{Proxy, RootCertificates, SecretData, SecretError, TlsSettings};
use flux_objects::Error;
use flux_references::{ReadError, Reader, secret_data};
use flux_runtime::queue::Key;
use k8s_openapi::api::core::v1::Secret;

/// Reads Secrets: from the API server at each use, or from a cache of all Secrets if the gate `CacheSecretsAndConfigMaps`
/// is on (SC-PROC-052).
#[derive(Clone)]
pub(crate) struct Secrets(pub(crate) Reader<Secret>);

/// Why a Secret could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretReadError {
    /// There is no Secret of this name. The text is that of the API server, also where the Secret was looked for in the cache.
    #[error("secrets \"{0}\" not found")]
    NotFound(String),
    /// The name is not valid, or the API server refused or did not answer.
    #[error(transparent)]
    Unreadable(Error),
}

/// Why a Secret that an object refers to is unusable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReferredError {
    /// There is no Secret of this name (SC-AUTH-006).
    #[error("secret '{0}' not found")]
    NotFound(String),
    /// It could not be read.
    #[error("failed to get secret '{secret}'")]
    Read {
        secret: String,
        #[source]
        source: SecretReadError,
    },
    /// Its data is not what it is referred to for.
    #[error(transparent)]
    Data(#[from] SecretError),
}

impl Secrets {
    /// Reads a Secret that an object refers to.
    pub(crate) async fn referred(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Secret>, ReferredError> {
        let secret = || format!("{namespace}/{name}");
        self.read(namespace, name)
            .await
            .map_err(|source| match source {
                SecretReadError::NotFound(_) => ReferredError::NotFound(secret()),
                source @ SecretReadError::Unreadable(_) => ReferredError::Read {
                    secret: secret(),
                    source,
                },
            })
    }

    /// The proxy of a `proxySecretRef` (SC-AUTH-005).
    pub(crate) async fn proxy(&self, namespace: &str, name: &str) -> Result<Proxy, ReferredError> {
        let secret = self.referred(namespace, name).await?;
        Ok(secret_data(&secret, namespace, name).proxy()?.into())
    }

    /// The certificates of a `certSecretRef`; its authorities are trusted besides the system's (SC-AUTH-002 to SC-AUTH-004).
    pub(crate) async fn tls(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<TlsSettings, ReferredError> {
        let secret = self.referred(namespace, name).await?;
        let data = secret_data(&secret, namespace, name);
        let settings = data.tls(RootCertificates::AddToSystem)?;
        log_legacy_keys(&data);
        Ok(settings)
    }

    /// Reads a Secret. There is no watch: a change takes effect at the next reconcile (SC-AUTH-001).
    pub(crate) async fn read(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Secret>, SecretReadError> {
        self.0.synced().await;
        let read = self.0.get(&Key::new(namespace, name)).await;
        read.map_err(|error| match error {
            ReadError::Request(error) if !error.is_not_found() => {
                SecretReadError::Unreadable(error)
            }
            _ => SecretReadError::NotFound(name.to_owned()),
        })
    }
}

/// Logs the use of keys that have another name today (SC-AUTH-002, RT-SEC-003): as an error, since at a lower level it would
/// be overlooked.
pub(crate) fn log_legacy_keys(secret: &SecretData<'_>) {
    for legacy in secret.legacy_tls_keys() {
        tracing::error!(
            secret = secret.name(),
            key = legacy.key,
            preferred = legacy.preferred,
            "using legacy key in secret data"
        );
    }
}
