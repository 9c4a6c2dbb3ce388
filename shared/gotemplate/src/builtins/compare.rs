//! `eq`, `ne`, `lt`, `le`, `gt`, `ge`.

use std::cmp::Ordering;
use std::rc::Rc;

use crate::error::CallError;
use crate::exec::Rv;
use crate::fmt;
use crate::value::{Kind, Value};

const BAD_TYPE: &str = "invalid type for comparison";

/// The kinds of values that can be compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Basic {
    Bool,
    Complex,
    Int,
    Float,
    String,
    Uint,
}

fn basic(value: Option<&Value>) -> Option<Basic> {
    Some(match value? {
        Value::Bool(_) => Basic::Bool,
        Value::Int(..) => Basic::Int,
        Value::Uint(..) => Basic::Uint,
        Value::Float(_) | Value::Float32(_) => Basic::Float,
        Value::Complex(..) => Basic::Complex,
        Value::Str(_) => Basic::String,
        _ => return None,
    })
}

fn incompatible(a: &Value, b: &Value) -> CallError {
    CallError::new(format!(
        "incompatible types for comparison: {} and {}",
        a.type_name(),
        b.type_name()
    ))
}

/// Whether the first value equals any of the others.
pub(super) fn eq(first: &Rv, others: &[Rv]) -> Result<bool, CallError> {
    let a = first.value();
    if others.is_empty() {
        return Err("missing argument for comparison".into());
    }
    for other in others {
        if equal(a, other.value())? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equal(a: Option<&Value>, b: Option<&Value>) -> Result<bool, CallError> {
    let (ka, kb) = (basic(a), basic(b));
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (None, None) => return Ok(true),
        // Nothing equals a typed nil either.
        (Some(v), None) | (None, Some(v)) => return Ok(basic(Some(v)).is_none() && v.is_nil()),
    };
    Ok(match (a, b) {
        (Value::Int(_, a), Value::Int(_, b)) => a == b,
        (Value::Uint(_, a), Value::Uint(_, b)) => a == b,
        (Value::Int(_, i), Value::Uint(_, u)) | (Value::Uint(_, u), Value::Int(_, i)) => {
            u64::try_from(*i).is_ok_and(|i| i == *u)
        }
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Complex(ar, ai), Value::Complex(br, bi)) => same(*ar, *br) && same(*ai, *bi),
        _ if ka != kb => return Err(incompatible(a, b)),
        _ if ka == Some(Basic::Float) => {
            matches!((float(a), float(b)), (Some(a), Some(b)) if same(a, b))
        }
        _ => return uncommon(a, b),
    })
}

#[allow(clippy::float_cmp)] // Go compares floats exactly
fn same(a: f64, b: f64) -> bool {
    a == b
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Float(f) => Some(*f),
        Value::Float32(f) => Some(f64::from(*f)),
        _ => None,
    }
}

/// Compares values that are not of a basic kind.
fn uncommon(a: &Value, b: &Value) -> Result<bool, CallError> {
    if a.kind() != b.kind() {
        // The odd order of types and values is Go's.
        return Err(CallError::new(format!(
            "non-comparable types {}: {}, {}: {}",
            fmt::text_as(a, 's'),
            a.type_name(),
            b.type_name(),
            fmt::text(b)
        )));
    }
    if a.is_nil() || b.is_nil() {
        return Ok(a.is_nil() == b.is_nil());
    }
    match (a, b) {
        (Value::Time(a), Value::Time(b)) => Ok(a.identical(b)),
        (Value::Object(x), Value::Object(y)) => {
            if a.kind() == Some(Kind::Pointer) {
                return Ok(Rc::ptr_eq(x, y));
            }
            Ok(crate::value::deep_equal(a, b))
        }
        _ => Err(CallError::new(format!(
            "non-comparable type {}: {}",
            fmt::text_as(b, 's'),
            b.type_name()
        ))),
    }
}

/// `a < b`
pub(super) fn lt(a: &Rv, b: &Rv) -> Result<bool, CallError> {
    let (Some(a), Some(b)) = (a.value(), b.value()) else {
        return Err(BAD_TYPE.into());
    };
    let (Some(ka), Some(kb)) = (basic(Some(a)), basic(Some(b))) else {
        return Err(BAD_TYPE.into());
    };
    Ok(match (a, b) {
        (Value::Int(_, a), Value::Int(_, b)) => a < b,
        (Value::Uint(_, a), Value::Uint(_, b)) => a < b,
        (Value::Int(_, a), Value::Uint(_, b)) => u64::try_from(*a).map_or(true, |a| a < *b),
        (Value::Uint(_, a), Value::Int(_, b)) => u64::try_from(*b).is_ok_and(|b| *a < b),
        (Value::Str(a), Value::Str(b)) => a < b,
        _ if ka != kb => return Err(incompatible(a, b)),
        _ => match (float(a), float(b)) {
            (Some(a), Some(b)) => a.partial_cmp(&b) == Some(Ordering::Less),
            _ => return Err(BAD_TYPE.into()),
        },
    })
}

/// `a <= b`
pub(super) fn le(a: &Rv, b: &Rv) -> Result<bool, CallError> {
    Ok(lt(a, b)? || eq(a, std::slice::from_ref(b))?)
}
