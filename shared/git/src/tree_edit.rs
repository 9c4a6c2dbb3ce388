//! New trees from changed files. What did not change keeps its bytes: other entries of a folder, their modes (also unusual
//! ones), submodules and links.

use std::collections::BTreeMap;
use std::sync::Arc;

use flux_budget::Claim;
use gix::hash::ObjectId;
use gix::objs::Kind;

use crate::error::{Error, Fault};
use crate::memory::Portion;
use crate::new_objects::{NewObjects, hash};
use crate::pack::Content;
use crate::snapshot::{MAX_DEPTH, MAX_PATH, refused};
use crate::store::{MAX_TREE, Objects};
use crate::tree_path::refusal;

const FILE: &[u8] = b"100644";
const FOLDER: &[u8] = b"40000";
/// The bytes of a hash in a tree.
const HASH: usize = 20;

/// Where the trees and files of the base are read from.
pub(crate) struct Editor<'a> {
    /// The fetched objects; none in an empty repository.
    pub(crate) fetched: Option<Objects>,
    pub(crate) new: &'a mut NewObjects,
    pub(crate) claim: &'a Arc<Claim>,
}

/// The content of a tree, fetched or made here.
enum Raw {
    Fetched(Arc<Content>),
    Made(Vec<u8>),
}

impl Raw {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Fetched(content) => content,
            Self::Made(bytes) => bytes,
        }
    }
}

/// A folder that is to be written again.
struct Folder {
    raw: Raw,
    /// The new hashes of its files and folders, and whether it is a folder.
    edits: BTreeMap<Vec<u8>, (ObjectId, bool)>,
}

impl Editor<'_> {
    /// Writes `changes` (content by path) into `tree`, and returns the new tree: the same one if nothing differs.
    ///
    /// # Errors
    /// [`Error::Path`] for a path that is not a file's, or that no repository may have.
    pub(crate) fn edit(
        &mut self,
        tree: Option<ObjectId>,
        changes: BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> Result<ObjectId, Error> {
        let failed = |source| Error::Object {
            what: "the changed folders".to_owned(),
            source,
        };
        // The paths of the folders are kept while they are edited.
        let paths = changes.keys().map(|path| path.len() * 2 + 256).sum();
        let _paths = Portion::take(self.claim, "changed files", paths).map_err(failed)?;
        let mut folders = BTreeMap::new();
        let mut blobs = Vec::new();
        for (path, content) in changes {
            check(&path)?;
            self.open_folders(tree, &path, &mut folders)?;
            let (parent, name) = split(&path);
            let folder = folders.get_mut(parent);
            let folder: &mut Folder =
                folder.ok_or_else(|| refused(&path, "its folder is missing"))?;
            let id = hash(Kind::Blob, &content).map_err(failed)?;
            match find(folder.raw.bytes(), name).map_err(|source| unreadable(parent, source))? {
                Some((mode, _)) if !is_file(mode) => {
                    return Err(refused(&path, "it is not an ordinary file"));
                }
                Some((_, old)) if old == id.as_slice() => continue,
                Some(_) | None => {}
            }
            folder.edits.insert(name.to_vec(), (id, false));
            blobs.push(content);
        }
        for content in blobs {
            self.new
                .add(self.claim, Kind::Blob, content)
                .map_err(failed)?;
        }
        self.close_folders(tree, folders)
    }

    /// Reads the folders that lead to a file.
    fn open_folders(
        &self,
        root: Option<ObjectId>,
        path: &[u8],
        folders: &mut BTreeMap<Vec<u8>, Folder>,
    ) -> Result<(), Error> {
        if !folders.contains_key(&b""[..]) {
            folders.insert(Vec::new(), self.open(root)?);
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        for (at, _) in slashes {
            let folder = &path[..at];
            if folders.contains_key(folder) {
                continue;
            }
            let (parent, name) = split(folder);
            let above = folders
                .get(parent)
                .ok_or_else(|| refused(folder, "its folder is missing"))?;
            if above.edits.contains_key(name) {
                return Err(refused(folder, "it is both a file and a folder"));
            }
            let found =
                find(above.raw.bytes(), name).map_err(|source| unreadable(parent, source))?;
            let tree = match found {
                Some((mode, id)) if is_folder(mode) => Some(object_id(id)),
                Some(_) => return Err(refused(folder, "it is not a folder")),
                None => None,
            };
            let opened = self.open(tree)?;
            folders.insert(folder.to_vec(), opened);
        }
        Ok(())
    }

    fn open(&self, tree: Option<ObjectId>) -> Result<Folder, Error> {
        let missing = |id| Error::Object {
            what: format!("tree {id}"),
            source: Fault::ObjectNotFound,
        };
        let raw = match (tree, &self.fetched) {
            (None, _) => Raw::Made(Vec::new()),
            (Some(id), fetched) => match (self.new.read(&id, Kind::Tree), fetched) {
                (Some(made), _) => Raw::Made(made.to_vec()),
                (None, Some(objects)) => Raw::Fetched(objects.read(&id, Kind::Tree)?),
                (None, None) => return Err(missing(id)),
            },
        };
        Ok(Folder {
            raw,
            edits: BTreeMap::new(),
        })
    }

    /// Writes the folders with edits, the deepest first, and returns the root.
    fn close_folders(
        &mut self,
        tree: Option<ObjectId>,
        mut folders: BTreeMap<Vec<u8>, Folder>,
    ) -> Result<ObjectId, Error> {
        let mut paths: Vec<Vec<u8>> = folders.keys().cloned().collect();
        paths.sort_by_key(|path| std::cmp::Reverse(depth(path)));
        let mut root = tree;
        for path in paths {
            let Some(folder) = folders.remove(&path) else {
                continue;
            };
            if folder.edits.is_empty() {
                continue;
            }
            let failed = |source| unreadable(&path, source);
            let bytes = rewrite(folder.raw.bytes(), &folder.edits, self.claim).map_err(failed)?;
            let id = self
                .new
                .add(self.claim, Kind::Tree, bytes)
                .map_err(failed)?;
            let (parent, name) = split(&path);
            if path.is_empty() {
                root = Some(id);
            } else if let Some(above) = folders.get_mut(parent) {
                above.edits.insert(name.to_vec(), (id, true));
            }
        }
        match root {
            Some(root) => Ok(root),
            // No change in an empty repository.
            None => self
                .new
                .add(self.claim, Kind::Tree, Vec::new())
                .map_err(|source| unreadable(b"", source)),
        }
    }
}

/// One entry of a tree: mode, name, hash.
type Entry<'a> = (&'a [u8], &'a [u8], &'a [u8]);

type ModeAndHash<'a> = (&'a [u8], &'a [u8]);

/// Splits the first entry off a tree.
fn next_entry(raw: &[u8]) -> Result<Option<(Entry<'_>, &[u8])>, Fault> {
    if raw.is_empty() {
        return Ok(None);
    }
    let malformed = || Fault::Corrupt("the tree is malformed".to_owned());
    let space = raw.iter().position(|byte| *byte == b' ');
    let space = space.ok_or_else(malformed)?;
    let (mode, rest) = (&raw[..space], &raw[space + 1..]);
    let end = rest.iter().position(|byte| *byte == 0);
    let end = end.ok_or_else(malformed)?;
    let (name, rest) = (&rest[..end], &rest[end + 1..]);
    let (id, rest) = rest.split_at_checked(HASH).ok_or_else(malformed)?;
    Ok(Some(((mode, name, id), rest)))
}

/// Mode and hash of the entry with this name.
pub(crate) fn find<'a>(mut raw: &'a [u8], wanted: &[u8]) -> Result<Option<ModeAndHash<'a>>, Fault> {
    while let Some(((mode, name, id), rest)) = next_entry(raw)? {
        if name == wanted {
            return Ok(Some((mode, id)));
        }
        raw = rest;
    }
    Ok(None)
}

/// A tree with new hashes for some of its entries, and with new entries in Git's order.
fn rewrite(
    raw: &[u8],
    edits: &BTreeMap<Vec<u8>, (ObjectId, bool)>,
    claim: &Arc<Claim>,
) -> Result<Vec<u8>, Fault> {
    let added: usize = edits.keys().map(|name| name.len() + HASH + 8).sum();
    // The list of entries takes about as much as they do.
    let _entries = Portion::take(claim, "folders", (raw.len() + added) * 2)?;
    let mut entries: Vec<Entry<'_>> = Vec::new();
    let mut left = edits.clone();
    let mut rest = raw;
    while let Some(((mode, name, id), after)) = next_entry(rest)? {
        rest = after;
        left.remove(name);
        let id = edits.get(name).map_or(id, |(new, _)| new.as_slice());
        entries.push((mode, name, id));
    }
    if !left.is_empty() {
        for (name, (id, is_folder)) in &left {
            let mode = if *is_folder { FOLDER } else { FILE };
            entries.push((mode, name, id.as_slice()));
        }
        entries.sort_by(|a, b| order(a).cmp(order(b)));
    }
    let mut tree = Vec::with_capacity(raw.len() + added);
    for (mode, name, id) in entries {
        tree.extend_from_slice(mode);
        tree.push(b' ');
        tree.extend_from_slice(name);
        tree.push(0);
        tree.extend_from_slice(id);
    }
    if tree.len() as u64 > MAX_TREE {
        return Err(Fault::TooLarge {
            limit: MAX_TREE,
            unit: "bytes in one folder",
        });
    }
    Ok(tree)
}

/// Git compares names as if those of folders ended in a slash.
fn order<'a>(entry: &Entry<'a>) -> impl Iterator<Item = &'a u8> + use<'a> {
    let slash: &'static [u8] = if is_folder(entry.0) { b"/" } else { b"" };
    entry.1.iter().chain(slash)
}

fn is_folder(mode: &[u8]) -> bool {
    matches!(mode, b"40000" | b"040000")
}

/// Whether the mode is an ordinary file's, executable or not; old versions of Git also wrote 100664.
fn is_file(mode: &[u8]) -> bool {
    mode.starts_with(b"100")
}

/// Rejects paths that a repository must not contain (IA-GIT-112).
fn check(path: &[u8]) -> Result<(), Error> {
    if path.len() > MAX_PATH {
        return Err(refused(path, "it is longer than 4096 bytes"));
    }
    if depth(path) > MAX_DEPTH {
        return Err(refused(path, "folders are nested too deep"));
    }
    for name in path.split(|byte| *byte == b'/') {
        if let Some(reason) = refusal(name) {
            return Err(refused(path, reason));
        }
    }
    Ok(())
}

/// The number of folders that lead to a path; the root comes last in the order by depth.
fn depth(path: &[u8]) -> usize {
    if path.is_empty() {
        return 0;
    }
    path.split(|byte| *byte == b'/').count()
}

/// The folder and the name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

fn object_id(id: &[u8]) -> ObjectId {
    let bytes = id.try_into().unwrap_or([0; HASH]);
    ObjectId::Sha1(bytes)
}

fn unreadable(folder: &[u8], source: Fault) -> Error {
    Error::Object {
        what: format!("folder '{}'", String::from_utf8_lossy(folder)),
        source,
    }
}

#[cfg(test)]
mod tests;
