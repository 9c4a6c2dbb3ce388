//! Round trip of a value through its Go type, as apimachinery's converter of unstructured objects does it. Numbers must
//! have been [normalised](normalise_numbers) before.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Number, Value};

use super::quantity;
use super::time::Time;
use super::types::{Field, Omit, Table, Type};

/// A value does not match its type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch;

type Converted = Result<Value, Mismatch>;

/// Base64 as in Go's `StdEncoding`: padded, and ignoring trailing bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Bytes in the encoding of a Go `[]byte`.
pub(super) fn encode(bytes: impl AsRef<[u8]>) -> Value {
    Value::String(BASE64.encode(bytes))
}

impl Table {
    /// Converts an object of a struct's type: fields that the type does not have are dropped, and so are empty ones
    /// that may be omitted; those that may not be omitted are added.
    ///
    /// # Errors
    /// If any value in it does not match its type.
    pub(super) fn structure(
        &self,
        number: u16,
        object: &Map<String, Value>,
    ) -> Result<Map<String, Value>, Mismatch> {
        let fields = self.fields(number);
        let mut converted = Map::new();
        for (name, value) in object {
            // A null counts as absent.
            if value.is_null() {
                continue;
            }
            if let Ok(place) = fields.binary_search_by(|field| field.name.cmp(name)) {
                let value = self.convert(fields[place].ty, value)?;
                if !is_left_out(&fields[place], &value) {
                    converted.insert(name.clone(), value);
                }
            }
        }
        for field in fields.iter().filter(|field| field.is_always_written()) {
            if !converted.contains_key(field.name) {
                converted.insert(field.name.to_owned(), self.zero(field.ty));
            }
        }
        Ok(converted)
    }

    /// Converts a value.
    pub(super) fn convert(&self, ty: Type, value: &Value) -> Converted {
        if value.is_null() {
            return Ok(self.zero(ty));
        }
        match ty {
            Type::Text => value.as_str().map(Value::from).ok_or(Mismatch),
            Type::Bool => value.as_bool().map(Value::from).ok_or(Mismatch),
            Type::Int32 => integer(value).map(|int| Value::from(as_int32(int))),
            Type::Int64 => integer(value).map(Value::from),
            Type::Bytes => bytes(value),
            Type::Quantity => {
                let text = quantity_text(value).ok_or(Mismatch)?;
                quantity::canonical(&text).map(Value::from).ok_or(Mismatch)
            }
            Type::Time | Type::MicroTime => {
                let text = value.as_str().ok_or(Mismatch)?;
                let time = Time::parse(text, ty == Type::MicroTime).ok_or(Mismatch)?;
                Ok(time.written().map_or(Value::Null, Value::from))
            }
            Type::IntOrString => match value {
                Value::String(_) => Ok(value.clone()),
                Value::Number(number) => int_or_string(number),
                _ => Err(Mismatch),
            },
            Type::Json => Ok(value.clone()),
            Type::Struct(number) => {
                let object = value.as_object().ok_or(Mismatch)?;
                self.structure(number, object).map(Value::Object)
            }
            Type::Pointer(inner) => self.convert(self.inner(inner), value),
            Type::List(inner) => {
                let ty = self.inner(inner);
                let items = value.as_array().ok_or(Mismatch)?;
                let items: Result<_, _> = items.iter().map(|item| self.convert(ty, item)).collect();
                items.map(Value::Array)
            }
            Type::Map(inner) => {
                let ty = self.inner(inner);
                let pairs = value.as_object().ok_or(Mismatch)?.iter();
                let pairs: Result<_, _> = pairs
                    .map(|(key, value)| Ok((key.clone(), self.convert(ty, value)?)))
                    .collect();
                pairs.map(Value::Object)
            }
        }
    }

    /// What Go writes for a value that was never set.
    fn zero(&self, ty: Type) -> Value {
        match ty {
            Type::Text => "".into(),
            Type::Bool => false.into(),
            Type::Int32 | Type::Int64 | Type::IntOrString => 0.into(),
            Type::Quantity => "0".into(),
            Type::Bytes
            | Type::Time
            | Type::MicroTime
            | Type::Json
            | Type::Pointer(_)
            | Type::List(_)
            | Type::Map(_) => Value::Null,
            Type::Struct(number) => {
                let fields = self.fields(number).iter();
                let fields = fields.filter(|field| field.is_always_written());
                let fields = fields.map(|field| (field.name.to_owned(), self.zero(field.ty)));
                Value::Object(fields.collect())
            }
        }
    }
}

/// Whether a field that the manifest has is omitted. A pointer to an empty value is not.
fn is_left_out(field: &Field, converted: &Value) -> bool {
    match field.omit {
        Omit::Never => false,
        Omit::Zero => converted.is_null(),
        Omit::Empty => match (field.ty, converted) {
            (Type::Text | Type::Bytes, Value::String(text)) => text.is_empty(),
            (Type::Bool, value) => value == false,
            (Type::Int32 | Type::Int64, value) => value == 0,
            (Type::List(_), Value::Array(items)) => items.is_empty(),
            (Type::Map(_), Value::Object(pairs)) => pairs.is_empty(),
            _ => false,
        },
    }
}

/// An integer, converted as in Go. What int64 cannot hold becomes the smallest int64, as on amd64.
fn integer(value: &Value) -> Result<i64, Mismatch> {
    let number = value.as_number().ok_or(Mismatch)?;
    if let Some(int) = number.as_i64() {
        return Ok(int);
    }
    let float = number.as_f64().ok_or(Mismatch)?;
    (float.fract() == 0.0).then_some(i64::MIN).ok_or(Mismatch)
}

/// The lower half: Go does not check whether a number fits.
#[expect(clippy::cast_possible_truncation, reason = "that is what Go does")]
fn as_int32(int: i64) -> i32 {
    int as i32
}

fn bytes(value: &Value) -> Converted {
    match value {
        Value::String(text) => {
            let text: Vec<u8> = (text.bytes())
                .filter(|byte| !matches!(byte, b'\r' | b'\n'))
                .collect();
            BASE64.decode(text).map(encode).map_err(|_| Mismatch)
        }
        Value::Array(items) => {
            let bytes: Result<Vec<u8>, _> = items
                .iter()
                .map(|item| match item {
                    Value::Null => Ok(0),
                    item => integer(item).map(|int| int.to_le_bytes()[0]),
                })
                .collect();
            bytes.map(encode)
        }
        _ => Err(Mismatch),
    }
}

/// The text that a quantity is parsed from: Go takes it from the JSON without decoding escapes.
fn quantity_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => {
            // Characters that JSON escapes are kept, in their escaped form.
            let escaped = |c: char| matches!(c, '\t'..='\r' | '\u{2028}' | '\u{2029}');
            let text = text.trim_matches(|c: char| c.is_whitespace() && !escaped(c));
            Some(text.to_owned())
        }
        Value::Number(number) => Some(number_text(number)),
        _ => None,
    }
}

/// A number as Go's `encoding/json` writes it.
fn number_text(number: &Number) -> String {
    let (Some(float), None) = (number.as_f64(), number.as_i64()) else {
        return number.to_string();
    };
    let size = float.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{float:e}");
        return if size < 1.0 {
            text
        } else {
            text.replace('e', "e+")
        };
    }
    float.to_string()
}

fn int_or_string(number: &Number) -> Converted {
    let int: i32 = number_text(number).parse().map_err(|_| Mismatch)?;
    Ok(int.into())
}

/// Gives numbers the types that they have after Go has written and read them as JSON: integral ones are written without
/// a point, and what int64 cannot hold is a float.
pub(super) fn normalise_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if !number.is_i64() => {
            if let Ok(int) = number_text(number).parse::<i64>() {
                *value = int.into();
            } else if let (true, Some(float)) = (number.is_u64(), number.as_f64()) {
                *value = float.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalise_numbers),
        Value::Object(pairs) => pairs.values_mut().for_each(normalise_numbers),
        _ => {}
    }
}
