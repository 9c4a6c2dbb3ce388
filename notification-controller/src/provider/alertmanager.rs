//! Prometheus Alertmanager (NC-ALERTMANAGER rows).

use std::collections::BTreeMap;

use serde_json::json;

use super::address::checked;
use super::send::Call;
use super::settings::{ConfigError, Settings};
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    checked(settings, "Alertmanager URL")?;
    let mut labels = event.metadata.clone();
    let mut annotations = BTreeMap::from([("message", event.message.clone())]);
    if let Some(summary) = labels.remove("summary") {
        annotations.insert("summary", summary);
    }
    let object = &event.involved_object;
    for (name, value) in [
        (
            "alertname",
            format!("Flux{}{}", object.kind, title(&event.reason)),
        ),
        ("severity", event.severity.clone()),
        ("reason", event.reason.clone()),
        ("kind", object.kind.clone()),
        ("name", object.name.clone()),
        ("namespace", object.namespace.clone()),
        ("reportingcontroller", event.reporting_controller.clone()),
    ] {
        labels.insert(name.to_owned(), value);
    }
    let alert = json!([{
        "status": "firing",
        "labels": labels,
        "annotations": annotations,
        "startsAt": event.time(),
        "endsAt": "0001-01-01T00:00:00Z",
    }]);
    let mut call = Call::post(&settings.address, &alert).bearer_if_any(&settings.header_token());
    // NC-ALERTMANAGER-007
    if !settings.username.is_empty() && !settings.password.is_empty() {
        let password = settings.password.expose_text();
        call.request = call.request.basic(&settings.username, &password);
    }
    Ok(vec![call])
}

/// Words with a capital first letter and small others (NC-ALERTMANAGER-004).
fn title(text: &str) -> String {
    let mut inside = false;
    let cased = text.chars().flat_map(|char| {
        let is_word = char.is_alphanumeric() || matches!(char, '_' | '\'');
        let starts = is_word && !inside;
        inside = is_word;
        if starts {
            flux_golang::unicode::to_title(char)
        } else {
            flux_golang::unicode::to_lower(char)
        }
        .to_string()
        .chars()
        .collect::<Vec<_>>()
    });
    cased.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_word_of_the_alert_name() {
        // NC-ALERTMANAGER-004
        for (reason, want) in [
            ("ReconciliationSucceeded", "Reconciliationsucceeded"),
            ("info", "Info"),
            ("two words", "Two Words"),
            ("", ""),
        ] {
            assert_eq!(title(reason), want);
        }
    }
}
