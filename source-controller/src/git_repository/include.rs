//! Includes: artifacts of other GitRepositories that are copied into the artifact.

use std::time::Duration;

use bytes::Bytes;
use flux_api::meta::Artifact;
use flux_api::source::{GitRepository, GitRepositoryInclude};
use flux_artifact::{Content, ExtractOptions, Fetcher, Storage, extract_verified};
use flux_budget::{Budget, Claim};
use flux_publish::{Deadline, Owner};
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use flux_tree::{Tree, TreePath};

use super::KIND;
use super::failure::{CopyError, StepError};

/// Finds the artifacts of the repositories to be included, in the order of `spec.include` (SC-GIT-090 to SC-GIT-094).
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

/// The inputs for copying includes.
pub(super) struct Copying<'c> {
    pub(super) includes: &'c [GitRepositoryInclude],
    pub(super) artifacts: &'c [Artifact],
    /// The namespace of the repositories.
    pub(super) namespace: &'c str,
    pub(super) storage: &'c Storage,
    pub(super) budget: &'c Budget,
    pub(super) deadline: Deadline,
}

/// The memory claimed for the included files. Keep it as long as their content.
pub(super) struct Included {
    _trees: Vec<Tree>,
    _copies: Claim,
}

impl Copying<'_> {
    /// Copies each artifact, or its folder `fromPath`, to `toPath` (SC-GIT-097, SC-GIT-098).
    pub(super) fn copy_into<B: Clone>(
        &self,
        content: &mut Content<B>,
        handle: impl Fn(&Bytes) -> B,
    ) -> Result<Included, StepError> {
        let mut trees = Vec::new();
        let copies = self.budget.claim();
        for (include, artifact) in self.includes.iter().zip(self.artifacts) {
            let name = include.repository.name.clone();
            let from = include.from_path.clone().unwrap_or_default();
            let to = target(include);
            let place = TreePath::root().join_clamped(to);
            let place = place.map_err(|source| StepError::IncludePath {
                name: name.clone(),
                source,
            })?;
            let copied = self.extract(&name, artifact, &from).and_then(|tree| {
                // Two more copies of its table exist meanwhile: the content to be placed, and the placed one.
                copies.take(2 * (tree.memory() - tree.content_bytes()))?;
                let from = TreePath::root().join_clamped(&from)?;
                content.place(&Content::from(&tree), &from, &place, &handle)?;
                Ok(tree)
            });
            trees.push(copied.map_err(|source| StepError::IncludeCopy {
                name,
                from,
                to: to.to_owned(),
                source: Box::new(source),
            })?);
        }
        Ok(Included {
            _trees: trees,
            _copies: copies,
        })
    }

    /// The folder `from` of an artifact. Checks that the artifact belongs to the repository and has the digest in its
    /// status, since the status may have been forged.
    ///
    /// `flux_artifact::Artifacts` is not used: its trees are those of consumers, without links and whole, while an include
    /// with a link fails (SC-ART-092) and takes memory for its own folder only; the file is on this process's disk, and is
    /// read once for each new artifact, so that a cache by digest would hold memory without being asked again.
    fn extract(&self, name: &str, artifact: &Artifact, from: &str) -> Result<Tree, CopyError> {
        if !Owner::new(KIND, self.namespace, name).owns(&artifact.path) {
            return Err(CopyError::NotOwn(artifact.path.clone()));
        }
        let digest = Fetcher::digest(&artifact.digest)?;
        let options = ExtractOptions {
            skip_symlinks: false, // SC-ART-092
            below: TreePath::root().join_clamped(from)?,
            ..ExtractOptions::default()
        };
        let file = self.deadline.guard(self.storage.read(&artifact.path)?);
        let tree = extract_verified(file, &digest, &options, self.budget.claim())?;
        Ok(tree)
    }
}

/// The path to copy an artifact to: by default the name of its repository (SC-GIT-009).
fn target(include: &GitRepositoryInclude) -> &str {
    let to = include.to_path.as_deref().unwrap_or_default();
    if to.is_empty() {
        &include.repository.name
    } else {
        to
    }
}
