//! Content written into the storage.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flux_api::meta::Artifact;
use flux_api::source::GitRepository;
use flux_artifact::{Storage, Stored, TarGz};
use flux_budget::Budget;
use flux_ignore::Filter;
use kube::ResourceExt;

use super::content::{Content, Entry};
use super::deadline::Deadline;
use super::failure::{StepError, StoreError};
use super::include;

/// Where an artifact goes and what it is made with.
pub(super) struct Storing {
    pub(super) storage: Arc<Storage>,
    /// Its path in the storage.
    pub(super) path: String,
    pub(super) object: Arc<GitRepository>,
    /// The artifacts to copy in.
    pub(super) included: Vec<Artifact>,
    /// Where the memory of what is copied in comes from.
    pub(super) budget: Budget,
    /// How long all of it may take.
    pub(super) limit: Duration,
}

/// Content whose files can be read one after the other.
pub(super) trait Source: Send + 'static {
    /// The handle of a file's content.
    type Blob: Clone + From<Bytes> + Send;

    /// What there is, includes left out.
    fn content(&self) -> Content<Self::Blob>;

    /// The content of a small file, or the target of a link.
    fn read<'s>(&'s mut self, blob: &'s Self::Blob) -> io::Result<&'s [u8]>;

    /// The size of a file and its content, read in pieces: a large one is never held in memory.
    fn open<'s>(&'s mut self, blob: &'s Self::Blob) -> io::Result<(u64, Box<dyn Read + 's>)>;
}

impl Storing {
    /// Copies the includes in, and archives what the ignore rules leave of it all.
    pub(super) async fn run<S: Source>(self, source: S) -> Result<(String, Stored), StepError> {
        tokio::task::spawn_blocking(move || self.store(source)).await?
    }

    fn store<S: Source>(self, mut source: S) -> Result<(String, Stored), StepError> {
        let spec = &self.object.spec;
        let deadline = Deadline::within(self.limit);
        let mut content = source.content();
        let copying = include::Copying {
            includes: &spec.include,
            artifacts: &self.included,
            namespace: &self.object.namespace().unwrap_or_default(),
            storage: &self.storage,
            budget: &self.budget,
            deadline,
        };
        let _included = copying.copy_into(&mut content, |bytes| S::Blob::from(bytes.clone()))?;
        self.storage
            .make_dir(&self.path)
            .map_err(StepError::ArtifactDirectory)?;
        let _lock = self
            .storage
            .lock(&self.path, deadline.left())
            .map_err(StepError::Lock)?;
        let filter = content.filter(spec.ignore.as_deref(), |blob| {
            source.read(blob).map(Bytes::copy_from_slice)
        });
        let filter = filter.map_err(StepError::Rules)?;
        let writing = self.storage.create(&self.path);
        let stored = writing.map_err(StoreError::from).and_then(|writing| {
            let writing = archive(
                deadline.guard(writing),
                deadline,
                &content,
                &filter,
                &mut source,
            )?;
            Ok(writing.into_inner().commit()?)
        });
        Ok((self.path, stored.map_err(StepError::Archive)?))
    }
}

fn archive<S: Source, W: io::Write>(
    out: W,
    deadline: Deadline,
    content: &Content<S::Blob>,
    filter: &Filter,
    source: &mut S,
) -> Result<W, StoreError> {
    let mut archive = TarGz::new(out)?;
    for (path, entry) in content.iter() {
        deadline.check().map_err(StoreError::Late)?;
        match entry {
            Entry::Directory if !filter.excludes(&path, true)? => archive.directory(&path)?,
            Entry::File {
                executable,
                content,
            } if !filter.excludes(&path, false)? => {
                let opened = source.open(content).map_err(|source| StoreError::Read {
                    path: String::from_utf8_lossy(&path).into_owned(),
                    source,
                });
                let (size, mut bytes) = opened?;
                archive.file(&path, *executable, size, &mut bytes)?;
            }
            // SC-GIT-076: no artifact holds a link
            Entry::Directory | Entry::File { .. } | Entry::Symlink { .. } => {}
        }
    }
    Ok(archive.finish()?)
}
