//! yaml.v3's decoder into untyped values, and `encoding/json` behind it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::alias::{AliasGuard, Aliases};
use crate::binary;
use crate::error::Error;
use crate::go_syntax;
use crate::json;
use crate::node::{Kind, Node};
use crate::resolve::{self, Flavor, Scalar, short_tag};
use crate::scan::MAX_DEPTH;
use crate::timestamp;
use crate::value::{Map, Value};

pub(crate) fn to_value(node: &Node) -> Result<Value, Error> {
    let mut decoder = Decoder {
        aliases: Aliases::of(node),
        guard: AliasGuard::default(),
        open: HashSet::new(),
        depth: 0,
        repeated: Vec::new(),
        general_map: false,
    };
    let mut value = match node.root() {
        Some(root) => decoder.node(root)?,
        None => Value::Null,
    };
    if !decoder.repeated.is_empty() {
        return Err(Error::Unmarshal(decoder.repeated));
    }
    if decoder.general_map {
        return Err(Error::Json(
            "json: unsupported type: map[interface {}]interface {}".to_owned(),
        ));
    }
    if json::normalize(&mut value).is_err() {
        value.sort_keys();
        json::normalize(&mut value)?;
    }
    Ok(value)
}

struct Decoder<'n> {
    aliases: Aliases<'n>,
    guard: AliasGuard,
    /// Aliases that are being followed.
    open: HashSet<*const Node>,
    depth: usize,
    repeated: Vec<String>,
    /// Whether a mapping has keys that are not strings.
    general_map: bool,
}

/// A mapping in the making.
struct Target {
    map: Map,
    /// Whether Go makes it a map of strings, which takes any scalar key as text.
    strings: bool,
    /// Whether entries come from a merge.
    merging: bool,
}

impl<'n> Decoder<'n> {
    fn step(&mut self) -> Result<(), Error> {
        if self.guard.count() {
            Ok(())
        } else {
            Err(Error::invalid("document contains excessive aliasing"))
        }
    }

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
                let strings = decoder.has_only_strings(node);
                // Read on all the same: errors of the document come before those of JSON.
                decoder.general_map |= !strings;
                let mut target = Target {
                    map: Map::new(),
                    strings,
                    merging: false,
                };
                decoder.fill(node, &mut target)?;
                Ok(Value::Map(target.map))
            }),
            Kind::Document => match node.content.first() {
                Some(root) => self.nested(|decoder| decoder.node(root)),
                None => Ok(Value::Null),
            },
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
        let name = &alias.value;
        let Some(target) = self.aliases.target(alias) else {
            return Err(Error::Invalid(format!(
                "unknown anchor '{name}' referenced"
            )));
        };
        let id = std::ptr::from_ref(alias);
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

    /// Adds a mapping's entries that are not there yet: its own, then those it merges.
    fn fill(&mut self, node: &Node, target: &mut Target) -> Result<(), Error> {
        let before = self.repeated.len();
        self.find_repeated(node);
        if self.repeated.len() > before {
            return Ok(());
        }
        let mut merged = None;
        for (key, value) in node.entries() {
            if is_merge(key) {
                merged = Some(value);
                continue;
            }
            let Some(key) = self.key(key, target.strings)? else {
                continue;
            };
            // A mapping that merges has a key `<<`, so that none of what it merges is taken.
            if target.map.contains_key(&key) || target.merging && key == "<<" {
                continue;
            }
            let value = self.node(value)?;
            target.map.insert(key, value);
        }
        match merged {
            Some(merged) => {
                let merging = std::mem::replace(&mut target.merging, true);
                let result = self.merge(merged, target);
                target.merging = merging;
                result
            }
            None => Ok(()),
        }
    }

    /// A key as text; `None` for a null key where text is wanted.
    fn key(&mut self, node: &Node, strings: bool) -> Result<Option<String>, Error> {
        let key = self.node(node)?;
        Ok(match key {
            Value::String(text) => Some(text),
            Value::Seq(_) | Value::Map(_) => {
                return Err(Error::Invalid(format!(
                    "invalid map key: {}",
                    go_syntax::value(&key)
                )));
            }
            Value::Null if strings => None,
            _ if strings => Some(node.value.clone()),
            other => Some(go_syntax::value(&other)),
        })
    }

    fn has_only_strings(&self, node: &Node) -> bool {
        node.entries().all(|(key, _)| {
            let key = self.aliases.target(key).unwrap_or(key);
            matches!(key.short_tag().as_ref(), resolve::STR | resolve::MERGE)
        })
    }

    fn find_repeated(&mut self, node: &Node) {
        let mut lines: HashMap<(Kind, &str), Vec<u32>> = HashMap::new();
        for (key, _) in node.entries() {
            let lines = lines.entry((key.kind, &key.value)).or_default();
            lines.push(key.line);
        }
        if lines.len() == node.entries().len() {
            return;
        }
        // One message for each pair, by the first of it.
        let mut seen: HashMap<(Kind, &str), usize> = HashMap::new();
        for (key, _) in node.entries() {
            let id = (key.kind, key.value.as_str());
            let nth = seen.entry(id).or_default();
            *nth += 1;
            for line in lines.get(&id).into_iter().flatten().skip(*nth) {
                self.repeated.push(format!(
                    "line {line}: mapping key {} already defined at line {}",
                    go_syntax::quote(&key.value),
                    key.line
                ));
            }
        }
    }

    fn merge(&mut self, node: &Node, target: &mut Target) -> Result<(), Error> {
        match node.kind {
            Kind::Mapping | Kind::Alias => self.merge_one(node, target),
            Kind::Sequence => node
                .content
                .iter()
                .try_for_each(|item| self.merge_one(item, target)),
            _ => Err(want_map()),
        }
    }

    fn merge_one(&mut self, node: &Node, target: &mut Target) -> Result<(), Error> {
        match node.kind {
            Kind::Mapping => {
                self.step()?;
                self.nested(|decoder| decoder.fill(node, target))
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
                self.followed(node, |decoder, source| {
                    decoder.step()?;
                    decoder.fill(source, target)
                })
            }
            _ => Err(want_map()),
        }
    }
}

fn want_map() -> Error {
    Error::invalid("map merge requires map or sequence of maps as the value")
}

fn is_merge(node: &Node) -> bool {
    node.kind == Kind::Scalar
        && node.value == "<<"
        && (node.tag.is_empty() || node.tag == "!" || short_tag(&node.tag) == resolve::MERGE)
}

fn scalar(node: &Node) -> Result<Value, Error> {
    let text = &node.value;
    if node.is_indicated_string() {
        return Ok(Value::String(text.clone()));
    }
    let tag: Cow<'_, str> = short_tag(&node.tag);
    let scalar = match tag.as_ref() {
        "" => resolve::plain(Flavor::V3, text, true),
        resolve::BINARY => {
            return match binary::decode(text) {
                Some(bytes) => Ok(Value::String(binary::to_text(bytes))),
                None => Err(Error::invalid(
                    "!!binary value contains invalid base64 data",
                )),
            };
        }
        tag if resolve::is_resolvable(tag) => resolve::tagged(Flavor::V3, tag, text)?,
        _ => Scalar::Str,
    };
    Ok(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Int(int) => Value::Int(int),
        Scalar::Uint(int) => Value::Uint(int),
        Scalar::Float(float) => Value::Float(float),
        Scalar::Timestamp => Value::String(
            timestamp::parse(text).map_or_else(|| text.clone(), |stamp| stamp.rfc3339()),
        ),
        Scalar::Str => Value::String(text.clone()),
    })
}
