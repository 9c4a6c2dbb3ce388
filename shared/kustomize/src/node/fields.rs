//! Fields of mappings: reading, setting and removing them as kyaml does.

use super::text::contents;
use super::{Changes, Kind, Node, Style, is_yaml11_non_string};
use crate::error::{Fail, Result};

/// A scalar without a tag: its type follows from its text.
pub(crate) fn scalar(value: impl Into<String>) -> Node {
    Node::scalar("", value)
}

/// A string as kyaml creates one: a literal block if it has several lines.
pub(crate) fn string(value: impl Into<String>) -> Node {
    let mut node = Node::string(value);
    if node.value.contains('\n') {
        node.style = Style::LITERAL;
    }
    node
}

/// A scalar of the given tag.
pub(crate) fn tagged(tag: &'static str, value: impl Into<String>) -> Node {
    Node::scalar(tag, value)
}

/// Whether the node has the null tag.
pub(crate) fn is_null(node: &Node) -> bool {
    node.tag == "!!null"
}

/// Null, or a mapping or sequence without content.
pub(crate) fn is_empty(node: &Node) -> bool {
    is_null(node) || matches!(node.kind, Kind::Mapping | Kind::Sequence) && node.content.is_empty()
}

/// Whether the node is a non-empty sequence.
pub(crate) fn is_list(node: &Node) -> bool {
    node.kind == Kind::Sequence && !node.content.is_empty()
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Document => "DocumentNode",
        Kind::Mapping => "MappingNode",
        Kind::Sequence => "SequenceNode",
        Kind::Scalar => "ScalarNode",
        Kind::Alias => "AliasNode",
    }
}

/// Fails unless the node is of the kind, or null.
pub(crate) fn expect(node: &Node, kind: Kind) -> Result<()> {
    if is_null(node) || node.kind == kind {
        return Ok(());
    }
    let message = format!(
        "wrong node kind: expected {} but got {}",
        kind_name(kind),
        kind_name(node.kind),
    );
    let quoting = format!("{message}: node contents:\n{}", contents(node));
    Err(Fail::quoting(message, quoting))
}

/// The value of a mapping's first entry of this name; `None` for other nodes.
pub(crate) fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    node.get(name)
}

/// As [`field`], but an error for a node that is neither mapping nor null.
pub(crate) fn get<'n>(node: &'n Node, name: &str) -> Result<Option<&'n Node>> {
    expect(node, Kind::Mapping)?;
    Ok(if is_null(node) { None } else { node.get(name) })
}

/// Removes the first entry of this name.
pub(crate) fn clear(node: &mut Node, name: &str) -> Result<()> {
    expect(node, Kind::Mapping)?;
    if let Some(at) = node.position(name) {
        node.content.drain(at..at + 2);
    }
    Ok(())
}

/// Sets a mapping's entry as kyaml's `FieldSetter` does: an existing value keeps its style and its identity (so that
/// shared values change together), null removes the entry, a new key is appended.
pub(crate) fn set_field(
    node: &mut Node,
    name: &str,
    mut value: Node,
    changes: &mut Changes,
) -> Result<()> {
    if is_null(&value) {
        return clear(node, name);
    }
    quote_non_string(&mut value);
    expect(node, Kind::Mapping)?;
    if is_null(node) {
        return Ok(());
    }
    if let Some(present) = node.get_mut(name) {
        value.style = present.style;
        changes.assign(present, value);
    } else {
        node.content.push(scalar(name));
        node.content.push(value);
    }
    Ok(())
}

/// Replaces a scalar, keeping its style.
pub(crate) fn set_scalar(node: &mut Node, mut value: Node, changes: &mut Changes) -> Result<()> {
    expect(node, Kind::Scalar)?;
    if is_null(&value) {
        return Ok(());
    }
    value.style = node.style;
    changes.assign(node, value);
    Ok(())
}

/// Quotes a string that YAML 1.1 would read as something else, unless an existing style applies.
pub(crate) fn quote_non_string(value: &mut Node) {
    let untyped = value.tag.is_empty() || value.tag == "!!str";
    if value.kind == Kind::Scalar
        && untyped
        && value.style == Style::PLAIN
        && is_yaml11_non_string(&value.value)
    {
        value.style = Style::DOUBLE_QUOTED;
    }
}

/// Sets a field of the object itself, such as `kind`.
pub(crate) fn set_top(node: &mut Node, name: &str, value: &str, changes: &mut Changes) {
    // Objects whose root is not a mapping have been rejected before.
    let _ = set_field(node, name, scalar(value), changes);
}

/// Sets `metadata.name`.
pub(crate) fn set_name(node: &mut Node, name: &str, changes: &mut Changes) {
    set_meta(node, "name", scalar(name), changes);
}

/// Sets `metadata.namespace`, or removes it when empty.
pub(crate) fn set_namespace(node: &mut Node, namespace: &str, changes: &mut Changes) {
    if !namespace.is_empty() {
        set_meta(node, "namespace", scalar(namespace), changes);
    } else if let Some(meta) = node.get_mut("metadata") {
        let _ = clear(meta, "namespace");
    }
}

fn set_meta(node: &mut Node, name: &str, value: Node, changes: &mut Changes) {
    if let Ok(Some(meta)) = super::lookup_create(node, Kind::Mapping, &["metadata"]) {
        let _ = set_field(meta, name, value, changes);
    }
}

/// The text of a top-level field; empty if absent.
fn top<'n>(node: &'n Node, name: &str) -> &'n str {
    node.get(name).map_or("", |value| &value.value)
}

/// The object's `kind`.
pub(crate) fn kind_field(node: &Node) -> &str {
    top(node, "kind")
}

/// The object's `apiVersion`.
pub(crate) fn api_version(node: &Node) -> &str {
    top(node, "apiVersion")
}
