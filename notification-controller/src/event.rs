//! Events as the controllers post them: decoded as Go's `encoding/json` does, and written as it does.

use std::collections::BTreeMap;
use std::fmt;

use flux_golang::json::push_string;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The prefix of metadata that users set by annotations of the object (NC-EVT-007).
pub(crate) const EVENT_PREFIX: &str = "event.toolkit.fluxcd.io/";

/// The error of upstream for events that have no revision.
pub(crate) const MISSING_REVISION: &str = "missing revision metadata";

/// The severity of failures.
pub(crate) const ERROR: &str = "error";
/// The severity of everything else.
pub(crate) const INFO: &str = "info";

/// The object that an event is about, or one that is related to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObjectReference {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) api_version: String,
    pub(crate) resource_version: String,
    pub(crate) field_path: String,
}

/// An event (NC-EVT-001).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) involved_object: ObjectReference,
    pub(crate) related_object: Option<ObjectReference>,
    pub(crate) severity: String,
    /// Seconds since 1970; `None` if absent.
    pub(crate) timestamp: Option<i64>,
    pub(crate) message: String,
    pub(crate) reason: String,
    pub(crate) action: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) reporting_controller: String,
    pub(crate) reporting_instance: String,
}

/// Why a body is not an event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// It is not JSON, or has data behind it.
    #[error("the body is not one JSON document (line {line}, column {column})")]
    Json {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// It is not an object.
    #[error("the body is not a JSON object")]
    NoObject,
    /// A field has another type.
    #[error("json: cannot unmarshal into field {0}")]
    Field(&'static str),
    /// The time is not in RFC 3339.
    #[error(transparent)]
    Time(#[from] flux_golang::time::ParseError),
}

/// The layout of times in the API.
const RFC3339: &[u8] = b"2006-01-02T15:04:05Z07:00";
/// Go's zero time, which counts as absent.
const YEAR_ONE: i64 = -62_135_596_800;

/// The members of a JSON object in their order, so that of two spellings of one name the last counts, as in Go.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl Event {
    /// Decodes a request body (NC-EVT-011).
    pub(crate) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        // Go replaces invalid UTF-8.
        let text = String::from_utf8_lossy(body);
        let json = |error: &serde_json::Error| DecodeError::Json {
            line: error.line(),
            column: error.column(),
        };
        let value: Value = serde_json::from_str(&text).map_err(|error| json(&error))?;
        match value {
            Value::Null => return Ok(Self::default()),
            Value::Object(_) => {}
            _ => return Err(DecodeError::NoObject),
        }
        drop(value);
        let Members(members) = serde_json::from_str(&text).map_err(|error| json(&error))?;
        let mut event = Self::default();
        for (name, value) in members {
            if value.is_null() {
                continue;
            }
            event.set(&name.to_ascii_lowercase(), value)?;
        }
        Ok(event)
    }

    fn set(&mut self, name: &str, value: Value) -> Result<(), DecodeError> {
        match name {
            "involvedobject" => self.involved_object = reference("involvedObject", value)?,
            "relatedobject" => self.related_object = Some(reference("relatedObject", value)?),
            "severity" => self.severity = string("severity", value)?,
            "timestamp" => {
                let text = string("timestamp", value)?;
                let time = flux_golang::time::parse(RFC3339, text.as_bytes())?;
                self.timestamp = Some(time.seconds).filter(|seconds| *seconds != YEAR_ONE);
            }
            "message" => self.message = string("message", value)?,
            "reason" => self.reason = string("reason", value)?,
            "action" => self.action = string("action", value)?,
            "metadata" => {
                let Value::Object(members) = value else {
                    return Err(DecodeError::Field("metadata"));
                };
                for (key, value) in members {
                    let text = match value {
                        Value::Null => String::new(),
                        other => string("metadata", other)?,
                    };
                    self.metadata.insert(key, text);
                }
            }
            "reportingcontroller" => {
                self.reporting_controller = string("reportingController", value)?;
            }
            "reportinginstance" => self.reporting_instance = string("reportingInstance", value)?,
            _ => {}
        }
        Ok(())
    }

    /// The group of the involved object; empty if its version has no slash (NC-EVT-006).
    pub(crate) fn group(&self) -> &str {
        self.involved_object
            .api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// The metadata of this key below the group of the object.
    pub(crate) fn of_group(&self, key: &str) -> Option<&str> {
        let key = format!("{}/{key}", self.group());
        self.metadata.get(&key).map(String::as_str)
    }

    /// Whether it reports a failure.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == ERROR
    }

    /// The JSON that receivers of events get (NC-EVT-002).
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::with_capacity(512 + self.message.len());
        out.push_str("{\"involvedObject\":");
        push_reference(&mut out, &self.involved_object);
        if let Some(related) = &self.related_object {
            out.push_str(",\"relatedObject\":");
            push_reference(&mut out, related);
        }
        push_member(&mut out, "severity", &self.severity);
        out.push_str(",\"timestamp\":");
        match self.timestamp {
            None => out.push_str("null"),
            Some(seconds) => push_string(&mut out, &rfc3339(seconds), true),
        }
        push_member(&mut out, "message", &self.message);
        push_member(&mut out, "reason", &self.reason);
        push_member(&mut out, "action", &self.action);
        if !self.metadata.is_empty() {
            out.push_str(",\"metadata\":{");
            for (at, (key, value)) in self.metadata.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_string(&mut out, key, true);
                out.push(':');
                push_string(&mut out, value, true);
            }
            out.push('}');
        }
        push_member(&mut out, "reportingController", &self.reporting_controller);
        if !self.reporting_instance.is_empty() {
            push_member(&mut out, "reportingInstance", &self.reporting_instance);
        }
        out.push('}');
        out
    }

    /// The time in RFC 3339; Go's zero time where it is absent.
    pub(crate) fn time(&self) -> String {
        rfc3339(self.seconds())
    }

    /// The time in seconds since 1970; Go's zero time where it is absent.
    pub(crate) fn seconds(&self) -> i64 {
        self.timestamp.unwrap_or(YEAR_ONE)
    }
}

impl ObjectReference {
    /// `Kind/namespace/name`, as messages name it.
    pub(crate) fn shown(&self) -> String {
        format!("{}/{}/{}", self.kind, self.namespace, self.name)
    }

    fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("kind", &self.kind),
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("uid", &self.uid),
            ("apiVersion", &self.api_version),
            ("resourceVersion", &self.resource_version),
            ("fieldPath", &self.field_path),
        ]
    }

    /// As a value for log lines.
    pub(crate) fn to_value(&self) -> Value {
        let fields = self.fields().into_iter();
        fields
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

/// Seconds since 1970 in RFC 3339, UTC.
pub(crate) fn rfc3339(seconds: i64) -> String {
    let text = flux_golang::time::format(RFC3339, seconds, 0, 0, "UTC");
    String::from_utf8_lossy(&text).into_owned()
}

fn string(field: &'static str, value: Value) -> Result<String, DecodeError> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(DecodeError::Field(field)),
    }
}

fn reference(field: &'static str, value: Value) -> Result<ObjectReference, DecodeError> {
    let Value::Object(members) = value else {
        return Err(DecodeError::Field(field));
    };
    let mut found = ObjectReference::default();
    for (name, value) in members {
        let place = match &*name.to_ascii_lowercase() {
            "kind" => &mut found.kind,
            "namespace" => &mut found.namespace,
            "name" => &mut found.name,
            "uid" => &mut found.uid,
            "apiversion" => &mut found.api_version,
            "resourceversion" => &mut found.resource_version,
            "fieldpath" => &mut found.field_path,
            _ => continue,
        };
        if !value.is_null() {
            *place = string(field, value)?;
        }
    }
    Ok(found)
}

fn push_reference(out: &mut String, reference: &ObjectReference) {
    out.push('{');
    let mut first = true;
    for (name, value) in reference.fields() {
        if value.is_empty() {
            continue;
        }
        if !first {
            out.push(',');
        }
        first = false;
        push_string(out, name, true);
        out.push(':');
        push_string(out, value, true);
    }
    out.push('}');
}

fn push_member(out: &mut String, name: &str, value: &str) {
    out.push(',');
    push_string(out, name, true);
    out.push(':');
    push_string(out, value, true);
}

/// A JSON value as Go's `json.Marshal` writes it: `<`, `>`, `&` and the line separators are escaped (NC-HTTP-001). They only
/// occur in strings.
pub(crate) fn go_json(value: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_event_is_written_as_upstream_writes_it() {
        // NC-EVT-002
        assert_eq!(
            Event::default().to_json(),
            r#"{"involvedObject":{},"severity":"","timestamp":null,"message":"","reason":"","action":"","reportingController":""}"#
        );
    }

    #[test]
    fn every_field_survives_in_upstreams_order() {
        // NC-EVT-001, NC-EVT-003, NC-EVT-066
        let text = concat!(
            r#"{"involvedObject":{"kind":"GitRepository","namespace":"a","name":"b","uid":"u","apiVersion":"g/v1","#,
            r#""resourceVersion":"7","fieldPath":"f"},"relatedObject":{"kind":"Secret","name":"s"},"severity":"info","#,
            r#""timestamp":"2022-10-28T07:26:19Z","message":"a \u003c b","reason":"r","action":"act","#,
            r#""metadata":{"k":"v"},"reportingController":"c","reportingInstance":"i"}"#
        );
        let event = Event::decode(text.as_bytes()).unwrap();
        assert_eq!(event.to_json(), text);
        assert_eq!(event.group(), "g");
        let fraction = br#"{"timestamp":"2022-10-28T09:26:19.75+02:00"}"#;
        assert_eq!(
            Event::decode(fraction).unwrap().time(),
            "2022-10-28T07:26:19Z"
        );
    }

    #[test]
    fn bodies_are_decoded_as_in_go() {
        for (body, good) in [
            // NC-EVT-004, NC-EVT-006: nothing is required, unknown fields are ignored
            (
                r#"{"severity":"loud","other":[1],"involvedObject":{"x":1}}"#,
                true,
            ),
            ("{}", true),
            ("null", true),
            (
                r#"{"metadata":null,"timestamp":null,"involvedObject":null}"#,
                true,
            ),
            // NC-EVT-011
            ("", false),
            ("{", false),
            ("{} x", false),
            ("[]", false),
            (r#"{"message":1}"#, false),
            (r#"{"metadata":{"a":1}}"#, false),
            (r#"{"involvedObject":[]}"#, false),
            (r#"{"timestamp":"yesterday"}"#, false),
            (r#"{"timestamp":""}"#, false),
        ] {
            assert_eq!(Event::decode(body.as_bytes()).is_ok(), good, "{body}");
        }
        // NC-EVT-011: names are matched in any case; the last one counts
        let event = br#"{"MESSAGE":"a","Message":"b","InvolvedObject":{"NAME":"n"}}"#;
        let event = Event::decode(event).unwrap();
        assert_eq!((&*event.message, &*event.involved_object.name), ("b", "n"));
        // NC-EVT-005
        let long = format!(r#"{{"message":"{}"}}"#, "m".repeat(100_000));
        assert_eq!(
            Event::decode(long.as_bytes()).unwrap().message.len(),
            100_000
        );
        assert_eq!(
            Event::decode(b"{\"message\":\"\xff\"}").unwrap().message,
            "\u{fffd}"
        );
    }

    #[test]
    fn json_is_escaped_as_in_go() {
        // NC-HTTP-001
        let text = go_json(&serde_json::json!({"a": "<&>\u{2028}"})).unwrap();
        assert_eq!(text, r#"{"a":"\u003c\u0026\u003e\u2028"}"#);
    }
}
