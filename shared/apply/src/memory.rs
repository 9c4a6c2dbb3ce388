//! Remembers the applied state of objects, so that an unchanged one costs no request of its own.
//!
//! An object is known to be in sync from its metadata alone if both sides are unchanged since that was last
//! established: the desired object, by its digest, and the stored object, by its resource version. A resource version
//! changes with the status too; in that case the generation, the labels and the annotations together show whether
//! anything was changed that applying could affect, for kinds whose objects have a generation.
//!
//! Where the caller [watches](Watched) the kind, the watch answers; otherwise one list request per kind does.
//!
//! Health depends on the object alone, so an object that was healthy at a resource version is healthy as long as it has
//! that one.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use flux_cluster::{
    Cluster, Live, Object, ObjectId, Resource, Target, Uid, Version, is_current_as_written,
};

use crate::{Action, Change};

/// Knows the states of objects without a request.
pub trait Watched: Debug + Send + Sync {
    /// The last known state of each of these objects, `None` for one that is not known; `None` for all if the kind is not
    /// watched, or the watch is not up to date.
    ///
    /// A state is reported a moment after it was stored, so only an object that is untouched is known to be; one that
    /// seems to have changed has to be read.
    fn states(&self, resource: &Resource, objects: &[Uid]) -> Option<Vec<Option<Live>>>;
}

/// The remembered state of the objects of one owner. It is lost with the process; the next run then compares every
/// object.
///
/// There is one for each owner, most of the time idle: what it holds is small, and the maps share their ids.
#[derive(Debug, Default)]
pub struct Memory {
    objects: HashMap<Arc<ObjectId>, Remembered>,
    /// The state in which the current run, or the last one, has seen each object.
    seen: HashMap<Arc<ObjectId>, Seen>,
    /// The version at which each object was found to be current.
    current: HashMap<Arc<ObjectId>, Version>,
    /// Payloads that the server refused after the object was deleted for them: it is not deleted for the same payload
    /// again.
    refused: HashMap<ObjectId, blake3::Hash>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    version: Version,
    /// Whether nothing has to be waited for, unless the owner has rules of its own.
    is_current: bool,
}

#[derive(Clone, Debug)]
struct Remembered {
    payload: blake3::Hash,
    live: Live,
    /// The server's id: a cluster-scoped object has no namespace.
    id: Arc<ObjectId>,
    /// The version of the kind.
    version: Box<str>,
    action: Action,
}

impl Seen {
    /// What the metadata of an object shows.
    fn of(live: &Live) -> Self {
        Self {
            version: live.stored(),
            is_current: false,
        }
    }
}

impl Remembered {
    fn change(&self) -> Change {
        Change {
            id: ObjectId::clone(&self.id),
            version: self.version.to_string(),
            action: self.action,
        }
    }
}

impl Memory {
    /// The approximate size in bytes, for callers that account for what they keep.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // An entry of a map that is half full, and an id with its strings of some dozens of bytes.
        const OBJECT: u64 = 288;
        const VERSION: u64 = 96;
        const ID: u64 = 288;
        let versions = self.seen.len() + self.current.len() + self.refused.len();
        let ids = self.objects.len().max(self.seen.len()) + self.refused.len();
        self.objects.len() as u64 * OBJECT + versions as u64 * VERSION + ids as u64 * ID
    }

    /// Forgets everything: the next run compares every object.
    pub fn forget(&mut self) {
        self.objects.clear();
        self.current.clear();
    }

    /// Begins a run on these objects: all others are forgotten.
    pub(crate) fn begin(&mut self, objects: &[Object]) {
        let ids: HashSet<&ObjectId> = objects.iter().map(Object::id).collect();
        self.objects.retain(|id, _| ids.contains(&**id));
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
            let is_current = is_current_as_written(live);
            let seen = Seen {
                version,
                is_current,
            };
            self.seen.insert(self.shared(id), seen);
        }
    }

    /// The id, as one of the maps holds it.
    fn shared(&self, id: &ObjectId) -> Arc<ObjectId> {
        let seen = self.seen.get_key_value(id).map(|(id, _)| id);
        let current = || self.current.get_key_value(id).map(|(id, _)| id);
        let objects = || self.objects.get_key_value(id).map(|(id, _)| id);
        let held = seen.or_else(current).or_else(objects);
        held.map_or_else(|| Arc::new(id.clone()), Arc::clone)
    }

    /// The targets that are not known to be current: those that the run has not seen, or has seen in another state than
    /// that in which an earlier wait found them current.
    pub fn not_known_current(&self, mut targets: Vec<Target>) -> Vec<Target> {
        targets.retain(|target| {
            let seen = self.seen.get(&target.id).map(|seen| seen.version);
            seen.is_none() || seen.as_ref() != self.current.get(&target.id)
        });
        targets
    }

    /// The targets of which the answers to reads and writes have not shown that they are current. Objects with rules of
    /// their own, by `has_rules`, are always among them.
    pub fn to_wait_for(
        &mut self,
        mut targets: Vec<Target>,
        has_rules: impl Fn(&ObjectId) -> bool,
    ) -> Vec<Target> {
        targets.retain(|target| {
            let seen = self.seen.get_key_value(&target.id);
            let current = seen.filter(|(id, seen)| seen.is_current && !has_rules(id));
            if let Some((id, seen)) = current {
                self.current.insert(id.clone(), seen.version);
            }
            current.is_none()
        });
        targets
    }

    /// Records the objects that a wait has found to be current.
    pub fn note_current(&mut self, found: Vec<(ObjectId, Version)>) {
        for (id, version) in found {
            let id = self.shared(&id);
            if let Some(seen) = self.seen.get_mut(&id) {
                seen.version = version;
                self.current.insert(id, version);
            }
        }
        self.current.retain(|id, _| self.seen.contains_key(id));
    }

    /// Records that an object is in sync. `live` is the stored object.
    pub(crate) fn note(&mut self, desired: &Object, live: &Object, change: &Change) {
        let Some(state) = Live::of(live) else {
            self.forget_one(desired.id());
            return;
        };
        let key = self.shared(desired.id());
        let id = if change.id == *key {
            key.clone()
        } else {
            self.shared(&change.id)
        };
        let remembered = Remembered {
            payload: desired.digest(),
            live: state,
            id,
            version: change.version.as_str().into(),
            action: change.action,
        };
        self.objects.insert(key, remembered);
    }

    pub(crate) fn forget_one(&mut self, id: &ObjectId) {
        self.objects.remove(id);
    }

    /// The object with this uid that was in sync, if this later state of it has drifted; `None` as a state: it is gone.
    pub fn drifted(&self, uid: Uid, now: Option<&Live>) -> Option<&ObjectId> {
        let mut objects = self.objects.values();
        let remembered = objects.find(|remembered| remembered.live.uid == uid)?;
        let is_known = now.is_some_and(|now| {
            now.is_untouched_since(&remembered.live) || now.is_older_than(&remembered.live)
        });
        (!is_known).then_some(&*remembered.id)
    }

    /// The objects that are known to be in sync: by what is `watched`, and by one list request for each kind of which not
    /// all are. All others have to be compared; if a list request is refused, all objects of its kind.
    pub(crate) async fn unchanged(
        &mut self,
        cluster: &Cluster,
        objects: &[Object],
        selector: &str,
        watched: Option<&dyn Watched>,
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
        for ids in by_kind.values_mut() {
            let Some(first) = ids.first() else { continue };
            let Some(version) = self
                .objects
                .get(*first)
                .map(|remembered| remembered.version.to_string())
            else {
                continue;
            };
            let Ok(resource) = cluster.resource_of(first, &version).await else {
                continue;
            };
            if let Some(watched) = watched {
                self.ask(watched, &resource, ids, &mut unchanged);
            }
            if ids.is_empty() {
                continue;
            }
            let listed = list(cluster, &resource, ids, selector).await;
            for id in ids {
                let Some(remembered) = self.objects.get(*id) else {
                    continue;
                };
                let Some(live) = listed.get(&*remembered.id) else {
                    continue;
                };
                if live.is_untouched_since(&remembered.live) {
                    self.seen.insert(remembered.id.clone(), Seen::of(live));
                    unchanged.insert((*id).clone(), remembered.change());
                }
            }
        }
        unchanged
    }

    /// Moves the objects of a kind that are untouched by what is watched from `ids` to `unchanged`.
    fn ask(
        &mut self,
        watched: &dyn Watched,
        resource: &Resource,
        ids: &mut Vec<&ObjectId>,
        unchanged: &mut HashMap<ObjectId, Change>,
    ) {
        let objects = &self.objects;
        let uid = |id: &&ObjectId| objects.get(*id).map(|remembered| remembered.live.uid);
        let uids: Vec<Uid> = ids.iter().filter_map(uid).collect();
        let Some(states) = watched.states(resource, &uids) else {
            return;
        };
        let states: HashMap<Uid, Live> = states
            .into_iter()
            .flatten()
            .map(|live| (live.uid, live))
            .collect();
        ids.retain(|id| {
            let Some(remembered) = objects.get(*id) else {
                return true;
            };
            let Some(live) = states.get(&remembered.live.uid) else {
                return true;
            };
            if !live.is_untouched_since(&remembered.live) {
                return true;
            }
            self.seen.insert(remembered.id.clone(), Seen::of(live));
            unchanged.insert((*id).clone(), remembered.change());
            false
        });
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
        .filter_map(|object| Some((id_of(object), Live::of(object)?)))
        .collect()
}
