//! Wires the reconciler to its flags and watches.

use std::time::Duration;

use flux_api::kustomize::Kustomization;
use flux_api::source::{Bucket, ExternalArtifact, GitRepository, OCIRepository};
use flux_apply::order::GroupKind;
use flux_artifact::{Artifacts, FetchOptions, Hosts};
use flux_cloud::Environment;
use flux_http::ClientOptions;
use flux_identity::{Identities, Tokens};
use flux_references::triggers::{on_new_revision, on_ready};
use flux_references::{Configs, Index, Sources, Waiting};
use flux_runtime::controller::Controller;
use flux_runtime::manager::{Fatal, Manager, runtime_namespace};
use flux_runtime::queue::Key;
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use flux_tenancy::{Access, Clusters};
use kube::runtime::watcher;

use crate::flags::Flags;
use crate::kustomization::{
    Builder, Decryption, FIELD_MANAGER, Kustomizations, Memories, Policy, Remotes, SETTINGS,
    applied_revision, concerned, references,
};
use crate::watched::Watches;

/// Registers the controller of the Kustomization kind.
pub(crate) fn add(manager: &mut Manager, flags: &Flags) -> Result<(), Fatal> {
    let gate = |name: &str| manager.gates.enabled(name);
    let access = Access {
        no_cross_namespace: flags.cross_namespace.no_cross_namespace_refs,
        external_artifacts: gate("ExternalArtifact"),
    };
    let policy = Policy {
        access,
        requeue_dependency: flags.dependency.requeue_dependency,
        default_service_account: flags.impersonation.default_service_account.clone(),
        concurrent_ssa: flags.concurrent_ssa,
        override_managers: flags.takeover.override_manager.clone(),
        early_override_managers: flags.override_manager_before_dry_run.clone(),
        custom_stage: GroupKind::parse_list(&flags.custom_apply_stage_kinds),
        fail_fast: !gate("DisableFailFastBehavior"),
        health_by_kind: !gate("DisableStatusPollerCache"),
        cancel_health_checks: gate("CancelHealthCheckOnNewRevision"),
        additive_expressions: gate("AdditiveCELDependencyCheck"),
        report_success: !gate("DisableCommitStatusEvent"),
        group_change_log: gate("GroupChangeLog"),
        migrate_api_version: gate("MigrateAPIVersion"),
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

    let configs = Configs::new(gate("CacheSecretsAndConfigMaps"), &manager.client);

    let client = ClientOptions::default().build()?;
    let options = FetchOptions {
        retries: flags.download.http_retry,
        ..FetchOptions::default()
    };
    let hosts = Hosts::from_environment();
    let artifacts = Artifacts::new(client.clone(), options, hosts, &manager.budget);
    // Registered from the start, so that its metrics exist even if no object needs a token (RT-MET-009).
    let tokens = Tokens::from_flags(&flags.token_cache, &manager.metrics)?;
    let default_account = &flags.default_decryption_service_account;
    // Both are read in the controller's own namespace only.
    let own = |name: &str| {
        let namespace = runtime_namespace().filter(|_| !name.is_empty());
        namespace.map(|namespace| Key::new(namespace, name))
    };
    let decryption = Decryption {
        configs: configs.clone(),
        identities: Identities::new(manager.client.clone(), tokens.clone(), default_account),
        client: manager.client.clone(),
        age_secret: own(&flags.sops_age_secret),
        transit_servers: own(&flags.sops_vault_configmap),
        environment: Environment::of_process(),
    };
    let default_account = &flags.kube_config.default_kubeconfig_service_account;
    let remotes = flux_tenancy::Remotes {
        configs: configs.clone(),
        identities: Identities::new(manager.client.clone(), tokens, default_account),
        flags: flags.kube_config.clone(),
    };
    let work = WorkFolders::opened("kustomize-controller");
    let kustomizations: Cache<Kustomization> = Cache::compact();
    let waiting = Waiting::default();
    let clusters = Clusters::new(
        manager.client.clone(),
        manager.config.clone(),
        manager.clients.clone(),
        FIELD_MANAGER,
    );
    let watches = Watches::new(clusters.own().clone(), manager.budget.clone());
    let memories = Memories::new(manager.budget.clone());
    let last_states = memories.last_states();
    let reconciler = Kustomizations {
        policy,
        sources: sources.clone(),
        configs: configs.clone(),
        artifacts,
        clusters: clusters.reaching(remotes),
        builder: Builder::new(
            Remotes::new(client.clone(), manager.budget.clone(), work),
            !flags.no_remote_bases,
            gate("StrictPostBuildSubstitutions"),
            manager.budget.clone(),
        ),
        decryption,
        memories,
        watches: watches.clone(),
        waiting: waiting.clone(),
    };

    let index = Index::of(&kustomizations, references);
    let known = || kustomizations.clone();
    let mut controller = Controller::new(reconciler, SETTINGS, known(), manager.environment())
        .watching(
            manager.api::<GitRepository>(),
            watcher::Config::default(),
            sources.git_repositories.clone(),
            on_new_revision(index.clone(), concerned(known())),
        )
        .watching(
            manager.api::<OCIRepository>(),
            watcher::Config::default(),
            sources.oci_repositories.clone(),
            on_new_revision(index.clone(), concerned(known())),
        )
        .watching(
            manager.api::<Bucket>(),
            watcher::Config::default(),
            sources.buckets.clone(),
            on_new_revision(index.clone(), concerned(known())),
        );
    if access.external_artifacts {
        controller = controller.watching(
            manager.api::<ExternalArtifact>(),
            watcher::Config::default(),
            sources.external_artifacts.clone(),
            on_new_revision(index.clone(), concerned(known())),
        );
    }
    let selector = &*flags.manager.watch_configs_label_selector;
    let selector = (!gate("DisableConfigWatchers")).then_some(selector);
    let controller = configs.watched(controller, manager, selector, (&index, &kustomizations))?;
    let enqueue = controller.enqueue();
    let corrects = enqueue.clone();
    manager.add_leading(move |stop| async move {
        let enqueue = |key| corrects.add_after(key, Duration::ZERO);
        watches.run(last_states, enqueue, stop).await;
        Ok(())
    });
    kustomizations.subscribe(move |change| on_ready(change, applied_revision, &waiting, &enqueue));
    manager.add(controller);
    Ok(())
}
