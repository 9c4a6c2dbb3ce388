//! Unpacks archives onto disk: for content that is archived again and need not be held in memory.

use std::fs::File;
use std::io::{self, BufReader, Read, Write as _};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use flux_budget::Claim;
use flux_tree::Tree;

use crate::content::{Content, ReadContent};
use crate::extract::{ExtractError, ExtractOptions, extract_with};
use crate::sums::{SUMS, Summing, Sums};

/// The most bytes of a file that is read into memory: an ignore file.
const MAX_READ: u64 = 4 << 20;
/// The bytes of a handle, without sums.
const HANDLE: usize = 16;

/// The file that contents are written to while an archive is unpacked.
pub(crate) struct Spool {
    file: io::BufWriter<File>,
    at: u64,
    /// Whether handles have the sums of their contents.
    sums: bool,
}

impl Spool {
    /// The bytes of a handle.
    pub(crate) fn handle(&self) -> u64 {
        (HANDLE + if self.sums { SUMS } else { 0 }) as u64
    }

    /// Writes the `size` bytes of a file, and returns the handle by which they are found again.
    pub(crate) fn hold(
        &mut self,
        content: &mut impl Read,
        size: u64,
    ) -> Result<Vec<u8>, ExtractError> {
        let mut copied = 0;
        let mut buffer = [0; 8 * 1024];
        let mut sums = self.sums.then(Summing::default);
        while copied < size {
            let wanted = usize::try_from(size - copied).unwrap_or(usize::MAX);
            let wanted = wanted.min(buffer.len());
            let count = content
                .read(&mut buffer[..wanted])
                .map_err(ExtractError::Tar)?;
            if count == 0 {
                return Err(ExtractError::Tar(io::ErrorKind::UnexpectedEof.into()));
            }
            self.file
                .write_all(&buffer[..count])
                .map_err(ExtractError::Spool)?;
            if let Some(sums) = &mut sums {
                sums.update(&buffer[..count]);
            }
            copied += count as u64;
        }
        let mut handle = Vec::with_capacity(self.handle() as usize);
        handle.extend_from_slice(&self.at.to_be_bytes());
        handle.extend_from_slice(&size.to_be_bytes());
        if let Some(sums) = sums {
            handle.extend_from_slice(&sums.finish().to_bytes());
        }
        self.at += size;
        Ok(handle)
    }
}

/// The files of an archive, whose contents are in a file on disk. Only their paths are in memory.
///
/// ```
/// use flux_artifact::{ExtractOptions, TarGz, extract_spooled, pack_tree};
/// use flux_budget::Claim;
/// use flux_tree::{Tree, TreePath};
///
/// let mut tree = Tree::new();
/// tree.insert_file(TreePath::new("web.yaml")?, "kind: Service\n", false)?;
/// let archive = pack_tree(&tree, |_, _| false, Vec::new())?;
///
/// let mut files = extract_spooled(&archive[..], &ExtractOptions::default(), Claim::unlimited(), tempfile::tempfile()?)?;
/// let content = files.content();
/// let filter = content.filter(None, &mut files)?;
/// assert_eq!(content.pack(&filter, &mut files, || Ok(()), Vec::new())?, archive);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Spooled {
    /// The content of each file is its handle.
    tree: Tree,
    file: File,
    /// The bytes of the file.
    bytes: u64,
    /// The file that was read last.
    held: Vec<u8>,
}

/// Unpacks a `tar.gz` as [`extract`](crate::extract) does, with the contents of its files in `file` (SC-OCI-064).
///
/// # Errors
/// As [`extract`](crate::extract); and the file cannot be written.
pub fn extract_spooled(
    archive: impl Read,
    options: &ExtractOptions,
    claim: Claim,
    file: File,
) -> Result<Spooled, ExtractError> {
    spooled(archive, options, claim, file, false)
}

/// As [`extract_spooled`], and computes the [`Sums`] of each content while it is written, so that it need not be read again
/// to be compared.
///
/// # Errors
/// As [`extract_spooled`].
pub fn extract_summed(
    archive: impl Read,
    options: &ExtractOptions,
    claim: Claim,
    file: File,
) -> Result<Spooled, ExtractError> {
    spooled(archive, options, claim, file, true)
}

fn spooled(
    archive: impl Read,
    options: &ExtractOptions,
    claim: Claim,
    file: File,
    sums: bool,
) -> Result<Spooled, ExtractError> {
    let writer = file.try_clone().map_err(ExtractError::Spool)?;
    let spool = Spool {
        file: io::BufWriter::new(writer),
        at: 0,
        sums,
    };
    let (tree, spool) = extract_with(archive, options, claim, Some(spool))?;
    let mut bytes = 0;
    if let Some(mut spool) = spool {
        spool.file.flush().map_err(ExtractError::Spool)?;
        bytes = spool.at;
    }
    Ok(Spooled {
        tree,
        file,
        bytes,
        held: Vec::new(),
    })
}

impl Spooled {
    /// The files.
    #[must_use]
    pub fn content(&self) -> Content<Bytes> {
        Content::from(&self.tree)
    }

    /// The files as a tree, in which the content of each is its handle.
    #[must_use]
    pub fn handles(&self) -> &Tree {
        &self.tree
    }

    /// The bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The sums of the content of a handle; `None` unless it was unpacked by [`extract_summed`].
    #[must_use]
    pub fn sums(handle: &[u8]) -> Option<Sums> {
        Sums::from_bytes(handle.get(HANDLE..)?)
    }

    /// The size of the content of a handle, and a reader of it. Any number of them may be in use.
    ///
    /// # Errors
    /// The handle is not one of these files.
    pub fn reader<'s>(&'s self, handle: &[u8]) -> io::Result<(u64, impl Read + use<'s>)> {
        let (at, size) = place(handle)?;
        let part = Part {
            file: &self.file,
            at,
            left: size,
        };
        Ok((size, BufReader::new(part)))
    }
}

/// Where the content of a handle begins, and its size.
fn place(handle: &[u8]) -> io::Result<(u64, u64)> {
    let (at, size) = handle
        .split_first_chunk::<8>()
        .and_then(|(at, size)| Some((at, size.first_chunk::<8>()?)))
        .ok_or(io::ErrorKind::InvalidInput)?;
    Ok((u64::from_be_bytes(*at), u64::from_be_bytes(*size)))
}

/// A part of a file, read without moving the file's own position.
struct Part<'f> {
    file: &'f File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = most.min(into.len());
        let count = self.file.read_at(&mut into[..most], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

impl ReadContent for Spooled {
    type Handle = Bytes;

    fn read<'s>(&'s mut self, handle: &'s Bytes) -> io::Result<&'s [u8]> {
        let (at, size) = place(handle)?;
        if size > MAX_READ {
            return Err(io::Error::other(format!(
                "it has {size} bytes, and {MAX_READ} at most are read"
            )));
        }
        self.held.resize(size as usize, 0);
        self.file.read_exact_at(&mut self.held, at)?;
        Ok(&self.held)
    }

    fn open<'s>(&'s mut self, handle: &'s Bytes) -> io::Result<(u64, Box<dyn Read + 's>)> {
        let (size, content) = self.reader(handle)?;
        Ok((size, Box::new(content)))
    }
}

#[cfg(test)]
mod tests {
    use flux_budget::Budget;
    use flux_tree::TreePath;

    use super::*;
    use crate::pack_tree;

    fn archive(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tree = Tree::new();
        for (path, text) in files {
            let path = TreePath::new(path).unwrap();
            tree.insert_file(path, (*text).to_owned(), false).unwrap();
        }
        pack_tree(&tree, |_, _| false, Vec::new()).unwrap()
    }

    // SC-OCI-064: what is on disk is packed as what is in memory, at the cost of its paths
    #[test]
    fn contents_are_not_held_in_memory() {
        let large = "x".repeat(1 << 20);
        let packed = archive(&[
            (".sourceignore", "*.md"),
            ("a/large", &large),
            ("b.md", "text"),
            ("c", ""),
        ]);
        let budget = Budget::new(64 * 1024);
        let file = tempfile::tempfile().unwrap();
        let mut files = extract_spooled(
            &packed[..],
            &ExtractOptions::default(),
            budget.claim(),
            file,
        )
        .unwrap();
        let content = files.content();
        let filter = content.filter(None, &mut files).unwrap();
        let repacked = content
            .pack(&filter, &mut files, || Ok(()), Vec::new())
            .unwrap();
        let expected = archive(&[(".sourceignore", "*.md"), ("a/large", &large), ("c", "")]);
        assert_eq!(repacked, expected);
    }

    #[test]
    fn limits_hold_for_what_is_on_disk() {
        let packed = archive(&[("a", "0123456789")]);
        let options = ExtractOptions {
            max_bytes: 100,
            ..ExtractOptions::default()
        };
        let file = tempfile::tempfile().unwrap();
        let refused = extract_spooled(&packed[..], &options, Claim::unlimited(), file);
        assert!(matches!(refused, Err(ExtractError::TooLarge(100))));
        let file = tempfile::tempfile().unwrap();
        let damaged = &packed[..packed.len() - 20];
        assert!(
            extract_spooled(
                damaged,
                &ExtractOptions::default(),
                Claim::unlimited(),
                file
            )
            .is_err()
        );
    }
}
