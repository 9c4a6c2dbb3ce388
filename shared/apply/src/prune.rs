//! Prunes: deletes objects that are no longer in the inventory.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use flux_cluster::{Cluster, Confidential, Metadata, ObjectId, RequestError, wait_until_gone};

use crate::inventory::Tracked;
use crate::order::apply_order;
use crate::{Action, Change, ChangeSet};

/// Which objects may be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Labels that an object must have, as proof of ownership.
    pub owned_by: Vec<(String, String)>,
    /// Objects with one of these labels or annotations are kept.
    pub exclusions: Vec<(String, String)>,
}

/// Objects that could not be deleted.
#[derive(Debug)]
pub struct PruneError(Vec<(ObjectId, PruneStep, RequestError)>);

#[derive(Clone, Copy, Debug)]
enum PruneStep {
    Query,
    Delete,
}

/// Formats as upstream joins them, each followed by a semicolon (KC-PRUNE-008).
impl Display for PruneError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("delete failed, errors: ")?;
        for (id, step, error) in &self.0 {
            let step = match step {
                PruneStep::Query => "query",
                PruneStep::Delete => "delete",
            };
            write!(f, "{id} {step} failed: {error};")?;
        }
        Ok(())
    }
}

impl std::error::Error for PruneError {}

/// The result for each object, and the errors.
#[derive(Debug)]
pub struct Pruned {
    /// What was done to each object.
    pub changes: ChangeSet,
    /// The objects that could not be deleted, if any.
    pub error: Option<PruneError>,
}

/// Deletes objects in reverse apply order (RT-SSA-018, KC-PRUNE-005, KC-PRUNE-006).
///
/// An object that is gone counts as deleted; one that is not owned, or is excluded, is skipped. All objects are
/// attempted, whatever happens to the others.
pub async fn delete_all(cluster: &Cluster, objects: &[Tracked], options: &PruneOptions) -> Pruned {
    let mut objects: Vec<&Tracked> = objects.iter().collect();
    objects.sort_by(|left, right| apply_order(&right.id, &left.id));
    let mut changes = ChangeSet::default();
    let mut errors = Vec::new();
    for tracked in objects {
        let action = match delete(cluster, tracked, options).await {
            Ok(action) => action,
            Err((step, mut error)) => {
                mask(cluster, tracked, &mut error).await;
                errors.push((tracked.id.clone(), step, error));
                Action::Unknown
            }
        };
        changes.changes.push(Change {
            id: tracked.id.clone(),
            version: tracked.version.clone(),
            action,
        });
    }
    Pruned {
        changes,
        error: (!errors.is_empty()).then_some(PruneError(errors)),
    }
}

async fn delete(
    cluster: &Cluster,
    tracked: &Tracked,
    options: &PruneOptions,
) -> Result<Action, (PruneStep, RequestError)> {
    let query = |error| (PruneStep::Query, error);
    let resource = cluster
        .resource_of(&tracked.id, &tracked.version)
        .await
        .map_err(query)?;
    let live = match cluster.get_metadata(&resource, &tracked.id).await {
        Err(error) if error.is_not_found() => return Ok(Action::Deleted),
        answer => answer.map_err(query)?,
    };
    let labels = live.metadata(Metadata::Labels);
    let is_ours = options.owned_by.iter().all(|(key, want)| {
        labels
            .and_then(|labels| labels.get(key))
            .and_then(serde_json::Value::as_str)
            == Some(want)
    });
    if !is_ours || live.carries_any(&options.exclusions) {
        return Ok(Action::Skipped);
    }
    match cluster.delete(&resource, &tracked.id).await {
        Ok(()) => Ok(Action::Deleted),
        Err(error) => Err((PruneStep::Delete, error)),
    }
}

/// Masks the values of a Secret, or of an object that Secrets may have been substituted into, in the refusal of its
/// deletion: an admission webhook may quote what it sees.
async fn mask(cluster: &Cluster, tracked: &Tracked, error: &mut RequestError) {
    let id = &tracked.id;
    let is_secret = id.group.is_empty() && id.kind == "Secret";
    let holds_secrets = !cluster.confidential().is_empty();
    if !(is_secret || holds_secrets) || error.code == 0 {
        return;
    }
    if let Ok(resource) = cluster.resource_of(id, &tracked.version).await
        && let Ok(live) = cluster.get(&resource, id).await
    {
        let mut values = Confidential::default();
        values.add_secret(&live);
        if holds_secrets {
            values.add_former(&live, None);
        }
        values.mask(&mut error.message, id);
    }
}

/// Waits until the deleted objects are gone (RT-SSA-022, KC-PRUNE-016).
///
/// # Errors
///
/// If the timeout is over before the last one is gone: its name, and that the timeout is over.
pub async fn wait_for_termination(
    cluster: &Cluster,
    deleted: &ChangeSet,
    timeout: Duration,
) -> Result<(), TerminationError> {
    let deadline = tokio::time::Instant::now() + timeout;
    for change in deleted
        .changes
        .iter()
        .filter(|change| change.action == Action::Deleted)
    {
        let failed = |error| TerminationError {
            id: change.id.clone(),
            error,
        };
        let resource = cluster
            .resource_of(&change.id, &change.version)
            .await
            .map_err(failed)?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        wait_until_gone(cluster, &resource, &change.id, left)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// An object that still exists.
#[derive(Debug)]
pub struct TerminationError {
    id: ObjectId,
    error: RequestError,
}

impl Display for TerminationError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} termination timeout: {}", self.id, self.error)
    }
}

impl std::error::Error for TerminationError {}

#[cfg(test)]
mod tests {
    use flux_cluster::{ObjectId, RequestError};

    use super::{PruneError, PruneStep};

    // KC-PRUNE-008
    #[test]
    fn prune_failures_are_joined() {
        let id = |text| ObjectId::from_inventory_id(text).unwrap();
        let error = PruneError(vec![
            (
                id("a_b__Secret"),
                PruneStep::Query,
                RequestError::local("x"),
            ),
            (
                id("a_c__ConfigMap"),
                PruneStep::Delete,
                RequestError::local("denied"),
            ),
        ]);
        let want = "delete failed, errors: Secret/a/b query failed: x;ConfigMap/a/c delete failed: denied;";
        assert_eq!(error.to_string(), want);
    }
}
