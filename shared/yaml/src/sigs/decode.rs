//! go-yaml v2's decoder into untyped values, and the conversion of their keys to strings.

use std::collections::HashSet;

use crate::alias::{AliasGuard, Aliases};
use crate::binary;
use crate::error::Error;
use crate::go_syntax;
use crate::node::{Kind, Node, Style};
use crate::number;
use crate::resolve::{self, Flavor, Scalar, short_tag};
use crate::scan::MAX_DEPTH;
use crate::value::{Map, Value};

/// Reads a document's root.
pub(super) fn decode(root: &Node, strict: bool) -> Result<Value, Error> {
    let mut decoder = Decoder {
        aliases: Aliases::of(root),
        guard: AliasGuard::default(),
        open: HashSet::new(),
        depth: 0,
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

/// Stands for a key that JSON cannot have until the document is read: a later entry may still replace it, and all
/// other errors come first. No YAML text holds this character.
const BAD_KEY: char = '\u{FFFF}';

/// The outermost key that JSON cannot have.
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

struct Decoder<'n> {
    aliases: Aliases<'n>,
    guard: AliasGuard,
    /// Aliases that are being followed.
    open: HashSet<*const Node>,
    depth: usize,
    strict: bool,
    repeated: Vec<String>,
    /// Whether a key was met that JSON cannot have.
    bad_keys: bool,
}

/// A mapping in the making.
#[derive(Default)]
struct Building {
    map: Map,
    /// Keys as Go tells them apart: 1 and "1" are two.
    typed: HashSet<(u8, String)>,
}

impl<'n> Decoder<'n> {
    fn node(&mut self, node: &Node) -> Result<Value, Error> {
        self.step()?;
        match node.kind {
            Kind::Alias => self.followed(node, Self::node),
            Kind::Scalar => scalar(node),
            Kind::Sequence => self.nested(|decoder| {
                let items = node.content.iter().map(|item| decoder.node(item));
                Ok(Value::Seq(items.collect::<Result<_, _>>()?))
            }),
            Kind::Mapping => self.nested(|decoder| {
                let mut building = Building::default();
                decoder.fill(node, &mut building)?;
                Ok(Value::Map(building.map))
            }),
            Kind::Document => Ok(Value::Null),
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        if self.guard.count() {
            Ok(())
        } else {
            Err(Error::invalid("document contains excessive aliasing"))
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::Limit(format!("exceeded max depth of {MAX_DEPTH}")));
        }
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn followed<T>(
        &mut self,
        alias: &Node,
        read: impl FnOnce(&mut Self, &'n Node) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let id = std::ptr::from_ref(alias);
        let name = &alias.value;
        let Some(target) = self.aliases.target(alias) else {
            return Err(Error::Invalid(format!(
                "unknown anchor '{name}' referenced"
            )));
        };
        if !self.open.insert(id) {
            return Err(Error::Invalid(format!(
                "anchor '{name}' value contains itself"
            )));
        }
        self.guard.enter();
        let result = self.nested(|decoder| read(decoder, target));
        self.guard.leave();
        self.open.remove(&id);
        result
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

    fn insert(&mut self, building: &mut Building, key: Value, value: Value, line: u32) {
        let (kind, name, shown) = match key {
            Value::String(text) => {
                let shown = self.strict.then(|| go_syntax::quote(&text));
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

    /// Merges happen where they stand: what comes later overrides, be it key or merge.
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

    fn merge_one(&mut self, node: &Node, building: &mut Building) -> Result<(), Error> {
        match node.kind {
            Kind::Mapping => {
                self.step()?;
                self.nested(|decoder| decoder.fill(node, building))
            }
            Kind::Alias => {
                if self
                    .aliases
                    .target(node)
                    .is_some_and(|target| target.kind != Kind::Mapping)
                {
                    return Err(want_map());
                }
                self.step()?;
                self.followed(node, |decoder, target| {
                    decoder.step()?;
                    decoder.fill(target, building)
                })
            }
            _ => Err(want_map()),
        }
    }
}

fn want_map() -> Error {
    Error::invalid("map merge requires map or sequence of maps as the value")
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
        return Ok(value_of(resolve::plain(Flavor::V2, text, false), text));
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
            Ok(value_of(resolve::tagged(Flavor::V2, tag, text)?, text))
        }
        _ => Ok(string()),
    }
}

fn value_of(scalar: Scalar, text: &str) -> Value {
    match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Int(int) => Value::Int(int),
        Scalar::Uint(int) => Value::Uint(int),
        Scalar::Float(float) => Value::Float(float),
        // Timestamps stay as they are written.
        Scalar::Timestamp | Scalar::Str => Value::String(text.to_owned()),
    }
}
