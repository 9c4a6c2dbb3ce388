//! What runs in this process, put together from the flags.

use std::env;
use std::sync::Arc;
use std::time::SystemTime;

use flux_api::meta::GoDuration;
use flux_api::source::GitRepository;
use flux_artifact::{Algorithm, Retention, Storage, advertised_address, server};
use flux_runtime::controller::Controller;
use flux_runtime::flags::StorageFlags;
use flux_runtime::manager::{Fatal, Manager, hostname};
use flux_runtime::outcome::chain;
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use kube::runtime::watcher;

use crate::flags::Flags;
use crate::git_repository::{self, GitRepositories};
use crate::secrets::Secrets;

/// Checks the flags, opens the storage, and adds the artifact server and the controllers to the manager.
pub(crate) fn add(manager: &mut Manager, flags: &Flags) -> Result<(), Fatal> {
    check(manager, flags)?;
    let storage = Arc::new(storage(&flags.storage)?);
    sweep(manager, &storage);
    serve(manager, &storage, &flags.storage);

    let secrets = secrets(manager);
    let repositories = Cache::<GitRepository>::default();
    let reconciler = GitRepositories {
        storage,
        repositories: repositories.clone(),
        secrets,
        tokens: manager.tokens.clone(),
        remotes: git_repository::RemoteSettings {
            kex_algorithms: flags.ssh.ssh_kex_algos.clone(),
            host_key_algorithms: flags.ssh.ssh_hostkey_algos.clone(),
            object_level_identity: manager.gates.enabled("ObjectLevelWorkloadIdentity"),
        },
        budget: manager.budget.clone(),
        work: work_folders(),
        recheck: flags.dependencies.requeue_dependency,
    };
    let controller = Controller::new(
        reconciler,
        git_repository::SETTINGS,
        repositories,
        manager.environment(),
    );
    manager.add(controller);
    Ok(())
}

/// What the flags say that no process can run with (SC-PROC-011, SC-PROC-012, SC-PROC-035).
fn check(manager: &Manager, flags: &Flags) -> Result<(), Fatal> {
    if !flags.default_service_account.is_empty()
        && !manager.gates.enabled("ObjectLevelWorkloadIdentity")
    {
        return Err("cannot set default service accounts when the feature gate ObjectLevelWorkloadIdentity is not enabled".into());
    }
    if flags.helm.cache_max_size > 0 {
        for text in [&flags.helm.cache_ttl, &flags.helm.cache_purge_interval] {
            text.parse::<GoDuration>()?;
        }
    } else {
        tracing::info!(logger = "setup", "caching of Helm index files is disabled"); // SC-PROC-010
    }
    Ok(())
}

fn storage(flags: &StorageFlags) -> Result<Storage, Fatal> {
    let algorithm = flags.artifact_digest_algo.parse::<Algorithm>();
    let algorithm = algorithm
        .map_err(|error| format!("unable to configure canonical digest algorithm: {error}"))?;
    // SC-ART-022
    let own_name = || {
        env::var("HOSTNAME")
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(hostname)
    };
    let host = advertised_address(&flags.storage_adv_addr, &flags.storage_addr, own_name)?;
    let retention = Retention {
        ttl: flags.artifact_retention_ttl,
        records: flags.artifact_retention_records,
    };
    Ok(Storage::open(
        &flags.storage_path,
        host,
        algorithm,
        retention,
    )?)
}

/// Removes what a leader that was killed has left in the storage, once this process leads.
fn sweep(manager: &mut Manager, storage: &Arc<Storage>) {
    let storage = storage.clone();
    manager.add_leading(async move |stop| {
        let begin = SystemTime::now();
        let leftovers =
            tokio::task::spawn_blocking(move || storage.remove_leftovers(begin)).await?;
        if leftovers.removed > 0 {
            let count = leftovers.removed;
            tracing::info!(logger = "setup", count, "removed leftovers from storage");
        }
        for error in leftovers.problems {
            tracing::error!(
                logger = "setup",
                error,
                "cannot remove leftovers from storage"
            );
        }
        stop.cancelled().await; // a task that ends early ends the process
        Ok(())
    });
}

/// Serves the storage while this process leads: only the leader has the artifacts (SC-PROC-043).
fn serve(manager: &mut Manager, storage: &Storage, flags: &StorageFlags) {
    let (address, root) = (flags.storage_addr.clone(), storage.root().to_owned());
    manager.add_leading(async move |stop| {
        let listener = server::listen(&address).await;
        let listener =
            listener.map_err(|error| format!("artifact server error: {}", chain(&error)))?;
        tracing::info!(logger = "setup", address, "starting artifact server");
        let limits = server::Limits::default();
        server::serve(listener, root, limits, stop.cancelled_owned()).await;
        Ok(())
    });
}

/// Where work keeps files while it runs. What a killed process has left there is removed now (SC-PROC-061).
fn work_folders() -> WorkFolders {
    let work = WorkFolders::new("source-controller");
    match work.open() {
        Ok(0) => {}
        Ok(count) => tracing::info!(logger = "setup", count, "removed leftover work folders"),
        // Each reconcile says so, too, and tries again.
        Err(error) => tracing::error!(
            logger = "setup",
            error = chain(&error),
            "cannot open work folders"
        ),
    }
    work
}

fn secrets(manager: &mut Manager) -> Secrets {
    if !manager.gates.enabled("CacheSecretsAndConfigMaps") {
        return Secrets::Live(manager.client.clone());
    }
    let cache = Cache::default();
    manager.follow(manager.api(), watcher::Config::default(), cache.clone());
    Secrets::Cached(cache)
}
