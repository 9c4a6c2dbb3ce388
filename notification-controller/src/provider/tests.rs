//! Each type against what its service takes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::service::Service;
use super::send::{Accepts, Call};
use super::settings::tests::settings;
use super::{Job, Sender, Settings, prepare};
use crate::event::Event;

#[expect(dead_code, reason = "only the scenarios wait for requests")]
pub(crate) mod service;

const HASH: &str = "7152fed34dd6149a7c75a276c510da27cb6f82b0";

/// An event of this severity about a Kustomization, with metadata.
pub(crate) fn event(severity: &str) -> Event {
    let mut event = Event::decode(
        br#"{
            "involvedObject": {"kind": "Kustomization", "namespace": "apps", "name": "web", "uid": "u-1",
                               "apiVersion": "kustomize.toolkit.fluxcd.io/v1"},
            "timestamp": "2022-10-28T07:26:19Z",
            "message": "applied <a>\nsecond line",
            "reason": "ReconciliationSucceeded",
            "metadata": {"revision": "main@sha1:7152fed34dd6149a7c75a276c510da27cb6f82b0", "summary": "S"},
            "reportingController": "kustomize-controller",
            "reportingInstance": "host"
        }"#,
    )
    .unwrap();
    severity.clone_into(&mut event.severity);
    event
}

fn bare(severity: &str) -> Event {
    Event {
        metadata: BTreeMap::new(),
        ..event(severity)
    }
}

fn revision() -> String {
    format!("main@sha1:{HASH}")
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

fn sender(settings: &Settings) -> Sender {
    Sender::new(settings).unwrap().pausing(Duration::ZERO)
}

async fn job(settings: &Settings, event: &Event) -> Result<Job, String> {
    let job = prepare(settings, event, &sender(settings), deadline()).await;
    job.map_err(|error| flux_errors::chain(&error))
}

async fn calls(settings: &Settings, event: &Event) -> Vec<Call> {
    match job(settings, event).await.unwrap() {
        Job::Calls(calls) => calls,
        Job::Nothing => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn header<'c>(call: &'c Call, name: &str) -> &'c str {
    let mut headers = call.request.headers.iter();
    let value = headers.find(|(known, _)| known.eq_ignore_ascii_case(name));
    value.map_or("", |(_, value)| std::str::from_utf8(value).unwrap())
}

fn body(call: &Call) -> Value {
    serde_json::from_slice(&call.request.body).unwrap()
}

/// The one call of a type that sends one.
async fn call(kind: &str, spec: &Value, secret: &[(&str, &[u8])], event: &Event) -> Call {
    let mut calls = calls(&settings(kind, spec, secret), event).await;
    assert_eq!(calls.len(), 1, "{kind}");
    calls.remove(0)
}

async fn refusal(kind: &str, spec: &Value, secret: &[(&str, &[u8])]) -> String {
    job(&settings(kind, spec, secret), &event("info"))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn slack_gets_a_message_with_an_attachment() {
    let spec = json!({"address": "https://h/x", "channel": "general"});
    let sent = call("slack", &spec, &[("token", b"t0ken")], &event("info")).await;
    // NC-SLACK-001
    assert_eq!(sent.request.address, "https://h/x");
    assert_eq!(header(&sent, "authorization"), "Bearer t0ken");
    // NC-SLACK-002, NC-SLACK-003, NC-SLACK-004
    let attachment = json!({
        "fallback": "kustomization/web.apps: applied <a>",
        "color": "good",
        "author_name": "kustomization/web.apps",
        "text": "applied <a>\nsecond line",
        "mrkdwn_in": ["text"],
        "fields": [
            {"title": "revision", "value": revision(), "short": false},
            {"title": "summary", "value": "S", "short": false},
        ],
    });
    assert_eq!(
        body(&sent),
        json!({"channel": "general", "username": "kustomize-controller", "icon_url": "", "icon_emoji": "", "attachments": [attachment]})
    );
    let spec = json!({"address": "https://h/x", "username": "me"});
    let sent = call("slack", &spec, &[], &bare("error")).await;
    assert_eq!(header(&sent, "authorization"), "");
    let body = body(&sent);
    assert_eq!(
        (&body["username"], &body["channel"]),
        (&json!("me"), &json!(""))
    );
    assert_eq!(body["attachments"][0]["color"], "danger");
    assert_eq!(body["attachments"][0]["fields"], json!([]));
    // NC-SLACK-005, NC-SLACK-006
    assert_eq!(sent.accepts, Accepts::Success);
    let api = json!({"address": "https://slack.com/api/chat.postMessage"});
    let sent = call("slack", &api, &[], &bare("info")).await;
    assert_eq!(sent.accepts, Accepts::SlackApi);
    // NC-SLACK-007, NC-HTTP-010, FR-N-004
    assert_eq!(
        refusal("slack", &json!({"address": "no url"}), &[]).await,
        "invalid Slack hook URL no url: 'parse \"no url\": invalid URI for request'"
    );
}

#[tokio::test]
async fn discord_and_rocket_chat_take_slacks_messages() {
    // NC-DISCORD-001
    for (address, want) in [
        (
            "https://h/api/webhooks/1/t",
            "https://h/api/webhooks/1/t/slack",
        ),
        ("https://h/a/slack", "https://h/a/slack"),
        ("https://h/a/?wait=true", "https://h/a/slack?wait=true"),
        // NC-DISCORD-004
        ("https://h/slack?x=1", "https://h/slack/slack?x=1"),
    ] {
        let sent = call(
            "discord",
            &json!({"address": address}),
            &[],
            &event("error"),
        )
        .await;
        assert_eq!(sent.request.address, want);
    }
    let spec = json!({"address": "https://h", "channel": "c"});
    let sent = call("discord", &spec, &[("token", b"t")], &event("error")).await;
    // NC-DISCORD-002, NC-DISCORD-003
    let message = body(&sent);
    assert_eq!(
        (&message["channel"], &message["username"]),
        (&json!(""), &json!("kustomize-controller"))
    );
    assert_eq!(message["attachments"][0]["fallback"], "");
    assert_eq!(message["attachments"][0]["color"], "danger");
    assert_eq!(header(&sent, "authorization"), "");

    // NC-ROCKET-001, NC-ROCKET-002
    for (severity, color) in [("info", "#0076D7"), ("error", "#FF0000")] {
        let message = body(&call("rocket", &spec, &[], &event(severity)).await);
        assert_eq!(
            (&message["channel"], &message["username"]),
            (&json!("c"), &json!(""))
        );
        assert_eq!(message["attachments"][0]["color"], color);
        assert_eq!(message["attachments"][0]["fallback"], "");
    }
}

#[tokio::test]
async fn teams_gets_the_card_of_its_endpoint() {
    let spec = json!({"address": "https://prod.example.com/workflows/1"});
    let sent = call("msteams", &spec, &[], &event("error")).await;
    // NC-MSTEAMS-003, NC-MSTEAMS-004, NC-MSTEAMS-005
    let items = json!([
        {"type": "TextBlock", "text": "kustomization/web.apps", "size": "large", "weight": "bolder", "wrap": true},
        {"type": "TextBlock", "text": "applied <a>\nsecond line", "wrap": true, "color": "attention"},
        {"type": "FactSet", "facts": [
            {"title": "summary", "value": "S"},
            {"title": "revision", "value": revision()},
        ]},
    ]);
    let card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "Container", "items": items}],
        "msteams": {"width": "Full"},
    });
    assert_eq!(
        body(&sent),
        json!({"type": "message", "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}]})
    );
    let plain = body(&call("msteams", &spec, &[], &bare("info")).await);
    let items = &plain["attachments"][0]["content"]["body"][0]["items"];
    assert_eq!(items[2], json!({"type": "FactSet"}));
    assert!(items[1].get("color").is_none());
    // FR-N-008
    let long = Event {
        message: "é".repeat(40_000),
        ..event("info")
    };
    let sent = call("msteams", &spec, &[], &long).await;
    assert!(
        sent.request.body.len() < 42_000,
        "{}",
        sent.request.body.len()
    );

    // NC-MSTEAMS-001, NC-MSTEAMS-002
    let spec = json!({"address": "https://xxx.webhook.office.com:443/y"});
    assert_eq!(
        body(&call("msteams", &spec, &[], &event("info")).await),
        json!({
            "@type": "MessageCard",
            "@context": "http://schema.org/extensions",
            "themeColor": "0076D7",
            "summary": "kustomization/web.apps",
            "sections": [{
                "activityTitle": "applied <a>\nsecond line",
                "activitySubtitle": "kustomization/web.apps",
                "facts": [{"name": "revision", "value": revision()}, {"name": "summary", "value": "S"}],
            }],
        })
    );
    let spec = json!({"address": "https://xxx-webhook.office.com/y"});
    let card = body(&call("msteams", &spec, &[], &event("info")).await);
    assert_eq!(card["type"], "message");
}

#[tokio::test]
async fn google_chat_gets_a_card() {
    let spec = json!({"address": "https://chat.googleapis.com/v1/spaces/x?key=k"});
    // NC-GOOGLECHAT-001, NC-GOOGLECHAT-002, NC-GOOGLECHAT-003
    let widget = |key: &str, value: &str| json!({"textParagraph": null, "keyValue": {"topLabel": key, "content": value, "contentMultiline": false, "bottomLabel": null, "icon": null}});
    let text = "<font color=\"#ff0000\">applied <a>\nsecond line</font>";
    let sections = json!([
        {"header": "", "widgets": [{"textParagraph": {"text": text}, "keyValue": null}]},
        {"header": "", "widgets": [widget("revision", &revision()), widget("summary", "S")]},
    ]);
    let header = json!({"title": "kustomization/web.apps", "subtitle": "kustomize-controller", "imageUrl": null, "imageStyle": null});
    assert_eq!(
        body(&call("googlechat", &spec, &[], &event("error")).await),
        json!({"cards": [{"header": header, "sections": sections}]})
    );
    let plain = body(&call("googlechat", &spec, &[], &bare("info")).await);
    assert_eq!(plain["cards"][0]["sections"].as_array().unwrap().len(), 1);
    assert_eq!(
        refusal("googlechat", &json!({}), &[]).await,
        "invalid Google Chat hook URL "
    );
}

#[tokio::test]
async fn webex_gets_markdown() {
    let spec = json!({"address": "https://webexapis.com/v1/messages", "channel": "room"});
    let sent = call("webex", &spec, &[("token", b"t")], &event("error")).await;
    // NC-WEBEX-001, NC-WEBEX-002
    assert_eq!(header(&sent, "authorization"), "Bearer t");
    let markdown = format!(
        "💣 **kustomization/web.apps**\napplied <a>\nsecond line\n>**revision**: {}\n>**summary**: S\n",
        revision()
    );
    assert_eq!(body(&sent), json!({"roomId": "room", "markdown": markdown}));
    let none = call(
        "webex",
        &json!({"address": "https://h"}),
        &[],
        &bare("info"),
    )
    .await;
    assert_eq!(header(&none, "authorization"), "Bearer ");
    assert_eq!(
        body(&none),
        json!({"markdown": "✅ **kustomization/web.apps**\napplied <a>\nsecond line\n"})
    );
}

#[tokio::test]
async fn telegram_gets_escaped_markdown() {
    // NC-TELEGRAM-001: whatever the address
    let spec = json!({"channel": "-100:7", "address": "https://ignored"});
    let mut event = event("error");
    event.message = "a.b".to_owned();
    // FR-N-002
    event.metadata = [("app-name".to_owned(), "web_1.2".to_owned())].into();
    let sent = call("telegram", &spec, &[("token", b"1:abc\n")], &event).await;
    assert_eq!(
        sent.request.address,
        "https://api.telegram.org/bot1:abc/sendMessage"
    );
    // NC-TELEGRAM-003, NC-TELEGRAM-004
    assert_eq!(
        body(&sent),
        json!({
            "chat_id": "-100",
            "message_thread_id": "7",
            "text": "*🚨 kustomization/apps/web*\na\\.b\n\\- *app\\-name*: web\\_1\\.2\n",
            "parse_mode": "MarkdownV2",
        })
    );
    // NC-TELEGRAM-006
    assert_eq!(sent.context, "");
    let plain = call(
        "telegram",
        &json!({"channel": "c"}),
        &[("token", b"t")],
        &bare("info"),
    )
    .await;
    assert!(body(&plain).get("message_thread_id").is_none());
    // NC-TELEGRAM-002
    let token = [("token", &b"t"[..])];
    assert_eq!(
        refusal("telegram", &json!({}), &token).await,
        "empty Telegram channel"
    );
    let channel = json!({"channel": "c"});
    assert_eq!(
        refusal("telegram", &channel, &[]).await,
        "empty Telegram token"
    );
}

#[tokio::test]
async fn lark_and_matrix_get_plain_texts() {
    let spec = json!({"address": "https://h/hook", "channel": "!room:h"});
    // NC-LARK-001, NC-LARK-002
    let content = format!(
        "**applied <a>\nsecond line**\n\nrevision: {}\nsummary: S\n",
        revision()
    );
    let card = |title: &str, color: &str, content: &str| {
        json!({"msg_type": "interactive", "card": {
            "config": {"wide_screen_mode": true},
            "header": {"title": {"tag": "plain_text", "content": title}, "template": color},
            "elements": [{"tag": "div", "text": {"tag": "lark_md", "content": content}}],
        }})
    };
    let sent = call("lark", &spec, &[("token", b"t")], &event("error")).await;
    assert_eq!(
        body(&sent),
        card("🚨 kustomization/web.apps", "red", &content)
    );
    // NC-LARK-003
    assert_eq!((header(&sent, "authorization"), sent.context), ("", ""));
    let sent = body(&call("lark", &spec, &[], &event("info")).await);
    assert_eq!(
        sent,
        card("💫 kustomization/web.apps", "turquoise", &content)
    );
    assert_eq!(
        refusal("lark", &json!({}), &[]).await,
        "invalid Slack hook URL "
    );

    let sent = call("matrix", &spec, &[("token", b"t")], &event("info")).await;
    // NC-MATRIX-001, NC-MATRIX-002
    use sha1::Digest as _;
    let id = hex::encode(sha1::Sha1::digest(event("info").to_json()));
    assert_eq!(sent.request.method, http::Method::PUT);
    assert_eq!(
        sent.request.address,
        format!("https://h/hook/_matrix/client/r0/rooms/!room:h/send/m.room.message/{id}")
    );
    assert_eq!(header(&sent, "authorization"), "Bearer t");
    let text = format!(
        "💫 kustomization/web.apps\napplied <a>\nsecond line\n- revision: {}\n- summary: S\n",
        revision()
    );
    assert_eq!(body(&sent), json!({"body": text, "msgtype": "m.text"}));
}

#[tokio::test]
async fn opsgenie_gets_an_alert_per_reason() {
    let spec = json!({"address": "https://api.opsgenie.com/v2/alerts"});
    let token = [("token", &b"key"[..])];
    let sent = call("opsgenie", &spec, &token, &event("error")).await;
    // NC-OPSGENIE-001, NC-OPSGENIE-002, NC-OPSGENIE-003
    assert_eq!(header(&sent, "authorization"), "GenieKey key");
    use sha2::Digest as _;
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
    // NC-ALERTMANAGER-001 to NC-ALERTMANAGER-005: NC-ALERTMANAGER-002, NC-ALERTMANAGER-003, NC-ALERTMANAGER-005
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
async fn zulip_gets_a_form() {
    let spec = json!({"address": "https://zulip.example.com/ignored", "channel": "flux/a/b"});
    let basic: [(&str, &[u8]); 2] = [("username", b"bot@h"), ("password", b"p")];
    let sent = call("zulip", &spec, &basic, &event("info")).await;
    // NC-ZULIP-001, NC-ZULIP-002, NC-ZULIP-003
    assert_eq!(
        sent.request.address,
        "https://zulip.example.com/api/v1/messages"
    );
    assert_eq!(
        header(&sent, "content-type"),
        "application/x-www-form-urlencoded"
    );
    assert_eq!(header(&sent, "authorization"), "Basic Ym90QGg6cA==");
    let form: Vec<(String, String)> = url::form_urlencoded::parse(&sent.request.body)
        .into_owned()
        .collect();
    // NC-PROV-080
    let content = format!(
        "## Flux Status\n\nℹ️ Kustomization/apps/web\n\napplied <a>\nsecond line\n\nMetadata:\n* `revision`: {}\n* `summary`: S\n",
        revision()
    );
    let pairs = [
        ("content", &*content),
        ("to", "flux"),
        ("topic", "a/b"),
        ("type", "stream"),
    ];
    assert_eq!(
        form,
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    for channel in ["flux", "/t", "flux/"] {
        assert_eq!(
            refusal(
                "zulip",
                &json!({"address": "https://h", "channel": channel}),
                &[]
            )
            .await,
            format!("invalid Zulip channel format, expected <channel>/<topic>, got '{channel}'")
        );
    }
}

#[tokio::test]
async fn zoom_incident_io_and_mastodon_need_a_token() {
    let token = [("token", &b"t0k"[..])];
    // NC-ZOOM-001
    for (address, want) in [
        ("https://h/chat", "https://h/chat?format=full"),
        ("https://h/chat?z=1", "https://h/chat?format=full&z=1"),
        (
            "https://h/chat?format=message",
            "https://h/chat?format=message",
        ),
    ] {
        let sent = call("zoom", &json!({"address": address}), &token, &event("info")).await;
        assert_eq!(sent.request.address, want);
        assert_eq!(header(&sent, "authorization"), "t0k");
        // NC-ZOOM-002
        let items =
            json!([{"key": "revision", "value": revision()}, {"key": "summary", "value": "S"}]);
        assert_eq!(
            body(&sent),
            json!({"content": {
                "head": {"text": "kustomization/web.apps", "sub_head": {"text": "info"}},
                "body": [{"type": "message", "text": "applied <a>\nsecond line"}, {"type": "fields", "items": items}],
            }})
        );
    }
    let at = json!({"address": "https://h"});
    let plain = body(&call("zoom", &at, &token, &bare("info")).await);
    assert_eq!(plain["content"]["body"].as_array().unwrap().len(), 1);
    assert_eq!(
        refusal("zoom", &at, &[]).await,
        "empty Zoom verification token"
    );

    // NC-INCIDENTIO-001, NC-INCIDENTIO-002
    let sent = call("incident.io", &at, &token, &event("error")).await;
    assert_eq!(header(&sent, "authorization"), "Bearer t0k");
    let metadata = json!({
        "revision": revision(), "summary": "S", "severity": "error",
        "reason": "ReconciliationSucceeded", "reportingController": "kustomize-controller",
    });
    assert_eq!(
        body(&sent),
        json!({
            "title": "kustomization/web.apps: ReconciliationSucceeded",
            "status": "firing",
            "deduplication_key": "u-1",
            "description": "applied <a>\nsecond line",
            "metadata": metadata,
        })
    );
    let info = body(&call("incident.io", &at, &token, &event("info")).await);
    assert_eq!(info["status"], "resolved");
    assert_eq!(
        refusal("incident.io", &at, &[]).await,
        "empty incident.io API token"
    );

    // NC-MASTODON-001, NC-MASTODON-004
    let spec = json!({"address": "https://m.example.com/?visibility=unlisted&a=b"});
    let sent = call("mastodon", &spec, &token, &event("error")).await;
    assert_eq!(
        sent.request.address,
        "https://m.example.com/api/v1/statuses?a=b"
    );
    assert_eq!(header(&sent, "authorization"), "Bearer t0k");
    let post = body(&sent);
    assert_eq!(post["visibility"], "unlisted");
    // NC-MASTODON-002
    assert!(
        post["status"]
            .as_str()
            .unwrap()
            .starts_with("🚨 kustomization/web.apps\n")
    );
    let long = Event {
        message: "ü".repeat(900),
        ..event("info")
    };
    let cut = body(&call("mastodon", &spec, &token, &long).await);
    let cut = cut["status"].as_str().unwrap().to_owned();
    assert!(cut.starts_with("💫 ") && cut.chars().count() == 500);
    // NC-MASTODON-003
    let once = header(&sent, "idempotency-key").to_owned();
    assert_eq!(once.len(), 64);
    let again = call("mastodon", &spec, &token, &event("error")).await;
    assert_eq!(header(&again, "idempotency-key"), once);
    let other = call("mastodon", &spec, &token, &event("info")).await;
    assert_ne!(header(&other, "idempotency-key"), once);
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

#[tokio::test]
async fn only_services_that_know_success_and_failure_skip_progress() {
    // NC-PROVCAP-001, FR-N-043
    let token: [(&str, &[u8]); 1] = [("token", b"u:t")];
    let skipping = [
        "github",
        "gitlab",
        "bitbucketserver",
        "bitbucket",
        "azuredevops",
        "pagerduty",
        "incident.io",
    ];
    let all = [
        "slack",
        "discord",
        "msteams",
        "rocket",
        "generic",
        "generic-hmac",
        "googlechat",
        "webex",
        "sentry",
        "telegram",
        "lark",
        "matrix",
        "opsgenie",
        "alertmanager",
        "grafana",
        "githubdispatch",
        "datadog",
        "zulip",
        "zoom",
        "mastodon",
    ];
    let address = |kind: &str| match kind {
        "azuredevops" => "https://h/org/proj/_git/repo",
        "bitbucketserver" => "https://h/scm/o/r.git",
        "sentry" => "https://key@h/1",
        _ => "https://h/o/r",
    };
    for kind in skipping.iter().chain(&all) {
        let spec = json!({"address": address(kind), "channel": "a/b"});
        let settings = settings(kind, &spec, &token);
        for (reason, severity, is_progress) in [
            ("Progressing", "info", true),
            // FR-N-017
            ("DependencyNotReady", "info", true),
            ("HealthCheckCanceled", "info", true),
            ("DependencyNotReady", "error", false),
            ("ReconciliationSucceeded", "info", false),
        ] {
            let event = Event {
                reason: reason.to_owned(),
                ..event(severity)
            };
            let sends = !matches!(job(&settings, &event).await.unwrap(), Job::Nothing);
            assert_eq!(
                sends,
                !(is_progress && skipping.contains(kind)),
                "{kind} {reason}"
            );
        }
    }
}

#[tokio::test]
async fn events_without_metadata_are_sent_by_every_type() {
    // FR-N-011
    for kind in [
        "slack",
        "discord",
        "msteams",
        "rocket",
        "generic",
        "googlechat",
        "webex",
        "telegram",
        "lark",
        "matrix",
        "opsgenie",
        "alertmanager",
        "grafana",
        "pagerduty",
        "datadog",
        "zulip",
        "zoom",
        "incident.io",
        "mastodon",
        "sentry",
        "githubdispatch",
    ] {
        let address = if kind == "sentry" {
            "https://key@h/1"
        } else {
            "https://h/o/r"
        };
        let spec = json!({"address": address, "channel": "a/b"});
        let settings = settings(kind, &spec, &[("token", b"t")]);
        assert!(!calls(&settings, &bare("error")).await.is_empty(), "{kind}");
    }
}

#[tokio::test]
async fn unknown_types_are_refused() {
    // NC-PROV-081
    for kind in ["carrier-pigeon", "smoke"] {
        let error = refusal(kind, &json!({}), &[]).await;
        assert_eq!(error, format!("provider {kind} not supported"));
    }
}

/// Prepares and sends an event; the error's text, or nothing.
async fn post(
    kind: &str,
    address: &str,
    secret: &[(&str, &[u8])],
    event: &Event,
) -> Option<String> {
    let spec = json!({"address": address});
    let settings =
        settings(kind, &spec, secret).with_status("kustomization/web/0c9c2e41".into(), false);
    let sender = sender(&settings);
    let job = match prepare(&settings, event, &sender, deadline()).await {
        Ok(job) => job,
        Err(error) => return Some(flux_errors::chain(&error)),
    };
    job.run(&sender, deadline())
        .await
        .err()
        .map(|error| error.to_string())
}

const ID: &str = "kustomization/web/0c9c2e41";

fn ok(body: &Value) -> service::Answer {
    (200, vec![], body.to_string())
}

#[tokio::test]
async fn github_statuses_are_set_once() {
    let token: [(&str, &[u8]); 1] = [("token", b"t\n")];
    let other = json!({"context": "other", "state": "success", "description": "x"});
    let same = |state: &str| json!({"context": ID, "state": state, "description": "reconciliation succeeded"});
    for (listed, severity, posts) in [
        // NC-GITHUB-009: the newest one with the same context decides
        (json!([other, same("success"), same("failure")]), "info", 0),
        (json!([same("failure"), same("success")]), "info", 1),
        (json!([]), "error", 1),
    ] {
        let service = Service::start(vec![ok(&listed), (201, vec![], "{}".to_owned())]).await;
        let error = post(
            "github",
            &format!("{}/o/r", service.url),
            &token,
            &event(severity),
        )
        .await;
        assert_eq!(error, None);
        let got = service.got();
        assert_eq!(got.len(), 1 + posts, "{listed}");
        assert_eq!(
            got[0].line,
            format!("GET /api/v3/repos/o/r/commits/{HASH}/statuses?per_page=50")
        );
        for got in &got {
            // NC-GITHUB-006
            assert_eq!(got.header("authorization"), "Bearer t");
            assert_eq!(got.header("accept"), "application/vnd.github.v3+json");
            assert_eq!(got.header("x-github-api-version"), "2022-11-28");
        }
        if posts == 1 {
            // NC-GITHUB-008, NC-GITHUB-010
            let state = if severity == "info" {
                "success"
            } else {
                "failure"
            };
            assert_eq!(
                got[1].line,
                format!("POST /api/v3/repos/o/r/statuses/{HASH}")
            );
            assert_eq!(got[1].json(), same(state));
        }
    }
    // NC-GITHUB-001, NC-GITHUB-002
    let error = post("github", "https://github.com/o/r/x", &token, &event("info")).await;
    assert_eq!(error.unwrap(), "invalid repository id: 'o/r/x'");
    let error = post("github", "https://github.com/o/r", &[], &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "github token or github app details must be specified"
    );
    // NC-PROV-076
    let error = post("github", "https://github.com/o/r", &token, &bare("error")).await;
    assert_eq!(error.unwrap(), "missing revision metadata");
    let error = post("github", "https://github.com/o/r", &token, &event("trace")).await;
    assert_eq!(error.unwrap(), "can't convert to github state");
    // NC-GITHUB-011
    let service =
        Service::start(vec![(404, vec![], r#"{"message":"Not Found"}"#.to_owned())]).await;
    let error = post(
        "github",
        &format!("{}/o/r", service.url),
        &token,
        &event("info"),
    )
    .await;
    let error = error.unwrap();
    assert!(
        error.starts_with("could not list commit statuses: GET http://"),
        "{error}"
    );
    assert!(
        error.contains(": 404 {\"message\":\"Not Found\"}"),
        "{error}"
    );
    let service = Service::start(vec![ok(&json!([])), (500, vec![], String::new())]).await;
    let error = post(
        "github",
        &format!("{}/o/r", service.url),
        &token,
        &event("info"),
    )
    .await;
    assert!(
        error
            .unwrap()
            .starts_with("could not create commit status: POST ")
    );
    assert_eq!(service.got().len(), 2, "no retries");
}

#[tokio::test]
async fn github_gets_dispatch_events() {
    let service = Service::start(vec![(204, vec![], String::new())]).await;
    let token: [(&str, &[u8]); 2] = [("username", b"git"), ("password", b"t")];
    let address = format!("{}/o/r", service.url);
    assert_eq!(
        post("githubdispatch", &address, &token, &event("info")).await,
        None
    );
    let got = service.got().remove(0);
    // NC-GITHUBDISPATCH-001, NC-GITHUBDISPATCH-002
    assert_eq!(got.line, "POST /api/v3/repos/o/r/dispatches");
    assert_eq!(got.header("authorization"), "Bearer t");
    let payload: Value = serde_json::from_str(&event("info").to_json()).unwrap();
    assert_eq!(
        got.json(),
        json!({"event_type": "Kustomization/web.apps", "client_payload": payload})
    );
    // NC-GITHUBDISPATCH-003
    let down = Service::start(vec![(422, vec![], String::new())]).await;
    let error = post(
        "githubdispatch",
        &format!("{}/o/r", down.url),
        &token,
        &event("info"),
    )
    .await;
    assert_eq!(
        error.unwrap(),
        "could not send github repository dispatch webhook: 422 Unprocessable Entity"
    );
}

#[tokio::test]
async fn gitlab_statuses_are_set_once() {
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    let same = json!({"sha": HASH, "status": "failed", "description": "reconciliation succeeded", "name": ID});
    for (listed, posts) in [(json!([{"sha": "x"}, same]), 0), (json!([]), 1)] {
        let service = Service::start(vec![ok(&listed), (201, vec![], "{}".to_owned())]).await;
        let address = format!("{}/group/sub/r.x.git", service.url);
        assert_eq!(
            post("gitlab", &address, &token, &event("error")).await,
            None
        );
        let got = service.got();
        assert_eq!(got.len(), 1 + posts);
        // NC-GITLAB-001, NC-GITLAB-002, NC-GITLAB-004
        assert_eq!(got[0].header("private-token"), "t");
        let project = "/api/v4/projects/group%2Fsub%2Fr%2Ex";
        assert_eq!(
            got[0].line,
            format!(
                "GET {project}/repository/commits/{HASH}/statuses?name=kustomization%2Fweb%2F0c9c2e41"
            )
        );
        if posts == 1 {
            // NC-GITLAB-003, NC-GITLAB-005
            assert_eq!(got[1].line, format!("POST {project}/statuses/{HASH}"));
            assert_eq!(
                got[1].json(),
                json!({"state": "failed", "name": ID, "description": "reconciliation succeeded"})
            );
        }
    }
    // NC-GITLAB-006: what changes nothing is sent again
    let service = Service::start(vec![
        (502, vec![], String::new()),
        (429, vec![], String::new()),
        ok(&json!([same])),
    ])
    .await;
    let address = format!("{}/o/r", service.url);
    assert_eq!(
        post("gitlab", &address, &token, &event("error")).await,
        None
    );
    assert_eq!(service.got().len(), 3);
    // NC-GITLAB-007
    let service = Service::start(vec![(401, vec![], "no".to_owned())]).await;
    let error = post(
        "gitlab",
        &format!("{}/o/r", service.url),
        &token,
        &event("error"),
    )
    .await;
    assert!(
        error
            .unwrap()
            .starts_with("unable to list commit status: GET ")
    );
    let error = post("gitlab", "https://h/o/r", &[], &event("info")).await;
    assert_eq!(error.unwrap(), "gitlab token cannot be empty");
}

#[tokio::test]
async fn gitea_statuses_are_set_once() {
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    let version = ok(&json!({"version": "1.25.0"}));
    let same = |state: &str| json!({"context": ID, "status": state, "description": "reconciliation succeeded"});
    for (listed, severity, reason, state, posts) in [
        (
            json!([same("success")]),
            "info",
            "ReconciliationSucceeded",
            "success",
            0,
        ),
        (
            json!([same("failure"), same("success")]),
            "info",
            "ReconciliationSucceeded",
            "success",
            1,
        ),
        (json!([]), "error", "ReconciliationSucceeded", "failure", 1),
        // NC-GITEA-003
        (json!([]), "info", "Progressing", "pending", 1),
    ] {
        let service = Service::start(vec![
            version.clone(),
            ok(&listed),
            (201, vec![], "{}".to_owned()),
        ])
        .await;
        let event = Event {
            reason: reason.to_owned(),
            ..event(severity)
        };
        assert_eq!(
            post("gitea", &format!("{}/o/r", service.url), &token, &event).await,
            None
        );
        let got = service.got();
        assert_eq!(got.len(), 2 + posts);
        // NC-GITEA-001, NC-GITEA-002, NC-GITEA-004
        assert_eq!(got[0].line, "GET /api/v1/version");
        assert_eq!(got[0].header("authorization"), "token t");
        assert_eq!(
            got[1].line,
            format!("GET /api/v1/repos/o/r/commits/{HASH}/statuses?limit=50&page=1")
        );
        if posts == 1 {
            // NC-GITEA-005
            assert_eq!(
                got[2].line,
                format!("POST /api/v1/repos/o/r/statuses/{HASH}")
            );
            let body = got[2].json();
            assert_eq!(
                (&body["state"], &body["target_url"], &body["context"]),
                (&json!(state), &json!(""), &json!(ID))
            );
        }
    }
    let down = Service::start(vec![(500, vec![], "no".to_owned())]).await;
    let error = post(
        "gitea",
        &format!("{}/o/r", down.url),
        &token,
        &event("info"),
    )
    .await;
    assert!(
        error
            .unwrap()
            .starts_with("failed creating Gitea client: GET ")
    );
    let error = post("gitea", "https://h/o/r", &[], &event("info")).await;
    assert_eq!(error.unwrap(), "gitea token cannot be empty");
    let error = post("gitea", "https://h/o", &token, &event("info")).await;
    assert_eq!(error.unwrap(), "invalid repository id \"o\"");
}

#[tokio::test]
async fn bitbucket_server_statuses_are_set_once() {
    use sha1::Digest as _;
    let key = hex::encode(sha1::Sha1::digest(ID));
    let same = json!({
        "key": key, "state": "SUCCESSFUL", "description": "reconciliation succeeded",
        "name": "kustomization/web [reconciliation succeeded]",
    });
    let basic: [(&str, &[u8]); 2] = [("username", b"u"), ("password", b"p")];
    for (answer, posts) in [
        (ok(&same), 0),
        (ok(&json!({})), 1),
        (((404, vec![], String::new())), 1),
    ] {
        let service = Service::start(vec![answer, (204, vec![], String::new())]).await;
        let address = format!("{}/scm/proj/repo.git", service.url);
        assert_eq!(
            post("bitbucketserver", &address, &basic, &event("info")).await,
            None
        );
        let got = service.got();
        assert_eq!(got.len(), 1 + posts);
        let builds = format!("/rest/api/latest/projects/proj/repos/repo/commits/{HASH}/builds");
        // NC-BITBUCKETSERVER-002, NC-BITBUCKETSERVER-004, NC-BITBUCKETSERVER-007
        assert_eq!(got[0].line, format!("GET {builds}?key={key}"));
        for got in &got {
            assert_eq!(got.header("authorization"), "Basic dTpw");
            assert_eq!(got.header("x-atlassian-token"), "no-check");
            assert_eq!(got.header("x-requested-with"), "XMLHttpRequest");
        }
        if posts == 1 {
            // NC-BITBUCKETSERVER-006, NC-BITBUCKETSERVER-008
            assert_eq!(got[1].line, format!("POST {builds}"));
            let mut want = same.clone();
            want["url"] = json!(address);
            assert_eq!(got[1].json(), want);
        }
    }
    // NC-BITBUCKETSERVER-009
    let service = Service::start(vec![(503, vec![], String::new()), ok(&same)]).await;
    let address = format!("{}/scm/proj/repo", service.url);
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    assert_eq!(
        post("bitbucketserver", &address, &token, &event("info")).await,
        None
    );
    assert_eq!(service.got()[1].header("authorization"), "Bearer t");
    let service = Service::start(vec![(403, vec![], String::new())]).await;
    let address = format!("{}/scm/proj/repo", service.url);
    let error = post("bitbucketserver", &address, &token, &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "could not get existing commit status: failed api call to check duplicate commit status: 403 - Forbidden"
    );
    let service = Service::start(vec![ok(&json!({})), (400, vec![], String::new())]).await;
    let address = format!("{}/scm/proj/repo", service.url);
    let error = post("bitbucketserver", &address, &token, &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "could not post build status: could not post build commit status: 400 - Bad Request"
    );
    let error = post("bitbucketserver", &address, &[], &event("info")).await;
    assert_eq!(
        error.unwrap(),
        "invalid credentials, expected to be one of username/password or API Token"
    );
    // NC-BITBUCKETSERVER-005
    let error = post("bitbucketserver", &address, &token, &event("trace")).await;
    assert!(
        error
            .unwrap()
            .ends_with("bitbucket server state generated on info or error events only")
    );
}

#[tokio::test]
async fn azure_devops_statuses_are_set_once() {
    let token: [(&str, &[u8]); 1] = [("token", b"pat")];
    let status = |genre: &str, state: &str| json!({"state": state, "description": "reconciliation succeeded", "context": {"genre": genre, "name": ID}});
    let list = |statuses: Value| ok(&json!({"value": statuses}));
    for (answer, posts) in [
        // NC-AZUREDEVOPS-007
        (
            list(json!([
                status("other", "error"),
                status("fluxcd:S", "succeeded")
            ])),
            0,
        ),
        (
            list(json!([
                status("fluxcd:S", "error"),
                status("fluxcd:S", "succeeded")
            ])),
            1,
        ),
        (list(json!([])), 1),
    ] {
        let service = Service::start(vec![answer, (201, vec![], "{}".to_owned())]).await;
        let address = format!("{}/org/my%20proj/_git/repo", service.url);
        assert_eq!(
            post("azuredevops", &address, &token, &event("info")).await,
            None
        );
        let got = service.got();
        assert_eq!(got.len(), 1 + posts);
        let statuses =
            format!("/org/my%20proj/_apis/git/repositories/repo/commits/{HASH}/statuses");
        assert_eq!(got[0].line, format!("GET {statuses}"));
        // NC-AZUREDEVOPS-002, NC-AZUREDEVOPS-004
        for got in &got {
            assert_eq!(got.header("authorization"), "Basic OnBhdA==");
            assert_eq!(got.header("accept"), "application/json;api-version=6.0");
            assert_eq!(got.header("x-tfs-fedauthredirect"), "Suppress");
            assert_eq!(got.header("x-tfs-session").len(), 36);
        }
        if posts == 1 {
            // NC-AZUREDEVOPS-005, NC-AZUREDEVOPS-006
            assert_eq!(got[1].line, format!("POST {statuses}"));
            assert_eq!(got[1].json(), status("fluxcd:S", "succeeded"));
        }
    }
    // NC-AZUREDEVOPS-001
    let error = post("azuredevops", "https://h/o/r", &token, &event("info")).await;
    assert_eq!(error.unwrap(), "invalid repository id \"o/r\"");
}

/// An event about a pull request.
fn of_request(number: &str) -> Event {
    let mut event = event("error");
    event
        .metadata
        .insert("change_request".to_owned(), number.to_owned());
    event
}

#[tokio::test]
async fn comments_are_written_once_and_then_replaced() {
    let token: [(&str, &[u8]); 1] = [("token", b"t")];
    let object = "0c9c2e41-d2f9-4f9b/Kustomization/apps/web";
    let text = |prefix: &str| {
        // NC-GITHUBPULLREQUESTCOMMENT-002, NC-PROV-080
        format!(
            "<!-- {prefix}:{object} -->\n\n## Flux Status\n\n⚠️ Kustomization/apps/web\n\napplied <a>\nsecond line\n\nMetadata:\n* `revision`: {}\n* `summary`: S\n",
            revision()
        )
    };
    struct Host {
        kind: &'static str,
        prefix: &'static str,
        /// What is asked before anything is written.
        before: &'static [&'static str],
        own: Value,
        author: fn(&str) -> Value,
        list: &'static str,
        create: &'static str,
        update: &'static str,
        authorization: (&'static str, &'static str),
    }
    for host in [
        // NC-GITHUBPULLREQUESTCOMMENT-003, NC-GITHUBPULLREQUESTCOMMENT-004
        Host {
            kind: "githubpullrequestcomment",
            prefix: "flux-pr-comment-key",
            before: &["GET /api/v3/user"],
            own: json!({"login": "bot"}),
            author: |name| json!({"login": name}),
            list: "GET /api/v3/repos/o/r/issues/7/comments?direction=asc&per_page=100&sort=created",
            create: "POST /api/v3/repos/o/r/issues/7/comments",
            update: "PATCH /api/v3/repos/o/r/issues/comments/12",
            authorization: ("authorization", "Bearer t"),
        },
        // NC-GITEAPULLREQUESTCOMMENT-001, NC-GITEAPULLREQUESTCOMMENT-002
        Host {
            kind: "giteapullrequestcomment",
            prefix: "flux-pr-comment-key",
            before: &["GET /api/v1/version", "GET /api/v1/user"],
            own: json!({"login": "bot", "version": "1.25.0"}),
            author: |name| json!({"login": name}),
            list: "GET /api/v1/repos/o/r/issues/7/comments?page=1&limit=100",
            create: "POST /api/v1/repos/o/r/issues/7/comments",
            update: "PATCH /api/v1/repos/o/r/issues/comments/12",
            authorization: ("authorization", "token t"),
        },
        // NC-GITLABMERGEREQUESTCOMMENT-001, NC-GITLABMERGEREQUESTCOMMENT-002, NC-GITLABMERGEREQUESTCOMMENT-003
        Host {
            kind: "gitlabmergerequestcomment",
            prefix: "flux-mr-comment-key",
            before: &["GET /api/v4/user"],
            own: json!({"username": "bot"}),
            author: |name| json!({"username": name}),
            list: "GET /api/v4/projects/o%2Fr/merge_requests/7/notes?order_by=created_at&per_page=100&sort=asc",
            create: "POST /api/v4/projects/o%2Fr/merge_requests/7/notes",
            update: "PUT /api/v4/projects/o%2Fr/merge_requests/7/notes/12",
            authorization: ("private-token", "t"),
        },
    ] {
        let marker = format!("<!-- {}:{object} -->", host.prefix);
        let comment = |id: u64, author: &str, body: &str| json!({"id": id, "user": (host.author)(author), "author": (host.author)(author), "body": body});
        let foreign = comment(10, "human", &marker);
        let other = comment(11, "bot", "<!-- another -->");
        let own = comment(12, "bot", &format!("{marker}\n\nold"));
        for (comments, want) in [
            (json!([foreign, other]), host.create),
            (json!([foreign, other, own]), host.update),
        ] {
            let mut answers = vec![ok(&host.own); host.before.len()];
            answers.extend([ok(&comments), (201, vec![], "{}".to_owned())]);
            let service = Service::start(answers).await;
            let address = format!("{}/o/r", service.url);
            assert_eq!(
                post(host.kind, &address, &token, &of_request("7")).await,
                None
            );
            let mut lines = host.before.to_vec();
            lines.extend([host.list, want]);
            assert_eq!(service.lines(), lines);
            let got = service.got();
            assert!(
                got.iter()
                    .all(|got| got.header(host.authorization.0) == host.authorization.1)
            );
            assert_eq!(
                got[got.len() - 1].json(),
                json!({"body": text(host.prefix)})
            );
        }
        // NC-GITHUBPULLREQUESTCOMMENT-001
        let mut answers = vec![ok(&host.own); host.before.len()];
        answers.push(ok(&json!([])));
        let service = Service::start(answers).await;
        let address = format!("{}/o/r", service.url);
        let error = post(host.kind, &address, &token, &event("error")).await;
        assert_eq!(error.unwrap(), "missing \"change_request\" metadata key");
        let error = post(host.kind, &address, &token, &of_request("x")).await;
        assert!(
            error
                .unwrap()
                .starts_with("invalid \"change_request\" metadata value \"x\": ")
        );
        let down = Service::start(vec![(403, vec![], String::new())]).await;
        let error = post(
            host.kind,
            &format!("{}/o/r", down.url),
            &token,
            &of_request("7"),
        )
        .await;
        let error = error.unwrap();
        assert!(error.starts_with("failed "), "{error}");
    }
}

#[tokio::test]
async fn pub_sub_gets_the_event_as_a_message() {
    use base64::Engine as _;
    let own: [(&str, &[u8]); 1] = [("headers", b"a: b\n")];
    let spec = json!({"address": "project", "channel": "topic"});
    let at = settings("googlepubsub", &spec, &own).with_cloud_token("t0ken".into());
    let sent = calls(&at, &event("info")).await.remove(0);
    // NC-GOOGLEPUBSUB-002
    assert_eq!(
        sent.request.address,
        "https://pubsub.googleapis.com/v1/projects/project/topics/topic:publish"
    );
    assert_eq!(header(&sent, "authorization"), "Bearer t0ken");
    let data = base64::engine::general_purpose::STANDARD.encode(event("info").to_json());
    assert_eq!(
        body(&sent),
        json!({"messages": [{"data": data, "attributes": {"a": "b"}}]})
    );
    assert_eq!(sent.context, "error publishing to GCP Pub/Sub topic: ");
    // NC-GOOGLEPUBSUB-001
    let error = refusal("googlepubsub", &json!({"channel": "topic"}), &[]).await;
    assert_eq!(error, "GCP project ID cannot be empty");
    let error = refusal("googlepubsub", &json!({"address": "project"}), &[]).await;
    assert_eq!(error, "GCP Pub/Sub topic ID cannot be empty");
}

#[tokio::test]
async fn event_hubs_get_the_event_by_token_or_by_key() {
    // NC-AZUREEVENTHUB-003
    for (namespace, host) in [
        ("ns", "ns.servicebus.windows.net"),
        (
            "ns.servicebus.usgovcloudapi.net",
            "ns.servicebus.usgovcloudapi.net",
        ),
    ] {
        let spec = json!({"address": "hub", "channel": namespace});
        let sent = call("azureeventhub", &spec, &[("token", b"jwt")], &event("info")).await;
        // NC-AZUREEVENTHUB-004
        assert_eq!(header(&sent, "authorization"), "Bearer jwt");
        let address = format!("https://{host}/hub/messages?api-version=2014-01");
        assert_eq!(sent.request.address, address);
        assert_eq!(sent.request.body, event("info").to_json());
    }
    // NC-AZUREEVENTHUB-005
    let spec = json!({"address": "hub", "channel": "ns"});
    let at = settings("azureeventhub", &spec, &[]).with_cloud_token("cloud".into());
    let sent = calls(&at, &event("info")).await.remove(0);
    assert_eq!(header(&sent, "authorization"), "Bearer cloud");
    // NC-AZUREEVENTHUB-002
    let key = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey=c2VjcmV0;EntityPath=hub";
    let sas = json!({"address": key});
    let sent = call("azureeventhub", &sas, &[], &event("info")).await;
    assert_eq!(
        sent.request.address,
        "https://ns.servicebus.windows.net/hub/messages?api-version=2014-01"
    );
    let signature = header(&sent, "authorization");
    let begin = "SharedAccessSignature sr=https%3A%2F%2Fns.servicebus.windows.net%2Fhub&sig=";
    assert!(
        signature.starts_with(begin) && signature.ends_with("&skn=root"),
        "{signature}"
    );
    for (spec, secret, error) in [
        (
            sas.clone(),
            &[("token", &b"jwt"[..])][..],
            "invalid authentication options: jwt token and SAS authentication cannot be set at the same time",
        ),
        (
            json!({"address": key, "serviceAccountName": "x"}),
            &[],
            "invalid authentication options: serviceAccountName and SAS authentication cannot be set at the same time",
        ),
        (
            json!({"address": "hub", "channel": "ns", "serviceAccountName": "x"}),
            &[("token", &b"jwt"[..])],
            "invalid authentication options: serviceAccountName and jwt token authentication cannot be set at the same time",
        ),
        // NC-AZUREEVENTHUB-001
        (
            json!({}),
            &[],
            "invalid authentication options: endpoint URL cannot be empty",
        ),
        (
            json!({"address": key.replace(";EntityPath=hub", "")}),
            &[],
            "failed to create a eventhub using SAS: the connection string has no EntityPath",
        ),
    ] {
        assert_eq!(refusal("azureeventhub", &spec, secret).await, error);
    }
}
