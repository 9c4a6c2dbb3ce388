//! The flags of the token cache.

use std::time::Duration;

use clap::Args;
use flux_runtime::flags::{parse_count, parse_duration};

/// The cache of cloud tokens: all controllers but source-watcher.
#[derive(Args, Clone, Debug)]
pub struct TokenCacheFlags {
    /// The maximum number of cached tokens; zero disables the cache.
    #[arg(long, default_value = "100", value_parser = parse_count, allow_hyphen_values = true)]
    pub token_cache_max_size: usize,
    /// How long a token is cached, at most one hour.
    #[arg(long, default_value = "1h", value_parser = parse_duration)]
    pub token_cache_max_duration: Duration,
}
