//! The events of all other controllers, from the run that they tell of to the service of an Alert.

use kind_tests::controller::Settings;
use kind_tests::{
    Cluster, Controller, Failure, Flux, GIT_REPOSITORY, IMAGE_UPDATE_AUTOMATION, KUSTOMIZATION,
    Namespace, Result, SHARD_LABEL, ensure,
};
use registries::{Artifact, Registry, tar_gz};
use serde_json::{Value, json};

use crate::service::{Got, Service};

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n";
const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.2.3\nappVersion: 4.5.6\n";
const MARKED: &str = "image: IMAGE:1.0.0 # {\"$imagepolicy\": \"NAMESPACE:app\"}\n";

/// An event of this controller with this severity and reason, about an object of this kind, whose message has these words.
async fn event_saying(
    chat: &Service,
    (sender, kind): (&str, &str),
    (severity, reason): (&str, &str),
    words: &str,
) -> Result<Value> {
    let fits = |got: &Got| {
        let event = got.json();
        event["reportingController"] == sender
            && event["involvedObject"]["kind"] == kind
            && event["reason"] == reason
            && event["message"]
                .as_str()
                .is_some_and(|text| text.contains(words))
    };
    let got = chat.wait(fits).await;
    let got = got.ok_or_else(|| {
        let lines: Vec<_> = chat
            .got()
            .iter()
            .map(|got| got.json().to_string())
            .collect();
        Failure::new(format!(
            "no event {reason} of {sender} with {words:?}: {lines:#?}"
        ))
    })?;
    let event = got.json();
    // RT-EVT-004, SC-PROC-081, KC-EVT-008
    for field in ["apiVersion", "namespace", "name", "uid", "resourceVersion"] {
        let value = event["involvedObject"][field].as_str();
        ensure!(value.is_some_and(|text| !text.is_empty()), "{event}");
    }
    // RT-EVT-020
    for field in ["action", "timestamp", "reportingInstance"] {
        let value = event[field].as_str();
        ensure!(value.is_some_and(|text| !text.is_empty()), "{event}");
    }
    // RT-EVT-003
    ensure!(event["severity"] == severity, "{event}");
    // NC-EVT-034: the group of the kind is no part of the keys
    let keys = event["metadata"].as_object().into_iter().flatten();
    for (key, _) in keys {
        ensure!(!key.contains('/'), "{event}");
    }
    Ok(event)
}

/// An event of this controller with this reason, about an object of this kind.
async fn event(chat: &Service, sender: &str, kind: &str, reason: &str) -> Result<Value> {
    event_saying(chat, (sender, kind), ("info", reason), "").await
}

/// Sends the events about objects of these kinds to the service.
async fn tell(namespace: &Namespace, chat: &Service, kinds: &[&str]) -> Result {
    let group = "notification.toolkit.fluxcd.io/v1";
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
    Ok(())
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
    tell(namespace, &chat, &kinds).await?;
    let others = [
        Controller::start("helm-controller", namespace, settings()).await?,
        Controller::start("image-reflector-controller", namespace, settings()).await?,
        Controller::start("image-automation-controller", namespace, settings()).await?,
        Controller::start("source-watcher", namespace, settings()).await?,
    ];

    let registry = Registry::start();
    registry.push("org/app", "1.1.0", &Artifact::flux(tar_gz(&[("a", "b")])));
    let image = registry.repository("org/app");
    let marked = MARKED.replace("NAMESPACE", namespace.name());
    let revision = flux.commit(&[
        ("apps/a.yaml", MAP),
        ("images/app.yaml", &marked.replace("IMAGE", &image)),
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

    let group = "image.toolkit.fluxcd.io/v1";
    for yaml in [
        format!(
            "{{apiVersion: {group}, kind: ImageRepository, metadata: {{name: app}}, spec: {{image: '{image}', insecure: true, interval: 1h}}}}"
        ),
        format!(
            "{{apiVersion: {group}, kind: ImagePolicy, metadata: {{name: app}}, spec: {{imageRepositoryRef: {{name: app}}, policy: {{semver: {{range: '*'}}}}}}}}"
        ),
        format!(
            "{{apiVersion: {group}, kind: ImageUpdateAutomation, metadata: {{name: app}}, spec: {{interval: 1h, \
         git: {{commit: {{author: {{email: flux@example.com}}}}}}, sourceRef: {{kind: GitRepository, name: app}}}}}}"
        ),
    ] {
        namespace.apply(&yaml).await?;
    }
    // IR-REPO-101, IR-POL-057
    let sender = "image-reflector-controller";
    for (kind, words) in [
        ("ImageRepository", "successful scan: found 1 tags"),
        ("ImagePolicy", "resolved to 1.1.0"),
    ] {
        let told = event(&chat, sender, kind, "Succeeded").await?;
        let message = told["message"].as_str().unwrap_or_default();
        ensure!(message.contains(words), "{told}");
    }
    let pushed = namespace
        .wait(IMAGE_UPDATE_AUTOMATION, "app", "has pushed", |object| {
            object["status"]["lastPushCommit"].is_string()
        })
        .await?;
    let commit = pushed["status"]["lastPushCommit"].as_str();
    let commit = commit.and_then(|commit| commit.get(..7)).unwrap_or("?");
    // IA-STATUS-030
    let automation = ("image-automation-controller", "ImageUpdateAutomation");
    event_saying(&chat, automation, ("info", "Succeeded"), commit).await?;
    drop(others);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_failures_and_annotations_arrive_at_a_service() -> Result {
    let flux = Flux::start_notified_on(&Cluster::shared().await?, "notify-changes").await?;
    let namespace = &flux.namespace;
    let chat = Service::willing().await;
    tell(namespace, &chat, &["GitRepository", "Kustomization"]).await?;
    let source = ("source-controller", "GitRepository");
    let kustomization = ("kustomize-controller", "Kustomization");
    let id = |name: &str| format!("ConfigMap/{}/{name}", namespace.name());

    let first = flux.commit(&[("a.yaml", MAP)]);
    flux.follow_main().await?;
    let annotated =
        json!({"metadata": {"annotations": {"event.toolkit.fluxcd.io/change_request": "7"}}});
    namespace
        .apply(&flux.kustomization("app", &["prune: true", "suspend: true"]))
        .await?;
    namespace.merge(KUSTOMIZATION, "app", annotated).await?;
    namespace
        .merge(KUSTOMIZATION, "app", json!({"spec": {"suspend": false}}))
        .await?;
    // KC-EVT-002, KC-EVT-005
    let during = ("info", "Progressing");
    let created = format!("{} created", id("a"));
    let told = event_saying(&chat, kustomization, during, &created).await?;
    // KC-EVT-003, RT-EVT-014
    ensure!(
        told["metadata"]["revision"] == first && told["metadata"]["change_request"] == "7",
        "{told}"
    );
    ensure!(told["action"] == "Apply", "{told}");

    // RT-EVT-003, SC-PROC-087: what is unchanged is not posted; what comes after it shows that nothing is still to come
    let at = namespace.request_reconcile(GIT_REPOSITORY, "app").await?;
    namespace
        .wait(GIT_REPOSITORY, "app", "has handled the request", |object| {
            object["status"]["lastHandledReconcileAt"] == at
        })
        .await?;

    let second = flux
        .repo
        .commit("main")
        .remove("a.yaml")
        .file("b.yaml", MAP.replace("name: a", "name: b"))
        .create();
    flux.fetch().await?;
    // KC-EVT-006
    let deleted = format!("{} deleted", id("a"));
    let told = event_saying(&chat, kustomization, during, &deleted).await?;
    ensure!(told["action"] == "Prune", "{told}");
    let revision = told["metadata"]["revision"].as_str().unwrap_or_default();
    ensure!(revision.ends_with(&second), "{told}");

    let third = flux.commit(&[("b.yaml", "kind: [\n")]);
    flux.fetch().await?;
    // KC-EVT-006, KC-EVT-003
    let failed = ("error", "BuildFailed");
    let told = event_saying(&chat, kustomization, failed, "").await?;
    ensure!(told["metadata"]["revision"] == third, "{told}");

    let lost = json!({"spec": {"path": "./lost"}});
    namespace.merge(KUSTOMIZATION, "app", lost).await?;
    let failed = ("error", "ArtifactFailed");
    event_saying(&chat, kustomization, failed, "kustomization path not found").await?;

    let branch = json!({"spec": {"ref": {"branch": "lost"}}});
    namespace.merge(GIT_REPOSITORY, "app", branch).await?;
    let failed = ("error", "GitOperationFailed");
    let told = event_saying(&chat, source, failed, "lost").await?;
    // SC-PROC-083
    ensure!(told["metadata"].get("revision").is_none(), "{told}");
    let unchanged = |got: &Got| {
        let event = got.json();
        let message = event["message"].as_str().unwrap_or_default();
        event["severity"] == "trace" || message.contains("no changes since last reconcil")
    };
    ensure!(!chat.got().iter().any(unchanged), "{:?}", chat.got().len());
    Ok(())
}
