//! Deletes objects.

use flux_cluster::{Cluster, RequestError};
use flux_helm::action::{Object, Owner};
use futures::stream::{self, StreamExt as _};
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};

use crate::PARALLEL;
use crate::convert::{id_of, value_of};
use crate::create::retried;
use crate::error::StepError;
use crate::kinds::Kinds;

/// The result of deleting objects.
#[derive(Default)]
pub(crate) struct Deleted<'o> {
    /// Objects whose deletion is delayed by finalizers or dependents.
    pub(crate) deleting: Vec<&'o Object>,
    /// Objects that the release does not own.
    pub(crate) foreign: Vec<&'o Object>,
    /// The errors of the remaining objects.
    pub(crate) errors: Vec<StepError>,
}

enum End {
    Gone,
    Deleting,
    Foreign,
}

/// Deletes objects, consecutive ones of one kind concurrently, the next kind after all of them (HE-ACT-034). With an
/// owner, only objects that it owns are deleted (HE-ACT-038).
pub(crate) async fn delete_all<'o>(
    cluster: &Cluster,
    kinds: &Kinds,
    objects: &'o [Object],
    owner: Option<Owner<'_>>,
    policy: &PropagationPolicy,
) -> Deleted<'o> {
    let mut deleted = Deleted::default();
    if objects.is_empty() {
        deleted.errors.push(StepError::NothingToDelete);
    }
    for row in objects.chunk_by(|left, right| left.kind == right.kind) {
        let deletions: Vec<_> = row
            .iter()
            .map(|object| delete(cluster, kinds, object, owner, policy))
            .collect();
        let ends: Vec<_> = stream::iter(deletions).buffered(PARALLEL).collect().await;
        for (object, end) in row.iter().zip(ends) {
            match end {
                Ok(End::Gone) => {}
                Ok(End::Deleting) => deleted.deleting.push(object),
                Ok(End::Foreign) => deleted.foreign.push(object),
                Err(error) => deleted.errors.push(error),
            }
        }
    }
    deleted
}

async fn delete(
    cluster: &Cluster,
    kinds: &Kinds,
    object: &Object,
    owner: Option<Owner<'_>>,
    policy: &PropagationPolicy,
) -> Result<End, StepError> {
    let (resource, id) = (kinds.resource(object)?, id_of(object));
    let mut params = params(policy);
    if let Some(owner) = owner {
        let live = match cluster.get_metadata(resource, &id).await {
            Ok(live) => live,
            Err(error) if error.is_not_found() => return Ok(End::Gone),
            Err(source) => {
                let object = object.to_string();
                return Err(StepError::Get { object, source });
            }
        };
        if let Err(error) = owner.check(object, &value_of(&live)) {
            let findings = error.findings.join("; ");
            tracing::warn!(%object, findings, "skipping delete of resource not owned by this release");
            return Ok(End::Foreign);
        }
        params = params.preconditions(same_as(&live));
    }
    let request = || cluster.delete_with(resource, &id, &params);
    settle(retried(is_conflict, request).await)
}

/// Deletes one object in the background.
pub(crate) async fn delete_live(
    cluster: &Cluster,
    kinds: &Kinds,
    object: &Object,
    live: &flux_cluster::Object,
) -> Result<(), StepError> {
    let (resource, id) = (kinds.resource(object)?, id_of(object));
    let params = params(&PropagationPolicy::Background).preconditions(same_as(live));
    let request = || cluster.delete_with(resource, &id, &params);
    settle(retried(is_conflict, request).await).map(drop)
}

/// Restricts a deletion to the object that was read, in case another one has replaced it since.
fn same_as(live: &flux_cluster::Object) -> Preconditions {
    Preconditions {
        uid: Some(live.uid().to_owned()).filter(|uid| !uid.is_empty()),
        resource_version: None,
    }
}

fn params(policy: &PropagationPolicy) -> DeleteParams {
    DeleteParams {
        propagation_policy: Some(policy.clone()),
        ..DeleteParams::default()
    }
}

/// HE-KUBE-019
fn is_conflict(error: &RequestError) -> bool {
    error.reason == "Conflict"
}

/// An object that is gone counts as deleted (HE-KUBE-019).
fn settle(done: Result<bool, RequestError>) -> Result<End, StepError> {
    match done {
        Ok(false) => Ok(End::Deleting),
        Err(error) if !error.is_not_found() => Err(error.into()),
        _ => Ok(End::Gone),
    }
}
