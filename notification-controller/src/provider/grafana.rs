//! Annotations in Grafana (NC-GRAFANA rows).

use serde_json::json;

use super::address::checked_briefly;
use super::send::Call;
use super::settings::{ConfigError, Settings};
use super::text::heading;
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    checked_briefly(settings, "Grafana URL")?;
    let object = &event.involved_object;
    let mut tags = vec!["flux".to_owned(), event.reporting_controller.clone()];
    // NC-GRAFANA-002, FR-N-013
    tags.extend(
        event
            .metadata
            .iter()
            .map(|(key, value)| format!("{}: {}", key.replace(':', "|"), value.replace(':', "|"))),
    );
    tags.push(format!("kind: {}", object.kind));
    tags.push(format!("name: {}", object.name));
    tags.push(format!("namespace: {}", object.namespace));
    let annotation = json!({"when": event.seconds(), "text": heading(event), "tags": tags});
    let token = settings.header_token();
    let mut call = Call::post(&settings.address, &annotation).bearer_if_any(&token);
    // NC-GRAFANA-003
    if token.is_empty() && !settings.username.is_empty() && !settings.password.is_empty() {
        let password = settings.password.expose_text();
        call.request = call.request.basic(&settings.username, &password);
    }
    Ok(vec![call])
}
