//! Wires the reconciler to its flags and watches.

use std::sync::Arc;

use flux_api::helm::HelmRelease;
use flux_api::source::{ExternalArtifact, HelmChart, OCIRepository};
use flux_artifact::{Artifacts, FetchOptions, Hosts};
use flux_cluster::Cluster;
use flux_http::ClientOptions;
use flux_identity::{Identities, Tokens};
use flux_references::triggers::on_ready;
use flux_references::{Configs, Index, Sources, Waiting};
use flux_release::SchemaDocuments;
use flux_runtime::controller::Controller;
use flux_runtime::manager::{Fatal, Manager};
use flux_runtime::watch::Cache;
use flux_tenancy::{Access, Clusters};
use kube::runtime::watcher;
use tokio::sync::Semaphore;

use crate::flags::{Flags, digest_algorithm};
use crate::helm_release::{
    Charts, FIELD_MANAGER, HelmReleases, Policy, SETTINGS, Seen, Written, applied_revision,
    on_source, references,
};
use crate::oom_watch::OomWatch;

/// How many actions run concurrently for each worker: an action holds none, since most of it is waiting for the cluster.
const ACTIONS_PER_WORKER: usize = 8;

/// Registers the controller of the HelmRelease kind.
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
        override_managers: flags.takeover.override_manager.clone(),
        digests: digest_algorithm(&flags.snapshot_digest_algo)?,
        additive_expressions: gate("AdditiveCELDependencyCheck"),
        allow_dns: gate("AllowDNSLookups"),
        cancel_health_checks: gate("CancelHealthCheckOnNewRevision"),
        default_to_retry: gate("DefaultToRetryOnFailure"),
        track_digests: !gate("DisableChartDigestTracking"),
        helm3_defaults: gate("UseHelm3Defaults"),
    };
    if gate("AdoptLegacyReleases") {
        tracing::info!(
            logger = "setup",
            "warning: the 'AdoptLegacyReleases' feature gate is ignored and has no effect since v1.5.0, adoption of HelmRelease resources in legacy API versions is no longer supported"
        );
    }
    // HC-PROC-032
    if gate("DetectDrift") || gate("CorrectDrift") {
        tracing::info!(
            logger = "setup",
            "the feature gates DetectDrift and CorrectDrift have no effect: drift detection is configured by .spec.driftDetection of each HelmRelease"
        );
    }
    let direct = gate("DirectSourceFetch");
    if direct {
        tracing::info!(
            logger = "setup",
            "DirectSourceFetch feature gate is enabled, source objects will be fetched directly from the API server"
        );
    }
    let sources = Sources {
        direct: direct.then(|| manager.client.clone()),
        ..Sources::default()
    };

    let configs = Configs::new(gate("CacheSecretsAndConfigMaps"), &manager.client);
    let options = FetchOptions {
        retries: flags.download.http_retry,
        stall: flags.http_timeout,
        ..FetchOptions::default()
    };
    let artifacts = Artifacts::new(
        ClientOptions::default().build()?,
        options,
        Hosts::from_environment(),
        &manager.budget,
    );
    // Registered from the start, so that its metrics exist even if no object needs a token (RT-MET-009).
    let tokens = Tokens::from_flags(&flags.token_cache, &manager.metrics)?;
    let default_account = &flags.kube_config.default_kubeconfig_service_account;
    let remotes = flux_tenancy::Remotes {
        configs: configs.clone(),
        identities: Identities::new(manager.client.clone(), tokens, default_account),
        flags: flags.kube_config.clone(),
    };
    let releases: Cache<HelmRelease> = Cache::default();
    let waiting = Waiting::default();
    let (seen, written) = (Seen::default(), Written::default());
    let actions = flags.manager.concurrent.max(1) * ACTIONS_PER_WORKER;
    let reconciler = HelmReleases {
        policy,
        sources: sources.clone(),
        configs: configs.clone(),
        charts: Charts::new(artifacts, &manager.budget),
        clusters: Clusters::new(
            manager.client.clone(),
            manager.config.clone(),
            manager.clients.clone(),
            FIELD_MANAGER,
        )
        .reaching(remotes),
        own: Cluster::new(manager.client.clone(), FIELD_MANAGER),
        documents: SchemaDocuments::from_environment(&manager.budget),
        budget: manager.budget.clone(),
        running: Arc::new(Semaphore::new(actions)),
        waiting: waiting.clone(),
        seen: seen.clone(),
        written: written.clone(),
    };

    let index = Index::of(&releases, references);
    let known = || releases.clone();
    let any = watcher::Config::default;
    let mut controller = Controller::new(reconciler, SETTINGS, known(), manager.environment())
        .watching(
            manager.api::<HelmChart>(),
            any(),
            sources.helm_charts.clone(),
            on_source(index.clone(), known()),
        )
        .watching(
            manager.api::<OCIRepository>(),
            any(),
            sources.oci_repositories.clone(),
            on_source(index.clone(), known()),
        )
        .clearing(&seen)
        .clearing(&written);
    if access.external_artifacts {
        controller = controller.watching(
            manager.api::<ExternalArtifact>(),
            any(),
            sources.external_artifacts.clone(),
            on_source(index.clone(), known()),
        );
    }
    let selector = &*flags.manager.watch_configs_label_selector;
    let selector = (!gate("DisableConfigWatchers")).then_some(selector);
    let controller = configs.watched(controller, manager, selector, (&index, &releases))?;
    let enqueue = controller.enqueue();
    releases.subscribe(move |change| on_ready(change, applied_revision, &waiting, &enqueue));
    if gate("OOMWatch") {
        tracing::info!(logger = "setup", "setting up OOM watcher");
        let watch = OomWatch::new(&flags.oom)?;
        manager.add_at_once(|stop| async move {
            watch.run(stop).await;
            Ok(())
        });
    }
    manager.add(controller);
    Ok(())
}
