//! Events of services that watch systems, and the event itself.

use super::*;
use sha2::Digest as _;

#[tokio::test]
async fn opsgenie_gets_an_alert_per_reason() {
    let spec = json!({"address": "https://api.opsgenie.com/v2/alerts"});
    let token = [("token", &b"key"[..])];
    let sent = call("opsgenie", &spec, &token, &event("error")).await;
    // NC-OPSGENIE-001, NC-OPSGENIE-002, NC-OPSGENIE-003
    assert_eq!(header(&sent, "authorization"), "GenieKey key");
    let alias = hex::encode(sha2::Sha256::digest(
        "0c9c2e41-d2f9-4f9b/Kustomization/apps/web/ReconciliationSucceeded",
    ));
    assert_eq!(
        body(&sent),
        json!({
            "message": "Kustomization/web",
            "alias": alias,
            "description": "applied <a>\nsecond line",
            "details": {"revision": revision(), "summary": "S", "severity": "error"},
        })
    );
    // NC-OPSGENIE-005, FR-N-011
    let none = body(&call("opsgenie", &spec, &token, &bare("info")).await);
    assert_eq!(none["details"], json!({"severity": "info"}));
    // FR-N-041
    let mut other = event("error");
    other.message = "other".to_owned();
    assert_eq!(
        body(&call("opsgenie", &spec, &token, &other).await)["alias"],
        alias
    );
    other.reason = "Other".to_owned();
    assert_ne!(
        body(&call("opsgenie", &spec, &token, &other).await)["alias"],
        alias
    );
    assert_eq!(
        refusal("opsgenie", &spec, &[]).await,
        "empty Opsgenie apikey/token"
    );
}

#[tokio::test]
async fn alertmanager_gets_labels_without_times() {
    let spec = json!({"address": "https://h/api/v2/alerts/"});
    let sent = call("alertmanager", &spec, &[("token", b"t")], &event("error")).await;
    let labels = json!({
        "alertname": "FluxKustomizationReconciliationsucceeded",
        "severity": "error",
        "reason": "ReconciliationSucceeded",
        "kind": "Kustomization",
        "name": "web",
        "namespace": "apps",
        "reportingcontroller": "kustomize-controller",
        "revision": revision(),
    });
    // NC-ALERTMANAGER-002, NC-ALERTMANAGER-003, NC-ALERTMANAGER-005
    assert_eq!(
        body(&sent),
        json!([{
            "status": "firing",
            "labels": labels,
            "annotations": {"message": "applied <a>\nsecond line", "summary": "S"},
            "startsAt": "2022-10-28T07:26:19Z",
            "endsAt": "0001-01-01T00:00:00Z",
        }])
    );
    // FR-N-010
    let later = Event {
        timestamp: Some(1_700_000_000),
        ..event("error")
    };
    let later = body(&call("alertmanager", &spec, &[], &later).await);
    assert_eq!(later[0]["labels"], labels);
    // NC-ALERTMANAGER-006, FR-N-011
    let info = body(&call("alertmanager", &spec, &[], &bare("info")).await);
    assert_eq!(
        (&info[0]["status"], &info[0]["labels"]["severity"]),
        (&json!("firing"), &json!("info"))
    );
    // NC-ALERTMANAGER-007
    assert_eq!(header(&sent, "authorization"), "Bearer t");
    let both: [(&str, &[u8]); 3] = [("token", b"t"), ("username", b"u"), ("password", b"p")];
    let sent = call("alertmanager", &spec, &both, &event("info")).await;
    assert_eq!(header(&sent, "authorization"), "Basic dTpw");
}

#[tokio::test]
async fn grafana_gets_an_annotation_with_tags() {
    let spec = json!({"address": "https://h/api/annotations"});
    let mut event = event("info");
    // FR-N-013
    event.metadata = [("url:a".to_owned(), "https://x.invalid:8443/a".to_owned())].into();
    let basic: [(&str, &[u8]); 2] = [("username", b"u"), ("password", b"p")];
    let sent = call("grafana", &spec, &basic, &event).await;
    // NC-GRAFANA-001, NC-GRAFANA-002
    assert_eq!(
        body(&sent),
        json!({
            "when": 1_666_941_979,
            "text": "kustomization/web.apps",
            "tags": ["flux", "kustomize-controller", "url|a: https|//x.invalid|8443/a", "kind: Kustomization", "name: web", "namespace: apps"],
        })
    );
    // NC-GRAFANA-003
    assert_eq!(header(&sent, "authorization"), "Basic dTpw");
    let both: [(&str, &[u8]); 3] = [("token", b"t"), ("username", b"u"), ("password", b"p")];
    let sent = call("grafana", &spec, &both, &event).await;
    assert_eq!(header(&sent, "authorization"), "Bearer t");
}

#[tokio::test]
async fn pagerduty_gets_incidents_and_changes() {
    let spec = json!({"address": "https://events.eu.pagerduty.com/ignored", "channel": "key"});
    // NC-PAGERDUTY-001, NC-PAGERDUTY-003, NC-PAGERDUTY-004
    let sent = call("pagerduty", &spec, &[], &event("error")).await;
    assert_eq!(
        sent.request.address,
        "https://events.eu.pagerduty.com/v2/enqueue"
    );
    let details = json!({"message": "applied <a>\nsecond line", "metadata": {"revision": revision(), "summary": "S"}});
    assert_eq!(
        body(&sent),
        json!({
            "routing_key": "key",
            "event_action": "trigger",
            "dedup_key": "u-1",
            "payload": {
                "summary": "reconciliation succeeded: kustomization/web",
                "source": "Flux kustomize-controller",
                "severity": "error",
                "timestamp": "2022-10-28T07:26:19Z",
                "component": "web",
                "group": "Kustomization",
                "custom_details": details,
            },
        })
    );
    // NC-PAGERDUTY-005
    let both = calls(&settings("pagerduty", &spec, &[]), &event("info")).await;
    assert_eq!(both.len(), 2);
    assert_eq!(
        body(&both[0]),
        json!({"routing_key": "key", "event_action": "resolve", "dedup_key": "u-1"})
    );
    assert_eq!(
        both[1].request.address,
        "https://events.eu.pagerduty.com/v2/change/enqueue"
    );
    assert_eq!(
        body(&both[1]),
        json!({"routing_key": "key", "payload": {
            "summary": "reconciliation succeeded: kustomization/web",
            "source": "Flux kustomize-controller",
            "timestamp": "2022-10-28T07:26:19Z",
            "custom_details": details,
        }})
    );
    let mut without = event("error");
    without.involved_object.uid.clear();
    let sent = body(&call("pagerduty", &spec, &[], &without).await);
    assert!(sent.get("dedup_key").is_none());
    // NC-PAGERDUTY-006: the second is not tried if the first fails
    let down = Service::start(vec![(400, vec![], "no".to_owned())]).await;
    let at = settings("pagerduty", &json!({"address": down.url}), &[]);
    let job = job(&at, &event("info")).await.unwrap();
    let error = job.run(&sender(&at), deadline()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed sending event: request failed: request failed with status code 400: no"
    );
    assert_eq!(down.lines(), ["POST /v2/enqueue"]);
    assert_eq!(
        refusal("pagerduty", &json!({"address": "x"}), &[]).await,
        "invalid PagerDuty endpoint URL \"x\": 'parse \"x\": invalid URI for request'"
    );
}

#[tokio::test]
async fn datadog_gets_an_event() {
    let spec = json!({"address": "https://api.datadoghq.eu/ignored"});
    let token = [("token", &b"key"[..])];
    let sent = call("datadog", &spec, &token, &event("error")).await;
    // NC-DATADOG-001, NC-DATADOG-002, NC-DATADOG-003
    assert_eq!(
        sent.request.address,
        "https://api.datadoghq.eu/api/v1/events"
    );
    assert_eq!(header(&sent, "DD-API-KEY"), "key");
    assert_eq!(
        body(&sent),
        json!({
            "title": "Events from the Kustomization web/apps",
            "text": "applied <a>\nsecond line",
            "tags": [
                "flux_reporting_controller:kustomize-controller",
                "flux_reason:reconciliationsucceeded",
                "kube_kind:kustomization",
                "kube_name:web",
                "kube_namespace:apps",
                format!("revision:{}", revision()),
                "summary:s",
            ],
            "source_type_name": "fluxcd",
            "date_happened": 1_666_941_979,
            "alert_type": "error",
        })
    );
    assert_eq!(
        refusal("datadog", &spec, &[]).await,
        "token cannot be empty"
    );
    // NC-DATADOG-004
    let down = Service::start(vec![(503, vec![], "no".to_owned())]).await;
    let at = settings("datadog", &json!({"address": down.url}), &token);
    let error = job(&at, &event("info"))
        .await
        .unwrap()
        .run(&sender(&at), deadline())
        .await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "failed to post event to DataDog: 503 Service Unavailable"
    );
    assert_eq!(down.lines().len(), 1);
}

#[tokio::test]
async fn the_event_itself_is_forwarded() {
    let headers = b"X-Extra: 1\nContent-Type: text/x\nHost: other\nX-Signature: mine\n";
    let own: [(&str, &[u8]); 4] = [
        ("headers", headers),
        ("token", b"key\n"),
        ("username", b"u"),
        ("password", b"p"),
    ];
    let service = Service::willing().await;
    for kind in ["generic", "generic-hmac"] {
        let settings = settings(kind, &json!({"address": service.url}), &own);
        let job = job(&settings, &event("info")).await.unwrap();
        job.run(&sender(&settings), deadline()).await.unwrap();
    }
    let got = service.got();
    for got in &got {
        // NC-GENERIC-001, NC-GENERIC-002, NC-GENERIC-003
        assert_eq!(got.line, "POST /");
        assert_eq!(got.body, event("info").to_json());
        assert_eq!(got.header("gotk-component"), "kustomize-controller");
        assert_eq!(
            (got.header("x-extra"), got.header("content-type")),
            ("1", "text/x")
        );
        assert!(service.url.ends_with(got.header("host")));
        // NC-GENERIC-004
        assert_eq!(got.header("authorization"), "");
    }
    // NC-GENERIC-HMAC-005
    assert_eq!(got[0].header("x-signature"), "mine");
    // NC-GENERIC-HMAC-001, NC-GENERIC-HMAC-002, NC-GENERIC-HMAC-003: the key is the raw token
    let want = {
        use hmac::{KeyInit as _, Mac as _};
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(b"key\n").unwrap();
        mac.update(&got[1].body);
        hex::encode(mac.finalize().into_bytes())
    };
    assert_eq!(got[1].header("x-signature"), format!("sha256={want}"));
    let at = json!({"address": "https://h"});
    assert_eq!(refusal("generic-hmac", &at, &[]).await, "HMAC key is empty");
    // NC-GENERIC-005
    assert_eq!(
        refusal("generic", &json!({"address": "h"}), &[]).await,
        "invalid hook URL h: parse \"h\": invalid URI for request"
    );
}

#[tokio::test]
async fn sentry_gets_envelopes() {
    let service = Service::willing().await;
    let dsn = service.url.replace("http://", "http://key@");
    let spec = json!({"address": format!("{dsn}/path/42"), "channel": "prod"});
    let at = settings("sentry", &spec, &[]);
    for severity in ["error", "info", "trace"] {
        let job = job(&at, &event(severity)).await.unwrap();
        job.run(&sender(&at), deadline()).await.unwrap();
    }
    let got = service.got();
    // NC-SENTRY-002
    assert_eq!(service.lines(), ["POST /path/api/42/envelope/"; 2]);
    let envelope = |at: usize| -> Vec<Value> {
        assert!(
            got[at]
                .header("x-sentry-auth")
                .starts_with("Sentry sentry_version=7,")
        );
        assert!(got[at].header("x-sentry-auth").ends_with("sentry_key=key"));
        let text = String::from_utf8(got[at].body.to_vec()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let length = lines[2].len();
        let parsed: Vec<Value> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(parsed[1]["length"], length);
        parsed
    };
    // NC-SENTRY-003
    let [head, kind, item] = &*envelope(0) else {
        panic!()
    };
    assert_eq!(
        (&kind["type"], &head["event_id"]),
        (&json!("event"), &item["event_id"])
    );
    for (field, want) in [
        ("level", json!("error")),
        ("server_name", json!("kustomize-controller")),
        ("transaction", json!("Kustomization: apps/web")),
        ("message", json!("applied <a>\nsecond line")),
        ("timestamp", json!("2022-10-28T07:26:19Z")),
        ("environment", json!("prod")),
        (
            "contexts",
            json!({"metadata": {"revision": revision(), "summary": "S"}}),
        ),
    ] {
        assert_eq!(item[field], want, "{field}");
    }
    // NC-SENTRY-004
    let [_, kind, item] = &*envelope(1) else {
        panic!()
    };
    assert_eq!(
        (&kind["type"], &item["type"]),
        (&json!("transaction"), &json!("transaction"))
    );
    assert_eq!(item["start_timestamp"], item["timestamp"]);
    assert_eq!(item["spans"][0]["op"], "event");
    let tags = json!({
        "flux_involved_object_kind": "Kustomization",
        "flux_involved_object_namespace": "apps",
        "flux_involved_object_name": "web",
        "flux_reporting_controller": "kustomize-controller",
        "flux_reporting_instance": "host",
        "flux_reason": "ReconciliationSucceeded",
        "revision": revision(),
        "summary": "S",
    });
    assert_eq!((&item["tags"], &item["spans"][0]["tags"]), (&tags, &tags));
    // NC-SENTRY-001
    assert_eq!(
        refusal("sentry", &json!({}), &[]).await,
        "DSN cannot be empty"
    );
    for bad in [
        "x",
        "https://host/1",
        "https://key@host/",
        "ftp://key@host/1",
    ] {
        let error = refusal("sentry", &json!({"address": bad}), &[]).await;
        assert_eq!(error, "[Sentry] DsnParseError: invalid url", "{bad}");
    }
}

/// An Alertmanager that ends with the test.
struct Alertmanager {
    child: std::process::Child,
    folder: std::path::PathBuf,
    url: String,
}

impl Alertmanager {
    /// Starts one; `None` where it is not installed.
    async fn start(client: &reqwest::Client) -> Option<Self> {
        let program = "/usr/bin/prometheus-alertmanager";
        if !std::fs::exists(program).unwrap_or_default() {
            return None;
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let name = format!("flux-alertmanager-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let config = folder.join("alertmanager.yml");
        std::fs::write(
            &config,
            "route: {receiver: none}\nreceivers: [{name: none}]\n",
        )
        .unwrap();
        let child = std::process::Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", folder.display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--cluster.listen-address=")
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            folder,
            url: format!("http://{address}"),
        };
        let ready = format!("{}/-/ready", server.url);
        while !matches!(client.get(&ready).send().await, Ok(reply) if reply.status().is_success()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(server)
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_real_alertmanager_takes_alerts() {
    let any = sender(&settings("generic", &json!({"address": "http://h"}), &[]));
    let client = any.client();
    let Some(server) = Alertmanager::start(client).await else {
        eprintln!("skipped: there is no prometheus-alertmanager");
        return;
    };
    let address = format!("{}/api/v2/alerts", server.url);
    let mut now = event("error");
    now.timestamp = Some(jiff::Timestamp::now().as_second());
    assert_eq!(post("alertmanager", &address, &[], &now).await, None);
    // NC-ALERTMANAGER-002, NC-ALERTMANAGER-003
    let alerts = client.get(&address).send().await.unwrap();
    let alerts: Value = serde_json::from_str(&alerts.text().await.unwrap()).unwrap();
    assert_eq!(alerts.as_array().map(Vec::len), Some(1), "{alerts}");
    assert_eq!(alerts[0]["status"]["state"], "active");
    assert_eq!(
        alerts[0]["labels"]["alertname"],
        "FluxKustomizationReconciliationsucceeded"
    );
    assert_eq!(alerts[0]["annotations"]["summary"], "S");
}
