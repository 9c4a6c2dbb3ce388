//! Wires the components of the process according to the flags.

use std::collections::HashSet;
use std::time::Duration;

use flux_api::image::{ImagePolicy, ImageRepository};
use flux_identity::{Identities, Tokens};
use flux_oci::PageSizes;
use flux_references::{Index, Secrets};
use flux_runtime::controller::Controller;
use flux_runtime::manager::{Fatal, Manager};
use flux_runtime::outcome::chain;
use flux_runtime::per_object::PerObject;
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use tokio_util::sync::CancellationToken;

use crate::access::Registries;
use crate::flags::Flags;
use crate::image_policy::{self, ImagePolicies};
use crate::image_repository::{self, ImageRepositories};
use crate::store::{ORPHANS, RevisionForm, Store};

/// Opens the store, and adds the controllers to the manager.
pub(crate) fn add(manager: &mut Manager, flags: &Flags) -> Result<(), Fatal> {
    let store = store(manager, flags)?;
    let tokens = Tokens::from_flags(&flags.tokens, &manager.metrics)?;
    let client = manager.client.clone();
    let registries = Registries {
        secrets: Secrets::from_manager(manager),
        identities: Identities::new(client, tokens, &flags.default_service_account),
        page_sizes: PageSizes::default(),
        budget: manager.budget.clone(),
    };
    let repositories = Cache::<ImageRepository>::default();
    add_policies(manager, flags, &registries, &store, &repositories);

    let seen = PerObject::default();
    let reconciler = ImageRepositories {
        registries,
        store: store.clone(),
        seen: seen.clone(),
        longest_back_off: flags.manager.max_retry_delay,
    };
    let environment = manager.environment();
    let settings = image_repository::SETTINGS;
    let controller = Controller::new(reconciler, settings, repositories.clone(), environment);
    manager.add(controller.clearing(&seen));

    match u64::from(flags.gc_interval) {
        0 => tracing::debug!(
            logger = "setup",
            "filesystem storage garbage collector is disabled"
        ),
        minutes => {
            let interval = Duration::from_mins(minutes);
            manager.add_leading(move |stop| async move {
                remove_orphans(store, repositories, interval, stop).await;
                Ok(())
            });
        }
    }
    Ok(())
}

/// Opens the store. Both values of the gate keep tags in files; it decides which revisions they have (IR-DB-043).
fn store(manager: &Manager, flags: &Flags) -> Result<Store, Fatal> {
    let is_files = manager.gates.enabled("FluxStorage");
    let threshold = flags.storage_compression_threshold;
    if is_files && threshold <= 0 {
        let error = "value must be greater than zero";
        let message = "invalid --storage-compression-threshold"; // IR-PROC-007
        tracing::error!(logger = "setup", error, "{message}");
        return Err(message.into());
    }
    let form = if is_files {
        RevisionForm::Files
    } else {
        RevisionForm::Badger
    };
    let threshold = usize::try_from(threshold).unwrap_or_default();
    let opened = Store::open(&flags.storage_path, threshold.saturating_mul(1024), form);
    opened.map_err(|error| {
        let message = "unable to reconcile storage format"; // IR-DB-015
        tracing::error!(logger = "setup", error = chain(&error), "{message}");
        message.into()
    })
}

/// Adds the controller of ImagePolicies, which scans of their repositories wake.
fn add_policies(
    manager: &mut Manager,
    flags: &Flags,
    registries: &Registries,
    store: &Store,
    repositories: &Cache<ImageRepository>,
) {
    let reconciler = ImagePolicies {
        registries: registries.clone(),
        store: store.clone(),
        repositories: repositories.clone(),
        no_cross_namespace: flags.cross_namespace.no_cross_namespace_refs,
        recheck: flags.dependencies.requeue_dependency,
    };
    let policies = Cache::<ImagePolicy>::default();
    let index = Index::of(&policies, image_policy::references);
    let settings = image_policy::SETTINGS;
    let controller = Controller::new(reconciler, settings, policies, manager.environment());
    let enqueue = controller.enqueue();
    let changed = image_policy::on_scan(index);
    repositories.subscribe(move |change| changed(change, &enqueue));
    manager.add(controller);
}

/// Removes the tags of repositories that are gone after each interval, as far as this process's selector shows them
/// (IR-DB-030).
async fn remove_orphans(
    store: Store,
    repositories: Cache<ImageRepository>,
    interval: Duration,
    stop: CancellationToken,
) {
    tracing::info!(logger = ORPHANS, "Starting filesystem storage GC");
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(interval) => {}
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = repositories.synced() => {}
        }
        tracing::debug!(logger = ORPHANS, "Running filesystem storage GC");
        let known: HashSet<Key> = repositories.all().iter().map(|it| Key::of(&**it)).collect();
        let store = store.clone();
        let removed = tokio::task::spawn_blocking(move || store.remove_orphans(&known)).await;
        if let Ok(removed) = removed {
            tracing::debug!(
                logger = ORPHANS,
                deleted_entries = removed,
                "Ran filesystem storage GC"
            );
        }
    }
    tracing::info!(logger = ORPHANS, "Stopped filesystem storage GC");
}
