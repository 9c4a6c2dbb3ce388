//! Archives read into trees.

use std::io::{self, Cursor, Read, Write};

use bytes::Bytes;
use flate2::{read::MultiGzDecoder, write};
use flux_tree::{Entry, InsertError, Tree, TreePath};
use tar::Header;

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
    #[error("tar file entry {name} contained unsupported file type {mode}")]
    Unsupported {
        /// The entry.
        name: String,
        /// Its type and permissions, as `ls` and Go write them.
        mode: String,
    },
    /// A hard link that announces content, of which it has none.
    #[error("only wrote 0 bytes to {name}; expected {size}")]
    LinkWithContent {
        /// The entry.
        name: String,
        /// The bytes that it announces.
        size: u64,
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

/// Reads an unpacked tar into a tree whose files are slices of `tar` (RT-ART-018). A hard link becomes an empty file, as
/// upstream makes of it (KC-SRC-012).
pub fn extract_tar(tar: &Bytes, options: &ExtractOptions) -> Result<Tree, ExtractError> {
    let mut tree = Tree::new();
    let mut archive = tar::Archive::new(Cursor::new(tar.clone()));
    let entries = archive.entries().map_err(ExtractError::Tar)?;
    for (count, entry) in entries.enumerate() {
        if count >= options.max_entries {
            return Err(ExtractError::TooMany(options.max_entries));
        }
        let mut entry = entry.map_err(ExtractError::Tar)?;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        let name = entry.path_bytes().into_owned();
        let path = entry_path(&name)?;
        let mode = entry.header().mode().map_err(ExtractError::Tar)?;
        let executable = mode & 0o111 != 0;
        match Shape::of(entry.header(), mode, &name) {
            Shape::Directory => tree.insert(path, Entry::Directory)?,
            Shape::Symlink if options.skip_symlinks => {}
            Shape::Symlink => return Err(ExtractError::Symlink(path.to_string())),
            Shape::Other(letters) => {
                return Err(ExtractError::Unsupported {
                    name: path.to_string(),
                    mode: letters + &permissions(mode),
                });
            }
            Shape::File if kind.is_hard_link() => {
                let size = entry.size();
                if size > 0 {
                    let name = path.to_string();
                    return Err(ExtractError::LinkWithContent { name, size });
                }
                tree.insert_file(path, Bytes::new(), executable)?;
            }
            Shape::File if kind.is_gnu_sparse() => {
                let content = filled(&mut entry, options.max_bytes)?;
                tree.insert_file(path, content, executable)?;
            }
            Shape::File => {
                let content = slice(tar, entry.raw_file_position(), entry.size())?;
                tree.insert_file(path, content, executable)?;
            }
        }
    }
    Ok(tree)
}

/// What an entry becomes. As with Go, the type that the mode's upper bits name counts beside the type flag, and a flag
/// that nobody knows is a file's.
enum Shape {
    File,
    Directory,
    Symlink,
    /// A device, pipe or socket: the letters of its type.
    Other(String),
}

impl Shape {
    fn of(header: &Header, mode: u32, name: &[u8]) -> Self {
        let kind = header.entry_type();
        let bits = mode & 0o170_000;
        let is = |flag: bool, of_mode: u32| flag || bits == of_mode;
        // A name that ends in a slash was how the first archives marked folders.
        let old_folder = header.as_old().linkflag == [0] && name.ends_with(b"/");
        let block = is(kind.is_block_special(), 0o060_000);
        let character = is(kind.is_character_special(), 0o020_000);
        let pipe = is(kind.is_fifo(), 0o010_000);
        let socket = bits == 0o140_000;
        if is(kind.is_dir() || old_folder, 0o040_000) {
            Self::Directory
        } else if is(kind.is_symlink(), 0o120_000) {
            Self::Symlink
        } else if block || character || pipe || socket {
            let letters = [
                (block || character, 'D'),
                (pipe, 'p'),
                (socket, 'S'),
                (mode & 0o4000 != 0, 'u'),
                (mode & 0o2000 != 0, 'g'),
                (character, 'c'),
                (mode & 0o1000 != 0, 't'),
            ];
            let letters = letters.into_iter().filter(|(has, _)| *has);
            Self::Other(letters.map(|(_, letter)| letter).collect())
        } else {
            Self::File
        }
    }
}

/// The permission bits of a mode as letters.
fn permissions(mode: u32) -> String {
    let letters = "rwxrwxrwx".chars().enumerate();
    letters
        .map(|(at, letter)| {
            if mode & (0o400 >> at) == 0 {
                '-'
            } else {
                letter
            }
        })
        .collect()
}

/// The content of a file that leaves its zeros out of the archive.
fn filled(entry: &mut impl Read, max_bytes: u64) -> Result<Vec<u8>, ExtractError> {
    let mut content = Vec::new();
    let mut bounded = entry.take(max_bytes + 1);
    bounded
        .read_to_end(&mut content)
        .map_err(ExtractError::Tar)?;
    if content.len() as u64 > max_bytes {
        return Err(ExtractError::TooLarge(max_bytes));
    }
    Ok(content)
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
    /// Whether there was anything at all.
    begun: bool,
}

impl Inflating {
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self {
            gzip: write::MultiGzDecoder::new(Bounded {
                buffer: Vec::new(),
                max_bytes,
            }),
            begun: false,
        }
    }

    pub(crate) fn push(&mut self, portion: &[u8]) -> Result<(), ExtractError> {
        self.begun |= !portion.is_empty();
        let pushed = self.gzip.write_all(portion);
        pushed.map_err(|error| self.explain(error))
    }

    pub(crate) fn finish(mut self) -> Result<Bytes, ExtractError> {
        if let Err(error) = self.gzip.try_finish() {
            return Err(self.explain(error));
        }
        if !self.begun {
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
