//! What is remembered of objects, so that an unchanged one costs no request of its own.
//!
//! An object is as it should be without asking the server for more than its metadata when three things are as they were
//! when this was last established: what would be applied (by its digest), and what the server holds, known by its
//! resource version. A resource version moves with the status too; where it has, the generation, the labels and the
//! annotations together tell whether anything was touched that applying could change, for kinds whose objects have a
//! generation.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::cluster::Cluster;
use crate::discovery::Resource;
use crate::{Change, Metadata, Object, ObjectId};

/// What one applier remembers of its objects. It is lost with the process, and the next run looks at everything.
#[derive(Debug, Default)]
pub struct Memory {
    objects: HashMap<ObjectId, Remembered>,
}

#[derive(Clone, Debug)]
struct Remembered {
    payload: blake3::Hash,
    live: Live,
    /// As the server names it: the namespace of a cluster-scoped object is gone.
    change: Change,
}

/// The state of an object on the server, as far as its metadata tells.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Live {
    uid: String,
    resource_version: String,
    generation: Option<i64>,
    metadata: blake3::Hash,
}

impl Live {
    fn of(object: &Object) -> Self {
        let text = |key| {
            object
                .at(&["metadata", key])
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let parts =
            [Metadata::Labels, Metadata::Annotations].map(|part| settled(object.metadata(part)));
        Self {
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            generation: object
                .at(&["metadata", "generation"])
                .and_then(Value::as_i64),
            metadata: digest(&parts),
        }
    }

    /// Whether nothing that applying could change has changed since.
    fn is_untouched_since(&self, then: &Self) -> bool {
        self.uid == then.uid
            && (self.resource_version == then.resource_version
                || (self.generation.is_some()
                    && self.generation == then.generation
                    && self.metadata == then.metadata))
    }
}

/// The entries that only people and appliers write. The Deployment controller counts revisions in an annotation.
fn settled(held: Option<&Map<String, Value>>) -> Vec<(&String, &Value)> {
    let entries = held.into_iter().flatten();
    entries
        .filter(|(key, _)| !key.starts_with("deployment.kubernetes.io/"))
        .collect()
}

fn digest(value: &impl serde::Serialize) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    // Serialising JSON values into a hasher cannot fail; were it to, the digest would differ and the object be looked at.
    if serde_json::to_writer(&mut hasher, value).is_err() {
        hasher.update(b"\0");
    }
    hasher.finalize()
}

impl Memory {
    /// Forgets everything: the next run looks at every object.
    pub fn forget(&mut self) {
        self.objects.clear();
    }

    /// Forgets all objects but these.
    pub(crate) fn keep_only(&mut self, objects: &BTreeSet<ObjectId>) {
        self.objects.retain(|id, _| objects.contains(id));
    }

    /// Notes that an object is as it should be. `live` is what the server holds.
    pub(crate) fn note(&mut self, desired: &Object, live: &Object, change: &Change) {
        let remembered = Remembered {
            payload: digest(desired.fields()),
            live: Live::of(live),
            change: change.clone(),
        };
        self.objects.insert(desired.id(), remembered);
    }

    pub(crate) fn forget_one(&mut self, id: &ObjectId) {
        self.objects.remove(id);
    }

    /// The objects that are as they should be for certain, by one list request per kind (DESIGN, performance). An object that
    /// is not among them has to be looked at; where a list is refused, all of its kind have.
    pub(crate) async fn unchanged(
        &self,
        cluster: &Cluster,
        objects: &[Object],
        selector: &str,
    ) -> HashMap<ObjectId, Change> {
        let mut by_kind: BTreeMap<(String, String), Vec<ObjectId>> = BTreeMap::new();
        for object in objects {
            let id = object.id();
            let known = self
                .objects
                .get(&id)
                .is_some_and(|remembered| remembered.payload == digest(object.fields()));
            if known {
                by_kind
                    .entry((object.api_version().to_owned(), object.kind().to_owned()))
                    .or_default()
                    .push(id);
            }
        }
        let mut unchanged = HashMap::new();
        for ids in by_kind.values() {
            let Some(first) = ids.first() else { continue };
            let Some(version) = self
                .objects
                .get(first)
                .map(|remembered| remembered.change.version.clone())
            else {
                continue;
            };
            let Ok(resource) = cluster.resource_of(first, &version).await else {
                continue;
            };
            let live = self.list(cluster, &resource, ids, selector).await;
            for id in ids {
                let Some(remembered) = self.objects.get(id) else {
                    continue;
                };
                let found = live.get(&remembered.change.id);
                if found.is_some_and(|live| live.is_untouched_since(&remembered.live)) {
                    unchanged.insert(id.clone(), remembered.change.clone());
                }
            }
        }
        unchanged
    }

    async fn list(
        &self,
        cluster: &Cluster,
        resource: &Resource,
        ids: &[ObjectId],
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
            // Whoever may not look everywhere may still look where the objects are.
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
                tracing::debug!(%error, kind = resource.kind, "cannot list, looking at each object");
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
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Live;
    use crate::Object;

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
    fn an_object_is_untouched_when_its_version_or_all_of_its_marks_are_as_they_were() {
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
