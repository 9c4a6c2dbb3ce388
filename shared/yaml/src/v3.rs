//! Reads and writes YAML as yaml.v3 does (`go.yaml.in/yaml/v3`), the base of kustomize's kyaml.

use std::collections::HashMap;

use flux_budget::Claim;

use crate::compose::Composer;
use crate::emit::Layout;
use crate::encode::{self, Floats, KeyOrder};
use crate::error::Error;
use crate::node::Node;
use crate::resolve::{self, Flavor};
use crate::source::Source;
use crate::value::{Map, Value};
use crate::{decode, expand, natural};

/// Parses the first document of a stream, as `yaml.Unmarshal` into a `Node` does: the rest is ignored, and a stream
/// without document gives `None`.
///
/// # Errors
/// [`Error::Syntax`] with yaml.v3's text, [`Error::Invalid`] for an alias of an unknown anchor, [`Error::Limit`].
pub fn parse(text: impl AsRef<[u8]>) -> Result<Option<Node>, Error> {
    let source = Source::new(text.as_ref())?;
    Composer::new(&source, Flavor::V3).next_document()
}

/// As [`parse`], and claims the memory of the tree.
///
/// # Errors
/// As [`parse`], and [`Error::Memory`].
pub fn parse_within(text: impl AsRef<[u8]>, claim: &Claim) -> Result<Option<Node>, Error> {
    let source = Source::new(text.as_ref())?;
    Composer::new(&source, Flavor::V3)
        .within(Some(claim))
        .next_document()
}

/// Parses every document of a stream, as a `yaml.Decoder` does.
///
/// # Errors
/// As [`parse`].
pub fn parse_all(text: impl AsRef<[u8]>) -> Result<Vec<Node>, Error> {
    let source = Source::new(text.as_ref())?;
    let mut composer = Composer::new(&source, Flavor::V3);
    let mut documents = Vec::new();
    while let Some(document) = composer.next_document()? {
        documents.push(document);
    }
    Ok(documents)
}

/// Writes a node as kyaml's `RNode.String` does: two columns, sequences at their parent's column.
///
/// # Errors
/// As [`Encoder::to_string`].
pub fn to_string(node: &Node) -> Result<String, Error> {
    Encoder::kyaml().to_string(node)
}

/// The value of a node: what `yaml.Unmarshal` decodes into an `interface{}`, converted through JSON. Numbers are as in
/// [`sigs::from_str`](crate::sigs::from_str), timestamps are RFC 3339 text.
///
/// # Errors
/// [`Error::Unmarshal`] with all repeated keys; [`Error::Invalid`] for invalid aliases, merges and tags;
/// [`Error::Json`] for mappings with keys other than strings, which `encoding/json` rejects, and for `.nan` and `.inf`.
pub fn to_value(node: &Node) -> Result<Value, Error> {
    decode::v3::to_value(node)
}

/// The short tag of an untagged plain scalar of this text: `!!int` for `12`, `!!str` for `yes`.
pub fn plain_tag(text: &str) -> &'static str {
    resolve::plain_tag_v3(text)
}

/// Replaces aliases by copies, merges `<<` entries into their mappings and removes anchors, as kyaml's `DeAnchor` does.
/// `max_nodes` limits the size of the result; its nesting is limited as in reading.
///
/// # Errors
/// [`Error::Invalid`] with kyaml's text for merges of what is not a mapping; [`Error::Limit`].
pub fn expand(root: Node, max_nodes: usize) -> Result<Node, Error> {
    expand::expand(root, max_nodes, None)
}

/// As [`expand`], and claims the memory of all copies.
///
/// # Errors
/// As [`expand`], and [`Error::Memory`].
pub fn expand_within(root: Node, max_nodes: usize, claim: &Claim) -> Result<Node, Error> {
    expand::expand(root, max_nodes, Some(claim))
}

/// A mapping with its own keys, not those below them, in the order in which `yaml.Marshal` writes a Go map (HE-YAML-021).
#[must_use]
pub fn sorted_keys(map: Map) -> Map {
    let mut keys: Vec<&str> = map.keys().map(String::as_str).collect();
    natural::sort_by_key(&mut keys, |key| key, Flavor::V3);
    let order: HashMap<&str, usize> = keys.into_iter().zip(0..).collect();
    let places: Vec<usize> = map.keys().map(|key| order[key.as_str()]).collect();
    let mut entries: Vec<_> = places.into_iter().zip(map).collect();
    entries.sort_by_key(|(place, _)| *place);
    entries.into_iter().map(|(_, entry)| entry).collect()
}

/// The layout of an encoder. The default is that of `yaml.Marshal`: four columns per level, sequences indented.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    indent: u8,
    compact: bool,
}

impl Default for Encoder {
    fn default() -> Self {
        Encoder {
            indent: 4,
            compact: false,
        }
    }
}

impl Encoder {
    /// The layout of kyaml and kustomize: two columns, sequences at their parent's column (`CompactSeqIndent`).
    pub fn kyaml() -> Encoder {
        Encoder {
            indent: 2,
            compact: true,
        }
    }

    /// `SetIndent`: columns per level; libyaml accepts 2 to 9 and uses 2 for anything else.
    #[must_use]
    pub fn indent(mut self, columns: u8) -> Encoder {
        self.indent = columns;
        self
    }

    /// `CompactSeqIndent` or `DefaultSeqIndent`: whether `- ` is outdented by two columns.
    #[must_use]
    pub fn compact_sequences(mut self, compact: bool) -> Encoder {
        self.compact = compact;
        self
    }

    fn layout(self) -> Layout {
        Layout {
            flavor: Flavor::V3,
            indent: match self.indent {
                columns @ 2..=9 => i32::from(columns),
                0 => 4,
                _ => 2,
            },
            width: i32::MAX,
            compact: self.compact,
        }
    }

    /// Writes one node or document, comments included.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anchors with other characters than letters, digits, `-` and `_`; [`Error::Limit`] for
    /// nesting deeper than JSON reading permits.
    pub fn to_string(self, node: &Node) -> Result<String, Error> {
        encode::nodes([node], self.layout())
    }

    /// Writes nodes or documents one by one, separated by `---`.
    ///
    /// # Errors
    /// As [`to_string`](Encoder::to_string).
    pub fn stream<'n>(self, nodes: impl IntoIterator<Item = &'n Node>) -> Result<String, Error> {
        encode::nodes(nodes, self.layout())
    }

    /// Writes a value as `yaml.Marshal` writes a Go map: keys in natural order (HE-YAML-021).
    ///
    /// # Errors
    /// [`Error::Limit`] for nesting deeper than JSON reading permits.
    pub fn value(self, value: &Value) -> Result<String, Error> {
        encode::value(value, self.layout(), KeyOrder::Natural, Floats::Kept)
    }

    /// As [`value`](Encoder::value), but with the keys in the order that they have: `yaml.Marshal` keeps the fields of Go
    /// structs in the order of their declaration. [`sorted_keys`] gives a Go map's order.
    ///
    /// # Errors
    /// [`Error::Limit`] for nesting deeper than JSON reading permits.
    pub fn value_in_order(self, value: &Value) -> Result<String, Error> {
        encode::value(value, self.layout(), KeyOrder::Kept, Floats::Kept)
    }
}
