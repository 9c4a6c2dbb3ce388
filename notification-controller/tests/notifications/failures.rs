//! What the owners of Alerts are told.

use kind_tests::controller::Settings;
use kind_tests::requests::Counter;
use kind_tests::{Result, ensure};
use serde_json::{Value, json};

use crate::World;
use crate::service::Service;

const SOURCES: &str = "eventSources: [{kind: Kustomization, name: '*'}]";

#[tokio::test]
async fn failures_are_told_on_the_alert() -> Result {
    let world = World::start("notify-fails").await?;
    let down = Service::start(vec![(400, vec![], "no such hook".to_owned())]).await;
    world
        .secret(
            "hook",
            &format!("address: '{}/services/s3cret', token: t0ken", down.url),
        )
        .await?;
    world.secret("half", "password: p").await?;
    let object = format!("Kustomization/{}/app", world.namespace.name());
    let namespace = world.namespace.name().to_owned();
    let providers = [
        ("no-address", "type: slack"),
        ("no-secret", "type: slack, secretRef: {name: absent}"),
        ("refused", "type: slack, secretRef: {name: hook}"),
        ("bird", "type: nats, channel: c"),
        (
            "bad-proxy",
            "type: slack, address: 'https://h', proxySecretRef: {name: half}",
        ),
        (
            "statuses",
            "type: github, address: 'https://github.com/o/r', commitStatusExpr: event.metadata.foo, secretRef: {name: hook}",
        ),
    ];
    for (name, spec) in providers {
        world.apply("Provider", name, spec).await?;
    }
    for name in providers.iter().map(|(name, _)| *name).chain(["absent"]) {
        let spec = format!("providerRef: {{name: {name}}}, {SOURCES}");
        world.apply("Alert", &format!("a-{name}"), &spec).await?;
    }
    let mut event = world.event("failing");
    event["severity"] = json!("error");
    for (name, words) in [
        // NC-EVT-041, NC-EVT-052
        (
            "a-absent",
            format!("failed to dispatch notification for {object}: failed to read provider: Provider.notification.toolkit.fluxcd.io \"absent\" not found"),
        ),
        // NC-PROV-082, NC-HTTP-010
        (
            "a-no-address",
            format!("failed to dispatch notification for {object}: failed to initialize notifier for provider 'no-address': failed to initialize notifier: invalid Slack hook URL : 'parse \"\": empty url'"),
        ),
        // NC-PROV-020
        (
            "a-no-secret",
            format!("failed to initialize notifier for provider 'no-secret': failed to get secret '{namespace}/absent': secrets \"absent\" not found"),
        ),
        // NC-EVT-053
        (
            "a-refused",
            format!("failed to send notification for {object}: postMessage failed: request failed: request failed with status code 400: no such hook"),
        ),
        ("a-bird", "failed to initialize notifier: NATS server (address) cannot be empty".to_owned()),
        // NC-PROV-036
        ("a-bad-proxy", format!("failed to get proxy URL: secret '{namespace}/half': key 'address' not found")),
        // NC-PROV-074
        ("a-statuses", "failed to create commit status: failed to evaluate the spec.commitStatusExpr CEL expression for the event: ".to_owned()),
    ] {
        let told = world.told(name, "NotificationDispatchFailed", &words, &event).await?;
        ensure!(told["type"] == "Warning", "{told}");
        // NC-PROC-035, NC-PROC-036
        ensure!(told["source"]["component"] == "notification-controller", "{told}");
        ensure!(told["involvedObject"]["apiVersion"] == "notification.toolkit.fluxcd.io/v1", "{told}");
    }
    // NC-EVT-054, NC-EVT-055
    let log = world.controller.log().lines().join("\n");
    for secret in ["s3cret", "t0ken"] {
        ensure!(!log.contains(secret), "the log shows {secret}");
    }
    ensure!(
        down.got()[0].header("authorization") == "Bearer t0ken",
        "no token"
    );
    Ok(())
}

#[tokio::test]
async fn conflicts_and_invalid_settings_are_told_on_the_alert() -> Result {
    let world = World::start("notify-config").await?;
    let spec = format!("type: generic, address: '{}'", world.service.url);
    world.apply("Provider", "out", &spec).await?;
    let spec = format!(
        "providerRef: {{name: out}}, {SOURCES}, eventMetadata: {{k: alert}}, inclusionList: ['[', '.'], exclusionList: ['(?=x)']"
    );
    world.apply("Alert", "odd", &spec).await?;
    let labels = "providerRef: {name: out}, eventSources: [{kind: Kustomization, name: '*', matchLabels: {a: b}}]";
    world.apply("Alert", "labels", labels).await?;
    let mut event = world.event("odd");
    event["metadata"] = json!({
        "event.toolkit.fluxcd.io/k": "object",
        "kustomize.toolkit.fluxcd.io/k": "controller",
        "other": "dropped",
    });
    // NC-EVT-035, NC-EVT-036, NC-EVT-065
    let text = "metadata key conflicts detected (please refer to the Alert API docs and Flux RFC 0008 for more information)";
    let told = world
        .told("odd", "MetadataAppendFailed", text, &event)
        .await?;
    let annotations = json!({
        "k": "involved object annotations, Alert object .spec.eventMetadata, involved object controller metadata",
    });
    ensure!(told["metadata"]["annotations"] == annotations, "{told}");
    let got = world
        .service
        .wait(|got| got.json()["metadata"]["k"] == "controller")
        .await;
    ensure!(got.is_some(), "nothing was sent");
    // NC-ALERT-042, NC-ALERT-043
    for words in [
        "failed to compile inclusion regex: [",
        "failed to compile exclusion regex: (?=x)",
    ] {
        world.told("odd", "InvalidConfig", words, &event).await?;
    }
    // NC-ALERT-037
    let words = format!(
        "error getting source object Kustomization/{}/app",
        world.namespace.name()
    );
    world
        .told("labels", "SourceFetchFailed", &words, &event)
        .await?;
    // NC-ALERT-035: found by its labels, once it is there
    let yaml = "{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: app, labels: {a: b}}, \
                spec: {interval: 1h, prune: true, path: ./, suspend: true, sourceRef: {kind: GitRepository, name: none}}}";
    world.namespace.apply(yaml).await?;
    let spec = format!("providerRef: {{name: out}}, {SOURCES}, suspend: true");
    world.apply("Alert", "odd", &spec).await?;
    world.delivered("labelled").await?;
    Ok(())
}

#[tokio::test]
async fn other_namespaces_are_refused_under_lockdown() -> Result {
    let settings = Settings::default().flag("--no-cross-namespace-refs=true");
    let world = World::start_with("notify-tenants", settings).await?;
    let spec = format!("type: generic, address: '{}'", world.service.url);
    world.apply("Provider", "out", &spec).await?;
    let spec = "providerRef: {name: out}, eventSources: [{kind: Kustomization, name: '*', namespace: elsewhere}]";
    world.apply("Alert", "curious", spec).await?;
    let mut event = world.event("secret news");
    event["involvedObject"]["namespace"] = json!("elsewhere");
    // NC-EVT-040, NC-ALERT-040, NC-PROV-084
    let words = format!(
        "discarding event, access denied to cross-namespace sources: alert '{}/curious' can't process event from 'Kustomization/elsewhere/app', cross-namespace references have been blocked",
        world.namespace.name()
    );
    world
        .told("curious", "NotificationDispatchFailed", &words, &event)
        .await?;
    ensure!(world.service.got().is_empty(), "it was sent");
    Ok(())
}

// NC-PROV-037
#[tokio::test]
async fn a_deprecated_proxy_is_used_and_logged() -> Result {
    let world = World::start("notify-proxy").await?;
    // The service is the proxy: it gets the whole address.
    let spec = format!(
        "type: generic, address: 'http://chat.example.com/hook', proxy: '{}'",
        world.service.url
    );
    world.apply("Provider", "out", &spec).await?;
    world
        .apply(
            "Alert",
            "all",
            &format!("providerRef: {{name: out}}, {SOURCES}"),
        )
        .await?;
    let got = world.delivered("through the proxy").await?;
    ensure!(
        got.line == "POST http://chat.example.com/hook",
        "{}",
        got.line
    );
    let deprecated = |line: &Value| {
        line["level"] == "error"
            && line["msg"].as_str().is_some_and(|text| {
                text.starts_with(
                    "warning: spec.proxy is deprecated, please use spec.proxySecretRef instead.",
                )
            })
    };
    let goal = "about the deprecated field";
    world.controller.log().wait(goal, deprecated).await?;
    Ok(())
}

// NC-ALERT-039
#[tokio::test]
async fn labels_of_an_object_are_read_once_for_all_alerts() -> Result {
    let world = World::start("notify-labels").await?;
    let yaml = "{apiVersion: kustomize.toolkit.fluxcd.io/v1, kind: Kustomization, metadata: {name: app, labels: {team: a}}, \
                spec: {interval: 1h, prune: true, suspend: true, sourceRef: {kind: GitRepository, name: app}}}";
    world.namespace.apply(yaml).await?;
    let spec = format!("type: generic, address: '{}'", world.service.url);
    world.apply("Provider", "out", &spec).await?;
    for (name, labels) in [("one", "team: a"), ("two", "team: a"), ("other", "team: b")] {
        let spec = format!(
            "providerRef: {{name: out}}, eventSources: [{{kind: Kustomization, name: '*', matchLabels: {{{labels}}}}}]"
        );
        world.apply("Alert", name, &spec).await?;
    }
    world.delivered("warm up").await?;
    let counter = Counter::start(world.namespace.cluster(), world.controller.user())?;
    world.post(&world.event("counted")).await?;
    let counted = |got: &crate::service::Got| got.json()["message"] == "counted";
    ensure!(
        world.service.wait(counted).await.is_some(),
        "it was not sent"
    );
    let requests = counter.requests()?;
    let reads = |name: &str| {
        let reads = requests
            .iter()
            .filter(|request| request.resource == "kustomizations");
        reads.filter(|request| request.uri.contains(name)).count()
    };
    // The last events of the warm-up may still be on their way.
    let path = format!("/namespaces/{}/kustomizations/app", world.namespace.name());
    ensure!(reads(&path) >= 1, "{requests:?}");
    // The watches of its own kinds may begin meanwhile.
    let mut of_objects = requests
        .iter()
        .filter(|request| request.resource == "kustomizations");
    ensure!(
        of_objects.all(|request| request.verb != "list" && request.verb != "watch"),
        "{requests:?}"
    );
    Ok(())
}
