//! Labels and annotations of an object.

use std::collections::BTreeMap;

use super::{Changes, Kind, Node, Style, clear, fields, lookup_create, set_field, string};

/// A non-empty field of `metadata`.
pub(crate) fn meta_field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.get("metadata")
        .filter(|meta| !fields::is_empty(meta))?
        .get(name)
}

/// A mapping as text to text; values that are not scalars are empty.
pub(crate) fn string_map(node: Option<&Node>) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    if let Some(node) = node {
        for (key, value) in node.entries() {
            map.insert(key.value.clone(), value.value.clone());
        }
    }
    map
}

/// `metadata.annotations`.
pub(crate) fn annotations(node: &Node) -> BTreeMap<String, String> {
    string_map(meta_field(node, "annotations"))
}

/// `metadata.labels`.
pub(crate) fn labels(node: &Node) -> BTreeMap<String, String> {
    string_map(meta_field(node, "labels"))
}

/// Rewrites `metadata.annotations`: every value becomes a string (KZ-LOAD-019).
pub(crate) fn set_annotations(node: &mut Node, map: &BTreeMap<String, String>) {
    set_meta_map(node, "annotations", map);
}

/// Rewrites `metadata.labels`.
pub(crate) fn set_labels(node: &mut Node, map: &BTreeMap<String, String>) {
    set_meta_map(node, "labels", map);
}

fn set_meta_map(node: &mut Node, name: &str, map: &BTreeMap<String, String>) {
    let Ok(Some(meta)) = lookup_create(node, Kind::Mapping, &["metadata"]) else {
        return;
    };
    let _ = clear(meta, name);
    if map.is_empty() || fields::is_null(meta) || meta.kind != Kind::Mapping {
        return;
    }
    let mut all = Node::new(Kind::Mapping);
    all.content.reserve(map.len() * 2);
    for (key, value) in map {
        all.content.push(super::scalar(key.as_str()));
        all.content.push(string(value.as_str()));
    }
    meta.content.push(super::scalar(name));
    meta.content.push(all);
}

/// Removes annotations, and rewrites the remaining ones as strings; an empty map is removed.
pub(crate) fn remove_annotations(node: &mut Node, gone: impl Fn(&str) -> bool) {
    let mut left = annotations(node);
    left.retain(|key, _| !gone(key));
    set_annotations(node, &left);
}

/// Sets one annotation, keeping the others unchanged.
pub(crate) fn set_annotation(node: &mut Node, key: &str, value: &str) {
    // An empty annotations or metadata field is replaced.
    if let Some(meta) = node.get_mut("metadata") {
        if meta
            .get("annotations")
            .is_some_and(|map| map.content.is_empty())
        {
            let _ = clear(meta, "annotations");
        }
        if meta.content.is_empty() {
            let _ = clear(node, "metadata");
        }
    }
    set_quoted(node, "annotations", key, value);
}

/// Sets one label.
pub(crate) fn set_label(node: &mut Node, key: &str, value: &str) {
    set_quoted(node, "labels", key, value);
}

fn set_quoted(node: &mut Node, name: &str, key: &str, value: &str) {
    let mut text = Node::string(value);
    text.style = Style::SINGLE_QUOTED;
    if let Ok(Some(map)) = lookup_create(node, Kind::Mapping, &["metadata", name]) {
        let mut changes = Changes::default();
        let _ = set_field(map, key, text, &mut changes);
        changes.settle_text(node);
    }
}
