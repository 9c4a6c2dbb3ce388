//! Other repositories' artifacts that are copied in.

use std::time::Duration;

use bytes::Bytes;
use flux_api::{
    meta::Artifact,
    source::{GitRepository, GitRepositoryInclude},
};
use flux_artifact::{ExtractOptions, Storage, extract};
use flux_runtime::{queue::Key, watch::Cache};
use flux_tree::{self as tree, TreePath};

use super::{
    content::{Content, Entry},
    failure::{CopyError, StepError},
};

/// The artifacts of the repositories to be included, in the order of `spec.include` (SC-GIT-090 to SC-GIT-094).
pub(super) fn find(
    includes: &[GitRepositoryInclude],
    namespace: &str,
    repositories: &Cache<GitRepository>,
    recheck: Duration,
) -> Result<Vec<Artifact>, StepError> {
    let artifact = |include: &GitRepositoryInclude| {
        let name = &include.repository.name;
        let Some(repository) = repositories.get(&Key::new(namespace, name)) else {
            let name = name.clone();
            return Err(StepError::IncludeMissing { name, recheck });
        };
        let artifact = repository
            .status
            .as_ref()
            .and_then(|status| status.artifact.clone());
        artifact.ok_or_else(|| StepError::IncludeWithoutArtifact {
            name: name.clone(),
            recheck,
        })
    };
    includes.iter().map(artifact).collect()
}

/// Copies each artifact, or its part `fromPath`, to `toPath` (SC-GIT-097, SC-GIT-098).
pub(super) fn copy<B: Clone>(
    includes: &[GitRepositoryInclude],
    artifacts: &[Artifact],
    storage: &Storage,
    content: &mut Content<B>,
    handle: impl Fn(&Bytes) -> B,
) -> Result<(), StepError> {
    for (include, artifact) in includes.iter().zip(artifacts) {
        let name = include.repository.name.clone();
        let from = include.from_path.clone().unwrap_or_default();
        let to = target(include);
        let place = TreePath::root().join_clamped(to);
        let place = place.map_err(|source| StepError::IncludePath {
            name: name.clone(),
            source,
        })?;
        copy_one(artifact, &from, &place, storage, content, &handle).map_err(|source| {
            StepError::IncludeCopy {
                name,
                from,
                to: to.to_owned(),
                source: Box::new(source),
            }
        })?;
    }
    Ok(())
}

fn copy_one<B: Clone>(
    artifact: &Artifact,
    from: &str,
    to: &TreePath,
    storage: &Storage,
    content: &mut Content<B>,
    handle: impl Fn(&Bytes) -> B,
) -> Result<(), CopyError> {
    let options = ExtractOptions {
        skip_symlinks: false, // SC-ART-092
        ..ExtractOptions::default()
    };
    let included = extract(storage.read(&artifact.path)?, &options)?;
    let from = TreePath::root().join_clamped(from)?;
    content.place(&of_tree(&included), &from, to, handle)?;
    Ok(())
}

/// Where the artifact goes: the name of the repository where nothing else is said (SC-GIT-009).
fn target(include: &GitRepositoryInclude) -> &str {
    let to = include.to_path.as_deref().unwrap_or_default();
    if to.is_empty() {
        &include.repository.name
    } else {
        to
    }
}

fn of_tree(tree: &tree::Tree) -> Content<Bytes> {
    let mut content = Content::new();
    for (path, entry) in tree.iter() {
        let entry = match entry {
            tree::Entry::Directory => Entry::Directory,
            tree::Entry::File(file) => Entry::File {
                executable: file.executable,
                content: file.content.clone(),
            },
            tree::Entry::Symlink(target) => Entry::Symlink {
                target: target.clone().into(),
            },
        };
        content.insert(path.as_str().as_bytes(), entry);
    }
    content
}
