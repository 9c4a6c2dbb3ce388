//! From a new tag in a registry to the objects on the cluster, over five controllers.

use kind_tests::controller::Settings;
use kind_tests::{
    CONFIG_MAP, Cluster, Controller, Flux, IMAGE_POLICY, IMAGE_REPOSITORY, IMAGE_UPDATE_AUTOMATION,
    KUSTOMIZATION, Result, ensure,
};
use registries::{Artifact, Registry, tar_gz};
use serde_json::Value;

/// A ConfigMap with a marker for the policy `app`.
fn marked(namespace: &str, image: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: app\ndata:\n  # what runs\n  image: {image}:1.0.0 # {{\"$imagepolicy\": \"{namespace}:app\"}}\n"
    )
}

/// The objects of a user: each of them at short intervals, so that nothing but time starts the steps.
fn objects(image: &str, chat: &str) -> String {
    format!(
        "
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageRepository
metadata: {{name: app}}
spec: {{image: {image}, interval: 2s}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImagePolicy
metadata: {{name: app}}
spec:
  imageRepositoryRef: {{name: app}}
  policy: {{semver: {{range: 1.x}}}}
---
apiVersion: image.toolkit.fluxcd.io/v1
kind: ImageUpdateAutomation
metadata: {{name: app}}
spec:
  interval: 1h
  sourceRef: {{kind: GitRepository, name: app}}
  git:
    commit:
      author: {{name: Flux, email: flux@example.com}}
      messageTemplate: |
        {{{{ range .Changed.Changes }}}}{{{{ .OldValue }}}} -> {{{{ .NewValue }}}}{{{{ end }}}}
  update: {{path: ./deploy}}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Provider
metadata: {{name: chat}}
spec: {{type: generic, address: '{chat}'}}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Alert
metadata: {{name: app}}
spec:
  providerRef: {{name: chat}}
  eventSources:
  - {{kind: ImagePolicy, name: app}}
  - {{kind: ImageUpdateAutomation, name: app}}
  - {{kind: Kustomization, name: app}}
"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_tag_is_rolled_out() -> Result {
    let registry = Registry::start();
    let push = |tag: &str| {
        let content = tar_gz(&[("tag", tag)]);
        registry.push("org/app", tag, &Artifact::flux(content));
    };
    push("1.0.0");
    let flux = Flux::start_notified_on(&Cluster::shared().await?, "images").await?;
    let namespace = &flux.namespace;
    let events = flux.notification.as_ref().and_then(Controller::events_url);
    let flag = format!("--events-addr={}", events.unwrap_or_default());
    let mut started = Vec::new();
    for name in ["image-reflector-controller", "image-automation-controller"] {
        let settings = Settings::default().flag(&flag);
        started.push(Controller::start(name, namespace, settings).await?);
    }
    let image = registry.repository("org/app");
    let first = flux.commit(&[("deploy/app.yaml", &marked(namespace.name(), &image))]);
    let source = flux.git_repository("app", "ref: {branch: main}");
    namespace
        .apply(&source.replace("interval: 10m", "interval: 2s"))
        .await?;
    namespace
        .apply(&flux.kustomization("app", &["path: ./deploy", "prune: true"]))
        .await?;
    flux.applied("app", &first).await?;
    namespace
        .apply(&objects(&image, &flux.events.url()))
        .await?;
    for kind in [IMAGE_REPOSITORY, IMAGE_POLICY, IMAGE_UPDATE_AUTOMATION] {
        namespace.wait_ready(kind, "app", "True").await?;
    }
    ensure!(
        first == format!("main@sha1:{}", flux.repo.rev_parse("main")),
        "nothing is to be committed"
    );

    push("1.1.0");
    let rolled_out = |object: &Value| {
        let found = object["data"]["image"].as_str();
        found.is_some_and(|found| found.ends_with("/org/app:1.1.0"))
    };
    namespace
        .wait(CONFIG_MAP, "app", "has the new image", rolled_out)
        .await?;
    let head = flux.repo.rev_parse("main");
    let revision = format!("main@sha1:{head}");
    flux.applied("app", &revision).await?;
    let commits = flux.repo.git(&["rev-list", "--count", "main"]);
    ensure!(commits == "2", "{commits} commits");
    let message = flux.repo.git(&["log", "-1", "--format=%an %B", "main"]);
    ensure!(
        message == format!("Flux {image}:1.0.0 -> {image}:1.1.0"),
        "{message}"
    );
    let file = flux.repo.git(&["show", "main:deploy/app.yaml"]);
    let wanted = marked(namespace.name(), &image).replace(":1.0.0 ", ":1.1.0 ");
    ensure!(file == wanted.trim(), "{file}");

    // The chat hears of each step.
    for (kind, words) in [
        ("ImagePolicy", "resolved to 1.1.0".to_owned()),
        (
            "ImageUpdateAutomation",
            format!("pushed commit '{}' to branch 'main'", &head[..7]),
        ),
        (
            "Kustomization",
            format!("ConfigMap/{}/app configured", namespace.name()),
        ),
    ] {
        let told = |event: &Value| {
            event["involvedObject"]["kind"] == kind
                && event["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(&words))
        };
        flux.events.wait(&format!("of {kind}"), told).await?;
    }

    // A tag that the policy does not want changes nothing.
    push("2.0.0");
    let scanned = |object: &Value| object["status"]["lastScanResult"]["tagCount"] == 3;
    namespace
        .wait(IMAGE_REPOSITORY, "app", "has seen the tag", scanned)
        .await?;
    let at = namespace
        .request_reconcile(IMAGE_UPDATE_AUTOMATION, "app")
        .await?;
    let handled = |object: &Value| object["status"]["lastHandledReconcileAt"] == at;
    namespace
        .wait(IMAGE_UPDATE_AUTOMATION, "app", "is reconciled", handled)
        .await?;
    ensure!(flux.repo.rev_parse("main") == head, "it is not committed");
    namespace.wait_ready(KUSTOMIZATION, "app", "True").await?;
    Ok(())
}
