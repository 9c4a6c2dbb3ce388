//! Reproducible `tar.gz` archives.
//!
//! The same entries give the same bytes, regardless of the caller and of the size of its reads (SC-ART-064): entries
//! have to be in walk order, headers contain only name, kind, mode and size, and the compressor is fed blocks of one
//! size. The tar stream is byte for byte that of Go's `archive/tar`; the gzip stream is that of `zlib-rs` at level 6,
//! whose output does not depend on the processor, so digests change only with that crate's version (SC-ART-065).

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use flux_tree::{Entry, Tree};

const BLOCK: usize = 512;
/// The block size of the compressor's input, so that its output depends on the bytes alone.
const CHUNK: usize = 64 * 1024;
/// The largest size that fits its header field.
const MAX_FILE: u64 = 0o777_7777_7777;

const DIR_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o600;
const EXECUTABLE_MODE: u32 = 0o700;

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading an entry or writing the archive failed.
    #[error("failed to write '{name}' to the archive")]
    Io {
        /// The entry's name.
        name: String,
        /// The error of reading or writing.
        #[source]
        source: io::Error,
    },
    /// An entry is out of order: a walk would have met it before the last one.
    #[error("'{name}' is out of order in the archive")]
    OutOfOrder {
        /// The entry's name.
        name: String,
    },
    /// A file is too large for a tar header.
    #[error("'{name}' is larger than 8 GiB")]
    TooLarge {
        /// The entry's name.
        name: String,
    },
    /// The path to be archived is not a folder.
    #[error("invalid dir path: {0}")]
    NotADirectory(String),
}

/// An archive being written to `W`.
pub struct TarGz<W: Write> {
    out: Chunks<GzEncoder<W>>,
    last: Option<Vec<u8>>,
}

impl<W: Write> TarGz<W> {
    /// Begins an archive with the entry of its root folder (SC-ART-061).
    pub fn new(out: W) -> Result<Self, ArchiveError> {
        let gzip = GzBuilder::new()
            .mtime(0)
            .operating_system(255)
            .write(out, Compression::new(6));
        let mut archive = Self {
            out: Chunks::new(gzip),
            last: None,
        };
        archive.header(b".", Kind::Directory, 0)?;
        Ok(archive)
    }

    /// Adds a folder.
    pub fn directory(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        self.follow(path)?;
        self.header(path, Kind::Directory, 0)
    }

    /// Adds a file of `size` bytes, which `content` has to yield exactly.
    pub fn file(
        &mut self,
        path: &[u8],
        executable: bool,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), ArchiveError> {
        self.follow(path)?;
        if size > MAX_FILE {
            return Err(ArchiveError::TooLarge { name: text(path) });
        }
        let kind = if executable {
            Kind::Executable
        } else {
            Kind::File
        };
        self.header(path, kind, size)?;
        // One byte more than announced, to detect a file that has grown.
        let copied = io::copy(&mut content.take(size + 1), &mut self.out);
        let copied = copied.map_err(|source| io_error(path, source))?;
        if copied != size {
            let found = if copied < size {
                "ended early"
            } else {
                "is longer than announced"
            };
            return Err(io_error(
                path,
                io::Error::new(io::ErrorKind::InvalidData, format!("content {found}")),
            ));
        }
        self.pad(path, size)
    }

    /// Ends the archive and returns the writer.
    pub fn finish(mut self) -> Result<W, ArchiveError> {
        self.out
            .write_all(&[0; 2 * BLOCK])
            .and_then(|()| self.out.into_inner())
            .and_then(GzEncoder::finish)
            .map_err(|source| io_error(b".", source))
    }

    /// Checks that `path` follows the last entry in walk order: parents first, siblings by name.
    fn follow(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        let parts = |path| <[u8]>::split(path, |byte: &u8| *byte == b'/');
        if self
            .last
            .as_deref()
            .is_some_and(|last| parts(last).ge(parts(path)))
        {
            return Err(ArchiveError::OutOfOrder { name: text(path) });
        }
        self.last = Some(path.to_owned());
        Ok(())
    }

    fn header(&mut self, path: &[u8], kind: Kind, size: u64) -> Result<(), ArchiveError> {
        let mut blocks = Vec::with_capacity(3 * BLOCK);
        write_headers(&mut blocks, path, kind, size);
        self.out
            .write_all(&blocks)
            .map_err(|source| io_error(path, source))
    }

    fn pad(&mut self, path: &[u8], size: u64) -> Result<(), ArchiveError> {
        self.out
            .write_all(&[0; BLOCK][..padding(size)])
            .map_err(|source| io_error(path, source))
    }
}

/// Archives the entries of `tree` that `keep` accepts, except links (SC-ART-060).
pub fn pack_tree<W: Write>(
    tree: &Tree,
    excludes: impl Fn(&[u8], bool) -> bool,
    out: W,
) -> Result<W, ArchiveError> {
    let mut archive = TarGz::new(out)?;
    let mut entries: Vec<_> = tree.iter().collect();
    entries.sort_by(|(a, _), (b, _)| a.as_str().split('/').cmp(b.as_str().split('/')));
    for (path, entry) in entries {
        let path = path.as_str().as_bytes();
        match entry {
            Entry::Directory if !excludes(path, true) => archive.directory(path)?,
            Entry::File(file) if !excludes(path, false) => {
                let mut content: &[u8] = &file.content;
                archive.file(path, file.executable, content.len() as u64, &mut content)?;
            }
            Entry::Directory | Entry::File(_) | Entry::Symlink(_) => {}
        }
    }
    archive.finish()
}

/// Archives the folder `dir` without what `excludes` matches. Links, devices and sockets are left out (SC-ART-060).
pub fn pack_directory<W: Write>(
    dir: &Path,
    excludes: impl Fn(&[u8], bool) -> bool,
    out: W,
) -> Result<W, ArchiveError> {
    if !dir.is_dir() {
        return Err(ArchiveError::NotADirectory(dir.display().to_string()));
    }
    let mut archive = TarGz::new(out)?;
    pack_folder(&mut archive, dir, &[], &excludes)?;
    archive.finish()
}

fn pack_folder<W: Write>(
    archive: &mut TarGz<W>,
    dir: &Path,
    prefix: &[u8],
    excludes: &dyn Fn(&[u8], bool) -> bool,
) -> Result<(), ArchiveError> {
    let listing = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = listing.map_err(|source| io_error(prefix, source))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let mut path = prefix.to_owned();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(entry.file_name().as_bytes());
        let kind = entry
            .file_type()
            .map_err(|source| io_error(&path, source))?;
        if kind.is_dir() {
            if !excludes(&path, true) {
                archive.directory(&path)?;
            }
            pack_folder(archive, &entry.path(), &path, excludes)?;
        } else if kind.is_file() && !excludes(&path, false) {
            let opened = fs::File::open(entry.path()).and_then(|file| Ok((file.metadata()?, file)));
            let (found, mut file) = opened.map_err(|source| io_error(&path, source))?;
            let executable = found.permissions().mode() & 0o111 != 0;
            archive.file(&path, executable, found.len(), &mut file)?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Directory,
    File,
    Executable,
}

impl Kind {
    const fn mode_and_flag(self) -> (u32, u8) {
        match self {
            Self::Directory => (DIR_MODE, b'5'),
            Self::File => (FILE_MODE, b'0'),
            Self::Executable => (EXECUTABLE_MODE, b'0'),
        }
    }
}

/// The header of an entry: ustar if the name fits, else PAX, with a record before it (SC-ART-062, SC-ART-063).
fn write_headers(out: &mut Vec<u8>, path: &[u8], kind: Kind, size: u64) {
    let (mode, flag) = kind.mode_and_flag();
    if path.is_ascii() {
        if path.len() <= 100 {
            return write_block(out, b"", path, mode, size, flag);
        }
        if let Some((prefix, name)) = split_name(path) {
            return write_block(out, prefix, name, mode, size, flag);
        }
    }
    let record = pax_record(b"path", path);
    write_block(out, b"", &pax_name(path), 0, record.len() as u64, b'x');
    out.extend_from_slice(&record);
    out.resize(out.len() + padding(record.len() as u64), 0);
    write_block(out, b"", &ascii_only(path), mode, size, flag);
}

/// Splits a name over ustar's two fields, at the last slash that the first one can hold.
fn split_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.len().min(156);
    let at = path.get(..end)?.iter().rposition(|byte| *byte == b'/')?;
    let (prefix, name) = (path.get(..at)?, path.get(at + 1..)?);
    (at > 0 && !name.is_empty() && name.len() <= 100).then_some((prefix, name))
}

/// `<length> <key>=<value>\n`, where the length counts its own digits.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// The name of the entry that holds a PAX record.
fn pax_name(path: &[u8]) -> Vec<u8> {
    let (dir, file) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => path.split_at(at + 1),
        None => (&b""[..], path),
    };
    let mut name = ascii_only(&[dir, b"PaxHeaders.0/", file].concat());
    name.truncate(100);
    while name.last() == Some(&b'/') {
        name.pop();
    }
    name
}

fn ascii_only(path: &[u8]) -> Vec<u8> {
    path.iter().copied().filter(u8::is_ascii).collect()
}

fn write_block(out: &mut Vec<u8>, prefix: &[u8], name: &[u8], mode: u32, size: u64, flag: u8) {
    let mut block = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    let mut name = &name[..name.len().min(100)];
    if name.len() == 100 && flag != b'x' {
        // A truncated name that ends in a slash would look like a folder to old readers.
        while let Some(rest) = name.strip_suffix(b"/") {
            name = rest;
        }
    }
    put(0, name);
    put(100, format!("{mode:07o}\0").as_bytes());
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, &[flag]);
    put(257, b"ustar\x0000");
    if flag != b'x' {
        put(329, b"0000000\0");
        put(337, b"0000000\0");
    }
    put(345, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend_from_slice(&block);
}

fn padding(size: u64) -> usize {
    (size.next_multiple_of(BLOCK as u64) - size) as usize
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn io_error(path: &[u8], source: io::Error) -> ArchiveError {
    ArchiveError::Io {
        name: text(path),
        source,
    }
}

/// Passes bytes on in chunks of one size, regardless of the size of the writes.
struct Chunks<W: Write> {
    inner: W,
    buffer: Vec<u8>,
}

impl<W: Write> Chunks<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            buffer: Vec::with_capacity(CHUNK),
        }
    }

    fn into_inner(mut self) -> io::Result<W> {
        self.inner.write_all(&self.buffer)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK {
            self.inner.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        // A flush would make chunks unequal; `into_inner` passes on the rest.
        Ok(())
    }
}
