//! OpenTelemetry: each event is a span, and those about one revision are one trace (NC-OTEL rows).

mod message;
mod traces;

use std::time::{SystemTime, UNIX_EPOCH};

use flux_golang::url::Url;
use http::Method;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use self::message::Message;
pub(crate) use self::traces::Traces;
use self::traces::{SpanId, TraceId};
use super::address::text;
use super::send::{Call, Exchange};
use super::settings::{ConfigError, Settings};
use crate::event::Event;

/// The name of the tracer (NC-OTEL-002).
const TRACER: &str = "flux:notification-controller";
/// The kinds whose spans are the roots of traces (NC-OTEL-004).
const SOURCES: [&str; 5] = [
    "GitRepository",
    "OCIRepository",
    "HelmChart",
    "Bucket",
    "ExternalArtifact",
];

pub(super) fn calls(
    settings: &Settings,
    event: &Event,
    traces: &Traces,
) -> Result<Vec<Call>, ConfigError> {
    let mut url = Url::parse(settings.address.as_bytes())
        .map_err(|error| ConfigError::invalid(format!("invalid OTLP endpoint URL: {error}")))?;
    // NC-OTEL-006
    if event.involved_object.kind == "HelmRepository" {
        return Ok(Vec::new());
    }
    // NC-OTEL-001
    if url.path.is_empty() || url.path == b"/" {
        url.path = b"/v1/traces".to_vec();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or_default();
    let place = Place::of(settings, event, traces);
    let mut request = Exchange::new(Method::POST, text(&url.text())).body(
        "application/x-protobuf",
        export(settings, event, &place, now),
    );
    for (name, value) in &settings.headers {
        request = request.header(name, value);
    }
    // NC-OTEL-007, NC-OTEL-008
    let is_authorized = settings
        .headers
        .keys()
        .any(|name| name.eq_ignore_ascii_case("authorization"));
    if !settings.headers.is_empty() && !is_authorized {
        request = if settings.username.is_empty() {
            request.bearer(&settings.token_or_password())
        } else {
            request.basic(&settings.username, &settings.password.expose_text())
        };
    }
    Ok(vec![Call::of(request).context("failed to export span: ")])
}

/// Where a span is in its trace.
struct Place {
    trace: TraceId,
    span: SpanId,
    parent: Option<SpanId>,
}

impl Place {
    /// The span of a source is the root of its trace, and the parent of those that follow. It has to be known: a parent
    /// that was never sent, since the Alert is not for sources, would make the trace look incomplete.
    fn of(settings: &Settings, event: &Event, traces: &Traces) -> Self {
        let revision = revision(event);
        let trace = trace_id(settings, revision.as_deref());
        let random = Uuid::new_v4();
        let span = random.as_bytes().first_chunk().copied().unwrap_or_default();
        // What has no revision has nothing to do with other events without one.
        let is_source = SOURCES.contains(&event.involved_object.kind.as_str());
        let parent = match revision {
            Some(_) if is_source => {
                traces.note_root(trace, span);
                None
            }
            Some(_) => traces.root(&trace),
            None => None,
        };
        Self {
            trace,
            span,
            parent,
        }
    }
}

/// The revision that an event is about (NC-OTEL-003).
fn revision(event: &Event) -> Option<String> {
    let get = |key: &str| event.metadata.get(key).map(String::as_str);
    match (get("app-version"), get("oci-digest"), get("revision")) {
        (Some(version), Some(digest), _) => Some(format!("{version}@{digest}")),
        (_, _, revision) => revision.map(str::to_owned),
    }
}

/// The trace of an Alert and a revision (NC-OTEL-003).
fn trace_id(settings: &Settings, revision: Option<&str>) -> TraceId {
    let revision = revision.unwrap_or("unknown");
    let hash = Sha256::digest(format!("{}:{revision}", settings.alert.uid));
    let mut id = TraceId::default();
    id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    id
}

/// The request of the protocol: `ExportTraceServiceRequest` with one span.
fn export(settings: &Settings, event: &Event, place: &Place, now: u64) -> Vec<u8> {
    let alert = &settings.alert;
    let service = format!("{}/{}", alert.namespace, alert.name);
    let mut resource = Message::default();
    for (key, value) in [
        ("service.name", &*service),
        ("service.namespace", &alert.namespace),
        ("service.instance.id", &alert.uid),
    ] {
        resource.message(1, &attribute(key, value));
    }
    let mut scope = Message::default();
    scope.text(1, TRACER);
    let mut spans = Message::default();
    spans.message(1, &scope);
    spans.message(2, &span(event, place, now));
    let mut of_resource = Message::default();
    of_resource.message(1, &resource);
    of_resource.message(2, &spans);
    let mut export = Message::default();
    export.message(1, &of_resource);
    export.into_bytes()
}

/// NC-OTEL-004, NC-OTEL-005
fn span(event: &Event, place: &Place, now: u64) -> Message {
    let object = &event.involved_object;
    let start = u64::try_from(event.seconds()).unwrap_or_default();
    let mut span = Message::default();
    span.bytes(1, &place.trace);
    span.bytes(2, &place.span);
    if let Some(parent) = &place.parent {
        span.bytes(4, parent);
    }
    let name = format!("{}: {}/{}", object.kind, object.namespace, object.name);
    span.text(5, &name);
    span.number(6, 1); // internal
    span.fixed64(7, start.saturating_mul(1_000_000_000));
    span.fixed64(8, now);
    for (key, value) in [
        ("object.uid", &object.uid),
        ("object.kind", &object.kind),
        ("object.name", &object.name),
        ("object.namespace", &object.namespace),
    ] {
        span.message(9, &attribute(key, value));
    }
    for (key, value) in &event.metadata {
        span.message(9, &attribute(key, value));
    }
    let mut status = Message::default();
    if event.is_error() {
        status.text(2, &event.message);
        status.number(3, 2);
    } else {
        status.number(3, 1);
    }
    span.message(15, &status);
    span
}

fn attribute(key: &str, value: &str) -> Message {
    let mut any = Message::default();
    any.text(1, value);
    let mut attribute = Message::default();
    attribute.text(1, key);
    attribute.message(2, &any);
    attribute
}

#[cfg(test)]
mod tests;
