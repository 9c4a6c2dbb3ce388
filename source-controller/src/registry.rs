//! Requests to OCI registries that may take only so long.

use std::time::Duration;

use flux_identity::IdentityError;
use tokio::time::timeout;

/// Why something could not be read from a registry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryFault {
    #[error("context deadline exceeded")]
    Timeout,
    #[error(transparent)]
    Registry(flux_oci::Error),
    /// There are no credentials to ask it with (SC-OCI-023).
    #[error(transparent)]
    Identity(Box<IdentityError>),
}

/// The result of reading from a registry, unless it takes longer than `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, flux_oci::Error>>,
) -> Result<T, RegistryFault> {
    match timeout(limit, work).await {
        Err(_) => Err(RegistryFault::Timeout),
        Ok(result) => result.map_err(RegistryFault::Registry),
    }
}
