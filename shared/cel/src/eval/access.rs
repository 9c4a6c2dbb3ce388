//! Fields and elements of values.

use super::Outcome;
use crate::value::Value;

/// A field or an element of a value. What is absent is an error, or with `optional` an optional without value; the operand
/// may be an optional itself.
pub(super) fn qualify(operand: Value, key: &Value, optional: bool) -> Outcome {
    let (operand, optional) = match operand {
        Value::Optional(None) => return Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => ((*inner).clone(), true),
        other => (other, optional),
    };
    let found = find_field(&operand, key)?;
    match found {
        Some(found) if optional => Ok(Value::some(found)),
        Some(found) => Ok(found),
        None if optional => Ok(Value::Optional(None)),
        None => Err(match operand {
            Value::List(_) => format!("index out of bounds: {}", key.shown()),
            _ => format!("no such key: {}", key.shown()),
        }
        .into()),
    }
}

pub(super) fn find_field(operand: &Value, key: &Value) -> Outcome<Option<Value>> {
    match key {
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::String(_) => {
            find(operand, key)
        }
        other => Err(format!("invalid qualifier type: {}", other.go_type()).into()),
    }
}

pub(super) fn find(operand: &Value, key: &Value) -> Outcome<Option<Value>> {
    match operand {
        Value::Map(map) => Ok(map.get(key).cloned()),
        Value::List(list) => {
            let index = index_of(key)?;
            let index = usize::try_from(index).ok();
            Ok(index.and_then(|index| list.get(index)).cloned())
        }
        _ => Ok(None),
    }
}

/// A number as the index into a list.
fn index_of(key: &Value) -> Result<i64, String> {
    let unsupported = || format!("unsupported index value {} in list", key.shown());
    match key {
        Value::Int(index) => Ok(*index),
        Value::Uint(index) => i64::try_from(*index).map_err(|_| unsupported()),
        Value::Double(index) if index.fract() == 0.0 && index.abs() < 9.0e18 => Ok(*index as i64),
        Value::Double(_) => Err(unsupported()),
        other => Err(format!(
            "unsupported index type '{}' in list",
            other.type_name()
        )),
    }
}
