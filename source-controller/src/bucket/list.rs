//! Finds out what is in a bucket.

use std::path::Path;

use flux_api::source::BucketSpec;
use flux_bucket::{Room, Store};
use flux_budget::Claim;
use flux_ignore::{Filter, IGNORE_FILE, Patterns};
use tokio::time::{Instant, timeout_at};

use super::failure::{Fault, StepError};
use super::index::{Index, Object};

/// The most bytes of the ignore file.
const MAX_RULES: u64 = 4 << 20;
/// The most objects: consumers of artifacts take no more files.
const MAX_OBJECTS: usize = 1_000_000;

/// What was found in a bucket.
pub(super) struct Listed {
    /// The objects that the ignore rules do not exclude.
    pub(super) index: Index,
    /// Whether the ignore file was found and is in the folder.
    pub(super) has_rules: bool,
}

/// Checks that the bucket exists, downloads its ignore file to `rules`, and lists it (SC-BKT-020, SC-BKT-040 to SC-BKT-042).
pub(super) async fn index(
    store: &Store,
    spec: &BucketSpec,
    rules: &Path,
    claim: Claim,
    deadline: Instant,
) -> Result<Listed, StepError> {
    let bucket = || spec.bucket_name.clone();
    let exists = within(deadline, store.exists()).await;
    let exists = exists.map_err(|source| StepError::Existence {
        bucket: bucket(),
        source,
    })?;
    if !exists {
        return Err(StepError::NotFound(bucket()));
    }
    let room = Room::new(MAX_RULES);
    let has_rules = match within(deadline, store.download(IGNORE_FILE, rules, &room)).await {
        Ok(_) => true,
        Err(Fault::Store(error)) if error.is_missing_object() => false,
        Err(source) => return Err(StepError::IgnoreFile(source)),
    };
    let filter = filter(spec, has_rules.then_some(rules)).await?;

    let listed = list(store, spec, filter, claim, deadline).await;
    let index = listed.map_err(|source| StepError::Index {
        bucket: bucket(),
        source,
    })?;
    Ok(Listed { index, has_rules })
}

/// The filter of the ignore file, and of the spec's rules after it (SC-BKT-040).
async fn filter(spec: &BucketSpec, rules: Option<&Path>) -> Result<Filter, StepError> {
    let mut patterns = Patterns::new();
    if let Some(rules) = rules {
        let text = tokio::fs::read(rules).await;
        patterns.read("", text.map_err(StepError::ReadRules)?)?;
    }
    patterns.read("", spec.ignore.as_deref().unwrap_or_default())?;
    Ok(Filter::bare(patterns))
}

async fn list(
    store: &Store,
    spec: &BucketSpec,
    filter: Filter,
    claim: Claim,
    deadline: Instant,
) -> Result<Index, Fault> {
    let prefix = spec.prefix.as_deref().unwrap_or_default();
    let mut index = Index::new(claim);
    let mut pages = store.list(prefix);
    loop {
        let page = within(deadline, pages.next(index.claim())).await;
        let page = page.map_err(|fault| fault.of_list(&spec.bucket_name))?;
        let Some(page) = page else {
            return Ok(index);
        };
        for entry in page {
            if entry.key.ends_with('/') || entry.key == IGNORE_FILE {
                continue; // SC-BKT-034, SC-BKT-042
            }
            if filter.excludes(&entry.key, false)? {
                continue;
            }
            let object = Object {
                etag: entry.etag,
                size: entry.size,
            };
            index.add(entry.key, object)?;
            if index.len() > MAX_OBJECTS {
                return Err(Fault::TooMany(MAX_OBJECTS));
            }
        }
    }
}

/// Ends an operation at the deadline.
pub(super) async fn within<T>(
    deadline: Instant,
    operation: impl Future<Output = Result<T, flux_bucket::Error>>,
) -> Result<T, Fault> {
    match timeout_at(deadline, operation).await {
        Ok(result) => result.map_err(|error| Fault::Store(Box::new(error))),
        Err(_) => Err(Fault::Timeout),
    }
}
