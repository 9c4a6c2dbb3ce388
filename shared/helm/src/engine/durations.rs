//! The functions for durations (HE-FNN-016).

use flux_golang::{strconv, time};
use flux_gotemplate::{CallError, Functions, IntType, Value};

const SECOND: i64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;

pub(super) fn add(functions: &mut Functions) {
    functions.add("mustToDuration", |value: Value| {
        of(&value).map(Value::duration).map_err(CallError::new)
    });
    for (name, unit, divisor) in [
        ("durationSeconds", SECOND, 1.0),
        ("durationMinutes", MINUTE, 1.0),
        ("durationHours", HOUR, 1.0),
        ("durationDays", HOUR, 24.0),
    ] {
        functions.add(name, move |value: Value| {
            counted(of(&value).unwrap_or(0), unit) / divisor
        });
    }
    functions.add("durationWeeks", |value: Value| {
        counted(of(&value).unwrap_or(0), HOUR) / 24.0 / 7.0
    });
    for (name, unit) in [
        ("durationMilliseconds", 1_000_000),
        ("durationMicroseconds", 1_000),
        ("durationNanoseconds", 1),
    ] {
        functions.add(name, move |value: Value| {
            Value::int64(of(&value).unwrap_or(0) / unit)
        });
    }
    functions.add("durationRoundTo", |value: Value, multiple: Value| {
        to_multiple(&value, &multiple, time::round_duration)
    });
    functions.add("durationTruncateTo", |value: Value, multiple: Value| {
        let truncated = |duration: i64, multiple: i64| match multiple {
            ..=0 => duration,
            multiple => duration - duration % multiple,
        };
        to_multiple(&value, &multiple, truncated)
    });
}

/// A duration as a number of units: the whole ones and the rest are added as floats, as in Go.
fn counted(duration: i64, unit: i64) -> f64 {
    (duration / unit) as f64 + (duration % unit) as f64 / unit as f64
}

/// A multiple that is no duration leaves the value as it is.
fn to_multiple(value: &Value, multiple: &Value, change: impl Fn(i64, i64) -> i64) -> Value {
    let Ok(duration) = of(value) else {
        return Value::duration(0);
    };
    let changed = of(multiple).map_or(duration, |multiple| change(duration, multiple));
    Value::duration(changed)
}

/// The nanoseconds of a duration, of its text, or of a number of seconds.
fn of(value: &Value) -> Result<i64, String> {
    match value {
        Value::Int(IntType::Duration, duration) => Ok(*duration),
        Value::Nil => Err("invalid duration".to_owned()),
        Value::Int(_, seconds) => {
            let duration = seconds.checked_mul(SECOND);
            duration.ok_or_else(|| format!("duration seconds overflow: {seconds}"))
        }
        Value::Uint(_, seconds) => {
            let duration = i64::try_from(*seconds).ok();
            let duration = duration.and_then(|seconds| seconds.checked_mul(SECOND));
            duration.ok_or_else(|| format!("duration seconds overflow: {seconds}"))
        }
        Value::Float(seconds) => of_seconds(*seconds),
        Value::Float32(seconds) => of_seconds(f64::from(*seconds)),
        Value::Str(text) => {
            let trimmed = text.to_text();
            let trimmed = trimmed.trim_matches(flux_golang::unicode::is_space);
            if trimmed.is_empty() {
                return Err("empty duration".to_owned());
            }
            if let Ok(duration) = time::parse_duration(trimmed.as_bytes()) {
                return Ok(duration);
            }
            match strconv::parse_float(trimmed.as_bytes()) {
                Ok(seconds) => of_seconds(seconds),
                Err(_) => Err(format!("could not parse duration {}", strconv::quote(text))),
            }
        }
        other => Err(format!("unsupported duration type {}", other.type_name())),
    }
}

fn of_seconds(seconds: f64) -> Result<i64, String> {
    /// The nanoseconds that a duration can have.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    let text = |number: f64| strconv::format_float(number, b'g', None);
    if !seconds.is_finite() {
        return Err(format!("invalid duration seconds: {}", text(seconds)));
    }
    if seconds.abs() > LIMIT / SECOND as f64 {
        return Err(format!("duration seconds overflow: {}", text(seconds)));
    }
    let nanoseconds = seconds * SECOND as f64;
    if nanoseconds.abs() > LIMIT {
        let text = text(nanoseconds);
        return Err(format!("duration nanoseconds overflow: {text}"));
    }
    // Go's conversion of a number out of range.
    Ok(if nanoseconds < LIMIT {
        nanoseconds as i64
    } else {
        i64::MIN
    })
}
