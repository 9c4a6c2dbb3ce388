//! Dates and durations. The local zone is UTC, as in the controllers' images.

use std::rc::Rc;

use flux_golang::{strconv, time};
use flux_gotemplate::{CallError, Context, Functions, IntType, Str, Time, Value, Zone, load_zone};

pub(super) fn register(f: &mut Functions) {
    f.add("now", |c: &mut Context<'_>| c.now());
    f.add("date", |c: &mut Context<'_>, layout: Str, date: Value| {
        format(c, &layout, &date, b"Local")
    });
    f.add(
        "dateInZone",
        |c: &mut Context<'_>, layout: Str, date: Value, zone: Str| format(c, &layout, &date, &zone),
    );
    f.alias("date_in_zone", "dateInZone");
    f.add("htmlDate", |c: &mut Context<'_>, date: Value| {
        format(c, b"2006-01-02", &date, b"Local")
    });
    f.add(
        "htmlDateInZone",
        |c: &mut Context<'_>, date: Value, zone: Str| format(c, b"2006-01-02", &date, &zone),
    );
    f.add("dateModify", |change: Str, date: Rc<Time>| {
        time::parse_duration(&change).map_or_else(|_| (*date).clone(), |d| date.add(d))
    });
    f.alias("date_modify", "dateModify");
    f.add("mustDateModify", |change: Str, date: Rc<Time>| {
        time::parse_duration(&change)
            .map(|d| date.add(d))
            .map_err(|error| CallError::new(error.to_string()))
    });
    f.alias("must_date_modify", "mustDateModify");
    f.add("ago", |c: &mut Context<'_>, date: Value| {
        let now = c.now();
        let then = match date {
            Value::Time(time) => (*time).clone(),
            Value::Int(IntType::Int | IntType::Int64, seconds) => Time::unix(seconds, 0),
            _ => now.clone(),
        };
        let elapsed = time::round_duration(now.since(&then), 1_000_000_000);
        time::format_duration(elapsed)
    });
    f.add("duration", |v: Value| {
        let seconds = match v {
            Value::Str(s) => clamped_int(&s),
            Value::Int(IntType::Int64, n) => n,
            _ => 0,
        };
        time::format_duration(seconds.wrapping_mul(1_000_000_000))
    });
    f.add("durationRound", |c: &mut Context<'_>, v: Value| {
        duration_round(c, &v)
    });
    f.add("toDate", |layout: Str, text: Str| {
        time::parse(&layout, &text).map_or_else(|_| Time::zero(), Time::from)
    });
    f.add("mustToDate", |layout: Str, text: Str| {
        time::parse(&layout, &text)
            .map(Time::from)
            .map_err(|e| CallError::new(e.to_string()))
    });
    f.add("unixEpoch", |date: Rc<Time>| {
        date.unix_seconds().to_string()
    });
}

/// `strconv.ParseInt` without its error: a number out of range becomes the nearest one in range.
fn clamped_int(s: &[u8]) -> i64 {
    match strconv::parse_int(s, 10) {
        Ok(n) => n,
        Err(strconv::NumberError::Range) if s.first() == Some(&b'-') => i64::MIN,
        Err(strconv::NumberError::Range) => i64::MAX,
        Err(strconv::NumberError::Syntax) => 0,
    }
}

fn format(c: &mut Context<'_>, layout: &[u8], date: &Value, zone: &[u8]) -> Str {
    let time = match date {
        Value::Time(time) => (**time).clone(),
        Value::Int(IntType::Int | IntType::Int32 | IntType::Int64, n) => Time::unix(*n, 0),
        _ => c.now(),
    };
    let name = String::from_utf8_lossy(zone);
    let zone = match load_zone(&name) {
        Ok(Some(zone)) => Zone::Named(zone),
        _ => Zone::Utc,
    };
    time.in_zone(zone).format(layout).into()
}

const HOUR: u64 = 3_600_000_000_000;

fn duration_round(c: &mut Context<'_>, value: &Value) -> String {
    let d = match value {
        Value::Str(s) => time::parse_duration(s).unwrap_or(0),
        Value::Int(IntType::Int64, n) => *n,
        Value::Time(time) => c.now().since(time),
        _ => 0,
    };
    let magnitude = d.unsigned_abs();
    let units = [
        (HOUR * 24 * 365, "y"),
        (HOUR * 24 * 30, "mo"),
        (HOUR * 24, "d"),
        (HOUR, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
    ];
    units
        .iter()
        .find(|(unit, _)| magnitude > *unit)
        .map_or_else(
            || "0s".to_owned(),
            |(unit, name)| format!("{}{name}", magnitude / unit),
        )
}
