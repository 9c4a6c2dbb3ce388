//! Wires the components of the process according to the flags.

use flux_api::meta::GoDuration;
use flux_api::source::{GitRepository, HelmRepository, OCIRepository};
use flux_identity::{Identities, Tokens};
use flux_publish::Publisher;
use flux_references::Reader;
use flux_runtime::controller::Controller;
use flux_runtime::manager::{Fatal, Manager};
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use kube::runtime::watcher;

use crate::flags::Flags;
use crate::git_repository::{self, GitRepositories};
use crate::helm_repository::{self, HelmRepositories};
use crate::oci_repository::{self, OCIRepositories};
use crate::secrets::Secrets;

/// Checks the flags, opens the storage, and adds the artifact server and the controllers to the manager.
pub(crate) fn add(manager: &mut Manager, flags: &Flags) -> Result<(), Fatal> {
    check(flags)?;
    let publisher = Publisher::from_flags(&flags.storage)?;
    publisher.serve(manager, &flags.storage);

    let secrets = secrets(manager);
    let tokens = Tokens::from_flags(&flags.tokens, &manager.metrics)?;
    let client = manager.client.clone();
    let identities = Identities::new(client, tokens, &flags.default_service_account);
    let work = WorkFolders::opened("source-controller");
    let helm_repositories = HelmRepositories {
        publisher: publisher.clone(),
        secrets: secrets.clone(),
        budget: manager.budget.clone(),
        work: work.clone(),
        max_index: u64::try_from(flags.helm.index_max_size).unwrap_or_default(),
    };
    let repositories = Cache::<GitRepository>::default();
    let reconciler = GitRepositories {
        publisher: publisher.clone(),
        repositories: repositories.clone(),
        secrets: secrets.clone(),
        identities: identities.clone(),
        remotes: git_repository::RemoteSettings {
            kex_algorithms: flags.ssh.ssh_kex_algos.clone(),
            host_key_algorithms: flags.ssh.ssh_hostkey_algos.clone(),
        },
        budget: manager.budget.clone(),
        work: work.clone(),
        recheck: flags.dependencies.requeue_dependency,
    };
    let controller = Controller::new(
        reconciler,
        git_repository::SETTINGS,
        repositories,
        manager.environment(),
    );
    manager.add(controller);
    manager.add(Controller::new(
        helm_repositories,
        helm_repository::SETTINGS,
        Cache::<HelmRepository>::default(),
        manager.environment(),
    ));

    let reconciler = OCIRepositories {
        publisher,
        secrets,
        identities,
        budget: manager.budget.clone(),
        work,
    };
    let controller = Controller::new(
        reconciler,
        oci_repository::SETTINGS,
        Cache::<OCIRepository>::default(),
        manager.environment(),
    );
    manager.add(controller);
    Ok(())
}

/// Refuses combinations of flags that no process can run with (SC-PROC-011, SC-PROC-012).
fn check(flags: &Flags) -> Result<(), Fatal> {
    if flags.helm.cache_max_size > 0 {
        for text in [&flags.helm.cache_ttl, &flags.helm.cache_purge_interval] {
            text.parse::<GoDuration>()?;
        }
    } else {
        tracing::info!(logger = "setup", "caching of Helm index files is disabled"); // SC-PROC-010
    }
    Ok(())
}

fn secrets(manager: &mut Manager) -> Secrets {
    if !manager.gates.enabled("CacheSecretsAndConfigMaps") {
        return Secrets(Reader::Direct(manager.client.clone()));
    }
    let cache = Cache::default();
    manager.follow(manager.api(), watcher::Config::default(), cache.clone());
    Secrets(Reader::Cached(cache))
}
