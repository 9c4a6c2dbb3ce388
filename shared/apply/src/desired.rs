//! Objects as they are to be applied, with what every run asks of them worked out once.

use crate::memory::digest;
use crate::normalise::remove_unusable_ca_bundle;
use crate::{Object, ObjectId};

/// An object as it is to be applied, with its id and the digest of its fields. Whoever applies the same objects again and
/// again keeps these, so that a run that changes nothing neither copies nor hashes them.
#[derive(Clone, Debug)]
pub struct Desired {
    object: Object,
    id: ObjectId,
    digest: blake3::Hash,
}

impl Desired {
    /// Takes an object that is [normalised](crate::normalise::normalise); a CA bundle that the API server would refuse is
    /// left out (RT-SSA-003).
    #[must_use]
    pub fn new(mut object: Object) -> Self {
        remove_unusable_ca_bundle(&mut object);
        Self {
            id: object.id(),
            digest: digest(object.fields()),
            object,
        }
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// What identifies the object.
    #[must_use]
    pub fn id(&self) -> &ObjectId {
        &self.id
    }

    /// The digest of the fields.
    pub(crate) fn digest(&self) -> blake3::Hash {
        self.digest
    }
}
