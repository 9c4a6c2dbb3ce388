//! The files of an artifact while it is composed: paths in memory, contents where they already are.
//!
//! A path can only be below the root of the staging (SW-GEN-135, SW-GEN-136), which nothing shares with another artifact or
//! a source (SW-GEN-137).

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use flux_artifact::{Adler32, Content, ContentEntry, ReadContent, Spooled, Sums};
use flux_budget::{Claim, Exhausted};
use flux_ignore::{Filter, IgnoreError};
use flux_tree::{ENTRY_BYTES, TreePath};

/// The most bytes of a file that is read into memory.
const MAX_READ: u64 = 16 << 20;

/// The content of a file.
#[derive(Clone)]
pub(super) enum Blob {
    /// A file of a source, or of an archive in one.
    Spooled {
        /// The files.
        of: Arc<Spooled>,
        /// The handle of this one.
        handle: Bytes,
    },
    /// What was merged.
    Inline(Bytes),
}

/// What is at a path.
#[derive(Clone)]
pub(super) enum Node {
    /// A folder.
    Directory,
    /// A regular file.
    File {
        /// Whether it is executable.
        executable: bool,
        /// Its content.
        blob: Blob,
    },
}

/// Why a path cannot be written. The texts are those of Go's file system calls.
#[derive(Debug, thiserror::Error)]
pub(super) enum StagingError {
    /// A folder is where a file is to be.
    #[error("openat {0}: is a directory")]
    IsADirectory(TreePath),
    /// A file is where a folder is to be.
    #[error("openat {0}: not a directory")]
    NotADirectory(TreePath),
    /// A file is where a folder is to be, above the folder of what is written.
    #[error("failed to create destination directory: mkdirat {0}: not a directory")]
    BelowAFile(TreePath),
    /// The paths do not fit into the memory budget.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// The files of one artifact.
pub(super) struct Staging {
    entries: BTreeMap<TreePath, Node>,
    claim: Claim,
}

/// What identifies the content of an artifact.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Upstream's hash, which names the file (SW-ART-011).
    pub(super) name: u32,
    /// Everything that the archive is made of.
    pub(super) fingerprint: blake3::Hash,
}

/// Why the content has no identity.
#[derive(Debug, thiserror::Error)]
pub(super) enum IdentityError {
    /// A file name has a line break (SW-ART-011).
    #[error("filenames with newlines are not supported")]
    LineBreak,
    /// The rules of what is left out could not be applied.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
}

impl Blob {
    /// What identifies the content.
    fn sums(&self) -> Sums {
        match self {
            Self::Spooled { handle, .. } => {
                // A source is unpacked with sums; without them, its handle is unlike any other content.
                Spooled::sums(handle).unwrap_or_else(|| Sums::of(handle))
            }
            Self::Inline(bytes) => Sums::of(bytes),
        }
    }

    /// The size, and a reader of the content.
    pub(super) fn open(&self) -> io::Result<(u64, Box<dyn Read + '_>)> {
        match self {
            Self::Spooled { of, handle } => {
                let (size, content) = of.reader(handle)?;
                Ok((size, Box::new(content)))
            }
            Self::Inline(bytes) => Ok((bytes.len() as u64, Box::new(&bytes[..]))),
        }
    }

    /// The content, of at most `limit` bytes.
    pub(super) fn read(&self, limit: u64) -> io::Result<Vec<u8>> {
        let (size, mut content) = self.open()?;
        if size > limit {
            let text = format!("file exceeds the maximum size of {limit} bytes");
            return Err(io::Error::other(text));
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The content of a file that is merged.
    pub(super) fn read_all(&self) -> io::Result<Vec<u8>> {
        self.read(MAX_READ)
    }
}

impl Staging {
    /// No files; their paths are claimed by `claim`.
    pub(super) fn new(claim: Claim) -> Self {
        Self {
            entries: BTreeMap::new(),
            claim,
        }
    }

    /// What the memory of the files is taken through.
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// What is at `path`; the root is a folder.
    pub(super) fn get(&self, path: &TreePath) -> Option<&Node> {
        if path.is_root() {
            Some(&Node::Directory)
        } else {
            self.entries.get(path)
        }
    }

    /// Whether there is a folder at `path`.
    pub(super) fn is_dir(&self, path: &TreePath) -> bool {
        matches!(self.get(path), Some(Node::Directory))
    }

    /// Creates a folder and those above it (SW-GEN-146). A file in its place stays, as in upstream, where what is written
    /// below it fails.
    pub(super) fn make_dir(&mut self, path: &TreePath) -> Result<(), StagingError> {
        let mut missing = Vec::new();
        let mut above = Some(path.clone());
        while let Some(at) = above.filter(|at| !at.is_root()) {
            match self.entries.get(&at) {
                Some(Node::Directory) => break,
                Some(Node::File { .. }) if at == *path => return Ok(()),
                Some(Node::File { .. }) => return Err(StagingError::BelowAFile(path.clone())),
                None => {}
            }
            above = at.parent();
            missing.push(at);
        }
        for folder in missing {
            self.insert(folder, Node::Directory)?;
        }
        Ok(())
    }

    /// Writes a file, in place of one that is there.
    pub(super) fn put(
        &mut self,
        path: &TreePath,
        executable: bool,
        blob: Blob,
    ) -> Result<(), StagingError> {
        let folder = path.parent().unwrap_or_default();
        self.make_dir(&folder)?;
        if !self.is_dir(&folder) {
            return Err(StagingError::NotADirectory(path.clone()));
        }
        if self.is_dir(path) {
            return Err(StagingError::IsADirectory(path.clone()));
        }
        self.insert(path.clone(), Node::File { executable, blob })
    }

    fn insert(&mut self, path: TreePath, node: Node) -> Result<(), StagingError> {
        if !self.entries.contains_key(&path) {
            self.claim.take(path.as_str().len() as u64 + ENTRY_BYTES)?;
        }
        if let Node::File {
            blob: Blob::Inline(bytes),
            ..
        } = &node
        {
            self.claim.take(bytes.len() as u64)?;
        }
        self.entries.insert(path, node);
        Ok(())
    }

    /// What is archived, without what the default rules leave out (SW-ART-016, SW-ART-018).
    pub(super) fn content(&self, filter: &Filter) -> Result<Content<Blob>, IgnoreError> {
        let mut content = Content::new();
        for (path, node) in &self.entries {
            let is_dir = matches!(node, Node::Directory);
            let name = flux_tree::name_bytes(path.as_str());
            if filter.excludes(&name, is_dir)? {
                continue;
            }
            let entry = match node {
                Node::Directory => ContentEntry::Directory,
                Node::File { executable, blob } => ContentEntry::File {
                    executable: *executable,
                    content: blob.clone(),
                },
            };
            content.insert(&name, entry);
        }
        Ok(content)
    }

    /// The identity of the content under the name `artifact`. Equal content gives an equal archive (SW-ART-012, SW-ART-015).
    pub(super) fn identity(
        &self,
        artifact: &str,
        filter: &Filter,
    ) -> Result<Identity, IdentityError> {
        let mut name = Adler32::default();
        let mut fingerprint = blake3::Hasher::new();
        for (path, node) in &self.entries {
            let shown = flux_tree::name_bytes(path.as_str());
            let is_dir = matches!(node, Node::Directory);
            let sums = match node {
                Node::Directory => None,
                Node::File { blob, .. } => Some(blob.sums()),
            };
            if let Some(sums) = &sums {
                if shown.contains(&b'\n') {
                    return Err(IdentityError::LineBreak);
                }
                // SW-ART-017: also of what is left out
                name.update(format!("{:x}  {artifact}/", sums.adler32).as_bytes());
                name.update(&shown);
                name.update(b"\n");
            }
            if filter.excludes(&shown, is_dir)? {
                continue;
            }
            let executable = matches!(
                node,
                Node::File {
                    executable: true,
                    ..
                }
            );
            fingerprint.update(&(shown.len() as u64).to_be_bytes());
            fingerprint.update(&shown);
            fingerprint.update(&[u8::from(is_dir), u8::from(executable)]);
            fingerprint.update(&sums.map_or([0; 32], |sums| sums.blake3));
        }
        Ok(Identity {
            name: name.finish(),
            fingerprint: fingerprint.finalize(),
        })
    }
}

/// Reads the contents of an archive.
pub(super) struct Blobs;

impl ReadContent for Blobs {
    type Handle = Blob;

    fn read<'s>(&'s mut self, _: &'s Blob) -> io::Result<&'s [u8]> {
        // Only ignore files are read so, and those of sources have no effect here (SW-ART-018).
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open<'s>(&'s mut self, blob: &'s Blob) -> io::Result<(u64, Box<dyn Read + 's>)> {
        blob.open()
    }
}

#[cfg(test)]
mod tests {
    use flux_budget::Budget;
    use flux_ignore::Patterns;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn staging(files: &[(&str, &'static str)]) -> Staging {
        let mut staging = Staging::new(Claim::unlimited());
        for (name, text) in files {
            let blob = Blob::Inline(Bytes::from_static(text.as_bytes()));
            staging.put(&path(name), false, blob).unwrap();
        }
        staging
    }

    fn identity(staging: &Staging, artifact: &str) -> Identity {
        let filter = Filter::for_source(Patterns::new());
        staging.identity(artifact, &filter).unwrap()
    }

    // SW-GEN-146
    #[test]
    fn files_and_folders_do_not_replace_each_other() {
        let mut staging = staging(&[("a/b/c", "")]);
        let blob = || Blob::Inline(Bytes::new());
        for (at, expected) in [
            ("a/b", "openat a/b: is a directory"),
            ("a/b/c/d", "openat a/b/c/d: not a directory"),
            (
                "a/b/c/d/e",
                "failed to create destination directory: mkdirat a/b/c/d: not a directory",
            ),
        ] {
            let error = staging.put(&path(at), false, blob()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert!(staging.is_dir(&path("a")) && staging.is_dir(&TreePath::root()));
    }

    #[test]
    fn paths_are_claimed() {
        let budget = Budget::new(1000);
        let mut staging = Staging::new(budget.claim());
        staging.make_dir(&path("a/b/c")).unwrap();
        let error = staging.make_dir(&path("d")).unwrap_err();
        assert!(matches!(error, StagingError::Memory(_)));
    }

    // SW-ART-011, SW-ART-012: the value is that of upstream's hash
    #[test]
    fn the_file_name_is_the_adler_sum_of_upstream() {
        let files = staging(&[("a.yaml", "Wikipedia"), ("dir/b.yaml", "")]);
        let line = format!("{:x}  app/a.yaml\n{:x}  app/dir/b.yaml\n", 0x11e6_0398, 1);
        let mut sum = Adler32::default();
        sum.update(line.as_bytes());
        let app = identity(&files, "app");
        assert_eq!(app.name, sum.finish());
        let other = identity(&files, "other");
        assert_ne!(app.name, other.name);
        assert_eq!(app.fingerprint, other.fingerprint);

        let mut broken = staging(&[("a\nb", "")]);
        broken.make_dir(&path("x")).unwrap();
        let filter = Filter::for_source(Patterns::new());
        let error = broken.identity("app", &filter).unwrap_err();
        assert!(matches!(error, IdentityError::LineBreak));
    }

    // SW-ART-016, SW-ART-017
    #[test]
    fn what_is_left_out_counts_for_the_file_name_only() {
        let few = staging(&[("a.yaml", "x")]);
        let more = staging(&[("a.yaml", "x"), ("b.tar.gz", "y"), (".sops.yaml", "z")]);
        let (few, more) = (identity(&few, "app"), identity(&more, "app"));
        assert_ne!(few.name, more.name);
        assert_eq!(few.fingerprint, more.fingerprint);
        let folder = staging(&[("a.yaml", "x"), ("d/.sops.yaml", "")]);
        assert_ne!(identity(&folder, "app").fingerprint, few.fingerprint);
    }
}
