//! Reads Secrets at the time of use.

use std::sync::Arc;

use flux_http::SecretData;
use flux_objects::{Error, Objects};
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;

/// Reads Secrets: from the API server at each use, or from a cache of all Secrets if the gate `CacheSecretsAndConfigMaps`
/// is on (SC-PROC-052).
#[derive(Clone)]
pub(crate) enum Secrets {
    Live(Client),
    Cached(Cache<Secret>),
}

/// Why a Secret could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretReadError {
    /// There is no Secret of this name.
    #[error("secrets \"{0}\" not found")]
    NotFound(String),
    /// The name is not valid, or the API server refused or did not answer.
    #[error(transparent)]
    Unreadable(Error),
}

impl Secrets {
    /// Reads a Secret. There is no watch: a change takes effect at the next reconcile (SC-AUTH-001).
    pub(crate) async fn read(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Secret>, SecretReadError> {
        let not_found = || SecretReadError::NotFound(name.to_owned());
        match self {
            Self::Cached(cache) => {
                cache.synced().await;
                cache.get(&Key::new(namespace, name)).ok_or_else(not_found)
            }
            Self::Live(client) => {
                let read = async {
                    let secrets = Objects::in_namespace(client.clone(), namespace)?;
                    secrets.get(name).await
                };
                match read.await {
                    Ok(secret) => Ok(Arc::new(secret)),
                    Err(error) if error.is_not_found() => Err(not_found()),
                    Err(error) => Err(SecretReadError::Unreadable(error)),
                }
            }
        }
    }
}

/// The data of a Secret, for the parsers of well-known formats.
pub(crate) fn data<'s>(secret: &'s Secret, namespace: &str, name: &str) -> SecretData<'s> {
    let entries = secret.data.iter().flatten();
    SecretData::new(
        namespace,
        name,
        entries.map(|(key, value)| (key.as_str(), value.0.as_slice())),
    )
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
