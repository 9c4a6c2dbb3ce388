//! Wires the components of the process according to the flags.

use std::time::Duration;

use flux_api::extensions::ArtifactGenerator;
use flux_artifact::{Artifacts, ExtractOptions, FetchOptions, Hosts};
use flux_cluster::Cluster;
use flux_http::ClientOptions;
use flux_publish::Publisher;
use flux_references::{Index, Source, Sources};
use flux_runtime::controller::Controller;
use flux_runtime::manager::{Fatal, Manager};
use flux_runtime::watch::Cache;
use flux_runtime::work::WorkFolders;
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher;

use crate::artifact_generator::{
    ArtifactGenerators, FIELD_MANAGER, Parts, Policy, SETTINGS, on_change_of_source, references,
    resumes, sweep_once,
};
use crate::flags::Flags;

/// The most bytes of a source, packed and unpacked. Only its paths are held in memory.
const MAX_SOURCE: u64 = 4 << 30;

/// Opens the storage, and adds the artifact server and the controller to the manager.
pub(crate) fn add(manager: &mut Manager, flags: &Flags) -> Result<(), Fatal> {
    let publisher = Publisher::from_flags(&flags.storage)?;
    let storage = publisher.storage().clone();
    // SW-PROC-042
    tracing::info!(
        logger = "setup",
        "storage setup for {}",
        storage.root().display()
    );
    publisher.serve(manager, &flags.storage);

    let direct = manager.gates.enabled("DirectSourceFetch");
    if direct {
        // SW-PROC-026
        tracing::info!(
            logger = "setup",
            "DirectSourceFetch feature gate is enabled, sources will be fetched directly from the API server bypassing the cache"
        );
    }
    let sources = Sources {
        direct: direct.then(|| manager.client.clone()),
        ..Sources::default()
    };
    // SW-PROC-028: for every source, whichever controller serves it
    let hosts = Hosts::from_environment();
    let hosts = Hosts {
        source_watcher: hosts.source_controller.clone(),
        ..hosts
    };
    let options = fetch_options(flags.download.http_retry);
    let client = ClientOptions::default().build()?;
    let artifacts = Artifacts::new(client, options, hosts, &manager.budget).with_storage(storage);
    let policy = Policy {
        no_cross_namespace: flags.cross_namespace.no_cross_namespace_refs,
        requeue_dependency: flags.dependency.requeue_dependency,
        default_service_account: flags.default_service_account.clone(),
        override_managers: flags.takeover.override_manager.clone(),
        timeout: flags.reconciliation_timeout,
    };
    let generators = Cache::<ArtifactGenerator>::default();
    let reconciler = ArtifactGenerators::new(Parts {
        policy,
        sources: sources.clone(),
        artifacts,
        publisher: publisher.clone(),
        cluster: Cluster::new(manager.client.clone(), FIELD_MANAGER),
        work: WorkFolders::opened("source-watcher"),
        budget: manager.budget.clone(),
        generators: generators.clone(),
        namespace: manager.namespace(),
    });
    let memory = reconciler.memory();
    let settings = flux_runtime::Settings {
        timeout: Some(flags.reconciliation_timeout).filter(|limit| *limit > Duration::ZERO),
        ..SETTINGS
    };
    let index = Index::of(&generators, references);
    let controller = Controller::new(
        reconciler,
        settings,
        generators.clone(),
        manager.environment(),
    );
    // SW-GEN-031
    let controller = watching(controller, manager, &sources.git_repositories, &index);
    let controller = watching(controller, manager, &sources.oci_repositories, &index);
    let controller = watching(controller, manager, &sources.buckets, &index);
    let controller = watching(controller, manager, &sources.helm_charts, &index);
    let controller = watching(controller, manager, &sources.external_artifacts, &index);
    let controller = controller.clearing(&memory);
    let enqueue = controller.enqueue();
    generators.subscribe(move |change| {
        if let Some(object) = resumes(change) {
            enqueue.add(flux_runtime::queue::Key::of(&**object), &**object);
        }
    });
    let (known, namespace) = (sources.external_artifacts, manager.namespace());
    manager.add_leading(async move |stop| {
        tokio::select! {
            () = sweep_once(publisher, known, namespace) => stop.cancelled().await,
            () = stop.cancelled() => {}
        }
        Ok(())
    });
    manager.add(controller);
    Ok(())
}

/// How sources are downloaded (SW-ART-001, SW-ART-003).
fn fetch_options(retries: u32) -> FetchOptions {
    FetchOptions {
        retries,
        max_download: MAX_SOURCE,
        extract: ExtractOptions {
            max_bytes: MAX_SOURCE,
            ..ExtractOptions::default()
        },
        ..FetchOptions::default()
    }
}

/// Watches a kind of sources; a new artifact enqueues the generators that refer to it.
fn watching<S>(
    controller: Controller<ArtifactGenerators>,
    manager: &Manager,
    known: &Cache<S>,
    index: &Index,
) -> Controller<ArtifactGenerators>
where
    S: Source + kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    controller.watching(
        manager.api::<S>(),
        watcher::Config::default(),
        known.clone(),
        on_change_of_source(index.clone()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_bounded_by_the_disk_and_retried_as_upstream_does() {
        let options = fetch_options(9);
        // SW-ART-003: far beyond the limits of what applies artifacts
        let consumers = FetchOptions::default();
        assert!(options.max_download >= 4 * consumers.max_download);
        assert!(options.extract.max_bytes >= 4 * consumers.extract.max_bytes);
        // SW-ART-001
        let secs = Duration::from_secs;
        assert_eq!(
            (options.retries, options.min_wait, options.max_wait),
            (9, secs(5), secs(30))
        );
    }
}
