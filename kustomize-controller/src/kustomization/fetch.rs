//! Fetches the artifact of the source and finds the folder to build (KC-SRC-007..015).

use std::sync::Arc;
use std::time::Duration;

use flux_api::meta::Artifact;
use flux_artifact::{Artifacts, FetchError, Location};
use flux_tree::{PathError, ResolveError, Tree, TreePath};

/// The input files of a build.
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
    /// The text is that of Go's HTTP client.
    #[error("failed to download archive: GET {url}: context deadline exceeded")]
    TimedOut { url: String },
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("kustomization path not found: stat {0}: no such file or directory")]
    NoFolder(TreePath),
}

/// The files of the artifact, from the cache if another run has fetched it, with the folder `path`. The download is aborted
/// after `timeout`.
pub(super) async fn files(
    artifacts: &Artifacts,
    artifact: &Artifact,
    path: Option<&str>,
    timeout: Duration,
) -> Result<Files, FilesError> {
    let fetch = artifacts.tree(Location {
        url: &artifact.url,
        path: &artifact.path,
        digest: &artifact.digest,
    });
    let Ok(fetched) = tokio::time::timeout(timeout, fetch).await else {
        return Err(FilesError::TimedOut {
            url: flux_http::shown_text(&artifact.url),
        });
    };
    let tree = fetched.map_err(FilesError::Fetch)?;
    let path = folder(&tree, path)?;
    Ok(Files { tree, path })
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
