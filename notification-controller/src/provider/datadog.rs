//! Datadog's event stream (NC-DATADOG rows).

use flux_golang::url::Url;
use serde_json::json;

use super::address::text;
use super::send::{Call, Style};
use super::settings::{ConfigError, Settings};
use crate::event::{ERROR, Event, INFO};

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let token = settings.header_token();
    if token.is_empty() {
        return Err(ConfigError::invalid("token cannot be empty"));
    }
    let url = Url::parse(settings.address.as_bytes()).map_err(|error| {
        let address = flux_golang::strconv::quote(&settings.address);
        ConfigError::invalid(format!("failed to parse address {address}: {error}"))
    })?;
    let object = &event.involved_object;
    // NC-DATADOG-003
    let mut tags = vec![
        format!("flux_reporting_controller:{}", event.reporting_controller),
        format!("flux_reason:{}", event.reason),
        format!("kube_kind:{}", object.kind),
        format!("kube_name:{}", object.name),
        format!("kube_namespace:{}", object.namespace),
    ];
    let metadata = event.metadata.iter();
    tags.extend(metadata.map(|(key, value)| format!("{key}:{value}")));
    let tags: Vec<String> = tags.iter().map(|tag| tag.to_lowercase()).collect();
    let message = json!({
        "title": format!("Events from the {} {}/{}", object.kind, object.name, object.namespace),
        "text": event.message,
        "tags": tags,
        "source_type_name": "fluxcd",
        "date_happened": event.seconds(),
        "alert_type": if event.is_error() { ERROR } else { INFO },
    });
    let address = format!("{}://{}/api/v1/events", text(&url.scheme), text(&url.host));
    let mut call = Call::post(address, &message)
        .header("DD-API-KEY", token)
        .header("Accept", "application/json")
        .context("failed to post event to DataDog: ");
    call.style = Style::Once; // NC-DATADOG-004
    Ok(vec![call])
}
