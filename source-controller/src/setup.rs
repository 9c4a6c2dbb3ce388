//! Wires the components of the process according to the flags.

use flux_api::meta::GoDuration;
use flux_api::source::{Bucket, GitRepository, HelmChart, HelmRepository, OCIRepository};
use flux_identity::{Identities, Tokens};
use flux_publish::Publisher;
use flux_references::Index;
use flux_runtime::controller::Controller;
use flux_runtime::manager::{Fatal, Manager};
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;

use crate::bucket::{self, Buckets, Kept};
use crate::flags::Flags;
use crate::git_repository::{self, GitRepositories};
use crate::helm::http::Clients;
use crate::helm::indexes::{CacheSettings, Indexes};
use crate::helm_chart::{self, HelmCharts, Limits, Repositories, Sources, on_revision};
use crate::helm_repository::{self, HelmRepositories};
use crate::oci_repository::{self, OCIRepositories};
use crate::secrets::Secrets;

/// Checks the flags, opens the storage, and adds the artifact server and the controllers to the manager.
pub(crate) fn add(manager: &mut Manager, flags: &Flags) -> Result<(), Fatal> {
    let cache = check(flags)?;
    let publisher = Publisher::from_flags(&flags.storage)?;
    publisher.serve(manager, &flags.storage);

    let secrets = Secrets::from_manager(manager);
    let tokens = Tokens::from_flags(&flags.tokens, &manager.metrics)?;
    let client = manager.client.clone();
    let identities = Identities::new(client, tokens, &flags.default_service_account);
    let work = WorkFolders::opened("source-controller");
    let clients = Clients::default();
    let max_index = u64::try_from(flags.helm.index_max_size).unwrap_or_default();
    let indexes = Indexes::new(
        &manager.budget,
        flags.helm.index_max_size,
        cache,
        &manager.metrics,
    )?;
    let sources = Sources::default();
    let helm_repositories = HelmRepositories {
        publisher: publisher.clone(),
        secrets: secrets.clone(),
        budget: manager.budget.clone(),
        work: work.clone(),
        max_index,
        clients: clients.clone(),
        indexes: indexes.clone(),
    };
    let helm_charts = HelmCharts {
        publisher: publisher.clone(),
        sources: sources.clone(),
        repositories: Repositories {
            secrets: secrets.clone(),
            identities: identities.clone(),
            clients,
            indexes,
            storage: publisher.storage().clone(),
            budget: manager.budget.clone(),
            max_index,
            known: sources.helm_repositories.clone(),
        },
        work: work.clone(),
        limits: Limits {
            chart: flags.helm.chart_max_size,
            file: flags.helm.chart_file_max_size,
        },
    };
    let repositories = sources.git_repositories.clone();
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
        sources.helm_repositories.clone(),
        manager.environment(),
    ));
    add_helm_charts(manager, helm_charts, &sources);

    let buckets = Buckets {
        publisher: publisher.clone(),
        secrets: secrets.clone(),
        identities: identities.clone(),
        budget: manager.budget.clone(),
        work: work.clone(),
        kept: Kept::new(&manager.budget),
    };
    manager.add(Controller::new(
        buckets,
        bucket::SETTINGS,
        sources.buckets.clone(),
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

/// Adds the controller of HelmCharts, which changes of their sources wake (SC-HCHART-010).
fn add_helm_charts(manager: &mut Manager, reconciler: HelmCharts, sources: &Sources) {
    let charts = Cache::<HelmChart>::default();
    let index = Index::of(&charts, helm_chart::references);
    let controller = Controller::new(
        reconciler,
        helm_chart::SETTINGS,
        charts.clone(),
        manager.environment(),
    );
    let enqueue = controller.enqueue();
    let changed = on_revision::<HelmRepository>(index.clone(), charts.clone());
    let add = enqueue.clone();
    sources
        .helm_repositories
        .subscribe(move |change| changed(change, &add));
    let changed = on_revision::<GitRepository>(index.clone(), charts.clone());
    let add = enqueue.clone();
    sources
        .git_repositories
        .subscribe(move |change| changed(change, &add));
    let changed = on_revision::<Bucket>(index, charts);
    sources
        .buckets
        .subscribe(move |change| changed(change, &enqueue));
    manager.add(controller);
}

/// Refuses combinations of flags that no process can run with (SC-PROC-011, SC-PROC-012).
fn check(flags: &Flags) -> Result<Option<CacheSettings>, Fatal> {
    let duration = |text: &str| text.parse::<GoDuration>().map(GoDuration::to_std);
    let max = usize::try_from(flags.helm.cache_max_size).unwrap_or_default();
    if max == 0 {
        tracing::info!(logger = "setup", "caching of Helm index files is disabled"); // SC-PROC-010
        return Ok(None);
    }
    Ok(Some(CacheSettings {
        max,
        purge: duration(&flags.helm.cache_purge_interval)?,
        ttl: duration(&flags.helm.cache_ttl)?,
    }))
}
