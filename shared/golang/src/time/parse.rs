//! `time.ParseInLocation` in UTC.

use super::duration::quote;
use super::format::{Element, Offset, next_element};
use super::{Civil, MONTHS, WEEKDAYS};

/// A text does not match its layout; the message is Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("parsing time {value}{problem}")]
pub struct ParseError {
    value: String,
    problem: String,
}

/// Why an element does not match.
enum Bad {
    Value,
    Range(&'static str),
}

#[derive(Default)]
struct Elements {
    year: i64,
    month: Option<u32>,
    day: Option<u32>,
    year_day: Option<u32>,
    hour: u32,
    minute: u32,
    second: u32,
    nanoseconds: u32,
    am: bool,
    pm: bool,
    utc: bool,
    offset: Option<i32>,
    zone: Option<String>,
}

/// The result of [`parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanoseconds: u32,
    /// The zone's abbreviation (may be empty), and its offset in seconds east of UTC; `None` for UTC.
    pub zone: Option<(String, i32)>,
}

/// Parses `value` according to `layout`.
///
/// # Errors
/// The text does not match the layout.
pub fn parse(layout: &[u8], value: &[u8]) -> Result<Parsed, ParseError> {
    let whole = value;
    let error = |problem: String| ParseError {
        value: quote(whole),
        problem,
    };
    let mismatch = |element: &[u8], value: &[u8]| {
        error(format!(
            " as {}: cannot parse {} as {}",
            quote(layout),
            quote(value),
            quote(element)
        ))
    };
    let mut parsed = Elements::default();
    let (mut rest, mut value) = (layout, value);
    loop {
        let (before, element, after) = next_element(rest);
        value = skip(value, before).map_err(|at| mismatch(before, at))?;
        let Some((element, text)) = element else {
            if value.is_empty() {
                break;
            }
            return Err(error(format!(": extra text: {}", quote(value))));
        };
        rest = after;
        match parsed.take(element, value, rest) {
            Ok(left) => value = left,
            Err(Bad::Range(what)) => return Err(error(format!(": {what} out of range"))),
            Err(Bad::Value) => return Err(mismatch(text, value)),
        }
    }
    parsed.finish().map_err(|what| error(format!(": {what}")))
}

/// Removes a prefix; a run of blanks matches any other run.
fn skip<'a>(mut value: &'a [u8], mut prefix: &[u8]) -> Result<&'a [u8], &'a [u8]> {
    let blanks = |s: &[u8]| s.iter().take_while(|b| **b == b' ').count();
    while let Some((&first, tail)) = prefix.split_first() {
        if first == b' ' {
            if value.first().is_some_and(|b| *b != b' ') {
                return Err(value);
            }
            prefix = prefix.get(blanks(prefix)..).unwrap_or_default();
            value = value.get(blanks(value)..).unwrap_or_default();
            continue;
        }
        match value.split_first() {
            Some((b, after)) if *b == first => value = after,
            _ => return Err(value),
        }
        prefix = tail;
    }
    Ok(value)
}

type Taken<'a, T> = Result<(T, &'a [u8]), Bad>;

fn digit(value: &[u8], i: usize) -> Option<u32> {
    let b = value.get(i).filter(|b| b.is_ascii_digit())?;
    Some(u32::from(b - b'0'))
}

/// Parses one or two digits; exactly two if `fixed`.
fn number(value: &[u8], fixed: bool) -> Taken<'_, u32> {
    let first = digit(value, 0).ok_or(Bad::Value)?;
    match digit(value, 1) {
        Some(second) => Ok((first * 10 + second, value.get(2..).unwrap_or_default())),
        None if fixed => Err(Bad::Value),
        None => Ok((first, value.get(1..).unwrap_or_default())),
    }
}

/// Parses two digits, or a sign and one digit, which Go accepts by accident.
fn short_year(value: &[u8]) -> Taken<'_, i64> {
    let sign = match value.first() {
        Some(b'-') => -1,
        Some(b'+') => 1,
        _ => return number(value, true).map(|(n, rest)| (i64::from(n), rest)),
    };
    let n = digit(value, 1).ok_or(Bad::Value)?;
    Ok((sign * i64::from(n), value.get(2..).unwrap_or_default()))
}

fn bounded<'a>(value: &'a [u8], fixed: bool, end: u32, what: &'static str) -> Taken<'a, u32> {
    let (n, rest) = number(value, fixed)?;
    if n >= end {
        return Err(Bad::Range(what));
    }
    Ok((n, rest))
}

/// Finds the name that the value starts with; `short` compares only three letters.
fn name<'a>(names: &[&str], short: bool, value: &'a [u8]) -> Taken<'a, u32> {
    for (i, name) in names.iter().enumerate() {
        let name = if short { &name[..3] } else { name };
        if let Some(start) = value.get(..name.len())
            && start.eq_ignore_ascii_case(name.as_bytes())
        {
            return Ok((i as u32, value.get(name.len()..).unwrap_or_default()));
        }
    }
    Err(Bad::Value)
}

/// Parses a separator and `digits` digits.
fn nanoseconds(value: &[u8], digits: usize) -> Taken<'_, u32> {
    let fits = matches!(value.first(), Some(b'.' | b','));
    let text = value.get(1..=digits).filter(|_| fits).ok_or(Bad::Value)?;
    if !text.iter().all(u8::is_ascii_digit) {
        return Err(Bad::Value);
    }
    let mut n = 0;
    for i in 0..9 {
        n = n * 10 + digit(text, i).unwrap_or(0);
    }
    Ok((n, value.get(1 + digits..).unwrap_or_default()))
}

fn fraction_digits(value: &[u8]) -> usize {
    if !matches!(value.first(), Some(b'.' | b',')) {
        return 0;
    }
    value
        .iter()
        .skip(1)
        .take_while(|b| b.is_ascii_digit())
        .count()
}

impl Elements {
    /// Removes the text of an element from the value; `layout` is the rest after the element.
    fn take<'a>(
        &mut self,
        element: Element,
        value: &'a [u8],
        layout: &[u8],
    ) -> Result<&'a [u8], Bad> {
        let rest;
        match element {
            Element::Year => {
                let (n, r) = short_year(value)?;
                self.year = n + if n >= 69 { 1900 } else { 2000 };
                rest = r;
            }
            Element::LongYear => {
                let text = value.get(..4).ok_or(Bad::Value)?;
                if !text.iter().all(u8::is_ascii_digit) {
                    return Err(Bad::Value);
                }
                self.year = text.iter().fold(0, |n, b| n * 10 + i64::from(b - b'0'));
                rest = value.get(4..).unwrap_or_default();
            }
            Element::Month | Element::LongMonth => {
                let (i, r) = name(&MONTHS, element == Element::Month, value)?;
                self.month = Some(i + 1);
                rest = r;
            }
            Element::NumMonth | Element::ZeroMonth => {
                let (n, r) = number(value, element == Element::ZeroMonth)?;
                if !(1..=12).contains(&n) {
                    return Err(Bad::Range("month"));
                }
                self.month = Some(n);
                rest = r;
            }
            Element::Weekday | Element::LongWeekday => {
                (_, rest) = name(&WEEKDAYS, element == Element::Weekday, value)?;
            }
            Element::Day | Element::UnderDay | Element::ZeroDay => {
                let under = element == Element::UnderDay;
                let value = value.strip_prefix(b" ").filter(|_| under).unwrap_or(value);
                let (n, r) = number(value, element == Element::ZeroDay)?;
                self.day = Some(n);
                rest = r;
            }
            Element::UnderYearDay | Element::ZeroYearDay => {
                rest = self.take_year_day(value, element == Element::UnderYearDay)?;
            }
            Element::Hour => (self.hour, rest) = bounded(value, false, 24, "hour")?,
            Element::Hour12 | Element::ZeroHour12 => {
                let fixed = element == Element::ZeroHour12;
                (self.hour, rest) = bounded(value, fixed, 13, "hour")?;
            }
            Element::Minute | Element::ZeroMinute => {
                let fixed = element == Element::ZeroMinute;
                (self.minute, rest) = bounded(value, fixed, 60, "minute")?;
            }
            Element::Second | Element::ZeroSecond => {
                let fixed = element == Element::ZeroSecond;
                let r;
                (self.second, r) = bounded(value, fixed, 60, "second")?;
                rest = self.take_stray_fraction(r, layout)?;
            }
            Element::UpperPm | Element::LowerPm => {
                let upper = element == Element::UpperPm;
                match value.get(..2).ok_or(Bad::Value)? {
                    b"PM" if upper => self.pm = true,
                    b"AM" if upper => self.am = true,
                    b"pm" if !upper => self.pm = true,
                    b"am" if !upper => self.am = true,
                    _ => return Err(Bad::Value),
                }
                rest = value.get(2..).unwrap_or_default();
            }
            Element::Offset(shape) => rest = self.take_offset(value, shape)?,
            Element::ZoneName => rest = self.take_zone(value)?,
            Element::Fraction(_, digits) => {
                (self.nanoseconds, rest) = nanoseconds(value, digits)?;
            }
            Element::ShortFraction(..) => match fraction_digits(value) {
                0 => rest = value,
                digits => (self.nanoseconds, rest) = nanoseconds(value, digits)?,
            },
        }
        Ok(rest)
    }

    fn take_year_day<'a>(&mut self, value: &'a [u8], under: bool) -> Result<&'a [u8], Bad> {
        let blanks = if under {
            value.iter().take(2).take_while(|b| **b == b' ').count()
        } else {
            0
        };
        let value = value.get(blanks..).unwrap_or_default();
        let digits = value
            .iter()
            .take(3)
            .take_while(|b| b.is_ascii_digit())
            .count();
        if digits == 0 || !under && digits != 3 {
            return Err(Bad::Value);
        }
        let text = value.get(..digits).unwrap_or_default();
        self.year_day = Some(text.iter().fold(0, |n, b| n * 10 + u32::from(b - b'0')));
        Ok(value.get(digits..).unwrap_or_default())
    }

    /// Seconds may have a fraction that is not in the layout.
    fn take_stray_fraction<'a>(&mut self, value: &'a [u8], layout: &[u8]) -> Result<&'a [u8], Bad> {
        let digits = fraction_digits(value);
        let (_, next, _) = next_element(layout);
        let expected = matches!(
            next,
            Some((Element::Fraction(..) | Element::ShortFraction(..), _))
        );
        if digits == 0 || expected {
            return Ok(value);
        }
        let (n, rest) = nanoseconds(value, digits)?;
        self.nanoseconds = n;
        Ok(rest)
    }

    fn take_offset<'a>(&mut self, value: &'a [u8], shape: Offset) -> Result<&'a [u8], Bad> {
        if shape.z
            && let Some(rest) = value.strip_prefix(b"Z")
        {
            self.utc = true;
            return Ok(rest);
        }
        let parts = 1 + usize::from(shape.minutes) + usize::from(shape.seconds);
        let step = if shape.colons { 3 } else { 2 };
        let len = 1 + 2 + (parts - 1) * step;
        let text = value.get(..len).ok_or(Bad::Value)?;
        let mut fields = [0u32; 3];
        for (i, field) in fields.iter_mut().enumerate().take(parts) {
            let at = 1 + i * step;
            if i > 0 && shape.colons && text.get(at - 1) != Some(&b':') {
                return Err(Bad::Value);
            }
            (*field, _) = number(text.get(at..at + 2).ok_or(Bad::Value)?, true)?;
        }
        let [hours, minutes, seconds] = fields;
        if hours > 24 {
            return Err(Bad::Range("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(Bad::Range("time zone offset minute"));
        }
        if seconds > 60 {
            return Err(Bad::Range("time zone offset second"));
        }
        let offset = ((hours * 60 + minutes) * 60 + seconds) as i32;
        self.offset = Some(match text.first() {
            Some(b'+') => offset,
            Some(b'-') => -offset,
            _ => return Err(Bad::Value),
        });
        Ok(value.get(len..).unwrap_or_default())
    }

    fn take_zone<'a>(&mut self, value: &'a [u8]) -> Result<&'a [u8], Bad> {
        if let Some(rest) = value.strip_prefix(b"UTC") {
            self.utc = true;
            return Ok(rest);
        }
        let len = zone_length(value).ok_or(Bad::Value)?;
        let (name, rest) = value.split_at(len);
        self.zone = Some(String::from_utf8_lossy(name).into_owned());
        Ok(rest)
    }

    fn finish(mut self) -> Result<Parsed, &'static str> {
        if self.pm && self.hour < 12 {
            self.hour += 12;
        } else if self.am && self.hour == 12 {
            self.hour = 0;
        }
        self.resolve_year_day()?;
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if day < 1 || day > Civil::days_in(self.year, month) {
            return Err("day out of range");
        }
        let civil = Civil {
            year: self.year,
            month,
            day,
            hour: self.hour,
            minute: self.minute,
            second: self.second,
        };
        let mut time = Parsed {
            seconds: civil.seconds(),
            nanoseconds: self.nanoseconds,
            zone: None,
        };
        if self.utc {
            return Ok(time);
        }
        if let Some(offset) = self.offset {
            time.seconds -= i64::from(offset);
            let zone = self.zone.unwrap_or_default();
            // The local zone, UTC, is preferred if it matches.
            if offset != 0 || !(zone.is_empty() || zone == "UTC") {
                time.zone = Some((zone, offset));
            }
            return Ok(time);
        }
        if let Some(zone) = self.zone {
            let hours = zone.strip_prefix("GMT").and_then(|h| h.parse::<i32>().ok());
            let offset = hours.unwrap_or(0) * 3_600;
            // The offset is only for display: the time was read as UTC.
            time.zone = Some((zone, offset));
        }
        Ok(time)
    }

    fn resolve_year_day(&mut self) -> Result<(), &'static str> {
        let Some(year_day) = self.year_day else {
            return Ok(());
        };
        let year_length = 337 + Civil::days_in(self.year, 2);
        if !(1..=year_length).contains(&year_day) {
            return Err("day-of-year out of range");
        }
        let (mut month, mut day) = (1, year_day);
        while day > Civil::days_in(self.year, month) {
            day -= Civil::days_in(self.year, month);
            month += 1;
        }
        if self.month.is_some_and(|m| m != month) {
            return Err("day-of-year does not match month");
        }
        if self.day.is_some_and(|d| d != day) {
            return Err("day-of-year does not match day");
        }
        (self.month, self.day) = (Some(month), Some(day));
        Ok(())
    }
}

/// `parseTimeZone`: the length of a zone abbreviation.
fn zone_length(value: &[u8]) -> Option<usize> {
    if value.len() < 3 {
        return None;
    }
    if value.starts_with(b"ChST") || value.starts_with(b"MeST") {
        return Some(4);
    }
    if let Some(rest) = value.strip_prefix(b"GMT") {
        return Some(3 + signed_offset(rest));
    }
    if matches!(value.first(), Some(b'+' | b'-')) {
        let length = signed_offset(value);
        return (length > 0).then_some(length);
    }
    let upper = value
        .iter()
        .take(6)
        .take_while(|b| b.is_ascii_uppercase())
        .count();
    match upper {
        5 if value.get(4) == Some(&b'T') => Some(5),
        4 if value.get(3) == Some(&b'T') || value.starts_with(b"WITA") => Some(4),
        3 => Some(3),
        _ => None,
    }
}

/// `parseSignedOffset`: the length of `±h` up to 23.
fn signed_offset(value: &[u8]) -> usize {
    if !matches!(value.first(), Some(b'+' | b'-')) {
        return 0;
    }
    let digits = value
        .iter()
        .skip(1)
        .take_while(|b| b.is_ascii_digit())
        .count();
    let text = value.get(1..=digits).unwrap_or_default();
    let n = text.iter().try_fold(0u32, |n, b| {
        n.checked_mul(10)?.checked_add(u32::from(b - b'0'))
    });
    match n {
        Some(n) if digits > 0 && n <= 23 => 1 + digits,
        _ => 0,
    }
}
