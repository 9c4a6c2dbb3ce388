//! YAML with comments, as yaml.v3 reads and writes it.

use std::collections::HashMap;

use flux_yaml::v3::{self, Encoder};
use flux_yaml::{Comments, Error, Kind, Node};

use super::{ReadError, WriteError};
use crate::value::{Branch, Comment, Entry, Key, MAX_DEPTH, Time, Value};

/// The values that a file may hold, with the copies that aliases make.
const MAX_VALUES: usize = 1 << 20;
/// The bytes that their texts may take.
const MAX_TEXT: usize = 64 << 20;

pub(super) fn read(data: &[u8]) -> Result<Vec<Branch>, ReadError> {
    let invalid = |error: Error| ReadError::Yaml(error.without_text().to_string());
    let documents = v3::parse_all(data).map_err(invalid)?;
    // Upstream decodes the first document once more for this, since the nodes of a document may have repeated keys.
    if let Some(first) = documents.first()
        && let Err(error @ Error::Unmarshal(_)) = v3::to_value(first)
    {
        return Err(invalid(error));
    }
    let mut left = Left {
        values: MAX_VALUES,
        text: MAX_TEXT,
    };
    documents
        .iter()
        .map(|document| {
            let mut reader = Reader {
                anchors: anchors(document),
                left: &mut left,
                depth: 0,
            };
            let mut branch = Branch::new();
            reader.append(document, &mut branch, false)?;
            Ok(branch)
        })
        .collect()
}

/// What the file may still hold.
struct Left {
    values: usize,
    text: usize,
}

/// The nodes that aliases may name; of several with one name, upstream uses the last before the alias, which differs only in
/// documents that define an anchor twice.
fn anchors(document: &Node) -> HashMap<&str, &Node> {
    let mut found = HashMap::new();
    let mut open = vec![document];
    while let Some(node) = open.pop() {
        if let Some(name) = &node.anchor {
            found.insert(&**name, node);
        }
        open.extend(node.content.iter().rev());
    }
    found
}

struct Reader<'n, 'l> {
    anchors: HashMap<&'n str, &'n Node>,
    left: &'l mut Left,
    depth: usize,
}

fn shape(text: &str) -> ReadError {
    ReadError::YamlShape(text.to_owned())
}

impl<'n> Reader<'n, '_> {
    fn alias(&self, node: &Node) -> Result<&'n Node, ReadError> {
        let target = self.anchors.get(node.value.as_str()).copied();
        target.ok_or_else(|| shape("unknown anchor referenced"))
    }

    fn enter(&mut self, node: &Node) -> Result<(), ReadError> {
        self.depth += 1;
        let values = self.left.values.checked_sub(1);
        let text = self.left.text.checked_sub(node.value.len());
        match (values, text) {
            (Some(values), Some(text)) if self.depth <= MAX_DEPTH => {
                *self.left = Left { values, text };
                Ok(())
            }
            _ => Err(shape("the document is too deep or too large")),
        }
    }

    fn value(&mut self, node: &'n Node, comments_done: bool) -> Result<Value, ReadError> {
        self.enter(node)?;
        let value = match node.kind {
            Kind::Document => return Err(shape("a document within a document")),
            Kind::Sequence => {
                let mut list = Vec::new();
                let add = |list: &mut Vec<Value>, text: &str, inline| {
                    list.extend(comments(text, inline).map(Value::Comment));
                };
                if !comments_done {
                    add(&mut list, node.head_comment(), false);
                    add(&mut list, node.line_comment(), false);
                }
                for item in &node.content {
                    add(&mut list, item.head_comment(), false);
                    add(&mut list, item.line_comment(), true);
                    list.push(self.value(item, true)?);
                    add(&mut list, item.foot_comment(), false);
                }
                if !comments_done {
                    add(&mut list, node.foot_comment(), false);
                }
                Value::List(list)
            }
            Kind::Mapping => {
                let mut branch = Branch::new();
                self.append(node, &mut branch, comments_done)?;
                Value::Map(branch)
            }
            Kind::Scalar => scalar(node)?,
            Kind::Alias => {
                let target = self.alias(node)?;
                self.value(target, false)?
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    fn append(
        &mut self,
        node: &'n Node,
        branch: &mut Branch,
        comments_done: bool,
    ) -> Result<(), ReadError> {
        self.enter(node)?;
        let add = |branch: &mut Branch, text: &str, inline| {
            branch.extend(comments(text, inline).map(Entry::comment));
        };
        if !comments_done {
            add(branch, node.head_comment(), false);
            add(branch, node.line_comment(), false);
        }
        match node.kind {
            Kind::Document => {
                for item in &node.content {
                    self.append(item, branch, false)?;
                }
            }
            Kind::Sequence => {
                return Err(shape("YAML documents that are sequences are not supported"));
            }
            Kind::Mapping => {
                for (key, value) in node.entries() {
                    add(branch, key.head_comment(), false);
                    add(branch, key.line_comment(), false);
                    let is_leaf = matches!(value.kind, Kind::Scalar | Kind::Alias);
                    if is_leaf {
                        add(branch, value.head_comment(), false);
                        add(branch, value.line_comment(), true);
                    }
                    let entry = Entry {
                        key: self.key(key)?,
                        value: self.value(value, is_leaf)?,
                    };
                    branch.push(entry);
                    if is_leaf {
                        add(branch, value.foot_comment(), false);
                    }
                    add(branch, key.foot_comment(), false);
                }
            }
            // An empty document with a start marker is null.
            Kind::Scalar if node.short_tag() == "!!null" => {
                self.depth -= 1;
                return Ok(());
            }
            Kind::Scalar => {
                return Err(shape("YAML documents that are values are not supported"));
            }
            Kind::Alias => {
                let target = self.alias(node)?;
                self.append(target, branch, false)?;
            }
        }
        if !comments_done {
            add(branch, node.foot_comment(), false);
        }
        self.depth -= 1;
        Ok(())
    }

    fn key(&self, node: &'n Node) -> Result<Key, ReadError> {
        let node = match node.kind {
            Kind::Alias => self.alias(node)?,
            _ => node,
        };
        if node.kind != Kind::Scalar {
            return Ok(Key::Other("map[interface {}]interface {}"));
        }
        Ok(match scalar(node)? {
            Value::Text(text) => Key::Text(text),
            other => Key::Other(other.go_type()),
        })
    }
}

/// The lines of a comment without their `#`.
fn comments(text: &str, inline: bool) -> impl Iterator<Item = Comment> + '_ {
    let lines = text.split('\n').filter(|line| !line.is_empty());
    lines.map(move |line| Comment {
        text: line.as_bytes().get(1..).unwrap_or_default().to_vec(),
        inline,
    })
}

/// A scalar as yaml.v3 decodes it into an `interface{}`.
fn scalar(node: &Node) -> Result<Value, ReadError> {
    let text = || Value::text(node.value.clone());
    let decoded = || match v3::to_value(node) {
        Ok(value) => Ok(value),
        Err(error) => Err(ReadError::YamlShape(error.without_text().to_string())),
    };
    Ok(match &*node.short_tag() {
        "!!null" => Value::Null,
        "!!bool" | "!!int" | "!!binary" => plain(decoded()?)?,
        "!!float" => match &*node.value.to_ascii_lowercase() {
            ".nan" => Value::Float(f64::NAN),
            ".inf" | "+.inf" => Value::Float(f64::INFINITY),
            "-.inf" => Value::Float(f64::NEG_INFINITY),
            _ => match decoded()? {
                flux_yaml::Value::Int(int) => Value::Float(int as f64),
                flux_yaml::Value::Uint(int) => Value::Float(int as f64),
                value => plain(value)?,
            },
        },
        "!!timestamp" => match decoded()? {
            flux_yaml::Value::String(time) => Time::parse(&time).map_or_else(text, Value::Time),
            value => plain(value)?,
        },
        _ => text(),
    })
}

fn plain(value: flux_yaml::Value) -> Result<Value, ReadError> {
    Ok(match value {
        flux_yaml::Value::Bool(value) => Value::Bool(value),
        flux_yaml::Value::Int(value) => Value::Int(value),
        flux_yaml::Value::Float(value) => Value::Float(value),
        flux_yaml::Value::String(value) => Value::text(value),
        flux_yaml::Value::Uint(_) => {
            return Err(shape("Cannot walk value, unknown type: uint64"));
        }
        flux_yaml::Value::Null | flux_yaml::Value::Seq(_) | flux_yaml::Value::Map(_) => Value::Null,
    })
}

pub(super) fn write(documents: &[Branch]) -> Result<Vec<u8>, WriteError> {
    let nodes = documents.iter().map(|branch| {
        let mut mapping = Node::new(Kind::Mapping);
        append_branch(branch, &mut mapping)?;
        Ok(Node::document(mapping))
    });
    let nodes: Vec<Node> = nodes.collect::<Result<_, WriteError>>()?;
    let text = Encoder::default().indent(4).stream(&nodes);
    Ok(text.map_err(|error| unwritable(&error))?.into_bytes())
}

fn unwritable(error: &Error) -> WriteError {
    WriteError::Yaml(error.without_text().to_string())
}

/// Comments that wait for the node that they belong to.
#[derive(Default)]
struct Waiting {
    head: Vec<u8>,
    inline: Vec<u8>,
}

impl Waiting {
    fn push(&mut self, comment: &Comment) {
        let lines = if comment.inline {
            &mut self.inline
        } else {
            &mut self.head
        };
        if !lines.is_empty() {
            lines.push(b'\n');
        }
        lines.push(b'#');
        lines.extend_from_slice(&comment.text);
    }

    fn take_head(&mut self) -> String {
        text_of(std::mem::take(&mut self.head))
    }

    fn take_inline(&mut self) -> String {
        text_of(std::mem::take(&mut self.inline))
    }

    /// All that is left over at the end of a collection.
    fn take_rest(&mut self) -> String {
        let (mut head, inline) = (self.take_head(), self.take_inline());
        if !head.is_empty() && !inline.is_empty() {
            head.push('\n');
        }
        head + &inline
    }
}

fn text_of(lines: Vec<u8>) -> String {
    String::from_utf8(lines)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Puts a comment above a node and what is there already.
fn above(node: &mut Node, comment: String) {
    if comment.is_empty() {
        return;
    }
    let comments: &mut Comments = node.comments_mut();
    if comments.head.is_empty() {
        comments.head = comment;
    } else {
        comments.head = format!("{comment}\n{}", comments.head);
    }
}

fn behind(node: &mut Node, comment: &str) {
    if !comment.is_empty() {
        node.comments_mut().line.push_str(comment);
    }
}

fn below(node: &mut Node, comment: &str) {
    if comment.is_empty() {
        return;
    }
    let foot = &mut node.comments_mut().foot;
    if !foot.is_empty() {
        foot.push('\n');
    }
    foot.push_str(comment);
}

fn append_branch(branch: &Branch, mapping: &mut Node) -> Result<(), WriteError> {
    let mut waiting = Waiting::default();
    for entry in branch {
        let mut key = match &entry.key {
            Key::Comment(comment) => {
                waiting.push(comment);
                continue;
            }
            Key::Text(text) => text_node(text)?,
            Key::Other(kind) => return Err(WriteError::Key(kind)),
        };
        if mapping.content.is_empty() {
            above(mapping, waiting.take_head());
        }
        above(&mut key, waiting.take_head());
        let mut value = to_node(&entry.value)?;
        behind(&mut value, &waiting.take_inline());
        mapping.content.extend([key, value]);
    }
    let rest = waiting.take_rest();
    match mapping.content.len().checked_sub(2) {
        None => above(mapping, rest),
        Some(last_key) => below(&mut mapping.content[last_key], &rest),
    }
    Ok(())
}

fn append_list(items: &[Value], sequence: &mut Node) -> Result<(), WriteError> {
    let mut waiting = Waiting::default();
    for item in items {
        if let Value::Comment(comment) = item {
            waiting.push(comment);
            continue;
        }
        if sequence.content.is_empty() {
            above(sequence, waiting.take_head());
        }
        let mut node = to_node(item)?;
        above(&mut node, waiting.take_head());
        behind(&mut node, &waiting.take_inline());
        sequence.content.push(node);
    }
    let rest = waiting.take_rest();
    match sequence.content.last_mut() {
        None => above(sequence, rest),
        Some(last) => below(last, &rest),
    }
    Ok(())
}

fn to_node(value: &Value) -> Result<Node, WriteError> {
    Ok(match value {
        Value::Map(branch) => {
            let mut node = Node::new(Kind::Mapping);
            append_branch(branch, &mut node)?;
            node
        }
        Value::List(items) => {
            let mut node = Node::new(Kind::Sequence);
            append_list(items, &mut node)?;
            node
        }
        Value::Null | Value::Comment(_) => Node::null(),
        Value::Bool(value) => Node::bool(*value),
        Value::Int(value) => Node::int(*value),
        Value::Float(value) => encoded(&flux_yaml::Value::Float(*value))?,
        Value::Text(text) => text_node(text)?,
        Value::Bytes(bytes) => Node::sequence(bytes.iter().map(|byte| Node::int((*byte).into()))),
        Value::Time(time) => Node::scalar("!!timestamp", time.nanoseconds()),
    })
}

/// A text with the quotes that yaml.v3 gives it.
fn text_node(text: &[u8]) -> Result<Node, WriteError> {
    match str::from_utf8(text) {
        Ok(text) => encoded(&flux_yaml::Value::String(text.to_owned())),
        Err(_) => Ok(Node::scalar(
            "!!binary",
            flux_golang::encoding::base64(text),
        )),
    }
}

/// As `Node.Encode` does: written as a document of its own and read again, so that the node has the style of the writer.
fn encoded(value: &flux_yaml::Value) -> Result<Node, WriteError> {
    let node = Encoder::default().value(value).and_then(v3::parse);
    let node = node.map_err(|error| unwritable(&error))?;
    node.and_then(Node::into_root)
        .ok_or_else(|| WriteError::Yaml("no node".to_owned()))
}
