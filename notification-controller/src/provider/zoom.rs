//! Zoom (NC-ZOOM rows).

use serde_json::{Value, json};

use super::address::{checked, text};
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::heading;
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let mut url = checked(settings, "Zoom incoming webhook URL")?;
    let token = settings.header_token();
    if token.is_empty() {
        return Err(ConfigError::invalid("empty Zoom verification token"));
    }
    // NC-ZOOM-001: as Go writes a query, sorted by key
    let mut query: Vec<(String, String)> = url::form_urlencoded::parse(&url.query)
        .into_owned()
        .collect();
    let format = query.iter().find(|(key, _)| key == "format");
    if format.is_none_or(|(_, value)| value.is_empty()) {
        query.retain(|(key, _)| key != "format");
        query.push(("format".to_owned(), "full".to_owned()));
        query.sort_by(|one, other| one.0.cmp(&other.0));
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(query);
        url.query = text.finish().into_bytes();
    }
    let mut body = vec![json!({"type": "message", "text": event.message})];
    if event.message.is_empty() {
        body = vec![json!({"type": "message"})];
    }
    if !event.metadata.is_empty() {
        let items = event.metadata.iter();
        let items: Vec<Value> = items
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        body.push(json!({"type": "fields", "items": items}));
    }
    let message = json!({"content": {
        "head": {"text": heading(event), "sub_head": {"text": event.severity}},
        "body": body,
    }});
    Ok(vec![
        Call::post(text(&url.text()), &message).header("Authorization", token),
    ])
}
