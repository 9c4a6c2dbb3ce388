//! Messages to chats.

use super::*;
use sha1::Digest as _;

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
            "text": "*🚨 kustomization/web/apps*\na\\.b\n\\- *app\\-name*: web\\_1\\.2\n",
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
