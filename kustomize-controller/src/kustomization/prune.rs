//! Prunes objects that an earlier run applied and this one did not (KC-PRUNE-003..010).

use flux_api::kustomize::Kustomization;
use flux_api::meta::ResourceInventory;
use flux_apply::{ChangeSet, PruneOptions, delete_all, inventory};
use flux_cluster::{Cluster, MalformedId};
use flux_runtime::Run;
use flux_runtime::run::StatusError;

use super::owner;
use super::plan::Plan;
use super::reason::KustomizationReason;

/// Why pruning failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum PruneError {
    /// The inventory has a malformed id.
    #[error(transparent)]
    Inventory(#[from] MalformedId),
    /// The inventory could not be written before the deletion.
    #[error(transparent)]
    Status(#[from] StatusError),
    #[error(transparent)]
    Delete(#[from] flux_apply::PruneError),
}

/// Deletes the objects that are in the inventory `before` but not in that of this run. Objects that could not be deleted
/// stay in the inventory.
pub(super) async fn prune(
    run: &mut Run<Kustomization>,
    plan: &Plan<'_>,
    cluster: &Cluster,
    before: &ResourceInventory,
) -> Result<(), PruneError> {
    let after = run.status.inventory.get_or_insert_default();
    let stale = inventory::stale(before, after)?;
    if !plan.spec().prune || stale.is_empty() {
        return Ok(());
    }
    // If the process dies during the deletion, the next one must find both in the inventory.
    let mut applied = after.clone();
    inventory::keep_survivors(after, &stale, &ChangeSet::default());
    run.patch().await?;

    let options = PruneOptions {
        owned_by: plan.labels.clone(),
        exclusions: owner::not_pruned(),
    };
    let pruned = delete_all(cluster, &stale, &options).await;
    if pruned.error.is_some() {
        inventory::keep_survivors(&mut applied, &stale, &pruned.changes);
    }
    run.status.inventory = Some(applied);
    if let Some(error) = pruned.error {
        return Err(error.into());
    }
    if !pruned.changes.changes.is_empty() {
        tracing::info!("garbage collection completed: {}", pruned.changes);
        let reason = KustomizationReason::Progressing;
        run.event(reason, pruned.changes.to_string(), &plan.metadata);
    }
    Ok(())
}
