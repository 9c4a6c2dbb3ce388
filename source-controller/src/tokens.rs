//! The cache of tokens, measured (SC-PROC-093).

use std::{future::Future, sync::Arc, time::Duration};

use flux_cloud::{CacheKey, Lookup, Token, TokenCache};
use flux_runtime::queue::Key;
use kube::{Resource, ResourceExt};
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

const HIT: &str = "cache_hit";
const MISS: &str = "cache_miss";
const OPERATION: &str = "reconcile";

/// Tokens of all objects. Clones share them.
#[derive(Clone)]
pub(crate) struct Tokens {
    cache: Arc<TokenCache>,
    /// None where the cache is off.
    metrics: Option<Arc<Metrics>>,
}

struct Metrics {
    events: IntCounterVec,
    items: IntGauge,
    requests: IntCounterVec,
    evictions: IntCounter,
}

impl Tokens {
    /// A cache of `size` tokens; none and no metrics for zero (SC-PROC-034).
    pub(crate) fn new(
        size: usize,
        max_life: Duration,
        registry: &Registry,
    ) -> Result<Self, prometheus::Error> {
        let metrics = if size > 0 {
            Some(Arc::new(Metrics::registered(registry)?))
        } else {
            None
        };
        Ok(Self {
            cache: Arc::new(TokenCache::new(size, max_life)),
            metrics,
        })
    }

    /// The token of `key` on behalf of an object, fetched if it is not here.
    pub(crate) async fn get<K, E, F>(
        &self,
        object: &K,
        key: CacheKey,
        fetch: impl FnOnce() -> F,
    ) -> Result<Token, E>
    where
        K: Resource<DynamicType = ()>,
        E: std::error::Error,
        F: Future<Output = Result<Token, E>>,
    {
        let got = self.cache.get(key, fetch).await;
        if let Some(metrics) = &self.metrics {
            let result = if got.is_ok() { "success" } else { "failure" };
            metrics.requests.with_label_values(&[result]).inc();
            let event = if matches!(got, Ok((_, Lookup::Hit))) {
                HIT
            } else {
                MISS
            };
            let kind = K::kind(&());
            let (name, namespace) = (object.name_any(), object.namespace().unwrap_or_default());
            let labels = [event, &*kind, &*name, &*namespace, OPERATION];
            metrics.events.with_label_values(&labels).inc();
            metrics
                .items
                .set(i64::try_from(self.cache.len()).unwrap_or(i64::MAX));
            let evicted = self.cache.evicted().saturating_sub(metrics.evictions.get());
            metrics.evictions.inc_by(evicted);
        }
        got.map(|(token, _)| token)
    }

    /// Takes away the series of an object that is gone.
    pub(crate) fn forget(&self, kind: &str, key: &Key) {
        let Some(metrics) = &self.metrics else { return };
        for event in [HIT, MISS] {
            // An object that never had a token has no series.
            let _ = metrics.events.remove_label_values(&[
                event,
                kind,
                &key.name,
                &key.namespace,
                OPERATION,
            ]);
        }
    }
}

impl Metrics {
    fn registered(registry: &Registry) -> Result<Self, prometheus::Error> {
        let events = IntCounterVec::new(
            Opts::new(
                "gotk_token_cache_events_total",
                "Total number of cache retrieval events for a Gitops Toolkit resource reconciliation.",
            ),
            &["event_type", "kind", "name", "namespace", "operation"],
        )?;
        let items = IntGauge::new(
            "gotk_token_cached_items",
            "Total number of items in the cache.",
        )?;
        let requests = IntCounterVec::new(
            Opts::new(
                "gotk_token_cache_requests_total",
                "Total number of cache requests partitioned by success or failure.",
            ),
            &["status"],
        )?;
        let evictions = IntCounter::new(
            "gotk_token_cache_evictions_total",
            "Total number of cache evictions.",
        )?;
        registry.register(Box::new(events.clone()))?;
        registry.register(Box::new(items.clone()))?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(evictions.clone()))?;
        Ok(Self {
            events,
            items,
            requests,
            evictions,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::SystemTime};

    use flux_api::source::{GitRepository, GitRepositorySpec};
    use prometheus::{Encoder, TextEncoder};

    use super::*;

    fn page(registry: &Registry) -> Vec<String> {
        let mut page = Vec::new();
        TextEncoder::new()
            .encode(&registry.gather(), &mut page)
            .unwrap();
        let lines = String::from_utf8(page).unwrap();
        lines
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned)
            .collect()
    }

    // SC-PROC-034, SC-PROC-093
    #[tokio::test]
    async fn tokens_are_counted() {
        let registry = Registry::new();
        let tokens = Tokens::new(1, Duration::from_hours(1), &registry).unwrap();
        let mut object = GitRepository::new("app", GitRepositorySpec::default());
        object.metadata.namespace = Some("ns".into());
        let token = || async {
            Ok::<_, Infallible>(Token {
                value: "t".into(),
                expires: SystemTime::now() + Duration::from_hours(1),
            })
        };
        for name in ["a", "a", "b"] {
            tokens
                .get(&object, CacheKey::of(&[("name", name.as_bytes())]), token)
                .await
                .unwrap();
        }
        let labels = "kind=\"GitRepository\",name=\"app\",namespace=\"ns\",operation=\"reconcile\"";
        assert_eq!(
            page(&registry),
            [
                format!("gotk_token_cache_events_total{{event_type=\"cache_hit\",{labels}}} 1"),
                format!("gotk_token_cache_events_total{{event_type=\"cache_miss\",{labels}}} 2"),
                "gotk_token_cache_evictions_total 1".to_owned(),
                "gotk_token_cache_requests_total{status=\"success\"} 3".to_owned(),
                "gotk_token_cached_items 1".to_owned(),
            ]
        );
        tokens.forget("GitRepository", &Key::new("ns", "app"));
        assert_eq!(page(&registry).len(), 3);
        let off = Registry::new();
        let tokens = Tokens::new(0, Duration::from_hours(1), &off).unwrap();
        tokens.get(&object, CacheKey::of(&[]), token).await.unwrap();
        assert!(page(&off).is_empty());
    }
}
