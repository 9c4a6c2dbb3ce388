//! Sentry: failures as events, everything else as transactions (NC-SENTRY rows).

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::send::{Call, Exchange, Style};
use super::settings::{ConfigError, Settings};
use crate::event::{ERROR, Event, INFO};

/// The client that the requests name.
const CLIENT: &str = "flux/1.0";

/// Where a project receives its events, and the key to do so.
struct Dsn {
    endpoint: String,
    key: String,
}

pub(super) fn calls(settings: &Settings, event: &Event) -> Result<Vec<Call>, ConfigError> {
    if settings.address.is_empty() {
        return Err(ConfigError::invalid("DSN cannot be empty"));
    }
    let dsn = parse(&settings.address)
        .ok_or_else(|| ConfigError::invalid("[Sentry] DsnParseError: invalid url"))?;
    let id = Uuid::new_v4().simple().to_string();
    let (kind, item) = match &*event.severity {
        ERROR => ("event", failure(settings, event, &id)),
        INFO => ("transaction", transaction(settings, event, &id)),
        _ => return Ok(Vec::new()),
    };
    let item = item.to_string();
    let head = json!({"event_id": id, "sent_at": event.time()});
    let body = format!(
        "{head}\n{}\n{item}\n",
        json!({"type": kind, "length": item.len()})
    );
    let auth = format!(
        "Sentry sentry_version=7, sentry_client={CLIENT}, sentry_key={}",
        dsn.key
    );
    let request = Exchange::new(Method::POST, dsn.endpoint)
        .body("application/x-sentry-envelope", body)
        .header("X-Sentry-Auth", auth);
    let mut call = Call::of(request).context("failed to send event to Sentry: ");
    call.style = Style::Once;
    Ok(vec![call])
}

/// `scheme://key@host[:port]/path/project`.
fn parse(text: &str) -> Option<Dsn> {
    let mut url = Url::parse(text).ok()?;
    let key = url.username().to_owned();
    if !matches!(url.scheme(), "http" | "https") || key.is_empty() {
        return None;
    }
    let path = url.path().to_owned();
    let (before, project) = path.rsplit_once('/')?;
    if project.is_empty() {
        return None;
    }
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_query(None);
    url.set_fragment(None);
    url.set_path(&format!("{before}/api/{project}/envelope/"));
    Some(Dsn {
        endpoint: url.to_string(),
        key,
    })
}

fn summary(event: &Event) -> String {
    let object = &event.involved_object;
    format!("{}: {}/{}", object.kind, object.namespace, object.name)
}

/// NC-SENTRY-003
fn failure(settings: &Settings, event: &Event, id: &str) -> Value {
    let mut item = json!({
        "event_id": id,
        "platform": "other",
        "level": event.severity,
        "server_name": event.reporting_controller,
        "transaction": summary(event),
        "message": event.message,
        "timestamp": event.time(),
        "contexts": {"metadata": event.metadata},
    });
    if !settings.channel.is_empty() {
        item["environment"] = json!(settings.channel);
    }
    item
}

/// NC-SENTRY-004
fn transaction(settings: &Settings, event: &Event, id: &str) -> Value {
    let object = &event.involved_object;
    let mut tags: BTreeMap<&str, &str> = BTreeMap::from([
        ("flux_involved_object_kind", &*object.kind),
        ("flux_involved_object_namespace", &object.namespace),
        ("flux_involved_object_name", &object.name),
        ("flux_reporting_controller", &event.reporting_controller),
        ("flux_reporting_instance", &event.reporting_instance),
        ("flux_reason", &event.reason),
    ]);
    let metadata = event.metadata.iter();
    tags.extend(metadata.map(|(key, value)| (key.as_str(), value.as_str())));
    let trace = Uuid::new_v4().simple().to_string();
    let span = Uuid::new_v4().simple().to_string();
    let span = span.get(..16).unwrap_or_default();
    let mut item = json!({
        "event_id": id,
        "type": "transaction",
        "platform": "other",
        "transaction": summary(event),
        "message": event.message,
        "contexts": {"trace": {"trace_id": trace, "span_id": span, "op": "event"}},
        "tags": tags,
        "timestamp": event.time(),
        "start_timestamp": event.time(),
        "spans": [{
            "trace_id": trace,
            "span_id": span,
            "op": "event",
            "tags": tags,
            "timestamp": event.time(),
            "start_timestamp": event.time(),
        }],
    });
    if !settings.channel.is_empty() {
        item["environment"] = json!(settings.channel);
    }
    item
}
