//! What functions and operators do.

use std::cmp::Ordering;
use std::sync::Arc;

use flux_golang::regexp::Regex;
use flux_golang::{encoding, strconv};

use crate::declarations::{Binding, function};
use crate::eval::{Meter, NO_OVERLOAD};
use crate::time::{OVERFLOW, Timestamp, duration_part, duration_text, parse_duration};
use crate::types::Type;
use crate::value::{Value, compare_numbers};
use crate::{format, strings};

type Result<T = Value> = std::result::Result<T, String>;

const INT_OVERFLOW: &str = "integer overflow";
const UINT_OVERFLOW: &str = "unsigned integer overflow";
const DURATION_OVERFLOW: &str = "duration overflow";

/// Calls a function. `id` is the number of the call in its expression.
///
/// # Errors
/// The arguments do not fit, or the function has an error of its own. The texts are cel-go's.
pub(crate) fn call(name: &str, id: usize, args: &[Value], meter: &mut Meter) -> Result {
    let Some(function) = function(name) else {
        return Err(match (args.first(), args.len()) {
            (Some(first), _) if is_receiver(first) => NO_OVERLOAD.to_owned(),
            (_, 0..=2) => format!("no such overload: {name}"),
            _ => format!("no such overload: {name} {id}"),
        });
    };
    if function.binding == Binding::Overloads {
        let fits = function.overloads.iter().any(|overload| {
            overload.args.len() == args.len()
                && overload
                    .args
                    .iter()
                    .zip(args)
                    .all(|(of, arg)| fits(of, arg))
        });
        return if fits {
            overloaded(name, args, meter)
        } else if matches!(name, "contains" | "startsWith" | "endsWith") {
            Err(NO_OVERLOAD.to_owned())
        } else {
            let types: Vec<&str> = args.iter().map(Value::type_name).collect();
            Err(format!("no such overload: {name}({})", types.join(", ")))
        };
    }
    match args {
        [value] => unary(name, value),
        [left, right] => binary(name, left, right, meter),
        _ => Err(NO_OVERLOAD.to_owned()),
    }
}

/// Whether a value is of a type that answers calls of functions that it does not have.
fn is_receiver(value: &Value) -> bool {
    matches!(
        value,
        Value::String(_) | Value::Timestamp(_) | Value::Duration(_)
    )
}

/// The error of an operator for a value that does not have it.
fn not_of(name: &str, value: &Value) -> String {
    if is_receiver(value) {
        NO_OVERLOAD.to_owned()
    } else {
        format!("no such overload: {name}")
    }
}

/// Whether a value can be an argument of this type. Of lists and maps the first element counts.
fn fits(of: &Type, value: &Value) -> bool {
    match (of, value) {
        (Type::Dyn | Type::Param(_), _) => true,
        (Type::List(of), Value::List(list)) => list.first().is_none_or(|first| fits(of, first)),
        (Type::Map(of), Value::Map(map)) => map
            .entries()
            .first()
            .is_none_or(|(key, value)| fits(&of.0, key) && fits(&of.1, value)),
        (Type::Optional(of), Value::Optional(inner)) => {
            inner.as_ref().is_none_or(|inner| fits(of, inner))
        }
        (Type::List(_) | Type::Map(_) | Type::Optional(_), _) => false,
        (of, value) => *of == value.runtime_type(),
    }
}

fn unary(name: &str, value: &Value) -> Result {
    match (name, value) {
        ("!_", Value::Bool(value)) => Ok(Value::Bool(!value)),
        ("!_", _) => Err(NO_OVERLOAD.to_owned()),
        ("-_", Value::Int(value)) => value
            .checked_neg()
            .map(Value::Int)
            .ok_or(INT_OVERFLOW.into()),
        ("-_", Value::Double(value)) => Ok(Value::Double(-value)),
        ("-_", Value::Duration(value)) => {
            let negated = value.checked_neg().map(Value::Duration);
            negated.ok_or(DURATION_OVERFLOW.into())
        }
        ("-_", Value::Bool(_)) => Err(NO_OVERLOAD.to_owned()),
        ("size", Value::String(text)) => Ok(Value::Int(text.chars().count() as i64)),
        ("size", Value::Bytes(bytes)) => Ok(Value::Int(bytes.len() as i64)),
        ("size", Value::List(list)) => Ok(Value::Int(list.len() as i64)),
        ("size", Value::Map(map)) => Ok(Value::Int(map.len() as i64)),
        ("type", value) => Ok(Value::Type(value.runtime_type())),
        ("dyn", value) => Ok(value.clone()),
        _ => Err(not_of(name, value)),
    }
}

fn binary(name: &str, left: &Value, right: &Value, meter: &mut Meter) -> Result {
    match name {
        "_==_" | "_!=_" => {
            meter.steps(size_of(left).min(size_of(right)))?;
            Ok(Value::Bool(left.equals(right) == (name == "_==_")))
        }
        "_<_" | "_<=_" | "_>_" | "_>=_" => {
            let order = compare(name, left, right)?;
            Ok(Value::Bool(match name {
                "_<_" => order.is_lt(),
                "_<=_" => order.is_le(),
                "_>_" => order.is_gt(),
                _ => order.is_ge(),
            }))
        }
        "@in" => contains(left, right, meter),
        "matches" => match (left, right) {
            (Value::String(text), Value::String(pattern)) => {
                let regex = Regex::cached(pattern.as_bytes()).map_err(|error| error.to_string())?;
                Ok(Value::Bool(regex.is_match(text.as_bytes())))
            }
            (Value::String(_), _) => Err(NO_OVERLOAD.to_owned()),
            (other, _) => Err(not_of(name, other)),
        },
        "_+_" => add(left, right, meter),
        "_-_" => subtract(left, right),
        _ => multiply(name, left, right),
    }
}

/// A measure of the work of comparing a value.
fn size_of(value: &Value) -> usize {
    match value {
        Value::List(list) => 1 + list.iter().map(size_of).sum::<usize>(),
        Value::Map(map) => {
            let entries = map.entries().iter();
            1 + entries.map(|(_, value)| 1 + size_of(value)).sum::<usize>()
        }
        Value::Optional(Some(value)) => 1 + size_of(value),
        Value::String(text) => 1 + text.len() / 64,
        Value::Bytes(bytes) => 1 + bytes.len() / 64,
        _ => 1,
    }
}

fn compare(name: &str, left: &Value, right: &Value) -> Result<Ordering> {
    use Value::{Bool, Bytes, Double, Duration, Int, String, Timestamp, Uint};
    let is_nan = |value: &Value| matches!(value, Double(value) if value.is_nan());
    match (left, right) {
        (Bool(a), Bool(b)) => Ok(a.cmp(b)),
        (String(a), String(b)) => Ok(a.cmp(b)),
        (Bytes(a), Bytes(b)) => Ok(a.cmp(b)),
        (Duration(a), Duration(b)) => Ok(a.cmp(b)),
        (Timestamp(a), Timestamp(b)) => Ok(a.cmp(b)),
        (Int(_) | Uint(_) | Double(_), _) if is_nan(left) || is_nan(right) => {
            Err("NaN values cannot be ordered".to_owned())
        }
        (Int(_) | Uint(_) | Double(_), _) => {
            compare_numbers(left, right).ok_or(NO_OVERLOAD.to_owned())
        }
        (Bool(_) | String(_) | Bytes(_) | Duration(_) | Timestamp(_), _) => {
            Err(NO_OVERLOAD.to_owned())
        }
        (other, _) => Err(not_of(name, other)),
    }
}

fn contains(element: &Value, within: &Value, meter: &mut Meter) -> Result {
    match within {
        Value::List(list) => {
            meter.steps(list.len())?;
            Ok(Value::Bool(list.iter().any(|value| element.equals(value))))
        }
        Value::Map(map) => Ok(Value::Bool(map.get(element).is_some())),
        _ => Err(NO_OVERLOAD.to_owned()),
    }
}

fn add(left: &Value, right: &Value, meter: &mut Meter) -> Result {
    use Value::{Bytes, Double, Duration, Int, List, String, Timestamp, Uint};
    match (left, right) {
        (Int(a), Int(b)) => a.checked_add(*b).map(Int).ok_or(INT_OVERFLOW.into()),
        (Uint(a), Uint(b)) => a.checked_add(*b).map(Uint).ok_or(UINT_OVERFLOW.into()),
        (Double(a), Double(b)) => Ok(Double(a + b)),
        (String(a), String(b)) => {
            meter.bytes(a.len() + b.len())?;
            Ok(String([&**a, &**b].concat().into()))
        }
        (Bytes(a), Bytes(b)) => {
            meter.bytes(a.len() + b.len())?;
            Ok(Bytes([&**a, &**b].concat().into()))
        }
        (List(a), List(b)) => {
            if a.is_empty() {
                return Ok(right.clone());
            }
            if b.is_empty() {
                return Ok(left.clone());
            }
            meter.bytes((a.len() + b.len()) * std::mem::size_of::<Value>())?;
            Ok(List(Arc::new(a.iter().chain(&**b).cloned().collect())))
        }
        (Duration(a), Duration(b)) => a
            .checked_add(*b)
            .map(Duration)
            .ok_or(DURATION_OVERFLOW.into()),
        (Duration(by), Timestamp(time)) | (Timestamp(time), Duration(by)) => {
            time.plus(i128::from(*by)).map(Timestamp)
        }
        (
            Int(_) | Uint(_) | Double(_) | String(_) | Bytes(_) | List(_) | Duration(_)
            | Timestamp(_),
            _,
        ) => Err(NO_OVERLOAD.to_owned()),
        (other, _) => Err(not_of("_+_", other)),
    }
}

fn subtract(left: &Value, right: &Value) -> Result {
    use Value::{Double, Duration, Int, Timestamp, Uint};
    match (left, right) {
        (Int(a), Int(b)) => a.checked_sub(*b).map(Int).ok_or(INT_OVERFLOW.into()),
        (Uint(a), Uint(b)) => a.checked_sub(*b).map(Uint).ok_or(UINT_OVERFLOW.into()),
        (Double(a), Double(b)) => Ok(Double(a - b)),
        (Duration(a), Duration(b)) => a
            .checked_sub(*b)
            .map(Duration)
            .ok_or(DURATION_OVERFLOW.into()),
        (Timestamp(time), Duration(by)) => time.plus(-i128::from(*by)).map(Timestamp),
        (Timestamp(a), Timestamp(b)) => a.since(*b).map(Duration),
        (Int(_) | Uint(_) | Double(_) | Duration(_) | Timestamp(_), _) => {
            Err(NO_OVERLOAD.to_owned())
        }
        (other, _) => Err(not_of("_-_", other)),
    }
}

fn multiply(name: &str, left: &Value, right: &Value) -> Result {
    use Value::{Double, Int, Uint};
    match (name, left, right) {
        ("_*_", Int(a), Int(b)) => a.checked_mul(*b).map(Int).ok_or(INT_OVERFLOW.into()),
        ("_*_", Uint(a), Uint(b)) => a.checked_mul(*b).map(Uint).ok_or(UINT_OVERFLOW.into()),
        ("_*_", Double(a), Double(b)) => Ok(Double(a * b)),
        ("_/_", Double(a), Double(b)) => Ok(Double(a / b)),
        ("_/_", Int(_), Int(0)) | ("_/_", Uint(_), Uint(0)) => Err("division by zero".to_owned()),
        ("_%_", Int(_), Int(0)) | ("_%_", Uint(_), Uint(0)) => Err("modulus by zero".to_owned()),
        ("_/_", Int(a), Int(b)) => a.checked_div(*b).map(Int).ok_or(INT_OVERFLOW.into()),
        ("_%_", Int(a), Int(b)) => a.checked_rem(*b).map(Int).ok_or(INT_OVERFLOW.into()),
        ("_/_", Uint(a), Uint(b)) => Ok(Uint(a / b)),
        ("_%_", Uint(a), Uint(b)) => Ok(Uint(a % b)),
        ("_%_", Int(_) | Uint(_), _) => Err(NO_OVERLOAD.to_owned()),
        ("_*_" | "_/_", Int(_) | Uint(_) | Double(_), _) => Err(NO_OVERLOAD.to_owned()),
        (name, other, _) => Err(not_of(name, other)),
    }
}

/// The functions with an implementation for each signature. The arguments fit one of them.
fn overloaded(name: &str, args: &[Value], meter: &mut Meter) -> Result {
    match (name, args) {
        (
            "bool" | "bytes" | "double" | "duration" | "int" | "string" | "timestamp" | "uint",
            [value],
        ) => convert(name, value),
        ("base64.decode", [Value::String(text)]) => {
            // without padding it is accepted too
            let padding = if text.contains('=') {
                0
            } else {
                text.len().wrapping_neg() % 4
            };
            let padded = format!("{text}{}", "=".repeat(padding % 3));
            let decoded = encoding::decode_base64(padded.as_bytes());
            let decoded = decoded.map_err(|_| raw_base64_error(text))?;
            Ok(Value::Bytes(decoded.into()))
        }
        ("base64.encode", [Value::Bytes(bytes)]) => {
            meter.bytes(bytes.len() * 2)?;
            Ok(Value::String(encoding::base64(bytes).into()))
        }
        ("format", [Value::String(text), Value::List(args)]) => {
            format::format(text, args, meter).map(|text| Value::String(text.into()))
        }
        ("sets.contains", [Value::List(a), Value::List(b)]) => {
            meter.steps(a.len().saturating_mul(b.len()))?;
            Ok(Value::Bool(covers(a, b)))
        }
        ("sets.equivalent", [Value::List(a), Value::List(b)]) => {
            meter.steps(a.len().saturating_mul(b.len()))?;
            Ok(Value::Bool(covers(a, b) && covers(b, a)))
        }
        ("sets.intersects", [Value::List(a), Value::List(b)]) => {
            meter.steps(a.len().saturating_mul(b.len()))?;
            let is_in = |value: &Value| b.iter().any(|other| value.equals(other));
            Ok(Value::Bool(a.iter().any(is_in)))
        }
        ("optional.of", [value]) => Ok(Value::some(value.clone())),
        ("optional.ofNonZeroValue", [value]) if value.is_zero() => Ok(Value::Optional(None)),
        ("optional.ofNonZeroValue", [value]) => Ok(Value::some(value.clone())),
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("value", [Value::Optional(value)]) => match value {
            Some(value) => Ok((**value).clone()),
            None => Err("optional.none() dereference".to_owned()),
        },
        ("hasValue", [Value::Optional(value)]) => Ok(Value::Bool(value.is_some())),
        ("first", [Value::List(list)]) => Ok(optional(list.first())),
        ("last", [Value::List(list)]) => Ok(optional(list.last())),
        ("optional.unwrap" | "unwrapOpt", [Value::List(list)]) => {
            let mut values = Vec::new();
            for value in list.iter() {
                match value {
                    Value::Optional(Some(value)) => values.push((**value).clone()),
                    Value::Optional(None) => {}
                    other => return Err(format!("value {} is not optional", other.shown())),
                }
            }
            Ok(Value::List(Arc::new(values)))
        }
        (part, [Value::Duration(duration)]) => Ok(duration_part(part, *duration)),
        (part, [Value::Timestamp(time)]) => time.part(part, None).map(Value::Int),
        (part, [Value::Timestamp(time), Value::String(zone)]) => {
            time.part(part, Some(zone)).map(Value::Int)
        }
        (name, [Value::String(text), args @ ..]) => strings::call(name, text, args, meter),
        ("join", [Value::List(list), rest @ ..]) => strings::join(list, rest.first(), meter),
        _ => Err(NO_OVERLOAD.to_owned()),
    }
}

/// The error of Go's `base64.RawStdEncoding` for a text that it does not accept.
fn raw_base64_error(text: &str) -> String {
    let is_digit = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'/');
    let kept = text.bytes().filter(|c| !matches!(c, b'\r' | b'\n'));
    let kept: Vec<u8> = kept.collect();
    let invalid = kept.iter().position(|c| !is_digit(*c));
    let at = invalid.unwrap_or(kept.len() - kept.len() % 4);
    format!("illegal base64 data at input byte {at}")
}

fn optional(value: Option<&Value>) -> Value {
    value.map_or(Value::Optional(None), |value| Value::some(value.clone()))
}

/// Whether all elements of `some` are in `all`.
fn covers(all: &[Value], some: &[Value]) -> bool {
    some.iter()
        .all(|value| all.iter().any(|other| other.equals(value)))
}

/// A conversion to the type of this name.
fn convert(to: &str, value: &Value) -> Result {
    use Value::{Bool, Bytes, Double, Duration, Int, String, Timestamp as Time, Uint};
    let failed = || {
        let to = match to {
            "duration" => "google.protobuf.Duration",
            "timestamp" => "google.protobuf.Timestamp",
            other => other,
        };
        format!(
            "type conversion error from '{}' to '{to}'",
            value.type_name()
        )
    };
    match (to, value) {
        ("bool", Bool(_)) | ("bytes", Bytes(_)) | ("double", Double(_)) => Ok(value.clone()),
        ("duration", Duration(_)) | ("int", Int(_)) | ("string", String(_)) => Ok(value.clone()),
        ("timestamp", Time(_)) | ("uint", Uint(_)) => Ok(value.clone()),

        ("bool", String(text)) => {
            let parsed = strconv::parse_bool(text.as_bytes());
            parsed.map(Bool).map_err(|_| failed())
        }
        ("bytes", String(text)) => Ok(Bytes(text.as_bytes().into())),
        ("double", Int(value)) => Ok(Double(*value as f64)),
        ("double", Uint(value)) => Ok(Double(*value as f64)),
        ("double", String(text)) => {
            let parsed = strconv::parse_float(text.as_bytes());
            parsed.map(Double).map_err(|_| failed())
        }
        ("duration", String(text)) => parse_duration(text).map(Duration).ok_or_else(failed),

        ("int", Uint(value)) => i64::try_from(*value)
            .map(Int)
            .map_err(|_| INT_OVERFLOW.into()),
        ("int", Double(value)) => {
            // the limits themselves are left out: as doubles they are not exact
            let limit = 9_223_372_036_854_775_808.0;
            if value.is_finite() && *value > -limit && *value < limit {
                Ok(Int(*value as i64))
            } else {
                Err(INT_OVERFLOW.to_owned())
            }
        }
        ("int", Duration(value)) => Ok(Int(*value)),
        ("int", Time(time)) => Ok(Int(time.seconds())),
        ("int", String(text)) => {
            let parsed = strconv::parse_int(text.as_bytes(), 10);
            parsed.map(Int).map_err(|_| failed())
        }

        ("string", Bool(value)) => Ok(String(value.to_string().into())),
        ("string", Int(value)) => Ok(String(value.to_string().into())),
        ("string", Uint(value)) => Ok(String(value.to_string().into())),
        ("string", Double(value)) => Ok(String(strconv::format_float(*value, b'g', None).into())),
        ("string", Duration(value)) => Ok(String(duration_text(*value).into())),
        ("string", Time(time)) => Ok(String(time.text().into())),
        ("string", Bytes(bytes)) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(String(text.into())),
            Err(_) => Err("invalid UTF-8 in bytes, cannot convert to string".to_owned()),
        },

        ("timestamp", Int(seconds)) => Timestamp::new(*seconds, 0).map(Time),
        ("timestamp", String(text)) => match Timestamp::parse(text) {
            Some(Err(_)) => Err(OVERFLOW.to_owned()),
            Some(Ok(time)) => Ok(Time(time)),
            None => Err(failed()),
        },

        ("uint", Int(value)) => u64::try_from(*value)
            .map(Uint)
            .map_err(|_| UINT_OVERFLOW.into()),
        ("uint", Double(value)) => {
            if value.is_finite() && *value >= 0.0 && *value < 18_446_744_073_709_551_616.0 {
                Ok(Uint(*value as u64))
            } else {
                Err(UINT_OVERFLOW.to_owned())
            }
        }
        ("uint", String(text)) => {
            let parsed = strconv::parse_uint(text.as_bytes(), 10);
            parsed.map(Uint).map_err(|_| failed())
        }
        _ => Err(failed()),
    }
}

impl Value {
    /// The name of the type in Go, as errors of cel-go write it.
    pub(crate) fn go_type(&self) -> &'static str {
        match self {
            Self::Null => "types.Null",
            Self::Bool(_) => "types.Bool",
            Self::Int(_) => "types.Int",
            Self::Uint(_) => "types.Uint",
            Self::Double(_) => "types.Double",
            Self::String(_) => "types.String",
            Self::Bytes(_) => "types.Bytes",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Duration(_) => "types.Duration",
            Self::Timestamp(_) => "types.Timestamp",
            Self::Type(_) => "*types.Type",
            Self::Optional(_) => "*types.Optional",
        }
    }
}
