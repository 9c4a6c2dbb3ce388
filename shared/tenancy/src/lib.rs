//! What an object may refer to, and on which cluster and as whom it acts.
//!
//! ```
//! use flux_runtime::queue::Key;
//! use flux_tenancy::{Access, Tenant};
//!
//! let access = Access { no_cross_namespace: true, external_artifacts: false };
//! let repository = Key::new("infra", "fleet");
//! assert!(access.check("infra", "GitRepository", &repository).is_ok());
//! let denied = access.check("apps", "GitRepository", &repository).unwrap_err();
//! assert_eq!(
//!     denied.to_string(),
//!     "can't access 'GitRepository/infra/fleet', cross-namespace references have been blocked"
//! );
//!
//! let tenant = Tenant::new("apps", None, "deployer");
//! assert_eq!(tenant.account.as_deref(), Some("deployer"));
//! ```
//!
//! - [`Access`] are the rules of the process on references; [`check_access_from`] are those of a referenced object.
//! - A [`Tenant`] is on whose behalf an object acts. [`Clusters`] gives its [`Cluster`](flux_cluster::Cluster): that of the
//!   controller or one that a kubeconfig or a ConfigMap describes, with the identity of the tenant.
//!
//! Errors are facts; what follows from them is in each kind's `failure.rs`.

#![forbid(unsafe_code)]

mod access;
mod authorities;
mod clusters;
mod flags;
mod kubeconfig;
mod remote;

pub use access::{Access, AccessDenied, check_access_from};
pub use clusters::{Acting, ActingError, Clusters, Remotes, Tenant};
pub use flags::{CrossNamespaceFlags, ImpersonationFlags, KubeConfigFlags};
pub use kubeconfig::KubeConfigError;
pub use remote::{OwnTokenError, RemoteError};
