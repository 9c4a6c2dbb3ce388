//! Cloud identities of objects: their tokens, cached and counted.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use flux_api::source::GitRepository;
//! use flux_cloud::GitHubApp;
//! use flux_identity::Tokens;
//! use flux_runtime::metrics::Metrics;
//!
//! # async fn example(app: GitHubApp, client: reqwest::Client, object: GitRepository) -> Result<(), Box<dyn std::error::Error>> {
//! let tokens = Tokens::new(100, Duration::from_secs(3600), &Metrics::new()?)?;
//! let token = tokens.get(&object, app.cache_key(), || app.token(&client)).await?;
//! # let _ = token; Ok(()) }
//! ```
//!
//! - [`Identities`] gives an object the credentials of the ServiceAccount that it names, of its namespace's default one,
//!   or of the controller: for AWS, Azure and Google Cloud, and as logins for registries and Git hosts (RT-WID rows).
//! - [`Tokens`] is the token cache of a process with its metrics, which follow the objects that tokens are for.
//! - [`TokenCacheFlags`] are its flags.
//!
//! `flux-cloud` obtains the tokens. Controllers without cloud identities (source-watcher) do not need this crate.

#![forbid(unsafe_code)]

mod account;
mod error;
mod flags;
mod generic;
mod identities;
mod logins;
mod provider;
mod tokens;

pub use error::{CloudError, IdentityError};
pub use flags::TokenCacheFlags;
pub use identities::{Identities, Identity};
pub use provider::Provider;
pub use tokens::{Involved, OPERATIONS, POST, Tokens};
