//! Zulip (NC-ZULIP rows).

use flux_golang::url::Url;
use http::Method;

use super::address::text;
use super::send::{Call, Exchange};
use super::settings::{ConfigError, Settings};
use super::text::markdown;
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let mut url = Url::parse(settings.address.as_bytes())
        .map_err(|error| ConfigError::invalid(format!("invalid Zulip endpoint URL: {error}")))?;
    url.path = b"/api/v1/messages".to_vec();
    // NC-ZULIP-002
    let (channel, topic) = match settings.channel.split_once('/') {
        Some((channel, topic)) if !channel.is_empty() && !topic.is_empty() => (channel, topic),
        _ => {
            return Err(ConfigError::invalid(format!(
                "invalid Zulip channel format, expected <channel>/<topic>, got '{}'",
                settings.channel
            )));
        }
    };
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("content", &markdown(event))
        .append_pair("to", channel)
        .append_pair("topic", topic)
        .append_pair("type", "stream")
        .finish();
    let mut request = Exchange::new(Method::POST, text(&url.text()))
        .body("application/x-www-form-urlencoded", form);
    if !settings.username.is_empty() || !settings.password.is_empty() {
        request = request.basic(&settings.username, &settings.password.expose_text());
    }
    Ok(vec![Call::of(request).context("")])
}
