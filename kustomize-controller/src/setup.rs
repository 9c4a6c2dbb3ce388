//! Wires the reconciler: what the flags say, what it watches.

use std::sync::Arc;

use flux_api::kustomize::{Kustomization, SourceKind};
use flux_api::meta::ValuesKind;
use flux_api::source::{Bucket, ExternalArtifact, GitRepository, OCIRepository};
use flux_apply::order::GroupKind;
use flux_artifact::{FetchOptions, Fetcher, TreeCache};
use flux_budget::Budget;
use flux_http::ClientOptions;
use flux_runtime::controller::Controller;
use flux_runtime::manager::{Fatal, Manager};
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use flux_selector::Selector;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;

use crate::flags::{self, Flags};
use crate::kustomization::watches::{on_config, on_ready, on_source, only_marked};
use crate::kustomization::{
    Access, Builder, Clusters, Configs, Kustomizations, Memories, Policy, Remotes, SETTINGS,
    Sources,
};

/// The most bytes of artifacts that are kept in memory for the next run.
const TREES: u64 = 64 << 20;

/// The bytes of artifacts that are kept: they count against the budget, of which most is for running reconciles.
fn kept(budget: &Budget) -> u64 {
    TREES.min(budget.limit() / 6)
}

/// Adds the controller of the Kustomization kind.
pub(crate) fn add(manager: &mut Manager, flags: &Flags) -> Result<(), Fatal> {
    flags::check(flags, manager.gates.enabled("ObjectLevelWorkloadIdentity"))?;
    let gate = |name: &str| manager.gates.enabled(name);
    let access = Access {
        no_cross_namespace: flags.cross_namespace.no_cross_namespace_refs,
        external_artifacts: gate("ExternalArtifact"),
    };
    let policy = Policy {
        access,
        requeue_dependency: flags.dependency.requeue_dependency,
        default_service_account: flags.default_service_account.clone(),
        concurrent_ssa: flags.concurrent_ssa,
        override_managers: flags.override_manager.clone(),
        custom_stage: GroupKind::parse_list(&flags.custom_apply_stage_kinds),
        fail_fast: !gate("DisableFailFastBehavior"),
        health_by_kind: !gate("DisableStatusPollerCache"),
        cancel_health_checks: gate("CancelHealthCheckOnNewRevision"),
        group_change_log: gate("GroupChangeLog"),
        migrate_api_version: gate("MigrateAPIVersion"),
        workload_identity: gate("ObjectLevelWorkloadIdentity"),
    };
    let direct = gate("DirectSourceFetch");
    if direct {
        tracing::info!(
            logger = "setup",
            "DirectSourceFetch is on: sources are read from the API server, not from the cache"
        );
    }
    let sources = Sources {
        direct: direct.then(|| manager.client.clone()),
        ..Sources::default()
    };

    let configs = if gate("CacheSecretsAndConfigMaps") {
        Configs::Cached(Cache::default(), Cache::default())
    } else {
        Configs::Live
    };

    let client = ClientOptions::default().build()?;
    let fetcher = |variable: &str| {
        let host = std::env::var(variable).ok().filter(|host| !host.is_empty());
        Fetcher::new(
            client.clone(),
            FetchOptions {
                retries: flags.http_retry,
                host,
                ..FetchOptions::default()
            },
            manager.budget.clone(),
        )
    };
    let kustomizations: Cache<Kustomization> = Cache::default();
    let reconciler = Kustomizations {
        policy,
        sources: sources.clone(),
        configs: configs.clone(),
        fetcher: fetcher("SOURCE_CONTROLLER_LOCALHOST"),
        watcher_fetcher: fetcher("SOURCE_WATCHER_LOCALHOST"),
        trees: TreeCache::new(kept(&manager.budget)),
        clusters: Clusters::new(
            manager.client.clone(),
            manager.config.clone(),
            manager.clients.clone(),
        ),
        builder: Builder::new(
            Remotes::new(client.clone(), manager.budget.clone(), work_folders()),
            !flags.no_remote_bases,
            gate("StrictPostBuildSubstitutions"),
            manager.budget.clone(),
        ),
        memories: Memories::default(),
    };

    let any = watcher::Config::default;
    let known = || kustomizations.clone();
    let mut controller = Controller::new(reconciler, SETTINGS, known(), manager.environment())
        .watching(
            manager.api::<GitRepository>(),
            any(),
            sources.git_repositories.clone(),
            on_source(SourceKind::GitRepository, known()),
        )
        .watching(
            manager.api::<OCIRepository>(),
            any(),
            sources.oci_repositories.clone(),
            on_source(SourceKind::OCIRepository, known()),
        )
        .watching(
            manager.api::<Bucket>(),
            any(),
            sources.buckets.clone(),
            on_source(SourceKind::Bucket, known()),
        );
    if access.external_artifacts {
        let on_change = on_source(SourceKind::ExternalArtifact, known());
        controller = controller.watching(
            manager.api::<ExternalArtifact>(),
            any(),
            sources.external_artifacts.clone(),
            on_change,
        );
    }
    let config_watchers = !gate("DisableConfigWatchers");
    if let Configs::Cached(maps, secrets) = configs {
        // The watch that keeps the content tells of the changes too: a reconcile finds what has brought it.
        let selector = &flags.manager.watch_configs_label_selector;
        let marked = config_watchers
            .then(|| Selector::parse(selector))
            .transpose()?
            .map(Arc::new);
        let on_map = on_config(ValuesKind::ConfigMap, known());
        let on_secret = on_config(ValuesKind::Secret, known());
        controller = controller
            .watching(
                manager.api::<ConfigMap>(),
                any(),
                maps,
                only_marked(marked.clone(), on_map),
            )
            .watching(
                manager.api::<Secret>(),
                any(),
                secrets,
                only_marked(marked, on_secret),
            );
    } else if config_watchers {
        // Metadata only, and only of what is marked to be watched (RT-WAT-009, RT-WAT-010).
        let marked = || match flags.manager.watch_configs_label_selector.as_str() {
            "" => any(),
            selector => any().labels(selector),
        };
        let secrets: Api<PartialObjectMeta<Secret>> = manager.api();
        let maps: Api<PartialObjectMeta<ConfigMap>> = manager.api();
        controller = controller
            .watching(
                secrets,
                marked(),
                Cache::default(),
                on_config(ValuesKind::Secret, known()),
            )
            .watching(
                maps,
                marked(),
                Cache::default(),
                on_config(ValuesKind::ConfigMap, known()),
            );
    }
    let enqueue = controller.enqueue();
    let all = known();
    kustomizations.subscribe(move |change| on_ready(change, &all, &enqueue));
    manager.add(controller);
    Ok(())
}

/// Where work keeps files while it runs. What a killed process has left there is removed now.
fn work_folders() -> WorkFolders {
    let work = WorkFolders::new("kustomize-controller");
    match work.open() {
        Ok(0) => {}
        Ok(count) => tracing::info!(logger = "setup", count, "removed leftover work folders"),
        // What needs a folder says so, too, and tries again.
        Err(error) => tracing::error!(logger = "setup", %error, "cannot open work folders"),
    }
    work
}

#[cfg(test)]
mod tests {
    use flux_budget::Budget;

    use super::kept;

    #[test]
    fn kept_artifacts_leave_most_of_the_budget_to_running_reconciles() {
        for (budget, bytes) in [
            (48 << 20, 8 << 20),
            (384 << 20, 64 << 20),
            (1 << 40, 64 << 20),
        ] {
            assert_eq!(kept(&Budget::new(budget)), bytes, "{budget}");
        }
    }
}
