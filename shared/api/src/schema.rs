//! Converts a Rust type to the structural schema of a definition.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The format of intervals (SC-PROC-104, KC-API-008).
pub(crate) const INTERVAL: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$";

/// The format of a source's timeout: no hours (SC-PROC-104).
pub(crate) const TIMEOUT: &str = r"^([0-9]+(\.[0-9]+)?(ms|s|m))+$";

/// The structural schema of a type: no references, no nulls, no formats that Go's `int` does not have.
pub(crate) fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = Value::from(settings.into_generator().into_root_schema_for::<T>());
    normalise(&mut schema);
    schema
}

fn normalise(schema: &mut Value) {
    let Value::Object(keywords) = schema else {
        return;
    };
    keywords.remove("title");
    unwrap_nullable(keywords);
    if keywords
        .get("format")
        .is_some_and(|format| format == "int32")
    {
        keywords.remove("format");
    }
    if let Some(description) = keywords.get_mut("description") {
        fold_lines(description);
    }
    if let Some(Value::Array(required)) = keywords.get_mut("required") {
        required.sort_by(|left, right| left.as_str().cmp(&right.as_str()));
    }
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().for_each(normalise);
    }
    for keyword in ["items", "additionalProperties"] {
        if let Some(inner) = keywords.get_mut(keyword) {
            normalise(inner);
        }
    }
}

/// An optional field is one that may be absent; none may be null.
fn unwrap_nullable(keywords: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = keywords.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            keywords.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = keywords.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(alternatives)) = keywords.remove("anyOf") {
        let inner = alternatives
            .into_iter()
            .find(|alternative| alternative["type"] != "null");
        if let Some(Value::Object(inner)) = inner {
            for (keyword, value) in inner {
                // The field's own keywords (its description) override those of its type.
                keywords.entry(keyword).or_insert(value);
            }
        }
    }
}

/// Doc comments are wrapped for the editor; a description is one line per paragraph.
fn fold_lines(description: &mut Value) {
    if let Some(text) = description.as_str() {
        let paragraphs: Vec<String> = text
            .split("\n\n")
            .map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        *description = Value::String(paragraphs.join("\n\n"));
    }
}
