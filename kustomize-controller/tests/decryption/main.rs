//! Kustomizations whose sources are encrypted, on the real API server: what the real sops has encrypted is applied in plain,
//! and no log line, event or status holds it.

mod age;
mod clouds;
mod material;
mod servers;
mod transit;

use kind_tests::controller::Settings;
use kind_tests::{Applier, KUSTOMIZATION, Kind, Result, SECRET};
use serde_json::{Value, json};

use crate::material::key;

/// What all plain texts of these scenarios begin with.
const MARK: &str = "very-secret";

/// A controller that logs all it can, with these further settings.
async fn start(topic: &str, settings: Settings) -> Result<Applier> {
    Applier::start(topic, settings.flag("--log-level=trace")).await
}

/// A Secret with keys.
fn keys(name: &str, entries: &[(&str, &str)]) -> String {
    let data: serde_json::Map<String, Value> = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).into()))
        .collect();
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
        .to_string()
}

/// The spec's line for a Secret with keys.
fn with(secret: &str) -> String {
    format!("decryption: {{provider: sops, secretRef: {{name: {secret}}}}}")
}

/// A value of an applied Secret.
async fn value(applier: &Applier, name: &str, field: &str) -> Result<String> {
    use base64::Engine as _;
    let secret = applier
        .namespace
        .get(SECRET, name)
        .await?
        .unwrap_or_default();
    let data = secret["data"][field].as_str().unwrap_or_default();
    let data = base64::engine::general_purpose::STANDARD.decode(data);
    Ok(String::from_utf8_lossy(&data.unwrap_or_default()).into_owned())
}

/// Nothing that users see holds a plain text.
async fn assert_nothing_leaked(applier: &Applier, name: &str) -> Result {
    let object = applier
        .namespace
        .get(KUSTOMIZATION, name)
        .await?
        .unwrap_or_default();
    let lines = applier.kustomize.log().lines().join("\n");
    let events = Kind("v1", "Event");
    let mut seen = vec![object.to_string(), lines];
    for event in applier.namespace.names(events).await? {
        let event = applier.namespace.get(events, &event).await?;
        seen.push(event.unwrap_or_default().to_string());
    }
    let age = key("x25519").lines().last().unwrap_or_default();
    for text in seen {
        assert!(!text.contains(MARK), "{text}");
        assert!(!text.contains(age));
    }
    Ok(())
}
