//! Reading and writing as yaml.v3 does (`go.yaml.in/yaml/v3`), on which kustomize's kyaml stands.

use flux_budget::Claim;

use crate::compose::Composer;
use crate::emit::Layout;
use crate::encode::{self, Floats, KeyOrder};
use crate::error::Error;
use crate::node::Node;
use crate::resolve::{self, Flavor};
use crate::source::Source;
use crate::value::Value;
use crate::{decode, expand};

/// Reads the first document of a stream, as `yaml.Unmarshal` into a `Node` does: what follows it is not looked at,
/// and a stream with no document gives `None`.
///
/// # Errors
/// [`Error::Syntax`] in yaml.v3's words, [`Error::Invalid`] for an alias of an unknown anchor, [`Error::Limit`].
pub fn parse(text: impl AsRef<[u8]>) -> Result<Option<Node>, Error> {
    let source = Source::new(text.as_ref())?;
    Composer::new(&source, Flavor::V3).next_document()
}

/// As [`parse`], with the memory of the tree claimed.
///
/// # Errors
/// As [`parse`], and [`Error::Memory`].
pub fn parse_within(text: impl AsRef<[u8]>, claim: &Claim) -> Result<Option<Node>, Error> {
    let source = Source::new(text.as_ref())?;
    Composer::new(&source, Flavor::V3)
        .within(Some(claim))
        .next_document()
}

/// Reads every document of a stream, as a `yaml.Decoder` does.
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

/// The value of a node: what `yaml.Unmarshal` into an `interface{}` makes of it, once more through JSON. Numbers come as
/// [`sigs::from_str`](crate::sigs::from_str) gives them, timestamps as RFC 3339 text.
///
/// # Errors
/// [`Error::Unmarshal`] with all repeated keys; [`Error::Invalid`] for aliases, merges and tags that mean nothing;
/// [`Error::Json`] for mappings with keys other than strings, which `encoding/json` refuses, and for `.nan` and `.inf`.
pub fn to_value(node: &Node) -> Result<Value, Error> {
    decode::v3::to_value(node)
}

/// The short tag that an untagged plain scalar of this text has: `!!int` for `12`, `!!str` for `yes`.
pub fn plain_tag(text: &str) -> &'static str {
    resolve::plain_tag_v3(text)
}

/// Puts copies in the place of aliases, merges `<<` entries into their mappings and drops anchors, as kyaml's `DeAnchor`
/// does; `max_nodes` bounds what may become of the document, and copies are nested no deeper than what is read.
///
/// # Errors
/// [`Error::Invalid`] in kyaml's words for merges of what is no mapping; [`Error::Limit`].
pub fn expand(root: Node, max_nodes: usize) -> Result<Node, Error> {
    expand::expand(root, max_nodes, None)
}

/// As [`expand`], with the memory of all copies claimed.
///
/// # Errors
/// As [`expand`], and [`Error::Memory`].
pub fn expand_within(root: Node, max_nodes: usize, claim: &Claim) -> Result<Node, Error> {
    expand::expand(root, max_nodes, Some(claim))
}

/// How an encoder lays documents out. The default is that of `yaml.Marshal`: four columns a level, sequences indented.
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
    /// The layout of kyaml, and so of kustomize: two columns, sequences at their parent's column (`CompactSeqIndent`).
    pub fn kyaml() -> Encoder {
        Encoder {
            indent: 2,
            compact: true,
        }
    }

    /// `SetIndent`: columns a level; libyaml takes 2 to 9 and makes 2 of anything else.
    #[must_use]
    pub fn indent(mut self, columns: u8) -> Encoder {
        self.indent = columns;
        self
    }

    /// `CompactSeqIndent` or `DefaultSeqIndent`: whether `- ` stands two columns further out.
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
    /// [`Error::Invalid`] for anchors of other than letters, digits, `-` and `_`; [`Error::Limit`] for what is nested deeper
    /// than JSON that is read.
    pub fn to_string(self, node: &Node) -> Result<String, Error> {
        encode::nodes([node], self.layout())
    }

    /// Writes nodes or documents one after the other, set apart by `---`.
    ///
    /// # Errors
    /// As [`to_string`](Encoder::to_string).
    pub fn stream<'n>(self, nodes: impl IntoIterator<Item = &'n Node>) -> Result<String, Error> {
        encode::nodes(nodes, self.layout())
    }

    /// Writes a value as `yaml.Marshal` writes a Go map: keys in natural order (HE-YAML-021).
    ///
    /// # Errors
    /// [`Error::Limit`] for what is nested deeper than JSON that is read.
    pub fn value(self, value: &Value) -> Result<String, Error> {
        encode::value(value, self.layout(), KeyOrder::Natural, Floats::Kept)
    }
}
