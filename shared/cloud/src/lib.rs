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
//! - [`aws`], [`azure`] and [`gcp`] obtain credentials by plain HTTP requests: the controller's own, those that a token
//!   of a ServiceAccount is exchanged for, and those of Secrets. Their requests are made by a [`CloudClient`].
//! - [`RegistryLogin`] is what each of them makes for its registries.
//! - [`GitHubApp`] obtains tokens of GitHub Apps.
//!
//! Secrets and ServiceAccounts are read elsewhere (`flux-http`, `flux-identity`); what a token is used for is up to the
//! caller.

#![forbid(unsafe_code)]

pub mod aws;
pub mod azure;
mod client;
mod environment;
mod file;
pub mod gcp;
mod github_app;
mod jwt;
mod login;
mod pattern;
mod token_cache;
mod xml;

pub use client::{AnswerError, CallError, CloudClient, TIMEOUT};
pub use environment::Environment;
pub use github_app::{GIT_USER, GitHubApp, GitHubAppError};
pub use jwt::{audiences, expiry};
pub use login::{GitLogin, RegistryLogin};
pub use token_cache::{CacheKey, Lookup, Token, TokenCache};
