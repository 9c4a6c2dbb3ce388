//! The store of tags: a folder of each repository with a file of its tags, as upstream's file-system backend lays them out
//! (IR-DB-020 to IR-DB-032).
//!
//! The tags are a cache: whatever is lost or damaged is scanned again. So the store only has to be sure that what it returns
//! is what was written, and that a write is on disk before a status speaks of it.

mod file;
mod format;
mod orphans;
mod revision;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flux_budget::{Claim, Exhausted};
use flux_runtime::queue::Key;
use tokio::sync::broadcast;

pub(crate) use self::format::FormatError;
pub(crate) use self::orphans::LOGGER as ORPHANS;
pub(crate) use self::revision::RevisionForm;
use crate::tags::Tags;

/// The folder of all repositories: the kind in lower case.
const KIND: &str = "imagerepository";
/// How many writes a waiting reader may miss before it looks itself.
const MISSED: usize = 256;

/// Why the tags of a repository could not be read, stored or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The repository has no name, or none that is a part of a path (IR-DB-028, IR-DB-032).
    #[error("repo namespace and name are required")]
    Name,
    /// A file cannot be looked at.
    #[error("failed to stat {path}")]
    Look {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// A file cannot be read, or holds no tags.
    #[error("failed to read tags")]
    Read(#[source] ReadFault),
    /// The folder cannot be made.
    #[error("failed to create storage directory")]
    Folder(#[source] std::io::Error),
    /// The tags cannot be compressed.
    #[error("failed to compress tags")]
    Compress(#[source] std::io::Error),
    /// The file cannot be written; the one before it is still there.
    #[error("failed to write tags")]
    Write(#[source] std::io::Error),
    /// The folder cannot be removed.
    #[error("failed to delete tags")]
    Delete(#[source] std::io::Error),
    /// The tags do not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
    /// The process is ending.
    #[error("{0}")]
    Task(String),
}

/// Why a file holds no tags.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFault {
    /// It cannot be read to its end.
    #[error("{path}")]
    File {
        path: String,
        #[source]
        source: std::io::Error,
    },
    /// A line is longer than upstream reads (IR-DB-027).
    #[error("bufio.Scanner: token too long")]
    Line,
    /// It has more bytes than the tags of a repository may have.
    #[error("the file unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// It is not text.
    #[error("the file is not UTF-8")]
    Text,
}

/// The tags of a repository as they are stored.
#[derive(Debug)]
pub(crate) struct Stored {
    /// The tags, byte-wise descending.
    pub(crate) tags: Tags,
    /// The revision of exactly these tags: it is computed, so that tags of another scan are noticed (FR-N-077).
    pub(crate) revision: String,
}

/// The store. Clones share it. Its methods block.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    root: Arc<Path>,
    /// From how many bytes on tags are compressed (IR-PROC-006).
    threshold: usize,
    form: RevisionForm,
    written: broadcast::Sender<Key>,
    /// Held while a file replaces another, so that no reader takes the new one for the outdated one.
    replacing: Arc<Mutex<()>>,
}

impl Store {
    /// Opens the store in this folder, which is emptied first if it has another format (IR-DB-010 to IR-DB-015). Tags of
    /// `threshold` bytes are compressed.
    ///
    /// # Errors
    /// The folder cannot be made ready.
    pub(crate) fn open(
        root: &Path,
        threshold: usize,
        form: RevisionForm,
    ) -> Result<Self, FormatError> {
        format::prepare(root)?;
        Ok(Self {
            root: root.into(),
            threshold,
            form,
            written: broadcast::channel(MISSED).0,
            replacing: Arc::default(),
        })
    }

    /// The repositories whose tags are written from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Key> {
        self.written.subscribe()
    }

    /// The revision of tags (IR-DB-006, IR-DB-020).
    pub(crate) fn revision(&self, tags: &Tags) -> String {
        self.form.revision(tags)
    }

    /// The tags of a repository, whose memory is claimed; `None` without any (IR-DB-003).
    ///
    /// # Errors
    /// They cannot be read, or are damaged.
    pub(crate) fn read(&self, key: &Key, claim: &Claim) -> Result<Option<Stored>, StoreError> {
        let folder = self.folder(key)?;
        let Some(lines) = file::read(&folder, claim, || self.replacing())? else {
            return Ok(None);
        };
        let tags = Tags::of_lines(lines);
        let revision = self.form.revision(&tags);
        Ok(Some(Stored { tags, revision }))
    }

    /// Stores the tags of a repository in place of all before (IR-DB-005): once it returns, they are on disk, and until then
    /// those before are still there. Returns their revision.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn write(&self, key: &Key, tags: &Tags) -> Result<String, StoreError> {
        let folder = self.folder(key)?;
        let compressed = tags.lines().len() >= self.threshold;
        {
            let _replacing = self.replacing();
            file::write(&folder, tags.lines().as_bytes(), compressed)?;
        }
        let _ = self.written.send(key.clone()); // fails without a reader
        Ok(self.form.revision(tags))
    }

    /// Removes everything of a repository (IR-DB-029).
    ///
    /// # Errors
    /// It cannot be removed.
    pub(crate) fn remove(&self, key: &Key) -> Result<(), StoreError> {
        format::remove_all(&self.folder(key)?).map_err(StoreError::Delete)
    }

    /// Removes the tags of repositories that are not `known`, and folders of namespaces that are empty then (IR-DB-030,
    /// IR-DB-031). What cannot be removed is logged. Returns how many repositories were removed.
    pub(crate) fn remove_orphans(&self, known: &HashSet<Key>) -> usize {
        orphans::remove(&self.root.join(KIND), known)
    }

    fn replacing(&self) -> MutexGuard<'_, ()> {
        self.replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder of a repository, which is always directly in that of its namespace (IR-DB-021, IR-DB-032).
    fn folder(&self, key: &Key) -> Result<PathBuf, StoreError> {
        let is_part =
            |name: &str| !matches!(name, "" | "." | "..") && !name.contains(['/', '\\', '\0']);
        if !is_part(&key.namespace) || !is_part(&key.name) {
            return Err(StoreError::Name);
        }
        Ok(self.root.join(KIND).join(&key.namespace).join(&key.name))
    }
}

#[cfg(test)]
mod tests;
