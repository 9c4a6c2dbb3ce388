//! Deletes the objects of a Kustomization that is being deleted (KC-PRUNE-014..021).

use std::collections::BTreeMap;
use std::time::Duration;

use flux_api::kustomize::{DeletionPolicy, Kustomization};
use flux_apply::inventory::{self, Tracked};
use flux_apply::{PruneError, PruneOptions, delete_all, wait_for_termination};
use flux_budget::{Claim, Exhausted};
use flux_cluster::Confidential;
use flux_objects::Error;
use flux_references::Configs;
use flux_runtime::conditions::{Conditions, READY};
use flux_runtime::queue::Key;
use flux_runtime::reason::Reason as _;
use flux_runtime::run::Cancel;
use flux_runtime::{Action, Run};
use flux_tenancy::{ActingError, Clusters, Tenant};

use super::plan::{Timings, event_metadata, tenant};
use super::policy::Policy;
use super::reason::KustomizationReason;
use super::{owner, variables};

/// Why the objects could not be deleted.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeletionError {
    #[error(transparent)]
    Account(Error),
    #[error(transparent)]
    Acting(#[from] ActingError),
    #[error(transparent)]
    Delete(#[from] PruneError),
    /// The values that no message may show do not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
    #[error("the controller is shutting down while resources are being terminated")]
    ShuttingDown,
}

/// The inputs of a deletion.
struct Deletion {
    tenant: Tenant,
    objects: Vec<Tracked>,
    options: PruneOptions,
    timeout: Duration,
    /// Whether to wait until the objects are gone before the finalizer is removed.
    waits: bool,
    /// The metadata of its events: the last applied revision.
    metadata: BTreeMap<&'static str, String>,
    /// The reason of its events: that of Ready (KC-PRUNE-021).
    reason: &'static str,
}

impl Deletion {
    fn new(object: &Kustomization, conditions: &Conditions, policy: &Policy) -> Self {
        let status = object.status.as_ref();
        let held = status.and_then(|status| status.inventory.as_ref());
        Self {
            tenant: tenant(object, policy),
            // Malformed ids are an error in a normal run; here the error would block the deletion for ever (KC-PRUNE-022).
            objects: held
                .and_then(|held| inventory::list(held).ok())
                .unwrap_or_default(),
            options: PruneOptions {
                owned_by: owner::labels(&Key::of(object)),
                exclusions: owner::not_pruned(),
            },
            timeout: Timings::of(object, policy.requeue_dependency).timeout,
            waits: object.spec.deletion_policy == Some(DeletionPolicy::WaitForTermination),
            metadata: event_metadata(
                status.and_then(|status| status.last_applied_revision.as_ref()),
                status.and_then(|status| status.last_applied_origin_revision.as_ref()),
            ),
            reason: last_reason(conditions),
        }
    }
}

/// Whether the objects are deleted together with their Kustomization (KC-PRUNE-014, KC-PRUNE-020).
pub(super) fn deletes_objects(object: &Kustomization) -> bool {
    let tracked = object
        .status
        .as_ref()
        .and_then(|status| status.inventory.as_ref());
    if object.spec.suspend || tracked.is_none_or(|inventory| inventory.entries.is_empty()) {
        return false;
    }
    match object.spec.deletion_policy {
        None | Some(DeletionPolicy::MirrorPrune) => object.spec.prune,
        Some(DeletionPolicy::Delete | DeletionPolicy::WaitForTermination) => true,
        Some(_) => false,
    }
}

/// Deletes the objects of a Kustomization, and waits until they are gone if the deletion policy says so.
pub(super) async fn delete_objects(
    run: &mut Run<Kustomization>,
    policy: &Policy,
    clusters: &Clusters,
    configs: &Configs,
    claim: &Claim,
) -> Result<(), DeletionError> {
    let object = run.object().clone();
    let deletion = Deletion::new(&object, &run.conditions, policy);
    // If the Secrets cannot be read, the Secrets among the objects are still masked.
    let variables = variables::read(configs, run.namespace(), &object.spec, claim).await;
    let confidential = match variables {
        Ok(variables) => variables.confidential(claim)?,
        Err(error) => match error.memory() {
            Some(exhausted) => return Err(exhausted.into()),
            None => Confidential::default(),
        },
    };
    let exists = clusters.account_exists(&deletion.tenant).await;
    if !exists.map_err(DeletionError::Account)? {
        warn_of_missing_account(run, &deletion);
        return Ok(());
    }
    let kube_config = object.spec.kube_config.as_ref();
    let acting = clusters.of(&object, &deletion.tenant, kube_config).await?;
    let cluster = acting
        .cluster
        .within(deletion.timeout)
        .masking(confidential);
    let pruned = delete_all(&cluster, &deletion.objects, &deletion.options).await;
    let (reason, metadata) = (deletion.reason, &deletion.metadata);
    if let Some(error) = pruned.error {
        run.warn(reason, "pruning for deleted resource failed", metadata);
        return Err(error.into());
    }
    if pruned.changes.changes.is_empty() {
        return Ok(());
    }
    run.event(reason, pruned.changes.to_string(), metadata);
    if !deletion.waits {
        return Ok(());
    }
    run.step(Action::WaitForTermination);
    let terminated = wait_for_termination(&cluster, &pruned.changes, deletion.timeout);
    let waited = Box::pin(run.wait(terminated, Cancel::OnShutdownOnly)).await;
    // On shutdown the finalizer stays, so that the next process continues to wait.
    let waited = waited.map_err(|_| DeletionError::ShuttingDown)?;
    if let Err(error) = waited {
        let message = "failed to wait for resources termination";
        tracing::error!(error = error.to_string(), "{message}");
        run.warn(reason, message, metadata);
    }
    Ok(())
}

/// Warns that the objects are left in place, since the account to delete them with does not exist (KC-PRUNE-017).
fn warn_of_missing_account(run: &Run<Kustomization>, deletion: &Deletion) {
    let objects = deletion.objects.iter();
    let ids: Vec<String> = objects.map(|tracked| tracked.id.to_string()).collect();
    let message = format!("unable to prune objects: \n{}", ids.join("\n"));
    tracing::error!(
        error = "skipping pruning, failed to find account to impersonate",
        "{message}"
    );
    run.warn(deletion.reason, message, &deletion.metadata);
}

/// The reason of Ready, as one of the closed set of reasons (KC-PRUNE-021).
fn last_reason(conditions: &Conditions) -> &'static str {
    let reason = conditions
        .get(READY)
        .and_then(|ready| KustomizationReason::find(&ready.reason));
    // That reason is used by Healthy only.
    let reason = reason.filter(|reason| *reason != KustomizationReason::Succeeded);
    reason.map_or("info", |reason| reason.as_str())
}

#[cfg(test)]
mod tests {
    use flux_api::kustomize::{KustomizationSpec, KustomizationStatus};
    use flux_api::meta::{ResourceInventory, ResourceRef};

    use super::*;

    #[test]
    fn deletion_follows_the_deletion_policy() {
        // KC-PRUNE-014, KC-PRUNE-020
        use DeletionPolicy::{Delete, MirrorPrune, Orphan, WaitForTermination};
        let deletes =
            |policy: Option<DeletionPolicy>, prune: bool, suspend: bool, entries: usize| {
                let spec = KustomizationSpec {
                    deletion_policy: policy,
                    prune,
                    suspend,
                    ..KustomizationSpec::default()
                };
                let entry = ResourceRef {
                    id: "a_b__ConfigMap".into(),
                    version: "v1".into(),
                };
                let entries = vec![entry; entries];
                let mut object = Kustomization::new("apps", spec);
                object.status = Some(KustomizationStatus {
                    inventory: Some(ResourceInventory { entries }),
                    ..KustomizationStatus::default()
                });
                deletes_objects(&object)
            };
        assert!(deletes(None, true, false, 1) && !deletes(None, false, false, 1));
        assert!(deletes(Some(MirrorPrune), true, false, 1));
        assert!(
            deletes(Some(Delete), false, false, 1)
                && deletes(Some(WaitForTermination), false, false, 1)
        );
        assert!(!deletes(Some(Orphan), true, false, 1));
        assert!(!deletes(Some(Delete), true, true, 1), "suspended");
        assert!(!deletes(Some(Delete), true, false, 0), "nothing tracked");
    }
}
