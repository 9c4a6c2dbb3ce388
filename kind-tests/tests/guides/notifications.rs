//! Notifications: chat, incidents, forge, webhooks, traces.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use kind_tests::{
    Failure, GIT_REPOSITORY, KUSTOMIZATION, Kind, RECEIVER, Result, ensure, is_ready,
};
use object_stores::Request;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::world::{SYSTEM, World};

const PAGE: &str = "notifications.md";
const EVENT: Kind = Kind("v1", "Event");
/// Between events that are posted until the caches of the controller have all objects.
const PAUSE: Duration = Duration::from_millis(200);

/// The Provider of tutorials, which has neither address nor channel, and an Alert for it.
const WITHOUT_ADDRESS: &str = "apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: unreachable, namespace: flux-system}
spec: {type: pagerduty, secretRef: {name: duty-key}}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: unreachable, namespace: flux-system}
spec:
  providerRef: {name: unreachable}
  eventSeverity: error
  eventSources: [{kind: Kustomization, name: '*', namespace: production}]
---
apiVersion: v1
kind: Secret
metadata: {name: duty-key, namespace: flux-system}
stringData: {token: routing-key}
---
apiVersion: v1
kind: Namespace
metadata: {name: production}
";

/// A Kustomization that fails.
const BROKEN: &str = "apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: broken, namespace: production}
spec:
  interval: 10m
  path: ./nowhere
  prune: true
  sourceRef: {kind: GitRepository, name: shop, namespace: flux-system}
";

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

fn contains(request: &Request, text: &str) -> bool {
    String::from_utf8_lossy(&request.body).contains(text)
}

/// Posts events until each of the services has heard of one: the caches of the controller follow the API server.
async fn listening(world: &World) -> Result {
    let client = flux_http::ClientOptions::default().build()?;
    let url = world.events_url().unwrap_or_default();
    let event = |namespace: &str, severity: &str, number: usize| {
        let mut event = json!({
            "involvedObject": {"apiVersion": KUSTOMIZATION.0, "kind": KUSTOMIZATION.1,
                "namespace": namespace, "name": "probe", "uid": "u-1"},
            "severity": severity, "timestamp": "2026-08-01T10:00:00Z", "message": format!("probe {number}"),
            "reason": "ReconciliationSucceeded", "reportingController": "kustomize-controller",
            "reportingInstance": "host",
            "metadata": {"kustomize.toolkit.fluxcd.io/revision": world.revision()},
        });
        // Chats get one kind of event, forges the other.
        if number % 2 == 1 {
            event["metadata"]["kustomize.toolkit.fluxcd.io/commit_status"] = json!("update");
        }
        event
    };
    let hosts = [
        "hooks.slack.com",
        "events.pagerduty.com",
        "api.github.com",
        "otel.example.com",
    ];
    let posting = async {
        let mut number = 0;
        while hosts
            .iter()
            .any(|host| world.services.heard(host).is_empty())
        {
            for (namespace, severity) in [(SYSTEM, "info"), ("production", "error")] {
                let event = event(namespace, severity, number).to_string();
                client.post(&url).body(event).send().await?;
            }
            number += 1;
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    };
    let goal = "all Alerts are at work";
    world.system.wait_for(goal, posting).await?
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_about_notifications_works_as_written() -> Result {
    let controllers = [
        "notification-controller",
        "source-controller",
        "kustomize-controller",
    ];
    let world = World::start(&controllers).await?;
    let (system, services) = (&world.system, &world.services);
    world
        .kubectl(&["apply", "-f", "-"], WITHOUT_ADDRESS)
        .await?;
    world.apply(&world.pages.page(PAGE)?).await?;
    listening(&world).await?;

    let source = ["Secret git-auth", "GitRepository shop"];
    world
        .apply(&world.pages.of_page("sources.md", &source)?)
        .await?;
    let applications = world
        .pages
        .of_page("kustomizations.md", &["Kustomization infrastructure"])?;
    world.apply(&applications).await?;
    world.kubectl(&["apply", "-f", "-"], BROKEN).await?;
    system
        .wait_ready(KUSTOMIZATION, "infrastructure", "True")
        .await?;

    chat(&world).await?;
    incidents(&world).await?;
    let commit = world.repo.rev_parse("main");
    let path = format!("/repos/example/shop/statuses/{commit}");
    let status = services
        .wait("api.github.com", "the status", |got| {
            got.target == path
                && body(got)["context"]
                    .as_str()
                    .is_some_and(|context| context.starts_with("kustomization/infrastructure"))
        })
        .await?;
    ensure!(
        status.header("authorization") == "Bearer forge-token"
            && body(&status)["state"] == "success",
        "{status:?}"
    );

    for span in [
        "GitRepository: flux-system/shop",
        "Kustomization: flux-system/infrastructure",
    ] {
        let got = services
            .wait("otel.example.com", span, |got| contains(got, span))
            .await?;
        ensure!(
            got.target == "/v1/traces"
                && got.header("content-type") == "application/x-protobuf"
                && contains(&got, "flux-system/traces"),
            "{got:?}"
        );
    }
    webhook(&world).await?;
    world.apply_current(&world.pages.page(PAGE)?).await
}

async fn chat(world: &World) -> Result {
    let services = &world.services;
    for object in ["GitRepository/shop", "Kustomization/infrastructure"] {
        let told = |got: &Request| {
            let author = body(got)["attachments"][0]["author_name"].clone();
            let author = author.as_str().unwrap_or_default().to_lowercase();
            author.starts_with(&object.to_lowercase())
        };
        let got = services.wait("hooks.slack.com", object, told).await?;
        ensure!(
            got.target == "/services/T000/B000/hook" && body(&got)["channel"] == "deployments",
            "{got:?}"
        );
    }
    Ok(())
}

/// What fails in production, and that the Provider of tutorials has no address.
async fn incidents(world: &World) -> Result {
    let incident = world
        .services
        .wait("events.pagerduty.com", "the failure", |got| {
            body(got)["payload"]["component"] == "broken"
        })
        .await?;
    let incident_body = body(&incident);
    ensure!(
        incident.target == "/v2/enqueue"
            && incident_body["event_action"] == "trigger"
            && incident_body["routing_key"] == "routing-key",
        "{incident:?}"
    );
    // NC-PAGERDUTY-001: no service has an address by default
    world
        .system
        .wait_all(EVENT, "tell that an address is missing", |events| {
            events.iter().find_map(|event| {
                let text = event["message"].as_str().unwrap_or_default();
                let told = event["involvedObject"]["name"] == "unreachable"
                    && text.contains("invalid PagerDuty endpoint URL \"\"");
                told.then_some(())
            })
        })
        .await?;
    Ok(())
}

/// A push that only the forge's webhook tells of.
async fn webhook(world: &World) -> Result {
    let system = &world.system;
    let receiver = system.wait_ready(RECEIVER, "forge", "True").await?;
    let path = receiver["status"]["webhookPath"]
        .as_str()
        .unwrap_or_default();
    let url = format!("{}{path}", world.webhooks_url().unwrap_or_default());
    let interval = json!({"spec": {"interval": "1h"}});
    system.merge(GIT_REPOSITORY, "shop", interval).await?;
    let settled = |object: &Value| is_ready(object, "True");
    system
        .wait(GIT_REPOSITORY, "shop", "is settled", settled)
        .await?;
    let pushed = world.commit("README.md", "# The shop\n");
    let body = json!({"ref": "refs/heads/main"}).to_string();
    let mut mac =
        Hmac::<Sha256>::new_from_slice(b"hook-token").map_err(|_| Failure::new("no key"))?;
    mac.update(body.as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    let client = flux_http::ClientOptions::default().build()?;
    let request = client
        .post(url)
        .header("Content-Type", "application/json")
        .header("X-GitHub-Event", "push")
        .header("X-Hub-Signature-256", format!("sha256={signature}"))
        .body(body);
    let code = request.send().await?.status();
    ensure!(code.as_u16() == 200, "{code}");
    let fetched = |object: &Value| {
        let requested = &object["metadata"]["annotations"]["reconcile.fluxcd.io/requestedAt"];
        object["status"]["artifact"]["revision"] == pushed
            && requested.is_string()
            && *requested == object["status"]["lastHandledReconcileAt"]
    };
    system
        .wait(GIT_REPOSITORY, "shop", "is at the push", fetched)
        .await?;
    Ok(())
}
