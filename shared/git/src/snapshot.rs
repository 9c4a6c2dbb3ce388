//! A fetched commit and its files, read from the packs without a checkout.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use gix::hash::ObjectId;
use gix::objs::tree::EntryKind as GitKind;
use gix::objs::{Kind, TreeRefIter};

use crate::error::{Error, Fault};
use crate::object::Commit;
use crate::remote::{Remote, SharedSession};
use crate::store::{Objects, Store};
use crate::submodules;
use crate::tree_path::{is_modules_file, refusal};

/// How deep folders may be nested.
const MAX_DEPTH: usize = 1000;

/// What an entry of the work tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// An ordinary file.
    File,
    /// An executable file.
    Executable,
    /// A symbolic link; its content is the target.
    Symlink,
    /// A submodule that was not fetched: an empty folder.
    Submodule,
}

/// One file of the work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    path: String,
    kind: EntryKind,
    layer: u32,
    id: ObjectId,
}

impl Entry {
    /// The path from the repository's root, with slashes. Bytes that are not UTF-8 are replaced.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it is.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }
}

/// A fetched commit and its files. The packs lie in a temporary folder that goes when the snapshot and its readers do.
pub struct Snapshot {
    commit: Commit,
    layers: Arc<Vec<Store>>,
    entries: Vec<Entry>,
    received: u64,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("commit", &self.commit.hash)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn build(
        remote: &Remote,
        session: &SharedSession,
        commit: Commit,
        store: Store,
        tree: ObjectId,
        sparse: &[String],
        submodules: bool,
    ) -> Result<Self, Error> {
        let mut layers = vec![store];
        let mut entries = Vec::new();
        let mut walk = Walk {
            session,
            sparse,
            entries: &mut entries,
        };
        walk.tree(&layers, 0, "", tree)?;
        if submodules {
            submodules::fetch(remote, session, &mut layers, &mut entries)?;
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(Error::Path {
                path: pair[0].path.clone(),
                reason: "it is there twice",
            });
        }
        Ok(Self {
            commit,
            layers: Arc::new(layers),
            entries,
            received: session.received(),
        })
    }

    /// The commit.
    pub fn commit(&self) -> &Commit {
        &self.commit
    }

    /// The files, by path in byte order. Folders are implied.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes that the remote sent for it.
    pub fn received_bytes(&self) -> u64 {
        self.received
    }

    /// A reader of the files' contents. It works on the disk, so that a blocking thread is its place.
    pub fn reader(&self) -> Result<Reader, Error> {
        let open = |store: &Store| store.objects();
        let objects = self.layers.iter().map(open).collect::<Result<_, _>>();
        let objects = objects.map_err(|source| Error::Object {
            what: "the object store".to_owned(),
            source,
        })?;
        Ok(Reader {
            objects,
            _layers: Arc::clone(&self.layers),
        })
    }

    /// Whether a path names a file or folder, links on the way to it followed inside the tree and `..` clamped at its root
    /// (SC-GIT-074).
    pub fn exists(&self, path: &str) -> Result<bool, Error> {
        let Some(resolved) = self.resolve(path)? else {
            return Ok(false);
        };
        Ok(resolved.is_empty() || self.find(&resolved).is_some() || self.is_folder(&resolved))
    }

    /// The entry at exactly this path.
    pub fn find(&self, path: &str) -> Option<&Entry> {
        let found = self
            .entries
            .binary_search_by(|entry| entry.path.as_str().cmp(path))
            .ok()?;
        self.entries.get(found)
    }

    fn is_folder(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        let next = self
            .entries
            .partition_point(|entry| entry.path.as_str() < prefix.as_str());
        self.entries
            .get(next)
            .is_some_and(|entry| entry.path.starts_with(&prefix))
    }

    /// The path with links followed; `None` when they lead nowhere or in circles.
    fn resolve(&self, path: &str) -> Result<Option<String>, Error> {
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut resolved: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    resolved.pop();
                    continue;
                }
                _ => resolved.push(part),
            }
            if let Some(entry) = self.find(&resolved.join("/"))
                && entry.kind == EntryKind::Symlink
            {
                links += 1;
                if links > 255 {
                    return Ok(None);
                }
                let mut buffer = Vec::new();
                let target = self
                    .reader()?
                    .read(entry, &mut buffer)
                    .map(|t| String::from_utf8_lossy(t).into_owned())?;
                if target.starts_with('/') {
                    resolved.clear();
                } else {
                    resolved.pop();
                }
                rest.extend(target.split('/').rev().map(str::to_owned));
            }
        }
        Ok(Some(resolved.join("/")))
    }
}

/// Reads the contents of a snapshot's files.
pub struct Reader {
    objects: Vec<Objects>,
    _layers: Arc<Vec<Store>>,
}

impl Reader {
    /// Reads a file's content, or a link's target, into `buffer`, and gives it. A submodule's is empty.
    pub fn read<'b>(&self, entry: &Entry, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Error> {
        if entry.kind == EntryKind::Submodule {
            buffer.clear();
            return Ok(buffer);
        }
        self.objects_of(entry)?.read(&entry.id, Kind::Blob, buffer)
    }

    /// The size of a file's content, without reading it.
    pub fn size(&self, entry: &Entry) -> Result<u64, Error> {
        if entry.kind == EntryKind::Submodule {
            Ok(0)
        } else {
            self.objects_of(entry)?.size(&entry.id)
        }
    }

    fn objects_of(&self, entry: &Entry) -> Result<&Objects, Error> {
        self.objects
            .get(entry.layer as usize)
            .ok_or_else(|| Error::Object {
                what: entry.path.clone(),
                source: Fault::ObjectNotFound,
            })
    }
}

/// Collects the files of trees.
pub(crate) struct Walk<'a> {
    pub(crate) session: &'a SharedSession,
    pub(crate) sparse: &'a [String],
    pub(crate) entries: &'a mut Vec<Entry>,
}

impl Walk<'_> {
    /// Adds the files below `tree`, which lies at `prefix` (empty, or ending with a slash), of the given layer.
    pub(crate) fn tree(
        &mut self,
        layers: &[Store],
        layer: usize,
        prefix: &str,
        tree: ObjectId,
    ) -> Result<(), Error> {
        let what = || "the object store".to_owned();
        let missing = || Error::Object {
            what: what(),
            source: Fault::ObjectNotFound,
        };
        let store = layers.get(layer).ok_or_else(missing)?;
        let objects = store.objects().map_err(|source| Error::Object {
            what: what(),
            source,
        })?;
        let limit = self.session.limits.entries;
        let mut pending = vec![(prefix.to_owned(), tree, 0)];
        let mut buffer = Vec::new();
        while let Some((folder, tree, depth)) = pending.pop() {
            let corrupt = |source| Error::Object {
                what: format!("tree {tree}"),
                source,
            };
            self.session.check().map_err(corrupt)?;
            let raw = objects.read(&tree, Kind::Tree, &mut buffer)?;
            let mut names = BTreeSet::new();
            for entry in TreeRefIter::from_bytes(raw, gix::hash::Kind::Sha1) {
                let entry = entry.map_err(|error| corrupt(Fault::Corrupt(error.to_string())))?;
                let name = String::from_utf8_lossy(entry.filename);
                let path = format!("{folder}{name}");
                if let Some(reason) = refusal(&name) {
                    return Err(Error::Path { path, reason });
                }
                if !names.insert(entry.filename) {
                    return Err(Error::Path {
                        path,
                        reason: "it is there twice",
                    });
                }
                let id = entry.oid.to_owned();
                let kind = match entry.mode.kind() {
                    GitKind::Tree => {
                        if depth >= MAX_DEPTH {
                            return Err(Error::Path {
                                path,
                                reason: "folders are nested too deep",
                            });
                        }
                        let folder = format!("{path}/");
                        if self.may_hold(&folder) {
                            pending.push((folder, id, depth + 1));
                        }
                        continue;
                    }
                    GitKind::Blob => EntryKind::File,
                    GitKind::BlobExecutable => EntryKind::Executable,
                    GitKind::Link if is_modules_file(&name) => {
                        return Err(Error::Path {
                            path,
                            reason: "it must not be a symbolic link",
                        });
                    }
                    GitKind::Link => EntryKind::Symlink,
                    GitKind::Commit => EntryKind::Submodule,
                };
                if !self.wanted(&path) {
                    continue;
                }
                if self.entries.len() >= limit {
                    let limit = limit as u64;
                    return Err(corrupt(Fault::TooLarge {
                        limit,
                        unit: "files",
                    }));
                }
                self.entries.push(Entry {
                    path,
                    kind,
                    layer: layer as u32,
                    id,
                });
            }
        }
        Ok(())
    }

    /// The paths that begin with one of the prefixes, letter by letter, as upstream's library does.
    fn wanted(&self, path: &str) -> bool {
        self.sparse.is_empty()
            || self
                .sparse
                .iter()
                .any(|prefix| path.starts_with(prefix.as_str()))
    }

    fn may_hold(&self, folder: &str) -> bool {
        self.sparse.is_empty()
            || self
                .sparse
                .iter()
                .any(|prefix| folder.starts_with(prefix.as_str()) || prefix.starts_with(folder))
    }
}
