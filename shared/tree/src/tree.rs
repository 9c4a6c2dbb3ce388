use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::{PathError, TreePath};

/// How many symbolic links may follow one another before a path counts as a loop (Linux' own limit).
const MAX_LINKS: usize = 40;

/// A set of files by path, with the folders that the paths imply.
///
/// Cloning copies the table but shares the contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    entries: BTreeMap<TreePath, Entry>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File(File),
    /// A symbolic link with its target as written.
    Symlink(String),
    /// A folder, listed on its own because nothing below it would imply it, or because someone walked over it.
    Directory,
}

/// A regular file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The content, shared with the buffer that it was read from.
    pub content: Bytes,
    /// Whether any execute bit is set.
    pub executable: bool,
}

/// Why an entry could not be added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InsertError {
    /// A part of the path is a file or a link already.
    #[error("'{0}' is not a directory")]
    NotADirectory(TreePath),
    /// A folder stands at the path already.
    #[error("'{0}' is a directory")]
    IsADirectory(TreePath),
}

/// Why a path does not lead to a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing stands there.
    #[error("'{0}' does not exist")]
    NotFound(TreePath),
    /// A folder stands there, where a file was asked for.
    #[error("'{0}' is a directory")]
    IsADirectory(TreePath),
    /// A link on the way leads out of the tree.
    #[error("symbolic link '{link}' leaves the root")]
    Escapes {
        /// The link that leads out.
        link: TreePath,
        /// How it does.
        source: PathError,
    },
    /// Links lead in a circle.
    #[error("too many symbolic links on the way to '{0}'")]
    LinkLoop(TreePath),
}

impl Tree {
    /// A tree with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a regular file and the folders above it.
    pub fn insert_file(
        &mut self,
        path: TreePath,
        content: impl Into<Bytes>,
        executable: bool,
    ) -> Result<(), InsertError> {
        self.insert(
            path,
            Entry::File(File {
                content: content.into(),
                executable,
            }),
        )
    }

    /// Adds or replaces an entry and the folders above it. A folder on top of a folder changes nothing.
    pub fn insert(&mut self, path: TreePath, entry: Entry) -> Result<(), InsertError> {
        if path.is_root() {
            return if entry == Entry::Directory {
                Ok(())
            } else {
                Err(InsertError::IsADirectory(path))
            };
        }
        let mut folder = path.parent();
        while let Some(at) = folder.filter(|at| !at.is_root()) {
            match self.entries.get(&at) {
                Some(Entry::Directory) => break,
                Some(_) => return Err(InsertError::NotADirectory(at)),
                None => folder = at.parent(),
            }
            self.entries.insert(at, Entry::Directory);
        }
        match (self.entries.get(&path), &entry) {
            (Some(Entry::Directory), Entry::Directory) => Ok(()),
            (Some(Entry::Directory), _) => Err(InsertError::IsADirectory(path)),
            (Some(_), Entry::Directory) => Err(InsertError::NotADirectory(path)),
            _ => {
                self.entries.insert(path, entry);
                Ok(())
            }
        }
    }

    /// Takes away what stands at `path`, with all below it.
    pub fn remove(&mut self, path: &TreePath) {
        let below: Vec<_> = self.below(path).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.entries.remove(&path);
        }
        self.entries.remove(path);
    }

    /// What stands at `path` itself, links not followed. The root is a folder.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        if path.is_root() {
            Some(&Entry::Directory)
        } else {
            self.entries.get(path)
        }
    }

    /// The path that `path` stands for once every link on it has been followed. The end need not exist.
    pub fn resolve(&self, path: &TreePath) -> Result<TreePath, ResolveError> {
        let mut links = 0;
        let mut done = TreePath::root();
        let mut rest: Vec<String> = path
            .as_str()
            .split('/')
            .rev()
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect();
        while let Some(part) = rest.pop() {
            // Each part comes from a cleaned path or a link's target, whose `..` is walked here, after its own links.
            let escapes = |source| ResolveError::Escapes {
                link: path.clone(),
                source,
            };
            let next = done.join(&part).map_err(escapes)?;
            let Some(Entry::Symlink(target)) = self.entries.get(&next) else {
                done = next;
                continue;
            };
            links += 1;
            if links > MAX_LINKS {
                return Err(ResolveError::LinkLoop(path.clone()));
            }
            if target.starts_with('/') {
                return Err(ResolveError::Escapes {
                    link: next,
                    source: PathError::Absolute(target.clone()),
                });
            }
            rest.extend(
                target
                    .split('/')
                    .rev()
                    .filter(|part| !part.is_empty() && *part != ".")
                    .map(str::to_owned),
            );
        }
        Ok(done)
    }

    /// The file at `path`, links followed.
    pub fn file(&self, path: &TreePath) -> Result<&File, ResolveError> {
        let at = self.resolve(path)?;
        match self.get(&at) {
            Some(Entry::File(file)) => Ok(file),
            Some(Entry::Directory) => Err(ResolveError::IsADirectory(path.clone())),
            Some(Entry::Symlink(_)) | None => Err(ResolveError::NotFound(path.clone())),
        }
    }

    /// The content of the file at `path`, links followed.
    pub fn read(&self, path: &TreePath) -> Result<&Bytes, ResolveError> {
        self.file(path).map(|file| &file.content)
    }

    /// Whether `path` leads to a folder, links followed.
    pub fn is_dir(&self, path: &TreePath) -> bool {
        self.resolve(path)
            .is_ok_and(|at| matches!(self.get(&at), Some(Entry::Directory)))
    }

    /// Whether `path` leads to a regular file, links followed.
    pub fn is_file(&self, path: &TreePath) -> bool {
        self.file(path).is_ok()
    }

    /// Every entry in the order of its path's text (not the order of a walk: `a-b` comes before `a/b`).
    pub fn iter(&self) -> impl Iterator<Item = (&TreePath, &Entry)> {
        self.entries.iter()
    }

    /// Every entry below `folder`, itself left out, links not followed.
    pub fn below(&self, folder: &TreePath) -> impl Iterator<Item = (&TreePath, &Entry)> {
        let from = if folder.is_root() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let until = from.clone();
        self.entries
            .range::<str, _>((Bound::Included(from.as_str()), Bound::Unbounded))
            .take_while(move |(path, _)| path.as_str().starts_with(&until))
    }

    /// The entries directly in `folder`, in the order of their names, links not followed. What lies below them is passed
    /// over in one step each, so that a walk of all folders looks at each entry once.
    pub fn children(&self, folder: &TreePath) -> impl Iterator<Item = (&TreePath, &Entry)> {
        let prefix = if folder.is_root() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let from = |text: &str| {
            self.entries
                .range::<str, _>((Bound::Included(text), Bound::Unbounded))
        };
        let mut entries = from(&prefix);
        std::iter::from_fn(move || {
            loop {
                let (path, entry) = entries.next()?;
                let name = path.as_str().strip_prefix(&prefix)?;
                let Some((child, _)) = name.split_once('/') else {
                    return Some((path, entry));
                };
                // Behind all that begins with the child and a slash, which `0` follows in ASCII.
                entries = from(&format!("{prefix}{child}0"));
            }
        })
    }

    /// The part of this tree below `folder`, with its paths seen from there.
    pub fn subtree(&self, folder: &TreePath) -> Self {
        let entries = self
            .below(folder)
            .filter_map(|(path, entry)| path.strip_prefix(folder).map(|path| (path, entry.clone())))
            .collect();
        Self { entries }
    }

    /// Bytes held by file contents.
    pub fn content_bytes(&self) -> u64 {
        self.entries
            .values()
            .map(|entry| {
                if let Entry::File(file) = entry {
                    file.content.len() as u64
                } else {
                    0
                }
            })
            .sum()
    }

    /// How many entries there are, folders counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing in the tree.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    #[test]
    fn folders_are_implied() {
        let mut tree = Tree::new();
        tree.insert_file(path("a/b/c"), "x", false).unwrap();
        assert!(tree.is_dir(&path("a/b")));
        assert_eq!(
            tree.children(&path("a"))
                .map(|(path, _)| path.as_str())
                .collect::<Vec<_>>(),
            ["a/b"]
        );
        assert_eq!(
            tree.insert_file(path("a/b"), "x", false),
            Err(InsertError::IsADirectory(path("a/b")))
        );
        assert_eq!(
            tree.insert_file(path("a/b/c/d"), "x", false),
            Err(InsertError::NotADirectory(path("a/b/c")))
        );
        tree.remove(&path("a/b"));
        assert_eq!(tree.len(), 1);
    }

    #[test]
    fn a_folder_lists_what_stands_directly_in_it() {
        let mut tree = Tree::new();
        for file in [
            "a/b/c/d", "a/b-x", "a/b.y/z", "a/b/e", "a/b0", "a/b00/f", "a/c", "ab/x", "a-b", "z",
        ] {
            tree.insert_file(path(file), "x", false).unwrap();
        }
        let names = |folder: &str| {
            let folder = path(folder);
            let children = tree.children(&folder);
            children
                .map(|(path, _)| path.as_str().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["a", "a-b", "ab", "z"]);
        assert_eq!(
            names("a"),
            ["a/b", "a/b-x", "a/b.y", "a/b0", "a/b00", "a/c"]
        );
        assert_eq!(names("a/b"), ["a/b/c", "a/b/e"]);
        assert_eq!(names("a/c"), [""; 0]);
        assert_eq!(names("gone"), [""; 0]);
    }

    #[test]
    fn links_are_followed_within_the_tree_only() {
        let mut tree = Tree::new();
        tree.insert_file(path("base/f"), "x", false).unwrap();
        tree.insert(path("over/link"), Entry::Symlink("../base".into()))
            .unwrap();
        tree.insert(path("out"), Entry::Symlink("over/../../secret".into()))
            .unwrap();
        tree.insert(path("abs"), Entry::Symlink("/etc/passwd".into()))
            .unwrap();
        tree.insert(path("loop"), Entry::Symlink("loop".into()))
            .unwrap();
        assert_eq!(tree.read(&path("over/link/f")).unwrap(), "x");
        assert_eq!(tree.resolve(&path("over/link/f")).unwrap(), path("base/f"));
        assert!(matches!(
            tree.read(&path("out")),
            Err(ResolveError::Escapes { .. })
        ));
        assert!(matches!(
            tree.read(&path("abs")),
            Err(ResolveError::Escapes { .. })
        ));
        assert_eq!(
            tree.read(&path("loop")),
            Err(ResolveError::LinkLoop(path("loop")))
        );
        assert_eq!(
            tree.read(&path("over/gone")),
            Err(ResolveError::NotFound(path("over/gone")))
        );
    }
}
