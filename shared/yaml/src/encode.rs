//! Converts nodes and values to emitter steps, and chooses the style of each scalar.

use crate::emit::{Collection, Emitter, Layout, Properties, ScalarStyle};
use crate::error::Error;
use crate::node::{Kind, Node, Style};
use crate::resolve::{self, Flavor, Scalar};
use crate::value::{Map, Value};
use crate::{json, natural, number};

/// The order of keys in the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyOrder {
    /// As in the mapping.
    Kept,
    /// As go-yaml sorts the keys of a Go map (HE-YAML-004).
    Natural,
}

/// How floats are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floats {
    /// As go-yaml writes them.
    Kept,
    /// Through JSON text, which turns whole floats into integers (HE-YAML-006).
    ThroughJson,
}

/// Writes documents to one stream.
pub(crate) fn nodes<'n>(
    documents: impl IntoIterator<Item = &'n Node>,
    layout: Layout,
) -> Result<String, Error> {
    let mut emitter = Emitter::new(layout);
    for node in documents {
        if node.kind == Kind::Document {
            emitter.document_start(node.head_comment());
            for child in &node.content {
                write_node(&mut emitter, child, "", false, json::LEVELS)?;
            }
            emitter.document_end(node.foot_comment());
        } else {
            emitter.document_start("");
            write_node(&mut emitter, node, "", false, json::LEVELS)?;
            emitter.document_end("");
        }
    }
    Ok(emitter.finish())
}

/// Writes one document.
pub(crate) fn value(
    value: &Value,
    layout: Layout,
    order: KeyOrder,
    floats: Floats,
) -> Result<String, Error> {
    let writer = ValueWriter {
        flavor: layout.flavor,
        order,
        floats,
    };
    let mut emitter = Emitter::new(layout);
    emitter.document_start("");
    writer.write(&mut emitter, value, json::LEVELS)?;
    emitter.document_end("");
    Ok(emitter.finish())
}

/// The tag to write, if any, and whether the text must be quoted to stay a string.
fn visible_tag(node: &Node) -> (&str, bool) {
    let tag = node.tag.as_ref();
    if tag.is_empty() || node.style.has(Style::TAGGED) {
        return (tag, false);
    }
    let short = resolve::short_tag(tag);
    match node.kind {
        Kind::Scalar => {
            let is_str = short == resolve::STR;
            if is_str && node.style.has(Style::QUOTED)
                || resolve::plain_tag_v3(&node.value) == short
            {
                return ("", false);
            }
            if is_str { ("", true) } else { (tag, false) }
        }
        Kind::Mapping if short == resolve::MAP => ("", false),
        Kind::Sequence if short == resolve::SEQ => ("", false),
        _ => (tag, false),
    }
}

fn write_node<'n>(
    emitter: &mut Emitter<'n>,
    node: &'n Node,
    tail: &'n str,
    without_foot: bool,
    levels: usize,
) -> Result<(), Error> {
    let levels = levels.checked_sub(1).ok_or_else(json::too_deep)?;
    let (tag, force_quotes) = visible_tag(node);
    let properties = Properties {
        anchor: node.anchor.as_deref().unwrap_or(""),
        tag,
    };
    let flow = node.style.has(Style::FLOW);
    let foot = if without_foot {
        ""
    } else {
        node.foot_comment()
    };
    match node.kind {
        Kind::Document => {
            return Err(Error::invalid("a document cannot stand within a document"));
        }
        Kind::Sequence => {
            emitter.comments(node.head_comment(), "", "");
            let empty = node.content.is_empty();
            emitter.start(Collection::Sequence, properties, flow, empty)?;
            for item in &node.content {
                write_node(emitter, item, "", false, levels)?;
            }
            emitter.comments("", node.line_comment(), foot);
            emitter.end();
        }
        Kind::Mapping => {
            emitter.tail_comment(tail);
            emitter.comments(node.head_comment(), "", "");
            let empty = node.content.len() < 2;
            emitter.start(Collection::Mapping, properties, flow, empty)?;
            let mut tail = "";
            for (key, value) in node.entries() {
                write_node(emitter, key, tail, true, levels)?;
                tail = key.foot_comment();
                write_node(emitter, value, "", false, levels)?;
            }
            emitter.tail_comment(tail);
            emitter.comments("", node.line_comment(), foot);
            emitter.end();
        }
        Kind::Alias => {
            emitter.comments(node.head_comment(), node.line_comment(), foot);
            emitter.alias(&node.value)?;
        }
        Kind::Scalar => {
            let style = if node.style.has(Style::DOUBLE_QUOTED) {
                ScalarStyle::Double
            } else if node.style.has(Style::SINGLE_QUOTED) {
                ScalarStyle::Single
            } else if node.style.has(Style::LITERAL) {
                ScalarStyle::Literal
            } else if node.style.has(Style::FOLDED) {
                ScalarStyle::Folded
            } else if node.value.contains('\n') {
                ScalarStyle::Literal
            } else if force_quotes {
                ScalarStyle::Double
            } else {
                ScalarStyle::Plain
            };
            emitter.comments(node.head_comment(), node.line_comment(), foot);
            emitter.tail_comment(tail);
            emitter.scalar(properties, &node.value, style)?;
        }
    }
    Ok(())
}

struct ValueWriter {
    flavor: Flavor,
    order: KeyOrder,
    floats: Floats,
}

impl ValueWriter {
    fn write(&self, emitter: &mut Emitter<'_>, value: &Value, levels: usize) -> Result<(), Error> {
        let levels = levels.checked_sub(1).ok_or_else(json::too_deep)?;
        let none = Properties::default();
        match value {
            Value::Null => emitter.scalar(none, "null", ScalarStyle::Plain),
            Value::Bool(true) => emitter.scalar(none, "true", ScalarStyle::Plain),
            Value::Bool(false) => emitter.scalar(none, "false", ScalarStyle::Plain),
            Value::Int(int) => emitter.scalar(none, &int.to_string(), ScalarStyle::Plain),
            Value::Uint(int) => emitter.scalar(none, &int.to_string(), ScalarStyle::Plain),
            Value::Float(float) => emitter.scalar(none, &self.float(*float)?, ScalarStyle::Plain),
            Value::String(text) => emitter.scalar(none, text, string_style(text, self.flavor)),
            Value::Seq(items) => {
                emitter.start(Collection::Sequence, none, false, items.is_empty())?;
                for item in items {
                    self.write(emitter, item, levels)?;
                }
                emitter.end();
                Ok(())
            }
            Value::Map(map) => {
                emitter.start(Collection::Mapping, none, false, map.is_empty())?;
                for (key, value) in self.ordered(map) {
                    emitter.scalar(none, key, string_style(key, self.flavor))?;
                    self.write(emitter, value, levels)?;
                }
                emitter.end();
                Ok(())
            }
        }
    }

    /// A mapping's entries in output order.
    fn ordered<'m>(&self, map: &'m Map) -> Vec<(&'m String, &'m Value)> {
        let mut entries: Vec<_> = map.iter().collect();
        if self.order == KeyOrder::Natural {
            natural::sort_by_key(&mut entries, |(key, _)| key.as_str(), self.flavor);
        }
        entries
    }

    fn float(&self, float: f64) -> Result<String, Error> {
        if self.floats == Floats::Kept {
            return Ok(number::format_yaml(float));
        }
        let mut value = Value::Float(float);
        json::normalize(&mut value)?;
        Ok(match value {
            Value::Int(int) => int.to_string(),
            Value::Uint(int) => int.to_string(),
            // YAML reads JSON's `-0` as an integer.
            _ if float == 0.0 => "0".to_owned(),
            _ => number::format_yaml(float),
        })
    }
}

/// How go-yaml writes a string: literal if it has line breaks, quoted if it would read as something else (HE-YAML-007).
fn string_style(text: &str, flavor: Flavor) -> ScalarStyle {
    if text.contains('\n') {
        return ScalarStyle::Literal;
    }
    let reads_back = resolve::plain(flavor, text, true) == Scalar::Str
        && !resolve::is_base60(text)
        && (flavor == Flavor::V2 || resolve::old_bool(text).is_none());
    if reads_back {
        ScalarStyle::Plain
    } else {
        ScalarStyle::Double
    }
}
