//! Decodes YAML into structs as `sigs.k8s.io/yaml` and `encoding/json` do: keys match in any case, unknown keys are
//! ignored, scalars are accepted as text, and `null` leaves a field unchanged.

use std::collections::BTreeMap;

use flux_golang::strconv;
use flux_yaml::{Map, Value};

use crate::yaml::YamlError;

/// The Go struct and field that a value is decoded into, for the error text.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The struct with the field.
    pub owner: &'static str,
    /// The path of field names from the outermost struct, without the field itself.
    pub path: &'a str,
}

impl Place<'_> {
    /// The error for a value of the wrong type.
    pub fn mismatch(&self, field: &str, value: &Value, wanted: &str) -> YamlError {
        let found = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
            Value::String(_) => "string",
            Value::Seq(_) => "array",
            Value::Map(_) => "object",
        };
        let dot = if self.path.is_empty() { "" } else { "." };
        YamlError::Decode(format!(
            "cannot unmarshal {found} into Go struct field {}.{}{dot}{field} of type {wanted}",
            self.owner, self.path
        ))
    }

    fn of(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        }
    }
}

/// The fields of a mapping with their values; keys that differ from a field in case match as well.
pub fn fields<'v>(
    value: &'v Value,
    known: &[&'static str],
    wanted: &str,
) -> Result<Vec<(&'static str, &'v Value)>, YamlError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Map(map) => Ok(known_fields(map, known)),
        other => {
            let found = match other {
                Value::Bool(_) => "bool",
                Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
                Value::String(_) => "string",
                _ => "array",
            };
            Err(YamlError::Decode(format!(
                "cannot unmarshal {found} into Go value of type {wanted}"
            )))
        }
    }
}

fn known_fields<'v>(map: &'v Map, known: &[&'static str]) -> Vec<(&'static str, &'v Value)> {
    // Go's decoder sees the keys of JSON objects sorted: `name` comes after `Name` and overrides it.
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_unstable_by(|a, b| a.0.cmp(b.0));
    entries
        .into_iter()
        .filter_map(|(key, value)| {
            let exact = known.iter().find(|name| *name == key);
            let name =
                exact.or_else(|| known.iter().find(|name| name.eq_ignore_ascii_case(key)))?;
            Some((*name, value))
        })
        .collect()
}

/// Decodes text, or a scalar as text (HE-LOAD-009).
pub fn text(
    into: &mut String,
    place: Place<'_>,
    field: &str,
    value: &Value,
) -> Result<(), YamlError> {
    match scalar_text(value) {
        Some(text) => *into = text,
        None if value.is_null() => {}
        None => return Err(place.mismatch(field, value, "string")),
    }
    Ok(())
}

fn scalar_text(value: &Value) -> Option<String> {
    Some(match value {
        Value::String(text) => text.clone(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Float(number) => strconv::format_float32(*number as f32, b'g', None),
        Value::Bool(truth) => truth.to_string(),
        Value::Null | Value::Seq(_) | Value::Map(_) => return None,
    })
}

/// Decodes a `bool`.
pub fn truth(
    into: &mut bool,
    place: Place<'_>,
    field: &str,
    value: &Value,
) -> Result<(), YamlError> {
    match value {
        Value::Bool(truth) => *into = *truth,
        Value::Null => {}
        other => return Err(place.mismatch(field, other, "bool")),
    }
    Ok(())
}

/// The items of a list; `None` for `null`, which makes Go's slice nil.
pub fn items<'v>(
    place: Place<'_>,
    field: &str,
    value: &'v Value,
    wanted: &str,
) -> Result<Option<&'v [Value]>, YamlError> {
    match value {
        Value::Seq(items) => Ok(Some(items)),
        Value::Null => Ok(None),
        other => Err(place.mismatch(field, other, wanted)),
    }
}

/// Decodes a `[]string`.
pub fn texts(
    into: &mut Vec<String>,
    place: Place<'_>,
    field: &str,
    value: &Value,
) -> Result<(), YamlError> {
    into.clear();
    for item in items(place, field, value, "[]string")?.unwrap_or_default() {
        let mut one = String::new();
        text(&mut one, place, field, item)?;
        into.push(one);
    }
    Ok(())
}

/// Decodes a `map[string]string`; entries are added to the existing ones.
pub fn text_map(
    into: &mut BTreeMap<String, String>,
    place: Place<'_>,
    field: &str,
    value: &Value,
) -> Result<(), YamlError> {
    match value {
        Value::Map(map) => {
            for (key, value) in map {
                let mut one = String::new();
                text(&mut one, place, field, value)?;
                into.insert(key.clone(), one);
            }
        }
        Value::Null => into.clear(),
        other => return Err(place.mismatch(field, other, "map[string]string")),
    }
    Ok(())
}

/// Decodes a list of structs; the second value tells whether it has a `null` item, which no validation accepts.
pub fn structs<T: Default>(
    place: Place<'_>,
    field: &str,
    value: &Value,
    wanted: &str,
    decode: impl Fn(&mut T, &Value, &str) -> Result<(), YamlError>,
) -> Result<Option<(Vec<T>, bool)>, YamlError> {
    let Some(items) = items(place, field, value, &format!("[]*{wanted}"))? else {
        return Ok(None);
    };
    let path = place.of(field);
    let mut all = Vec::with_capacity(items.len());
    let mut nulls = false;
    for item in items {
        match item {
            Value::Null => nulls = true,
            Value::Map(_) => {
                let mut one = T::default();
                decode(&mut one, item, &path)?;
                all.push(one);
            }
            other => return Err(place.mismatch(field, other, wanted)),
        }
    }
    Ok(Some((all, nulls)))
}
