//! The document tree of yaml.v3: content with styles, comments and positions.

use std::borrow::Cow;

use crate::resolve;

/// The kind of a [`Node`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A whole document; its only child is the root value.
    Document,
    /// A mapping; `content` alternates keys and values.
    Mapping,
    /// A sequence; `content` holds its items.
    Sequence,
    /// A scalar; `value` holds its text.
    Scalar,
    /// A reference to an anchored node; `value` holds the anchor's name.
    Alias,
}

/// How a node was written, or is to be written: a set of flags, as in yaml.v3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Style(u8);

impl Style {
    /// No flags: plain scalars, block collections.
    pub const PLAIN: Style = Style(0);
    /// The tag is written out.
    pub const TAGGED: Style = Style(1);
    /// `"..."`
    pub const DOUBLE_QUOTED: Style = Style(1 << 1);
    /// `'...'`
    pub const SINGLE_QUOTED: Style = Style(1 << 2);
    /// `|`
    pub const LITERAL: Style = Style(1 << 3);
    /// `>`
    pub const FOLDED: Style = Style(1 << 4);
    /// `[...]` and `{...}`
    pub const FLOW: Style = Style(1 << 5);

    /// Every style that makes a scalar a string unless a tag overrides it.
    pub const QUOTED: Style = Style(0b0001_1110);

    /// Whether any flag of `other` is set.
    pub fn has(self, other: Style) -> bool {
        self.0 & other.0 != 0
    }

    /// These flags and those of `other`.
    pub fn with(self, other: Style) -> Style {
        Style(self.0 | other.0)
    }

    /// These flags without those of `other`.
    pub fn without(self, other: Style) -> Style {
        Style(self.0 & !other.0)
    }
}

/// The comments that belong to a node, with their `#` and, between lines, newlines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Comments {
    /// The lines above the node, not separated from it by an empty line.
    pub head: String,
    /// The comment after the node on its line.
    pub line: String,
    /// The lines below the node, before an empty line.
    pub foot: String,
}

impl Comments {
    /// Whether there are no comments.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty() && self.line.is_empty() && self.foot.is_empty()
    }
}

/// A node of a YAML document, modelled on yaml.v3's `Node`.
///
/// Equality ignores positions.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node's kind.
    pub kind: Kind,
    /// How it is written.
    pub style: Style,
    /// Its tag in short form (`!!str`, `!!map`, `!mine`); empty on documents and aliases.
    pub tag: Cow<'static, str>,
    /// A scalar's text after unquoting and unfolding; an alias's anchor name; empty otherwise.
    pub value: String,
    /// The name by which aliases refer to this node.
    pub anchor: Option<Box<str>>,
    /// Children: a document's root, a sequence's items, or alternating keys and values of a mapping.
    pub content: Vec<Node>,
    /// Comments; most nodes have none.
    pub comments: Option<Box<Comments>>,
    /// Line in the source, from 1; 0 if the node was not parsed.
    pub line: u32,
    /// Column in the source in characters, from 1; 0 if the node was not parsed.
    pub column: u32,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.style == other.style
            && self.tag == other.tag
            && self.value == other.value
            && self.anchor == other.anchor
            && self.comments == other.comments
            && self.content == other.content
    }
}

impl Eq for Node {}

impl Node {
    /// A node of a kind, without tag, text and children.
    pub fn new(kind: Kind) -> Node {
        Node {
            kind,
            style: Style::PLAIN,
            tag: Cow::Borrowed(""),
            value: String::new(),
            anchor: None,
            content: Vec::new(),
            comments: None,
            line: 0,
            column: 0,
        }
    }

    /// A scalar with a given tag, written plain if possible.
    pub fn scalar(tag: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Node {
        let mut node = Node::new(Kind::Scalar);
        node.tag = tag.into();
        node.value = value.into();
        node
    }

    /// A string. It is quoted on output if it would otherwise read as something else.
    pub fn string(value: impl Into<String>) -> Node {
        Node::scalar(resolve::STR, value)
    }

    /// A boolean.
    pub fn bool(value: bool) -> Node {
        Node::scalar(resolve::BOOL, if value { "true" } else { "false" })
    }

    /// An integer.
    pub fn int(value: i64) -> Node {
        Node::scalar(resolve::INT, value.to_string())
    }

    /// `null`.
    pub fn null() -> Node {
        Node::scalar(resolve::NULL, "null")
    }

    /// A block mapping of the given entries.
    pub fn mapping(entries: impl IntoIterator<Item = (Node, Node)>) -> Node {
        let mut node = Node::new(Kind::Mapping);
        node.tag = Cow::Borrowed(resolve::MAP);
        for (key, value) in entries {
            node.content.push(key);
            node.content.push(value);
        }
        node
    }

    /// A block sequence of the given items.
    pub fn sequence(items: impl IntoIterator<Item = Node>) -> Node {
        let mut node = Node::new(Kind::Sequence);
        node.tag = Cow::Borrowed(resolve::SEQ);
        node.content.extend(items);
        node
    }

    /// A document around a root value.
    pub fn document(root: Node) -> Node {
        let mut node = Node::new(Kind::Document);
        node.content.push(root);
        node
    }

    /// The tag in short form, as yaml.v3's `ShortTag`: resolved from the text if the node has no tag.
    pub fn short_tag(&self) -> Cow<'_, str> {
        if self.is_indicated_string() {
            return Cow::Borrowed(resolve::STR);
        }
        if !self.tag.is_empty() && self.tag != "!" {
            return resolve::short_tag(&self.tag);
        }
        Cow::Borrowed(match self.kind {
            Kind::Mapping => resolve::MAP,
            Kind::Sequence => resolve::SEQ,
            Kind::Scalar => resolve::plain_tag_v3(&self.value),
            Kind::Document | Kind::Alias => "",
        })
    }

    /// Whether the node's tag or quotes make it a string, whatever its text looks like.
    pub fn is_indicated_string(&self) -> bool {
        self.kind == Kind::Scalar
            && (resolve::short_tag(&self.tag) == resolve::STR
                || (self.tag.is_empty() || self.tag == "!") && self.style.has(Style::QUOTED))
    }

    /// Whether the node is a null scalar.
    pub fn is_null(&self) -> bool {
        self.kind == Kind::Scalar && self.short_tag() == resolve::NULL
    }

    /// Whether the node is a mapping.
    pub fn is_mapping(&self) -> bool {
        self.kind == Kind::Mapping
    }

    /// Whether the node is a sequence.
    pub fn is_sequence(&self) -> bool {
        self.kind == Kind::Sequence
    }

    /// Whether the node is a scalar.
    pub fn is_scalar(&self) -> bool {
        self.kind == Kind::Scalar
    }

    /// A document's root value; any other node is its own root. `None` for an empty document.
    pub fn root(&self) -> Option<&Node> {
        match self.kind {
            Kind::Document => self.content.first(),
            _ => Some(self),
        }
    }

    /// As [`root`](Node::root), mutable.
    pub fn root_mut(&mut self) -> Option<&mut Node> {
        match self.kind {
            Kind::Document => self.content.first_mut(),
            _ => Some(self),
        }
    }

    /// Extracts the root value from its document.
    pub fn into_root(mut self) -> Option<Node> {
        match self.kind {
            Kind::Document => self.content.drain(..).next(),
            _ => Some(self),
        }
    }

    /// The text of a scalar, whatever its type.
    pub fn as_str(&self) -> Option<&str> {
        (self.kind == Kind::Scalar).then_some(self.value.as_str())
    }

    /// The text of a scalar that is a string.
    pub fn as_string(&self) -> Option<&str> {
        (self.kind == Kind::Scalar && self.short_tag() == resolve::STR)
            .then_some(self.value.as_str())
    }

    /// The value of a mapping's first entry whose key is a scalar of this text.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let at = self.position(key)?;
        self.content.get(at + 1)
    }

    /// As [`get`](Node::get), mutable.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        let at = self.position(key)?;
        self.content.get_mut(at + 1)
    }

    /// Follows keys through nested mappings.
    pub fn at<'k>(&self, path: impl IntoIterator<Item = &'k str>) -> Option<&Node> {
        path.into_iter().try_fold(self, |node, key| node.get(key))
    }

    /// Index in `content` of the first key of this text.
    pub fn position(&self, key: &str) -> Option<usize> {
        if self.kind != Kind::Mapping {
            return None;
        }
        (0..self.content.len())
            .step_by(2)
            .find(|&i| self.content[i].kind == Kind::Scalar && self.content[i].value == key)
    }

    /// A mapping's keys and values; empty for other nodes.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (&Node, &Node)> + ExactSizeIterator {
        let content: &[Node] = match self.kind {
            Kind::Mapping => &self.content,
            _ => &[],
        };
        content.chunks_exact(2).map(|pair| (&pair[0], &pair[1]))
    }

    /// A mapping's keys and mutable values; empty for other nodes.
    pub fn entries_mut(&mut self) -> impl Iterator<Item = (&mut Node, &mut Node)> {
        let content: &mut [Node] = match self.kind {
            Kind::Mapping => &mut self.content,
            _ => &mut [],
        };
        content.chunks_exact_mut(2).filter_map(|pair| match pair {
            [key, value] => Some((key, value)),
            _ => None,
        })
    }

    /// A sequence's items; empty for other nodes.
    pub fn items(&self) -> &[Node] {
        match self.kind {
            Kind::Sequence => &self.content,
            _ => &[],
        }
    }

    /// A sequence's items, mutable; empty for other nodes.
    pub fn items_mut(&mut self) -> &mut [Node] {
        match self.kind {
            Kind::Sequence => &mut self.content,
            _ => &mut [],
        }
    }

    /// Sets a mapping's entry: replaces the value of an existing key, or appends a new key. Does nothing to other
    /// nodes.
    pub fn set(&mut self, key: &str, value: Node) {
        if self.kind != Kind::Mapping {
            return;
        }
        if let Some(at) = self.position(key) {
            if let Some(slot) = self.content.get_mut(at + 1) {
                *slot = value;
            }
        } else {
            self.content.push(Node::string(key));
            self.content.push(value);
        }
    }

    /// Removes an entry from a mapping; returns its key and value.
    pub fn remove(&mut self, key: &str) -> Option<(Node, Node)> {
        let at = self.position(key)?;
        let mut pair = self.content.drain(at..(at + 2).min(self.content.len()));
        match (pair.next(), pair.next()) {
            (Some(key), Some(value)) => Some((key, value)),
            _ => None,
        }
    }

    /// The comment lines above the node.
    pub fn head_comment(&self) -> &str {
        self.comments.as_ref().map_or("", |c| &c.head)
    }

    /// The comment after the node on its line.
    pub fn line_comment(&self) -> &str {
        self.comments.as_ref().map_or("", |c| &c.line)
    }

    /// The comment lines below the node.
    pub fn foot_comment(&self) -> &str {
        self.comments.as_ref().map_or("", |c| &c.foot)
    }

    /// The node's comments, mutable.
    pub fn comments_mut(&mut self) -> &mut Comments {
        self.comments.get_or_insert_with(Box::default)
    }

    /// Removes the comments of the node and its descendants.
    pub fn clear_comments(&mut self) {
        self.comments = None;
        for child in &mut self.content {
            child.clear_comments();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_set_found_and_removed() {
        let mut map = Node::mapping([(Node::string("a"), Node::int(1))]);
        map.set("b", Node::bool(true));
        map.set("a", Node::int(2));
        assert_eq!(map.get("a").and_then(Node::as_str), Some("2"));
        assert_eq!(map.entries().len(), 2);
        let (key, value) = map.remove("a").unwrap();
        assert_eq!((key.as_string(), value.as_string()), (Some("a"), None));
        assert!(map.get("a").is_none());
        assert!(map.remove("a").is_none());
    }

    #[test]
    fn tags_are_resolved_where_none_is_set() {
        let cases = [
            ("", Style::PLAIN, "12", "!!int"),
            ("", Style::DOUBLE_QUOTED, "12", "!!str"),
            ("!!str", Style::PLAIN, "12", "!!str"),
            ("tag:yaml.org,2002:float", Style::PLAIN, "12", "!!float"),
            ("!", Style::PLAIN, "~", "!!null"),
            ("", Style::PLAIN, "yes", "!!str"),
            // Only a parser makes this a merge key.
            ("", Style::PLAIN, "<<", "!!str"),
        ];
        for (tag, style, value, want) in cases {
            let mut node = Node::scalar(tag, value);
            node.style = style;
            assert_eq!(node.short_tag(), want, "{tag} {value}");
        }
    }
}
