//! The files that an artifact is made of.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use flux_ignore::{Filter, IGNORE_FILE, IgnoreError, Patterns};
use flux_tree::TreePath;

/// How many links may lie on a path, as Linux has it.
const MAX_LINKS: usize = 40;

/// Files by path in walk order, each with a handle `B` by which its content is read when its turn comes.
#[derive(Debug)]
pub(super) struct Content<B> {
    entries: BTreeMap<WalkKey, Entry<B>>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry<B> {
    Directory,
    File {
        executable: bool,
        content: B,
    },
    /// A link, which no artifact holds, though an ignore file may be one.
    Symlink {
        target: B,
    },
}

/// A path with its slashes as NUL, so that comparing bytes gives the order of a walk.
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

/// Why something cannot be put where it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlaceError {
    /// Nothing stands where it should be taken from.
    #[error("cannot stat {0}: no such file or directory")]
    Missing(String),
    /// A file stands where a folder is needed.
    #[error("mkdir {0}: not a directory")]
    NotADirectory(String),
    /// A folder that is not empty, or a folder under a file or the reverse.
    #[error("rename to {0}: file exists")]
    Occupied(String),
}

/// Why ignore files could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RulesError {
    #[error(transparent)]
    Rules(#[from] IgnoreError),
    #[error("failed to read {path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("open {0}: too many levels of symbolic links")]
    LinkLoop(String),
}

impl<B: Clone> Content<B> {
    pub(super) fn new() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }

    /// Adds an entry and the folders above it.
    pub(super) fn insert(&mut self, path: &[u8], entry: Entry<B>) {
        let key = WalkKey::of(path);
        let mut above = key.parent();
        while let Some(folder) = above.filter(|folder| !self.entries.contains_key(folder)) {
            above = folder.parent();
            self.entries.insert(folder, Entry::Directory); // and where one is, so are those above it
        }
        self.entries.insert(key, entry);
    }

    /// Every entry in walk order, with its path.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Vec<u8>, &Entry<B>)> {
        self.entries.iter().map(|(key, entry)| (key.path(), entry))
    }

    fn get(&self, path: &[u8]) -> Option<&Entry<B>> {
        self.entries.get(&WalkKey::of(path))
    }

    /// Puts `from` of another content to `to`, as a rename does: onto nothing, an empty folder, or a file in place of a file
    /// (SC-GIT-097, SC-GIT-098).
    pub(super) fn place<A>(
        &mut self,
        other: &Content<A>,
        from: &TreePath,
        to: &TreePath,
        handle: impl Fn(&A) -> B,
    ) -> Result<(), PlaceError> {
        let source = WalkKey::of(from.as_str().as_bytes());
        let moved = |entry: &Entry<A>| match entry {
            Entry::Directory => Entry::Directory,
            Entry::File {
                executable,
                content,
            } => Entry::File {
                executable: *executable,
                content: handle(content),
            },
            Entry::Symlink { target } => Entry::Symlink {
                target: handle(target),
            },
        };
        let top = if from.is_root() {
            Some(&Entry::Directory)
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
                Some(Entry::File { .. } | Entry::Symlink { .. })
            ) {
                return Err(PlaceError::NotADirectory(folder.to_string()));
            }
            above = folder.parent();
        }
        let target = to.as_str().as_bytes();
        let fits = match (self.get(target), top) {
            (Some(Entry::Directory), Entry::Directory) => self.below(target).next().is_none(),
            (Some(there), _) => {
                !matches!(there, Entry::Directory) && !matches!(top, Entry::Directory)
            }
            (None, _) => true,
        };
        if !fits {
            return Err(PlaceError::Occupied(to.to_string()));
        }
        self.insert(target, moved(top));
        if matches!(top, Entry::Directory) {
            for (path, entry) in other.below(from.as_str().as_bytes()) {
                self.insert(&[target, b"/", &path].concat(), moved(entry));
            }
        }
        Ok(())
    }

    /// What is left out, by the ignore files here and those of the spec (SC-ART-070, SC-ART-074).
    pub(super) fn filter(
        &self,
        spec_ignore: Option<&str>,
        mut read: impl FnMut(&B) -> io::Result<Bytes>,
    ) -> Result<Filter, RulesError> {
        let mut patterns = Patterns::new();
        self.read_rules(b"", &mut patterns, &mut read)?;
        for (path, entry) in self.iter() {
            let hidden = path.split(|byte| *byte == b'/').any(|part| part == b".git");
            if matches!(entry, Entry::Directory) && !hidden {
                self.read_rules(&path, &mut patterns, &mut read)?;
            }
        }
        patterns.read("", spec_ignore.unwrap_or_default())?;
        Ok(Filter::for_source(patterns))
    }

    fn read_rules(
        &self,
        folder: &[u8],
        patterns: &mut Patterns,
        read: &mut impl FnMut(&B) -> io::Result<Bytes>,
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
            let text = read(content).map_err(failed(&path))?;
            patterns.read(folder, text)?;
        }
        Ok(())
    }

    /// The content of the file at `path`, links followed. What leads out, or to no file, is as if it were not there.
    fn follow(
        &self,
        path: &[u8],
        read: &mut impl FnMut(&B) -> io::Result<Bytes>,
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
            let Some(Entry::Symlink { target }) = self.get(&done.join(&b'/')) else {
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(RulesError::LinkLoop(text(path)));
            }
            let target = read(target).map_err(|source| RulesError::Read {
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
            Some(Entry::File { content, .. }) => Ok(Some(content)),
            _ => Ok(None),
        }
    }
}

impl<B> Content<B> {
    /// Every entry below the folder `path`, with its path seen from there.
    fn below(&self, path: &[u8]) -> impl Iterator<Item = (Vec<u8>, &Entry<B>)> {
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

/// How much of a key stands for the folder that it is seen from.
fn prefix_len(folder: &[u8]) -> usize {
    if folder.is_empty() {
        0
    } else {
        folder.len() + 1
    }
}

#[cfg(test)]
mod tests;
