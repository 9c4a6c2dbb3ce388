//! Types from a user's OpenAPI document, and from schemas in comments.

use std::collections::HashMap;
use std::rc::Rc;

use flux_yaml::Value;

use super::{Schema, Type, TypeId};
use crate::error::Result;
use crate::id::Gvk;
use crate::meter::Meter;
use crate::secrecy::unreadable;

/// The maximum nesting of a schema.
const MAX_DEPTH: usize = 64;

impl Schema {
    /// Adds the definitions and paths of an OpenAPI document, JSON or YAML (KZ-OAPI-002).
    pub(crate) fn add_document(&mut self, text: &[u8], meter: &Rc<Meter>) -> Result<()> {
        let (document, charge) = meter.read(text, |text, claim| {
            if text.first() == Some(&b'{') {
                flux_yaml::json::from_str_within(text, claim)
            } else {
                flux_yaml::sigs::from_str_within(text, claim)
            }
        })?;
        let document = document.map_err(|error| unreadable(&error, text))?;
        // The resulting types are about as large as the document.
        self.charges.push(charge);
        if !matches!(document, Value::Map(_) | Value::Null) {
            return Err("json: cannot unmarshal into Go value of type spec.Swagger".into());
        }
        let definitions = document.get("definitions").and_then(Value::as_map);
        for (name, definition) in definitions.into_iter().flatten() {
            let id = self.add_schema(definition, 0);
            self.by_name.insert(format!("#/definitions/{name}"), id);
            let kinds = definition
                .get(GVK)
                .and_then(Value::as_seq)
                .unwrap_or_default();
            for gvk in kinds.iter().filter_map(gvk) {
                self.by_gvk.insert(gvk, id);
            }
        }
        let paths = document.get("paths").and_then(Value::as_map);
        for (path, item) in paths.into_iter().flatten() {
            if let Some(gvk) = item.at(["get", GVK]).and_then(gvk) {
                self.scopes
                    .add(gvk, path.contains("namespaces/{namespace}"));
            }
        }
        Ok(())
    }

    fn add_schema(&mut self, schema: &Value, depth: usize) -> TypeId {
        let text = |name: &str| schema.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut new = Type {
            reference: text("$ref"),
            is_list: match schema.get("type") {
                Some(Value::String(kind)) => kind == "array",
                Some(Value::Seq(kinds)) => kinds.len() == 1 && kinds[0].as_str() == Some("array"),
                _ => false,
            },
            strategy: text("x-kubernetes-patch-strategy"),
            merge_key: text("x-kubernetes-patch-merge-key"),
            map_keys: schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_seq)
                .map(|keys| {
                    keys.iter()
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect()
                }),
            ..Type::default()
        };
        if depth < MAX_DEPTH {
            let mut fields = HashMap::new();
            let properties = schema.get("properties").and_then(Value::as_map);
            for (name, property) in properties.into_iter().flatten() {
                fields.insert(name.as_str().into(), self.add_schema(property, depth + 1));
            }
            new.fields = fields;
            new.items = schema
                .get("items")
                .filter(|items| matches!(items, Value::Map(_)))
                .map(|items| self.add_schema(items, depth + 1));
            new.others = schema
                .get("additionalProperties")
                .filter(|others| matches!(others, Value::Map(_)))
                .map(|others| self.add_schema(others, depth + 1));
        }
        self.push(new)
    }

    /// Adds a schema from a comment, resolving its reference.
    pub(crate) fn add_comment(&mut self, schema: &Value) -> Option<TypeId> {
        let id = self.add_schema(schema, 0);
        // A broken reference leaves the schema unchanged.
        self.resolve(id).or(Some(id))
    }
}

const GVK: &str = "x-kubernetes-group-version-kind";

fn gvk(value: &Value) -> Option<Gvk> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    Some(Gvk {
        group: text("group").unwrap_or_default().to_owned(),
        version: text("version")?.to_owned(),
        kind: text("kind")?.to_owned(),
    })
}

/// The schema in a comment, if it has one (KZ-SMP-025).
pub(crate) fn comment_schema(line: &str, head: &str) -> Option<Value> {
    let comment = if line.is_empty() { head } else { line };
    let text = comment.trim_start_matches('#');
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let value = flux_yaml::json::from_str(text).ok()?;
    value
        .as_map()
        .is_some_and(|map| !map.is_empty())
        .then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_add_types_and_scopes() {
        // KZ-OAPI-002, KZ-OAPI-005, KZ-OAPI-006
        let mut schema = Schema::default();
        schema
            .add_document(
                br##"{"definitions": {
                    "item": {"properties": {"name": {"type": "string"}}},
                    "thing": {
                        "properties": {"spec": {"$ref": "#/definitions/spec"}},
                        "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Thing"}]
                    },
                    "spec": {"properties": {"items": {
                        "type": "array", "items": {"$ref": "#/definitions/item"},
                        "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "name"
                    }}}
                }, "paths": {"/apis/example.com/v1/things": {"get": {
                    "x-kubernetes-group-version-kind": {"group": "example.com", "version": "v1", "kind": "Thing"}
                }}}}"##,
                &Meter::unlimited(),
            )
            .unwrap();
        let gvk = Gvk::new("example.com/v1", "Thing");
        let spec = schema.field(schema.of(&gvk).unwrap(), "spec").unwrap();
        let items = schema.field(spec, "items").unwrap();
        assert_eq!(schema.merge_keys(items), Some(vec!["name".to_owned()]));
        assert!(schema.items(items).is_some());
        assert!(schema.scopes.is_cluster_scoped(&gvk));
        assert!(schema.add_document(b"[1]", &Meter::unlimited()).is_err());
    }

    #[test]
    fn comments_may_hold_a_schema() {
        assert!(comment_schema(r#"# {"type":"array"}"#, "").is_some());
        assert!(comment_schema("# words", r#"# {"type":"array"}"#).is_none());
        assert!(comment_schema("", r#"# {"type":"array"}"#).is_some());
        assert!(comment_schema("# {}", "").is_none());
    }
}
