//! Copies files of sources into an artifact, as upstream's `cp`-like operations do.

mod exclude;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use flux_api::extensions::{CopyOperation, CopyStrategy};
use flux_artifact::{ExtractError, ExtractOptions, Spooled, extract_summed};
use flux_budget::{Budget, Exhausted};
use flux_golang::path as go_path;
use flux_golang::strconv::quote;
use flux_tree::{Entry, Tree, TreePath};

use self::exclude::Excludes;
use super::doublestar::{PatternError, check_alternatives};
use super::glob::{self, GlobError};
use super::merge::{MergeError, merge};
use super::staging::{Blob, Node, Staging, StagingError};
use super::steps::{Steps, TooSlow};

/// The most bytes that an archive within a source may unpack to (SW-GEN-191).
const MAX_UNPACKED: u64 = 100 << 20;
/// Whether files within copied folders are merged as those that a pattern matches are. Upstream replaces them (SW-GEN-186,
/// FR-N-112).
const MERGES_IN_FOLDERS: bool = false;

/// The files of the sources, by alias.
pub(super) type SourceFiles = BTreeMap<String, Arc<Spooled>>;

/// What the copy operations of one build share.
pub(super) struct Copier<'b> {
    /// The sources.
    pub(super) sources: &'b SourceFiles,
    /// A folder for the contents of archives.
    pub(super) work: &'b Path,
    /// The memory of paths is claimed from it.
    pub(super) budget: &'b Budget,
    /// Bounds the work of patterns.
    pub(super) steps: &'b Steps,
    /// Ends the work with an error when its time is up.
    pub(super) check: &'b (dyn Fn() -> io::Result<()> + Sync),
}

/// Why an artifact cannot be composed.
#[derive(Debug, thiserror::Error)]
#[error("failed to apply copy operations: failed to apply copy operation from '{from}' to '{to}'")]
pub(super) struct CopyError {
    from: String,
    to: String,
    source: Box<OperationError>,
}

/// Why one operation failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperationError {
    #[error("invalid copy source '{0}': source format must be '@alias/pattern'")]
    From(String),
    #[error("invalid copy source '{0}'")]
    FromTooMany(String, #[source] PatternError),
    #[error("invalid copy destination '{0}': destination must start with '@artifact/'")]
    To(String),
    #[error("invalid copy destination '{0}': destination path must stay within the artifact root")]
    ToOutside(String),
    #[error("invalid copy destination '{0}': destination path must not contain '..'")]
    ToParent(String),
    #[error("source alias '{0}' not found")]
    Alias(String),
    #[error("invalid exclude pattern '{0}'")]
    Exclude(String),
    #[error("invalid exclude pattern '{0}'")]
    ExcludeTooMany(String, #[source] PatternError),
    #[error("invalid glob pattern '{pattern}'")]
    Glob {
        pattern: String,
        source: Box<GlobError>,
    },
    #[error(transparent)]
    TooSlow(#[from] TooSlow),
    #[error("no files match pattern '{pattern}' in source '{alias}'")]
    NoMatch { pattern: String, alias: String },
    #[error("all files matching pattern '{pattern}' in source '{alias}' were excluded")]
    AllExcluded { pattern: String, alias: String },
    #[error("failed to copy file '{from}' to '{to}'")]
    File {
        from: String,
        to: String,
        source: Box<OperationError>,
    },
    #[error("failed to extract tarball '{from}' to '{to}'")]
    Tarball {
        from: String,
        to: String,
        source: Box<OperationError>,
    },
    #[error("failed to extract tarball {} to {}", quote(.from), quote(.to))]
    Extract {
        from: String,
        to: String,
        source: ExtractError,
    },
    #[error("source '{0}' does not exist")]
    Missing(String),
    #[error("failed to stat source '{0}': statat {0}: path escapes from parent")]
    SourceEscapes(String),
    #[error("openat {0}: path escapes from parent")]
    TargetEscapes(String),
    #[error("extract strategy is not supported for directories, got '{0}'")]
    ExtractDirectory(String),
    #[error("extract strategy requires tarball file (.tar.gz or .tgz), got '{0}'")]
    NotATarball(String),
    #[error("read {0}: is a directory")]
    MergeDirectory(String),
    #[error(transparent)]
    Merge(#[from] MergeError),
    #[error(transparent)]
    Staging(#[from] StagingError),
    #[error("failed to open tarball {}", quote(.0))]
    Open(String, #[source] io::Error),
    #[error(transparent)]
    Stopped(io::Error),
}

impl OperationError {
    /// Whether another run may succeed without a change, since it waits for memory only.
    fn exhausted(&self) -> Option<&Exhausted> {
        match self {
            Self::File { source, .. } | Self::Tarball { source, .. } => source.exhausted(),
            Self::Staging(StagingError::Memory(exhausted))
            | Self::Merge(MergeError::Memory(exhausted))
            | Self::Extract {
                source: ExtractError::Memory(exhausted),
                ..
            } => Some(exhausted),
            _ => None,
        }
    }
}

impl CopyError {
    /// The memory that was missing, if that is the error.
    pub(super) fn exhausted(&self) -> Option<&Exhausted> {
        self.source.exhausted()
    }
}

/// Applies the operations in their order (SW-GEN-130).
pub(super) fn copy(
    operations: &[CopyOperation],
    copier: &Copier<'_>,
    staging: &mut Staging,
) -> Result<(), CopyError> {
    for operation in operations {
        let copied = Operation::new(operation, copier).and_then(|mut it| it.apply(staging));
        copied.map_err(|source| CopyError {
            from: operation.from.clone(),
            to: operation.to.clone(),
            source: Box::new(source),
        })?;
    }
    Ok(())
}

/// The alias and the path of `@alias/path`.
pub(super) fn split_alias(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('@')?.split_once('/')
}

/// Refuses a target that is not below the root of the artifact (SW-GEN-135). A capture may have put anything into it.
fn check_target(to: &str, text: &str) -> Result<(), OperationError> {
    let leaves = to.starts_with('/') || go_path::clean(to).split('/').next() == Some("..");
    if leaves {
        return Err(OperationError::ToOutside(text.to_owned()));
    }
    if to.split('/').any(|element| element == "..") {
        return Err(OperationError::ToParent(text.to_owned()));
    }
    Ok(())
}

struct Operation<'o> {
    copier: &'o Copier<'o>,
    files: Arc<Spooled>,
    alias: &'o str,
    from: &'o str,
    /// Below the root of the artifact.
    to: &'o str,
    strategy: CopyStrategy,
    optional: bool,
    excludes: Excludes,
}

impl<'o> Operation<'o> {
    fn new(operation: &'o CopyOperation, copier: &'o Copier<'o>) -> Result<Self, OperationError> {
        let (alias, from) = split_alias(&operation.from)
            .ok_or_else(|| OperationError::From(operation.from.clone()))?;
        check_alternatives(from)
            .map_err(|error| OperationError::FromTooMany(operation.from.clone(), error))?;
        let to = operation.to.strip_prefix("@artifact/");
        let to = to.ok_or_else(|| OperationError::To(operation.to.clone()))?;
        check_target(to, &operation.to)?;
        let files = copier.sources.get(alias);
        let files = files.ok_or_else(|| OperationError::Alias(alias.to_owned()))?;
        Ok(Self {
            copier,
            files: files.clone(),
            alias,
            from,
            to,
            strategy: operation
                .strategy
                .clone()
                .unwrap_or(CopyStrategy::Overwrite),
            optional: operation.optional,
            excludes: Excludes::compile(&operation.exclude)?,
        })
    }

    fn apply(&mut self, staging: &mut Staging) -> Result<(), OperationError> {
        let files = self.files.clone();
        if glob::is_pattern(self.from) {
            self.copy_matches(files.handles(), staging)
        } else {
            self.copy_path(files.handles(), staging)
        }
    }

    fn extracts(&self) -> bool {
        self.strategy == CopyStrategy::Extract
    }

    /// A path below the target, whose text [`check_target`] has seen.
    fn target(&self, below: &str) -> Result<TreePath, OperationError> {
        let text = go_path::join(self.to, below);
        TreePath::new(&text).map_err(|_| OperationError::TargetEscapes(text))
    }

    fn copy_matches(&self, tree: &Tree, staging: &mut Staging) -> Result<(), OperationError> {
        let (pattern, steps) = (self.from, self.copier.steps);
        let found = if self.extracts() {
            glob::at_any_depth(tree, pattern, steps)
        } else {
            glob::by_segment(tree, pattern, steps)
        };
        let found = found.map_err(|source| OperationError::Glob {
            pattern: pattern.to_owned(),
            source: Box::new(source),
        })?;
        let of = || (pattern.to_owned(), self.alias.to_owned());
        if found.is_empty() {
            let (pattern, alias) = of();
            // SW-GEN-214
            return if self.optional {
                Ok(())
            } else {
                Err(OperationError::NoMatch { pattern, alias })
            };
        }
        let base = glob::literal_folder(pattern);
        let mut kept = Vec::new();
        for path in found.into_iter().filter(|path| !path.is_root()) {
            if !self.excludes.has(path.as_str(), &base, steps)? {
                kept.push(path);
            }
        }
        if kept.is_empty() {
            let (pattern, alias) = of();
            return if self.optional {
                Ok(())
            } else {
                Err(OperationError::AllExcluded { pattern, alias })
            };
        }
        for path in kept {
            (self.copier.check)().map_err(OperationError::Stopped)?;
            if self.extracts() {
                // SW-GEN-190
                if let Some(Entry::File(file)) = tree.get(&path)
                    && is_tarball(path.as_str())
                {
                    let extracted = self.extract(&path, &file.content, staging);
                    extracted.map_err(|source| OperationError::Tarball {
                        from: path.to_string(),
                        to: self.to.to_owned(),
                        source: Box::new(source),
                    })?;
                }
                continue;
            }
            let below = self.below(path.as_str());
            let copied = self
                .target(below)
                .and_then(|to| self.copy_entry(tree, &path, &to, &base, staging));
            copied.map_err(|source| OperationError::File {
                from: path.to_string(),
                to: go_path::join(self.to, below),
                source: Box::new(source),
            })?;
        }
        Ok(())
    }

    /// Where a match goes below the target: relative to the folder of a pattern that ends in `/**`, else with its full path
    /// (SW-GEN-158, SW-GEN-159).
    fn below<'p>(&self, path: &'p str) -> &'p str {
        let folder = self.from.strip_suffix("/**");
        let rest = folder.and_then(|folder| path.strip_prefix(folder)?.strip_prefix('/'));
        rest.unwrap_or(path)
    }

    fn copy_path(&self, tree: &Tree, staging: &mut Staging) -> Result<(), OperationError> {
        let shown = go_path::clean(self.from);
        let escapes = || OperationError::SourceEscapes(shown.clone());
        if shown.starts_with('/') {
            return Err(escapes());
        }
        let path = TreePath::new(&shown).map_err(|_| escapes())?;
        match tree.get(&path) {
            // SW-GEN-214
            None if self.optional => Ok(()),
            None => Err(OperationError::Missing(shown)),
            Some(Entry::Directory) if self.extracts() => {
                Err(OperationError::ExtractDirectory(shown))
            }
            Some(Entry::Directory) => {
                let to = self.target(path.file_name())?;
                self.copy_folder(tree, &path, &to, path.as_str(), staging)
            }
            Some(_) if self.excludes.has(&shown, "", self.copier.steps)? => Ok(()), // SW-GEN-147
            Some(Entry::File(file)) if self.extracts() => {
                if !is_tarball(&shown) {
                    return Err(OperationError::NotATarball(shown));
                }
                self.extract(&path, &file.content, staging)
            }
            Some(_) => {
                let named = self.target("")?;
                let to = if self.to.is_empty() || self.to.ends_with('/') || staging.is_dir(&named) {
                    self.target(path.file_name())?
                } else {
                    named
                };
                self.copy_entry(tree, &path, &to, "", staging)
            }
        }
    }

    /// Copies what is at `from`: a file, or a folder with everything in it.
    fn copy_entry(
        &self,
        tree: &Tree,
        from: &TreePath,
        to: &TreePath,
        base: &str,
        staging: &mut Staging,
    ) -> Result<(), OperationError> {
        match tree.get(from) {
            Some(Entry::Directory) => self.copy_folder(tree, from, to, base, staging),
            Some(Entry::File(file)) => self.copy_file(file, to, true, staging),
            Some(Entry::Symlink(_)) | None => Ok(()), // sources have no links (SW-GEN-138)
        }
    }

    fn copy_folder(
        &self,
        tree: &Tree,
        from: &TreePath,
        to: &TreePath,
        base: &str,
        staging: &mut Staging,
    ) -> Result<(), OperationError> {
        staging.make_dir(to)?;
        // What is below a folder that is left out is not looked at (SW-GEN-172).
        let mut left_out: Option<TreePath> = None;
        for (path, entry) in tree.below(from) {
            if left_out
                .as_ref()
                .is_some_and(|folder| path.starts_with(folder))
            {
                continue;
            }
            self.copier.steps.spend(1)?;
            if self.excludes.has(path.as_str(), base, self.copier.steps)? {
                if *entry == Entry::Directory {
                    left_out = Some(path.clone());
                }
                continue;
            }
            let below = path.strip_prefix(from).unwrap_or_default();
            let escapes = |_| OperationError::TargetEscapes(below.to_string());
            let target = to.join(below.as_str()).map_err(escapes)?;
            match entry {
                Entry::Directory => staging.make_dir(&target)?,
                Entry::File(file) => self.copy_file(file, &target, MERGES_IN_FOLDERS, staging)?,
                Entry::Symlink(_) => {}
            }
        }
        Ok(())
    }

    fn copy_file(
        &self,
        file: &flux_tree::File,
        to: &TreePath,
        may_merge: bool,
        staging: &mut Staging,
    ) -> Result<(), OperationError> {
        let blob = Blob::Spooled {
            of: self.files.clone(),
            handle: file.content.clone(),
        };
        if may_merge && self.strategy == CopyStrategy::Merge {
            (self.copier.check)().map_err(OperationError::Stopped)?;
            match staging.get(to) {
                None => {} // SW-GEN-182
                Some(Node::Directory) => {
                    return Err(OperationError::MergeDirectory(to.to_string()));
                }
                Some(Node::File {
                    executable,
                    blob: base,
                }) => {
                    let executable = *executable;
                    let read = |blob: &Blob| blob.read_all().map_err(MergeError::Read);
                    let merged = merge(&read(base)?, &read(&blob)?, staging.claim())?;
                    let merged = Blob::Inline(merged.into());
                    return Ok(staging.put(to, executable, merged)?); // SW-GEN-184
                }
            }
        }
        Ok(staging.put(to, file.executable, blob)?) // SW-GEN-139
    }

    /// Unpacks an archive into the target (SW-GEN-187, SW-GEN-191).
    fn extract(
        &self,
        path: &TreePath,
        handle: &[u8],
        staging: &mut Staging,
    ) -> Result<(), OperationError> {
        let to = self.target("")?;
        staging.make_dir(&to)?;
        let failed = |source| OperationError::Extract {
            from: path.to_string(),
            to: to.to_string(),
            source,
        };
        let opened = self.files.reader(handle);
        let (_, archive) = opened.map_err(|error| OperationError::Open(path.to_string(), error))?;
        let options = ExtractOptions {
            skip_symlinks: false,
            max_bytes: MAX_UNPACKED,
            ..ExtractOptions::default()
        };
        let file: File = tempfile::tempfile_in(self.copier.work)
            .map_err(ExtractError::Spool)
            .map_err(failed)?;
        let claim = self.copier.budget.claim();
        let files = extract_summed(archive, &options, claim, file).map_err(failed)?;
        let files = Arc::new(files);
        for (path, entry) in files.handles().iter() {
            (self.copier.check)().map_err(OperationError::Stopped)?;
            let escapes = |_| OperationError::TargetEscapes(path.to_string());
            let target = to.join(path.as_str()).map_err(escapes)?;
            match entry {
                Entry::Directory => staging.make_dir(&target)?,
                Entry::File(file) => {
                    let blob = Blob::Spooled {
                        of: files.clone(),
                        handle: file.content.clone(),
                    };
                    staging.put(&target, file.executable, blob)?;
                }
                Entry::Symlink(_) => {}
            }
        }
        Ok(())
    }
}

/// Whether a file is an archive by its name (SW-GEN-187).
fn is_tarball(path: &str) -> bool {
    let path = path.to_lowercase();
    [".tar.gz", ".tgz"].iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests;
