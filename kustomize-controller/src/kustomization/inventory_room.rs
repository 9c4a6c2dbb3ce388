//! Checks that the inventory has room for the new objects before they are applied.

use std::collections::HashSet;

use flux_api::kustomize::Kustomization;
use flux_api::meta::ResourceRef;
use flux_cluster::{Cluster, Object, ObjectId};
use flux_runtime::Run;
use flux_runtime::run::StatusError;

/// Size in bytes from which an object may exceed the limit of the API server: etcd takes 1.5 MiB by default.
const LARGE: usize = 1 << 20;

/// The inventory is too large for the status.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing was applied, since the inventory of {entries} objects does not fit into the status of this Kustomization: split \
     it into several that apply fewer objects each"
)]
pub(super) struct NoRoom {
    pub(super) entries: usize,
    #[source]
    pub(super) source: StatusError,
}

/// Writes the inventory with the new ones of `objects` before they are applied, if the Kustomization is so large that the
/// API server might refuse it afterwards: objects that are applied but in no inventory are never pruned (KC-PRUNE-023).
/// Returns the new objects: those that the inventory lacks.
pub(super) async fn reserve(
    run: &mut Run<Kustomization>,
    cluster: &Cluster,
    objects: &[Object],
) -> Result<HashSet<ObjectId>, NoRoom> {
    let held = run.status.inventory.iter().flat_map(|held| &held.entries);
    let known: HashSet<&str> = held.map(|entry| &*entry.id).collect();
    let new: Vec<(&Object, String)> = objects
        .iter()
        .map(|object| (object, object.id().inventory_id()))
        .filter(|(_, id)| !known.contains(&**id))
        .collect();
    let ids = new.iter().map(|(object, _)| object.id().clone()).collect();
    let added = new.iter().map(|(_, id)| id.len() + 24);
    if new.is_empty() || added.sum::<usize>() + size(run.object()) < LARGE {
        return Ok(ids);
    }
    let mut planned = run.status.inventory.clone().unwrap_or_default();
    for (object, _) in new {
        let (mut id, version) = (object.id().clone(), object.version());
        // A kind that this very run creates is recorded once its objects exist.
        let Ok(kind) = cluster.resource_of(&id, version).await else {
            continue;
        };
        if !kind.namespaced {
            id.namespace.clear();
        }
        planned.entries.push(ResourceRef {
            id: id.inventory_id(),
            version: version.to_owned(),
        });
    }
    let entries = planned.entries.len();
    let before = run.status.inventory.replace(planned);
    match run.patch().await {
        Err(source @ StatusError::TooLarge { .. }) => {
            run.status.inventory = before;
            Err(NoRoom { entries, source })
        }
        // The next write reports any other error.
        Ok(()) | Err(_) => Ok(ids),
    }
}

/// Bytes of the object as JSON.
fn size(object: &Kustomization) -> usize {
    serde_json::to_vec(object).map_or(0, |json| json.len())
}
