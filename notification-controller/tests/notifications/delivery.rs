//! What happens to events on their way: order, slow and failing services, restarts, duplicates.

use git_servers::SshKey;
use kind_tests::controller::Settings;
use kind_tests::{PROVIDER, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::World;
use crate::service::{Service, free_address};

const SOURCES: &str = "eventSources: [{kind: Kustomization, name: '*'}]";
const COMMIT: &str = "7152fed34dd6149a7c75a276c510da27cb6f82b0";

impl World {
    /// A Provider of type `generic` at an address, and an Alert for it.
    async fn route(&self, name: &str, address: &str, more: &str) -> Result {
        let spec = format!("type: generic, address: '{address}'{more}");
        self.apply("Provider", name, &spec).await?;
        let spec = format!("providerRef: {{name: {name}}}, {SOURCES}");
        self.apply("Alert", name, &spec).await
    }
}

/// The messages that a service has got.
fn messages(service: &Service) -> Vec<String> {
    let got = service.got();
    got.iter()
        .map(|got| {
            got.json()["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn pending_events_survive_the_process() -> Result {
    let folder = std::env::temp_dir().join(format!("notify-journal-{}", std::process::id()));
    let settings = Settings::default().env("NOTIFICATION_JOURNAL", folder.to_string_lossy());
    let mut world = World::start_with("notify-journal", settings).await?;
    let address = free_address().await;
    world
        .route("down", &format!("http://{address}/x"), "")
        .await?;
    world.route("up", &world.service.url, "").await?;
    world.delivered("warm up").await?;
    // NC-EVT-057: the one service is not reached, which the Alert says at once
    let event = world.event("pending one");
    ensure!(world.post(&event).await?.status() == 202, "refused");
    let object = format!("Kustomization/{}/app", world.namespace.name());
    let text = format!("failed to send notification for {object}: ");
    world
        .recorded("down", "NotificationDispatchFailed", &text)
        .await?;
    let sent = world
        .service
        .wait(|got| got.json()["message"] == "pending one")
        .await;
    ensure!(sent.is_some(), "the other service waits for it");
    world.controller.kill()?;
    let service = Service::start_at(&address, vec![(200, vec![], String::new())]).await;
    world.controller.restart().await?;
    let got = service
        .wait(|got| got.json()["message"] == "pending one")
        .await;
    let got = got.ok_or_else(|| kind_tests::Failure::new("it was lost"))?;
    ensure!(got.line == "POST /x", "{}", got.line);
    // Who had it before does not get it again.
    let twice = messages(&world.service);
    let count = twice
        .iter()
        .filter(|message| *message == "pending one")
        .count();
    ensure!(count == 1, "{twice:?}");
    // NC-EVT-026: it is still a duplicate
    ensure!(world.post(&event).await?.status() == 429, "it passes again");
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

#[tokio::test]
async fn a_hanging_service_costs_no_other() -> Result {
    let world = World::start("notify-slow").await?;
    // It takes connections and never answers.
    let hanging = TcpListener::bind("127.0.0.1:0").await?;
    let address = hanging.local_addr()?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = hanging.accept().await {
            held.push(stream);
        }
    });
    world
        .route("slow", &format!("http://{address}"), ", timeout: 60s")
        .await?;
    world.route("quick", &world.service.url, "").await?;
    world.delivered("warm up").await?;
    for number in 0..40 {
        // NC-EVT-017, NC-EVT-050: the answer does not wait for what is sent
        let mut event = world.event(&format!("event {number}"));
        event["involvedObject"]["name"] = json!(format!("app-{number}"));
        ensure!(world.post(&event).await?.status() == 202, "{number}");
    }
    for number in 0..40 {
        let message = format!("event {number}");
        let got = world
            .service
            .wait(|got| got.json()["message"] == *message)
            .await;
        ensure!(got.is_some(), "{message} waits");
    }
    // Those that wait behind another event of their object are bounded, too.
    for number in 0..300 {
        let event = world.event(&format!("more {number}"));
        ensure!(world.post(&event).await?.status() == 202, "{number}");
    }
    let full = "too many events are waiting for the provider";
    world
        .recorded("slow", "NotificationDispatchFailed", full)
        .await?;
    let got = world
        .service
        .wait(|got| got.json()["message"] == "more 299");
    ensure!(got.await.is_some(), "the other service waits");
    // FR-N-031
    let page = world.controller.metrics().await?;
    let line = format!(
        "gotk_alert_events_total{{name=\"quick\",namespace=\"{}\",provider=\"quick\",result=\"sent\"}}",
        world.namespace.name()
    );
    ensure!(page.contains(&line), "{page}");
    Ok(())
}

#[tokio::test]
async fn events_of_one_object_keep_their_order() -> Result {
    let world = World::start("notify-order").await?;
    let busy = vec![
        (503, vec![], String::new()),
        (503, vec![("retry-after", "1".to_owned())], String::new()),
        (200, vec![], String::new()),
    ];
    let service = Service::start(busy).await;
    world.route("busy", &service.url, "").await?;
    // NC-EVT-032: each Alert has a copy of its own; FR-N-034: two Alerts are two messages
    let spec = format!(
        "providerRef: {{name: busy}}, {SOURCES}, eventMetadata: {{of: other}}, exclusionList: ['.']"
    );
    world.apply("Alert", "excluded", &spec).await?;
    let mut number = 0;
    // The caches follow the API server.
    while service.got().is_empty() {
        world.post(&world.event(&format!("first {number}"))).await?;
        number += 1;
        tokio::task::yield_now().await;
    }
    world.post(&world.event("last")).await?;
    let last = service.wait(|got| got.json()["message"] == "last").await;
    let last = last.ok_or_else(|| kind_tests::Failure::new("the last one is missing"))?;
    ensure!(last.json()["metadata"].is_null(), "{:?}", last.json());
    // NC-EVT-058: although the first one was refused twice
    let got = messages(&service);
    let mut order: Vec<&String> = got.iter().collect();
    order.dedup();
    let position = |message: &str| order.iter().position(|other| *other == message);
    for earlier in 0..number {
        if let Some(at) = position(&format!("first {earlier}")) {
            ensure!(Some(at) < position("last"), "{got:?}");
        }
    }
    ensure!(got[0] == got[1] && got[1] == got[2], "{got:?}");
    let page = world.controller.metrics().await?;
    ensure!(page.contains("result=\"excluded\""), "{page}");
    Ok(())
}

#[tokio::test]
async fn an_event_passes_again_in_the_next_interval() -> Result {
    let settings = Settings::default()
        .flag("--rate-limit-interval=1s")
        .env("NOTIFICATION_DEDUPLICATE_SIMILAR", "true");
    let world = World::start_with("notify-repeats", settings).await?;
    let (mut accepted, mut refused) = (0, 0);
    // FR-N-030: the identifiers differ
    let mut number = 0;
    while accepted < 2 || refused < 2 {
        number += 1;
        let text = format!("api error: RequestID: 0x{number:x}");
        match world.post(&world.event(&text)).await?.status().as_u16() {
            // NC-EVT-028
            202 => accepted += 1,
            429 => refused += 1,
            other => ensure!(false, "{other}"),
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_github_app_with_a_client_id_sets_commit_statuses() -> Result {
    let world =
        World::start_with("notify-app", Settings::default().flag("--log-level=debug")).await?;
    let issued = json!({"token": "ghs_t0ken", "expires_at": "2040-01-01T00:00:00Z"});
    let service = Service::start(vec![
        (201, vec![], issued.to_string()),
        (200, vec![], "[]".to_owned()),
        (201, vec![], "{}".to_owned()),
        (200, vec![], "[]".to_owned()),
        (201, vec![], "{}".to_owned()),
    ])
    .await;
    let key = SshKey::generate(&["-t", "rsa", "-b", "2048", "-m", "PEM"], "").private();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app"}, "stringData": {
        "githubAppClientID": "Iv1.8a61f9b3", "githubAppInstallationID": "7", "githubAppPrivateKey": key,
        "githubAppBaseURL": format!("{}/api/v3", service.url),
    }});
    world.namespace.apply(&secret.to_string()).await?;
    let spec = format!(
        "type: github, address: '{}/o/r', secretRef: {{name: app}}",
        service.url
    );
    world.apply("Provider", "statuses", &spec).await?;
    let spec = format!("providerRef: {{name: statuses}}, {SOURCES}");
    world.apply("Alert", "statuses", &spec).await?;
    let event = |message: &str, severity: &str| {
        let mut event = world.event(message);
        event["severity"] = json!(severity);
        event["metadata"] = json!({
            "kustomize.toolkit.fluxcd.io/revision": format!("main@sha1:{COMMIT}"),
            "kustomize.toolkit.fluxcd.io/commit_status": "update",
        });
        event
    };
    let mut number = 0;
    while service.got().is_empty() {
        world
            .post(&event(&format!("finished in {number}ms"), "info"))
            .await?;
        number += 1;
        tokio::task::yield_now().await;
    }
    let posts = |state: &'static str| move |got: &crate::service::Got| got.json()["state"] == state;
    ensure!(service.wait(posts("success")).await.is_some(), "no status");
    // NC-GITHUB-003, NC-GITHUB-004, NC-COMPAT-019
    let got = service.got();
    ensure!(
        got[0].line == "POST /api/v3/app/installations/7/access_tokens",
        "{}",
        got[0].line
    );
    ensure!(
        got[1].header("authorization") == "Bearer ghs_t0ken",
        "{:?}",
        got[1].headers
    );
    // FR-N-029, NC-EVT-059: nothing is asked for a status that is known; the failure is set with the cached token
    world.post(&event("finished in 9s", "info")).await?;
    world.post(&event("health check failed", "error")).await?;
    ensure!(service.wait(posts("failure")).await.is_some(), "no failure");
    let lines = service.lines();
    let statuses = format!("/api/v3/repos/o/r/statuses/{COMMIT}");
    let list = format!("GET /api/v3/repos/o/r/commits/{COMMIT}/statuses?per_page=50");
    let want = [
        "POST /api/v3/app/installations/7/access_tokens".to_owned(),
        list.clone(),
        format!("POST {statuses}"),
        list,
        format!("POST {statuses}"),
    ];
    ensure!(lines == want, "{lines:?}");
    // NC-PROC-057
    let page = world.controller.metrics().await?;
    for event in ["cache_miss", "cache_hit"] {
        let series = format!(
            "gotk_token_cache_events_total{{event_type=\"{event}\",kind=\"Provider\",name=\"statuses\",namespace=\"{}\",operation=\"post\"}}",
            world.namespace.name()
        );
        ensure!(page.contains(&series), "{series}\n{page}");
    }
    for series in [
        "gotk_token_cached_items 1",
        "gotk_token_cache_requests_total{status=\"success\"} ",
    ] {
        ensure!(page.contains(series), "{series}\n{page}");
    }
    // FR-N-028: what is not sent leaves a line with the Alert and the reason
    let mut plain = world.event("no commit");
    plain["metadata"] = json!({"kustomize.toolkit.fluxcd.io/revision": "x"});
    world.post(&plain).await?;
    let skipped = |line: &Value| {
        line["msg"] == "event is not sent"
            && line["alert"]["name"] == "statuses"
            && line["reason"] == "there is no commit metadata key"
    };
    let line = world
        .controller
        .log()
        .wait("about the skip", skipped)
        .await?;
    // NC-EVT-056
    ensure!(line["alert"]["providerName"] == "statuses", "{line}");
    ensure!(
        line["alert"]["namespace"] == world.namespace.name(),
        "{line}"
    );
    Ok(())
}

#[tokio::test]
async fn a_provider_keeps_its_finalizer_without_its_controller() -> Result {
    let mut world = World::start("notify-final").await?;
    // NC-PROV-060, NC-PROV-061, NC-EVT-046: the account is of no use for this type, and needs no gate
    world
        .route("out", &world.service.url, ", serviceAccountName: nobody")
        .await?;
    world.delivered("with an account").await?;
    let kept = |object: &Value| object["metadata"]["finalizers"].is_array();
    world
        .namespace
        .wait(PROVIDER, "out", "has the finalizer", kept)
        .await?;
    world.controller.terminate().await?;
    // NC-PROV-018
    world.namespace.delete(PROVIDER, "out").await?;
    let object = world
        .namespace
        .get(PROVIDER, "out")
        .await?
        .unwrap_or_default();
    ensure!(
        object["metadata"]["deletionTimestamp"].is_string(),
        "{object}"
    );
    ensure!(kept(&object), "{object}");
    world.controller.restart().await?;
    world.namespace.wait_gone(PROVIDER, "out").await?;
    Ok(())
}

#[tokio::test]
async fn finding_out_what_to_send_has_a_deadline() -> Result {
    let world = World::start("notify-deadline").await?;
    let hanging = TcpListener::bind("127.0.0.1:0").await?;
    world.secret("token", "token: f0rge-t0ken").await?;
    // NC-GITEA-007: the timeout of the Provider counts for what is sent, not before
    let spec = format!(
        "type: gitea, address: 'http://{}/o/r', secretRef: {{name: token}}, timeout: 60s",
        hanging.local_addr()?
    );
    world.apply("Provider", "forge", &spec).await?;
    let spec = format!("providerRef: {{name: forge}}, {SOURCES}");
    world.apply("Alert", "forge", &spec).await?;
    let mut event = world.event("failing");
    event["severity"] = json!("error");
    event["metadata"] =
        json!({"kustomize.toolkit.fluxcd.io/revision": format!("main@sha1:{COMMIT}")});
    // NC-EVT-016, NC-EVT-047
    let told = world
        .told(
            "forge",
            "NotificationDispatchFailed",
            "context deadline exceeded",
            &event,
        )
        .await?;
    let text = told["message"].as_str().unwrap_or_default();
    ensure!(
        text.starts_with("failed to dispatch notification for "),
        "{text}"
    );
    Ok(())
}

// NC-PROC-034
#[tokio::test]
async fn what_is_being_sent_at_shutdown_is_awaited() -> Result {
    let folder = tempfile::tempdir()?;
    let settings = Settings::default().env("NOTIFICATION_JOURNAL", folder.path().to_string_lossy());
    let mut world = World::start_with("notify-last", settings).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    world.route("out", &format!("http://{address}"), "").await?;
    world.route("quick", &world.service.url, "").await?;
    world.delivered("warm up").await?;
    // Answers all but the last message at once, and that one when the servers of the controller have stopped.
    let log = world.controller.log().clone();
    let serving = async {
        let mut calls = 0;
        loop {
            let (mut stream, _) = listener.accept().await?;
            let mut request = String::new();
            let mut buffer = [0; 4096];
            while !(request.contains("reportingInstance") && request.trim_end().ends_with('}')) {
                match stream.read(&mut buffer).await {
                    Ok(count @ 1..) => {
                        request.push_str(&String::from_utf8_lossy(&buffer[..count]));
                    }
                    _ => break,
                }
            }
            if request.contains("at the end") {
                calls += 1;
                let stopped = |line: &Value| line["msg"] == "Event server stopped";
                log.wait("about the end", stopped).await?;
            }
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            // An earlier request may have been given up.
            let _ = stream.write_all(answer.as_bytes()).await;
            if request.contains("afterwards") {
                return Ok(calls);
            }
        }
    };
    let flow = async {
        let event = world.event("at the end");
        ensure!(world.post(&event).await?.status() == 202, "refused");
        let sent = world
            .service
            .wait(|got| got.json()["message"] == "at the end");
        ensure!(sent.await.is_some(), "the other service did not get it");
        let status = world.controller.terminate().await?;
        ensure!(status.success(), "{status}");
        // It was taken, so that the next process does not send it again.
        world.controller.restart().await?;
        let mut number = 0;
        loop {
            let event = world.event(&format!("afterwards {number}"));
            world.post(&event).await?;
            number += 1;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let calls: Result<usize> = tokio::select! {
        calls = serving => calls,
        failed = flow => failed,
    };
    assert_eq!(calls?, 1);
    Ok(())
}

// NC-PROC-029
#[tokio::test]
async fn an_event_right_after_the_start_is_not_lost() -> Result {
    let mut world = World::start("notify-early").await?;
    world.route("out", &world.service.url, "").await?;
    world.delivered("warm up").await?;
    world.controller.terminate().await?;
    world.controller.restart().await?;
    // The first event that is accepted at all.
    let event = world.event("early");
    let accepted = async {
        loop {
            if let Ok(answer) = world.post(&event).await {
                return answer.status();
            }
            tokio::task::yield_now().await;
        }
    };
    let status = world.namespace.wait_for("it is accepted", accepted).await?;
    ensure!(status == 202, "{status}");
    let got = world
        .service
        .wait(|got| got.json()["message"] == "early")
        .await;
    ensure!(got.is_some(), "it was lost");
    Ok(())
}

// NC-PROC-025
#[tokio::test]
async fn the_environment_names_the_api_of_bitbucket() -> Result {
    let service = Service::start(vec![
        (404, vec![], String::new()),
        (201, vec![], "{}".to_owned()),
    ])
    .await;
    let settings =
        Settings::default().env("BITBUCKET_API_BASE_URL", format!("{}/2.0", service.url));
    let world = World::start_with("notify-bitbucket", settings).await?;
    world.secret("token", "token: 'u:t0ken'").await?;
    let spec = "type: bitbucket, address: 'https://bitbucket.org/o/r', secretRef: {name: token}";
    world.apply("Provider", "statuses", spec).await?;
    let spec = format!("providerRef: {{name: statuses}}, {SOURCES}");
    world.apply("Alert", "statuses", &spec).await?;
    let mut event = world.event("failing");
    event["severity"] = json!("error");
    event["metadata"] =
        json!({"kustomize.toolkit.fluxcd.io/revision": format!("main@sha1:{COMMIT}")});
    let mut number = 0;
    while service.got().is_empty() {
        event["message"] = json!(format!("failing {number}"));
        world.post(&event).await?;
        number += 1;
        tokio::task::yield_now().await;
    }
    let posted = service.wait(|got| got.line.starts_with("POST ")).await;
    let posted = posted.ok_or_else(|| kind_tests::Failure::new("no status"))?;
    let path = format!("POST /2.0/repositories/o/r/commit/{COMMIT}/statuses/build");
    ensure!(posted.line == path, "{}", posted.line);
    Ok(())
}
