//! Fetched objects on disk, without a work tree or references.

use std::path::{Path, PathBuf};

use gix::hash::ObjectId;
use gix::objs::{Find as _, FindHeader as _, Kind};
use tempfile::TempDir;

use crate::error::{Error, Fault};
use crate::object::{Commit, Tag};
use crate::revision::Hash;

/// A folder with packs; removed when dropped.
pub(crate) struct Store {
    folder: TempDir,
    limit: usize,
}

/// A handle that reads objects; cheap to make, one per thread.
pub(crate) struct Objects {
    handle: gix::odb::Handle,
    limit: usize,
}

impl Store {
    /// Makes an empty store below `parent`, or below the system's folder for temporary files.
    pub(crate) fn create(parent: Option<&Path>, limit: usize) -> Result<Self, Fault> {
        let storage = |error: std::io::Error| Fault::Storage(error.to_string());
        let mut builder = tempfile::Builder::new();
        builder.prefix("flux-git-");
        let folder = match parent {
            Some(parent) => builder.tempdir_in(parent),
            None => builder.tempdir(),
        };
        let folder = folder.map_err(storage)?;
        std::fs::create_dir_all(folder.path().join("objects/pack")).map_err(storage)?;
        Ok(Self { folder, limit })
    }

    pub(crate) fn pack_folder(&self) -> PathBuf {
        self.folder.path().join("objects/pack")
    }

    pub(crate) fn shallow_file(&self) -> PathBuf {
        self.folder.path().join("shallow")
    }

    /// Opens what was fetched.
    pub(crate) fn objects(&self) -> Result<Objects, Fault> {
        let storage = |error: &dyn std::fmt::Display| Fault::Storage(error.to_string());
        let options = gix::odb::store::init::Options {
            use_multi_pack_index: false,
            alloc_limit_bytes: Some(self.limit),
            current_dir: Some(self.folder.path().to_owned()),
            ..gix::odb::store::init::Options::default()
        };
        let folder = self.folder.path().join("objects");
        let mut handle = gix::odb::at_opts(folder, gix::hash::Kind::Sha1, None, options)
            .map_err(|error| storage(&error))?;
        // Deltas that share their bases are unpacked once.
        handle.set_pack_cache(|| {
            Box::new(gix::odb::pack::cache::lru::StaticLinkedList::<64>::default())
        });
        Ok(Objects {
            handle,
            limit: self.limit,
        })
    }
}

impl Objects {
    /// The kind of an object; `None` if it is not there.
    pub(crate) fn kind(&self, id: &ObjectId) -> Result<Option<Kind>, Fault> {
        match self.handle.try_header(id) {
            Ok(header) => Ok(header.map(|header| header.kind)),
            Err(error) => Err(Fault::Corrupt(error.to_string())),
        }
    }

    /// Reads an object of a kind into `buffer`.
    pub(crate) fn read<'b>(
        &self,
        id: &ObjectId,
        kind: Kind,
        buffer: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], Error> {
        let failed = |source| Error::Object {
            what: format!("{kind} {id}"),
            source,
        };
        let header = self
            .handle
            .try_header(id)
            .map_err(|error| failed(Fault::Corrupt(error.to_string())))?;
        let header = header.ok_or_else(|| failed(Fault::ObjectNotFound))?;
        if header.size > self.limit as u64 {
            return Err(failed(Fault::TooLarge {
                limit: self.limit as u64,
                unit: "bytes in one object",
            }));
        }
        let found = self
            .handle
            .try_find(id, buffer)
            .map_err(|error| failed(Fault::Corrupt(error.to_string())))?;
        match found {
            None => Err(failed(Fault::ObjectNotFound)),
            Some(data) if data.kind != kind => {
                Err(failed(Fault::Corrupt(format!("it is a {}", data.kind))))
            }
            Some(_) => Ok(buffer),
        }
    }

    /// The size of an object.
    pub(crate) fn size(&self, id: &ObjectId) -> Result<u64, Error> {
        let failed = |source| Error::Object {
            what: format!("object {id}"),
            source,
        };
        let header = self
            .handle
            .try_header(id)
            .map_err(|error| failed(Fault::Corrupt(error.to_string())))?;
        header
            .map(|header| header.size)
            .ok_or_else(|| failed(Fault::ObjectNotFound))
    }

    /// A commit, and the tree it records.
    pub(crate) fn commit(
        &self,
        id: &ObjectId,
        reference: &str,
    ) -> Result<(Commit, ObjectId), Error> {
        let mut buffer = Vec::new();
        let raw = self.read(id, Kind::Commit, &mut buffer)?;
        let tree = gix::objs::CommitRefIter::from_bytes(raw, gix::hash::Kind::Sha1)
            .tree_id()
            .map_err(|error| Error::Object {
                what: format!("commit {id}"),
                source: Fault::Corrupt(error.to_string()),
            })?;
        Ok((
            Commit::parse(Hash::new(id.to_string()), reference, raw),
            tree,
        ))
    }

    /// A tag object, if `id` is one.
    pub(crate) fn tag(&self, id: &ObjectId) -> Result<Option<Tag>, Error> {
        let kind = self.kind(id).map_err(|source| Error::Object {
            what: format!("tag {id}"),
            source,
        })?;
        if kind != Some(Kind::Tag) {
            return Ok(None);
        }
        let mut buffer = Vec::new();
        let raw = self.read(id, Kind::Tag, &mut buffer)?;
        Ok(Some(Tag::parse(Hash::new(id.to_string()), raw)))
    }
}
