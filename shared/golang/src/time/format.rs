//! `Time.Format`: layouts written as an example time.

use super::{Civil, MONTHS, WEEKDAYS};

/// One element of a layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    LongYear,
    Year,
    UpperPm,
    LowerPm,
    ZoneName,
    Offset(Offset),
    /// `.000`: this many digits after the separator.
    Fraction(u8, usize),
    /// `.999`: at most this many digits, without trailing zeros.
    ShortFraction(u8, usize),
}

/// The format of an offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offset {
    /// Whether UTC is written as `Z`.
    pub(super) z: bool,
    pub(super) colons: bool,
    pub(super) minutes: bool,
    pub(super) seconds: bool,
}

const fn offset(z: bool, colons: bool, minutes: bool, seconds: bool) -> Element {
    Element::Offset(Offset {
        z,
        colons,
        minutes,
        seconds,
    })
}

/// Elements that are recognised by their text alone, longer ones first.
const FIXED: &[(&[u8], Element)] = &[
    (b"January", Element::LongMonth),
    (b"Monday", Element::LongWeekday),
    (b"MST", Element::ZoneName),
    (b"01", Element::ZeroMonth),
    (b"02", Element::ZeroDay),
    (b"03", Element::ZeroHour12),
    (b"04", Element::ZeroMinute),
    (b"05", Element::ZeroSecond),
    (b"06", Element::Year),
    (b"002", Element::ZeroYearDay),
    (b"15", Element::Hour),
    (b"1", Element::NumMonth),
    (b"2006", Element::LongYear),
    (b"2", Element::Day),
    (b"__2", Element::UnderYearDay),
    (b"3", Element::Hour12),
    (b"4", Element::Minute),
    (b"5", Element::Second),
    (b"PM", Element::UpperPm),
    (b"pm", Element::LowerPm),
    (b"-070000", offset(false, false, true, true)),
    (b"-07:00:00", offset(false, true, true, true)),
    (b"-0700", offset(false, false, true, false)),
    (b"-07:00", offset(false, true, true, false)),
    (b"-07", offset(false, false, false, false)),
    (b"Z070000", offset(true, false, true, true)),
    (b"Z07:00:00", offset(true, true, true, true)),
    (b"Z0700", offset(true, false, true, false)),
    (b"Z07:00", offset(true, true, true, false)),
    (b"Z07", offset(true, false, false, false)),
];

/// The text before the first element of a layout, that element with its text, and the rest.
pub(super) type Split<'l> = (&'l [u8], Option<(Element, &'l [u8])>, &'l [u8]);

/// Splits a layout at its first element.
pub(super) fn next_element(layout: &[u8]) -> Split<'_> {
    for start in 0..layout.len() {
        let rest = layout.get(start..).unwrap_or_default();
        if let Some((element, skip, len)) = element_at(rest) {
            let before = layout.get(..start + skip).unwrap_or_default();
            let text = rest.get(skip..len).unwrap_or_default();
            let after = rest.get(len..).unwrap_or_default();
            return (before, Some((element, text)), after);
        }
    }
    (layout, None, b"")
}

/// The element at the start: the number of bytes before it that are plain text, and its end.
fn element_at(rest: &[u8]) -> Option<(Element, usize, usize)> {
    let lower_follows = rest.get(3).is_some_and(u8::is_ascii_lowercase);
    match rest {
        [b'_', b'2', tail @ ..] => {
            return Some(if tail.starts_with(b"006") {
                (Element::LongYear, 1, 5)
            } else {
                (Element::UnderDay, 0, 2)
            });
        }
        [separator @ (b'.' | b','), digit @ (b'0' | b'9'), ..] => {
            let run = rest.iter().skip(1).take_while(|b| *b == digit).count();
            if rest.get(1 + run).is_some_and(u8::is_ascii_digit) {
                return None;
            }
            let element = if *digit == b'0' {
                Element::Fraction(*separator, run)
            } else {
                Element::ShortFraction(*separator, run)
            };
            return Some((element, 0, 1 + run));
        }
        _ => {}
    }
    let fixed = FIXED.iter().find(|(text, _)| rest.starts_with(text));
    if let Some((text, element)) = fixed {
        return Some((*element, 0, text.len()));
    }
    if rest.starts_with(b"Jan") && !lower_follows {
        return Some((Element::Month, 0, 3));
    }
    if rest.starts_with(b"Mon") && !lower_follows {
        return Some((Element::Weekday, 0, 3));
    }
    None
}

/// Formats a time, given in seconds since 1970 UTC, at an offset in seconds, with a layout.
pub fn format(layout: &[u8], seconds: i64, nanoseconds: u32, offset: i32, zone: &str) -> Vec<u8> {
    let civil = Civil::of_seconds(seconds.wrapping_add(i64::from(offset)));
    let mut out = Vec::with_capacity(layout.len() + 10);
    let mut layout = layout;
    loop {
        let (before, element, after) = next_element(layout);
        out.extend_from_slice(before);
        let Some((element, _)) = element else {
            return out;
        };
        layout = after;
        write(&mut out, element, civil, nanoseconds, offset, zone);
    }
}

fn write(
    out: &mut Vec<u8>,
    element: Element,
    civil: Civil,
    nanoseconds: u32,
    offset: i32,
    zone: &str,
) {
    let month = MONTHS[(civil.month as usize - 1) % 12];
    let weekday = WEEKDAYS[civil.weekday() as usize % 7];
    let hour12 = match civil.hour % 12 {
        0 => 12,
        h => h,
    };
    let text = match element {
        Element::LongMonth => month.to_owned(),
        Element::Month => month[..3].to_owned(),
        Element::NumMonth => civil.month.to_string(),
        Element::ZeroMonth => format!("{:02}", civil.month),
        Element::LongWeekday => weekday.to_owned(),
        Element::Weekday => weekday[..3].to_owned(),
        Element::Day => civil.day.to_string(),
        Element::UnderDay => format!("{:2}", civil.day),
        Element::ZeroDay => format!("{:02}", civil.day),
        Element::UnderYearDay => format!("{:3}", civil.year_day()),
        Element::ZeroYearDay => format!("{:03}", civil.year_day()),
        Element::Hour => format!("{:02}", civil.hour),
        Element::Hour12 => hour12.to_string(),
        Element::ZeroHour12 => format!("{hour12:02}"),
        Element::Minute => civil.minute.to_string(),
        Element::ZeroMinute => format!("{:02}", civil.minute),
        Element::Second => civil.second.to_string(),
        Element::ZeroSecond => format!("{:02}", civil.second),
        Element::LongYear => year(civil.year),
        Element::Year => format!("{:02}", civil.year.unsigned_abs() % 100),
        Element::UpperPm => if civil.hour >= 12 { "PM" } else { "AM" }.to_owned(),
        Element::LowerPm => if civil.hour >= 12 { "pm" } else { "am" }.to_owned(),
        Element::ZoneName if !zone.is_empty() => zone.to_owned(),
        Element::ZoneName => offset_text(
            offset,
            Offset {
                z: false,
                colons: false,
                minutes: true,
                seconds: false,
            },
        ),
        Element::Offset(shape) => offset_text(offset, shape),
        Element::Fraction(separator, digits) => fraction(separator, nanoseconds, digits),
        Element::ShortFraction(separator, digits) => {
            let text = fraction(separator, nanoseconds, digits);
            text.trim_end_matches('0')
                .trim_end_matches(char::from(separator))
                .to_owned()
        }
    };
    out.extend_from_slice(text.as_bytes());
}

/// A year with at least four digits and a leading sign.
fn year(year: i64) -> String {
    let sign = if year < 0 { "-" } else { "" };
    format!("{sign}{:04}", year.unsigned_abs())
}

fn fraction(separator: u8, nanoseconds: u32, digits: usize) -> String {
    let nine = format!("{nanoseconds:09}");
    let mut text = String::from(char::from(separator));
    text.extend(nine.chars().chain(std::iter::repeat('0')).take(digits));
    text
}

fn offset_text(offset: i32, shape: Offset) -> String {
    if offset == 0 && shape.z {
        return "Z".to_owned();
    }
    // The sign is that of the minutes.
    let minutes = offset / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    let seconds = if minutes < 0 { -offset } else { offset } % 60;
    let minutes = minutes.abs();
    let colon = if shape.colons { ":" } else { "" };
    let mut text = format!("{sign}{:02}", minutes / 60);
    if shape.minutes {
        text.push_str(&format!("{colon}{:02}", minutes % 60));
    }
    if shape.seconds {
        text.push_str(&format!("{colon}{seconds:02}"));
    }
    text
}
