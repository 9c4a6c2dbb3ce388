//! The methods of `time.Time`, `time.Duration`, `time.Month` and `time.Weekday`.

use std::rc::Rc;

use flux_golang::time;

use super::location::Location;
use super::types::{self, Method};
use super::{IntType, Str, Time, Value, Zone};
use crate::context::Context;
use crate::error::CallError;

type Result = std::result::Result<Value, CallError>;

macro_rules! methods {
    ($($name:literal ($($param:expr),*) $body:expr;)*) => {
        &[$(Method {
            name: $name,
            params: &[$($param),*],
            variadic: false,
            call: $body,
        }),*]
    };
}

/// `time.Month` and `time.Weekday` have only `String`.
pub(super) static NAMED: &[Method] = methods! {
    "String" () text;
};

pub(super) static DURATION: &[Method] = methods! {
    "String" () text;
    "Nanoseconds" () |r, _, _| duration(r, Value::int64);
    "Microseconds" () |r, _, _| duration(r, |d| Value::int64(d / 1_000));
    "Milliseconds" () |r, _, _| duration(r, |d| Value::int64(d / 1_000_000));
    "Seconds" () |r, _, _| duration(r, |d| Value::Float(fractional(d, 1_000_000_000)));
    "Minutes" () |r, _, _| duration(r, |d| Value::Float(fractional(d, 60_000_000_000)));
    "Hours" () |r, _, _| duration(r, |d| Value::Float(fractional(d, 3_600_000_000_000)));
    "Abs" () |r, _, _| duration(r, |d| Value::duration(d.checked_abs().unwrap_or(i64::MAX)));
    "Round" (&super::time::DURATION) |r, _, a| {
        let unit = int_arg(a);
        duration(r, |d| Value::duration(time::round_duration(d, unit)))
    };
    "Truncate" (&super::time::DURATION) |r, _, a| {
        let unit = int_arg(a);
        duration(r, |d| Value::duration(if unit <= 0 { d } else { d - d % unit }))
    };
};

pub(super) static TIME: &[Method] = methods! {
    "String" () text;
    "GoString" () |r, _, _| time(r, |t| Value::from(t.go_string()));
    "Format" (&types::STRING) |r, _, a| {
        let layout = str_arg(a);
        time(r, |t| Value::Str(t.format(&layout).into()))
    };
    "Year" () |r, _, _| time(r, |t| Value::int(t.civil().year));
    "Month" () |r, _, _| time(r, |t| Value::Int(IntType::Month, i64::from(t.civil().month)));
    "Day" () |r, _, _| time(r, |t| Value::int(i64::from(t.civil().day)));
    "Hour" () |r, _, _| time(r, |t| Value::int(i64::from(t.civil().hour)));
    "Minute" () |r, _, _| time(r, |t| Value::int(i64::from(t.civil().minute)));
    "Second" () |r, _, _| time(r, |t| Value::int(i64::from(t.civil().second)));
    "Nanosecond" () |r, _, _| time(r, |t| Value::int(i64::from(t.nanoseconds())));
    "YearDay" () |r, _, _| time(r, |t| Value::int(i64::from(t.civil().year_day())));
    "Weekday" () |r, _, _| {
        time(r, |t| Value::Int(IntType::Weekday, i64::from(t.civil().weekday())))
    };
    "Unix" () |r, _, _| time(r, |t| Value::int64(t.unix_seconds()));
    "UnixMilli" () |r, _, _| time(r, |t| Value::int64(unix(t, 1_000)));
    "UnixMicro" () |r, _, _| time(r, |t| Value::int64(unix(t, 1_000_000)));
    "UnixNano" () |r, _, _| time(r, |t| Value::int64(unix(t, 1_000_000_000)));
    "IsZero" () |r, _, _| time(r, |t| Value::Bool(t.since(&Time::zero()) == 0));
    "UTC" () |r, _, _| time(r, |t| Value::from(t.clone().in_zone(Zone::Utc)));
    "Location" () |r, _, _| time(r, |t| Value::object(Location(t.zone().clone())));
    "In" (&super::location::LOCATION) |r, _, a| {
        let zone = a.pop().and_then(|v| v.downcast::<Location>().map(|l| l.0.clone()));
        let zone = zone.ok_or("time: missing Location in call to Time.In")?;
        time(r, |t| Value::from(t.clone().in_zone(zone)))
    };
    "IsDST" () |r, _, _| time(r, |t| Value::Bool(t.is_dst()));
    "MarshalText" () |r, _, _| marshal(r, "");
    "MarshalJSON" () |r, _, _| marshal(r, "\"");
    "Local" () |r, _, _| time(r, |t| Value::from(t.clone().in_zone(Zone::Utc)));
    "Add" (&super::time::DURATION) |r, _, a| {
        let d = int_arg(a);
        time(r, |t| Value::from(t.add(d)))
    };
    "AddDate" (&types::INT, &types::INT, &types::INT) |r, _, a| {
        let days = int_arg(a);
        let months = int_arg(a);
        let years = int_arg(a);
        time(r, |t| Value::from(add_date(t, years, months, days)))
    };
    "Sub" (&super::time::TIME) |r, _, a| {
        let other = time_arg(a);
        time(r, |t| Value::duration(other.map_or(0, |o| t.since(&o))))
    };
    "After" (&super::time::TIME) |r, _, a| compare(r, a, |d| d > 0);
    "Before" (&super::time::TIME) |r, _, a| compare(r, a, |d| d < 0);
    "Equal" (&super::time::TIME) |r, _, a| compare(r, a, |d| d == 0);
    "Compare" (&super::time::TIME) |r, _, a| {
        let other = time_arg(a);
        time(r, |t| Value::int(other.map_or(0, |o| t.since(&o).signum())))
    };
    "Round" (&super::time::DURATION) |r, _, a| {
        let unit = int_arg(a);
        time(r, |t| Value::from(rounded(t, unit, true)))
    };
    "Truncate" (&super::time::DURATION) |r, _, a| {
        let unit = int_arg(a);
        time(r, |t| Value::from(rounded(t, unit, false)))
    };
};

#[allow(clippy::unnecessary_wraps)] // the shape of a method body
fn text(receiver: &Value, _: &mut Context<'_>, _: &mut Vec<Value>) -> Result {
    Ok(crate::fmt::method_text(receiver).unwrap_or_default().into())
}

fn time(receiver: &Value, of: impl FnOnce(&Time) -> Value) -> Result {
    match receiver {
        Value::Time(time) => Ok(of(time)),
        other => Err(format!("{} is not a time", other.type_name()).into()),
    }
}

fn duration(receiver: &Value, of: impl FnOnce(i64) -> Value) -> Result {
    match receiver {
        Value::Int(_, n) => Ok(of(*n)),
        other => Err(format!("{} is not a duration", other.type_name()).into()),
    }
}

/// The time in RFC 3339, enclosed in `quote`.
fn marshal(receiver: &Value, quote: &str) -> Result {
    let Value::Time(time) = receiver else {
        return Err(format!("{} is not a time", receiver.type_name()).into());
    };
    let Some(text) = time.rfc3339() else {
        let method = if quote.is_empty() {
            "MarshalText"
        } else {
            "MarshalJSON"
        };
        return Err(format!("Time.{method}: year outside of range [0,9999]").into());
    };
    Ok(Value::bytes(
        [quote.as_bytes(), &text, quote.as_bytes()].concat(),
    ))
}

/// Go adds the whole units and the fraction separately, which affects the last bit.
fn fractional(d: i64, unit: i64) -> f64 {
    (d / unit) as f64 + (d % unit) as f64 / unit as f64
}

fn unix(t: &Time, per_second: i64) -> i64 {
    let fraction = i64::from(t.nanoseconds()) / (1_000_000_000 / per_second);
    t.unix_seconds()
        .wrapping_mul(per_second)
        .wrapping_add(fraction)
}

/// The last argument, an integer.
fn int_arg(args: &mut Vec<Value>) -> i64 {
    match args.pop() {
        Some(Value::Int(_, n)) => n,
        _ => 0,
    }
}

fn str_arg(args: &mut Vec<Value>) -> Str {
    match args.pop() {
        Some(Value::Str(s)) => s,
        _ => Str::default(),
    }
}

fn time_arg(args: &mut Vec<Value>) -> Option<Rc<Time>> {
    match args.pop() {
        Some(Value::Time(time)) => Some(time),
        _ => None,
    }
}

fn compare(receiver: &Value, args: &mut Vec<Value>, holds: fn(i64) -> bool) -> Result {
    let other = time_arg(args);
    time(receiver, |t| {
        Value::Bool(other.is_some_and(|o| holds(t.since(&o))))
    })
}

/// `Time.AddDate`: months and days overflow into the next unit.
fn add_date(t: &Time, years: i64, months: i64, days: i64) -> Time {
    let (offset, _) = t.offset();
    let mut civil = t.civil();
    let month = i64::from(civil.month - 1).saturating_add(months);
    civil.year = civil
        .year
        .saturating_add(years)
        .saturating_add(month.div_euclid(12));
    civil.month = month.rem_euclid(12) as u32 + 1;
    let local = civil.seconds().saturating_add(days.saturating_mul(86_400));
    let guess = Time::unix(local.wrapping_sub(i64::from(offset)), t.nanoseconds())
        .in_zone(t.zone().clone());
    // The offset may differ at that time.
    let (there, _) = guess.offset();
    Time::unix(local.wrapping_sub(i64::from(there)), t.nanoseconds()).in_zone(t.zone().clone())
}

/// `Time.Round` and `Time.Truncate`, counted from the zero time.
pub(crate) fn rounded(t: &Time, unit: i64, nearest: bool) -> Time {
    let t = t.clone().wall();
    if unit <= 0 {
        return t;
    }
    let zero = Time::zero();
    let since = (i128::from(t.unix_seconds()) - i128::from(zero.unix_seconds())) * 1_000_000_000
        + i128::from(t.nanoseconds());
    let rest = since.rem_euclid(i128::from(unit)) as i64;
    if nearest && rest >= unit - rest {
        t.add(unit - rest)
    } else {
        t.add(-rest)
    }
}
