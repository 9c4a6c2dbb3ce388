//! Fetched objects on disk, without work tree and references.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use flux_budget::Claim;
use gix::hash::ObjectId;
use gix::objs::Kind;
use tempfile::TempDir;

use crate::error::{Error, Fault};
use crate::object::{Commit, Tag};
use crate::pack::{self, Content, Decoder, Pack, Stream};
use crate::revision::Hash;
use crate::session::Session;

/// The maximum size of a commit or tag in bytes: they are kept in memory to verify their signatures.
pub(crate) const MAX_COMMIT: u64 = 8 << 20;
/// The maximum size of a tree in bytes; about 300,000 entries with short names.
pub(crate) const MAX_TREE: u64 = 64 << 20;

/// A folder with a pack; removed when dropped.
pub(crate) struct Store {
    folder: TempDir,
    limit: usize,
    claim: Arc<Claim>,
    pack: OnceLock<Arc<Pack>>,
}

/// A handle that reads objects; cheap to create, one per thread.
pub(crate) struct Objects {
    pack: Arc<Pack>,
    decoder: RefCell<Decoder>,
}

impl Store {
    /// Creates an empty store below `parent`, or below the system's temporary folder. Objects have at most `limit`
    /// bytes; their content in memory is taken from `claim`.
    pub(crate) fn create(
        parent: Option<&Path>,
        limit: usize,
        claim: &Arc<Claim>,
    ) -> Result<Self, Fault> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("flux-git-");
        let folder = match parent {
            Some(parent) => builder.tempdir_in(parent),
            None => builder.tempdir(),
        };
        Ok(Self {
            folder: folder.map_err(|error| Fault::Storage(error.to_string()))?,
            limit,
            claim: Arc::clone(claim),
            pack: OnceLock::new(),
        })
    }

    /// Receives the pack; a store has a single one.
    pub(crate) fn receive(&self, input: &mut dyn Read, session: &Session) -> Result<(), Fault> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.folder.path().join("pack"))
            .map_err(|error| Fault::Storage(error.to_string()))?;
        let pack = pack::receive(input, file, self.limit, session, &self.claim)?;
        let _ = self.pack.set(Arc::new(pack)); // a store has a single pack
        Ok(())
    }

    /// Opens the fetched objects.
    pub(crate) fn objects(&self) -> Result<Objects, Fault> {
        self.objects_until(None)
    }

    /// Opens the fetched objects; reading fails once `stop` is set.
    pub(crate) fn objects_until(&self, stop: Option<Arc<AtomicBool>>) -> Result<Objects, Fault> {
        let pack = self.pack.get().ok_or(Fault::ObjectNotFound)?;
        Ok(Objects {
            pack: Arc::clone(pack),
            decoder: RefCell::new(Decoder::new(&self.claim, stop)),
        })
    }
}

impl Objects {
    /// The kind of an object; `None` if it does not exist.
    pub(crate) fn kind(&self, id: &ObjectId) -> Option<Kind> {
        self.pack.header(id).map(|(kind, _)| kind)
    }

    /// The content of an object of the given kind.
    pub(crate) fn read(&self, id: &ObjectId, kind: Kind) -> Result<Arc<Content>, Error> {
        let failed = |source| Error::Object {
            what: format!("{kind} {id}"),
            source,
        };
        self.expect(id, kind).map_err(failed)?;
        let found = self.decoder.borrow_mut().find(&self.pack, id);
        found
            .and_then(|found| found.ok_or(Fault::ObjectNotFound))
            .map_err(failed)
    }

    /// The content of a file as a stream.
    pub(crate) fn open(&self, id: &ObjectId) -> Result<Stream, Error> {
        let failed = |source| Error::Object {
            what: format!("{} {id}", Kind::Blob),
            source,
        };
        self.expect(id, Kind::Blob).map_err(failed)?;
        let opened = Stream::open(&self.pack, &mut self.decoder.borrow_mut(), id);
        opened
            .and_then(|opened| opened.ok_or(Fault::ObjectNotFound))
            .map_err(failed)
    }

    /// Checks kind and size of an object before reading it.
    fn expect(&self, id: &ObjectId, kind: Kind) -> Result<(), Fault> {
        let (found, size) = self.pack.header(id).ok_or(Fault::ObjectNotFound)?;
        if found != kind {
            return Err(Fault::Corrupt(format!("it is a {found}")));
        }
        let (limit, unit) = match kind {
            Kind::Blob => return Ok(()),
            Kind::Tree => (MAX_TREE, "bytes in one folder"),
            Kind::Commit | Kind::Tag => (MAX_COMMIT, "bytes in one commit or tag"),
        };
        if size > limit {
            return Err(Fault::TooLarge { limit, unit });
        }
        Ok(())
    }

    /// The size of an object.
    pub(crate) fn size(&self, id: &ObjectId) -> Result<u64, Error> {
        let found = self.pack.header(id).map(|(_, size)| size);
        found.ok_or_else(|| Error::Object {
            what: format!("object {id}"),
            source: Fault::ObjectNotFound,
        })
    }

    /// A commit, and its tree.
    pub(crate) fn commit(
        &self,
        id: &ObjectId,
        reference: &str,
    ) -> Result<(Commit, ObjectId), Error> {
        let raw = self.read(id, Kind::Commit)?;
        let tree = gix::objs::CommitRefIter::from_bytes(&raw, gix::hash::Kind::Sha1)
            .tree_id()
            .map_err(|error| Error::Object {
                what: format!("commit {id}"),
                source: Fault::Corrupt(error.to_string()),
            })?;
        let commit = Commit::parse(Hash::new(id.to_string()), reference, &raw);
        Ok((commit, tree))
    }

    /// A tag object, if `id` is one.
    pub(crate) fn tag(&self, id: &ObjectId) -> Result<Option<Tag>, Error> {
        if self.kind(id) != Some(Kind::Tag) {
            return Ok(None);
        }
        let raw = self.read(id, Kind::Tag)?;
        Ok(Some(Tag::parse(Hash::new(id.to_string()), &raw)))
    }
}
