//! Changes that enqueue the objects they concern, for [`Controller::watching`] and [`Cache::subscribe`].
//!
//! [`Controller::watching`]: flux_runtime::controller::Controller::watching

use std::sync::Arc;

use flux_api::meta::FluxStatus;
use flux_runtime::controller::Enqueue;
use flux_runtime::queue::Key;
use flux_runtime::watch::{Cache, Change, Watched};
use flux_selector::Selector;
use kube::Resource;
use kube::core::object::HasStatus;

use crate::{Index, ObjectRef, Source, Waiting, is_ready};

/// Enqueues the objects that refer to a source when it has a new revision (KC-SRC-017, KC-SRC-018, KC-SRC-021).
/// `choose` gets these objects, sorted, with the revision; it returns those to enqueue, in this order.
pub fn on_new_revision<S: Source>(
    index: Index,
    choose: impl Fn(Vec<Key>, &str) -> Vec<Key> + Send + Sync + 'static,
) -> impl Fn(&Change<S>, &Enqueue) + Send + Sync + 'static {
    move |change, enqueue| {
        let Some(revision) = new_revision(change) else {
            return;
        };
        let source = change.object();
        let referrers = index.referrers(&ObjectRef::of(&**source));
        for key in choose(referrers, revision) {
            enqueue.add(key, &**source);
        }
    }
}

/// The new revision of a change: that of a new or updated artifact, or of a deleted source, so that objects that have not
/// attempted it report that at once. Sources of the first list have none, since the initial reconcile of every object sees
/// them.
fn new_revision<S: Source>(change: &Change<S>) -> Option<&str> {
    let revision = |source: &Arc<S>| source.artifact().map(|artifact| artifact.revision.clone());
    let changed = match change {
        Change::Added { initial, .. } => !initial,
        Change::Updated { old, new } => revision(old) != revision(new),
        Change::Deleted { .. } => true,
    };
    let artifact = change.object().artifact()?;
    changed.then_some(artifact.revision.as_str())
}

/// Enqueues the objects that wait for a dependency as soon as it is ready, or ready at another revision; in upstream they
/// notice when their `--requeue-dependency` has passed (KC-DEP-012, HC-DEP-010). `revision` is what an object has applied.
pub fn on_ready<K>(
    change: &Change<K>,
    revision: impl Fn(&K) -> Option<&str>,
    waiting: &Waiting,
    enqueue: &Enqueue,
) where
    K: Resource<DynamicType = ()> + HasStatus<Status: FluxStatus>,
{
    if let Some(new) = became_ready(change, revision) {
        for dependant in waiting.dependants(&Key::of(&**new)) {
            enqueue.add(dependant, &**new);
        }
    }
}

/// The object, if a change made it ready or brought a ready one to another revision.
fn became_ready<K>(change: &Change<K>, revision: impl Fn(&K) -> Option<&str>) -> Option<&Arc<K>>
where
    K: Resource + HasStatus<Status: FluxStatus>,
{
    let (old, new) = match change {
        Change::Added { new, .. } => (None, new),
        Change::Updated { old, new } => (Some(old), new),
        Change::Deleted { .. } => return None,
    };
    let was_so = old.is_some_and(|old| is_ready(&**old) && revision(old) == revision(new));
    (is_ready(&**new) && !was_so).then_some(new)
}

/// Enqueues the objects in `referrers` that refer to a ConfigMap or Secret when it changes, each as its own trigger
/// (KC-DEP-015).
pub fn on_config<C, K>(
    index: Index,
    referrers: Cache<K>,
) -> impl Fn(&Change<C>, &Enqueue) + Send + Sync + 'static
where
    C: Resource<DynamicType = ()>,
    K: Watched + Resource<DynamicType = ()>,
{
    move |change, enqueue| {
        if matches!(change, Change::Added { initial: true, .. }) {
            return; // every object is reconciled at the start anyhow
        }
        for key in index.referrers(&ObjectRef::of(&**change.object())) {
            if let Some(object) = referrers.get(&key) {
                enqueue.add(key, &*object);
            }
        }
    }
}

/// Passes on only the changes of objects that have or had the label to be watched; none without a selector (KC-PROC-025,
/// KC-PROC-037).
pub fn only_marked<C, E>(
    selector: Option<Arc<Selector>>,
    on_change: impl Fn(&Change<C>, &E) + Send + Sync + 'static,
) -> impl Fn(&Change<C>, &E) + Send + Sync + 'static
where
    C: Resource,
{
    move |change, enqueue| {
        let Some(selector) = &selector else { return };
        let is_marked = |object: &C| {
            let labels = object.meta().labels.as_ref();
            selector.matches(|key| labels?.get(key).map(String::as_str))
        };
        let was_marked = match change {
            Change::Updated { old, .. } => is_marked(old),
            _ => false,
        };
        if was_marked || is_marked(change.object()) {
            on_change(change, enqueue);
        }
    }
}

#[cfg(test)]
mod tests;
