//! Objects as they are to be applied.

use flux_cluster::{Object, ObjectId};

use crate::normalise::remove_unusable_ca_bundle;

/// An object as it is to be applied. Its id and its digest are computed once: whoever applies the same objects again and again
/// keeps these, so that a run that changes nothing neither copies nor hashes them.
#[derive(Clone, Debug)]
pub struct Desired(Object);

impl Desired {
    /// Takes an object that is [normalised](crate::normalise::normalise); a CA bundle that the API server would refuse is
    /// left out (RT-SSA-003).
    #[must_use]
    pub fn new(mut object: Object) -> Self {
        remove_unusable_ca_bundle(&mut object);
        Self(object)
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &Object {
        &self.0
    }

    /// What identifies the object.
    #[must_use]
    pub fn id(&self) -> &ObjectId {
        self.0.id()
    }

    /// The digest of the fields.
    pub(crate) fn digest(&self) -> blake3::Hash {
        self.0.digest()
    }
}
