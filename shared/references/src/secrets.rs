//! Reads the Secrets that an object refers to, at the time of use, as what they are referred to for: a proxy, certificates.

use std::sync::Arc;
use std::time::Duration;

use flux_http::{Proxy, RootCertificates, SecretData, SecretError, TlsSettings};
use flux_objects::Error;
use flux_runtime::manager::Manager;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use tokio::time::{Instant, timeout_at};

use crate::{ReadError, Reader, secret_data};

/// Reads Secrets: from the API server at each use, or from a cache of all Secrets if the gate `CacheSecretsAndConfigMaps`
/// is on (SC-PROC-052).
#[derive(Clone)]
pub struct Secrets {
    reader: Reader<Secret>,
    /// When reading has to be over.
    deadline: Option<Instant>,
}

/// How long the cache of all Secrets may take to be there if no deadline is set, as long as upstream waits at its start.
const MAX_WAIT: Duration = Duration::from_mins(2);

/// Why a Secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretReadError {
    /// There is no Secret of this name. The text is that of the API server, also where the Secret was looked for in the cache.
    #[error("secrets \"{0}\" not found")]
    NotFound(String),
    /// The name is not valid, or the API server refused or did not answer.
    #[error(transparent)]
    Unreadable(Error),
    /// The time for reading is over.
    #[error("{}", flux_http::DEADLINE)]
    DeadlineExceeded,
}

/// Why a Secret that an object refers to is unusable.
#[derive(Debug, thiserror::Error)]
pub enum ReferredError {
    /// There is no Secret of this name (SC-AUTH-006).
    #[error("secret '{0}' not found")]
    NotFound(String),
    /// It could not be read.
    #[error("failed to get secret '{secret}'")]
    Read {
        /// `namespace/name`.
        secret: String,
        /// Why.
        #[source]
        source: SecretReadError,
    },
    /// Its data is not what it is referred to for.
    #[error(transparent)]
    Data(#[from] SecretError),
}

impl Secrets {
    /// Reads Secrets as the gate `CacheSecretsAndConfigMaps` says: from the API server at each use, or from a cache of all of
    /// them, which is filled while this process leads (SC-PROC-052, IR-PROC-026, IA-PROC-023).
    pub fn from_manager(manager: &mut Manager) -> Self {
        if !manager.gates.enabled("CacheSecretsAndConfigMaps") {
            return Self::new(Reader::Direct(manager.client.clone()));
        }
        let cache = Cache::default();
        manager.follow(manager.api(), watcher::Config::default(), cache.clone());
        Self::new(Reader::Cached(cache))
    }

    /// Reads Secrets with `reader`.
    pub fn new(reader: Reader<Secret>) -> Self {
        Self {
            reader,
            deadline: None,
        }
    }

    /// The same Secrets, for a step of a run that may take `limit` in all.
    pub fn within(&self, limit: Duration) -> Self {
        Self {
            reader: self.reader.clone(),
            deadline: Some(Instant::now() + limit),
        }
    }

    /// Reads a Secret that an object refers to.
    ///
    /// # Errors
    /// [`ReferredError::NotFound`] or [`ReferredError::Read`].
    pub async fn referred(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Secret>, ReferredError> {
        let secret = || format!("{namespace}/{name}");
        self.read(namespace, name)
            .await
            .map_err(|source| match source {
                SecretReadError::NotFound(_) => ReferredError::NotFound(secret()),
                source => ReferredError::Read {
                    secret: secret(),
                    source,
                },
            })
    }

    /// The proxy of a `proxySecretRef` (SC-AUTH-005, IR-AUTH-012).
    ///
    /// # Errors
    /// [`ReferredError`].
    pub async fn proxy(&self, namespace: &str, name: &str) -> Result<Proxy, ReferredError> {
        let secret = self.referred(namespace, name).await?;
        Ok(secret_data(&secret, namespace, name).proxy()?.into())
    }

    /// The certificates of a `certSecretRef`; its authorities are trusted besides the system's (SC-AUTH-002 to SC-AUTH-004).
    ///
    /// # Errors
    /// [`ReferredError`].
    pub async fn tls(&self, namespace: &str, name: &str) -> Result<TlsSettings, ReferredError> {
        let secret = self.referred(namespace, name).await?;
        let data = secret_data(&secret, namespace, name);
        let settings = data.tls(RootCertificates::AddToSystem)?;
        log_legacy_keys(&data);
        Ok(settings)
    }

    /// Reads a Secret. There is no watch: a change takes effect at the next reconcile (SC-AUTH-001). Waiting for the cache
    /// of all Secrets ends with the deadline, too: their list may be forbidden.
    ///
    /// # Errors
    /// [`SecretReadError`].
    pub async fn read(&self, namespace: &str, name: &str) -> Result<Arc<Secret>, SecretReadError> {
        let deadline = self.deadline.unwrap_or_else(|| Instant::now() + MAX_WAIT);
        let read = timeout_at(deadline, async {
            self.reader.synced().await;
            self.reader.get(&Key::new(namespace, name)).await
        });
        let read = read.await.map_err(|_| SecretReadError::DeadlineExceeded)?;
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
pub fn log_legacy_keys(secret: &SecretData<'_>) {
    for legacy in secret.legacy_tls_keys() {
        tracing::error!(
            secret = secret.name(),
            key = legacy.key,
            preferred = legacy.preferred,
            "using legacy key in secret data"
        );
    }
}

#[cfg(test)]
mod tests {
    use flux_runtime::watch::Cache;

    use super::*;

    // SC-PROC-052
    #[tokio::test(start_paused = true)]
    async fn waiting_for_the_cache_ends_with_the_run() {
        let secrets = Secrets::new(Reader::Cached(Cache::default()));
        for secrets in [secrets.within(Duration::from_secs(1)), secrets] {
            let read = secrets.read("ns", "name").await;
            let error = read.unwrap_err();
            assert!(matches!(error, SecretReadError::DeadlineExceeded));
            assert_eq!(error.to_string(), "context deadline exceeded");
        }
    }
}
