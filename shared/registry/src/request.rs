//! Requests to OCI registries that may take only so long.

use std::time::Duration;

use flux_identity::IdentityError;
use flux_oci::Client;
use tokio::time::timeout;

/// Why something could not be read from a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryFault {
    /// Its time was over before a request was made.
    #[error("{}", flux_http::DEADLINE)]
    Timeout,
    /// The registry could not be asked, or refused.
    #[error(transparent)]
    Registry(flux_oci::Error),
    /// There are no credentials to ask it with (SC-OCI-023).
    #[error(transparent)]
    Identity(Box<IdentityError>),
}

impl RegistryFault {
    /// The error of the registry, if it was asked.
    pub fn registry(&self) -> Option<&flux_oci::Error> {
        match self {
            Self::Timeout | Self::Identity(_) => None,
            Self::Registry(error) => Some(error),
        }
    }
}

/// The result of reading from a registry with `client`, unless it takes longer than `limit`.
///
/// # Errors
/// [`RegistryFault::Registry`].
pub async fn within<T>(
    limit: Duration,
    client: &Client,
    work: impl Future<Output = Result<T, flux_oci::Error>>,
) -> Result<T, RegistryFault> {
    let ended = timeout(limit, work).await;
    let ended = ended.unwrap_or_else(|_| Err(client.deadline_exceeded()));
    ended.map_err(RegistryFault::Registry)
}
