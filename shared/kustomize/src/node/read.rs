//! Reads Kubernetes objects from YAML text (KZ-LOAD rows).

use std::collections::BTreeMap;
use std::rc::Rc;

use flux_yaml::Value;

use super::{Extent, Node, annotations, fields, labels, meta_field};
use crate::error::Result;
use crate::go;
use crate::meter::{Charge, Meter};
use crate::options::Limits;
use crate::secrecy::{MASK, may_hold_secret, unreadable};

/// Reads every object of a file: lists are unwrapped, anchors are expanded, anything that is not an object is an error.
pub(crate) fn read_documents(text: &[u8], limits: &Limits, meter: &Rc<Meter>) -> Result<Vec<Node>> {
    let (nodes, _charge) = documents(text, limits, meter)?;
    inline_lists(drop_bad(nodes)?, limits, meter)
}

/// The first document in the text of a scalar, anchors kept, and its memory; `None` if it is empty.
pub(super) fn parse_one(text: &str, meter: &Rc<Meter>) -> Result<(Option<Node>, Charge)> {
    let (document, charge) = meter.read(text.as_bytes(), |text, claim| {
        flux_yaml::v3::parse_within(text, claim)
    })?;
    let document = document.map_err(super::unwritable)?;
    Ok((document.and_then(Node::into_root), charge))
}

/// The documents, and their memory.
fn documents(text: &[u8], limits: &Limits, meter: &Rc<Meter>) -> Result<(Vec<Node>, Vec<Charge>)> {
    let text = crlf(text);
    let parts = split(&text)?;
    let mut nodes = Vec::new();
    let mut all = Vec::new();
    for part in &parts {
        let (read, charge) = meter.read(part, |part, claim| {
            let document = flux_yaml::v3::parse_within(part, claim)?;
            let foot = document
                .as_ref()
                .map_or_else(String::new, |document| document.foot_comment().to_owned());
            let Some(mut root) = document.and_then(Node::into_root) else {
                return Ok(Ok(None));
            };
            // kyaml keeps the document node around the object.
            if !foot.is_empty() && root.foot_comment().is_empty() {
                root.comments_mut().foot = foot;
            }
            if fields::is_null(&root) {
                return Ok(Ok(None));
            }
            match flux_yaml::v3::expand_within(root, limits.nodes, claim) {
                Err(error @ flux_yaml::Error::Memory(_)) => Err(error),
                expanded => Ok(expanded.map(Some)),
            }
        })?;
        let expanded =
            read.map_err(|error| format!("MalformedYAMLError: {}", unreadable(&error, &text)))?;
        let Some(root) = expanded.map_err(|error| unreadable(&error, &text))? else {
            continue;
        };
        all.push(charge);
        if parts.len() == 1 && is_wrapper(&root) {
            let mut root = root;
            let items = root.remove("items").map(|(_, items)| items.content);
            nodes.extend(items.unwrap_or_default());
        } else {
            nodes.push(root);
        }
    }
    Ok((nodes, all))
}

fn is_wrapper(node: &Node) -> bool {
    matches!(super::kind_field(node), "List" | "ResourceList")
        && (node.get("items").is_some() || node.get("functionConfig").is_some())
}

/// Carriage return and newline as one newline (KZ-LOAD-001).
fn crlf(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if !text.contains(&b'\r') {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    for (index, byte) in text.iter().enumerate() {
        if *byte != b'\r' || text.get(index + 1) != Some(&b'\n') {
            out.push(*byte);
        }
    }
    out.into()
}

/// Splits at lines that begin with `---`, even inside a block scalar (KZ-LOAD-002, KZ-LOAD-003).
fn split(text: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut parts = Vec::new();
    if text.is_empty() {
        return Ok(parts);
    }
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = find(text, b"\n---", at) {
        let Some(length) = text[found + 4..].iter().position(|b| *b == b'\n') else {
            break;
        };
        let end = found + 4 + length;
        let rest = String::from_utf8_lossy(&text[found + 4..end]);
        let rest = rest.trim();
        if !rest.is_empty() && !rest.starts_with('#') {
            let line = String::from_utf8_lossy(&text[found + 1..end]);
            let line = if may_hold_secret(text) {
                MASK
            } else {
                line.trim()
            };
            return Err(format!("invalid document separator: {line}").into());
        }
        let mut part = text[from..found].to_vec();
        part.push(b'\n');
        parts.push(part);
        from = end + 1;
        // The newline that ends a separator does not start the next one.
        at = end + 1;
    }
    parts.push(text[from..].to_vec());
    Ok(parts)
}

fn find(text: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.windows(wanted.len())
        .position(|window| window == wanted)
        .map(|at| from + at)
}

fn drop_bad(nodes: Vec<Node>) -> Result<Vec<Node>> {
    let mut good = Vec::with_capacity(nodes.len());
    for node in nodes {
        if fields::is_empty(&node) {
            continue;
        }
        validated_metadata(&node)?;
        good.push(node);
    }
    Ok(good)
}

/// Replaces every object whose kind ends in `List` by its items, which are appended to the file's other objects
/// (KZ-LOAD-009).
fn inline_lists(nodes: Vec<Node>, limits: &Limits, meter: &Rc<Meter>) -> Result<Vec<Node>> {
    let mut queue = std::collections::VecDeque::from(nodes);
    let mut done = Vec::new();
    let mut all = Vec::new();
    while let Some(node) = queue.pop_front() {
        meter.steps(1)?;
        let kind = super::kind_field(&node);
        if !kind.ends_with("List") || node.get("items").is_none() {
            done.push(node);
            continue;
        }
        let mut charge = Charge::new(meter);
        charge.take(2 * Extent::of_node(&node).bytes)?;
        let value = super::to_value(&node)
            .map_err(|fail| meter.in_object_of(kind, fail))
            .map_err(|fail| {
                fail.reworded(|error| format!("trouble expanding list of {kind}; {error}"))
            })?;
        let items = match value.get("items") {
            None | Some(Value::Null) => continue,
            Some(Value::Seq(items)) => items,
            Some(other) => {
                return Err(format!(
                    "expected array in {kind}/items, but found {}",
                    go_type(other)
                )
                .into());
            }
        };
        for item in items {
            let text = go::json(item);
            let (items, charge) = documents(text.as_bytes(), limits, meter)?;
            all.extend(charge);
            queue.extend(drop_bad(items)?);
        }
    }
    Ok(done)
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::Seq(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
    }
}

/// Type and metadata of an object.
#[derive(Debug, Default)]
pub(crate) struct Meta {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// The object's type and name; an error if it has none.
pub(crate) fn metadata(node: &Node) -> Result<Meta> {
    let text = |value: Option<&Node>| {
        value
            .filter(|value| !fields::is_empty(value))
            .map(|value| value.value.clone())
    };
    let api_version = text(node.get("apiVersion"));
    let kind = text(node.get("kind"));
    let name = text(meta_field(node, "name"));
    let namespace = text(meta_field(node, "namespace"));
    let has_map = |field| meta_field(node, field).is_some_and(|map| !fields::is_empty(map));
    let any = [&api_version, &kind, &name, &namespace]
        .iter()
        .any(|field| field.is_some());
    if !any && !has_map("labels") && !has_map("annotations") {
        return Err("missing Resource metadata".into());
    }
    Ok(Meta {
        api_version: api_version.unwrap_or_default(),
        kind: kind.unwrap_or_default(),
        name: name.unwrap_or_default(),
        namespace: namespace.unwrap_or_default(),
    })
}

/// As [`metadata`], requiring a kind and, except for lists, a name (KZ-LOAD-007).
pub(crate) fn validated_metadata(node: &Node) -> Result<Meta> {
    let meta = metadata(node)?;
    let missing = if meta.kind.is_empty() {
        "kind"
    } else if meta.kind.ends_with("List") || !meta.name.is_empty() {
        return Ok(meta);
    } else {
        "metadata.name"
    };
    // An annotation may contain the whole object as it was applied. An object without a kind may be a Secret.
    let quotes = !matches!(meta.kind.as_str(), "" | "Secret");
    let map = |map: BTreeMap<String, String>| {
        let entries: Vec<_> = map
            .iter()
            .map(|(k, v)| format!("{k}:{}", if quotes { v } else { MASK }))
            .collect();
        format!("map[{}]", entries.join(" "))
    };
    Err(format!(
        "missing {missing} in object {{{{{} {}}} {{{{{} {}}} {} {}}}}}",
        meta.api_version,
        meta.kind,
        meta.name,
        meta.namespace,
        map(labels(node)),
        map(annotations(node)),
    )
    .into())
}
