//! The chart in an artifact: downloaded, verified, loaded, and kept by digest (HC-CHART-020 to HC-CHART-033).

use std::sync::Arc;

use flux_artifact::{Artifacts, DigestMismatch, FetchError, Location};
use flux_budget::{Budget, Cache, Exhausted};
use flux_chart::with_build_metadata;
use flux_errors::chain;
use flux_helm::{Chart, LoadError, ParsedChart};
use flux_semver::Version;
use tokio::sync::Mutex;

use super::source::{Resolved, SourceKind};

/// How many digits of an artifact's digest become part of the chart's version (HC-CHART-026).
const DIGITS: usize = 12;

/// How many times its unpacked size a chart takes while it is loaded.
const COPIES: u64 = 2;

/// The charts of the process, each loaded and parsed once for all releases that use it.
pub(crate) struct Charts {
    artifacts: Artifacts,
    budget: Budget,
    kept: Cache<Identity, Loaded>,
    /// One chart is loaded at a time, so that releases that wait for the same one load it once.
    loading: Mutex<()>,
}

/// What identifies a loaded chart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    /// The digest of the artifact.
    digest: String,
    /// The revision that changes the chart's version; empty if none does.
    revision: String,
}

/// A chart with what its source says of it.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    identity: Identity,
    pub(super) chart: ParsedChart,
    /// The digest of the artifact in its registry; empty if the source has none (HC-CHART-030).
    pub(super) oci_digest: String,
}

/// Why there is no chart.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChartError {
    /// The artifact is being rebuilt (HC-CHART-022).
    #[error("failed to download chart from '{0}': file not found")]
    NotFound(String),
    /// The server answers with an error (HC-CHART-023).
    #[error("failed to download chart from '{url}' (status: {status})")]
    Status { url: String, status: String },
    /// No attempt got an answer, or the download ended early.
    #[error(transparent)]
    Fetch(Arc<FetchError>),
    /// The digest in the source's status is invalid (HC-CHART-024).
    #[error("failed to parse digest '{0}': {1}")]
    Digest(String, String),
    /// The file has another digest (HC-CHART-024).
    #[error("integrity failure: computed digest doesn't match '{0}'")]
    Integrity(String),
    /// The file is not a chart.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The chart does not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
    /// Loading ended without a result, which is a defect.
    #[error("loading the chart ended without a result")]
    Task,
    /// The chart's version does not agree with its source.
    #[error(transparent)]
    Mutate(#[from] MutateError),
}

/// Why a chart's version does not agree with the revision of its source (HC-CHART-027 to HC-CHART-029).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MutateError {
    #[error("invalid chart version {0}")]
    Version(String),
    #[error("artifact revision {tag} does not match chart version {version}")]
    Mismatch { tag: String, version: String },
    #[error("invalid artifact revision {0}")]
    Revision(String),
    /// The digest's digits cannot be part of a version.
    #[error("Invalid Metadata string")]
    Metadata,
}

impl Charts {
    /// Charts whose archives are downloaded by `artifacts`, with their memory claimed from `budget`.
    pub(crate) fn new(artifacts: Artifacts, budget: &Budget) -> Self {
        Self {
            artifacts,
            budget: budget.clone(),
            kept: Cache::new(budget, budget.limit() / 4),
            loading: Mutex::default(),
        }
    }

    /// The chart of a source. With `track` its version gets the digest of the artifact, if the source's revision has one
    /// (HC-CHART-026, HC-CHART-032).
    ///
    /// # Errors
    /// [`ChartError`]
    pub(super) async fn load(
        &self,
        source: &Resolved,
        track: bool,
    ) -> Result<Arc<Loaded>, ChartError> {
        let artifact = &source.artifact;
        let has_digest = has_digest(source.kind, &artifact.revision);
        let identity = Identity {
            digest: artifact.digest.clone(),
            revision: if has_digest {
                format!("{track} {}", artifact.revision)
            } else {
                String::new()
            },
        };
        if let Some(loaded) = self.kept.get(&identity) {
            return Ok(loaded);
        }
        let bytes = self.artifacts.bytes(Location {
            url: &artifact.url,
            path: &artifact.path,
            digest: &artifact.digest,
        });
        let bytes = bytes.await;
        let bytes = bytes.map_err(|error| fetch_error(error, &artifact.url, &artifact.digest))?;
        let _one = self.loading.lock().await;
        if let Some(loaded) = self.kept.get(&identity) {
            return Ok(loaded);
        }
        let (claim, limit) = (self.budget.claim(), self.budget.limit());
        let loading = tokio::task::spawn_blocking(move || {
            claim.take(COPIES * flux_chart::loaded_size(&bytes, limit))?;
            Ok::<_, ChartError>((Chart::from_archive(&bytes)?, claim))
        });
        let (mut chart, _claim) = loading.await.map_err(|_| ChartError::Task)??;
        let mut oci_digest = String::new();
        if has_digest {
            let (version, digest) = mutated(&chart.metadata.version, &artifact.revision)?;
            oci_digest = digest;
            if track {
                chart.metadata.version = version;
            }
        }
        let loaded = Arc::new(Loaded {
            identity,
            chart: ParsedChart::new(chart),
            oci_digest,
        });
        self.keep(&loaded);
        Ok(loaded)
    }

    /// Keeps a chart, with its size as it is now: parsed templates are part of it after the first render.
    pub(super) fn keep(&self, loaded: &Arc<Loaded>) {
        let bytes = u64::try_from(loaded.chart.size()).unwrap_or(u64::MAX);
        let identity = loaded.identity.clone();
        self.kept.insert(identity, loaded.clone(), bytes);
    }
}

fn fetch_error(error: Arc<FetchError>, url: &str, digest: &str) -> ChartError {
    match &*error {
        FetchError::NotFound => ChartError::NotFound(url.to_owned()),
        FetchError::Status { status, .. } => ChartError::Status {
            url: url.to_owned(),
            status: status_text(*status),
        },
        FetchError::Digest(DigestMismatch::Empty) => {
            ChartError::Digest(String::new(), "invalid checksum digest format".to_owned())
        }
        FetchError::Digest(DigestMismatch::Malformed { text, source }) => {
            ChartError::Digest(text.clone(), chain(source))
        }
        FetchError::Digest(DigestMismatch::Differs(_)) => ChartError::Integrity(digest.to_owned()),
        FetchError::Memory(exhausted) => ChartError::Memory(*exhausted),
        _ => ChartError::Fetch(error),
    }
}

/// A status as Go prints it.
fn status_text(status: reqwest::StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("{} {reason}", status.as_u16())
        .trim_end()
        .to_owned()
}

/// Whether the revision of a source has a digest that identifies the chart (HC-CHART-026).
fn has_digest(kind: SourceKind, revision: &str) -> bool {
    match kind {
        SourceKind::OCIRepository => true,
        SourceKind::ExternalArtifact => revision.contains(':'),
        SourceKind::HelmChart => false,
    }
}

/// The version of a chart with the digest in the revision of its source as build metadata, and that digest
/// (HC-CHART-026 to HC-CHART-030).
///
/// # Errors
/// The version or the revision is invalid, or they do not agree.
fn mutated(version: &str, revision: &str) -> Result<(String, String), MutateError> {
    let chart = Version::parse(version).map_err(|_| MutateError::Version(version.to_owned()))?;
    let (digest, shown) = match semver_tag(revision) {
        Some(tag) => {
            let parts: Vec<&str> = revision.split('@').collect();
            let first = parts.first().copied().unwrap_or_default();
            let mismatch = || MutateError::Mismatch {
                tag: first.to_owned(),
                version: version.to_owned(),
            };
            let [_, digest] = parts.as_slice() else {
                return Err(mismatch());
            };
            if !is_equal(&tag, &chart) {
                return Err(mismatch());
            }
            (*digest, *digest)
        }
        None => (revision, revision),
    };
    let parts: Vec<&str> = digest.split(':').collect();
    let invalid = || MutateError::Revision(shown.to_owned());
    let [_, hex] = parts.as_slice() else {
        return Err(invalid());
    };
    let digits = hex.get(..DIGITS).ok_or_else(invalid)?;
    let version = with_build_metadata(version, digits).map_err(|_| MutateError::Metadata)?;
    Ok((version, digest.to_owned()))
}

/// The semantic version at the beginning of a revision; a tag has `_` for `+` (HC-CHART-027).
fn semver_tag(revision: &str) -> Option<Version> {
    match revision.split_once('@') {
        Some((tag, _)) => Version::parse(&tag.replace('_', "+")).ok(),
        None => Version::parse(revision).ok(),
    }
}

/// Whether two versions are equal, build metadata apart.
fn is_equal(left: &Version, right: &Version) -> bool {
    left.compare(right) == std::cmp::Ordering::Equal
}

#[cfg(test)]
mod tests;
