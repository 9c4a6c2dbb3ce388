//! Archives read into trees.

use std::io::{self, Cursor, Read, Write};

use bytes::Bytes;
use flate2::{read::MultiGzDecoder, write};
use flux_tree::{Entry, InsertError, Tree, TreePath};

/// What an archive may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtractOptions {
    /// Whether links are passed over in silence instead of failing the archive (SC-ART-092).
    pub skip_symlinks: bool,
    /// The most bytes that it may unpack to, headers counted.
    pub max_bytes: u64,
    /// The most entries that it may have.
    pub max_entries: usize,
}

impl Default for ExtractOptions {
    /// What the consumers of artifacts use: links passed over, 1 GiB, a million entries.
    fn default() -> Self {
        Self {
            skip_symlinks: true,
            max_bytes: 1 << 30,
            max_entries: 1_000_000,
        }
    }
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The bytes are no gzip stream (SC-ART-091).
    #[error("requires gzip-compressed body")]
    Gzip(#[source] io::Error),
    /// The tar stream is damaged or ends early (SC-ART-095).
    #[error("tar error")]
    Tar(#[source] io::Error),
    /// A name that could lead out of the folder it is unpacked to (SC-ART-090).
    #[error("tar contained invalid name error \"{0}\"")]
    Name(String),
    /// A link where none may be.
    #[error("tar file entry {0} is a symlink, which is not allowed in this context")]
    Symlink(String),
    /// Neither file nor folder.
    #[error("tar file entry {name} contained unsupported file type {kind}")]
    Unsupported {
        /// The entry.
        name: String,
        /// Its type flag.
        kind: char,
    },
    /// Two entries contradict each other: a file and a folder of one name.
    #[error("tar entries do not fit each other")]
    Conflict(#[from] InsertError),
    /// More bytes than allowed.
    #[error("tar is bigger than max archive size of {0} bytes")]
    TooLarge(u64),
    /// More entries than allowed.
    #[error("tar has more than {0} entries")]
    TooMany(usize),
}

/// Reads a `tar.gz` into a tree whose files share one buffer.
pub fn extract(archive: impl Read, options: &ExtractOptions) -> Result<Tree, ExtractError> {
    let mut buffer = Vec::new();
    let mut unpacked = MultiGzDecoder::new(archive).take(options.max_bytes + 1);
    unpacked
        .read_to_end(&mut buffer)
        .map_err(ExtractError::Gzip)?;
    if buffer.len() as u64 > options.max_bytes {
        return Err(ExtractError::TooLarge(options.max_bytes));
    }
    extract_tar(&buffer.into(), options)
}

/// Reads an unpacked tar into a tree whose files are slices of `tar` (RT-ART-018).
pub fn extract_tar(tar: &Bytes, options: &ExtractOptions) -> Result<Tree, ExtractError> {
    let mut tree = Tree::new();
    let mut archive = tar::Archive::new(Cursor::new(tar.clone()));
    let entries = archive.entries().map_err(ExtractError::Tar)?;
    for (count, entry) in entries.enumerate() {
        if count >= options.max_entries {
            return Err(ExtractError::TooMany(options.max_entries));
        }
        let entry = entry.map_err(ExtractError::Tar)?;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let path = entry_path(&entry.path_bytes())?;
        if kind.is_dir() {
            tree.insert(path, Entry::Directory)?;
        } else if kind.is_symlink() {
            if !options.skip_symlinks {
                return Err(ExtractError::Symlink(path.to_string()));
            }
        } else if kind.is_file() || kind.is_contiguous() {
            let executable = entry.header().mode().map_err(ExtractError::Tar)? & 0o111 != 0;
            let content = slice(tar, entry.raw_file_position(), entry.size())?;
            tree.insert_file(path, content, executable)?;
        } else {
            return Err(ExtractError::Unsupported {
                name: path.to_string(),
                kind: kind.as_byte().into(),
            });
        }
    }
    Ok(tree)
}

fn entry_path(name: &[u8]) -> Result<TreePath, ExtractError> {
    let refused = || ExtractError::Name(String::from_utf8_lossy(name).into_owned());
    let text = std::str::from_utf8(name).map_err(|_| refused())?;
    if text.is_empty() || text.contains('\\') || text.starts_with('/') || text.contains("../") {
        return Err(refused());
    }
    TreePath::new(text).map_err(|_| refused())
}

fn slice(tar: &Bytes, from: u64, size: u64) -> Result<Bytes, ExtractError> {
    let short = || ExtractError::Tar(io::ErrorKind::UnexpectedEof.into());
    let from = usize::try_from(from).map_err(|_| short())?;
    let end = usize::try_from(size)
        .ok()
        .and_then(|size| from.checked_add(size));
    let end = end.filter(|end| *end <= tar.len()).ok_or_else(short)?;
    Ok(tar.slice(from..end))
}

/// Unpacks a gzip stream that comes in portions.
pub(crate) struct Inflating {
    gzip: write::MultiGzDecoder<Bounded>,
}

impl Inflating {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self {
            gzip: write::MultiGzDecoder::new(Bounded {
                buffer: Vec::new(),
                max_bytes,
            }),
        }
    }

    pub(crate) fn push(&mut self, portion: &[u8]) -> Result<(), ExtractError> {
        let pushed = self.gzip.write_all(portion);
        pushed.map_err(|error| self.explain(error))
    }

    pub(crate) fn finish(mut self) -> Result<Bytes, ExtractError> {
        if let Err(error) = self.gzip.try_finish() {
            return Err(self.explain(error));
        }
        if self.gzip.get_ref().buffer.is_empty() {
            return Err(ExtractError::Gzip(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(std::mem::take(&mut self.gzip.get_mut().buffer).into())
    }

    fn explain(&self, error: io::Error) -> ExtractError {
        let Bounded { max_bytes, .. } = *self.gzip.get_ref();
        if error.kind() == io::ErrorKind::FileTooLarge {
            ExtractError::TooLarge(max_bytes)
        } else {
            ExtractError::Gzip(error)
        }
    }
}

struct Bounded {
    buffer: Vec<u8>,
    max_bytes: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.buffer.len() + bytes.len()) as u64 > self.max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
