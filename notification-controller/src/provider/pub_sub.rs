//! Google Pub/Sub, by its HTTP interface (NC-GOOGLEPUBSUB rows).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::json;

use super::address::segment;
use super::send::{Call, Exchange};
use super::settings::{ConfigError, Settings};
use crate::event::Event;

const API: &str = "https://pubsub.googleapis.com";

/// The address of an emulator, which needs no credentials (NC-GOOGLEPUBSUB-003).
fn emulator() -> Option<String> {
    let host = std::env::var("PUBSUB_EMULATOR_HOST").ok();
    host.filter(|host| !host.is_empty())
        .map(|host| format!("http://{host}"))
}

/// Whether an emulator stands in for Google.
pub(super) fn is_emulated() -> bool {
    emulator().is_some()
}

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    // NC-GOOGLEPUBSUB-001
    if settings.address.is_empty() {
        return Err(ConfigError::invalid("GCP project ID cannot be empty"));
    }
    if settings.channel.is_empty() {
        return Err(ConfigError::invalid("GCP Pub/Sub topic ID cannot be empty"));
    }
    let emulator = emulator();
    let is_emulated = emulator.is_some();
    let address = format!(
        "{}/v1/projects/{}/topics/{}:publish",
        emulator.unwrap_or_else(|| API.to_owned()),
        segment(&settings.address),
        segment(&settings.channel)
    );
    let mut message = json!({"data": STANDARD.encode(event.to_json())});
    if !settings.headers.is_empty() {
        message["attributes"] = json!(settings.headers);
    }
    let mut request = Exchange::new(Method::POST, address).json(&json!({"messages": [message]}));
    if !is_emulated {
        request = request.bearer(&settings.cloud_or_own_token());
    }
    let context = "error publishing to GCP Pub/Sub topic: ";
    Ok(vec![Call::of(request).context(context)])
}
