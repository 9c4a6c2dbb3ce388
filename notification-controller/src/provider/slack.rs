//! Slack, and everything that takes its messages (NC-SLACK rows).

use serde_json::{Value, json};

use super::address::checked;
use super::send::{Accepts, Call};
use super::settings::{ConfigError, Settings};
use super::text::heading;
use crate::event::Event;

/// The address of Slack's API, whose responses are good whatever they say (NC-SLACK-005).
const API: &str = "https://slack.com/api/chat.postMessage";

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    checked(settings, "Slack hook URL")?;
    let first = event.message.split('\n').next().unwrap_or_default();
    let fallback = format!("{}: {first}", heading(event));
    let colors = Colors {
        info: "good",
        error: "danger",
    };
    let message = message(
        event,
        &settings.channel,
        username(settings, event),
        &fallback,
        colors,
    );
    let mut call = Call::post(&settings.address, &message).bearer_if_any(&settings.header_token());
    if settings.address == API {
        call.accepts = Accepts::SlackApi;
    }
    Ok(vec![call])
}

/// The name that messages are posted under (NC-SLACK-003).
pub(super) fn username<'s>(settings: &'s Settings, event: &'s Event) -> &'s str {
    if settings.username.is_empty() {
        &event.reporting_controller
    } else {
        &settings.username
    }
}

/// The colors of messages.
#[derive(Clone, Copy)]
pub(super) struct Colors {
    pub(super) info: &'static str,
    pub(super) error: &'static str,
}

/// A message in Slack's form (NC-SLACK-002, NC-SLACK-004).
pub(super) fn message(
    event: &Event,
    channel: &str,
    username: &str,
    fallback: &str,
    colors: Colors,
) -> Value {
    let fields = event.metadata.iter();
    let fields: Vec<Value> = fields
        .map(|(key, value)| json!({"title": key, "value": value, "short": false}))
        .collect();
    let color = if event.is_error() {
        colors.error
    } else {
        colors.info
    };
    json!({
        "channel": channel,
        "username": username,
        "icon_url": "",
        "icon_emoji": "",
        "attachments": [{
            "fallback": fallback,
            "color": color,
            "author_name": heading(event),
            "text": event.message,
            "mrkdwn_in": ["text"],
            "fields": fields,
        }],
    })
}
