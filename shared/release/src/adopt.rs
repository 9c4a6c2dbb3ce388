//! Adoption: finds the objects of a release that already exist, and checks their ownership.

use flux_cluster::Cluster;
use flux_helm::action::{Object, Owner, unclaimed};
use futures::stream::{self, StreamExt as _};

use crate::PARALLEL;
use crate::convert::{id_of, value_of};
use crate::error::StepError;
use crate::kinds::Kinds;

/// The indexes in `target` of objects that exist although they are not in the base. Unless `owner` is `None`, they must
/// be owned by the release (HE-ACT-008, HE-ACT-009, HE-ACT-019).
pub(crate) async fn adopted(
    cluster: &Cluster,
    kinds: &Kinds,
    owner: Option<Owner<'_>>,
    base: &[Object],
    target: &[Object],
) -> Result<Vec<usize>, StepError> {
    let unclaimed = unclaimed(base, target)?;
    let looks: Vec<_> = unclaimed
        .into_iter()
        .map(|object| find(cluster, kinds, owner, object))
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

async fn find<'o>(
    cluster: &Cluster,
    kinds: &Kinds,
    owner: Option<Owner<'_>>,
    object: &'o Object,
) -> Result<Option<&'o Object>, StepError> {
    let resource = kinds.resource(object)?;
    let live = match cluster.get_metadata(resource, &id_of(object)).await {
        Ok(live) => live,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(source) => {
            let object = object.to_string();
            return Err(StepError::Get { object, source });
        }
    };
    if let Some(owner) = owner {
        owner.check(object, &value_of(&live))?;
    }
    Ok(Some(object))
}
