//! Microsoft Teams: adaptive cards, and the older connector cards (NC-MSTEAMS rows).

use serde_json::{Value, json};

use super::address::{checked, text};
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::heading;
use crate::event::Event;

/// The longest message of a card, in characters. Teams refuses cards of about 28 KB: a message that is cut is worth more
/// than none (FR-N-008).
const MAX_MESSAGE: usize = 20_000;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let url = checked(settings, "MS Teams webhook URL")?;
    let host = text(&url.host);
    let host = host.split(':').next().unwrap_or_default();
    // NC-MSTEAMS-001
    let card = if host.ends_with(".webhook.office.com") {
        connector_card(event)
    } else {
        adaptive_card(event)
    };
    Ok(vec![Call::post(&settings.address, &card)])
}

/// NC-MSTEAMS-002
fn connector_card(event: &Event) -> Value {
    let facts = event.metadata.iter();
    let facts: Vec<Value> = facts
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    json!({
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": if event.is_error() { "FF0000" } else { "0076D7" },
        "summary": heading(event),
        "sections": [{
            "activityTitle": message(event),
            "activitySubtitle": heading(event),
            "facts": facts,
        }],
    })
}

fn message(event: &Event) -> String {
    super::text::cut(&event.message, MAX_MESSAGE)
}

/// NC-MSTEAMS-003, NC-MSTEAMS-004
fn adaptive_card(event: &Event) -> Value {
    let mut text = json!({"type": "TextBlock", "text": message(event), "wrap": true});
    if event.message.is_empty() {
        text = json!({"type": "TextBlock", "wrap": true});
    }
    if event.is_error() {
        text["color"] = json!("attention");
    }
    // NC-MSTEAMS-005
    let (summary, others): (Vec<_>, Vec<_>) = event
        .metadata
        .iter()
        .partition(|(key, _)| *key == "summary");
    let facts: Vec<Value> = summary
        .into_iter()
        .chain(others)
        .map(|(title, value)| json!({"title": title, "value": value}))
        .collect();
    let mut set = json!({"type": "FactSet"});
    if !facts.is_empty() {
        set["facts"] = json!(facts);
    }
    let title = json!({
        "type": "TextBlock", "text": heading(event), "size": "large", "weight": "bolder", "wrap": true,
    });
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [{"type": "Container", "items": [title, text, set]}],
                "msteams": {"width": "Full"},
            },
        }],
    })
}
