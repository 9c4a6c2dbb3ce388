//! Decodes plain values into types, with the rules and error texts of Go's JSON decoder (KZ-FILE-004 to KZ-FILE-006).

use std::collections::{BTreeMap, BTreeSet};

use flux_golang::strconv::{self, quote};
use flux_yaml::{Map, Value};

use crate::secrecy::MASK;

/// The decoder's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    /// Unknown fields are errors.
    pub(crate) strict: bool,
    /// A number or boolean in a text field becomes text, as in `sigs.k8s.io/yaml` with a known type.
    pub(crate) coerce: bool,
}

impl Mode {
    /// A kustomization file.
    pub(crate) const KUSTOMIZATION: Self = Self {
        strict: true,
        coerce: false,
    };
    /// A file of field specs.
    pub(crate) const CONFIGURATION: Self = Self {
        strict: true,
        coerce: true,
    };
    /// A plugin's configuration, a file of replacements, or the root file as Flux reads it.
    pub(crate) const LENIENT: Self = Self {
        strict: false,
        coerce: true,
    };
}

/// A mapping being decoded into a struct.
pub(crate) struct Object<'v> {
    map: Option<&'v Map>,
    name: &'static str,
    path: String,
    mode: Mode,
    known: BTreeSet<&'v str>,
}

pub(crate) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Seq(_) => "array",
        Value::Map(_) => "object",
    }
}

/// The text of a text field; `inline` fields, those of an embedded struct, are never coerced.
pub(crate) fn text(value: &Value, mode: Mode, inline: bool) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        _ if !mode.coerce || inline => None,
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::Uint(value) => Some(value.to_string()),
        // The Go library prints the number in single precision.
        Value::Float(value) => Some(strconv::format_float32(*value as f32, b'g', None)),
        _ => None,
    }
}

impl<'v> Object<'v> {
    /// Starts decoding a value that is a field of the struct `parent`; `None` for null.
    fn new(
        value: &'v Value,
        name: &'static str,
        parent: &str,
        path: &str,
        mode: Mode,
    ) -> Result<Option<Self>, String> {
        match value {
            Value::Null => Ok(None),
            Value::Map(map) => Ok(Some(Self {
                map: Some(map),
                name,
                path: path.to_owned(),
                mode,
                known: BTreeSet::new(),
            })),
            other => Err(if path.is_empty() {
                format!(
                    "json: cannot unmarshal {} into Go value of type types.{name}",
                    json_kind(other)
                )
            } else {
                format!(
                    "json: cannot unmarshal {} into Go struct field {parent}.{path} of type types.{name}",
                    json_kind(other)
                )
            }),
        }
    }

    fn mismatch(&self, field: &str, value: &Value, wanted: &str) -> String {
        format!(
            "json: cannot unmarshal {} into Go struct field {}.{} of type {wanted}",
            json_kind(value),
            self.name,
            self.at(field)
        )
    }

    fn at(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        }
    }

    /// The value of a field, whose name is matched case-insensitively. Null counts as absent.
    fn take(&mut self, field: &str) -> Option<&'v Value> {
        let mut found: Option<(&str, &Value)> = None;
        for (key, value) in self.map? {
            if !key.eq_ignore_ascii_case(field) {
                continue;
            }
            self.known.insert(key);
            if !value.is_null() && found.is_none_or(|(other, _)| other < key.as_str()) {
                found = Some((key, value));
            }
        }
        found.map(|(_, value)| value)
    }

    /// A text field; empty if absent.
    pub(crate) fn text(&mut self, field: &str) -> Result<String, String> {
        self.optional_text(field).map(Option::unwrap_or_default)
    }

    /// A text field.
    pub(crate) fn optional_text(&mut self, field: &str) -> Result<Option<String>, String> {
        self.any_text(field, false)
    }

    /// A text field of an embedded struct.
    pub(crate) fn inline_text(&mut self, field: &str) -> Result<String, String> {
        self.any_text(field, true).map(Option::unwrap_or_default)
    }

    fn any_text(&mut self, field: &str, inline: bool) -> Result<Option<String>, String> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        match text(value, self.mode, inline) {
            Some(text) => Ok(Some(text)),
            None => Err(self.mismatch(field, value, "string")),
        }
    }

    pub(crate) fn boolean(&mut self, field: &str) -> Result<bool, String> {
        match self.take(field) {
            None => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.mismatch(field, other, "bool")),
        }
    }

    /// An integer field of Go type `int`.
    pub(crate) fn integer(&mut self, field: &str) -> Result<i64, String> {
        self.integer_as(field, "int")
    }

    /// An integer field of Go type `kind`.
    pub(crate) fn integer_as(&mut self, field: &str, kind: &str) -> Result<i64, String> {
        match self.take(field) {
            None => Ok(0),
            Some(Value::Int(value)) => Ok(*value),
            Some(Value::Float(value)) if value.fract() == 0.0 && value.abs() < 9e18 => {
                Ok(*value as i64)
            }
            Some(other @ (Value::Float(_) | Value::Uint(_))) => Err(format!(
                "json: cannot unmarshal number {} into Go struct field {}.{} of type {kind}",
                crate::go::json(other),
                self.name,
                self.at(field)
            )),
            Some(other) => Err(self.mismatch(field, other, kind)),
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, field: &str) -> Result<Option<Vec<String>>, String> {
        let mode = self.mode;
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let Value::Seq(items) = value else {
            return Err(self.mismatch(field, value, "[]string"));
        };
        items
            .iter()
            .map(|item| match item {
                Value::Null => Ok(String::new()),
                item => text(item, mode, false).ok_or_else(|| self.mismatch(field, item, "string")),
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A mapping of text to text.
    pub(crate) fn text_map(
        &mut self,
        field: &str,
    ) -> Result<Option<BTreeMap<String, String>>, String> {
        let mode = self.mode;
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let Value::Map(map) = value else {
            return Err(self.mismatch(field, value, "map[string]string"));
        };
        map.iter()
            .map(|(key, item)| {
                let text = match item {
                    Value::Null => String::new(),
                    item => text(item, mode, false)
                        .ok_or_else(|| self.mismatch(field, item, "string"))?,
                };
                Ok((key.clone(), text))
            })
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A field of any shape.
    pub(crate) fn any(&mut self, field: &str) -> Option<&'v Value> {
        self.take(field)
    }

    /// A list of structs; null items are empty structs.
    pub(crate) fn list<T: Decode + Default>(
        &mut self,
        field: &str,
    ) -> Result<Option<Vec<T>>, String> {
        self.list_as(field, &format!("[]types.{}", T::NAME))
    }

    /// A list of structs of Go type `kind`.
    pub(crate) fn list_as<T: Decode + Default>(
        &mut self,
        field: &str,
        kind: &str,
    ) -> Result<Option<Vec<T>>, String> {
        let path = self.at(field);
        let mode = self.mode;
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        let Value::Seq(items) = value else {
            return Err(self.mismatch(field, value, kind));
        };
        items
            .iter()
            .map(|item| decode_at(item, self.name, &path, mode))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A struct.
    pub(crate) fn object<T: Decode + Default>(&mut self, field: &str) -> Result<Option<T>, String> {
        let path = self.at(field);
        let mode = self.mode;
        match self.take(field) {
            None => Ok(None),
            Some(value) => decode_at(value, self.name, &path, mode).map(Some),
        }
    }

    /// Finishes decoding: fields that were not read are unknown.
    pub(crate) fn finish(self) -> Result<(), String> {
        if !self.mode.strict {
            return Ok(());
        }
        let keys: BTreeSet<&str> = self
            .map
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        match keys.difference(&self.known).next() {
            None => Ok(()),
            // An entry that lost its dash may be a literal of a Secret.
            Some(unknown) => Err(format!(
                "json: unknown field {}",
                match unknown.split_once('=') {
                    Some((name, _)) => quote(format!("{name}={MASK}")),
                    None => quote(unknown),
                }
            )),
        }
    }
}

/// A struct that is decoded field by field.
pub(crate) trait Decode: Sized {
    /// Its Go name in messages.
    const NAME: &'static str;

    fn decode(object: &mut Object<'_>) -> Result<Self, String>;
}

fn decode_at<T: Decode + Default>(
    value: &Value,
    parent: &str,
    path: &str,
    mode: Mode,
) -> Result<T, String> {
    let Some(mut object) = Object::new(value, T::NAME, parent, path, mode)? else {
        return Ok(T::default());
    };
    let decoded = T::decode(&mut object)?;
    object.finish()?;
    Ok(decoded)
}

/// Decodes a whole document.
pub(crate) fn decode<T: Decode + Default>(value: &Value, mode: Mode) -> Result<T, String> {
    decode_at(value, "", "", mode)
}
