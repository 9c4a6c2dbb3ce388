//! yaml.v3's decoder into untyped values, followed by `encoding/json`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use flux_golang::strconv::quote;

use super::{Decoder, Progress, want_map};
use crate::error::Error;
use crate::node::{Kind, Node};
use crate::resolve::{self, Flavor, Scalar, short_tag};
use crate::value::{Map, Value};
use crate::{binary, go_syntax, json, timestamp};

pub(crate) fn to_value(node: &Node) -> Result<Value, Error> {
    let mut decoder = V3 {
        progress: Progress::new(node, None),
        problems: Vec::new(),
        general_map: false,
    };
    let mut value = match node.root() {
        Some(root) => decoder.node(root)?,
        None => Value::Null,
    };
    if !decoder.problems.is_empty() {
        return Err(Error::Unmarshal(decoder.problems));
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

struct V3<'n> {
    progress: Progress<'n>,
    /// Values that cannot be decoded; reading continues.
    problems: Vec<String>,
    /// Whether a mapping has keys that are not strings.
    general_map: bool,
}

/// The approximate limit on reported repeated keys: one key repeated a thousand times makes half a million pairs.
const MAX_PROBLEMS: usize = 1000;

/// A mapping under construction.
struct Target {
    map: Map,
    /// Whether Go decodes it into a map of strings, which accepts any scalar key as text.
    strings: bool,
    /// Whether entries come from a merge.
    merging: bool,
}

impl<'n> Decoder<'n> for V3<'n> {
    type Building = Target;

    fn progress(&mut self) -> &mut Progress<'n> {
        &mut self.progress
    }

    fn scalar(&mut self, node: &Node) -> Result<Value, Error> {
        scalar(node)
    }

    fn mapping(&mut self, node: &Node) -> Result<Value, Error> {
        let strings = self.has_only_strings(node);
        // Continue regardless: errors of the document take precedence over those of JSON.
        self.general_map |= !strings;
        let mut target = Target {
            map: Map::new(),
            strings,
            merging: false,
        };
        self.fill(node, &mut target)?;
        Ok(Value::Map(target.map))
    }

    /// Adds the entries of a mapping that are not in the target yet: its own, then those it merges.
    fn fill(&mut self, node: &Node, target: &mut Target) -> Result<(), Error> {
        if self.find_repeated(node) {
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
            // A mapping that merges has a key `<<`, so the key `<<` of merged mappings is never taken.
            if target.map.contains_key(&key) || target.merging && key == "<<" {
                continue;
            }
            let value = self.node(value)?;
            target.map.insert(key, value);
        }
        match merged {
            Some(merged) => {
                if !target.merging {
                    // Upstream reads the keys twice, and reports their problems twice.
                    for (key, _) in node.entries().filter(|(key, _)| !key.is_scalar()) {
                        self.node(key)?;
                    }
                }
                let merging = std::mem::replace(&mut target.merging, true);
                let result = self.merge(merged, target);
                target.merging = merging;
                result
            }
            None => Ok(()),
        }
    }
}

impl V3<'_> {
    /// A key as text; `None` for a null key where a text is required.
    fn key(&mut self, node: &Node, strings: bool) -> Result<Option<String>, Error> {
        let found = self.progress.aliases.target(node).unwrap_or(node);
        if matches!(found.kind, Kind::Mapping | Kind::Sequence) && strings {
            if !self.find_repeated(found) {
                let tag = short_tag(&found.tag);
                let text = match tag.as_ref() {
                    resolve::MAP | resolve::SEQ => "",
                    _ => " ``",
                };
                let line = found.line;
                self.problems.push(format!(
                    "line {line}: cannot unmarshal {tag}{text} into string"
                ));
            }
            return Ok(None);
        }
        let key = self.node(node)?;
        Ok(match key {
            Value::String(text) => Some(text),
            // A mapping with repeated keys counts as unreadable, and the entry as absent.
            Value::Map(_) if self.repeats_keys(node) => None,
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

    fn repeats_keys(&self, node: &Node) -> bool {
        let node = self.progress.aliases.target(node).unwrap_or(node);
        let mut seen = HashSet::with_capacity(node.entries().len());
        !node
            .entries()
            .all(|(key, _)| seen.insert((key.kind, key.value.as_str())))
    }

    fn has_only_strings(&self, node: &Node) -> bool {
        node.entries().all(|(key, _)| {
            let key = self.progress.aliases.target(key).unwrap_or(key);
            matches!(key.short_tag().as_ref(), resolve::STR | resolve::MERGE)
        })
    }

    /// Records the keys that a mapping repeats. Returns whether there are any.
    fn find_repeated(&mut self, node: &Node) -> bool {
        let mut lines: HashMap<(Kind, &str), Vec<u32>> = HashMap::new();
        for (key, _) in node.entries() {
            let lines = lines.entry((key.kind, &key.value)).or_default();
            lines.push(key.line);
        }
        if lines.len() == node.entries().len() {
            return false;
        }
        // One message for each pair, ordered by its first key.
        let mut seen: HashMap<(Kind, &str), usize> = HashMap::new();
        for (key, _) in node.entries() {
            let id = (key.kind, key.value.as_str());
            let nth = seen.entry(id).or_default();
            *nth += 1;
            if self.problems.len() >= MAX_PROBLEMS {
                break;
            }
            for line in lines
                .get(&id)
                .into_iter()
                .flatten()
                .skip(*nth)
                .take(MAX_PROBLEMS)
            {
                self.problems.push(format!(
                    "line {line}: mapping key {} already defined at line {}",
                    quote(&key.value),
                    key.line
                ));
            }
        }
        true
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
