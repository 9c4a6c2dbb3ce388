//! Room for the inventory, before anything is applied that it would have to hold.

use std::collections::HashSet;

use flux_api::kustomize::Kustomization;
use flux_api::meta::ResourceRef;
use flux_apply::{Cluster, Object};
use flux_runtime::run::StatusError;
use flux_runtime::{Failure, Pace, Run};

use super::plan::Timings;

/// From this size on an object may be more than the API server stores: etcd takes 1.5 MiB, unless it is told otherwise.
const LARGE: usize = 1 << 20;

/// The inventory does not fit.
#[derive(Debug, thiserror::Error)]
#[error(
    "nothing was applied, since the inventory of {entries} objects does not fit into the status of this Kustomization: split \
     it into several that apply fewer objects each"
)]
struct NoRoom {
    entries: usize,
    #[source]
    source: StatusError,
}

/// Writes what `objects` will add to the inventory ahead of applying them, where the Kustomization is so large that it
/// might be refused afterwards: what was applied and is in no inventory would never be pruned (KC-PRUNE-023).
pub(super) async fn reserve(
    run: &mut Run<Kustomization>,
    cluster: &Cluster,
    objects: &[Object],
    timings: &Timings,
) -> Result<(), Failure> {
    let held = run.status.inventory.iter().flat_map(|held| &held.entries);
    let known: HashSet<&str> = held.map(|entry| &*entry.id).collect();
    let new = objects.iter().map(|object| (object, object.id().clone()));
    let new: Vec<_> = new
        .filter(|(_, id)| !known.contains(&*id.inventory_id()))
        .collect();
    let added = new.iter().map(|(_, id)| id.inventory_id().len() + 24);
    if new.is_empty() || added.sum::<usize>() + size(run.object()) < LARGE {
        return Ok(());
    }
    let mut planned = run.status.inventory.clone().unwrap_or_default();
    for (object, mut id) in new {
        // A kind that comes with this very run is recorded when its objects are there.
        let Ok(kind) = cluster.resource_of(&id, object.version()).await else {
            continue;
        };
        if !kind.namespaced {
            id.namespace.clear();
        }
        planned.entries.push(ResourceRef {
            id: id.inventory_id(),
            version: object.version().to_owned(),
        });
    }
    let entries = planned.entries.len();
    let before = run.status.inventory.replace(planned);
    match run.patch().await {
        Err(source @ StatusError::TooLarge { .. }) => {
            run.status.inventory = before;
            let error = NoRoom { entries, source };
            let pace = Pace::Exactly(timings.retry);
            Err(Failure::retry("ReconciliationFailed", error, pace))
        }
        // Other trouble is the next write's too.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The bytes of the object as JSON.
fn size(object: &Kustomization) -> usize {
    serde_json::to_vec(object).map_or(0, |json| json.len())
}
