//! The timestamps that go-yaml recognises: Go's `time.Parse` with four layouts.

use std::fmt::Write as _;

/// Whether go-yaml recognises this text as a timestamp.
pub(crate) fn is_timestamp(text: &str) -> bool {
    parse(text).is_some()
}

/// A timestamp's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp {
    pub(crate) date: (u32, u32, u32),
    pub(crate) time: (u32, u32, u32),
    /// Fraction of a second, at most nine digits without trailing zeros.
    pub(crate) fraction: String,
    /// Minutes east of UTC.
    pub(crate) offset: i32,
}

impl Timestamp {
    /// The RFC 3339 form in which Go's JSON writes a `time.Time`.
    pub(crate) fn rfc3339(&self) -> String {
        let (year, month, day) = self.date;
        let (hour, minute, second) = self.time;
        let mut out = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        if !self.fraction.is_empty() {
            out.push('.');
            out.push_str(&self.fraction);
        }
        if self.offset == 0 {
            out.push('Z');
        } else {
            let sign = if self.offset < 0 { '-' } else { '+' };
            let minutes = self.offset.unsigned_abs();
            let _ = write!(out, "{sign}{:02}:{:02}", minutes / 60, minutes % 60);
        }
        out
    }
}

/// Parses a timestamp: a date, or a date and a time joined by `T`, `t` (then with a zone) or blanks (then without).
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() < 5 || !bytes[..4].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut cursor = Cursor { bytes, at: 4 };
    let year = text.get(..4)?.parse().ok()?;
    cursor.literal(b'-')?;
    let month = cursor.one_or_two()?;
    cursor.literal(b'-')?;
    let day = cursor.one_or_two()?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let mut stamp = Timestamp {
        date: (year, month, day),
        time: (0, 0, 0),
        fraction: String::new(),
        offset: 0,
    };
    match cursor.peek() {
        None => return Some(stamp),
        Some(b'T' | b't') => {
            cursor.at += 1;
            cursor.clock(&mut stamp)?;
            stamp.offset = cursor.zone()?;
        }
        Some(b' ') => {
            while cursor.peek() == Some(b' ') {
                cursor.at += 1;
            }
            cursor.clock(&mut stamp)?;
        }
        Some(_) => return None,
    }
    cursor.peek().is_none().then_some(stamp)
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => {
            29
        }
        2 => 28,
        _ => 31,
    }
}

struct Cursor<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn literal(&mut self, wanted: u8) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += 1)
    }

    fn digit(&mut self) -> Option<u32> {
        let digit = self.peek().filter(u8::is_ascii_digit)?;
        self.at += 1;
        Some(u32::from(digit - b'0'))
    }

    fn one_or_two(&mut self) -> Option<u32> {
        let first = self.digit()?;
        Some(match self.digit() {
            Some(second) => first * 10 + second,
            None => first,
        })
    }

    fn two(&mut self) -> Option<u32> {
        Some(self.digit()? * 10 + self.digit()?)
    }

    fn clock(&mut self, stamp: &mut Timestamp) -> Option<()> {
        let hour = self.one_or_two()?;
        self.literal(b':')?;
        let minute = self.one_or_two()?;
        self.literal(b':')?;
        let second = self.one_or_two()?;
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        stamp.time = (hour, minute, second);
        if matches!(self.peek(), Some(b'.' | b','))
            && self.bytes.get(self.at + 1).is_some_and(u8::is_ascii_digit)
        {
            self.at += 1;
            let mut fraction = String::new();
            while let Some(digit) = self.digit() {
                if fraction.len() < 9 {
                    fraction.push(char::from_digit(digit, 10)?);
                }
            }
            fraction.truncate(fraction.trim_end_matches('0').len());
            stamp.fraction = fraction;
        }
        Some(())
    }

    fn zone(&mut self) -> Option<i32> {
        let sign = match self.peek()? {
            b'Z' => {
                self.at += 1;
                return Some(0);
            }
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.at += 1;
        let hours = self.two()?;
        self.literal(b':')?;
        let minutes = self.two()?;
        // Go accepts 24 hours and 60 minutes.
        (hours <= 24 && minutes <= 60).then_some(sign * (hours * 60 + minutes) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_parsed_as_in_go() {
        let cases = [
            ("2001-01-01", Some("2001-01-01T00:00:00Z")),
            ("2001-1-2", Some("2001-01-02T00:00:00Z")),
            ("2001-02-29", None),
            ("2000-02-29", Some("2000-02-29T00:00:00Z")),
            ("2001-13-01", None),
            ("01-01-01", None),
            ("2001-01-01T1:2:3Z", Some("2001-01-01T01:02:03Z")),
            ("2001-01-01T01:02:03", None),
            (
                "2001-01-01t01:02:03.120+02:30",
                Some("2001-01-01T01:02:03.12+02:30"),
            ),
            ("2001-01-01  01:02:03,5", Some("2001-01-01T01:02:03.5Z")),
            ("2001-01-01 01:02:03 Z", None),
            ("2001-01-01T24:00:00Z", None),
            (
                "2001-01-01T01:02:03+24:60",
                Some("2001-01-01T01:02:03+25:00"),
            ),
            ("2001-01-01x", None),
            ("2001-", None),
        ];
        for (text, want) in cases {
            let got = parse(text).map(|stamp| stamp.rfc3339());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
