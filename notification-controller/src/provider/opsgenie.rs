//! Opsgenie (NC-OPSGENIE rows).

use serde_json::json;
use sha2::{Digest, Sha256};

use super::address::checked;
use super::send::Call;
use super::settings::{ConfigError, Settings};
use crate::event::Event;

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    checked(settings, "Opsgenie hook URL")?;
    let token = settings.header_token();
    if token.is_empty() {
        return Err(ConfigError::invalid("empty Opsgenie apikey/token"));
    }
    let mut details = event.metadata.clone();
    details.insert("severity".to_owned(), event.severity.clone());
    let object = &event.involved_object;
    // NC-OPSGENIE-003
    let alias = [
        &*settings.uid,
        &*object.kind,
        &*object.namespace,
        &*object.name,
        &*event.reason,
    ];
    let alert = json!({
        "message": format!("{}/{}", object.kind, object.name),
        "alias": hex::encode(Sha256::digest(alias.join("/"))),
        "description": event.message,
        "details": details,
    });
    let key = format!("GenieKey {token}");
    Ok(vec![
        Call::post(&settings.address, &alert).header("Authorization", key),
    ])
}
