//! Desired objects, as they are applied.

use flux_cluster::{Object, ObjectId};

use crate::normalise::remove_unusable_ca_bundle;

/// A desired object. Its id and its digest are computed once: a caller that applies the same objects repeatedly keeps
/// these values, so that a run without changes neither copies nor hashes them.
#[derive(Clone, Debug)]
pub struct Desired(Object);

impl Desired {
    /// Takes an object that is [normalised](crate::normalise::normalise); removes a CA bundle that the API server would
    /// refuse (RT-SSA-003).
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
