//! The files of a commit, read from its packs one at a time.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use flux_artifact::{Content, ContentEntry, ReadContent};
use flux_budget::Claim;
use flux_git::{Content as Held, EntryKind, Reader, Snapshot};
use flux_runtime::outcome::chain;

use super::failure::StepError;

/// The files of a snapshot, read from its packs without a checkout.
pub(super) struct Files {
    snapshot: Box<Snapshot>,
    reader: Reader,
    /// The object that was read last.
    held: Option<Arc<Held>>,
}

/// The content of a file.
#[derive(Clone, Debug)]
pub(super) enum Blob {
    /// The snapshot's entry with this number.
    Entry(usize),
    /// A file of an included artifact.
    Bytes(Bytes),
}

impl Files {
    /// Prepares the files for the archive. The memory of their table is claimed through `claim`.
    pub(super) fn of(snapshot: Box<Snapshot>, claim: &Claim) -> Result<Self, StepError> {
        let paths = snapshot.entries().iter().map(flux_git::Entry::path);
        claim.take(memory(paths)).map_err(StepError::Memory)?;
        let reader = snapshot.reader().map_err(StepError::Checkout)?;
        Ok(Self {
            snapshot,
            reader,
            held: None,
        })
    }

    /// The content of the snapshot, without includes.
    pub(super) fn content(&self) -> Content<Blob> {
        let mut content = Content::new();
        for (number, entry) in self.snapshot.entries().iter().enumerate() {
            let blob = Blob::Entry(number);
            let found = match entry.kind() {
                EntryKind::File => ContentEntry::File {
                    executable: false,
                    content: blob,
                },
                EntryKind::Executable => ContentEntry::File {
                    executable: true,
                    content: blob,
                },
                EntryKind::Symlink => ContentEntry::Symlink { target: blob },
                EntryKind::Submodule => ContentEntry::Directory,
            };
            content.insert(entry.path(), found);
        }
        content
    }

    fn entry(&self, number: usize) -> io::Result<&flux_git::Entry> {
        let entry = self.snapshot.entries().get(number);
        entry.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Bytes of a path in [`Content`] besides its text.
const ENTRY_BYTES: u64 = 192;
/// Maximum bytes of an ignore file or of the target of a link; these are held in memory.
const MAX_READ: u64 = 4 << 20;

/// Bytes of memory of a [`Content`] with these sorted paths and their parent folders.
fn memory<'p>(paths: impl Iterator<Item = &'p [u8]>) -> u64 {
    let (mut sum, mut last): (u64, &[u8]) = (0, b"");
    for path in paths {
        let same = path.iter().zip(last).take_while(|(a, b)| a == b).count();
        let folders = path.iter().enumerate().skip(same);
        for (at, _) in folders.filter(|(_, byte)| **byte == b'/') {
            sum += ENTRY_BYTES + at as u64;
        }
        sum += ENTRY_BYTES + path.len() as u64;
        last = path;
    }
    sum
}

fn failed(error: &flux_git::Error) -> io::Error {
    io::Error::other(chain(error))
}

impl ReadContent for Files {
    type Handle = Blob;

    fn read<'s>(&'s mut self, blob: &'s Blob) -> io::Result<&'s [u8]> {
        let number = match blob {
            Blob::Bytes(bytes) => return Ok(bytes),
            Blob::Entry(number) => *number,
        };
        let entry = self.entry(number)?;
        let size = self.reader.size(entry).map_err(|error| failed(&error))?;
        if size > MAX_READ {
            return Err(io::Error::other(format!(
                "it has {size} bytes, and {MAX_READ} at most are read"
            )));
        }
        let read = self.reader.read(entry).map_err(|error| failed(&error))?;
        Ok(self.held.insert(read))
    }

    fn open<'s>(&'s mut self, blob: &'s Blob) -> io::Result<(u64, Box<dyn Read + 's>)> {
        match blob {
            Blob::Bytes(bytes) => Ok((bytes.len() as u64, Box::new(&bytes[..]))),
            Blob::Entry(number) => {
                let stream = self.reader.open(self.entry(*number)?);
                let stream = stream.map_err(|error| failed(&error))?;
                Ok((stream.remaining(), Box::new(stream)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn implied_folders_are_counted_once() {
        let of = |paths: &[&str]| memory(paths.iter().map(|path| path.as_bytes()));
        let entries = |count: u64, bytes: u64| count * ENTRY_BYTES + bytes;
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&["a"]), entries(1, 1));
        // a, a/b, a/b/c, a/b/d, a/bc
        assert_eq!(
            of(&["a/b/c", "a/b/d", "a/bc"]),
            entries(5, 1 + 3 + 5 + 5 + 4)
        );
    }
}
