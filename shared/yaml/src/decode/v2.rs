//! go-yaml v2's decoder into untyped values, and the conversion of their keys to strings.

use std::collections::HashSet;

use flux_budget::Claim;
use flux_golang::strconv::quote;

use super::{Decoder, Progress, want_map};
use crate::error::Error;
use crate::node::{Kind, Node, Style};
use crate::resolve::{self, Flavor, Scalar, short_tag};
use crate::value::{Map, Value};
use crate::{binary, go_syntax, number};

/// Decodes a document's root.
pub(crate) fn decode<'n>(
    root: &'n Node,
    strict: bool,
    claim: Option<&'n Claim>,
) -> Result<Value, Error> {
    let mut decoder = V2 {
        progress: Progress::new(root, claim),
        strict,
        repeated: Vec::new(),
        bad_keys: false,
    };
    let value = decoder.node(root)?;
    if !decoder.repeated.is_empty() {
        return Err(Error::Unmarshal(decoder.repeated));
    }
    match find_bad_key(&value).filter(|_| decoder.bad_keys) {
        Some(error) => Err(error),
        None => Ok(value),
    }
}

/// Placeholder for a key that JSON cannot represent, until the document is read: a later entry may still replace it,
/// and all other errors take precedence. No YAML text contains this character.
const BAD_KEY: char = '\u{FFFF}';

/// The outermost key that JSON cannot represent.
fn find_bad_key(value: &Value) -> Option<Error> {
    match value {
        Value::Map(map) => map
            .iter()
            .find_map(|(key, value)| {
                let shown = key.strip_prefix(BAD_KEY)?;
                let value = match value {
                    Value::Null => "<nil>".to_owned(),
                    value => go_syntax::value(value),
                };
                Some(Error::Json(format!(
                    "unsupported map key of type: {shown}, value: {value}"
                )))
            })
            .or_else(|| map.values().find_map(find_bad_key)),
        Value::Seq(items) => items.iter().find_map(find_bad_key),
        _ => None,
    }
}

struct V2<'n> {
    progress: Progress<'n>,
    strict: bool,
    repeated: Vec<String>,
    /// Whether there was a key that JSON cannot represent.
    bad_keys: bool,
}

/// A mapping under construction.
#[derive(Default)]
struct Building {
    map: Map,
    /// Keys as Go distinguishes them: 1 and "1" differ.
    typed: HashSet<(u8, String)>,
}

impl<'n> Decoder<'n> for V2<'n> {
    type Building = Building;

    fn progress(&mut self) -> &mut Progress<'n> {
        &mut self.progress
    }

    fn scalar(&mut self, node: &Node) -> Result<Value, Error> {
        scalar(node)
    }

    fn mapping(&mut self, node: &Node) -> Result<Value, Error> {
        let mut building = Building::default();
        self.fill(node, &mut building)?;
        Ok(Value::Map(building.map))
    }

    fn fill(&mut self, node: &Node, building: &mut Building) -> Result<(), Error> {
        for (key, value) in node.entries() {
            if is_merge(key) {
                self.merge(value, building)?;
                continue;
            }
            let key = self.node(key)?;
            if matches!(key, Value::Seq(_) | Value::Map(_)) {
                return Err(Error::Invalid(format!(
                    "invalid map key: {}",
                    go_syntax::value(&key)
                )));
            }
            let line = value.line;
            let value = self.node(value)?;
            self.insert(building, key, value, line);
        }
        Ok(())
    }
}

impl V2<'_> {
    fn insert(&mut self, building: &mut Building, key: Value, value: Value, line: u32) {
        let (kind, name, shown) = match key {
            Value::String(text) => {
                let shown = self.strict.then(|| quote(&text));
                (0, text, shown)
            }
            Value::Int(int) => (1, int.to_string(), None),
            Value::Bool(value) => (2, value.to_string(), None),
            Value::Float(float) => (
                3,
                number::format_yaml_key(float),
                Some(go_syntax::float_text(float)),
            ),
            Value::Uint(int) => {
                let shown = format!("{int:#x}");
                self.bad_keys = true;
                (4, format!("{BAD_KEY}uint64, key: {shown}"), Some(shown))
            }
            Value::Null | Value::Seq(_) | Value::Map(_) => {
                self.bad_keys = true;
                let key = format!("{BAD_KEY}%!s(<nil>), key: <nil>");
                (5, key, Some("<nil>".to_owned()))
            }
        };
        if self.strict {
            let shown = shown.unwrap_or_else(|| name.clone());
            if !building.typed.insert((
                kind,
                if kind == 3 {
                    shown.clone()
                } else {
                    name.clone()
                },
            )) {
                self.repeated
                    .push(format!("line {line}: key {shown} already set in map"));
                return;
            }
        }
        building.map.insert(name, value);
    }

    /// Merges take effect in document order: later entries override, whether keys or merges.
    fn merge(&mut self, node: &Node, building: &mut Building) -> Result<(), Error> {
        match node.kind {
            Kind::Mapping | Kind::Alias => self.merge_one(node, building),
            Kind::Sequence => node
                .content
                .iter()
                .rev()
                .try_for_each(|item| self.merge_one(item, building)),
            _ => Err(want_map()),
        }
    }
}

fn is_implicit(node: &Node) -> bool {
    node.tag == "!" || node.tag.is_empty() && !node.style.has(Style::QUOTED)
}

fn is_merge(node: &Node) -> bool {
    node.kind == Kind::Scalar
        && node.value == "<<"
        && (is_implicit(node) || short_tag(&node.tag) == resolve::MERGE)
}

fn scalar(node: &Node) -> Result<Value, Error> {
    let text = &node.value;
    let string = || Value::String(text.clone());
    if node.tag.is_empty() {
        if node.style.has(Style::QUOTED) {
            return Ok(string());
        }
        let scalar = resolve::plain(Flavor::V2, text, false);
        return Ok(value_of(scalar).unwrap_or_else(string));
    }
    let tag = short_tag(&node.tag);
    match tag.as_ref() {
        resolve::BINARY => match binary::decode(text) {
            Some(bytes) => Ok(Value::String(binary::to_text(bytes))),
            None => Err(Error::invalid(
                "!!binary value contains invalid base64 data",
            )),
        },
        tag if resolve::is_resolvable(tag) => {
            let scalar = resolve::tagged(Flavor::V2, tag, text)?;
            Ok(value_of(scalar).unwrap_or_else(string))
        }
        _ => Ok(string()),
    }
}

/// A scalar's value; `None` if it is the text itself. Timestamps stay as written.
pub(super) fn value_of(scalar: Scalar) -> Option<Value> {
    Some(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Int(int) => Value::Int(int),
        Scalar::Uint(int) => Value::Uint(int),
        Scalar::Float(float) => Value::Float(float),
        Scalar::Timestamp | Scalar::Str => return None,
    })
}
