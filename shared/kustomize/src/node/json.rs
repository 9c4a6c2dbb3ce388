//! Converts nodes to plain values and back: the effect of printing and rereading a node on tags and styles.

use flux_golang::strconv;
use flux_yaml::{Map, Value};

use super::{Kind, Node, Style};
use crate::error::{Fail, Result};
use crate::secrecy::MASK;

/// The object as `kustomize` prints it. The root's keys are text whatever they look like; a nested mapping with a key
/// that is not a string has no JSON form (KZ-LOAD-016), and a repeated key is an error (KZ-LOAD-015).
pub(crate) fn to_value(root: &Node) -> Result<Value> {
    let printed = (has_kept_text(root) && has_foot_comment(root)).then(|| reread(root));
    let root = printed.as_ref().unwrap_or(root);
    match root.kind {
        Kind::Mapping => mapping(root, true, false),
        _ => value(root, false),
    }
}

/// Whether a block scalar in the tree keeps trailing empty lines.
fn has_kept_text(node: &Node) -> bool {
    let block = node.style.has(Style::LITERAL) || node.style.has(Style::FOLDED);
    block && node.value.ends_with("\n\n") || node.content.iter().any(has_kept_text)
}

fn has_foot_comment(node: &Node) -> bool {
    !node.foot_comment().is_empty() || node.content.iter().any(has_foot_comment)
}

/// The tree after printing and rereading it: the line before a foot comment becomes part of the text that ends there.
fn reread(root: &Node) -> Node {
    let text = flux_yaml::v3::to_string(root);
    let document = text.and_then(flux_yaml::v3::parse);
    let read = document.ok().flatten().and_then(Node::into_root);
    let mut read = read.unwrap_or_else(|| root.clone());
    settle_blocks(&mut read);
    read
}

/// A value that was read is not folded again.
fn settle_blocks(node: &mut Node) {
    if node.style.has(Style::FOLDED) {
        node.style = Style::LITERAL;
    }
    node.content.iter_mut().for_each(settle_blocks);
}

/// The failure for an object that cannot be written.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` is given"
)]
pub(crate) fn unwritable(error: flux_yaml::Error) -> Fail {
    Fail::quoting(error.without_text().to_string(), error.to_string())
}

fn mapping(node: &Node, root: bool, in_flow: bool) -> Result<Value> {
    let in_flow = in_flow || node.style.has(Style::FLOW);
    let mut map = Map::with_capacity(node.content.len() / 2);
    for (key, item) in node.entries() {
        if root && key.kind != Kind::Scalar {
            return Err(collection_as_key(key));
        }
        if !root && !is_string_key(key) {
            return Err("json: unsupported type: map[interface {}]interface {}".into());
        }
        let item = value(item, in_flow)?;
        if map.insert(key.value.clone(), item).is_some() {
            return Err(duplicate(node, &key.value));
        }
    }
    Ok(Value::Map(map))
}

fn duplicate(node: &Node, name: &str) -> Fail {
    let mut lines = node
        .entries()
        .filter(|(key, _)| key.value == name)
        .map(|(key, _)| key.line);
    let first = lines.next().unwrap_or_default();
    let second = lines.next().unwrap_or_default();
    let message = |name: &str| {
        format!(
            "yaml: unmarshal errors:\n  line {second}: mapping key {name:?} already defined at line {first}"
        )
    };
    Fail::quoting(message(MASK), message(name))
}

fn collection_as_key(key: &Node) -> Fail {
    let kind = match key.kind {
        Kind::Sequence => "!!seq",
        _ => "!!map",
    };
    let line = key.line;
    format!("yaml: unmarshal errors:\n  line {line}: cannot unmarshal {kind} into string").into()
}

fn is_string_key(key: &Node) -> bool {
    if key.kind != Kind::Scalar {
        return false;
    }
    match printed(key) {
        Printed::Text => true,
        Printed::Plain => matches!(resolve(key.value.as_str()), Ok(Value::String(_))),
        Printed::Tagged => matches!(key.tag.as_ref(), "!!merge"),
    }
}

fn value(node: &Node, in_flow: bool) -> Result<Value> {
    match node.kind {
        Kind::Mapping => mapping(node, false, in_flow),
        Kind::Sequence => {
            let in_flow = in_flow || node.style.has(Style::FLOW);
            node.content
                .iter()
                .map(|item| value(item, in_flow))
                .collect::<Result<_, _>>()
                .map(Value::Seq)
        }
        Kind::Scalar => scalar_value(node, in_flow),
        Kind::Document | Kind::Alias => Err("unexpected node".into()),
    }
}

/// How a scalar is printed.
enum Printed {
    /// Quoted, or a block: a string.
    Text,
    /// Plain, without a tag.
    Plain,
    /// With its tag written out.
    Tagged,
}

fn printed(node: &Node) -> Printed {
    let quoted = node.style.has(Style::QUOTED);
    let untagged = if quoted || node.value.contains('\n') {
        Printed::Text
    } else {
        Printed::Plain
    };
    let tag = node.tag.as_ref();
    if tag.is_empty() {
        return untagged;
    }
    if node.style.has(Style::TAGGED) {
        return if tag == "!!str" {
            Printed::Text
        } else {
            Printed::Tagged
        };
    }
    // An unquoted string is quoted if necessary.
    if tag == "!!str" {
        return Printed::Text;
    }
    // A tag that the text implies is omitted, and with it the reason why a quoted text was not a string.
    if flux_yaml::v3::plain_tag(&node.value) == tag {
        return untagged;
    }
    Printed::Tagged
}

fn scalar_value(node: &Node, in_flow: bool) -> Result<Value> {
    match printed(node) {
        // In flow collections these are quoted when printed, whatever they are: times, and implicit nulls (KZ-LOAD-014,
        // KZ-LOAD-017).
        Printed::Plain if in_flow && (node.value.is_empty() || node.value.contains(':')) => {
            Ok(Value::String(node.value.clone()))
        }
        Printed::Text if node.style.has(Style::FOLDED) => Ok(Value::String(refolded(node))),
        Printed::Text => Ok(Value::String(node.value.clone())),
        Printed::Plain => resolve(&node.value),
        Printed::Tagged => flux_yaml::v3::to_value(node).map_err(unwritable),
    }
}

/// A folded block does not always read back as it was written.
fn refolded(node: &Node) -> String {
    let mut bare = node.clone();
    bare.comments = None;
    let document = Node::mapping([(super::scalar("k"), bare)]);
    flux_yaml::v3::to_string(&document)
        .ok()
        .and_then(|text| flux_yaml::v3::parse(text).ok().flatten())
        .and_then(|document| document.root()?.get("k").map(|value| value.value.clone()))
        .unwrap_or_else(|| node.value.clone())
}

fn resolve(text: &str) -> Result<Value> {
    // Letters that start no special word of YAML need no resolver.
    match text.as_bytes().first() {
        Some(b'a'..=b'e' | b'g'..=b'm' | b'p'..=b's' | b'u'..=b'z' | b'/' | b'A'..=b'E') => {
            Ok(Value::String(text.to_owned()))
        }
        _ => flux_yaml::v3::to_value(&super::scalar(text)).map_err(unwritable),
    }
}

/// A node for a value decoded by Go's JSON decoder, as yaml.v3's encoder writes it: every number is a float
/// (KZ-J69-012).
pub(crate) fn from_json(value: &Value) -> Node {
    match value {
        Value::Null => Node::null(),
        Value::Bool(value) => Node::bool(*value),
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => {
            let text = strconv::format_float(value.as_f64().unwrap_or_default(), b'g', None);
            let tag = if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
                "!!int"
            } else {
                "!!float"
            };
            Node::scalar(tag, text)
        }
        Value::String(text) => from_text(text),
        Value::Seq(items) => Node::sequence(items.iter().map(from_json)),
        Value::Map(map) => Node::mapping(
            map.iter()
                .map(|(key, item)| (from_text(key), from_json(item))),
        ),
    }
}

fn from_text(text: &str) -> Node {
    let mut node = Node::string(text);
    node.style = if text.contains('\n') {
        Style::LITERAL
    } else if !matches!(resolve(text), Ok(Value::String(_))) || super::is_yaml11_non_string(text) {
        Style::DOUBLE_QUOTED
    } else {
        Style::PLAIN
    };
    node
}
