//! The events of all other controllers, from the run that they tell of to the service of an Alert.

use kind_tests::controller::Settings;
use kind_tests::{
    Cluster, Controller, Failure, Flux, IMAGE_POLICY, IMAGE_UPDATE_AUTOMATION, Result, SHARD_LABEL,
    ensure,
};
use serde_json::{Value, json};

use crate::service::{Got, Service};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: 4.5.6\n";
const MARKED: &str = "image: reg.io/app:1.0.0 # {\"$imagepolicy\": \"NAMESPACE:app\"}\n";

/// An event of this controller with this reason, about an object of this kind.
async fn event(chat: &Service, sender: &str, kind: &str, reason: &str) -> Result<Value> {
    let fits = |got: &Got| {
        let event = got.json();
        event["reportingController"] == sender
            && event["involvedObject"]["kind"] == kind
            && event["reason"] == reason
    };
    let got = chat.wait(fits).await;
    let got = got.ok_or_else(|| {
        let lines: Vec<_> = chat
            .got()
            .iter()
            .map(|got| got.json().to_string())
            .collect();
        Failure::new(format!("no event {reason} of {sender}: {lines:#?}"))
    })?;
    let event = got.json();
    // RT-EVT-020
    ensure!(
        event["action"]
            .as_str()
            .is_some_and(|action| !action.is_empty()),
        "{event}"
    );
    ensure!(event["severity"] == "info", "{event}");
    // NC-EVT-034: the group of the kind is no part of the keys
    let keys = event["metadata"].as_object().into_iter().flatten();
    for (key, _) in keys {
        ensure!(!key.contains('/'), "{event}");
    }
    Ok(event)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_of_all_controllers_arrive_at_a_service() -> Result {
    let flux = Flux::start_notified_on(&Cluster::shared().await?, "notify-senders").await?;
    let namespace = &flux.namespace;
    let notification = flux.notification.as_ref();
    let events = notification
        .and_then(Controller::events_url)
        .unwrap_or_default();
    let settings = || {
        Settings::default()
            .flag(format!("--events-addr={events}"))
            .env(
                "SOURCE_CONTROLLER_LOCALHOST",
                flux.source.artifact_address().unwrap_or_default(),
            )
    };
    let chat = Service::willing().await;
    let group = "notification.toolkit.fluxcd.io/v1";
    let kinds = [
        "GitRepository",
        "HelmChart",
        "Kustomization",
        "HelmRelease",
        "ImageRepository",
        "ImagePolicy",
        "ImageUpdateAutomation",
        "ArtifactGenerator",
    ];
    let sources: Vec<_> = kinds
        .iter()
        .map(|kind| format!("{{kind: {kind}, name: '*'}}"))
        .collect();
    for yaml in [
        format!(
            "{{apiVersion: {group}, kind: Provider, metadata: {{name: chat}}, spec: {{type: generic, address: '{}'}}}}",
            chat.url
        ),
        format!(
            "{{apiVersion: {group}, kind: Alert, metadata: {{name: chat}}, spec: {{providerRef: {{name: chat}}, \
             eventMetadata: {{cluster: tests}}, eventSources: [{}]}}}}",
            sources.join(", ")
        ),
    ] {
        namespace.apply(&yaml).await?;
    }
    let others = [
        Controller::start("helm-controller", namespace, settings()).await?,
        Controller::start("image-automation-controller", namespace, settings()).await?,
        Controller::start("source-watcher", namespace, settings()).await?,
    ];

    let revision = flux.commit(&[
        ("apps/a.yaml", MAP),
        (
            "images/app.yaml",
            &MARKED.replace("NAMESPACE", namespace.name()),
        ),
        ("chart/Chart.yaml", CHART),
        ("chart/templates/b.yaml", &MAP.replace("name: a", "name: b")),
    ]);
    flux.follow_main().await?;
    // SC-PROC-085, SC-GIT-112
    let told = event(&chat, "source-controller", "GitRepository", "NewArtifact").await?;
    ensure!(told["metadata"]["revision"] == revision, "{told}");
    // NC-ALERT-007, NC-EVT-033
    ensure!(told["metadata"]["cluster"] == "tests", "{told}");

    namespace
        .apply(&flux.kustomization("app", &["prune: true", "path: apps"]))
        .await?;
    // KC-EVT-004, KC-EVT-008
    let told = event(
        &chat,
        "kustomize-controller",
        "Kustomization",
        "ReconciliationSucceeded",
    )
    .await?;
    ensure!(
        told["metadata"]["revision"] == revision && told["metadata"]["commit_status"] == "update",
        "{told}"
    );

    namespace
        .apply(&format!(
            "{{apiVersion: helm.toolkit.fluxcd.io/v2, kind: HelmRelease, metadata: {{name: web}}, spec: {{interval: 1h, \
             chart: {{metadata: {{labels: {{{SHARD_LABEL}: {}}}}}, \
             spec: {{chart: chart, sourceRef: {{kind: GitRepository, name: app}}}}}}}}}}",
            namespace.name()
        ))
        .await?;
    // HC-EVT-012, HC-EVT-015
    let told = event(&chat, "helm-controller", "HelmRelease", "InstallSucceeded").await?;
    ensure!(
        told["metadata"]["revision"] == "1.2.3" && told["metadata"]["app-version"] == "4.5.6",
        "{told}"
    );
    event(
        &chat,
        "source-controller",
        "HelmChart",
        "ChartPackageSucceeded",
    )
    .await?;

    namespace
        .apply(
            "{apiVersion: source.extensions.fluxcd.io/v1beta1, kind: ArtifactGenerator, metadata: {name: parts}, spec: {\
             sources: [{alias: app, kind: GitRepository, name: app}], \
             artifacts: [{name: parts, copy: [{from: '@app/apps/**', to: '@artifact/'}]}]}}",
        )
        .await?;
    event(&chat, "source-watcher", "ArtifactGenerator", "Ready").await?;

    for yaml in [
        "{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImagePolicy, metadata: {name: app}, spec: {imageRepositoryRef: \
         {name: app}, policy: {semver: {range: '*'}}}}",
        "{apiVersion: image.toolkit.fluxcd.io/v1, kind: ImageUpdateAutomation, metadata: {name: app}, spec: {interval: 1h, \
         git: {commit: {author: {email: flux@example.com}}}, sourceRef: {kind: GitRepository, name: app}}}",
    ] {
        namespace.apply(yaml).await?;
    }
    let status = json!({"latestRef": {"name": "reg.io/app", "tag": "1.1.0"}});
    namespace.set_status(IMAGE_POLICY, "app", status).await?;
    let told = event(
        &chat,
        "image-automation-controller",
        "ImageUpdateAutomation",
        "Succeeded",
    )
    .await?;
    let pushed = namespace
        .wait(IMAGE_UPDATE_AUTOMATION, "app", "has pushed", |object| {
            object["status"]["lastPushCommit"].is_string()
        })
        .await?;
    let commit = pushed["status"]["lastPushCommit"]
        .as_str()
        .unwrap_or_default();
    ensure!(
        told["message"]
            .as_str()
            .is_some_and(|text| text.contains(commit.get(..7).unwrap_or("?"))),
        "{told} {pushed}"
    );
    drop(others);
    Ok(())
}
