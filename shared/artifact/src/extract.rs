//! Unpacks archives into trees.
//!
//! An archive is read as a stream; only what it creates is held in memory. That is claimed before it is allocated, and
//! counted: an archive of a few hundred bytes can announce, or unpack to, any number of bytes, entries and folders.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use flux_budget::{Claim, Exhausted};
use flux_tree::{ENTRY_BYTES, Entry, InsertError, Tree, TreePath, name_text};
use tar::Header;

use crate::spool::Spool;
use crate::{Digest, DigestMismatch, Hasher};

/// The longest name of an entry, and of one component of it, as on Linux.
const MAX_NAME: usize = 4096;
const MAX_PART: usize = 255;

/// The most bytes that describe one entry (long names, PAX records, the map of a sparse file), as in Go's reader.
const MAX_HEADER: u64 = 1 << 20;

/// How much of a file is allocated before any of it was read.
const FIRST_PORTION: u64 = 64 * 1024;

/// The factor by which the allocation of a file grows when it is full. The larger it is, the less memory is held twice
/// during a move.
const GROWTH: u64 = 8;

/// The limits of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtractOptions {
    /// Whether links are skipped silently instead of failing the archive (SC-ART-092).
    pub skip_symlinks: bool,
    /// The most bytes that it may unpack to, headers included, and the most that may be created from it: contents, also
    /// those that a later entry replaces, paths and entries. This bounds the time that an archive takes; the claim
    /// bounds the memory.
    pub max_bytes: u64,
    /// The most entries that it may have or create: a name also creates its parent folders.
    pub max_entries: usize,
    /// The folder or file to unpack; other entries are checked and skipped. The root for everything.
    pub below: TreePath,
}

impl Default for ExtractOptions {
    /// The limits for consumers of artifacts: links skipped, 1 GiB, a million entries.
    fn default() -> Self {
        Self {
            skip_symlinks: true,
            max_bytes: 1 << 30,
            max_entries: 1_000_000,
            below: TreePath::root(),
        }
    }
}

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// The bytes are not a gzip stream (SC-ART-091).
    #[error("requires gzip-compressed body")]
    Gzip(#[source] io::Error),
    /// The tar stream is damaged or ends early (SC-ART-095).
    #[error("tar error")]
    Tar(#[source] io::Error),
    /// A name could lead out of the target folder (SC-ART-090).
    #[error("tar contained invalid name error \"{0}\"")]
    Name(String),
    /// A name is invalid on every file system.
    #[error(
        "tar file entry {0}... has a name that is too long (at most {MAX_NAME} bytes, {MAX_PART} between slashes)"
    )]
    NameTooLong(String),
    /// A link, where links are not allowed.
    #[error("tar file entry {0} is a symlink, which is not allowed in this context")]
    Symlink(String),
    /// An entry is neither a file nor a folder.
    #[error("tar file entry {name} contained unsupported file type {mode}")]
    Unsupported {
        /// The entry's name.
        name: String,
        /// Its type and permissions, as `ls` and Go write them.
        mode: String,
    },
    /// A hard link announces content, which hard links do not have.
    #[error("only wrote 0 bytes to {name}; expected {size}")]
    LinkWithContent {
        /// The entry's name.
        name: String,
        /// The announced size in bytes.
        size: u64,
    },
    /// Two entries contradict each other: a file and a folder have the same name.
    #[error("tar entries do not fit each other")]
    Conflict(#[from] InsertError),
    /// The archive exceeds the limit of bytes.
    #[error("tar is bigger than max archive size of {0} bytes")]
    TooLarge(u64),
    /// The archive exceeds the limit of entries.
    #[error("tar has more than {0} entries")]
    TooMany(usize),
    /// The files do not fit into the memory budget.
    #[error(transparent)]
    Memory(#[from] Exhausted),
    /// The file on disk that holds the contents cannot be written.
    #[error("failed to write an unpacked file")]
    Spool(#[source] io::Error),
}

/// Unpacks a `tar.gz` into a tree, which holds `claim` for as long as it lives (RT-ART-018). The stream is read to its
/// end.
///
/// A hard link becomes an empty file, as in upstream (KC-SRC-012).
pub fn extract(
    archive: impl Read,
    options: &ExtractOptions,
    claim: Claim,
) -> Result<Tree, ExtractError> {
    extract_with(archive, options, claim, None).map(|(tree, _)| tree)
}

/// As [`extract`], with the contents of files in `spool` if there is one, and their handles in the tree.
pub(crate) fn extract_with(
    archive: impl Read,
    options: &ExtractOptions,
    claim: Claim,
    spool: Option<Spool>,
) -> Result<(Tree, Option<Spool>), ExtractError> {
    let bounds = Rc::new(Bounds {
        max_bytes: options.max_bytes,
        left: Cell::new(options.max_bytes),
        header: Cell::new(None),
        failure: RefCell::default(),
    });
    let unpacked = Bounded {
        stream: MultiGzDecoder::new(archive),
        bounds: bounds.clone(),
    };
    let made = Making {
        tree: Tree::new(),
        claim,
        options,
        bytes: 0,
        entries: 0,
        spool,
    };
    read_entries(unpacked, &bounds, made).map_err(|error| {
        // An error of the stream came through the tar reader, which reports it as its own.
        bounds.failure.take().unwrap_or(error)
    })
}

/// Why a stored archive could not be read into a tree.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The file cannot be read to its end.
    #[error("failed to read archive")]
    Read(#[source] io::Error),
    /// The file does not have the expected digest.
    #[error("failed to verify archive")]
    Digest(#[from] DigestMismatch),
    /// The file has its digest, but is not an archive that may be unpacked.
    #[error(transparent)]
    Extract(#[from] ExtractError),
}

/// Unpacks a `tar.gz` into a tree as [`extract`] does, if it has the expected digest. The tree, and errors of
/// unpacking, are returned only after the digest was checked.
///
/// # Errors
/// The file cannot be read, has another digest, or cannot be unpacked.
pub fn extract_verified(
    archive: impl Read,
    digest: &Digest,
    options: &ExtractOptions,
    claim: Claim,
) -> Result<Tree, UnpackError> {
    let mut file = Hashed {
        file: archive,
        hasher: digest.algorithm().hasher(),
    };
    let tree = extract(&mut file, options, claim);
    io::copy(&mut file, &mut io::sink()).map_err(UnpackError::Read)?;
    if file.hasher.finish() != *digest {
        return Err(DigestMismatch::Differs(digest.clone()).into());
    }
    Ok(tree?)
}

/// A reader that computes the digest of what is read.
struct Hashed<R> {
    file: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.hasher.update(&into[..count]);
        Ok(count)
    }
}

fn read_entries<R: Read>(
    unpacked: Bounded<R>,
    bounds: &Bounds,
    mut made: Making,
) -> Result<(Tree, Option<Spool>), ExtractError> {
    let mut archive = tar::Archive::new(unpacked);
    let mut entries = archive.entries().map_err(ExtractError::Tar)?;
    let mut count = 0;
    loop {
        bounds.header.set(Some(MAX_HEADER));
        let Some(entry) = entries.next() else { break };
        bounds.header.set(None);
        count += 1;
        if count > made.options.max_entries {
            return Err(ExtractError::TooMany(made.options.max_entries));
        }
        let mut entry = entry.map_err(ExtractError::Tar)?;
        made.add(&mut entry)?;
        // Skipped data counts as content, not as part of the next header.
        io::copy(&mut entry, &mut io::sink()).map_err(ExtractError::Tar)?;
    }
    bounds.header.set(None);
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(ExtractError::Tar)?;
    Ok((made.tree.holding(made.claim), made.spool))
}

/// A tree being built, and its cost.
struct Making<'o> {
    tree: Tree,
    claim: Claim,
    options: &'o ExtractOptions,
    /// Bytes created so far, including those that were replaced since.
    bytes: u64,
    entries: usize,
    /// Where contents go, if not into the tree.
    spool: Option<Spool>,
}

impl Making<'_> {
    fn add<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), ExtractError> {
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        let name = entry.path_bytes();
        let path = entry_path(&name)?;
        let mode = entry.header().mode().map_err(ExtractError::Tar)?;
        let shape = Shape::of(entry.header(), mode, &name);
        drop(name);
        let executable = mode & 0o111 != 0;
        match shape {
            Shape::Directory => self.insert(path, Entry::Directory),
            Shape::Symlink if self.options.skip_symlinks => Ok(()),
            Shape::Symlink => Err(ExtractError::Symlink(path.to_string())),
            Shape::Other(letters) => Err(ExtractError::Unsupported {
                name: path.to_string(),
                mode: letters + &permissions(mode),
            }),
            Shape::File => {
                let size = entry.size();
                if kind.is_hard_link() && size > 0 {
                    let name = path.to_string();
                    return Err(ExtractError::LinkWithContent { name, size });
                }
                if !self.is_wanted(&path) {
                    return Ok(());
                }
                let content = self.content(entry, size)?.into();
                self.insert(
                    path,
                    Entry::File(flux_tree::File {
                        content,
                        executable,
                    }),
                )
            }
        }
    }

    fn is_wanted(&self, path: &TreePath) -> bool {
        path.starts_with(&self.options.below)
    }

    fn insert(&mut self, path: TreePath, entry: Entry) -> Result<(), ExtractError> {
        if !self.is_wanted(&path) {
            return Ok(());
        }
        let (mut entries, mut bytes) = (0, 0);
        for vacant in self.tree.vacant(&path) {
            entries += 1;
            bytes += vacant.len() as u64 + ENTRY_BYTES;
        }
        self.entries += entries;
        if self.entries > self.options.max_entries {
            return Err(ExtractError::TooMany(self.options.max_entries));
        }
        self.count(bytes)?;
        self.claim.take(bytes)?;
        let replaced = match self.tree.get(&path) {
            Some(Entry::File(file)) => file.content.len() as u64,
            _ => 0,
        };
        self.tree.insert(path, entry)?;
        self.claim.give_back(replaced);
        Ok(())
    }

    /// Reads the `size` bytes of a file, allocating as they arrive: the announced size may be wrong.
    fn content(&mut self, content: &mut impl Read, size: u64) -> Result<Vec<u8>, ExtractError> {
        self.count(size)?;
        if let Some(spool) = &mut self.spool {
            self.claim.take(spool.handle())?;
            return spool.hold(content, size);
        }
        let mut read = Vec::new();
        let mut capacity = 0;
        while capacity < size {
            let grown = size.min(FIRST_PORTION.max(capacity * GROWTH));
            // During a move both the old and the new allocation exist.
            self.claim.take(grown)?;
            read.reserve_exact((grown - capacity) as usize);
            self.claim.give_back(capacity);
            content
                .take(grown - capacity)
                .read_to_end(&mut read)
                .map_err(ExtractError::Tar)?;
            if read.len() as u64 != grown {
                return Err(ExtractError::Tar(io::ErrorKind::UnexpectedEof.into()));
            }
            capacity = grown;
        }
        Ok(read)
    }

    fn count(&mut self, bytes: u64) -> Result<(), ExtractError> {
        let most = self.options.max_bytes;
        self.bytes = self
            .bytes
            .checked_add(bytes)
            .filter(|sum| *sum <= most)
            .ok_or(ExtractError::TooLarge(most))?;
        Ok(())
    }
}

/// The kind of an entry. As in Go, the type in the mode's upper bits counts besides the type flag, and an unknown flag
/// means a file.
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
        // In the oldest archives, a name that ends in a slash marks a folder.
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

/// Checks a name as upstream does (SC-ART-090), after checking its length.
fn entry_path(name: &[u8]) -> Result<TreePath, ExtractError> {
    let too_long = name.len() > MAX_NAME
        || name
            .split(|byte| *byte == b'/')
            .any(|part| part.len() > MAX_PART);
    if too_long {
        let begin = &name[..name.len().min(64)];
        let begin = String::from_utf8_lossy(begin).into_owned();
        return Err(ExtractError::NameTooLong(begin));
    }
    let refused = || ExtractError::Name(String::from_utf8_lossy(name).into_owned());
    let text = &*name_text(name);
    if text.is_empty() || text.contains('\\') || text.starts_with('/') || text.contains("../") {
        return Err(refused());
    }
    TreePath::new(text).map_err(|_| refused())
}

/// What is left of the limits of an unpacked stream.
struct Bounds {
    max_bytes: u64,
    left: Cell<u64>,
    /// What is left for the current header, if one is being read.
    header: Cell<Option<u64>>,
    /// Why the stream was cut off.
    failure: RefCell<Option<ExtractError>>,
}

/// An unpacked stream that enforces its limits.
struct Bounded<R> {
    stream: R,
    bounds: Rc<Bounds>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bounds = &self.bounds;
        let fail = |error| {
            bounds.failure.replace(Some(error));
            Err(io::Error::other("the stream broke off"))
        };
        let count = match self.stream.read(into) {
            Ok(count) => count,
            Err(error) => return fail(ExtractError::Gzip(error)),
        };
        match bounds.left.get().checked_sub(count as u64) {
            Some(left) => bounds.left.set(left),
            None => return fail(ExtractError::TooLarge(bounds.max_bytes)),
        }
        if let Some(header) = bounds.header.get() {
            let Some(left) = header.checked_sub(count as u64) else {
                let text = format!("a header is larger than {MAX_HEADER} bytes");
                return fail(ExtractError::Tar(io::Error::new(
                    io::ErrorKind::InvalidData,
                    text,
                )));
            };
            bounds.header.set(Some(left));
        }
        Ok(count)
    }
}
