//! Remembers the applied state of objects, so that an unchanged one costs no request of its own.
//!
//! An object is known to be in sync from its metadata alone if both sides are unchanged since that was last
//! established: the desired object, by its digest, and the stored object, by its resource version. A resource version
//! changes with the status too; in that case the generation, the labels and the annotations together show whether
//! anything was changed that applying could affect, for kinds whose objects have a generation.
//!
//! Health depends on the object alone, so an object that was healthy at a resource version is healthy as long as it has
//! that one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use flux_cluster::{Cluster, Metadata, Object, ObjectId, Resource, Target, Version};
use serde_json::{Map, Value};

use crate::Change;

/// The remembered state of the objects of one owner. It is lost with the process; the next run then compares every
/// object.
#[derive(Debug, Default)]
pub struct Memory {
    objects: HashMap<ObjectId, Remembered>,
    /// The version at which the current run, or the last one, has seen each object.
    seen: HashMap<ObjectId, Version>,
    /// The version at which each object was found to be current.
    current: HashMap<ObjectId, Version>,
    /// Payloads that the server refused after the object was deleted for them: it is not deleted for the same payload
    /// again.
    refused: HashMap<ObjectId, blake3::Hash>,
}

#[derive(Clone, Debug)]
struct Remembered {
    payload: blake3::Hash,
    live: Live,
    /// The change with the server's id: a cluster-scoped object has no namespace.
    change: Change,
}

/// The state of an object on the server, as its metadata shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Live {
    version: Option<Version>,
    generation: Option<i64>,
    metadata: blake3::Hash,
}

impl Live {
    fn of(object: &Object) -> Self {
        let parts =
            [Metadata::Labels, Metadata::Annotations].map(|part| settled(object.metadata(part)));
        Self {
            version: Version::of(object.fields()),
            generation: object
                .at(&["metadata", "generation"])
                .and_then(Value::as_i64),
            metadata: digest(&parts),
        }
    }

    /// Whether nothing that applying could affect has changed since.
    fn is_untouched_since(&self, then: &Self) -> bool {
        let (Some(now), Some(version)) = (&self.version, &then.version) else {
            return false;
        };
        now.uid == version.uid
            && (now.resource_version == version.resource_version
                || (self.generation.is_some()
                    && self.generation == then.generation
                    && self.metadata == then.metadata))
    }
}

/// The entries that only users and appliers write. The Deployment controller counts revisions in an annotation.
fn settled(held: Option<&Map<String, Value>>) -> Vec<(&String, &Value)> {
    let entries = held.into_iter().flatten();
    entries
        .filter(|(key, _)| !key.starts_with("deployment.kubernetes.io/"))
        .collect()
}

fn digest(value: &impl serde::Serialize) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    // Writing JSON values into a hasher cannot fail. If it did, the digest would differ and the object be compared.
    if serde_json::to_writer(&mut hasher, value).is_err() {
        hasher.update(b"\0");
    }
    hasher.finalize()
}

impl Memory {
    /// The approximate size in bytes, for callers that account for what they keep.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // An id and a version are strings of some dozens of bytes each; a remembered object has both twice.
        const OBJECT: u64 = 768;
        const VERSION: u64 = 384;
        let versions = self.seen.len() + self.current.len() + self.refused.len();
        self.objects.len() as u64 * OBJECT + versions as u64 * VERSION
    }

    /// Forgets everything: the next run compares every object.
    pub fn forget(&mut self) {
        self.objects.clear();
        self.current.clear();
    }

    /// Begins a run on these objects: all others are forgotten.
    pub(crate) fn begin(&mut self, objects: &[Object]) {
        let ids: HashSet<&ObjectId> = objects.iter().map(Object::id).collect();
        self.objects.retain(|id, _| ids.contains(id));
        self.refused.retain(|id, _| ids.contains(id));
        self.seen.clear();
    }

    /// Records that recreating an object with this payload has failed.
    pub(crate) fn note_refused(&mut self, desired: &Object) {
        self.refused.insert(desired.id().clone(), desired.digest());
    }

    /// The objects whose payload is one with which recreating them has failed before.
    pub(crate) fn refused(&self, objects: &[Object]) -> BTreeSet<ObjectId> {
        let refused = objects
            .iter()
            .filter(|object| self.refused.get(object.id()) == Some(&object.digest()));
        refused.map(|object| object.id().clone()).collect()
    }

    /// Records the state in which the run has seen an object.
    pub(crate) fn note_seen(&mut self, id: &ObjectId, live: &Object) {
        if let Some(version) = Version::of(live.fields()) {
            self.seen.insert(id.clone(), version);
        }
    }

    /// The targets that are not known to be current: those that the run has not seen, or has seen in another state than
    /// that in which an earlier wait found them current.
    pub fn unsettled(&self, mut targets: Vec<Target>) -> Vec<Target> {
        targets.retain(|target| {
            let seen = self.seen.get(&target.id);
            seen.is_none() || seen != self.current.get(&target.id)
        });
        targets
    }

    /// Records the objects that a wait has found to be current.
    pub fn note_current(&mut self, found: Vec<(ObjectId, Version)>) {
        for (id, version) in found {
            if let Some(seen) = self.seen.get_mut(&id) {
                seen.clone_from(&version);
                self.current.insert(id, version);
            }
        }
        self.current.retain(|id, _| self.seen.contains_key(id));
    }

    /// Records that an object is in sync. `live` is the stored object.
    pub(crate) fn note(&mut self, desired: &Object, live: &Object, change: &Change) {
        let remembered = Remembered {
            payload: desired.digest(),
            live: Live::of(live),
            change: change.clone(),
        };
        self.objects.insert(desired.id().clone(), remembered);
    }

    pub(crate) fn forget_one(&mut self, id: &ObjectId) {
        self.objects.remove(id);
    }

    /// The objects that are known to be in sync, by one list request per kind. All others have to be compared; if a
    /// list request is refused, all objects of its kind.
    pub(crate) async fn unchanged(
        &mut self,
        cluster: &Cluster,
        objects: &[Object],
        selector: &str,
    ) -> HashMap<ObjectId, Change> {
        let mut by_kind: BTreeMap<(&str, &str), Vec<&ObjectId>> = BTreeMap::new();
        for desired in objects {
            let id = desired.id();
            let known = self
                .objects
                .get(id)
                .is_some_and(|remembered| remembered.payload == desired.digest());
            if known {
                by_kind
                    .entry((desired.api_version(), id.kind.as_str()))
                    .or_default()
                    .push(id);
            }
        }
        let mut unchanged = HashMap::new();
        for ids in by_kind.values() {
            let Some(first) = ids.first() else { continue };
            let Some(version) = self
                .objects
                .get(*first)
                .map(|remembered| remembered.change.version.clone())
            else {
                continue;
            };
            let Ok(resource) = cluster.resource_of(first, &version).await else {
                continue;
            };
            let live = list(cluster, &resource, ids, selector).await;
            for id in ids {
                let Some(remembered) = self.objects.get(*id) else {
                    continue;
                };
                let Some(live) = live.get(&remembered.change.id) else {
                    continue;
                };
                if live.is_untouched_since(&remembered.live) {
                    let seen = live.version.clone();
                    self.seen
                        .extend(seen.map(|version| (remembered.change.id.clone(), version)));
                    unchanged.insert((*id).clone(), remembered.change.clone());
                }
            }
        }
        unchanged
    }
}

/// The state of the objects of a kind, by the server's ids.
async fn list(
    cluster: &Cluster,
    resource: &Resource,
    ids: &[&ObjectId],
    selector: &str,
) -> HashMap<ObjectId, Live> {
    let namespaces: BTreeSet<&str> = ids.iter().map(|id| id.namespace.as_str()).collect();
    let mut answers = Vec::new();
    let only = namespaces
        .first()
        .copied()
        .filter(|_| namespaces.len() == 1 && resource.namespaced);
    match cluster.list_metadata(resource, only, selector).await {
        Ok(objects) => answers.push(objects),
        // An identity that may not list all namespaces may still be permitted to list those of the objects.
        Err(error) if error.is_forbidden() && resource.namespaced && only.is_none() => {
            for namespace in namespaces {
                answers.extend(
                    cluster
                        .list_metadata(resource, Some(namespace), selector)
                        .await,
                );
            }
        }
        Err(error) => {
            tracing::debug!(%error, kind = resource.kind, "cannot list objects, reading each of them");
        }
    }
    let id_of = |object: &Object| ObjectId {
        group: resource.group.clone(),
        kind: resource.kind.clone(),
        namespace: object.namespace().to_owned(),
        name: object.name().to_owned(),
    };
    answers
        .iter()
        .flatten()
        .map(|object| (id_of(object), Live::of(object)))
        .collect()
}

#[cfg(test)]
mod tests {
    use flux_cluster::Object;
    use serde_json::{Value, json};

    use super::Live;

    fn live(changes: &[(&str, Value)]) -> Live {
        let mut object = json!({ "metadata": {
            "uid": "u", "resourceVersion": "7", "generation": 2, "labels": { "a": "b" }, "annotations": { "c": "d" },
        }});
        for (pointer, value) in changes {
            *object.pointer_mut(pointer).unwrap() = value.clone();
        }
        Live::of(&Object::new(object).unwrap())
    }

    #[test]
    fn an_object_is_unchanged_if_its_version_or_its_generation_and_metadata_are() {
        let then = live(&[]);
        let newer = ("/metadata/resourceVersion", json!("8"));
        for (what, now, untouched) in [
            ("nothing moved", live(&[]), true),
            (
                "only the status moved",
                live(std::slice::from_ref(&newer)),
                true,
            ),
            (
                "a new generation",
                live(&[newer.clone(), ("/metadata/generation", json!(3))]),
                false,
            ),
            (
                "another label",
                live(&[newer.clone(), ("/metadata/labels/a", json!("x"))]),
                false,
            ),
            (
                "another annotation",
                live(&[newer.clone(), ("/metadata/annotations/c", json!("x"))]),
                false,
            ),
            (
                "made anew",
                live(&[newer.clone(), ("/metadata/uid", json!("v"))]),
                false,
            ),
            (
                "a kind without generations",
                live(&[newer, ("/metadata/generation", Value::Null)]),
                false,
            ),
        ] {
            assert_eq!(now.is_untouched_since(&then), untouched, "{what}");
        }
        let (mut then, mut now) = (then, live(&[("/metadata/resourceVersion", json!("8"))]));
        (then.generation, now.generation) = (None, None);
        assert!(
            !now.is_untouched_since(&then),
            "without generations only the resource version tells"
        );
    }
}
