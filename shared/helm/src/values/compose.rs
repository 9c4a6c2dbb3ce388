//! The user's values of a HelmRelease: its inline values, and those that it refers to.

use std::collections::HashSet;
use std::sync::Arc;

use flux_budget::{Claim, Exhausted};
use flux_chart::yaml::{self, YamlError};
use flux_chart::{SetError, SharedMap};
use flux_yaml::{Map, Value};

use crate::Values;

/// The key of the values where a reference names none (HC-VAL-005, RT-VAL-002).
pub const DEFAULT_VALUES_KEY: &str = "values.yaml";

/// A reference to values, with what was found. There is no `Debug`: the data may be secret.
#[derive(Clone)]
pub struct ValuesSource {
    /// `ConfigMap` or `Secret`.
    pub kind: String,
    /// The namespace and name of the object, `apps/web`.
    pub object: String,
    /// The key, [`DEFAULT_VALUES_KEY`] by default.
    pub key: String,
    /// The path of the value; the data is a whole table without one.
    pub target_path: Option<String>,
    /// Whether the data is the value at the path as it is (HC-VAL-013).
    pub literal: bool,
    /// Whether the object or the key may be missing (HC-VAL-008).
    pub optional: bool,
    /// What was found.
    pub data: SourceData,
}

/// What was found for a reference.
#[derive(Clone)]
pub enum SourceData {
    /// The data of the key, which references to the same key share.
    Found(Arc<[u8]>),
    /// There is no such object, in the words of the API server.
    NoObject(String),
    /// The object does not have the key.
    NoKey,
}

/// The composed values.
#[derive(Clone, Default)]
pub struct ComposedValues {
    /// The values.
    pub values: Values,
    /// Why optional references were skipped, for the log.
    pub skipped: Vec<String>,
}

/// Why there are no composed values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// A reference cannot be resolved.
    #[error(transparent)]
    Reference(#[from] ValuesReferenceError),
    /// The values do not fit into memory.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// Why a reference cannot be resolved. The text is upstream's (HC-VAL-007), without anything from a Secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not resolve{} {kind} chart values reference '{object}' with key '{key}': {text}", if *.optional { " optional" } else { "" })]
pub struct ValuesReferenceError {
    /// The kind of the object.
    pub kind: String,
    /// The namespace and name of the object.
    pub object: String,
    /// The key.
    pub key: String,
    /// Whether the reference is optional.
    pub optional: bool,
    /// What is wrong.
    pub reason: ValuesReason,
    text: String,
}

/// What is wrong with a reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValuesReason {
    /// There is no such object.
    ObjectNotFound,
    /// The object does not have the key.
    KeyNotFound,
    /// The kind is neither ConfigMap nor Secret.
    UnsupportedKind,
    /// The data is not a YAML mapping.
    Unreadable,
    /// The value cannot be set at the path.
    Unmergeable,
}

/// Merges the values of references in their order, then the inline values (HC-VAL-001..004, RT-VAL-001..005). Before a
/// value is set at a path, the inline values are merged as well, with which the result then shares tables: the value is
/// set in both, and so survives the last merge, unless a table on the path was in an earlier reference, too.
///
/// The memory of what is read and set is taken through `claim`. Even short data may be read to large values, or be set at
/// the end of a long list.
///
/// # Errors
/// The first reference that is missing, not readable, or has a path at which nothing can be set; or the values do not fit
/// into memory.
pub fn compose_values(
    inline: &Values,
    sources: &[ValuesSource],
    claim: &Claim,
) -> Result<ComposedValues, ComposeError> {
    let inline = SharedMap::from(inline.clone());
    let mut result = SharedMap::default();
    let mut skipped = Vec::new();
    let mut missing = HashSet::new();
    for source in sources {
        let data = match found(source, &mut missing) {
            Ok(data) => data,
            Err(Missing::Tolerated(None)) => continue,
            Err(Missing::Tolerated(Some(error))) => {
                skipped.push(error.to_string());
                continue;
            }
            Err(Missing::Fatal(error)) => return Err(error.into()),
        };
        let path = source.target_path.as_deref();
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            result = result.merged(&inline);
            let set = set_at(&result, path, data, source.literal, claim);
            set.map_err(|error| match error {
                SetError::Memory(exhausted) => ComposeError::Memory(exhausted),
                error => {
                    let text = source.shown(error.to_string(), "failed to merge value");
                    source.error(ValuesReason::Unmergeable, text).into()
                }
            })?;
        } else {
            let table = table(data, claim).map_err(|error| {
                if let Some(exhausted) = yaml::exhausted(&error) {
                    return ComposeError::Memory(exhausted);
                }
                let text = match &error {
                    // Only the type is in this text.
                    YamlError::Decode(_) => error.to_string(),
                    _ => source.shown(error.to_string(), "failed to read values data"),
                };
                source.error(ValuesReason::Unreadable, text).into()
            })?;
            result = result.merged(&table.into());
        }
    }
    Ok(ComposedValues {
        values: result.merged(&inline).to_map(),
        skipped,
    })
}

enum Missing {
    /// The reference is optional, with the text for the log if there is one.
    Tolerated(Option<ValuesReferenceError>),
    Fatal(ValuesReferenceError),
}

/// The data of a reference. An object that is missing is looked up once, so that a second reference has no words of the
/// API server (HC-VAL-006). `missing` has the kinds and names of those that were looked up.
fn found<'s>(
    source: &'s ValuesSource,
    missing: &mut HashSet<(&'s str, &'s str)>,
) -> Result<&'s [u8], Missing> {
    use ValuesReason::{KeyNotFound, ObjectNotFound, UnsupportedKind};

    if !matches!(source.kind.as_str(), "ConfigMap" | "Secret") {
        let text = "unsupported values reference kind".to_owned();
        return Err(Missing::Fatal(source.error(UnsupportedKind, text)));
    }
    let error = match &source.data {
        SourceData::Found(data) => return Ok(data),
        SourceData::NoObject(_) if !missing.insert((&*source.kind, &*source.object)) => {
            if source.optional {
                return Err(Missing::Tolerated(None));
            }
            source.error(ObjectNotFound, "resource not found".to_owned())
        }
        SourceData::NoObject(text) => source.error(ObjectNotFound, text.clone()),
        SourceData::NoKey => source.error(KeyNotFound, "key not found".to_owned()),
    };
    Err(if source.optional {
        Missing::Tolerated(Some(error))
    } else {
        Missing::Fatal(error)
    })
}

impl ValuesSource {
    fn error(&self, reason: ValuesReason, text: String) -> ValuesReferenceError {
        ValuesReferenceError {
            kind: self.kind.clone(),
            object: self.object.clone(),
            key: self.key.clone(),
            optional: self.optional,
            reason,
            text,
        }
    }

    /// The text, or for a Secret, of which it may quote a part, another one.
    fn shown(&self, text: String, instead: &str) -> String {
        if self.kind == "Secret" {
            instead.to_owned()
        } else {
            text
        }
    }
}

/// The table in the first YAML document (HC-VAL-009, RT-VAL-004).
fn table(data: &[u8], claim: &Claim) -> Result<Map, YamlError> {
    let before = claim.held();
    let mut value = yaml::value_within(data, claim)?;
    // Merging needs a form of its own, and ends in a copy.
    let read = claim.held().saturating_sub(before);
    claim
        .take(2 * read)
        .map_err(|exhausted| YamlError::Convert(flux_yaml::Error::Memory(exhausted)))?;
    value.floats_only();
    match value {
        Value::Map(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(YamlError::Decode(format!(
            "cannot unmarshal {} into Go value of type common.Values",
            yaml::json_kind(&other)
        ))),
    }
}

/// Sets the data at a path: as `--set` does, as text if it is quoted, or verbatim (HC-VAL-010..013, RT-VAL-003).
fn set_at(
    values: &SharedMap,
    path: &str,
    data: &[u8],
    literal: bool,
    claim: &Claim,
) -> Result<(), SetError> {
    let data = text_of(data);
    if literal {
        return values.set_string(&format!("{path}={}", escaped(&data)), claim);
    }
    let quoted = |quote| data.starts_with(quote) && data.ends_with(quote);
    if quoted('\'') || quoted('"') {
        let text = data.trim_matches(['\'', '"']);
        return values.set_string(&format!("{path}={text}"), claim);
    }
    values.set(&format!("{path}={data}"), claim)
}

/// The characters of the data as Go reads them: each byte that is not UTF-8 is one replacement character.
fn text_of(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len());
    for chunk in data.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    text
}

/// The text with a backslash before each character that `--set` interprets.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | ',' | '[' | ']' | '{' | '}') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
