//! Objects are deleted.

use flux_apply::{Cluster, RequestError};
use flux_helm::action::{Object, Owner};
use futures::stream::{self, StreamExt as _};
use kube::api::{DeleteParams, Preconditions, PropagationPolicy};

use crate::PARALLEL;
use crate::build::Kinds;
use crate::create::retried;
use crate::live::{id_of, value_of};

/// What came of deleting objects.
#[derive(Default)]
pub(crate) struct Deleted<'o> {
    /// Those that are deleted but not gone yet.
    pub(crate) going: Vec<&'o Object>,
    /// Those that are not the release's.
    pub(crate) foreign: Vec<&'o Object>,
    /// Why others are not.
    pub(crate) errors: Vec<String>,
}

enum End {
    Gone,
    Going,
    Foreign,
}

/// Deletes objects, those of one kind in a row at once, the next kind after all of them (HE-ACT-034). With an owner only what
/// is its own is deleted (HE-ACT-038).
pub(crate) async fn delete_all<'o>(
    cluster: &Cluster,
    kinds: &Kinds,
    objects: &'o [Object],
    owner: Option<Owner<'_>>,
    policy: &PropagationPolicy,
) -> Deleted<'o> {
    let mut deleted = Deleted::default();
    if objects.is_empty() {
        let error = "object not found, skipping delete: no objects visited";
        deleted.errors.push(error.to_owned());
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
                Ok(End::Going) => deleted.going.push(object),
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
) -> Result<End, String> {
    let (resource, id) = (kinds.resource(object)?, id_of(object));
    let mut params = params(policy);
    if let Some(owner) = owner {
        let live = match cluster.get_metadata(resource, &id).await {
            Ok(live) => live,
            Err(error) if error.is_not_found() => return Ok(End::Gone),
            Err(error) => {
                return Err(format!(
                    "could not get information about the resource {object}: {error}"
                ));
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
    live: &flux_apply::Object,
) -> Result<(), String> {
    let (resource, id) = (kinds.resource(object)?, id_of(object));
    let params = params(&PropagationPolicy::Background).preconditions(same_as(live));
    let request = || cluster.delete_with(resource, &id, &params);
    settle(retried(is_conflict, request).await).map(drop)
}

/// The object that was looked at, not one that has come in its place since.
fn same_as(live: &flux_apply::Object) -> Preconditions {
    let uid = live.at(&["metadata", "uid"]).and_then(|uid| uid.as_str());
    Preconditions {
        uid: uid.map(ToOwned::to_owned),
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

/// What is gone is deleted (HE-KUBE-019).
fn settle(done: Result<bool, RequestError>) -> Result<End, String> {
    match done {
        Ok(false) => Ok(End::Going),
        Err(error) if !error.is_not_found() => Err(error.to_string()),
        _ => Ok(End::Gone),
    }
}
