//! Which objects a release creates, changes and prunes.

use super::{Identity, Object, ObjectError};

/// What a new manifest means beside the old one.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan<'a> {
    /// What happens to the new manifest's objects, in their order (HE-KUBE-007).
    pub updates: Vec<Update<'a>>,
    /// The old manifest's objects that the new one has no more (HE-KUBE-016). They go after all updates went well
    /// (HE-KUBE-018), unless they are gone or [`super::ResourcePolicy::keeps`] them (HE-KUBE-017).
    pub prune: Vec<&'a Object>,
}

/// One object of the new manifest: created where it does not live, else changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update<'a> {
    /// The object.
    pub target: &'a Object,
    /// What a client-side patch starts from; `None` for the object as it lives (HE-KUBE-008).
    pub original: Option<&'a Object>,
}

/// Compares two manifests. `adopted` are the new one's objects that live already although the old manifest has not got
/// them; a client-side patch of these starts from themselves, so that nothing is removed from them.
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

/// The objects of the new manifest that the old one has not got, or not in that version, and that have a name: whoever lives
/// there must be the release's (HE-ACT-008, HE-ACT-019). A first installation has no old ones.
///
/// # Errors
/// An object has a name and a beginning for one (HE-KUBE-003).
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
