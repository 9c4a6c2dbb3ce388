//! Which generator an object belongs to.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use flux_api::extensions::ArtifactGenerator;
use flux_cluster::{Cluster, RequestError, Resource};
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use kube::{Resource as _, ResourceExt as _};

/// The name of this controller as a field manager, and in `app.kubernetes.io/managed-by` (SW-ART-051, SW-ART-052).
pub(crate) const FIELD_MANAGER: &str = "source-watcher";
/// The label with the uid of an object's generator (SW-GEN-026).
pub(super) const GENERATOR_LABEL: &str = "source.extensions.fluxcd.io/generator";

/// The labels that no spec can change (SW-ART-052).
pub(super) fn owner_labels(uid: &str) -> [(String, String); 2] {
    [
        (
            "app.kubernetes.io/managed-by".to_owned(),
            FIELD_MANAGER.to_owned(),
        ),
        (GENERATOR_LABEL.to_owned(), uid.to_owned()),
    ]
}

/// Finds generators by their uids.
#[derive(Clone)]
pub(super) struct Owners {
    known: Cache<ArtifactGenerator>,
    cluster: Cluster,
}

impl Owners {
    pub(super) fn new(known: Cache<ArtifactGenerator>, cluster: Cluster) -> Self {
        Self { known, cluster }
    }

    /// The generator with this uid. The cache of this process may lack it: another shard may reconcile it.
    pub(super) async fn find(&self, uid: &str) -> Result<Option<Key>, RequestError> {
        let known = self.known.all();
        let known = known
            .iter()
            .find(|object| object.uid().as_deref() == Some(uid));
        if let Some(known) = known {
            return Ok(Some(Key::of(&**known)));
        }
        let resource = Resource {
            group: ArtifactGenerator::group(&()).into_owned(),
            version: ArtifactGenerator::version(&()).into_owned(),
            kind: ArtifactGenerator::kind(&()).into_owned(),
            plural: ArtifactGenerator::plural(&()).into_owned(),
            namespaced: true,
        };
        let all = self.cluster.list_metadata(&resource, None, "").await?;
        let found = all.iter().find(|object| object.uid() == uid);
        Ok(found.map(|object| Key::new(object.namespace(), object.name())))
    }
}

/// The outputs that runs are working on, each with the uid of its generator: two generators that claim one artifact must not
/// both find it free.
#[derive(Clone, Debug, Default)]
pub(super) struct Outputs(Arc<Mutex<HashMap<Key, (String, usize)>>>);

/// An output that a run works on.
#[derive(Debug)]
pub(super) struct Held {
    outputs: Outputs,
    key: Key,
}

impl Outputs {
    fn held(&self) -> MutexGuard<'_, HashMap<Key, (String, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an output for the generator `uid`.
    ///
    /// # Errors
    /// The uid of another generator that works on it.
    pub(super) fn take(&self, key: Key, uid: &str) -> Result<Held, String> {
        let mut held = self.held();
        let (owner, count) = held
            .entry(key.clone())
            .or_insert_with(|| (uid.to_owned(), 0));
        if owner != uid {
            return Err(owner.clone());
        }
        *count += 1;
        drop(held);
        Ok(Held {
            outputs: self.clone(),
            key,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.outputs.held();
        let last = held.get_mut(&self.key).is_some_and(|(_, count)| {
            *count -= 1;
            *count == 0
        });
        if last {
            held.remove(&self.key);
        }
    }
}

/// The uid of an object's generator; empty if it has none.
pub(super) fn generator_of(labels: Option<&BTreeMap<String, String>>) -> &str {
    labels
        .and_then(|labels| labels.get(GENERATOR_LABEL))
        .map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    // SW-ART-059
    #[test]
    fn an_output_is_held_by_one_generator_at_a_time() {
        let (outputs, key) = (Outputs::default(), Key::new("ns", "app"));
        let first = outputs.take(key.clone(), "a").unwrap();
        let again = outputs.take(key.clone(), "a").unwrap();
        assert_eq!(outputs.take(key.clone(), "b").unwrap_err(), "a");
        drop(first);
        assert!(outputs.take(key.clone(), "b").is_err());
        drop(again);
        assert!(outputs.take(key, "b").is_ok());
    }
}
