//! Computes which objects a release creates, updates and prunes.

use super::{Identity, Object, ObjectError};

/// The difference between the old manifest and the new one.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<'a> {
    /// The new manifest's objects, in order (HE-KUBE-007).
    pub updates: Vec<Update<'a>>,
    /// The old manifest's objects that are not in the new one (HE-KUBE-016). They are deleted after all updates succeeded
    /// (HE-KUBE-018), unless they do not exist or [`super::ResourcePolicy::keeps`] them (HE-KUBE-017).
    pub prune: Vec<&'a Object>,
}

/// One object of the new manifest: created if it does not exist, else updated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update<'a> {
    /// The object.
    pub target: &'a Object,
    /// The original object of a client-side patch; `None` for the live object (HE-KUBE-008).
    pub original: Option<&'a Object>,
}

/// Compares two manifests. `adopted` are the new manifest's objects that exist already although they are not in the old
/// manifest; a client-side patch uses the target itself as their original, so that it removes nothing from them.
pub fn plan<'a>(base: &'a [Object], target: &'a [Object], adopted: &[Identity<'_>]) -> Plan<'a> {
    let updates = target.iter().map(|target| {
        let identity = target.identity();
        let original = base
            .iter()
            .find(|object| object.identity() == identity)
            .or_else(|| adopted.contains(&identity).then_some(target));
        Update { target, original }
    });
    let prune = base.iter().filter(|object| {
        let identity = object.identity();
        !target.iter().any(|target| target.identity() == identity)
    });
    Plan {
        updates: updates.collect(),
        prune: prune.collect(),
    }
}

/// The named objects of the new manifest that are not in the old one, or not in that version: a live object in their place
/// must belong to the release (HE-ACT-008, HE-ACT-019). For a first installation `base` is empty.
///
/// # Errors
/// An object has both `name` and `generateName` (HE-KUBE-003).
pub fn unclaimed<'a>(
    base: &[Object],
    target: &'a [Object],
) -> Result<Vec<&'a Object>, ObjectError> {
    let mut found = Vec::new();
    for object in target {
        let known = base.iter().any(|old| {
            old.api_version == object.api_version && old.identity() == object.identity()
        });
        if !known && !object.is_generated()? {
            found.push(object);
        }
    }
    Ok(found)
}
