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
use crate::log::{Lines, LogLevel};

/// The result of deleting objects.
#[derive(Default)]
pub(crate) struct Deleted<'o> {
    /// Objects whose deletion is delayed by finalizers or dependents.
    pub(crate) deleting: Vec<&'o Object>,
    /// The errors of the remaining objects.
    pub(crate) errors: Vec<StepError>,
}

/// The objects of a release by whose they are (HE-ACT-041).
#[derive(Default)]
pub(crate) struct Owned<'o> {
    /// Those of the release, each with its uid.
    pub(crate) own: Vec<(&'o Object, String)>,
    /// Those that are not the release's.
    pub(crate) foreign: Vec<&'o Object>,
    /// Those that could not be read, each with the reason.
    pub(crate) unknown: Vec<(&'o Object, RequestError)>,
}

/// Objects that are deleted without a check of their owner.
pub(crate) fn unchecked(objects: &[Object]) -> Vec<(&Object, String)> {
    let objects = objects.iter();
    objects.map(|object| (object, String::new())).collect()
}

/// Reads all objects, and finds out which of them are the release's. Objects that do not exist are left out.
///
/// # Errors
/// A kind is unknown.
pub(crate) async fn owned<'o>(
    cluster: &Cluster,
    kinds: &Kinds,
    objects: &'o [Object],
    owner: Owner<'_>,
) -> Result<Owned<'o>, StepError> {
    let mut owned = Owned::default();
    let mut reads = Vec::with_capacity(objects.len());
    for object in objects {
        let resource = kinds.resource(object)?;
        reads.push(async move {
            let id = id_of(object);
            (object, cluster.get_metadata(resource, &id).await)
        });
    }
    let mut reads = stream::iter(reads).buffered(PARALLEL);
    while let Some((object, read)) = reads.next().await {
        match read {
            Ok(live) if owner.check(object, &value_of(&live)).is_ok() => {
                owned.own.push((object, live.uid().to_owned()));
            }
            Ok(_) => owned.foreign.push(object),
            Err(error) if error.is_not_found() => {}
            Err(error) => owned.unknown.push((object, error)),
        }
    }
    drop(reads);
    Ok(owned)
}

/// Deletes objects, consecutive ones of one kind concurrently, the next kind after all of them (HE-ACT-034). An object
/// with a uid is deleted only if it still has the same one.
pub(crate) async fn delete_all<'o>(
    cluster: &Cluster,
    kinds: &Kinds,
    objects: &[(&'o Object, String)],
    policy: &PropagationPolicy,
    log: Lines<'_>,
) -> Deleted<'o> {
    let mut deleted = Deleted::default();
    if objects.is_empty() {
        deleted.errors.push(StepError::NothingToDelete);
    }
    for row in objects.chunk_by(|(left, _), (right, _)| left.kind == right.kind) {
        let deletions: Vec<_> = row
            .iter()
            .map(|(object, uid)| delete(cluster, kinds, object, uid, policy, log))
            .collect();
        let ends: Vec<_> = stream::iter(deletions).buffered(PARALLEL).collect().await;
        for ((object, _), end) in row.iter().zip(ends) {
            match end {
                Ok(true) => {}
                Ok(false) => deleted.deleting.push(object),
                Err(error) => deleted.errors.push(error),
            }
        }
    }
    deleted
}

/// Deletes an object. Returns whether it is gone.
async fn delete(
    cluster: &Cluster,
    kinds: &Kinds,
    object: &Object,
    uid: &str,
    policy: &PropagationPolicy,
    log: Lines<'_>,
) -> Result<bool, StepError> {
    let (resource, id) = (kinds.resource(object)?, id_of(object));
    log.about(LogLevel::Debug, "starting delete resource", object);
    let params = params(policy).preconditions(same_as(uid));
    let request = || cluster.delete_with(resource, &id, &params);
    ignore_not_found(retried(is_conflict, request).await)
}

/// Deletes one object in the background.
pub(crate) async fn delete_live(
    cluster: &Cluster,
    kinds: &Kinds,
    object: &Object,
    live: &flux_cluster::Object,
) -> Result<(), StepError> {
    let (resource, id) = (kinds.resource(object)?, id_of(object));
    let params = params(&PropagationPolicy::Background).preconditions(same_as(live.uid()));
    let request = || cluster.delete_with(resource, &id, &params);
    ignore_not_found(retried(is_conflict, request).await).map(drop)
}

/// Restricts a deletion to the object that was read, in case another one has replaced it since.
fn same_as(uid: &str) -> Preconditions {
    Preconditions {
        uid: Some(uid.to_owned()).filter(|uid| !uid.is_empty()),
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

/// Whether the object is gone; one that was not there counts as deleted (HE-KUBE-019).
fn ignore_not_found(done: Result<bool, RequestError>) -> Result<bool, StepError> {
    match done {
        Err(error) if error.is_not_found() => Ok(true),
        done => Ok(done?),
    }
}
