//! Microsoft Azure: access tokens of Entra ID, and the logins made of them.
//!
//! - [`default_token`] is the controller's own, found as in upstream (RT-WID-011).
//! - [`federated_token`] is what a token of a ServiceAccount is exchanged for (RT-WID-010).
//! - [`Credential`] is what a Secret holds (SC-AUTH-065).
//! - [`registry_login`] makes a login for Azure Container Registry (RT-WID-012).

mod certificate;
mod chain;
mod cloud;
mod entra;
mod error;
mod managed;
mod registry;

pub use certificate::Certificate;
pub use chain::default_token;
pub use cloud::{resource_manager, resource_manager_scope};
pub use entra::{Credential, federated_token};
pub use error::Error;
pub use registry::{REGISTRY_PATTERN, check_registry, registry_login, registry_scope};

/// The audience of tokens that are exchanged (RT-WID-010).
pub const AUDIENCE: &str = "api://AzureADTokenExchange";
/// The scope of Git repositories in Azure DevOps (RT-WID-014).
pub const SCOPE_DEVOPS: &str = "499b84ac-1321-427f-aa17-267ca6975798/.default";
/// The scope of Blob Storage (RT-WID-014).
pub const SCOPE_BLOB_STORAGE: &str = "https://storage.azure.com/.default";
/// The scope of Event Hubs, with upstream's two slashes (RT-WID-014).
pub const SCOPE_EVENT_HUBS: &str = "https://eventhubs.azure.net//.default";
/// The scope of the API servers of AKS clusters.
pub const SCOPE_AKS: &str = "6dae42f8-4368-4678-94ff-3960e28e3630/.default";
/// The scope of Key Vault.
pub const SCOPE_KEY_VAULT: &str = "https://vault.azure.net/.default";
