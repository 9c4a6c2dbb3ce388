//! The files to build from: the artifact of the source, and the folder in it (KC-SRC-007..015).

use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::Artifact;
use flux_artifact::{FetchError, Fetcher, TreeCache};
use flux_tree::{PathError, ResolveError, Tree, TreePath};

/// Gets artifacts from the servers that have them, and keeps some in memory.
pub(crate) struct ArtifactFetcher {
    pub(crate) fetcher: Fetcher,
    /// For artifacts of source-watcher, which outside a cluster is elsewhere (KC-PROC-043).
    pub(crate) watcher_fetcher: Fetcher,
    pub(crate) trees: TreeCache,
}

/// What a build begins with.
#[derive(Clone, Debug)]
pub(super) struct Files {
    /// All files of the artifact.
    pub(super) tree: Arc<Tree>,
    /// The folder to build.
    pub(super) path: TreePath,
}

/// Why there are no files to build from.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    #[error(transparent)]
    Fetch(Arc<FetchError>),
    /// In the words of Go's client.
    #[error("failed to download archive: GET {url}: context deadline exceeded")]
    TimedOut { url: String },
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("kustomization path not found: stat {0}: no such file or directory")]
    NoFolder(TreePath),
}

impl ArtifactFetcher {
    /// The files of the artifact, from memory where another run has had them, with the folder `path`. The download ends
    /// within `timeout`, whatever the server does.
    pub(super) async fn files(
        &self,
        artifact: &Artifact,
        path: Option<&str>,
        timeout: Duration,
    ) -> Result<Files, FilesError> {
        let tree = self.tree(artifact, timeout).await?;
        let path = folder(&tree, path)?;
        Ok(Files { tree, path })
    }

    async fn tree(&self, artifact: &Artifact, timeout: Duration) -> Result<Arc<Tree>, FilesError> {
        let fetcher = if artifact.url.contains("//source-watcher") {
            &self.watcher_fetcher
        } else {
            &self.fetcher
        };
        let digest = Fetcher::digest(&artifact.digest)
            .map_err(|error| FilesError::Fetch(Arc::new(error.into())))?;
        let load = {
            let (fetcher, url, digest) = (fetcher.clone(), artifact.url.clone(), digest.clone());
            move || {
                let (fetcher, url, digest) = (fetcher.clone(), url.clone(), digest.clone());
                async move { fetcher.fetch(&url, &digest).await }
            }
        };
        let fetch = self.trees.get(&artifact.url, &digest, load);
        match tokio::time::timeout(timeout, fetch).await {
            Ok(fetched) => fetched.map_err(FilesError::Fetch),
            Err(_) => Err(FilesError::TimedOut {
                url: artifact.url.clone(),
            }),
        }
    }
}

/// The folder to build, kept below the root of the artifact (KC-SRC-014, KC-SRC-015).
fn folder(tree: &Tree, path: Option<&str>) -> Result<TreePath, FilesError> {
    let path = TreePath::root().join_clamped(path.unwrap_or_default())?;
    let resolved = tree.resolve(&path)?;
    if !tree.is_dir(&resolved) && !tree.is_file(&resolved) {
        return Err(FilesError::NoFolder(path));
    }
    Ok(resolved)
}
