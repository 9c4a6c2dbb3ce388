//! Go's `time` package: layouts, durations, zones.

mod civil;
mod duration;
mod format;
mod parse;
mod zone;

pub(crate) use civil::Civil;
pub(crate) use duration::{duration_text, parse_duration, round_duration};
pub(crate) use format::format;
pub(crate) use parse::parse;
pub(crate) use zone::{is_dst_at, load_zone, offset_at};

/// The names of the months, January first.
pub(crate) const MONTHS: [&str; 12] = [
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
pub(crate) const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// `time.Month.String`
pub(crate) fn month_text(month: i64) -> String {
    named(&MONTHS, month.checked_sub(1), "Month", month)
}

/// `time.Weekday.String`
pub(crate) fn weekday_text(day: i64) -> String {
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
