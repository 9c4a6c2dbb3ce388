//! The deletion of a HelmRelease: its release is uninstalled, then the object that fetches its chart is removed
//! (HC-UNI-001 to HC-UNI-007).

use std::sync::Arc;

use flux_api::helm::HelmRelease;
use flux_cluster::CustomRules;
use flux_runtime::outcome::chain;
use flux_runtime::{Action, Failure, Pace, Run};

use super::failure::ClusterError;
use super::pass::{ActionFailed, Target};
use super::reason::HelmReleaseReason as R;
use super::steps::{Uninstalling, uninstall};
use super::template::{self, TemplateError};
use super::{HelmReleases, values};

/// Why a HelmRelease could not be cleaned up.
#[derive(Debug, thiserror::Error)]
enum DeletionError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// HC-REMOTE-010
    #[error("could not get client set for 'Secret' storage driver")]
    Storage(#[source] ClusterError),
    #[error(transparent)]
    Account(flux_objects::Error),
    #[error(transparent)]
    Uninstall(#[from] ActionFailed),
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// Cleans up for an object that is being deleted; a suspended one leaves everything in place (HC-UNI-002).
///
/// # Errors
/// Something is left that has to be removed first.
pub(super) async fn finalize(
    tools: &HelmReleases,
    run: &mut Run<HelmRelease>,
) -> Result<(), Failure> {
    if run.object().spec.suspend {
        return Ok(());
    }
    let cleaned = Box::pin(clean_up(tools, run)).await;
    cleaned.map_err(|error| Failure::retry(R::UninstallFailed, error, Pace::BackOff).quietly())
}

async fn clean_up(tools: &HelmReleases, run: &mut Run<HelmRelease>) -> Result<(), DeletionError> {
    release(tools, run).await?;
    run.step(Action::Finalize);
    template::remove(run, &tools.template_tools()).await?;
    Ok(())
}

/// Uninstalls the release, unless there is no way to do so any more.
async fn release(tools: &HelmReleases, run: &mut Run<HelmRelease>) -> Result<(), DeletionError> {
    let object = run.object().clone();
    let Some(storage) = run.status.storage_namespace.clone() else {
        tracing::info!("skipping Helm release uninstallation: no storage namespace configured");
        return Ok(());
    };
    let tenant = tools.tenant(&object);
    let kube_config = object.spec.kube_config.as_ref();
    let acting = tools.clusters.of(&object, &tenant, kube_config).await;
    let acting = match acting.map_err(ClusterError) {
        Ok(acting) => acting,
        Err(error) if error.is_not_found() => {
            let error = chain(&error);
            tracing::error!(error, "skipping Helm release uninstallation");
            return Ok(());
        }
        Err(error) if error.is_of_client() => {
            let error = DeletionError::Storage(error);
            run.set_ready_false(R::ConfigFactoryErr, chain(&error));
            return Err(error);
        }
        Err(error) => {
            let why = chain(&error);
            let message = format!("failed to build REST client getter to uninstall release: {why}");
            run.set_ready_false(R::UninstallFailed, message);
            return Err(error.into());
        }
    };
    if kube_config.is_none() && !account_exists(tools, run, &tenant).await? {
        return Ok(());
    }
    // What cannot be read any more cannot be shown either.
    let claim = Arc::new(tools.budget.claim());
    let composed = values::compose(&tools.configs, &object, &claim).await;
    let confidential = composed.map(|composed| composed.confidential);
    let target = Target {
        cluster: acting.cluster.masking(confidential.unwrap_or_default()),
        version: acting.version,
        checks: CustomRules::default(), // HC-WAIT-013
    };
    let uninstalling = Uninstalling {
        tools,
        key: run.key(),
        object,
        target: &target,
        storage,
    };
    if uninstall(&uninstalling, run).await? {
        tracing::info!("uninstalled Helm release for deleted resource");
    }
    run.status.history.clear();
    run.status.storage_namespace = None;
    Ok(())
}

/// Whether the account to act as exists; without it the release stays (HC-UNI-006).
async fn account_exists(
    tools: &HelmReleases,
    run: &mut Run<HelmRelease>,
    tenant: &flux_tenancy::Tenant,
) -> Result<bool, DeletionError> {
    let name = tenant.account.as_deref().unwrap_or_default();
    match tools.clusters.account_exists(tenant).await {
        Ok(true) => Ok(true),
        Ok(false) => {
            let error = format!("serviceaccounts \"{name}\" not found");
            tracing::error!(error, "skipping Helm release uninstallation");
            Ok(false)
        }
        Err(error) => {
            let why = chain(&error);
            let message = format!(
                "failed to confirm ServiceAccount '{name}' can be used to uninstall release: {why}"
            );
            run.set_ready_false(R::UninstallFailed, message);
            Err(DeletionError::Account(error))
        }
    }
}
