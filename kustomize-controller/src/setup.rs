//! Wires the reconciler to its flags and watches.

use std::sync::Arc;

use flux_api::kustomize::{Kustomization, SourceKind};
use flux_api::meta::ValuesKind;
use flux_api::source::{Bucket, ExternalArtifact, GitRepository, OCIRepository};
use flux_apply::order::GroupKind;
use flux_artifact::{Artifacts, FetchOptions, Hosts};
use flux_http::ClientOptions;
use flux_identity::Tokens;
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
use crate::kustomization::{
    Access, Builder, Clusters, Configs, Kustomizations, Memories, Policy, Remotes, SETTINGS,
    Sources, Waiting, on_config, on_ready, on_source, only_marked,
};

/// Registers the controller of the Kustomization kind.
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
    let options = FetchOptions {
        retries: flags.http_retry,
        ..FetchOptions::default()
    };
    let hosts = Hosts::from_environment();
    let artifacts = Artifacts::new(client.clone(), options, hosts, &manager.budget);
    // Registered from the start, so that its metrics exist even if no object needs a token (RT-MET-009).
    Tokens::from_flags(&flags.token_cache, &manager.metrics)?;
    let work = WorkFolders::opened("kustomize-controller");
    let kustomizations: Cache<Kustomization> = Cache::default();
    let waiting = Waiting::default();
    let reconciler = Kustomizations {
        policy,
        sources: sources.clone(),
        configs: configs.clone(),
        artifacts,
        clusters: Clusters::new(
            manager.client.clone(),
            manager.config.clone(),
            manager.clients.clone(),
        ),
        builder: Builder::new(
            Remotes::new(client.clone(), manager.budget.clone(), work),
            !flags.no_remote_bases,
            gate("StrictPostBuildSubstitutions"),
            manager.budget.clone(),
        ),
        memories: Memories::new(manager.budget.clone()),
        waiting: waiting.clone(),
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
        // The watch that fills the cache also delivers the changes, so that a reconcile finds the change that triggered it.
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
        // Metadata only, and only of objects with the label to be watched (RT-WAT-009, RT-WAT-010).
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
    kustomizations.subscribe(move |change| on_ready(change, &waiting, &enqueue));
    manager.add(controller);
    Ok(())
}
