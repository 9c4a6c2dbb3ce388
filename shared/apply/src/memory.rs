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

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
/// There is one for each owner, most of the time idle, so what it holds is small: a list without spare room, whose ids are
/// those of the manifests.
#[derive(Debug, Default)]
pub struct Memory {
    /// The objects of the current run, or of the last one, by id.
    entries: Vec<Entry>,
    /// Payloads that the server refused after the object was deleted for them: it is not deleted for the same payload
    /// again.
    refused: BTreeMap<ObjectId, blake3::Hash>,
}

/// What is known of an object.
#[derive(Debug)]
struct Entry {
    /// Its id in the manifests.
    id: Arc<ObjectId>,
    /// Its id on the server, if that is another: a cluster-scoped object has no namespace.
    stored: Option<Box<ObjectId>>,
    /// How it was last established to be in sync.
    applied: Option<Applied>,
    /// The state in which the current run, or the last one, has seen it.
    seen: Option<Seen>,
    /// The version at which it was found to be current.
    current: Option<Version>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    version: Version,
    /// Whether nothing has to be waited for, unless the owner has rules of its own.
    is_current: bool,
}

#[derive(Clone, Copy, Debug)]
struct Applied {
    payload: blake3::Hash,
    live: Live,
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

impl Entry {
    fn of(object: &Object) -> Self {
        Self {
            id: object.shared_id().clone(),
            stored: None,
            applied: None,
            seen: None,
            current: None,
        }
    }

    /// The id on the server.
    fn stored_id(&self) -> &ObjectId {
        self.stored.as_deref().unwrap_or(&self.id)
    }
}

impl Memory {
    /// The approximate size in bytes, for callers that account for what they keep.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        // With an id and its strings of some dozens of bytes.
        const OBJECT: u64 = 184 + 288;
        const REFUSED: u64 = 96 + 288;
        self.entries.len() as u64 * OBJECT + self.refused.len() as u64 * REFUSED
    }

    /// Forgets everything: the next run compares every object.
    pub fn forget(&mut self) {
        for entry in &mut self.entries {
            (entry.applied, entry.current) = (None, None);
        }
    }

    /// Begins a run on these objects: all others are forgotten.
    pub(crate) fn begin(&mut self, objects: &[Object]) {
        let mut entries: Vec<Entry> = Vec::with_capacity(objects.len());
        entries.extend(objects.iter().map(Entry::of));
        entries.sort_by(|left, right| left.id.cmp(&right.id));
        entries.dedup_by(|left, right| left.id == right.id);
        for entry in &mut entries {
            if let Some(known) = self
                .position(&entry.id)
                .and_then(|at| self.entries.get_mut(at))
            {
                entry.stored = known.stored.take();
                (entry.applied, entry.current) = (known.applied, known.current);
            }
        }
        self.entries = entries;
        let entries = &self.entries;
        let is_among = |id: &ObjectId| {
            entries
                .binary_search_by(|entry| (*entry.id).cmp(id))
                .is_ok()
        };
        self.refused.retain(|id, _| is_among(id));
    }

    /// The place of an object, by its id in the manifests.
    fn position(&self, id: &ObjectId) -> Option<usize> {
        let found = self.entries.binary_search_by(|entry| (*entry.id).cmp(id));
        found.ok()
    }

    /// An object, by its id in the manifests.
    fn entry(&self, id: &ObjectId) -> Option<&Entry> {
        self.entries.get(self.position(id)?)
    }

    fn entry_mut(&mut self, id: &ObjectId) -> Option<&mut Entry> {
        let position = self.position(id)?;
        self.entries.get_mut(position)
    }

    /// The place of an object, by its id on the server.
    fn stored_position(&self, id: &ObjectId) -> Option<usize> {
        let is_it = |at: &usize| {
            self.entries
                .get(*at)
                .is_some_and(|entry| entry.stored_id() == id)
        };
        let has_id = |entry: &Entry| entry.stored.as_deref() == Some(id);
        let by_manifest = self.position(id).filter(is_it);
        by_manifest.or_else(|| self.entries.iter().position(has_id))
    }

    /// An object, by its id on the server.
    fn stored(&self, id: &ObjectId) -> Option<&Entry> {
        self.entries.get(self.stored_position(id)?)
    }

    fn stored_mut(&mut self, id: &ObjectId) -> Option<&mut Entry> {
        let position = self.stored_position(id)?;
        self.entries.get_mut(position)
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

    /// Records the state in which the run has seen an object, which has the id `stored` on the server.
    pub(crate) fn note_seen(&mut self, desired: &ObjectId, stored: &ObjectId, live: &Object) {
        let Some(version) = Version::of(live.fields()) else {
            return;
        };
        if let Some(entry) = self.entry_mut(desired) {
            let is_other = *entry.id != *stored;
            entry.stored = is_other.then(|| Box::new(stored.clone()));
            entry.seen = Some(Seen {
                version,
                is_current: is_current_as_written(live),
            });
        }
    }

    /// The targets that are not known to be current: those that the run has not seen, or has seen in another state than
    /// that in which an earlier wait found them current.
    pub fn not_known_current(&self, mut targets: Vec<Target>) -> Vec<Target> {
        targets.retain(|target| {
            let entry = self.stored(&target.id);
            let is_known = |entry: &Entry| {
                let seen = entry.seen.map(|seen| seen.version);
                seen.is_some() && seen == entry.current
            };
            !entry.is_some_and(is_known)
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
            let Some(entry) = self.stored_mut(&target.id) else {
                return true;
            };
            let seen = entry
                .seen
                .filter(|seen| seen.is_current && !has_rules(&target.id));
            if let Some(seen) = seen {
                entry.current = Some(seen.version);
            }
            seen.is_none()
        });
        targets
    }

    /// Records the objects that a wait has found to be current.
    pub fn note_current(&mut self, found: Vec<(ObjectId, Version)>) {
        for (id, version) in found {
            if let Some(entry) = self.stored_mut(&id)
                && let Some(seen) = &mut entry.seen
            {
                seen.version = version;
                entry.current = Some(version);
            }
        }
        for entry in &mut self.entries {
            if entry.seen.is_none() {
                entry.current = None;
            }
        }
    }

    /// Records that an object is in sync. `live` is the stored object.
    pub(crate) fn note(&mut self, desired: &Object, live: &Object, action: Action) {
        let applied = Live::of(live).map(|live| Applied {
            payload: desired.digest(),
            live,
            action,
        });
        if let Some(entry) = self.entry_mut(desired.id()) {
            entry.applied = applied;
        }
    }

    /// Forgets that an object is in sync, by its id in the manifests or on the server.
    pub(crate) fn forget_one(&mut self, id: &ObjectId) {
        let position = self.position(id).or_else(|| self.stored_position(id));
        if let Some(entry) = position.and_then(|at| self.entries.get_mut(at)) {
            entry.applied = None;
        }
    }

    /// The object with this uid that was in sync, if this later state of it has drifted; `None` as a state: it is gone.
    pub fn drifted(&self, uid: Uid, now: Option<&Live>) -> Option<&ObjectId> {
        let mut entries = self.entries.iter();
        let (entry, then) = entries.find_map(|entry| {
            let applied = entry.applied.as_ref()?;
            (applied.live.uid == uid).then_some((entry, &applied.live))
        })?;
        let is_known =
            now.is_some_and(|now| now.is_untouched_since(then) || now.is_older_than(then));
        (!is_known).then(|| entry.stored_id())
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
        let mut by_kind: BTreeMap<(&str, &str), Vec<&Object>> = BTreeMap::new();
        for desired in objects {
            let applied = self.entry(desired.id()).and_then(|entry| entry.applied);
            if applied.is_some_and(|applied| applied.payload == desired.digest()) {
                let kind = (desired.api_version(), desired.kind());
                by_kind.entry(kind).or_default().push(desired);
            }
        }
        let mut unchanged = HashMap::new();
        for objects in by_kind.values_mut() {
            let Some(first) = objects.first() else {
                continue;
            };
            let resource = cluster.resource_of(first.id(), first.version()).await;
            let Ok(resource) = resource else { continue };
            if let Some(watched) = watched {
                self.ask(watched, &resource, objects, &mut unchanged);
            }
            if objects.is_empty() {
                continue;
            }
            let ids: Vec<&ObjectId> = objects.iter().map(|object| object.id()).collect();
            let listed = list(cluster, &resource, &ids, selector).await;
            for desired in objects {
                let stored = self.entry(desired.id()).map(Entry::stored_id);
                if let Some(live) = stored.and_then(|id| listed.get(id)) {
                    unchanged.extend(self.if_untouched(desired, live));
                }
            }
        }
        unchanged
    }

    /// Moves the objects of a kind that are untouched by what is watched from `objects` to `unchanged`.
    fn ask(
        &mut self,
        watched: &dyn Watched,
        resource: &Resource,
        objects: &mut Vec<&Object>,
        unchanged: &mut HashMap<ObjectId, Change>,
    ) {
        let uid = |object: &&Object| Some(self.entry(object.id())?.applied?.live.uid);
        let uids: Vec<Uid> = objects.iter().filter_map(uid).collect();
        let Some(states) = watched.states(resource, &uids) else {
            return;
        };
        let states: HashMap<Uid, Live> = states
            .into_iter()
            .flatten()
            .map(|live| (live.uid, live))
            .collect();
        objects.retain(|desired| {
            let entry = self.entry(desired.id());
            let applied = entry.and_then(|entry| entry.applied);
            let live = applied.and_then(|applied| states.get(&applied.live.uid));
            let found = live.and_then(|live| self.if_untouched(desired, live));
            let is_open = found.is_none();
            unchanged.extend(found);
            is_open
        });
    }

    /// The object as unchanged, if this state of it is untouched since it was in sync.
    fn if_untouched(&mut self, desired: &Object, live: &Live) -> Option<(ObjectId, Change)> {
        let entry = self.entry_mut(desired.id())?;
        let applied = entry.applied?;
        if !live.is_untouched_since(&applied.live) {
            return None;
        }
        entry.seen = Some(Seen::of(live));
        let change = Change {
            id: entry.stored_id().clone(),
            version: desired.version().to_owned(),
            action: applied.action,
        };
        Some((desired.id().clone(), change))
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
