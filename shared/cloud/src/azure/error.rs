//! Why no token could be obtained from Azure.

use crate::client::CallError;

/// Why no token could be obtained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A ServiceAccount has no tenant (RT-WID-010).
    #[error(
        "azure tenant ID is not set in the service account annotation azure.workload.identity/tenant-id"
    )]
    TenantMissing,
    /// A ServiceAccount has no client (RT-WID-010).
    #[error(
        "azure client ID is not set in the service account annotation azure.workload.identity/client-id"
    )]
    ClientMissing,
    /// A tenant is neither an ID nor a domain.
    #[error(
        "invalid tenantID. You can locate your tenantID by following the instructions listed here: https://learn.microsoft.com/partner-center/find-ids-and-domain-names"
    )]
    InvalidTenant,
    /// The authority is not an HTTPS address.
    #[error("invalid authority host: an absolute https URL is needed")]
    InvalidAuthority,
    /// A credential did not yield a token.
    #[error("{credential} authentication failed")]
    Token {
        /// The name of the credential in the SDK.
        credential: &'static str,
        /// Why.
        #[source]
        source: CallError,
    },
    /// A file cannot be read. Its content is not shown.
    #[error("failed to read {what} {path}")]
    File {
        /// What the file is.
        what: &'static str,
        /// Its path.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or its key cannot be used.
    #[error("failed to parse the client certificate: {0}")]
    Certificate(&'static str),
    /// The environment file has no usable JSON (RT-WID-013).
    #[error("failed to parse the Azure environment file (line {line}, column {column})")]
    EnvironmentFile {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// `AZURE_ENVIRONMENT_FILEPATH` is set but empty (RT-WID-013).
    #[error("environment variable AZURE_ENVIRONMENT_FILEPATH is not set")]
    EnvironmentFileUnset,
    /// The environment file lacks one of two values that belong together (RT-WID-013).
    #[error("resourceManagerEndpoint and tokenAudience must be set in the environment file")]
    EnvironmentFileEndpoints,
    /// The environment file lacks the suffix of registries (RT-WID-013).
    #[error(
        "failed to get container registry suffix from environment file: containerRegistryDNSSuffix must be set in the environment file"
    )]
    EnvironmentFileSuffix,
    /// Not a host of ACR (RT-WID-012).
    #[error("invalid Azure registry: '{0}'. must match {pattern}", pattern = super::REGISTRY_PATTERN)]
    Registry(String),
    /// Not a host of ACR by the environment file (RT-WID-013).
    #[error("invalid Azure registry: '{host}'. must end with {suffix}")]
    RegistrySuffix {
        /// The host.
        host: String,
        /// The suffix.
        suffix: String,
    },
    /// The registry refused to exchange the token.
    #[error("failed to exchange the access token for a registry token")]
    Exchange(#[source] CallError),
}
