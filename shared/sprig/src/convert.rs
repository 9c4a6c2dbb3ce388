//! Conversions: `int`, `int64`, `float64`, `atoi`, `toDecimal`, `toString`, and those that other functions use.

use flux_golang::strconv;
use flux_gotemplate::{CallError, Functions, IntType, Str, UintType, Value, fmt};

pub(super) fn register(f: &mut Functions) {
    f.add("int", |v: Value| to_int64(&v));
    f.add("int64", |v: Value| Value::int64(to_int64(&v)));
    f.add("float64", |v: Value| to_float64(&v));
    f.add("atoi", |s: Str| atoi(&s));
    f.add("toDecimal", |v: Value| {
        let text = fmt::sprint(&[v])?;
        Ok::<_, CallError>(Value::int64(strconv::parse_int(&text, 8).unwrap_or(0)))
    });
    f.add("toString", |v: Value| to_text(&v));
}

/// Sprig's `strval`: the text of a value.
pub(super) fn to_text(value: &Value) -> Result<Str, CallError> {
    match value {
        Value::Str(s) => Ok(s.clone()),
        Value::Bytes(bytes) => Ok(Str::new(bytes)),
        value => fmt::sprint(std::slice::from_ref(value)),
    }
}

/// `cast.ToInt64`: 0 for values that are not numbers.
pub(super) fn to_int64(value: &Value) -> i64 {
    match value {
        Value::Int(IntType::Duration, _) | Value::Uint(UintType::Uintptr, _) => 0,
        Value::Int(_, n) => *n,
        Value::Uint(_, n) => *n as i64,
        Value::Float(f) => truncate(*f),
        Value::Float32(f) => truncate(f64::from(*f)),
        Value::Str(s) => strconv::parse_int(trim_zero_decimal(s), 0).unwrap_or(0),
        Value::Bool(b) => i64::from(*b),
        _ => 0,
    }
}

/// Go's conversion on amd64, where values out of range become the smallest integer.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn truncate(f: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&f) {
        f as i64
    } else {
        i64::MIN
    }
}

/// `12.00` becomes `12`; other texts are unchanged.
fn trim_zero_decimal(s: &[u8]) -> &[u8] {
    let mut zero = false;
    for (i, b) in s.iter().enumerate().rev() {
        match b {
            b'.' if zero => return s.get(..i).unwrap_or_default(),
            b'.' => {}
            b'0' => zero = true,
            _ => return s,
        }
    }
    s
}

/// `cast.ToFloat64`: 0 for values that are not numbers.
pub(super) fn to_float64(value: &Value) -> f64 {
    match value {
        Value::Int(IntType::Duration, _) | Value::Uint(UintType::Uintptr, _) => 0.0,
        Value::Int(_, n) => *n as f64,
        Value::Uint(_, n) => *n as f64,
        Value::Float(f) => *f,
        Value::Float32(f) => f64::from(*f),
        Value::Str(s) => strconv::parse_float(s).unwrap_or(0.0),
        Value::Bool(b) => f64::from(u8::from(*b)),
        _ => 0.0,
    }
}

/// `strconv.Atoi` without its error: a number out of range becomes the nearest one in range.
fn atoi(s: &[u8]) -> i64 {
    match strconv::parse_int(s, 10) {
        Ok(n) => n,
        Err(strconv::NumberError::Range) if s.first() == Some(&b'-') => i64::MIN,
        Err(strconv::NumberError::Range) => i64::MAX,
        Err(strconv::NumberError::Syntax) => 0,
    }
}
