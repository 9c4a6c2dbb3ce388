//! CDEvents, checked by the schemas of their specification (NC-RECV-082).

use flux_jsonschema::{Compiled, Json, Remotes, Schema};
use serde_json::{Map, Value, json};

use super::payload;

/// The schemas of the specification 0.4.1, one on a line behind its name: those of the events, of custom events, and of
/// links. They are data of the CDEvents project (<https://cdevents.dev>, Apache-2.0).
const SCHEMAS: &str = include_str!("cdevents.txt");
/// What the identifiers of the schemas begin with.
const BASE: &str = "https://cdevents.dev/0.4.1/schema/";
/// How many other schemas one refers to at most.
const REFERRED: usize = 8;

/// The text of a schema.
fn schema(name: &str) -> Option<&'static str> {
    let mut lines = SCHEMAS.lines().filter_map(|line| line.split_once(' '));
    lines.find_map(|(known, text)| (known == name).then_some(text))
}

/// Checks a body.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(body: &[u8]) -> Result<(), String> {
    let Ok(mut event) = payload::only(body) else {
        return Err("it is not a JSON object".to_owned());
    };
    let kind = event["context"]["type"].as_str().unwrap_or_default();
    let name = schema_name(kind).ok_or_else(|| {
        let kind = flux_golang::strconv::quote(kind);
        format!("cannot parse event type {kind}")
    })?;
    let text = schema(&name).ok_or("unknown event type")?;
    let time = event["context"]["timestamp"].as_str().unwrap_or_default();
    if time.parse::<jiff::Timestamp>().is_err() {
        return Err("its timestamp is not in RFC 3339".to_owned());
    }
    // As upstream's types do: fields that they do not know are passed over, and the content is always there.
    let known: Value = serde_json::from_str(text).unwrap_or_default();
    if let Some(subject) = event["subject"].as_object_mut() {
        let content = subject.entry("content").or_insert_with(|| json!({}));
        if content.is_null() {
            *content = json!({});
        }
    }
    keep_known(&mut event, &known);
    let compiled = compiled(&format!("{BASE}{name}"), text)?;
    let event = event.to_string();
    let event = Json::read(event.as_bytes()).map_err(|error| error.to_string())?;
    compiled
        .validate(&event)
        .map_err(|report| report.to_string())
}

/// The name of the schema for a type: `dev.cdevents.<subject>.<predicate>.<version>`, or one of a tool's own.
fn schema_name(kind: &str) -> Option<String> {
    if kind.starts_with("dev.cdeventsx.") {
        return Some("custom".to_owned());
    }
    let mut parts = kind.strip_prefix("dev.cdevents.")?.splitn(3, '.');
    let (subject, predicate, version) = (parts.next()?, parts.next()?, parts.next()?);
    let is_word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_word(subject) && is_word(predicate) && !version.is_empty())
        .then(|| format!("{subject}-{predicate}-event"))
}

/// Removes the fields that a schema neither names nor allows.
fn keep_known(value: &mut Value, schema: &Value) {
    let Value::Object(fields) = value else { return };
    let none = Map::new();
    let known = schema["properties"].as_object().unwrap_or(&none);
    if schema["additionalProperties"] == false {
        fields.retain(|name, _| known.contains_key(name));
    }
    for (name, value) in fields {
        if let Some(schema) = known.get(name) {
            keep_known(value, schema);
        }
    }
}

fn compiled(address: &str, text: &str) -> Result<Schema, String> {
    let mut remotes = Remotes::default();
    for _ in 0..=REFERRED {
        let compiled = Schema::compile(address, text.as_bytes(), &remotes);
        match compiled.map_err(|error| error.to_string())? {
            Compiled::Schema(schema) => return Ok(schema),
            Compiled::Needs(address) => {
                let found = address.strip_prefix(BASE).and_then(schema);
                let found = found.map(Into::into);
                remotes.insert(address, found.ok_or("there is no such schema".to_owned()));
            }
        }
    }
    Err("the schema refers to too many others".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An event of a type whose subject has this content.
    fn event(kind: &str, content: &Value) -> Value {
        let subject = kind.split('.').nth(2).unwrap_or_default();
        json!({
            "context": {
                "version": "0.4.1", "id": "1", "source": "/s", "type": kind, "timestamp": "2023-03-20T14:27:05.315384Z",
            },
            "subject": {"id": "s", "source": "/s", "type": subject, "content": content},
        })
    }

    fn verdict(event: &Value) -> Result<(), String> {
        check(event.to_string().as_bytes())
    }

    #[test]
    fn events_are_checked_by_the_schema_of_their_type() {
        const MERGED: &str = "dev.cdevents.change.merged.0.2.0";
        const PACKAGED: &str = "dev.cdevents.artifact.packaged.0.2.0";
        // NC-RECV-082
        for (event, good) in [
            (event(MERGED, &json!({})), true),
            (event(MERGED, &json!({"repository": {"id": "r"}})), true),
            (event(MERGED, &json!({"repository": {}})), false),
            (event(MERGED, &json!(null)), true),
            // unknown fields are passed over
            (event(MERGED, &json!({"other": 1})), true),
            (event(PACKAGED, &json!({"change": {"id": "c"}})), true),
            (event(PACKAGED, &json!({})), false),
            (event("dev.cdevents.change.merged.0.9.0", &json!({})), false),
            (event("dev.cdevents.change.melted.0.1.0", &json!({})), false),
            (event("dev.cdevents.change", &json!({})), false),
            (event("", &json!({})), false),
        ] {
            assert_eq!(
                verdict(&event).is_ok(),
                good,
                "{event}: {:?}",
                verdict(&event)
            );
        }
        let custom = |kind: &str| {
            let mut custom = event(kind, &json!({"any": "thing"}));
            custom["subject"]["type"] = json!("mytool-thing");
            verdict(&custom).is_ok()
        };
        assert!(custom("dev.cdeventsx.mytool-thing.created.0.1.0"));
        assert!(!custom("dev.cdeventsx.mytool.created"));
        // Links have schemas of their own.
        let link = |link: Value| {
            let mut linked = event(MERGED, &json!({}));
            linked["context"]["links"] = json!([link]);
            verdict(&linked).is_ok()
        };
        assert!(link(
            json!({"linkType": "PATH", "from": {"contextId": "x"}})
        ));
        assert!(!link(json!({"linkType": "LOOP"})));
        for (path, value) in [
            ("/context/id", json!("")),
            ("/context/timestamp", json!("yesterday")),
            ("/subject/id", json!(null)),
            ("/subject/type", json!("artifact")),
            ("/subject", json!([])),
        ] {
            let mut changed = event(MERGED, &json!({}));
            *changed.pointer_mut(path).unwrap() = value;
            assert!(verdict(&changed).is_err(), "{path}");
        }
        assert!(check(b"[]").is_err() && check(b"").is_err());
    }

    #[test]
    fn every_schema_of_the_specification_compiles() {
        let names: Vec<&str> = SCHEMAS
            .lines()
            .filter_map(|line| Some(line.split_once(' ')?.0))
            .collect();
        assert_eq!(names.len(), 54);
        for name in names {
            let text = schema(name).unwrap();
            compiled(&format!("{BASE}{name}"), text).unwrap();
        }
    }
}
