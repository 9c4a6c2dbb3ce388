//! The tree: entries by path, lookups that follow links, and subtrees.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use flux_budget::Claim;

use crate::{PathError, TreePath};

/// How many symbolic links may follow one another before a path counts as a loop (Linux' own limit).
const MAX_LINKS: usize = 40;

/// The longest link target, as in `symlink(2)`. Following longer ones would be costly.
const MAX_TARGET: usize = 4096;

/// The estimated memory of an entry without its path and content, in bytes: its place in the table and its allocations.
pub const ENTRY_BYTES: u64 = 256;

/// A set of files by path, with the folders that the paths imply.
///
/// Cloning copies the table but shares the contents.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: BTreeMap<TreePath, Entry>,
    /// Held as long as this tree or one that shares its contents.
    claim: Option<Arc<Claim>>,
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Tree {}

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A regular file.
    File(File),
    /// A symbolic link with its target as written.
    Symlink(String),
    /// A folder with its own entry: it is empty, or a walk recorded it.
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
    /// A parent of the path is a file or a link.
    #[error("'{0}' is not a directory")]
    NotADirectory(TreePath),
    /// A folder is at the path already.
    #[error("'{0}' is a directory")]
    IsADirectory(TreePath),
}

/// Why a path does not lead to a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// There is no entry.
    #[error("'{0}' does not exist")]
    NotFound(TreePath),
    /// A folder, where a file was expected.
    #[error("'{0}' is a directory")]
    IsADirectory(TreePath),
    /// A link in the path leads out of the tree.
    #[error("symbolic link '{link}' leaves the root")]
    Escapes {
        /// The link that leads out.
        link: TreePath,
        /// How it leaves the tree.
        source: PathError,
    },
    /// Links form a loop.
    #[error("too many symbolic links on the way to '{0}'")]
    LinkLoop(TreePath),
    /// A link's target is longer than a path may be.
    #[error("the target of symbolic link '{0}' is longer than {MAX_TARGET} bytes")]
    TargetTooLong(TreePath),
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds `claim` as long as this tree, or a tree made from it by cloning or [`subtree`](Self::subtree), lives.
    pub fn holding(mut self, claim: Claim) -> Self {
        self.claim = Some(Arc::new(claim));
        self
    }

    /// `path` and its parents, bottom up, as far as they do not exist yet: the entries that inserting it would add.
    pub fn vacant<'p>(&self, path: &'p TreePath) -> impl Iterator<Item = &'p str> {
        let parent = |path: &&'p str| path.rfind('/').map(|at| &path[..at]);
        let own = Some(path.as_str()).filter(|path| !path.is_empty());
        std::iter::successors(own, parent).take_while(|path| !self.entries.contains_key(*path))
    }

    /// The estimated memory of the tree in bytes, contents included.
    pub fn memory(&self) -> u64 {
        let paths = self.entries.keys().map(|path| path.as_str().len() as u64);
        self.content_bytes() + paths.map(|length| length + ENTRY_BYTES).sum::<u64>()
    }

    /// Adds or replaces a regular file, and adds its parent folders.
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

    /// Adds or replaces an entry, and adds its parent folders. Inserting a folder over a folder changes nothing.
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

    /// Removes the entry at `path` with everything below it.
    pub fn remove(&mut self, path: &TreePath) {
        let below: Vec<_> = self.below(path).map(|(path, _)| path.clone()).collect();
        for path in below {
            self.entries.remove(&path);
        }
        self.entries.remove(path);
    }

    /// The entry at `path`, links not followed. The root is a folder.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        if path.is_root() {
            Some(&Entry::Directory)
        } else {
            self.entries.get(path)
        }
    }

    /// The path with every link in it followed. The last part need not exist.
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
            if target.len() > MAX_TARGET {
                return Err(ResolveError::TargetTooLong(next));
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

    /// Every entry below `folder`, excluding itself, links not followed.
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

    /// The direct children of `folder`, ordered by name, links not followed. The entries below a child are skipped in
    /// one step, so that a walk of all folders visits each entry once.
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
                // Skip everything that begins with the child and a slash; `0` follows the slash in ASCII.
                entries = from(&format!("{prefix}{child}0"));
            }
        })
    }

    /// The subtree at `folder`, with paths relative to it.
    pub fn subtree(&self, folder: &TreePath) -> Self {
        let entries = self
            .below(folder)
            .filter_map(|(path, entry)| path.strip_prefix(folder).map(|path| (path, entry.clone())))
            .collect();
        Self {
            entries,
            claim: self.claim.clone(),
        }
    }

    /// The size of all file contents, in bytes.
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

    /// The number of entries, folders included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the tree has no entries.
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
    fn a_folder_lists_its_direct_children() {
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
    fn inserting_adds_the_vacant_entries() {
        let mut tree = Tree::new();
        tree.insert_file(path("a/b"), "x", false).unwrap();
        let vacant = |tree: &Tree, text: &str| {
            let path = path(text);
            tree.vacant(&path).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(vacant(&tree, "a/c/d"), ["a/c/d", "a/c"]);
        assert_eq!(vacant(&tree, "a/b"), [""; 0]);
        assert_eq!(vacant(&tree, "b"), ["b"]);
        assert_eq!(vacant(&tree, ""), [""; 0]);
        assert_eq!(tree.memory(), 1 + 1 + 3 + 2 * ENTRY_BYTES);
    }

    #[test]
    fn a_claim_lives_as_long_as_any_tree_that_shares_the_contents() {
        let budget = flux_budget::Budget::new(100);
        let claim = budget.claim();
        claim.take(60).unwrap();
        let mut tree = Tree::new();
        tree.insert_file(path("a/b"), "x", false).unwrap();
        let tree = tree.holding(claim);
        let (clone, part) = (tree.clone(), tree.subtree(&path("a")));
        drop(tree);
        drop(clone);
        assert_eq!(budget.used(), 60);
        drop(part);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_link_of_many_parts_is_not_followed() {
        let mut tree = Tree::new();
        tree.insert(path("a"), Entry::Symlink("./".repeat(200_000)))
            .unwrap();
        assert_eq!(
            tree.read(&path("a/x")),
            Err(ResolveError::TargetTooLong(path("a")))
        );
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
