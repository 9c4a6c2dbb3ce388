//! From parsed manifests to objects.

use flux_cluster::Object;
use serde_json::{Map, Value};

/// Collects the objects from the values of a multi-document stream (RT-SSA-001).
///
/// Lists are expanded. Values without `apiVersion`, `kind` or name are dropped, and so is a `kustomization.yaml`.
pub fn objects(documents: impl IntoIterator<Item = Value>) -> Vec<Object> {
    let mut objects = Vec::new();
    for object in documents.into_iter().filter_map(Object::new) {
        if let Some(Value::Array(items)) = object.fields().get("items") {
            objects.extend(items.iter().filter_map(|item| item_of(&object, item)));
        } else if is_whole(&object) && !is_kustomization(&object) {
            objects.push(object);
        }
    }
    objects
}

/// An item of a list; a typed list (`ConfigMapList`) determines the kind of its items.
fn item_of(list: &Object, item: &Value) -> Option<Object> {
    let mut item = Object::new(item.clone())?;
    if item.kind().is_empty() && item.api_version().is_empty() {
        let kind = list.kind().strip_suffix("List")?.to_owned();
        let api_version = list.api_version().to_owned();
        let fields: &mut Map<String, Value> = item.fields_mut();
        fields.insert("kind".to_owned(), Value::String(kind));
        fields.insert("apiVersion".to_owned(), Value::String(api_version));
    }
    Some(item)
}

fn is_whole(object: &Object) -> bool {
    !object.name().is_empty() && !object.kind().is_empty() && !object.api_version().is_empty()
}

fn is_kustomization(object: &Object) -> bool {
    object.kind().eq_ignore_ascii_case("kustomization")
        && object.api_version().starts_with("kustomize.config.k8s.io/")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::objects;

    // RT-SSA-001
    #[test]
    fn lists_are_flattened_and_non_objects_dropped() {
        let config_map = |name: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name } });
        let found = objects([
            config_map("a"),
            json!({ "apiVersion": "v1", "kind": "List", "items": [config_map("b"), config_map("c")] }),
            json!({ "apiVersion": "v1", "kind": "ConfigMapList", "items": [{ "metadata": { "name": "d" } }] }),
            json!({ "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "metadata": { "name": "k" } }),
            json!({ "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": { "name": "k" } }),
            json!({ "kind": "ConfigMap", "metadata": { "name": "e" } }),
            json!({ "apiVersion": "v1", "kind": "ConfigMap" }),
            json!(null),
            json!("text"),
        ]);
        let names: Vec<String> = found.iter().map(|object| object.id().to_string()).collect();
        assert_eq!(
            names,
            [
                "ConfigMap/a",
                "ConfigMap/b",
                "ConfigMap/c",
                "ConfigMap/d",
                "Kustomization/k"
            ]
        );
    }
}
