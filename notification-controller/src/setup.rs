//! Wires the servers and controllers to their flags.

use flux_api::notification::{Alert, Provider, Receiver};
use flux_cluster::Cluster;
use flux_identity::{Identities, POST, Tokens};
use flux_references::triggers::on_config;
use flux_references::{Index, Reader};
use flux_runtime::controller::Controller;
use flux_runtime::manager::{Fatal, Manager};
use flux_runtime::static_kind::StaticController;
use flux_runtime::watch::{Cache, Watched};
use k8s_openapi::api::core::v1::Secret;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::watcher;
use kube::{Api, Resource};
use tokio_util::task::TaskTracker;

use crate::event_server::{self, Dispatcher, EventServer, Journal, Outcomes, Parts};
use crate::flags::Flags;
use crate::receiver::{self, FIELD_MANAGER, HOOK, Receivers};
use crate::receiver_server::{self, ReceiverServer};
use crate::server::{HttpMetrics, Server, listen};
use crate::static_kinds::{Alerts, Providers};

/// How long notifications may still take after the servers were stopped (NC-PROC-034).
const LAST_SENDS: std::time::Duration = std::time::Duration::from_secs(3);

/// Adds the servers, which answer whether this process leads or not (NC-PROC-027), and the controllers.
pub(crate) async fn add(manager: &mut Manager, flags: &Flags) -> Result<(), Fatal> {
    let secrets = secrets(manager);
    add_event_server(manager, flags, &secrets).await?;
    add_receiver_server(manager, flags, &secrets).await?;
    add_controllers(manager, secrets);
    Ok(())
}

async fn add_event_server(
    manager: &mut Manager,
    flags: &Flags,
    secrets: &Reader<Secret>,
) -> Result<(), Fatal> {
    let handler = (!flags.export_http_path_metrics).then_some("/");
    let metrics = HttpMetrics::new(manager.metrics.registry(), "gotk_event", handler)?;
    let alerts = followed::<Alert>(manager);
    let providers = followed::<Provider>(manager);
    let dispatcher = Dispatcher::new(Parts {
        alerts: alerts.clone(),
        providers: providers.clone(),
        secrets: secrets.clone(),
        identities: identities(manager, flags)?,
        recorder: manager.recorder.clone(),
        cluster: Cluster::new(manager.client.clone(), FIELD_MANAGER),
        no_cross_namespace: flags.cross_namespace.no_cross_namespace_refs,
        outcomes: Outcomes::new(manager.metrics.registry(), &alerts)?,
    });
    let (journal, left) = Journal::of_process();
    let tasks = TaskTracker::new();
    let server = Server {
        name: "Event server",
        logger: event_server::LOGGER,
        metrics,
        handler: EventServer::new(
            flags.rate_limit_interval,
            dispatcher.into(),
            journal,
            tasks.clone(),
        ),
    };
    let listener = listen(&flags.manager.events_addr).await?;
    let secrets = secrets.clone();
    manager.add_at_once(move |stop| async move {
        // Before that, an event would find no Alert and be lost (NC-PROC-029).
        let synced = async {
            alerts.synced().await;
            providers.synced().await;
            secrets.synced().await;
        };
        tokio::select! {
            () = synced => {
                server.handler.resume(left).await;
                server.serve(listener, stop).await;
            }
            () = stop.cancelled() => {}
        }
        tasks.close();
        let _ = tokio::time::timeout(LAST_SENDS, tasks.wait()).await;
        Ok(())
    });
    Ok(())
}

async fn add_receiver_server(
    manager: &mut Manager,
    flags: &Flags,
    secrets: &Reader<Secret>,
) -> Result<(), Fatal> {
    let handler = (!flags.export_http_path_metrics).then_some(HOOK);
    let metrics = HttpMetrics::new(manager.metrics.registry(), "gotk_receiver", handler)?;
    let receivers = followed::<Receiver>(manager);
    let cluster = Cluster::new(manager.client.clone(), FIELD_MANAGER);
    let no_cross_namespace = flags.cross_namespace.no_cross_namespace_refs;
    let server = Server {
        name: "Receiver server",
        logger: receiver_server::LOGGER,
        metrics,
        handler: ReceiverServer::new(&receivers, secrets.clone(), cluster, no_cross_namespace)?,
    };
    let listener = listen(&flags.receiver_addr).await?;
    let secrets = secrets.clone();
    manager.add_at_once(move |stop| async move {
        let synced = async {
            receivers.synced().await;
            secrets.synced().await;
        };
        tokio::select! {
            () = synced => server.serve(listener, stop).await,
            () = stop.cancelled() => {}
        }
        Ok(())
    });
    Ok(())
}

fn add_controllers(manager: &mut Manager, secrets: Reader<Secret>) {
    let environment = manager.environment();
    let alerts = StaticController::new(Alerts, "alert", Cache::default(), environment.clone());
    manager.add_static(alerts);
    let kind = Providers {
        metrics: manager.metrics.clone(),
    };
    let providers = StaticController::new(kind, "provider", Cache::default(), environment.clone());
    manager.add_static(providers);

    let receivers: Cache<Receiver> = Cache::default();
    let mut controller = Controller::new(
        Receivers { secrets },
        receiver::SETTINGS,
        receivers.clone(),
        environment,
    );
    // NC-PROC-021, NC-RECV-021
    if !manager.gates.enabled("DisableConfigWatchers") {
        let selector = &*manager.flags.watch_configs_label_selector;
        let config = match selector {
            "" => watcher::Config::default(),
            selector => watcher::Config::default().labels(selector),
        };
        let index = Index::of(&receivers, receiver::references);
        let watched: Api<PartialObjectMeta<Secret>> = manager.api();
        controller = controller.watching(
            watched,
            config,
            Cache::default(),
            on_config(index, receivers),
        );
    }
    manager.add(controller);
}

/// As whom Providers act at clouds (NC-PROC-018, NC-PROV-060 to NC-PROV-066).
fn identities(manager: &Manager, flags: &Flags) -> Result<Identities, Fatal> {
    let tokens = Tokens::from_flags(&flags.tokens, &manager.metrics)?.for_operation(POST);
    let client = manager.client.clone();
    let account = &flags.default_service_account;
    Ok(Identities::new(client, tokens, account))
}

/// How Secrets are read: from the API server at each use, or from a cache of all of them (NC-PROC-020).
fn secrets(manager: &mut Manager) -> Reader<Secret> {
    if manager.gates.enabled("CacheSecretsAndConfigMaps") {
        Reader::Cached(followed(manager))
    } else {
        Reader::Direct(manager.client.clone())
    }
}

/// A cache that is filled whether this process leads or not.
fn followed<K>(manager: &mut Manager) -> Cache<K>
where
    K: Watched + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let cache = Cache::default();
    let (api, filled) = (manager.api::<K>(), cache.clone());
    manager.add_at_once(move |stop| async move {
        filled.run(api, watcher::Config::default(), stop).await;
        Ok(())
    });
    cache
}
