//! How objects reach OCI registries: OCIRepository, HelmRepository, ImageRepository.
//!
//! - [`PullSecrets`] reads the docker configurations that an object names, in its own Secret and in those of its
//!   ServiceAccount.
//! - [`credentials`] logs in with the cloud identity that an object acts with.
//! - [`within`] limits the time of a request, with the error that upstream reports then.
//!
//! What a failure means (reason, event, retry) is in each kind's `failure.rs`, and so is the text around these errors.

#![forbid(unsafe_code)]

mod login;
mod pull_secrets;
mod request;

pub use login::{LoginError, credentials, login, provider};
pub use pull_secrets::{AccountError, CredentialError, PullSecrets};
pub use request::{RegistryFault, within};
