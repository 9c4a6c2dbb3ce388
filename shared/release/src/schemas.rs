//! Documents that the schemas of charts refer to by `http` and `https` (HE-SCHEMA-005).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flux_budget::{Budget, Claim};
use flux_errors::chain;
use flux_helm::{Fetched, ParsedChart, Remotes, RenderError, RenderOptions, Rendered, Values};
use flux_http::{PublicError, PublicFetch};
use url::Url;

/// The environment variable that, with the value `true`, allows schemas to refer to loopback, link-local and private
/// hosts: URLs in a chart are then fetched from inside the cluster's network.
pub const ALLOW_PRIVATE: &str = "FLUX_SCHEMA_ALLOW_PRIVATE";

/// The size limit of one document in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 5 * 1024 * 1024;

/// The size limit in bytes of all documents that the schemas of one chart refer to.
pub const MAX_DOCUMENTS_BYTES: usize = 16 * 1024 * 1024;

/// The limit for the number of documents that the schemas of one chart refer to.
pub const MAX_CHART_DOCUMENTS: usize = 64;

/// Timeout of fetching one document, as in Helm.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Timeout of fetching all documents of one render.
const TOTAL_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a document is cached. Helm fetches it for each render.
const MAX_AGE: Duration = Duration::from_mins(10);

/// The limits of the cache in bytes and documents.
const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;
const MAX_KEPT: usize = 256;

/// Helm's user agent.
const USER_AGENT: &str = "Helm/4.2";

/// Fetches such documents from public hosts, with limits on time, size and number, and caches them for some minutes.
/// One instance serves all charts of a process.
#[derive(Debug)]
pub struct SchemaDocuments {
    fetch: PublicFetch,
    budget: Budget,
    kept: Mutex<HashMap<String, Kept>>,
}

#[derive(Debug)]
struct Kept {
    text: bytes::Bytes,
    since: Instant,
    _claim: Claim,
}

impl SchemaDocuments {
    /// The memory of documents is claimed from `budget`. The environment of the process configures proxies, and whether
    /// hosts that are not public are allowed ([`ALLOW_PRIVATE`]).
    pub fn from_environment(budget: &Budget) -> Self {
        let allowed = std::env::var(ALLOW_PRIVATE).is_ok_and(|value| value == "true");
        let fetch = PublicFetch {
            allow_private: allowed,
            ..PublicFetch::default()
        };
        Self::new(budget, fetch)
    }

    /// Documents are fetched with `fetch`, whose limits are replaced by Helm's.
    pub fn new(budget: &Budget, fetch: PublicFetch) -> Self {
        Self {
            fetch: PublicFetch {
                timeout: TIMEOUT,
                limit: MAX_DOCUMENT_BYTES,
                user_agent: Some(USER_AGENT.to_owned()),
                ..fetch
            },
            budget: budget.clone(),
            kept: Mutex::default(),
        }
    }

    /// Renders a chart on a thread of its own, with the documents that its schemas refer to.
    ///
    /// # Errors
    /// As [`ParsedChart::render`], except for [`RenderError::Needs`]: a document that cannot be fetched fails the
    /// schema that refers to it.
    pub async fn render(
        &self,
        chart: ParsedChart,
        values: Values,
        mut options: RenderOptions,
    ) -> Result<Rendered, RenderError> {
        let values = Arc::new(values);
        let until = Instant::now() + TOTAL_TIMEOUT;
        loop {
            let (chart, values, current) = (chart.clone(), Arc::clone(&values), options.clone());
            let rendered = tokio::task::spawn_blocking(move || chart.render(&values, &current));
            match rendered.await {
                Ok(Err(RenderError::Needs(addresses))) => {
                    self.add(&addresses, &mut options.remotes, until).await;
                }
                Ok(rendered) => return rendered,
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                // The runtime is shutting down, and this task with it.
                Err(_) => std::future::pending().await,
            }
        }
    }

    /// Adds the content of the documents at `addresses`, or why they could not be fetched.
    async fn add(&self, addresses: &[String], remotes: &mut Remotes, until: Instant) {
        for address in addresses {
            let fetched = if remotes.iter().count() >= MAX_CHART_DOCUMENTS {
                Err(format!(
                    "the chart's schemas refer to more than {MAX_CHART_DOCUMENTS} documents"
                ))
            } else {
                let fetched = self.document(address);
                let left = until.saturating_duration_since(Instant::now());
                let fetched = tokio::time::timeout(left, fetched).await;
                fetched.unwrap_or_else(|_| {
                    Err(format!(
                        "HTTP request failed for {address}: context deadline exceeded"
                    ))
                })
            };
            let size = fetched.as_ref().map_or(0, bytes::Bytes::len);
            let fetched = if remotes.size() + size > MAX_DOCUMENTS_BYTES {
                Err(format!(
                    "the documents that the chart's schemas refer to have more than {MAX_DOCUMENTS_BYTES} bytes"
                ))
            } else {
                fetched
            };
            remotes.insert(address.clone(), fetched);
        }
    }

    async fn document(&self, address: &str) -> Fetched {
        if let Some(text) = self.kept(address) {
            return Ok(text);
        }
        let url = Url::parse(address)
            .map_err(|error| format!("failed to create HTTP request for {address}: {error}"))?;
        let claim = self.budget.claim();
        claim
            .take(MAX_DOCUMENT_BYTES as u64)
            .map_err(|error| format!("HTTP request failed for {address}: {error}"))?;
        let text = self
            .fetch
            .get(&url)
            .await
            .map_err(|error| refused(address, &error))?;
        claim.give_back((MAX_DOCUMENT_BYTES - text.len()) as u64);
        self.keep(address, &text, claim);
        Ok(text)
    }

    fn kept(&self, address: &str) -> Option<bytes::Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept.get(address)?;
        (kept.since.elapsed() < MAX_AGE).then(|| kept.text.clone())
    }

    fn keep(&self, address: &str, text: &bytes::Bytes, claim: Claim) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| kept.since.elapsed() < MAX_AGE);
        kept.remove(address);
        while kept.len() >= MAX_KEPT
            || kept.values().map(|kept| kept.text.len()).sum::<usize>() + text.len()
                > MAX_KEPT_BYTES
        {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.since);
            let Some(oldest) = oldest.map(|(address, _)| address.clone()) else {
                break;
            };
            kept.remove(&oldest);
        }
        kept.insert(
            address.to_owned(),
            Kept {
                text: text.clone(),
                since: Instant::now(),
                _claim: claim,
            },
        );
    }
}

/// Helm's error text.
fn refused(address: &str, error: &PublicError) -> String {
    match error {
        PublicError::Status(status) => format!(
            "HTTP request to {address} returned status {} ({})",
            status.as_u16(),
            status.canonical_reason().unwrap_or_default()
        ),
        PublicError::Private { .. } => format!(
            "HTTP request failed for {address}: {error}: {ALLOW_PRIVATE}=true in the controller's environment allows it"
        ),
        error => format!("HTTP request failed for {address}: {}", chain(error)),
    }
}

#[cfg(test)]
mod tests;
