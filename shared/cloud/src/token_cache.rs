//! A cache of tokens that evicts them before they expire.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use flux_errors::chain;
use flux_http::Secret;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex as AsyncMutex;

/// The longest time that a token is cached.
const MAX_LIFE: Duration = Duration::from_hours(1);
/// The part of a token's remaining life for which it is cached, in percent.
const LIFE_PERCENT: u32 = 80;

/// A token and its expiry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token itself.
    pub value: Secret,
    /// When it expires.
    pub expires: SystemTime,
}

/// Cache key: a hash of every input of the token request, so that only requests with the same identity share a token
/// (SC-AUTH-071).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The key of these named parts, in this order.
    pub fn of(parts: &[(&str, &[u8])]) -> Self {
        let mut hash = Sha256::new();
        for (name, value) in parts {
            for part in [name.as_bytes(), value] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part);
            }
        }
        Self(hash.finalize().into())
    }
}

/// Whether a lookup found a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// It was cached.
    Hit,
    /// It was requested.
    Miss,
}

/// An LRU cache of tokens (SC-AUTH-070). Concurrent lookups of one key share one request (SC-AUTH-072).
pub struct TokenCache {
    size: usize,
    max_life: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    kept: HashMap<CacheKey, Kept>,
    fetching: HashMap<CacheKey, Arc<AsyncMutex<()>>>,
    clock: u64,
    evicted: u64,
}

struct Kept {
    token: Token,
    /// By both clocks: a machine that was suspended must not use an expired token.
    until: (Instant, SystemTime),
    used: u64,
}

impl TokenCache {
    /// A cache of `size` tokens (0 disables caching), each cached for at most `max_life` and at most an hour
    /// (SC-PROC-034).
    pub fn new(size: usize, max_life: Duration) -> Self {
        Self {
            size,
            max_life: max_life.min(MAX_LIFE),
            state: Mutex::default(),
        }
    }

    /// The token of `key`, requested with `fetch` unless a valid one is cached.
    pub async fn get<E, F>(
        &self,
        key: CacheKey,
        fetch: impl FnOnce() -> F,
    ) -> Result<(Token, Lookup), E>
    where
        E: std::error::Error,
        F: Future<Output = Result<Token, E>>,
    {
        if self.size == 0 {
            return Ok((fetch().await?, Lookup::Miss));
        }
        if let Some(token) = self.state().find(&key) {
            return Ok((token, Lookup::Hit));
        }
        let fetching = self
            .state()
            .fetching
            .entry(key.clone())
            .or_default()
            .clone();
        let turn = fetching.lock().await;
        if let Some(token) = self.state().find(&key) {
            return Ok((token, Lookup::Hit));
        }
        let fetched = fetch().await;
        report(&key, &fetched);
        let mut state = self.state();
        drop(turn);
        // Other waiters find the token in the cache. After a failure the last of them (one count is the map's, one its
        // own) removes the entry.
        if fetched.is_ok() || Arc::strong_count(&fetching) <= 2 {
            state.fetching.remove(&key);
        }
        let token = fetched?;
        let left = token
            .expires
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        let life = (left * LIFE_PERCENT / 100).min(self.max_life);
        state.keep(key, token.clone(), life, self.size);
        Ok((token, Lookup::Miss))
    }

    /// The number of cached tokens.
    pub fn len(&self) -> usize {
        self.state().kept.len()
    }

    /// Whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of tokens evicted to make room for others.
    pub fn evicted(&self) -> u64 {
        self.state().evicted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs a request at debug level: the token's lifetime, never the token (RT-WID-026).
fn report<E: std::error::Error>(key: &CacheKey, fetched: &Result<Token, E>) {
    match fetched {
        Ok(token) => {
            let left = token.expires.duration_since(SystemTime::now());
            tracing::debug!(%key, token.duration = ?left.unwrap_or_default(), "item refreshed");
        }
        Err(error) => tracing::debug!(%key, error = chain(error), "item refresh failed"),
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl State {
    fn find(&mut self, key: &CacheKey) -> Option<Token> {
        self.clock += 1;
        let (now, date) = (Instant::now(), SystemTime::now());
        if self
            .kept
            .get(key)
            .is_some_and(|kept| kept.until.0 <= now || kept.until.1 <= date)
        {
            self.kept.remove(key);
        }
        let kept = self.kept.get_mut(key)?;
        kept.used = self.clock;
        Some(kept.token.clone())
    }

    fn keep(&mut self, key: CacheKey, token: Token, life: Duration, size: usize) {
        self.clock += 1;
        let kept = Kept {
            token,
            until: (Instant::now() + life, SystemTime::now() + life),
            used: self.clock,
        };
        self.kept.insert(key, kept);
        while self.kept.len() > size {
            let oldest = self
                .kept
                .iter()
                .min_by_key(|(_, kept)| kept.used)
                .map(|(key, _)| key.clone());
            let Some(oldest) = oldest else { break };
            self.kept.remove(&oldest);
            self.evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::Lookup::{Hit, Miss};
    use super::*;

    fn token(text: &str, life: Duration) -> Token {
        Token {
            value: text.into(),
            expires: SystemTime::now() + life,
        }
    }

    fn key(name: &str) -> CacheKey {
        CacheKey::of(&[("name", name.as_bytes())])
    }

    async fn ask(cache: &TokenCache, name: &str, life: Duration) -> Lookup {
        let fetch = || async { Ok::<_, Infallible>(token(name, life)) };
        let (token, lookup) = cache.get(key(name), fetch).await.unwrap();
        assert_eq!(token.value, name.into());
        lookup
    }

    const HOUR: Duration = Duration::from_hours(1);

    // SC-AUTH-070, RT-WID-022
    #[tokio::test]
    async fn the_least_recently_used_token_is_evicted_first() {
        let cache = TokenCache::new(2, HOUR);
        let mut lookups = Vec::new();
        for name in ["a", "b", "a", "c", "a", "b"] {
            lookups.push(ask(&cache, name, HOUR).await);
        }
        assert_eq!(lookups, [Miss, Miss, Hit, Miss, Hit, Miss]);
        assert_eq!((cache.len(), cache.evicted()), (2, 2));
        // SC-PROC-034, RT-WID-027
        let off = TokenCache::new(0, HOUR);
        assert_eq!(
            [ask(&off, "a", HOUR).await, ask(&off, "a", HOUR).await],
            [Miss, Miss]
        );
        assert!(off.is_empty());
    }

    // SC-AUTH-070
    #[tokio::test]
    async fn an_expired_token_is_requested_again() {
        let cache = TokenCache::new(2, HOUR);
        ask(&cache, "over", Duration::ZERO).await;
        assert_eq!(ask(&cache, "over", Duration::ZERO).await, Lookup::Miss);
        let short = TokenCache::new(2, Duration::ZERO);
        ask(&short, "a", HOUR).await;
        assert_eq!(ask(&short, "a", HOUR).await, Lookup::Miss);
    }

    // SC-AUTH-070, RT-WID-022, KC-PROC-059: 80 % of what is left, by both clocks, an hour at most
    #[tokio::test]
    async fn tokens_are_cached_for_part_of_their_lifetime() {
        for (life, max, want) in [
            (HOUR, HOUR, 2880),
            (4 * HOUR, 4 * HOUR, 3600),
            (HOUR, HOUR / 4, 900),
        ] {
            let cache = TokenCache::new(2, max);
            ask(&cache, "a", life).await;
            let until = cache.state().kept[&key("a")].until;
            let left = until.0.duration_since(Instant::now()).as_secs_f64();
            assert!(
                (left - f64::from(want)).abs() < 30.0,
                "{left} is not {want}"
            );
            let left = until
                .1
                .duration_since(SystemTime::now())
                .unwrap()
                .as_secs_f64();
            assert!(
                (left - f64::from(want)).abs() < 30.0,
                "{left} is not {want}"
            );
        }
    }

    // SC-AUTH-072
    #[tokio::test]
    async fn concurrent_lookups_share_one_request() {
        let cache = Arc::new(TokenCache::new(2, HOUR));
        let fetches = Arc::new(AtomicUsize::new(0));
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let (cache, fetches) = (cache.clone(), fetches.clone());
                tokio::spawn(async move {
                    let fetch = || async {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        tokio::task::yield_now().await;
                        Ok::<_, Infallible>(token("a", HOUR))
                    };
                    cache.get(key("a"), fetch).await.unwrap().1
                })
            })
            .collect();
        let mut misses = 0;
        for asked in asking {
            misses += usize::from(asked.await.unwrap() == Lookup::Miss);
        }
        assert_eq!((fetches.load(Ordering::SeqCst), misses), (1, 1));
        assert!(cache.state().fetching.is_empty());
    }

    #[tokio::test]
    async fn failures_are_not_cached() {
        let cache = TokenCache::new(2, HOUR);
        let refused = || async { Err::<Token, _>(fmt::Error) };
        let failed = cache.get(key("a"), refused).await;
        assert_eq!(failed, Err(fmt::Error));
        assert_eq!(ask(&cache, "a", HOUR).await, Lookup::Miss);
        assert!(cache.state().fetching.is_empty());
    }

    // RT-WID-025: waiting for one token does not block requests for another
    #[tokio::test]
    async fn a_slow_request_does_not_block_other_keys() {
        let cache = Arc::new(TokenCache::new(2, HOUR));
        let slow = cache.clone();
        let never = || std::future::pending::<Result<Token, Infallible>>();
        let slow = tokio::spawn(async move { slow.get(key("slow"), never).await.map(|_| ()) });
        tokio::task::yield_now().await;
        assert!(!cache.state().fetching.is_empty());
        assert_eq!(ask(&cache, "quick", HOUR).await, Miss);
        slow.abort();
    }

    // SC-AUTH-071
    #[test]
    fn keys_of_parts_with_the_same_concatenation_differ() {
        assert_ne!(CacheKey::of(&[("a", b"bc")]), CacheKey::of(&[("ab", b"c")]));
        assert_ne!(
            CacheKey::of(&[("a", b"b"), ("c", b"")]),
            CacheKey::of(&[("a", b"bc")])
        );
    }
}
