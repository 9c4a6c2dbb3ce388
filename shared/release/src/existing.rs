//! Which of the release's objects live already, and whose they are.

use flux_apply::Cluster;
use flux_helm::action::{Object, Owner, unclaimed};
use futures::stream::{self, StreamExt as _};

use crate::PARALLEL;
use crate::build::Kinds;
use crate::live::{id_of, value_of};

/// The places in `target` of objects that live although they are not the base's. Unless all are taken over, they have to
/// be the release's (HE-ACT-008, HE-ACT-009, HE-ACT-019).
pub(crate) async fn adopted(
    cluster: &Cluster,
    kinds: &Kinds,
    owner: Option<Owner<'_>>,
    base: &[Object],
    target: &[Object],
) -> Result<Vec<usize>, String> {
    let unclaimed = unclaimed(base, target).map_err(|error| error.to_string())?;
    let looks: Vec<_> = unclaimed
        .into_iter()
        .map(|object| lives(cluster, kinds, owner, object))
        .collect();
    let mut found = stream::iter(looks).buffered(PARALLEL);
    let mut adopted = Vec::new();
    while let Some(object) = found.next().await {
        if let Some(object) = object? {
            let place = target.iter().position(|each| std::ptr::eq(each, object));
            adopted.extend(place);
        }
    }
    Ok(adopted)
}

async fn lives<'o>(
    cluster: &Cluster,
    kinds: &Kinds,
    owner: Option<Owner<'_>>,
    object: &'o Object,
) -> Result<Option<&'o Object>, String> {
    let resource = kinds.resource(object)?;
    let live = match cluster.get_metadata(resource, &id_of(object)).await {
        Ok(live) => live,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => {
            return Err(format!(
                "could not get information about the resource {object}: {error}"
            ));
        }
    };
    if let Some(owner) = owner {
        let checked = owner.check(object, &value_of(&live));
        checked.map_err(|error| error.to_string())?;
    }
    Ok(Some(object))
}
