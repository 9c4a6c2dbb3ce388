//! Composes one artifact and stores its archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use flux_api::helm::Values;
use flux_artifact::{PackError, Storage, StorageError, Stored};
use flux_budget::{Budget, Exhausted};
use flux_ignore::{Filter, Patterns};
use flux_publish::Owner;
use tempfile::TempDir;

use super::copy::{Copier, CopyError, SourceFiles, copy};
use super::inputs::{InputsError, exported};
use super::memory::{FileState, Output};
use super::path_pattern::Request;
use super::staging::{Blobs, IdentityError, Staging};
use super::steps::Steps;

/// The kind of the objects that artifacts belong to.
pub(super) const EXTERNAL_ARTIFACT: &str = "ExternalArtifact";
/// How long a lock that another process holds is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// What the builds of one run share.
#[derive(Clone)]
pub(super) struct Workshop {
    pub(super) sources: Arc<SourceFiles>,
    pub(super) storage: Arc<Storage>,
    pub(super) budget: Budget,
    pub(super) steps: Arc<Steps>,
    /// Contents of archives go there; removed with the last clone.
    pub(super) work: Arc<TempDir>,
    /// When the time of the run is up.
    pub(super) until: Instant,
}

/// An artifact that is stored.
pub(super) struct Built {
    /// The path of the file.
    pub(super) path: String,
    /// The file.
    pub(super) output: Output,
    /// What it exports.
    pub(super) inputs: BTreeMap<String, Values>,
    /// What it was made of.
    pub(super) staging: Staging,
    /// Whether the file was there and was kept.
    pub(super) is_kept: bool,
}

/// Why an artifact is not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("failed to hash staging dir")]
    Hash(#[from] IdentityError),
    #[error(transparent)]
    Inputs(#[from] InputsError),
    #[error("failed to create artifact directory")]
    Directory(#[source] StorageError),
    #[error("failed to acquire artifact lock")]
    Lock(#[source] StorageError),
    #[error("failed to create artifact")]
    Create(#[source] StorageError),
    #[error("failed to create artifact")]
    Pack(#[source] PackError),
    /// A task ended without a result, which is a defect.
    #[error("a task of the build ended early")]
    Task,
}

impl BuildError {
    /// The memory that was missing, if that is the error.
    pub(super) fn exhausted(&self) -> Option<&Exhausted> {
        match self {
            Self::Copy(error) => error.exhausted(),
            _ => None,
        }
    }
}

impl Workshop {
    /// Composes and stores the artifact of a request in `namespace`. `known` is the file that is stored already.
    pub(super) async fn build(
        &self,
        request: Arc<Request>,
        namespace: String,
        known: Option<Output>,
    ) -> Result<Built, BuildError> {
        let workshop = self.clone();
        let build = move || workshop.build_now(&request, &namespace, known);
        let built = tokio::task::spawn_blocking(build).await;
        built.map_err(|_| BuildError::Task)?
    }

    fn check(&self) -> io::Result<()> {
        if Instant::now() < self.until {
            Ok(())
        } else {
            let text = "context deadline exceeded"; // SW-GEN-092
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
    }

    fn build_now(
        &self,
        request: &Request,
        namespace: &str,
        known: Option<Output>,
    ) -> Result<Built, BuildError> {
        let artifact = &request.artifact;
        let check = || self.check();
        let copier = Copier {
            sources: &self.sources,
            work: self.work.path(),
            budget: &self.budget,
            steps: &self.steps,
            check: &check,
        };
        let mut staging = Staging::new(self.budget.claim());
        copy(&artifact.copy, &copier, &mut staging)?;

        let filter = Filter::for_source(Patterns::new());
        let identity = staging.identity(&artifact.name, &filter)?;
        let inputs = artifact.inputs_from.as_deref().unwrap_or_default();
        let inputs = match inputs {
            "" => BTreeMap::new(),
            path => exported(path, &self.sources, &staging)?,
        };
        let owner = Owner::new(EXTERNAL_ARTIFACT, namespace, &artifact.name);
        let file = format!("{}.tar.gz", identity.name);
        let path = owner.path(&file);
        self.storage
            .make_dir(&path)
            .map_err(BuildError::Directory)?;
        let lock = self.storage.lock(&path, PATIENCE);
        let lock = lock.map_err(BuildError::Lock)?;

        // An equal file is not written again: its time is that of the last build all the same (SW-ART-021).
        let is_same = |known: &Output| {
            known.fingerprint == Some(identity.fingerprint)
                && known.file == file
                && FileState::of(&self.storage, &path) == Some(known.state)
        };
        if let Some(mut output) = known.filter(is_same) {
            touch(&self.storage, &path);
            if let Some(state) = FileState::of(&self.storage, &path) {
                output.state = state;
            }
            drop(lock);
            return Ok(Built {
                path,
                output,
                inputs,
                staging,
                is_kept: true,
            });
        }
        let stored = self.store(&path, &staging, &filter)?;
        let state = FileState::of(&self.storage, &path);
        let state = state.ok_or_else(|| BuildError::Create(StorageError::Path(path.clone())))?;
        drop(lock);
        Ok(Built {
            path,
            output: Output {
                file,
                digest: stored.digest.to_string(),
                size: stored.size,
                fingerprint: Some(identity.fingerprint),
                state,
            },
            inputs,
            staging,
            is_kept: false,
        })
    }

    /// Archives the files, visible only when complete (SW-ART-020).
    fn store(&self, path: &str, staging: &Staging, filter: &Filter) -> Result<Stored, BuildError> {
        let writing = self.storage.create(path).map_err(BuildError::Create)?;
        let content = staging.content(filter);
        let content = content.map_err(|error| BuildError::Pack(error.into()))?;
        let all = Filter::bare(Patterns::new()); // `content` is filtered
        let mut checked = Checked {
            inner: writing,
            check: || self.check(),
        };
        content
            .pack(&all, &mut Blobs, || self.check(), &mut checked)
            .map_err(BuildError::Pack)?;
        checked.inner.commit().map_err(BuildError::Create)
    }
}

/// Sets the time of a file to now. Without it the file only counts as older.
fn touch(storage: &Storage, path: &str) {
    let opened = storage.locate(path).map(File::open);
    if let Ok(Ok(file)) = opened
        && let Err(error) = file.set_modified(SystemTime::now())
    {
        tracing::debug!(%error, path, "cannot set the time of an artifact");
    }
}

/// A writer that fails when the time is up.
struct Checked<W, C> {
    inner: W,
    check: C,
}

impl<W: Write, C: Fn() -> io::Result<()>> Write for Checked<W, C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.check)()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
