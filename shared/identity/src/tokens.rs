//! Tokens for cloud providers and code hosts, cached and counted (RT-MET-008..010, RT-WID-022).

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use flux_cloud::{CacheKey, Lookup, Token, TokenCache};
use flux_runtime::metrics::Metrics;
use kube::{Resource, ResourceExt};
use prometheus::core::Collector;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry, Result};

use crate::TokenCacheFlags;

const HIT: &str = "cache_hit";
const MISS: &str = "cache_miss";
/// What the tokens of most controllers are for.
const OPERATION: &str = "reconcile";
/// What tokens are for, as the metrics name it (KC-PROC-055, KC-PROC-076, NC-PROC-057).
pub const OPERATIONS: [&str; 7] = [
    OPERATION,
    "fetch_kubeconfig",
    "decrypt_with_aws",
    "decrypt_with_azure",
    "decrypt_with_gcp",
    "decrypt_with_transit_engine",
    POST,
];

/// What notification-controller's tokens are for.
pub const POST: &str = "post";

/// The tokens of all objects of a controller. Clones share them.
#[derive(Clone)]
pub struct Tokens {
    cache: Arc<TokenCache>,
    /// `None` if the cache is disabled.
    families: Option<Arc<Families>>,
    /// What tokens are for, unless a caller says otherwise.
    operation: &'static str,
}

/// The metrics of an enabled cache.
struct Families {
    events: IntCounterVec,
    items: IntGauge,
    requests: IntCounterVec,
    evictions: IntCounter,
}

/// The object that the metrics name for a token (RT-MET-008).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Involved {
    kind: String,
    namespace: String,
    name: String,
}

impl Involved {
    /// This object.
    pub fn of<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self {
            kind: K::kind(&()).into_owned(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        }
    }
}

impl Tokens {
    /// The cache that the flags configure, counted in `metrics`.
    ///
    /// # Errors
    /// As [`Tokens::new`].
    pub fn from_flags(flags: &TokenCacheFlags, metrics: &Metrics) -> Result<Self> {
        let (size, max_life) = (flags.token_cache_max_size, flags.token_cache_max_duration);
        Self::new(size, max_life, metrics)
    }

    /// A cache of `size` tokens, each cached for at most `max_life`; zero disables cache and metrics (RT-FLM-025,
    /// RT-FLM-026).
    ///
    /// # Errors
    /// `metrics` already have such a cache: there is one per process.
    pub fn new(size: usize, max_life: Duration, metrics: &Metrics) -> Result<Self> {
        let families = if size > 0 {
            let families = Arc::new(Families::registered(metrics.registry())?);
            let forgetting = families.clone();
            metrics.on_forget(move |kind, name, namespace| {
                forgetting.forget(kind, name, namespace);
            });
            Some(families)
        } else {
            None
        };
        Ok(Self {
            cache: Arc::new(TokenCache::new(size, max_life)),
            families,
            operation: OPERATION,
        })
    }

    /// The same tokens, counted as for another operation than a reconcile (NC-PROC-057).
    #[must_use]
    pub fn for_operation(self, operation: &'static str) -> Self {
        Self { operation, ..self }
    }

    /// What tokens are for, unless a caller says otherwise.
    pub(crate) fn operation(&self) -> &'static str {
        self.operation
    }

    /// The token of `key` on behalf of `object`, obtained by `fetch` unless it is cached (RT-WID-022).
    ///
    /// # Errors
    /// The error of `fetch`.
    pub async fn get<K, E, F>(
        &self,
        object: &K,
        key: CacheKey,
        fetch: impl FnOnce() -> F,
    ) -> std::result::Result<Token, E>
    where
        K: Resource<DynamicType = ()>,
        E: std::error::Error,
        F: Future<Output = std::result::Result<Token, E>>,
    {
        self.get_for(self.operation, object, key, fetch).await
    }

    /// As [`Tokens::get`], counted as of this operation, one of [`OPERATIONS`] (KC-PROC-055).
    ///
    /// # Errors
    /// The error of `fetch`.
    pub async fn get_for<K, E, F>(
        &self,
        operation: &'static str,
        object: &K,
        key: CacheKey,
        fetch: impl FnOnce() -> F,
    ) -> std::result::Result<Token, E>
    where
        K: Resource<DynamicType = ()>,
        E: std::error::Error,
        F: Future<Output = std::result::Result<Token, E>>,
    {
        let involved = Involved::of(object);
        self.get_involving(operation, &involved, key, fetch).await
    }

    /// As [`Tokens::get_for`], for an object that is not at hand itself.
    pub(crate) async fn get_involving<E, F>(
        &self,
        operation: &'static str,
        object: &Involved,
        key: CacheKey,
        fetch: impl FnOnce() -> F,
    ) -> std::result::Result<Token, E>
    where
        E: std::error::Error,
        F: Future<Output = std::result::Result<Token, E>>,
    {
        let got = self.cache.get(key, fetch).await;
        if let Some(families) = &self.families {
            let result = if got.is_ok() { "success" } else { "failure" };
            families.requests.with_label_values(&[result]).inc();
            let event = if matches!(got, Ok((_, Lookup::Hit))) {
                HIT
            } else {
                MISS
            };
            let Involved {
                kind,
                namespace,
                name,
            } = object;
            let labels = [event, &**kind, &**name, &**namespace, operation];
            families.events.with_label_values(&labels).inc();
            families
                .items
                .set(i64::try_from(self.cache.len()).unwrap_or(i64::MAX));
            let evicted = self
                .cache
                .evicted()
                .saturating_sub(families.evictions.get());
            families.evictions.inc_by(evicted);
        }
        got.map(|(token, _)| token)
    }
}

impl Families {
    fn registered(registry: &Registry) -> Result<Self> {
        let families = Self {
            events: registered(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "gotk_token_cache_events_total",
                        "Total number of cache retrieval events for a Gitops Toolkit resource reconciliation.",
                    ),
                    &["event_type", "kind", "name", "namespace", "operation"],
                ),
            )?,
            items: registered(
                registry,
                IntGauge::new(
                    "gotk_token_cached_items",
                    "Total number of items in the cache.",
                ),
            )?,
            requests: registered(
                registry,
                IntCounterVec::new(
                    Opts::new(
                        "gotk_token_cache_requests_total",
                        "Total number of cache requests partioned by success or failure.",
                    ),
                    &["status"],
                ),
            )?,
            evictions: registered(
                registry,
                IntCounter::new(
                    "gotk_token_cache_evictions_total",
                    "Total number of cache evictions.",
                ),
            )?,
        };
        for status in ["success", "failure"] {
            families.requests.with_label_values(&[status]); // there from the start (RT-MET-009)
        }
        Ok(families)
    }

    /// Removes the series of an object that is gone (RT-MET-010).
    fn forget(&self, kind: &str, name: &str, namespace: &str) {
        // An object that never had a token has no series.
        for event in [HIT, MISS] {
            for operation in OPERATIONS {
                let labels = [event, kind, name, namespace, operation];
                let _ = self.events.remove_label_values(&labels);
            }
        }
    }
}

/// Registers a metric that was created.
fn registered<C: Collector + Clone + 'static>(registry: &Registry, made: Result<C>) -> Result<C> {
    let metric = made?;
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::SystemTime;

    use flux_api::source::{GitRepository, GitRepositorySpec};
    use flux_runtime::metrics::Page;

    use super::*;

    fn lines(metrics: &Metrics) -> Vec<String> {
        let page = String::from_utf8(metrics.page(Page::default()).unwrap()).unwrap();
        page.lines()
            .filter(|line| line.starts_with("gotk_token"))
            .map(str::to_owned)
            .collect()
    }

    #[tokio::test]
    async fn tokens_are_counted() {
        // SC-PROC-093
        let metrics = Metrics::new().unwrap();
        let tokens = Tokens::new(1, Duration::from_hours(1), &metrics).unwrap();
        let there_from_the_start = [
            "gotk_token_cache_evictions_total 0",
            "gotk_token_cache_requests_total{status=\"failure\"} 0",
            "gotk_token_cache_requests_total{status=\"success\"} 0",
            "gotk_token_cached_items 0",
        ];
        // RT-MET-009
        assert_eq!(lines(&metrics), there_from_the_start);

        let mut object = GitRepository::new("app", GitRepositorySpec::default());
        object.metadata.namespace = Some("ns".into());
        let token = || async {
            Ok::<_, Infallible>(Token {
                value: "t".into(),
                expires: SystemTime::now() + Duration::from_hours(1),
            })
        };
        for name in ["a", "a", "b"] {
            let key = CacheKey::of(&[("name", name.as_bytes())]);
            tokens.get(&object, key, token).await.unwrap();
        }
        let refused = || async { Err::<Token, _>(std::fmt::Error) };
        let key = CacheKey::of(&[("name", b"c")]);
        assert_eq!(
            tokens.get(&object, key, refused).await,
            Err(std::fmt::Error)
        );
        let labels = "kind=\"GitRepository\",name=\"app\",namespace=\"ns\",operation=\"reconcile\"";
        assert_eq!(
            lines(&metrics),
            // RT-MET-008
            [
                format!("gotk_token_cache_events_total{{event_type=\"cache_hit\",{labels}}} 1"),
                format!("gotk_token_cache_events_total{{event_type=\"cache_miss\",{labels}}} 3"),
                "gotk_token_cache_evictions_total 1".to_owned(),
                "gotk_token_cache_requests_total{status=\"failure\"} 1".to_owned(),
                "gotk_token_cache_requests_total{status=\"success\"} 3".to_owned(),
                "gotk_token_cached_items 1".to_owned(),
            ]
        );
        // RT-MET-010, HC-PROC-049, HC-UNI-018
        metrics.forget("GitRepository", "app", "ns");
        assert_eq!(lines(&metrics).len(), 4);

        let off = Metrics::new().unwrap();
        let tokens = Tokens::new(0, Duration::from_hours(1), &off).unwrap();
        // SC-PROC-034, RT-WID-027, KC-PROC-027
        let asked = tokens.get(&object, CacheKey::of(&[]), token).await;
        assert!(asked.is_ok() && lines(&off).is_empty());
    }

    #[test]
    fn a_process_has_one_token_cache() {
        let metrics = Metrics::new().unwrap();
        let flags = TokenCacheFlags {
            token_cache_max_size: 1,
            token_cache_max_duration: Duration::from_hours(1),
        };
        Tokens::from_flags(&flags, &metrics).unwrap();
        assert!(Tokens::from_flags(&flags, &metrics).is_err());
        let off = TokenCacheFlags {
            token_cache_max_size: 0,
            ..flags
        };
        Tokens::from_flags(&off, &metrics).unwrap();
    }
}
