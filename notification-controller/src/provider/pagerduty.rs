//! PagerDuty: incidents and change events (NC-PAGERDUTY rows).

use serde_json::{Value, json};

use super::address::{parse_request_uri, text};
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::{is_in_progress, name_and_description};
use crate::event::{ERROR, Event, INFO};

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    let url = parse_request_uri(&settings.address).map_err(|error| {
        let address = flux_golang::strconv::quote(&settings.address);
        ConfigError::invalid(format!(
            "invalid PagerDuty endpoint URL {address}: '{error}'"
        ))
    })?;
    // NC-PAGERDUTY-002
    if is_in_progress(event) {
        return Ok(Vec::new());
    }
    let endpoint = format!("{}://{}", text(&url.scheme), text(&url.host));
    let incident = incident(settings, event);
    let mut calls = vec![
        Call::post(format!("{endpoint}/v2/enqueue"), &incident).context("failed sending event: "),
    ];
    if event.severity == INFO {
        let change = json!({"routing_key": settings.channel, "payload": {
            "summary": summary(event),
            "source": source(event),
            "timestamp": event.time(),
            "custom_details": details(event),
        }});
        let address = format!("{endpoint}/v2/change/enqueue");
        calls.push(Call::post(address, &change).context("failed sending change event: "));
    }
    Ok(calls)
}

/// NC-PAGERDUTY-003, NC-PAGERDUTY-004
fn incident(settings: &Settings, event: &Event) -> Value {
    let object = &event.involved_object;
    let action = if event.is_error() {
        "trigger"
    } else {
        "resolve"
    };
    let mut incident = json!({"routing_key": settings.channel, "event_action": action});
    if !object.uid.is_empty() {
        incident["dedup_key"] = json!(object.uid);
    }
    if event.is_error() {
        incident["payload"] = json!({
            "summary": summary(event),
            "source": source(event),
            "severity": ERROR,
            "timestamp": event.time(),
            "component": object.name,
            "group": object.kind,
            "custom_details": details(event),
        });
    }
    incident
}

fn summary(event: &Event) -> String {
    let (name, description) = name_and_description(event);
    format!("{description}: {name}")
}

fn source(event: &Event) -> String {
    format!("Flux {}", event.reporting_controller)
}

fn details(event: &Event) -> Value {
    json!({"message": event.message, "metadata": event.metadata})
}
