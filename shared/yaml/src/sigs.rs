//! Reads and writes YAML as `sigs.k8s.io/yaml` v1.6 on go-yaml v2 does, as Kubernetes' tools and Helm use it.

mod flat;
mod skim;

use flux_budget::Claim;

use crate::compose::Composer;
use crate::decode::{direct, v2};
use crate::emit::Layout;
use crate::encode::{self, Floats, KeyOrder};
use crate::error::Error;
use crate::json;
use crate::resolve::Flavor;
use crate::source::Source;
use crate::value::Value;

/// `yaml.Unmarshal`: the first document, converted to JSON; the last value of a repeated key counts (HE-YAML-016).
///
/// Whole numbers are [`Value::Int`], or [`Value::Uint`] beyond `i64`, including 1.0 and 1e3, since JSON makes no
/// difference; call [`Value::floats_only`] for what Go decodes into an `interface{}`, [`Value::kubernetes_numbers`] for
/// what Kubernetes decodes into unstructured objects. Keys keep the order of their first occurrence.
///
/// # Errors
/// [`Error::Convert`] around the error of [`yaml_to_json`].
pub fn from_str(text: impl AsRef<[u8]>) -> Result<Value, Error> {
    yaml_to_json(text).map_err(|error| Error::Convert(Box::new(error)))
}

/// As [`from_str`], and claims the memory of the value.
///
/// # Errors
/// As [`from_str`], and [`Error::Memory`] within [`Error::Convert`].
pub fn from_str_within(text: impl AsRef<[u8]>, claim: &Claim) -> Result<Value, Error> {
    yaml_to_json_within(text, claim).map_err(|error| Error::Convert(Box::new(error)))
}

/// As [`from_str`], but floats stay floats, even whole ones: for numbers that become text in a field of type string
/// (1e7 is `1e+07` there, not `10000000`).
///
/// # Errors
/// As [`from_str`].
pub fn from_str_as_written(text: impl AsRef<[u8]>) -> Result<Value, Error> {
    as_written(text.as_ref(), false, None)
}

/// As [`from_str`], for callers that need only some keys of the outermost mapping: all of the text is checked with the
/// same errors, but the result may or may not contain keys that are not `wanted`. Several times as fast on plain
/// manifests.
///
/// # Errors
/// As [`from_str`].
pub fn from_str_only(
    text: impl AsRef<[u8]>,
    wanted: impl Fn(&str) -> bool,
) -> Result<Value, Error> {
    match skim::sections(text.as_ref(), wanted) {
        // Read the full text, so that an error has the right position.
        Some(sections) => match flat::decode(&sections) {
            Some(value) => Ok(value),
            None => from_str(sections).or_else(|_| from_str(text)),
        },
        None => from_str(text),
    }
}

/// `yaml.UnmarshalStrict`: as [`from_str`], but a repeated key is an error.
///
/// # Errors
/// [`Error::Convert`] around the error of [`yaml_to_json_strict`].
pub fn from_str_strict(text: impl AsRef<[u8]>) -> Result<Value, Error> {
    yaml_to_json_strict(text).map_err(|error| Error::Convert(Box::new(error)))
}

/// As [`from_str_strict`], and claims the memory of the value.
///
/// # Errors
/// As [`from_str_strict`], and [`Error::Memory`] within [`Error::Convert`].
pub fn from_str_strict_within(text: impl AsRef<[u8]>, claim: &Claim) -> Result<Value, Error> {
    convert(text.as_ref(), true, Some(claim)).map_err(|error| Error::Convert(Box::new(error)))
}

/// As [`from_str_strict_within`], with floats as in [`from_str_as_written`].
///
/// # Errors
/// As [`from_str_strict_within`].
pub fn from_str_strict_as_written(text: impl AsRef<[u8]>, claim: &Claim) -> Result<Value, Error> {
    as_written(text.as_ref(), true, Some(claim))
}

/// `YAMLToJSON`: as [`from_str`], with go-yaml's unwrapped error.
///
/// # Errors
/// [`Error::Syntax`] with go-yaml v2's text; [`Error::Invalid`] for invalid aliases, merges and tags; [`Error::Json`]
/// for null and list keys and for `.nan` and `.inf`; [`Error::Limit`].
pub fn yaml_to_json(text: impl AsRef<[u8]>) -> Result<Value, Error> {
    convert(text.as_ref(), false, None)
}

/// As [`yaml_to_json`], and claims the memory of the value; additional memory used while reading is released.
///
/// # Errors
/// As [`yaml_to_json`], and [`Error::Memory`].
pub fn yaml_to_json_within(text: impl AsRef<[u8]>, claim: &Claim) -> Result<Value, Error> {
    convert(text.as_ref(), false, Some(claim))
}

/// `YAMLToJSONStrict`: as [`yaml_to_json`], but a repeated key is an error.
///
/// # Errors
/// As [`yaml_to_json`], and [`Error::Unmarshal`] with all repeated keys.
pub fn yaml_to_json_strict(text: impl AsRef<[u8]>) -> Result<Value, Error> {
    convert(text.as_ref(), true, None)
}

fn as_written(text: &[u8], strict: bool, claim: Option<&Claim>) -> Result<Value, Error> {
    let convert = |error| Error::Convert(Box::new(error));
    let mut value = decode(text, strict, claim).map_err(convert)?;
    if json::check(&value).is_err() {
        value.sort_keys();
        json::check(&value).map_err(convert)?;
    }
    Ok(value)
}

fn convert(text: &[u8], strict: bool, claim: Option<&Claim>) -> Result<Value, Error> {
    let mut value = decode(text, strict, claim)?;
    if json::normalize(&mut value).is_err() {
        // Of several floats that are not numbers, JSON reports the first in key order.
        value.sort_keys();
        json::normalize(&mut value)?;
    }
    Ok(value)
}

/// go-yaml v2's decoding, before the conversion to JSON.
fn decode(text: &[u8], strict: bool, claim: Option<&Claim>) -> Result<Value, Error> {
    let source = Source::new(text)?;
    if let Some(value) = direct::decode(&source, strict, claim) {
        return Ok(value);
    }
    let mut composer = Composer::new(&source, Flavor::V2).within(claim);
    let value = match composer.next_document() {
        Ok(Some(document)) => match document.content.first() {
            Some(root) => v2::decode(root, strict, claim),
            None => Ok(Value::Null),
        },
        Ok(None) => Ok(Value::Null),
        Err(error) => Err(error),
    };
    composer.release();
    value
}

/// `yaml.Marshal`: block style, keys in natural order, lines folded at 80 columns (HE-YAML-001 to HE-YAML-013).
///
/// # Errors
/// [`Error::Json`] for floats that are not numbers. As upstream, which converts through JSON text read as YAML, also
/// for characters that YAML forbids and JSON does not escape (U+007F, U+0080 to U+009F except U+0085, U+FFFE, U+FFFF),
/// and for keys of a thousand characters and more.
pub fn to_string(value: &Value) -> Result<String, Error> {
    write(value, KeyOrder::Natural)
}

/// As [`to_string`], with the keys in the order of the mappings (HE-YAML-005).
///
/// # Errors
/// As [`to_string`].
pub fn to_string_in_order(value: &Value) -> Result<String, Error> {
    write(value, KeyOrder::Kept)
}

/// As [`to_string_in_order`], without the conversion through JSON text: the output of go-yaml v2 itself, including
/// characters that JSON text read as YAML loses.
///
/// # Errors
/// For values that go-yaml cannot write.
pub fn to_string_directly(value: &Value) -> Result<String, Error> {
    encode::value(value, Layout::SIGS, KeyOrder::Kept, Floats::Kept)
}

/// The most bytes that [`to_string`] may write for this value. Each line is indented by its depth, so that a short text in flow
/// style may become a long one.
pub fn written_bound(value: &Value) -> u64 {
    written(value, 0)
}

fn written(value: &Value, depth: u64) -> u64 {
    let line = 2 * depth + 4;
    let text = |text: &str| -> u64 {
        let bytes = text.bytes().map(|byte| match byte {
            b'\n' | b' ' => line, // where long text is folded
            b'!'..=b'~' => 1,
            _ => 6, // escaped
        });
        line + bytes.sum::<u64>()
    };
    match value {
        Value::Map(map) => {
            let entries = map.iter();
            let entries = entries.map(|(key, value)| text(key) + written(value, depth + 1));
            line + entries.sum::<u64>()
        }
        Value::Seq(items) => {
            let items = items.iter().map(|item| written(item, depth + 1));
            line + items.sum::<u64>()
        }
        Value::String(string) => text(string),
        Value::Null | Value::Bool(_) => line + 5,
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => line + 24,
    }
}

fn write(value: &Value, order: KeyOrder) -> Result<String, Error> {
    if survives_json(value, json::LEVELS) {
        return encode::value(value, Layout::SIGS, order, Floats::ThroughJson);
    }
    let text = json::to_string(value, json::Escape::Html)?;
    let decoded = decode(text.as_bytes(), false, None)?;
    encode::value(&decoded, Layout::SIGS, order, Floats::Kept)
}

/// `JSONToYAML`: converts JSON text, which go-yaml reads as YAML, to YAML.
///
/// # Errors
/// As [`yaml_to_json`] for text that is not YAML.
pub fn json_to_yaml(text: impl AsRef<[u8]>) -> Result<String, Error> {
    encode::value(
        &decode(text.as_ref(), false, None)?,
        Layout::SIGS,
        KeyOrder::Natural,
        Floats::Kept,
    )
}

/// Whether a value is unchanged when its JSON text is read as YAML, so that the conversion can be skipped.
fn survives_json(value: &Value, levels: usize) -> bool {
    // JSON cannot be nested deeper.
    let Some(levels) = levels.checked_sub(1) else {
        return false;
    };
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Float(_) => true,
        Value::String(text) => plain_text(text),
        Value::Seq(items) => items.iter().all(|item| survives_json(item, levels)),
        Value::Map(map) => map
            .iter()
            .all(|(key, value)| key.len() < 128 && plain_text(key) && survives_json(value, levels)),
    }
}

/// Whether every character is either escaped by JSON or allowed in YAML, and none is a line break only to YAML.
fn plain_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    if text.is_ascii() {
        return !bytes.contains(&0x7F);
    }
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        0x7F => false,
        0xC2 => !matches!(bytes.get(at + 1), Some(0x80..=0x9F)),
        0xEF => {
            !(bytes.get(at + 1) == Some(&0xBF) && matches!(bytes.get(at + 2), Some(0xBE | 0xBF)))
        }
        _ => true,
    })
}
