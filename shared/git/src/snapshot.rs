//! A fetched commit and its files, read from packs without a checkout.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use flux_budget::Claim;
use gix::hash::ObjectId;
use gix::objs::tree::EntryKind as GitKind;
use gix::objs::{Kind, TreeRefIter};

use crate::error::{Error, Fault};
use crate::memory::{ClaimedVec, Portion};
use crate::object::Commit;
use crate::pack::{Content, Stream};
use crate::remote::{Remote, SharedSession};
use crate::store::{Objects, Store};
use crate::submodules;
use crate::tree_path::{is_modules_file, refusal};

/// The maximum nesting of folders.
pub(crate) const MAX_DEPTH: usize = 1000;
/// The maximum length of a path in bytes, as on Linux.
pub(crate) const MAX_PATH: usize = 4096;
/// The maximum length of a symbolic link's target in bytes, as on Linux.
const MAX_TARGET: u64 = 4096;
/// The number of bytes that an error quotes of a path that is too long.
const SHOWN_PATH: usize = 100;

/// The kind of an entry of the work tree.
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
    path: Box<[u8]>,
    kind: EntryKind,
    layer: u32,
    id: ObjectId,
}

impl Entry {
    /// The path from the repository's root, with slashes, as bytes: names in Git need not be UTF-8.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The kind of the entry.
    pub fn kind(&self) -> EntryKind {
        self.kind
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }
}

/// A fetched commit and its files. The packs are in a temporary folder that is removed once the snapshot and its
/// readers are dropped.
pub struct Snapshot {
    commit: Commit,
    layers: Arc<Vec<Store>>,
    entries: ClaimedVec<Entry>,
    claim: Arc<Claim>,
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
        let claim = Arc::clone(&remote.options.claim);
        let mut layers = vec![store];
        let mut entries = ClaimedVec::new(&claim, "files");
        let mut walk = Walk {
            session,
            claim: &claim,
            sparse,
            entries: &mut entries,
        };
        walk.tree(&layers, 0, b"", tree)?;
        if submodules {
            submodules::fetch(remote, session, &mut layers, &mut entries)?;
        }
        let by_path = |a: &Entry, b: &Entry| a.path.cmp(&b.path);
        entries.as_mut_slice().sort_unstable_by(by_path);
        if let Some(pair) = entries.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(refused(&pair[0].path, "it is there twice"));
        }
        Ok(Self {
            commit,
            layers: Arc::new(layers),
            entries,
            claim,
            received: session.received(),
        })
    }

    /// The commit.
    pub fn commit(&self) -> &Commit {
        &self.commit
    }

    /// The files, ordered by the bytes of their paths. Folders are implied.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The number of bytes received for it.
    pub fn received_bytes(&self) -> u64 {
        self.received
    }

    /// A reader of file contents. It reads from disk, so use it on a blocking thread.
    pub fn reader(&self) -> Result<Reader, Error> {
        self.reader_until(None)
    }

    /// A reader that fails soon after `stop` is set.
    pub fn reader_until(&self, stop: Option<&Arc<AtomicBool>>) -> Result<Reader, Error> {
        let open = |store: &Store| store.objects_until(stop.cloned());
        let objects = self.layers.iter().map(open).collect::<Result<_, _>>();
        let objects = objects.map_err(|source| Error::Object {
            what: "the object store".to_owned(),
            source,
        })?;
        Ok(Reader {
            objects,
            claim: Arc::clone(&self.claim),
            _layers: Arc::clone(&self.layers),
        })
    }

    /// The objects of the repository itself, submodules excluded.
    pub(crate) fn objects(&self) -> Result<Objects, Error> {
        let store = self.layers.first().ok_or(Fault::ObjectNotFound);
        store
            .and_then(Store::objects)
            .map_err(|source| Error::Object {
                what: "the object store".to_owned(),
                source,
            })
    }

    /// Where the objects are stored; they exist as long as this.
    pub(crate) fn layers(&self) -> Arc<Vec<Store>> {
        Arc::clone(&self.layers)
    }

    /// Whether a path is a file or folder, with links in it followed inside the tree and `..` clamped at its root
    /// (SC-GIT-074).
    pub fn exists(&self, path: &str) -> Result<bool, Error> {
        let Some(resolved) = self.resolve(path.as_bytes())? else {
            return Ok(false);
        };
        Ok(resolved.is_empty() || self.find(&resolved).is_some() || self.is_folder(&resolved))
    }

    /// The entry at this path, links not followed.
    pub fn find(&self, path: impl AsRef<[u8]>) -> Option<&Entry> {
        let by_path = |entry: &Entry| (*entry.path).cmp(path.as_ref());
        let found = self.entries.binary_search_by(by_path).ok()?;
        self.entries.get(found)
    }

    fn is_folder(&self, path: &[u8]) -> bool {
        let prefix = [path, b"/"].concat();
        let next = self.entries.partition_point(|entry| *entry.path < *prefix);
        self.entries
            .get(next)
            .is_some_and(|entry| entry.path.starts_with(&prefix))
    }

    /// The path with links followed; `None` if they are broken or form a loop.
    pub(crate) fn resolve(&self, path: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let parts = |path: &[u8]| -> Vec<Vec<u8>> {
            let parts = path.split(|byte| *byte == b'/').rev();
            parts.map(<[u8]>::to_vec).collect()
        };
        let mut rest = parts(path);
        let mut resolved: Vec<Vec<u8>> = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    resolved.pop();
                    continue;
                }
                _ => resolved.push(part),
            }
            if let Some(entry) = self.find(resolved.join(&b'/'))
                && entry.kind == EntryKind::Symlink
            {
                links += 1;
                let reader = self.reader()?;
                if links > 255 || reader.size(entry)? > MAX_TARGET {
                    return Ok(None);
                }
                let target = reader.read(entry)?;
                if target.starts_with(b"/") {
                    resolved.clear();
                } else {
                    resolved.pop();
                }
                rest.extend(parts(&target));
            }
        }
        Ok(Some(resolved.join(&b'/')))
    }
}

/// Reads the contents of files in a snapshot.
pub struct Reader {
    objects: Vec<Objects>,
    claim: Arc<Claim>,
    _layers: Arc<Vec<Store>>,
}

impl Reader {
    /// The content of a file, or a link's target, in memory. Empty for a submodule.
    pub fn read(&self, entry: &Entry) -> Result<Arc<Content>, Error> {
        if entry.kind == EntryKind::Submodule {
            return Content::empty(&self.claim).map_err(|source| Error::Object {
                what: text(&entry.path),
                source,
            });
        }
        self.objects_of(entry)?.read(&entry.id, Kind::Blob)
    }

    /// The content of a file, or a link's target, as a stream: a large file takes no memory, unless the pack stores it
    /// as a delta.
    pub fn open(&self, entry: &Entry) -> Result<Stream, Error> {
        if entry.kind == EntryKind::Submodule {
            return self.read(entry).map(Stream::of);
        }
        self.objects_of(entry)?.open(&entry.id)
    }

    /// The size of a file's content in bytes, without reading it.
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
                what: text(&entry.path),
                source: Fault::ObjectNotFound,
            })
    }
}

/// Collects the files of trees.
pub(crate) struct Walk<'a> {
    pub(crate) session: &'a SharedSession,
    pub(crate) claim: &'a Arc<Claim>,
    pub(crate) sparse: &'a [String],
    pub(crate) entries: &'a mut ClaimedVec<Entry>,
}

/// A folder whose entries are still to be read.
struct Folder {
    /// Empty, or ends with a slash.
    path: Box<[u8]>,
    tree: ObjectId,
    depth: usize,
}

impl Walk<'_> {
    /// Adds the files below `tree`, located at `prefix` (empty, or ends with a slash), of the given layer.
    ///
    /// Trees can share subtrees, so that a small repository can have more files than fit on any disk: limits therefore
    /// count visited entries, not received data.
    pub(crate) fn tree(
        &mut self,
        layers: &[Store],
        layer: usize,
        prefix: &[u8],
        tree: ObjectId,
    ) -> Result<(), Error> {
        let failed = |source| Error::Object {
            what: "the object store".to_owned(),
            source,
        };
        let store = layers
            .get(layer)
            .ok_or_else(|| failed(Fault::ObjectNotFound))?;
        let objects = store.objects().map_err(failed)?;
        let mut pending = ClaimedVec::new(self.claim, "folders");
        let first = Folder {
            path: prefix.into(),
            tree,
            depth: 0,
        };
        pending.push(first, prefix.len()).map_err(failed)?;
        while let Some(folder) = pending.pop(Folder::heap) {
            let raw = objects.read(&folder.tree, Kind::Tree)?;
            self.folder(layer, &folder, &raw, &mut pending)?;
        }
        Ok(())
    }

    fn folder(
        &mut self,
        layer: usize,
        folder: &Folder,
        raw: &[u8],
        pending: &mut ClaimedVec<Folder>,
    ) -> Result<(), Error> {
        let failed = |source| Error::Object {
            what: format!("tree {}", folder.tree),
            source,
        };
        // A parsed name takes less memory than its entry in the tree.
        let _names = Portion::take(self.claim, "folders", raw.len()).map_err(failed)?;
        let mut names: Vec<&[u8]> = Vec::new();
        for entry in TreeRefIter::from_bytes(raw, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|error| failed(Fault::Corrupt(error.to_string())))?;
            self.session.visit().map_err(failed)?;
            let name: &[u8] = entry.filename;
            let length = folder.path.len() + name.len();
            let path = [&folder.path[..], name].concat();
            if length > MAX_PATH {
                return Err(refused(&path, "it is longer than 4096 bytes"));
            }
            if let Some(reason) = refusal(name) {
                return Err(refused(&path, reason));
            }
            names.push(name);
            let id = entry.oid.to_owned();
            let kind = match entry.mode.kind() {
                GitKind::Tree => {
                    if folder.depth >= MAX_DEPTH {
                        return Err(refused(&path, "folders are nested too deep"));
                    }
                    let below = Folder {
                        path: [&path[..], b"/"].concat().into(),
                        tree: id,
                        depth: folder.depth + 1,
                    };
                    if self.may_hold(&below.path) {
                        let heap = below.heap();
                        pending.push(below, heap).map_err(failed)?;
                    }
                    continue;
                }
                GitKind::Blob => EntryKind::File,
                GitKind::BlobExecutable => EntryKind::Executable,
                GitKind::Link if is_modules_file(name) => {
                    return Err(refused(&path, "it must not be a symbolic link"));
                }
                GitKind::Link => EntryKind::Symlink,
                GitKind::Commit => EntryKind::Submodule,
            };
            if self.wanted(&path) {
                let entry = Entry {
                    path: path.into(),
                    kind,
                    layer: layer as u32,
                    id,
                };
                self.entries.push(entry, length + 16).map_err(failed)?;
            }
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => {
                let path = [&folder.path[..], pair[0]].concat();
                Err(refused(&path, "it is there twice"))
            }
        }
    }

    /// Whether a path begins with one of the prefixes, compared textually as in upstream's library.
    fn wanted(&self, path: &[u8]) -> bool {
        let begins = |prefix: &String| path.starts_with(prefix.as_bytes());
        self.sparse.is_empty() || self.sparse.iter().any(begins)
    }

    fn may_hold(&self, folder: &[u8]) -> bool {
        let meets = |prefix: &String| {
            folder.starts_with(prefix.as_bytes()) || prefix.as_bytes().starts_with(folder)
        };
        self.sparse.is_empty() || self.sparse.iter().any(meets)
    }
}

impl Folder {
    fn heap(&self) -> usize {
        self.path.len() + 16
    }
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

pub(crate) fn refused(path: &[u8], reason: &'static str) -> Error {
    let mut shown = text(&path[..path.len().min(MAX_PATH)]);
    if path.len() > MAX_PATH {
        shown = shown.chars().take(SHOWN_PATH).chain(['…']).collect();
    }
    let path = shown;
    Error::Path { path, reason }
}
