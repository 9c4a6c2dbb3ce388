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
//! - [`Tokens`] is the token cache of a process with its metrics, which follow the objects that tokens are for.
//! - [`TokenCacheFlags`] are its flags.
//!
//! `flux-cloud` obtains the tokens. Controllers without cloud identities (source-watcher) do not need this crate.

#![forbid(unsafe_code)]

mod flags;
mod tokens;

pub use flags::TokenCacheFlags;
pub use tokens::{POST, Tokens};
