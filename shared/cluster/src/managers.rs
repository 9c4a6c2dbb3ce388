//! Takes over the fields of other field managers.

use serde_json::{Map, Value, json};

use crate::object::{Metadata, Object};

/// Selects a field manager whose fields are taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldManager {
    /// The prefix of the manager's name.
    pub prefix: String,
    /// Whether the prefix has to be the whole name.
    pub exact: bool,
    /// The operation by which it wrote: `Apply` or `Update`.
    pub operation: Operation,
}

/// The operation by which a field manager wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Server-side apply.
    Apply,
    /// Any other write.
    Update,
}

impl Operation {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What to remove from objects on the cluster before they are applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleanup {
    /// Annotations to remove.
    pub annotations: Vec<String>,
    /// Labels to remove.
    pub labels: Vec<String>,
    /// Managers whose fields are taken over.
    pub managers: Vec<FieldManager>,
    /// Objects with one of these labels or annotations are left unchanged.
    pub exclusions: Vec<(String, String)>,
}

impl Cleanup {
    /// The JSON patch that cleans up an object; empty if there is nothing to clean up (RT-SSA-014, KC-SSA-023 and 024).
    pub fn patch(&self, live: &Object, owner: &str) -> Vec<Value> {
        let mut patch = Vec::new();
        for (part, keys) in [
            (Metadata::Annotations, &self.annotations),
            (Metadata::Labels, &self.labels),
        ] {
            let held = live.metadata(part);
            for key in keys
                .iter()
                .filter(|key| held.is_some_and(|held| held.contains_key(*key)))
            {
                let path = format!(
                    "/metadata/{}/{}",
                    part.key(),
                    key.replace('~', "~0").replace('/', "~1")
                );
                patch.push(json!({ "op": "remove", "path": path }));
            }
        }
        patch.extend(self.take_over_patch(live, owner));
        patch
    }

    /// The JSON patch that only takes over the fields of the listed managers; empty if they own no fields (RT-SSA-026).
    pub fn take_over_patch(&self, live: &Object, owner: &str) -> Vec<Value> {
        let fields = self.take_over(live, owner).map(replace_managed_fields);
        fields.into_iter().collect()
    }

    /// The managed fields after the take-over; `None` if there is nothing to take over.
    fn take_over(&self, live: &Object, owner: &str) -> Option<Vec<Value>> {
        let entries = live.at(&["metadata", "managedFields"])?.as_array()?;
        let is_own = |entry: &Value| entry["manager"] == owner && entry["operation"] == "Apply";
        let own = entries.iter().rposition(is_own);
        let mut merged = own.and_then(|index| entries.get(index)).cloned();
        let mut kept = Vec::with_capacity(entries.len());
        let mut taken = false;
        for (index, entry) in entries.iter().enumerate() {
            if Some(index) == own {
                continue;
            }
            if !self.managers.iter().any(|manager| manager.matches(entry)) {
                kept.push(entry.clone());
                continue;
            }
            taken = true;
            if let Some(merged) = &mut merged {
                merge_fields(merged, entry);
            } else {
                let mut renamed = entry.clone();
                renamed["manager"] = json!(owner);
                renamed["operation"] = json!("Apply");
                merged = Some(renamed);
            }
        }
        kept.extend(merged);
        taken.then_some(kept)
    }
}

impl FieldManager {
    fn matches(&self, entry: &Value) -> bool {
        let name = entry["manager"].as_str().unwrap_or_default();
        entry["operation"] == self.operation.as_str()
            && entry
                .get("subresource")
                .is_none_or(|subresource| subresource == "")
            && name.starts_with(&self.prefix)
            && (!self.exact || name.len() == self.prefix.len())
    }
}

/// The JSON patch that sets another API version in every entry of the managed fields; empty if all have it (RT-SSA-015,
/// KC-SSA-027).
pub fn migrate_api_version(live: &Object, api_version: &str) -> Vec<Value> {
    let Some(entries) = live
        .at(&["metadata", "managedFields"])
        .and_then(Value::as_array)
    else {
        return Vec::new();
    };
    if entries
        .iter()
        .all(|entry| entry["apiVersion"] == api_version)
    {
        return Vec::new();
    }
    let mut migrated = entries.clone();
    for entry in &mut migrated {
        entry["apiVersion"] = json!(api_version);
    }
    vec![replace_managed_fields(migrated)]
}

#[allow(clippy::needless_pass_by_value)] // json! takes it by reference only
fn replace_managed_fields(entries: Vec<Value>) -> Value {
    json!({ "op": "replace", "path": "/metadata/managedFields", "value": entries })
}

fn merge_fields(into: &mut Value, from: &Value) {
    let Some(added) = from.get("fieldsV1").and_then(Value::as_object) else {
        return;
    };
    match into.get_mut("fieldsV1") {
        Some(Value::Object(fields)) => union(fields, added),
        _ => into["fieldsV1"] = Value::Object(added.clone()),
    }
}

/// The union of two sets of fields. A set is a trie: an empty node is a member, a node with children is a member only
/// if it has the child `.`.
fn union(into: &mut Map<String, Value>, added: &Map<String, Value>) {
    for (key, node) in added {
        let Some(Value::Object(held)) = into.get_mut(key) else {
            into.insert(key.clone(), node.clone());
            continue;
        };
        let node = node.as_object().cloned().unwrap_or_default();
        if held.is_empty() != node.is_empty() && key != "." {
            held.insert(".".to_owned(), json!({}));
        }
        union(held, &node);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Cleanup, FieldManager, Operation, migrate_api_version};
    use crate::object::Object;

    #[allow(clippy::needless_pass_by_value)] // reads better where the argument is a json! literal
    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({ "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields })
    }

    fn managed(entries: &[Value]) -> Object {
        Object::new(json!({ "metadata": { "name": "x", "managedFields": entries } })).unwrap()
    }

    fn cleanup() -> Cleanup {
        let manager = |prefix: &str, operation| FieldManager {
            prefix: prefix.to_owned(),
            exact: false,
            operation,
        };
        Cleanup {
            managers: vec![
                manager("kubectl", Operation::Apply),
                manager("kubectl", Operation::Update),
                manager("before-first-apply", Operation::Update),
            ],
            annotations: vec!["kubectl.kubernetes.io/last-applied-configuration".into()],
            labels: vec!["fluxcd.io/sync-gc-mark".into()],
            exclusions: Vec::new(),
        }
    }

    fn taken_over(entries: &[Value]) -> Vec<Value> {
        let patch = cleanup().patch(&managed(entries), "flux");
        match patch.as_slice() {
            [] => Vec::new(),
            [replace] => replace["value"].as_array().unwrap().clone(),
            _ => panic!("{patch:?}"),
        }
    }

    // RT-SSA-014 KC-SSA-024
    #[test]
    fn fields_of_listed_managers_are_taken_over() {
        let data = |key: &str| json!({ "f:data": { key: {} } });
        let both = json!({ "f:data": { "f:a": {}, "f:b": {} } });
        let status = json!({ "manager": "kubectl", "operation": "Update", "subresource": "status", "fieldsV1": {} });
        let (own, other) = (
            entry("flux", "Apply", data("f:a")),
            entry("helm", "Update", data("f:c")),
        );
        for (what, given, want) in [
            ("none listed", vec![own.clone(), other.clone()], vec![]),
            (
                "the first is renamed",
                vec![entry("kubectl-edit", "Update", data("f:a")), other.clone()],
                vec![other.clone(), own.clone()],
            ),
            (
                "others join it",
                vec![
                    entry("before-first-apply", "Update", data("f:a")),
                    entry("kubectl", "Apply", data("f:b")),
                ],
                vec![entry("flux", "Apply", both.clone())],
            ),
            (
                "they join ours",
                vec![
                    entry("kubectl", "Update", data("f:b")),
                    own.clone(),
                    other.clone(),
                ],
                vec![other.clone(), entry("flux", "Apply", both.clone())],
            ),
            (
                "another operation",
                vec![entry("before-first-apply", "Apply", data("f:a"))],
                vec![],
            ),
            ("a subresource", vec![status.clone()], vec![]),
        ] {
            assert_eq!(taken_over(&given), want, "{what}");
        }
    }

    // RT-SSA-026
    #[test]
    fn an_exact_name_selects_no_longer_one() {
        let fields = json!({ "f:data": { "f:a": {} } });
        let live = managed(&[
            entry("helm", "Update", fields.clone()),
            entry("helm-controller", "Update", fields.clone()),
        ]);
        let taken = |exact| {
            let cleanup = Cleanup {
                managers: vec![FieldManager {
                    prefix: "helm".to_owned(),
                    exact,
                    operation: Operation::Update,
                }],
                labels: vec!["a".to_owned()],
                ..Cleanup::default()
            };
            let patch = cleanup.take_over_patch(&live, "flux");
            patch[0]["value"].as_array().unwrap().len()
        };
        assert_eq!((taken(true), taken(false)), (2, 1));
        assert_eq!(
            cleanup().take_over_patch(&managed(&[]), "flux"),
            Vec::<Value>::new()
        );
    }

    #[test]
    fn field_sets_are_merged_as_tries() {
        for (left, right, want) in [
            (json!({}), json!({ "f:a": {} }), json!({ "f:a": {} })),
            (
                json!({ "f:a": {} }),
                json!({ "f:a": { "f:b": {} } }),
                json!({ "f:a": { ".": {}, "f:b": {} } }),
            ),
            (
                json!({ "f:a": { "f:b": {} } }),
                json!({ "f:a": {} }),
                json!({ "f:a": { ".": {}, "f:b": {} } }),
            ),
            (
                json!({ "f:a": { ".": {}, "k:{\"n\":1}": { ".": {}, "f:n": {} } } }),
                json!({ "f:a": { "k:{\"n\":1}": { "f:m": {} } } }),
                json!({ "f:a": { ".": {}, "k:{\"n\":1}": { ".": {}, "f:n": {}, "f:m": {} } } }),
            ),
        ] {
            let got = taken_over(&[
                entry("flux", "Apply", left),
                entry("kubectl", "Apply", right),
            ]);
            assert_eq!(got, [entry("flux", "Apply", want)]);
        }
        // An entry without fields gets the fields of the other.
        let fields = json!({ "f:a": {} });
        let mut bare = entry("flux", "Apply", Value::Null);
        bare.as_object_mut().unwrap().remove("fieldsV1");
        let got = taken_over(&[bare, entry("kubectl", "Apply", fields.clone())]);
        assert_eq!(got, [entry("flux", "Apply", fields)]);
    }

    // KC-SSA-023
    #[test]
    fn listed_annotations_and_labels_are_removed() {
        let live = Object::new(json!({ "metadata": {
            "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "mine": "x" },
            "labels": { "fluxcd.io/sync-gc-mark": "y" },
        }}))
        .unwrap();
        let patch = cleanup().patch(&live, "flux");
        assert_eq!(
            patch,
            [
                json!({ "op": "remove", "path": "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration" }),
                json!({ "op": "remove", "path": "/metadata/labels/fluxcd.io~1sync-gc-mark" }),
            ]
        );
    }

    // RT-SSA-015 KC-SSA-027
    #[test]
    fn every_managed_fields_entry_gets_the_applied_version() {
        let live = managed(&[
            entry("a", "Apply", json!({})),
            entry("b", "Update", json!({})),
        ]);
        assert_eq!(migrate_api_version(&live, "v1"), Vec::<Value>::new());
        let patch = migrate_api_version(&live, "v2");
        let versions: Vec<&Value> = patch[0]["value"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| &e["apiVersion"])
            .collect();
        assert_eq!(versions, ["v2", "v2"]);
    }
}
