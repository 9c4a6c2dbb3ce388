//! Room for the inventory, before anything is applied that it would have to hold.

use std::collections::HashSet;

use flux_api::kustomize::Kustomization;
use flux_api::meta::ResourceRef;
use flux_apply::{Cluster, Desired};
use flux_runtime::Run;
use flux_runtime::run::StatusError;

/// From this size on an object may be more than the API server stores: etcd takes 1.5 MiB, unless it is told otherwise.
const LARGE: usize = 1 << 20;

/// The inventory does not fit.
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

/// Writes what `objects` will add to the inventory ahead of applying them, where the Kustomization is so large that it
/// might be refused afterwards: what was applied and is in no inventory would never be pruned (KC-PRUNE-023).
pub(super) async fn reserve(
    run: &mut Run<Kustomization>,
    cluster: &Cluster,
    objects: &[Desired],
) -> Result<(), NoRoom> {
    let held = run.status.inventory.iter().flat_map(|held| &held.entries);
    let known: HashSet<&str> = held.map(|entry| &*entry.id).collect();
    let new: Vec<(&Desired, String)> = objects
        .iter()
        .map(|desired| (desired, desired.id().inventory_id()))
        .filter(|(_, id)| !known.contains(&**id))
        .collect();
    let added = new.iter().map(|(_, id)| id.len() + 24);
    if new.is_empty() || added.sum::<usize>() + size(run.object()) < LARGE {
        return Ok(());
    }
    let mut planned = run.status.inventory.clone().unwrap_or_default();
    for (desired, _) in new {
        let (mut id, version) = (desired.id().clone(), desired.object().version());
        // A kind that comes with this very run is recorded when its objects are there.
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
        // Other trouble is the next write's too.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The bytes of the object as JSON.
fn size(object: &Kustomization) -> usize {
    serde_json::to_vec(object).map_or(0, |json| json.len())
}
