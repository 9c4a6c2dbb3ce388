//! Adapters for `flux-yaml`'s data: decoding as `sigs.k8s.io/yaml` does, and serde for record fields.

use flux_budget::{Claim, Exhausted};
use flux_yaml::{Map, Value};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why YAML could not be decoded, with the texts of `sigs.k8s.io/yaml`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// It is not YAML, or cannot be represented in JSON.
    #[error(transparent)]
    Convert(flux_yaml::Error),
    /// A value has the wrong type for its field.
    #[error("error unmarshaling JSON: while decoding JSON: json: {0}")]
    Decode(String),
    /// A document of a chart's values is invalid.
    #[error("cannot unmarshal yaml document: {0}")]
    Document(Box<YamlError>),
    /// A line begins with `---` but continues with other text.
    #[error("error reading yaml document: invalid Yaml document separator: {0}")]
    Separator(String),
}

/// Decodes the first document; integers are kept apart from floats.
pub fn value(text: &[u8]) -> Result<Value, YamlError> {
    flux_yaml::sigs::from_str(text).map_err(YamlError::Convert)
}

/// As [`value`], and claims the memory of the value.
///
/// # Errors
/// As [`value`]; [`exhausted`] finds the error of the claim.
pub fn value_within(text: &[u8], claim: &Claim) -> Result<Value, YamlError> {
    flux_yaml::sigs::from_str_within(text, claim).map_err(YamlError::Convert)
}

/// The memory that was missing, if that is the error.
pub fn exhausted(error: &YamlError) -> Option<Exhausted> {
    let YamlError::Convert(mut error) = error.clone() else {
        return None;
    };
    loop {
        error = match error {
            flux_yaml::Error::Memory(exhausted) => return Some(exhausted),
            flux_yaml::Error::Convert(inner) => *inner,
            _ => return None,
        };
    }
}

/// Decodes the first document with numbers as written, for fields that are text.
pub fn value_as_written(text: &[u8]) -> Result<Value, YamlError> {
    flux_yaml::sigs::from_str_as_written(text).map_err(YamlError::Convert)
}

/// As [`value`], decoding only some of the outermost keys.
pub fn value_of_keys(text: &[u8], wanted: impl Fn(&str) -> bool) -> Result<Value, YamlError> {
    flux_yaml::sigs::from_str_only(text, wanted).map_err(YamlError::Convert)
}

/// The name of a value's type in the errors of `encoding/json`.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Seq(_) => "array",
        Value::Map(_) => "object",
    }
}

/// Parses the JSON value at the start of a text. Returns it with its length in bytes. Numbers become floats.
pub(crate) fn json_prefix(text: &str) -> Result<(Value, usize), String> {
    let blanks = text.len() - text.trim_start_matches([' ', '\t', '\r', '\n']).len();
    // Text may follow a number or a word directly.
    let scalar =
        scalar_length(text.get(blanks..).unwrap_or_default()).map(|length| blanks + length);
    let text = scalar.and_then(|end| text.get(..end)).unwrap_or(text);
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Json>();
    match stream.next() {
        Some(Ok(Json(value))) => Ok((value, stream.byte_offset())),
        Some(Err(e)) if e.is_eof() => Err("unexpected EOF".to_owned()),
        Some(Err(e)) => Err(e.to_string()),
        None => Err("EOF".to_owned()),
    }
}

/// The length of the number or word at the start of a text; `None` for other values and invalid text.
fn scalar_length(text: &str) -> Option<usize> {
    if let Some(word) = ["true", "false", "null"]
        .iter()
        .find(|word| text.starts_with(**word))
    {
        return Some(word.len());
    }
    let digits = |from: usize| {
        text.bytes()
            .skip(from)
            .take_while(u8::is_ascii_digit)
            .count()
    };
    let sign = usize::from(text.starts_with('-'));
    let whole = digits(sign);
    // A zero ends the integer part.
    let zero = text.as_bytes().get(sign) == Some(&b'0');
    let mut end = sign + if zero { 1 } else { whole };
    if whole == 0 {
        return None;
    }
    if text.as_bytes().get(end) == Some(&b'.') {
        end += 1 + digits(end + 1);
    }
    if matches!(text.as_bytes().get(end), Some(b'e' | b'E')) {
        end += 1 + usize::from(matches!(text.as_bytes().get(end + 1), Some(b'+' | b'-')));
        end += digits(end);
    }
    Some(end)
}

/// A value with serde's traits.
struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Json)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Float(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Float(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Json(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Seq(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Json(value))) = entries.next_entry::<String, Json>()? {
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

/// A reference to a value, for serialization with serde.
pub struct JsonRef<'v>(pub &'v Value);

impl Serialize for JsonRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Uint(number) => serializer.serialize_u64(*number),
            Value::Float(number) => serializer.serialize_f64(*number),
            Value::String(text) => serializer.serialize_str(text),
            Value::Seq(items) => serialize_values(items, serializer),
            Value::Map(entries) => map::serialize(entries, serializer),
        }
    }
}

/// Serializes a list.
pub fn serialize_values<S: Serializer>(items: &[Value], serializer: S) -> Result<S::Ok, S::Error> {
    let mut seq = serializer.serialize_seq(Some(items.len()))?;
    for item in items {
        seq.serialize_element(&JsonRef(item))?;
    }
    seq.end()
}

/// Deserializes a list; `null` is an empty list.
pub fn deserialize_values<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Value>, D::Error> {
    let items = Option::<Vec<Json>>::deserialize(deserializer)?;
    Ok(items
        .unwrap_or_default()
        .into_iter()
        .map(|Json(item)| item)
        .collect())
}

/// Serializes any value.
pub fn serialize_value<S: Serializer>(value: &Value, serializer: S) -> Result<S::Ok, S::Error> {
    JsonRef(value).serialize(serializer)
}

/// Deserializes any value.
pub fn deserialize_value<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
    Json::deserialize(deserializer).map(|Json(value)| value)
}

/// serde functions for a mapping: written with its keys sorted by bytes, as Go does; `null` is an empty mapping.
pub mod map {
    use super::{Deserialize, Deserializer, Json, JsonRef, Map, SerializeMap, Serializer, Value};

    /// Serializes a mapping.
    pub fn serialize<S: Serializer>(entries: &Map, serializer: S) -> Result<S::Ok, S::Error> {
        let mut sorted: Vec<_> = entries.iter().collect();
        sorted.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let mut map = serializer.serialize_map(Some(sorted.len()))?;
        for (key, value) in sorted {
            map.serialize_entry(key, &JsonRef(value))?;
        }
        map.end()
    }

    /// Deserializes a mapping.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map, D::Error> {
        super::optional_map::deserialize(deserializer).map(Option::unwrap_or_default)
    }

    pub(super) fn of(json: Json) -> Option<Map> {
        match json {
            Json(Value::Map(map)) => Some(map),
            _ => None,
        }
    }

    pub(super) fn read<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Json>, D::Error> {
        Option::<Json>::deserialize(deserializer)
    }
}

/// serde functions for an optional mapping, `null` if absent.
pub mod optional_map {
    use serde::de::Error as _;

    use super::{Deserializer, Map, Serializer, map};

    /// Serializes a mapping or `null`.
    #[allow(clippy::ref_option)] // serde's signature
    pub fn serialize<S: Serializer>(
        entries: &Option<Map>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match entries {
            None => serializer.serialize_none(),
            Some(entries) => map::serialize(entries, serializer),
        }
    }

    /// Deserializes a mapping or `null`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Map>, D::Error> {
        match map::read(deserializer)? {
            None => Ok(None),
            Some(json) => map::of(json)
                .map(Some)
                .ok_or_else(|| D::Error::custom("expected an object")),
        }
    }
}
