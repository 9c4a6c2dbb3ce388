//! Artifacts for their consumers: downloaded or read from the own storage, and cached.

use std::env;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::sync::Arc;

use flux_budget::Budget;
use flux_tree::Tree;
use reqwest::Client;

use crate::{
    ArtifactBytes, Digest, DigestCache, DigestMismatch, ExtractError, FetchError, FetchOptions,
    Fetcher, Spooled, Storage, StorageError, UnpackError, extract_summed, extract_verified,
    with_host,
};

/// The most bytes of trees that are cached between runs.
const MAX_KEPT: u64 = 64 << 20;

/// The most bytes of cached trees: they count against the budget, most of which is for running reconciles.
fn kept(budget: &Budget) -> u64 {
    MAX_KEPT.min(budget.limit() / 6)
}

/// The bytes on disk that count as one of memory: no more of spooled artifacts are cached than that allows.
const DISK_BYTES: u64 = 16;

/// The size of a spooled artifact in the cache.
fn spooled_bytes(files: &Spooled) -> u64 {
    files.handles().memory() + files.bytes() / DISK_BYTES
}

/// The location of an artifact, as the status of its source gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location<'a> {
    /// Its URL.
    pub url: &'a str,
    /// Its path below the root of the storage.
    pub path: &'a str,
    /// The digest of the file, `<algorithm>:<hex>`.
    pub digest: &'a str,
}

/// Hosts that replace those of artifact URLs, for a controller that runs outside the cluster (SC-ART-056, KC-PROC-043).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// For artifacts of source-controller.
    pub source_controller: Option<String>,
    /// For artifacts of source-watcher.
    pub source_watcher: Option<String>,
}

impl Hosts {
    /// The hosts that `SOURCE_CONTROLLER_LOCALHOST` and `SOURCE_WATCHER_LOCALHOST` name.
    pub fn from_environment() -> Self {
        let host = |name| env::var(name).ok().filter(|host| !host.is_empty());
        Self {
            source_controller: host("SOURCE_CONTROLLER_LOCALHOST"),
            source_watcher: host("SOURCE_WATCHER_LOCALHOST"),
        }
    }

    /// `url` with its host replaced if one is configured.
    fn apply(&self, url: &str) -> String {
        let host = if url.contains("//source-watcher") {
            &self.source_watcher
        } else {
            &self.source_controller
        };
        match host {
            Some(host) => with_host(url, host),
            None => url.to_owned(),
        }
    }
}

/// The artifacts that a process consumes. Clones share the cache.
///
/// An artifact is fetched by URL and digest and is never used before its digest was checked. Concurrent fetches of one
/// artifact share one download, and a cached artifact serves every caller that wants its digest ([`DigestCache`]).
///
/// ```no_run
/// use flux_artifact::{Artifacts, FetchOptions, Hosts, Location};
/// use flux_budget::Budget;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = reqwest::Client::new();
/// let budget = Budget::new(256 << 20);
/// let artifacts = Artifacts::new(client, FetchOptions::default(), Hosts::from_environment(), &budget);
/// let tree = artifacts
///     .tree(Location {
///         url: "http://source-controller.flux-system.svc.cluster.local./gitrepository/default/app/0c4f.tar.gz",
///         path: "gitrepository/default/app/0c4f.tar.gz",
///         digest: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
///     })
///     .await?;
/// # let _ = tree; Ok(()) }
/// ```
#[derive(Clone)]
pub struct Artifacts {
    fetcher: Fetcher,
    hosts: Hosts,
    storage: Option<Arc<Storage>>,
    trees: DigestCache<Tree>,
    files: DigestCache<ArtifactBytes>,
    spools: DigestCache<Spooled>,
}

impl Artifacts {
    /// Artifacts that are downloaded by `client`, with their memory claimed from `budget`.
    pub fn new(client: Client, options: FetchOptions, hosts: Hosts, budget: &Budget) -> Self {
        Self {
            fetcher: Fetcher::new(client, options, budget.clone()),
            hosts,
            storage: None,
            trees: DigestCache::new(budget, kept(budget), Tree::memory),
            // Shared while they are in use: trees made from a file are worth caching, the file is not.
            files: DigestCache::new(budget, 0, |file| file.len() as u64),
            spools: DigestCache::new(budget, kept(budget), spooled_bytes),
        }
    }

    /// Reads the artifacts of `storage`, which is this process's own, from disk instead of requesting them from its own
    /// server.
    #[must_use]
    pub fn with_storage(self, storage: Arc<Storage>) -> Self {
        Self {
            storage: Some(storage),
            ..self
        }
    }

    /// The tree of an artifact that is a `tar.gz`. The caller sets the deadline; a server that sends nothing is an
    /// error before that.
    ///
    /// # Errors
    /// The error of the fetch, which all callers that wait for the same artifact get.
    pub async fn tree(&self, artifact: Location<'_>) -> Result<Arc<Tree>, Arc<FetchError>> {
        let digest = digest_of(artifact)?;
        let load = || self.origin(artifact).tree(digest.clone());
        self.trees.get(artifact.url, &digest, load).await
    }

    /// The bytes of an artifact in any format.
    ///
    /// # Errors
    /// As [`Artifacts::tree`].
    pub async fn bytes(
        &self,
        artifact: Location<'_>,
    ) -> Result<Arc<ArtifactBytes>, Arc<FetchError>> {
        let digest = digest_of(artifact)?;
        let load = || self.origin(artifact).bytes(digest.clone());
        self.files.get(artifact.url, &digest, load).await
    }

    /// The files of an artifact that is a `tar.gz`, with their contents and sums in a file that `create` makes: for what is
    /// larger than the memory, and archived again.
    ///
    /// # Errors
    /// As [`Artifacts::tree`]; and the file cannot be created or written.
    pub async fn spooled(
        &self,
        artifact: Location<'_>,
        create: impl FnOnce() -> io::Result<File>,
    ) -> Result<Arc<Spooled>, Arc<FetchError>> {
        let digest = digest_of(artifact)?;
        let load = || {
            let file = create().map_err(|error| FetchError::from(ExtractError::Spool(error)));
            let (origin, digest) = (self.origin(artifact), digest.clone());
            async move { origin.spooled(digest, file?).await }
        };
        self.spools.get(artifact.url, &digest, load).await
    }

    fn origin(&self, artifact: Location<'_>) -> Origin {
        let own = self.storage.as_ref();
        let own = own.filter(|storage| storage.url(artifact.path) == artifact.url);
        Origin {
            fetcher: self.fetcher.clone(),
            stored: own.map(|storage| (storage.clone(), artifact.path.to_owned())),
            url: self.hosts.apply(artifact.url),
        }
    }
}

fn digest_of(artifact: Location<'_>) -> Result<Digest, Arc<FetchError>> {
    Fetcher::digest(artifact.digest).map_err(|error| Arc::new(error.into()))
}

/// The source of one artifact.
struct Origin {
    fetcher: Fetcher,
    /// The file in this process's own storage, if it exists.
    stored: Option<(Arc<Storage>, String)>,
    url: String,
}

impl Origin {
    async fn tree(self, digest: Digest) -> Result<Tree, FetchError> {
        let Some((storage, path)) = self.stored else {
            return self.fetcher.fetch(&self.url, &digest).await;
        };
        let options = self.fetcher.options().extract.clone();
        let claim = self.fetcher.budget().claim();
        let unpack = move || {
            let file = storage.read(&path).map_err(unreadable)?;
            Ok(extract_verified(file, &digest, &options, claim)?)
        };
        on_blocking_thread(unpack).await
    }

    async fn spooled(self, digest: Digest, into: File) -> Result<Spooled, FetchError> {
        let Some((storage, path)) = self.stored else {
            return self.fetcher.fetch_spooled(&self.url, &digest, into).await;
        };
        let options = self.fetcher.options().extract.clone();
        let claim = self.fetcher.budget().claim();
        let unpack = move || {
            // Its digest is checked first: nothing of a damaged file is used.
            let mut file = storage.read(&path).map_err(unreadable)?;
            let mut hasher = digest.algorithm().hasher();
            io::copy(&mut file, &mut hasher).map_err(FetchError::Read)?;
            if hasher.finish() != digest {
                return Err(UnpackError::Digest(DigestMismatch::Differs(digest)).into());
            }
            file.rewind().map_err(FetchError::Read)?;
            Ok(extract_summed(file, &options, claim, into)?)
        };
        on_blocking_thread(unpack).await
    }

    async fn bytes(self, digest: Digest) -> Result<ArtifactBytes, FetchError> {
        let Some((storage, path)) = self.stored else {
            return self.fetcher.fetch_bytes(&self.url, &digest).await;
        };
        let max = self.fetcher.options().max_download;
        let claim = self.fetcher.budget().claim();
        let read = move || {
            let file = storage.read(&path).map_err(unreadable)?;
            let size = file.metadata().map_err(FetchError::Read)?.len();
            if size > max {
                return Err(FetchError::TooLarge(max));
            }
            claim.take(size).map_err(FetchError::Memory)?;
            let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(usize::MAX));
            let read = file.take(size).read_to_end(&mut bytes);
            read.map_err(FetchError::Read)?;
            if digest.algorithm().digest(&bytes) != digest {
                return Err(DigestMismatch::Differs(digest).into());
            }
            Ok(ArtifactBytes::new(bytes.into(), claim))
        };
        on_blocking_thread(read).await
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| FetchError::Task)?
}

/// A file that is missing from the own storage is rebuilt, like one that the server does not have.
fn unreadable(error: StorageError) -> FetchError {
    match error {
        StorageError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            FetchError::NotFound
        }
        error => FetchError::Stored(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_trees_use_a_small_part_of_the_budget() {
        for (budget, bytes) in [
            (48 << 20, 8 << 20),
            (384 << 20, 64 << 20),
            (1 << 40, 64 << 20),
        ] {
            assert_eq!(kept(&Budget::new(budget)), bytes, "{budget}");
        }
    }

    // SC-ART-056, KC-PROC-043
    #[test]
    fn hosts_are_replaced_by_the_controller_that_serves_them() {
        let hosts = Hosts {
            source_controller: Some("localhost:1".to_owned()),
            source_watcher: Some("localhost:2".to_owned()),
        };
        let only_one = Hosts {
            source_watcher: None,
            ..hosts.clone()
        };
        for (hosts, url, want) in [
            (
                &hosts,
                "http://source-controller.ns/a",
                "http://localhost:1/a",
            ),
            (&hosts, "http://source-watcher.ns/a", "http://localhost:2/a"),
            (
                &hosts,
                "http://other/source-watcher",
                "http://localhost:1/source-watcher",
            ),
            (
                &only_one,
                "http://source-watcher.ns/a",
                "http://source-watcher.ns/a",
            ),
            (&Hosts::default(), "http://a/b", "http://a/b"),
        ] {
            assert_eq!(hosts.apply(url), want);
        }
    }
}
