//! What is known of the stored files between runs, so that unchanged ones are neither hashed nor archived again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::SystemTime;

use flux_artifact::Storage;
use flux_runtime::queue::Key;

/// The stored file of each output of a generator.
pub(crate) type Known = BTreeMap<Key, Output>;

/// The stored file of an output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Output {
    /// Its name.
    pub(super) file: String,
    /// Its digest.
    pub(super) digest: String,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Of what it was made; `None` if an earlier process made it.
    pub(super) fingerprint: Option<blake3::Hash>,
    /// The state of the file when it last had the digest.
    pub(super) state: FileState,
}

/// By what a change of a file is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileState {
    size: u64,
    inode: u64,
    modified: SystemTime,
}

impl FileState {
    /// The size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The state of the artifact at `path`; `None` if it is no regular file.
    pub(super) fn of(storage: &Storage, path: &str) -> Option<Self> {
        let file = storage.locate(path).ok()?;
        let found = fs::symlink_metadata(file).ok()?;
        Some(Self {
            size: found.len(),
            inode: found.ino(),
            modified: found.modified().ok()?,
        })
        .filter(|_| found.is_file())
    }
}
