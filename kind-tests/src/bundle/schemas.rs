//! JSON schemas of definitions, named and changed as upstream's release has them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::failure::Result;

/// One file for each version, one with all definitions, and one that accepts any of them.
pub(super) fn files(definitions: Vec<Value>) -> Result<BTreeMap<String, String>> {
    let (mut files, mut all, mut refs) = (BTreeMap::new(), serde_json::Map::new(), Vec::new());
    for mut definition in definitions {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let kind = text(&definition["spec"]["names"]["kind"]);
        let group = text(&definition["spec"]["group"]);
        let versions = definition["spec"]["versions"].as_array_mut();
        for version in versions.into_iter().flatten() {
            let name = text(&version["name"]);
            let mut schema = version["schema"]["openAPIV3Schema"].take();
            close(&mut schema);
            let mut alone = schema.clone();
            replace_int_or_string(&mut alone);
            let label = group.split('.').next().unwrap_or_default();
            let file = format!("{kind}-{label}-{name}.json").to_lowercase();
            files.insert(file, serde_json::to_string_pretty(&alone)?);

            schema["properties"]["apiVersion"]["enum"] = json!([format!("{group}/{name}")]);
            schema["properties"]["kind"]["enum"] = json!([kind]);
            let id = format!("{group}.{name}.{kind}");
            refs.push(json!({"$ref": format!("_definitions.json#/definitions/{id}")}));
            all.insert(id, schema);
        }
    }
    let all = serde_json::to_string_pretty(&json!({"definitions": all}))?;
    files.insert("_definitions.json".to_owned(), all);
    let any = serde_json::to_string_pretty(&json!({"oneOf": refs}))?;
    files.insert("all.json".to_owned(), any);
    Ok(files)
}

/// Refuses unknown fields of each object below that lists its fields, as kubectl does. The outermost object stays open.
fn close(value: &mut Value) {
    for inner in value
        .as_object_mut()
        .into_iter()
        .flat_map(|fields| fields.values_mut())
    {
        if let Some(object) = inner.as_object_mut()
            && object.contains_key("properties")
        {
            object
                .entry("additionalProperties")
                .or_insert(Value::Bool(false));
        }
        close(inner);
    }
}

/// Says what a number or a text is in words that JSON schemas have.
fn replace_int_or_string(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for inner in fields.values_mut() {
                if inner["format"] == "int-or-string" {
                    *inner = json!({"oneOf": [{"type": "string"}, {"type": "integer"}]});
                } else {
                    replace_int_or_string(inner);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(replace_int_or_string),
        _ => {}
    }
}
