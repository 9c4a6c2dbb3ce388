//! Go's `time`: layouts and durations. Zones are up to the caller: this module reads no database.

mod civil;
mod duration;
mod format;
mod parse;

pub use civil::Civil;
pub use duration::{DurationError, format_duration, parse_duration, round_duration};
pub use format::format;
pub use parse::{ParseError, Parsed, parse};

/// The names of the months, January first.
pub const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The names of the weekdays, Sunday first.
pub const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// `time.Month.String`
pub fn month_text(month: i64) -> String {
    named(&MONTHS, month.checked_sub(1), "Month", month)
}

/// `time.Weekday.String`
pub fn weekday_text(day: i64) -> String {
    named(&WEEKDAYS, Some(day), "Weekday", day)
}

fn named(names: &[&str], index: Option<i64>, kind: &str, n: i64) -> String {
    let name = index
        .and_then(|i| usize::try_from(i).ok())
        .and_then(|i| names.get(i));
    name.map_or_else(
        || format!("%!{kind}({})", n as u64),
        |name| (*name).to_owned(),
    )
}
