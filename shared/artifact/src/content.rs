//! The files of an artifact, each read only when it is archived.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use bytes::Bytes;
use flux_ignore::{Filter, IGNORE_FILE, IgnoreError, Patterns};
use flux_tree::{self as tree, Tree, TreePath};

use crate::{ArchiveError, TarGz};

/// How many links may be followed on a path, as on Linux.
const MAX_LINKS: usize = 40;

/// Files by path in walk order, each with a handle `B` by which its content is read when it is needed: a repository is
/// archived without a checkout, a bucket without a copy in memory.
///
/// ```
/// use bytes::Bytes;
/// use flux_artifact::{Content, ContentEntry, InMemory, extract};
/// use flux_budget::Claim;
///
/// let mut content = Content::new();
/// for (path, text) in [("app/web.yaml", "kind: Service"), ("app/notes.md", ""), (".sourceignore", "*.md")] {
///     let content_of = Bytes::from(text);
///     content.insert(path.as_bytes(), ContentEntry::File { executable: false, content: content_of });
/// }
/// let filter = content.filter(None, &mut InMemory)?;
/// let archive = content.pack(&filter, &mut InMemory, || Ok(()), Vec::new())?;
///
/// let tree = extract(&archive[..], &Default::default(), Claim::unlimited())?;
/// let paths: Vec<_> = tree.iter().map(|(path, _)| path.to_string()).collect();
/// assert_eq!(paths, [".sourceignore", "app", "app/web.yaml"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Content<B> {
    entries: BTreeMap<WalkKey, ContentEntry<B>>,
}

/// The entry at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentEntry<B> {
    /// A folder.
    Directory,
    /// A regular file.
    File {
        /// Whether it is executable.
        executable: bool,
        /// The handle of its content.
        content: B,
    },
    /// A link, which artifacts do not contain, though an ignore file may be one.
    Symlink {
        /// The handle of its target.
        target: B,
    },
}

/// Reads content by its handles.
pub trait ReadContent {
    /// The handle of a file's content, or of the target of a link.
    type Handle: Clone;

    /// The content of a small file, or the target of a link.
    ///
    /// # Errors
    /// The content cannot be read, or is too large to be held in memory.
    fn read<'s>(&'s mut self, handle: &'s Self::Handle) -> io::Result<&'s [u8]>;

    /// The size of a file and a reader of its content: a large one is never held in memory.
    ///
    /// # Errors
    /// It cannot be read.
    fn open<'s>(&'s mut self, handle: &'s Self::Handle) -> io::Result<(u64, Box<dyn Read + 's>)>;
}

/// Content that is in memory: each handle is the content itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct InMemory;

impl ReadContent for InMemory {
    type Handle = Bytes;

    fn read<'s>(&'s mut self, handle: &'s Bytes) -> io::Result<&'s [u8]> {
        Ok(handle)
    }

    fn open<'s>(&'s mut self, handle: &'s Bytes) -> io::Result<(u64, Box<dyn Read + 's>)> {
        Ok((handle.len() as u64, Box::new(&handle[..])))
    }
}

/// A path with its slashes as NUL, so that comparing bytes gives walk order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct WalkKey(Vec<u8>);

impl WalkKey {
    fn of(path: &[u8]) -> Self {
        Self(
            path.iter()
                .map(|byte| if *byte == b'/' { 0 } else { *byte })
                .collect(),
        )
    }

    fn path(&self) -> Vec<u8> {
        self.0
            .iter()
            .map(|byte| if *byte == 0 { b'/' } else { *byte })
            .collect()
    }

    fn parent(&self) -> Option<Self> {
        let at = self.0.iter().rposition(|byte| *byte == 0)?;
        Some(Self(self.0[..at].to_owned()))
    }
}

/// Why an entry cannot be placed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// There is nothing at the source path.
    #[error("cannot stat {0}: no such file or directory")]
    Missing(String),
    /// A file is in the place of a folder.
    #[error("mkdir {0}: not a directory")]
    NotADirectory(String),
    /// The target is a folder that is not empty, or one of source and target is a folder and the other a file.
    #[error("rename to {0}: file exists")]
    Occupied(String),
}

/// Why ignore files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A rule is invalid.
    #[error(transparent)]
    Rules(#[from] IgnoreError),
    /// A file or link cannot be read.
    #[error("failed to read {path}")]
    Read {
        /// Its path.
        path: String,
        /// The error of reading it.
        #[source]
        source: io::Error,
    },
    /// An ignore file is a link in a loop of links.
    #[error("open {0}: too many levels of symbolic links")]
    LinkLoop(String),
}

/// Why content could not be archived.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The archive could not be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// An ignore rule could not be applied.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// The caller's check ended the work with this error.
    #[error(transparent)]
    Stopped(io::Error),
    /// A file could not be read.
    #[error("failed to read {path}")]
    Read {
        /// Its path.
        path: String,
        /// The error of reading it.
        #[source]
        source: io::Error,
    },
}

impl<B> Default for Content<B> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }
}

/// The content of a tree in memory.
impl From<&Tree> for Content<Bytes> {
    fn from(tree: &Tree) -> Self {
        let mut content = Self::new();
        for (path, entry) in tree.iter() {
            let entry = match entry {
                tree::Entry::Directory => ContentEntry::Directory,
                tree::Entry::File(file) => ContentEntry::File {
                    executable: file.executable,
                    content: file.content.clone(),
                },
                tree::Entry::Symlink(target) => ContentEntry::Symlink {
                    target: target.clone().into(),
                },
            };
            content.insert(&tree::name_bytes(path.as_str()), entry);
        }
        content
    }
}

impl<B: Clone> Content<B> {
    /// Empty content.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry and its parent folders.
    pub fn insert(&mut self, path: &[u8], entry: ContentEntry<B>) {
        let key = WalkKey::of(path);
        let mut above = key.parent();
        while let Some(folder) = above.filter(|folder| !self.entries.contains_key(folder)) {
            above = folder.parent();
            self.entries.insert(folder, ContentEntry::Directory); // and where one is, so are those above it
        }
        self.entries.insert(key, entry);
    }

    /// Every entry in walk order, with its path.
    pub fn iter(&self) -> impl Iterator<Item = (Vec<u8>, &ContentEntry<B>)> {
        self.entries.iter().map(|(key, entry)| (key.path(), entry))
    }

    fn get(&self, path: &[u8]) -> Option<&ContentEntry<B>> {
        self.entries.get(&WalkKey::of(path))
    }

    /// Moves `from` of another content to `to`, as a rename does: to a free path, over an empty folder, or a file over
    /// a file (SC-GIT-097, SC-GIT-098). `handle` converts the other content's handles to this one's.
    ///
    /// # Errors
    /// There is nothing at `from`, or `to` is occupied.
    pub fn place<A>(
        &mut self,
        other: &Content<A>,
        from: &TreePath,
        to: &TreePath,
        handle: impl Fn(&A) -> B,
    ) -> Result<(), PlaceError> {
        let source = WalkKey::of(from.as_str().as_bytes());
        let moved = |entry: &ContentEntry<A>| match entry {
            ContentEntry::Directory => ContentEntry::Directory,
            ContentEntry::File {
                executable,
                content,
            } => ContentEntry::File {
                executable: *executable,
                content: handle(content),
            },
            ContentEntry::Symlink { target } => ContentEntry::Symlink {
                target: handle(target),
            },
        };
        let top = if from.is_root() {
            Some(&ContentEntry::Directory)
        } else {
            other.entries.get(&source)
        };
        let top = top.ok_or_else(|| PlaceError::Missing(from.to_string()))?;
        // The root is never empty: the repository itself is in it.
        if to.is_root() {
            return Err(PlaceError::Occupied(to.to_string()));
        }
        let mut above = to.parent();
        while let Some(folder) = above.filter(|folder| !folder.is_root()) {
            if matches!(
                self.get(folder.as_str().as_bytes()),
                Some(ContentEntry::File { .. } | ContentEntry::Symlink { .. })
            ) {
                return Err(PlaceError::NotADirectory(folder.to_string()));
            }
            above = folder.parent();
        }
        let target = to.as_str().as_bytes();
        let fits = match (self.get(target), top) {
            (Some(ContentEntry::Directory), ContentEntry::Directory) => {
                self.below(target).next().is_none()
            }
            (Some(there), _) => {
                !matches!(there, ContentEntry::Directory) && !matches!(top, ContentEntry::Directory)
            }
            (None, _) => true,
        };
        if !fits {
            return Err(PlaceError::Occupied(to.to_string()));
        }
        self.insert(target, moved(top));
        if matches!(top, ContentEntry::Directory) {
            for (path, entry) in other.below(from.as_str().as_bytes()) {
                self.insert(&[target, b"/", &path].concat(), moved(entry));
            }
        }
        Ok(())
    }

    /// The filter for the ignore files of the content and of the spec (SC-ART-070, SC-ART-074).
    ///
    /// # Errors
    /// A rule is invalid, or an ignore file cannot be read.
    pub fn filter(
        &self,
        spec_ignore: Option<&str>,
        read: &mut impl ReadContent<Handle = B>,
    ) -> Result<Filter, RulesError> {
        let mut patterns = Patterns::new();
        self.read_rules(b"", &mut patterns, read)?;
        for (path, entry) in self.iter() {
            let hidden = path.split(|byte| *byte == b'/').any(|part| part == b".git");
            if matches!(entry, ContentEntry::Directory) && !hidden {
                self.read_rules(&path, &mut patterns, read)?;
            }
        }
        patterns.read("", spec_ignore.unwrap_or_default())?;
        Ok(Filter::for_source(patterns))
    }

    fn read_rules(
        &self,
        folder: &[u8],
        patterns: &mut Patterns,
        read: &mut impl ReadContent<Handle = B>,
    ) -> Result<(), RulesError> {
        let path = if folder.is_empty() {
            IGNORE_FILE.as_bytes().to_owned()
        } else {
            [folder, b"/", IGNORE_FILE.as_bytes()].concat()
        };
        let failed = |path: &[u8]| {
            let path = String::from_utf8_lossy(path).into_owned();
            |source| RulesError::Read { path, source }
        };
        if let Some(content) = self.follow(&path, read)? {
            let text = read.read(content).map_err(failed(&path))?;
            patterns.read(folder, text)?;
        }
        Ok(())
    }

    /// Archives what `filter` does not exclude, except links (SC-GIT-076). `check` is called before each entry and ends
    /// the work by returning an error, such as a deadline that has passed.
    ///
    /// # Errors
    /// A file cannot be read, the archive cannot be written, or `check` fails.
    pub fn pack<W: Write>(
        &self,
        filter: &Filter,
        read: &mut impl ReadContent<Handle = B>,
        mut check: impl FnMut() -> io::Result<()>,
        out: W,
    ) -> Result<W, PackError> {
        let mut archive = TarGz::new(out)?;
        for (path, entry) in self.iter() {
            check().map_err(PackError::Stopped)?;
            match entry {
                ContentEntry::Directory if !filter.excludes(&path, true)? => {
                    archive.directory(&path)?;
                }
                ContentEntry::File {
                    executable,
                    content,
                } if !filter.excludes(&path, false)? => {
                    let opened = read.open(content).map_err(|source| PackError::Read {
                        path: String::from_utf8_lossy(&path).into_owned(),
                        source,
                    });
                    let (size, mut bytes) = opened?;
                    archive.file(&path, *executable, size, &mut bytes)?;
                }
                ContentEntry::Directory
                | ContentEntry::File { .. }
                | ContentEntry::Symlink { .. } => {}
            }
        }
        Ok(archive.finish()?)
    }

    /// The content of the file at `path`, following links. A link out of the content, or to anything but a file, counts
    /// as missing.
    fn follow(
        &self,
        path: &[u8],
        read: &mut impl ReadContent<Handle = B>,
    ) -> Result<Option<&B>, RulesError> {
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let mut links = 0;
        let mut done: Vec<Vec<u8>> = Vec::new();
        let mut rest: Vec<Vec<u8>> = path
            .split(|byte| *byte == b'/')
            .rev()
            .map(<[u8]>::to_vec)
            .collect();
        while let Some(part) = rest.pop() {
            match part.as_slice() {
                b".." if done.pop().is_none() => return Ok(None),
                b"" | b"." | b".." => continue,
                _ => done.push(part),
            }
            let Some(ContentEntry::Symlink { target }) = self.get(&done.join(&b'/')) else {
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(RulesError::LinkLoop(text(path)));
            }
            let target = read.read(target).map_err(|source| RulesError::Read {
                path: text(path),
                source,
            })?;
            if target.starts_with(b"/") {
                return Ok(None);
            }
            done.pop();
            rest.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        }
        match self.get(&done.join(&b'/')) {
            Some(ContentEntry::File { content, .. }) => Ok(Some(content)),
            _ => Ok(None),
        }
    }
}

impl<B> Content<B> {
    /// Every entry below the folder `path`, with its path relative to it.
    fn below(&self, path: &[u8]) -> impl Iterator<Item = (Vec<u8>, &ContentEntry<B>)> {
        let mut from = WalkKey::of(path).0;
        if !from.is_empty() {
            from.push(0);
        }
        let prefix = from.clone();
        self.entries
            .range(WalkKey(from)..)
            .take_while(move |(key, _)| key.0.starts_with(&prefix))
            .map(move |(key, entry)| (WalkKey(key.0[prefix_len(path)..].to_owned()).path(), entry))
    }
}

/// The length of a folder's prefix in the keys below it.
fn prefix_len(folder: &[u8]) -> usize {
    if folder.is_empty() {
        0
    } else {
        folder.len() + 1
    }
}

#[cfg(test)]
mod tests;
