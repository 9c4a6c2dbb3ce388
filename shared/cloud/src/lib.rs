//! Credentials of clouds and code hosts, and a cache for their tokens.
//!
//! ```no_run
//! use std::time::Duration;
//! use flux_cloud::{GitHubApp, TokenCache};
//! use flux_http::{ClientOptions, SecretData};
//!
//! # async fn example(secret: SecretData<'_>) -> Result<(), Box<dyn std::error::Error>> {
//! let app = GitHubApp::new(secret.github_app()?)?;
//! let client = ClientOptions::default().build()?;
//! let cache = TokenCache::new(100, Duration::from_secs(3600));
//! let (token, _) = cache.get(app.cache_key(), || app.token(&client)).await?;
//! # let _ = token; Ok(()) }
//! ```
//!
//! Supported are GitHub Apps. Secrets are read by `flux-http`; what a token is used for is up to the caller.

#![forbid(unsafe_code)]

mod github_app;
mod token_cache;

pub use github_app::{GIT_USER, GitHubApp, GitHubAppError};
pub use token_cache::{CacheKey, Lookup, Token, TokenCache};
