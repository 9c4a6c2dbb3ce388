//! Objects that were made here and are not yet on the server, and the pack that carries them there.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use flux_budget::Claim;
use gix::hash::ObjectId;
use gix::objs::Kind;
use sha1::{Digest as _, Sha1};

use crate::error::Fault;
use crate::memory::Portion;
use crate::pack::ObjectHash;

/// The memory overhead of an object in bytes.
const OVERHEAD: usize = 256;
/// The bytes of a pack besides its objects.
const PACK_OVERHEAD: usize = 64;

/// One object.
#[derive(Debug)]
struct Object {
    kind: Kind,
    bytes: Vec<u8>,
    _portion: Portion,
}

/// A set of objects. A copy shares their memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewObjects {
    objects: BTreeMap<ObjectId, Arc<Object>>,
}

/// A pack in memory.
pub(crate) struct PackBytes {
    pub(crate) bytes: Vec<u8>,
    pub(crate) portion: Portion,
}

/// The hash of an object with this content.
pub(crate) fn hash(kind: Kind, bytes: &[u8]) -> Result<ObjectId, Fault> {
    let size = u32::try_from(bytes.len()).map_err(|_| Fault::TooLarge {
        limit: u64::from(u32::MAX),
        unit: "bytes in one object",
    })?;
    let mut hash = ObjectHash::new(kind, size);
    hash.update(bytes);
    Ok(ObjectId::Sha1(hash.finish()?))
}

impl NewObjects {
    /// Adds an object and returns its hash.
    pub(crate) fn add(
        &mut self,
        claim: &Arc<Claim>,
        kind: Kind,
        bytes: Vec<u8>,
    ) -> Result<ObjectId, Fault> {
        let id = hash(kind, &bytes)?;
        let portion = Portion::take(claim, "changed files", bytes.capacity() + OVERHEAD)?;
        let object = Object {
            kind,
            bytes,
            _portion: portion,
        };
        self.objects.entry(id).or_insert_with(|| Arc::new(object));
        Ok(id)
    }

    /// The content of an object of this kind.
    pub(crate) fn read(&self, id: &ObjectId, kind: Kind) -> Option<&[u8]> {
        let object = self.objects.get(id)?;
        (object.kind == kind).then_some(&object.bytes)
    }

    /// The pack with all objects, or none of them. Objects are stored whole: a delta would need a base that the server is known
    /// to have, and saves little in packs of a few files.
    pub(crate) fn pack(&self, claim: &Arc<Claim>, is_empty: bool) -> Result<PackBytes, Fault> {
        let objects = || self.objects.values().filter(|_| !is_empty);
        // What cannot be compressed grows by less than a thousandth.
        let size: usize = objects()
            .map(|object| object.bytes.len() + object.bytes.len() / 1000 + PACK_OVERHEAD)
            .sum();
        let portion = Portion::take(claim, "changed files", size + PACK_OVERHEAD)?;
        let mut bytes = Vec::with_capacity(size + PACK_OVERHEAD);
        let count = u32::try_from(objects().count()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(b"PACK\0\0\0\x02");
        bytes.extend_from_slice(&count.to_be_bytes());
        for object in objects() {
            head(&mut bytes, object);
            let mut encoder = ZlibEncoder::new(&mut bytes, Compression::default());
            let encoded = encoder.write_all(&object.bytes);
            encoded
                .and_then(|()| encoder.finish().map(|_| ()))
                .map_err(|error| Fault::Corrupt(error.to_string()))?;
        }
        let sum = Sha1::digest(&bytes);
        bytes.extend_from_slice(&sum);
        Ok(PackBytes { bytes, portion })
    }
}

/// The kind and size at the start of an entry.
fn head(pack: &mut Vec<u8>, object: &Object) {
    let kind = match object.kind {
        Kind::Commit => 1_u8,
        Kind::Tree => 2,
        Kind::Blob => 3,
        Kind::Tag => 4,
    };
    let mut rest = object.bytes.len();
    let mut byte = kind << 4 | (rest & 15) as u8;
    rest >>= 4;
    while rest > 0 {
        pack.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    pack.push(byte);
}
