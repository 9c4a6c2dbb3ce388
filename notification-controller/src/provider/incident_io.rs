//! incident.io (NC-INCIDENTIO rows).

use serde_json::json;

use super::address::checked;
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::{heading, is_in_progress};
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    checked(settings, "incident.io alert source URL")?;
    let token = settings.header_token();
    if token.is_empty() {
        return Err(ConfigError::invalid("empty incident.io API token"));
    }
    if is_in_progress(event) {
        return Ok(Vec::new());
    }
    let mut metadata = event.metadata.clone();
    metadata.insert("severity".to_owned(), event.severity.clone());
    metadata.insert("reason".to_owned(), event.reason.clone());
    if !event.reporting_controller.is_empty() {
        let controller = event.reporting_controller.clone();
        metadata.insert("reportingController".to_owned(), controller);
    }
    let mut alert = json!({
        "title": format!("{}: {}", heading(event), event.reason),
        "status": if event.is_error() { "firing" } else { "resolved" },
        "deduplication_key": event.involved_object.uid,
        "metadata": metadata,
    });
    if !event.message.is_empty() {
        alert["description"] = json!(event.message);
    }
    let bearer = format!("Bearer {token}");
    Ok(vec![
        Call::post(&settings.address, &alert).header("Authorization", bearer),
    ])
}
