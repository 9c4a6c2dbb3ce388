//! Objects that go: those that a run no longer has, and all when their Kustomization goes (KC-PRUNE rows).

use std::collections::BTreeMap;
use std::time::Duration;

use flux_api::kustomize::{DeletionPolicy, Kustomization, KustomizationStatus};
use flux_api::meta::ResourceInventory;
use flux_apply::{ChangeSet, Cluster, PruneOptions, delete_all, inventory, wait_for_termination};
use flux_runtime::{Failure, Pace, Run};

use super::plan::Timings;
use super::source::Resolved;
use super::{
    Failed, Kustomizations, confidential, exclusions, metadata_of, owner_labels, variables,
};

impl Kustomizations {
    /// Deletes what earlier runs applied and this one did not (KC-PRUNE-003..010). What could not be deleted stays in the
    /// inventory.
    pub(super) async fn prune(
        &self,
        run: &mut Run<Kustomization>,
        object: &Kustomization,
        cluster: &Cluster,
        before: &ResourceInventory,
        after: &ResourceInventory,
        source: &Resolved,
    ) -> Result<(), (&'static str, Failed)> {
        let stale = inventory::stale(before, after)
            .map_err(|error| ("ReconciliationFailed", error.into()))?;
        if !object.spec.prune || stale.is_empty() {
            return Ok(());
        }
        // Should this process die while it deletes, the next one must find both in the inventory.
        let mut both = after.clone();
        inventory::keep_survivors(&mut both, &stale, &ChangeSet::default());
        run.status.inventory = Some(both);
        run.patch_now()
            .await
            .map_err(|failure| ("PruneFailed", Failed::from(failure.cause.to_string())))?;

        let options = PruneOptions {
            owned_by: owner_labels(object),
            exclusions: exclusions(true),
        };
        let pruned = delete_all(cluster, &stale, &options).await;
        let mut inventory = after.clone();
        if pruned.error.is_some() {
            inventory::keep_survivors(&mut inventory, &stale, &pruned.changes);
        }
        run.status.inventory = Some(inventory);
        if let Some(error) = pruned.error {
            return Err(("PruneFailed", error.into()));
        }
        if !pruned.changes.changes.is_empty() {
            tracing::info!("garbage collection completed: {}", pruned.changes);
            run.event(
                "Progressing",
                pruned.changes.to_string(),
                &metadata_of(source),
            );
        }
        Ok(())
    }

    /// Deletes the objects of a Kustomization that is itself being deleted (KC-PRUNE-014..021).
    pub(super) async fn delete_objects(
        &self,
        run: &mut Run<Kustomization>,
        object: &Kustomization,
    ) -> Result<(), Failure> {
        let status = run.status.clone();
        let metadata = last_metadata(&status);
        let reason = last_reason(&run.conditions);
        // Ids that cannot be read are an error in a normal run; here they would keep the object for ever (KC-PRUNE-022).
        let objects = inventory::list(&status.inventory.unwrap_or_default()).unwrap_or_default();

        let account = self
            .clusters
            .account_exists(object, &self.policy.default_service_account)
            .await;
        if !account
            .map_err(|error| Failure::retry("PruneFailed", error, Pace::BackOff).quietly())?
        {
            let ids: Vec<String> = objects
                .iter()
                .map(|tracked| tracked.id.to_string())
                .collect();
            let message = format!("unable to prune objects: \n{}", ids.join("\n"));
            tracing::error!(
                error = "skipping pruning, failed to find account to impersonate",
                "{message}"
            );
            run.warn(reason, message, &metadata);
            return Ok(());
        }
        let cluster = self
            .clusters
            .acting_as(object, &self.policy.default_service_account);
        let timeout = Timings::of(object).timeout;
        // Where the Secrets cannot be read, those of the objects still count.
        let variables = variables::of(run, &self.configs).await;
        let cluster = cluster
            .map_err(|error| Failure::retry("PruneFailed", error, Pace::BackOff).quietly())?
            .within(timeout)
            .masking(confidential(variables.as_ref().ok()));
        let options = PruneOptions {
            owned_by: owner_labels(object),
            exclusions: exclusions(true),
        };
        let pruned = delete_all(&cluster, &objects, &options).await;
        if let Some(error) = pruned.error {
            run.warn(reason, "pruning for deleted resource failed", &metadata);
            return Err(Failure::retry("PruneFailed", error, Pace::BackOff).quietly());
        }
        if pruned.changes.changes.is_empty() {
            return Ok(());
        }
        run.event(reason, pruned.changes.to_string(), &metadata);
        if object.spec.deletion_policy == Some(DeletionPolicy::WaitForTermination) {
            let stop = run.shutting_down();
            let waited = run.idle(async {
                tokio::select! {
                    waited = wait_for_termination(&cluster, &pruned.changes, timeout) => Some(waited),
                    () = stop.cancelled() => None,
                }
            });
            let Some(waited) = waited.await else {
                // The finalizer stays, so that the process that comes next waits on.
                let message =
                    "the controller is shutting down while resources are being terminated";
                return Err(Failure::waiting("PruneFailed", message, Duration::ZERO));
            };
            if let Err(error) = waited {
                let message = "failed to wait for resources termination";
                tracing::error!(error = error.to_string(), "{message}");
                run.warn(reason, message, &metadata);
            }
        }
        Ok(())
    }
}

/// What events tell of the revision that was last applied.
fn last_metadata(status: &KustomizationStatus) -> BTreeMap<&'static str, String> {
    let mut metadata = BTreeMap::new();
    metadata.extend(
        status
            .last_applied_revision
            .clone()
            .map(|revision| ("revision", revision)),
    );
    metadata.extend(
        status
            .last_applied_origin_revision
            .clone()
            .map(|revision| ("originRevision", revision)),
    );
    metadata
}

/// The reason of Ready as one of the closed set, for an event of the deletion (KC-PRUNE-021).
fn last_reason(conditions: &flux_runtime::conditions::Conditions) -> &'static str {
    const REASONS: [&str; 13] = [
        "ReconciliationSucceeded",
        "ReconciliationFailed",
        "ArtifactFailed",
        "BuildFailed",
        "PruneFailed",
        "HealthCheckFailed",
        "HealthCheckCanceled",
        "DependencyNotReady",
        "AccessDenied",
        "InvalidCELExpression",
        "FeatureGateDisabled",
        "Progressing",
        "DirectoryCreationFailed",
    ];
    let reason = conditions
        .get("Ready")
        .map(|ready| ready.reason.as_str())
        .unwrap_or_default();
    REASONS
        .into_iter()
        .find(|known| *known == reason)
        .unwrap_or("info")
}
