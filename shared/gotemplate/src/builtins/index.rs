//! `index`, `slice`, `len`.

use super::{no_value, prepare};
use crate::error::CallError;
use crate::exec::Rv;
use crate::value::{List, Str, Type, UintType, Value, types};

/// `index x i j`: `x[i][j]`.
pub(super) fn index(item: &Rv, indexes: &[Rv]) -> Result<Rv, CallError> {
    if item.value().is_none() {
        return Err("index of untyped nil".into());
    }
    let mut item = item.clone();
    for at in indexes {
        let Some(value) = item.value() else {
            return Err("index of nil pointer".into());
        };
        item = match value {
            Value::Str(s) => byte(s, at, "string")?,
            Value::Bytes(bytes) => byte(bytes, at, "slice")?,
            Value::List(list) => {
                let items = list.items();
                let i = position(at, items.len())?;
                let found = items.get(i).cloned().ok_or_else(|| out_of_range("slice"))?;
                element(list.go_type(), found)
            }
            Value::Map(map) => {
                let keys = map.go_type().key;
                let key_type = keys.map_or(&types::STRING, |keys| keys.go_type);
                let key = prepare(at.value().cloned(), key_type)?;
                let key = keys.map_or_else(|| key.as_str().cloned(), |keys| (keys.text)(&key));
                let found = key.and_then(|key| map.get(&key));
                let elem = map.go_type().elem.unwrap_or(&types::ANY);
                element(
                    map.go_type(),
                    found.unwrap_or_else(|| crate::exec::zero(elem)),
                )
            }
            other => {
                return Err(format!("can't index item of type {}", other.type_name()).into());
            }
        };
    }
    Ok(item)
}

fn byte(bytes: &[u8], at: &Rv, kind: &str) -> Result<Rv, CallError> {
    let i = position(at, bytes.len())?;
    let b = bytes.get(i).copied().ok_or_else(|| out_of_range(kind))?;
    Ok(Rv::Is(Value::Uint(UintType::Uint8, u64::from(b))))
}

fn element(container: Type, value: Value) -> Rv {
    if container
        .elem
        .is_none_or(super::super::value::types::TypeInfo::is_any)
    {
        Rv::Interface(value)
    } else {
        Rv::Is(value)
    }
}

/// The panic of `reflect` for an index equal to the length, which passes Go's own check.
fn out_of_range(kind: &str) -> CallError {
    CallError::new(format!("reflect: {kind} index out of range"))
}

/// `indexArg`
fn position(index: &Rv, cap: usize) -> Result<usize, CallError> {
    let n = match index.value() {
        Some(Value::Int(_, n)) => *n,
        Some(Value::Uint(_, n)) => *n as i64,
        None => return Err("cannot index slice/array with nil".into()),
        Some(other) => {
            return Err(format!("cannot index slice/array with type {}", other.type_name()).into());
        }
    };
    usize::try_from(n)
        .ok()
        .filter(|&n| n <= cap)
        .ok_or_else(|| CallError::new(format!("index out of range: {n}")))
}

/// `slice x i j k`: `x[i:j:k]`.
pub(super) fn slice(item: &Rv, indexes: &[Rv]) -> Result<Rv, CallError> {
    let Some(value) = item.value() else {
        return Err("slice of untyped nil".into());
    };
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()).into());
    }
    let len = match value {
        Value::Str(_) if indexes.len() == 3 => return Err("cannot 3-index slice a string".into()),
        Value::Str(s) => s.len(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.items().len(),
        other => return Err(format!("can't slice item of type {}", other.type_name()).into()),
    };
    let mut bounds = [0, len, len];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, len)?;
    }
    let [from, to, cap] = bounds;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}").into());
    }
    if indexes.len() == 3 && to > cap {
        return Err(format!("invalid slice index: {to} > {cap}").into());
    }
    let cut = |bytes: &[u8]| bytes.get(from..to).unwrap_or_default().to_vec();
    Ok(Rv::Is(match value {
        Value::Str(s) => Value::Str(Str::from(cut(s))),
        Value::Bytes(bytes) => Value::bytes(cut(bytes)),
        Value::List(list) => {
            let items = list.items().get(from..to).unwrap_or_default();
            Value::List(List::of(list.go_type(), items.to_vec()))
        }
        _ => Value::Nil,
    }))
}

/// `len x`
pub(super) fn len(item: &Rv) -> Result<usize, CallError> {
    match item {
        Rv::Invalid => Err(no_value("Type")),
        Rv::Interface(Value::Nil) => Err("len of nil pointer".into()),
        Rv::Is(value) | Rv::Interface(value) => match value {
            Value::Str(s) => Ok(s.len()),
            Value::Bytes(bytes) => Ok(bytes.len()),
            Value::List(list) => Ok(list.items().len()),
            Value::Map(map) => Ok(map.len()),
            other => {
                // Go dereferences a pointer first.
                let name = other.type_name().trim_start_matches('*');
                Err(format!("len of type {name}").into())
            }
        },
    }
}
