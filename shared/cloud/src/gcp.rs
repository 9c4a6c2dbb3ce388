//! Google Cloud: access tokens, and the logins made of them.
//!
//! - [`default_token`] is the controller's own, found as Google's libraries find it.
//! - [`federated_token`] is what a token of a ServiceAccount is exchanged for (RT-WID-016).
//! - [`ServiceAccountKey`] is the key in a Secret (SC-AUTH-075).
//! - [`Cluster`] is the GKE cluster that this process runs in (RT-WID-015).
//! - [`registry_login`] makes a login for Artifact Registry (RT-WID-018).

mod default;
mod error;
mod federation;
mod key;
mod metadata;
mod registry;

pub use default::default_token;
pub use error::Error;
pub use federation::{Federation, check_email, federated_token, provider_audience};
pub use key::ServiceAccountKey;
pub use metadata::Cluster;
pub use registry::{REGISTRY_PATTERN, check_registry, registry_login};

/// The scopes that tokens are requested with (RT-WID-016).
pub const SCOPES: [&str; 2] = [
    "https://www.googleapis.com/auth/cloud-platform",
    "https://www.googleapis.com/auth/userinfo.email",
];
