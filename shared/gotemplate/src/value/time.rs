//! `time.Time` and the integer types of Go's `time` package.

use flux_golang::time;
use jiff::tz::TimeZone;

use super::types::{Kind, TypeInfo};
use super::zone;

/// `time.Time`
pub(crate) static TIME: TypeInfo =
    TypeInfo::object("time.Time", Kind::Struct).with_methods(super::time_methods::TIME);
/// `time.Duration`
pub(crate) static DURATION: TypeInfo =
    TypeInfo::plain("time.Duration", Kind::Int64).with_methods(super::time_methods::DURATION);
/// `time.Month`
pub(crate) static MONTH: TypeInfo =
    TypeInfo::plain("time.Month", Kind::Int).with_methods(super::time_methods::NAMED);
/// `time.Weekday`
pub(crate) static WEEKDAY: TypeInfo =
    TypeInfo::plain("time.Weekday", Kind::Int).with_methods(super::time_methods::NAMED);

/// A Go `time.Time`: an instant and the zone for display.
#[derive(Debug, Clone)]
pub struct Time {
    seconds: i64,
    nanoseconds: u32,
    zone: Zone,
    monotonic: Option<i64>,
}

/// The zone of a time for display.
#[derive(Debug, Clone)]
pub enum Zone {
    /// UTC, which is also the local zone here as in the controllers' images.
    Utc,
    /// The zone's abbreviation (may be empty), and its offset in seconds east of UTC.
    Fixed(Box<str>, i32),
    /// A zone of the IANA database.
    Named(TimeZone),
}

impl From<time::Parsed> for Time {
    fn from(parsed: time::Parsed) -> Self {
        let time = Self::unix(parsed.seconds, parsed.nanoseconds);
        match parsed.zone {
            Some((name, offset)) => time.in_zone(Zone::Fixed(name.into(), offset)),
            None => time,
        }
    }
}

impl Time {
    /// The time this many seconds and nanoseconds after 1970-01-01T00:00:00Z, in UTC.
    pub const fn unix(seconds: i64, nanoseconds: u32) -> Self {
        Self {
            seconds,
            nanoseconds,
            zone: Zone::Utc,
            monotonic: None,
        }
    }

    /// Go's zero time, 0001-01-01T00:00:00Z.
    pub const fn zero() -> Self {
        Self::unix(-62_135_596_800, 0)
    }

    /// The same instant in `zone`.
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.zone = zone;
        self
    }

    /// The time with a monotonic reading in nanoseconds, which Go prints as `m=+0.000000001`.
    pub const fn with_monotonic(mut self, nanoseconds: i64) -> Self {
        self.monotonic = Some(nanoseconds);
        self
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn unix_seconds(&self) -> i64 {
        self.seconds
    }

    /// Nanoseconds within the second.
    pub const fn nanoseconds(&self) -> u32 {
        self.nanoseconds
    }

    /// The zone for display.
    pub const fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The offset in seconds east of UTC and the zone's abbreviation.
    pub(crate) fn offset(&self) -> (i32, String) {
        match &self.zone {
            Zone::Utc => (0, "UTC".to_owned()),
            Zone::Fixed(name, offset) => (*offset, name.to_string()),
            Zone::Named(zone) => zone::offset_at(zone, self.seconds),
        }
    }

    /// `Time.IsDST`
    pub(crate) fn is_dst(&self) -> bool {
        match &self.zone {
            Zone::Utc | Zone::Fixed(..) => false,
            Zone::Named(zone) => zone::is_dst_at(zone, self.seconds),
        }
    }

    /// The result of `MarshalText`; `None` for years that RFC 3339 does not support.
    pub(crate) fn rfc3339(&self) -> Option<Vec<u8>> {
        (0..=9999)
            .contains(&self.civil().year)
            .then(|| self.format(b"2006-01-02T15:04:05.999999999Z07:00"))
    }

    /// `Time.Format`
    pub fn format(&self, layout: &[u8]) -> Vec<u8> {
        let (offset, zone) = self.offset();
        time::format(layout, self.seconds, self.nanoseconds, offset, &zone)
    }

    /// `Time.String`
    pub fn text(&self) -> Vec<u8> {
        let mut text = self.format(b"2006-01-02 15:04:05.999999999 -0700 MST");
        if let Some(reading) = self.monotonic {
            let sign = if reading < 0 { '-' } else { '+' };
            let n = reading.unsigned_abs();
            let (whole, rest) = (n / 1_000_000_000, n % 1_000_000_000);
            text.extend_from_slice(format!(" m={sign}{whole}.{rest:09}").as_bytes());
        }
        text
    }

    /// `Time.GoString`
    pub(crate) fn go_string(&self) -> String {
        let c = self.civil();
        let month = time::month_text(i64::from(c.month));
        let location = match &self.zone {
            Zone::Utc => "time.UTC".to_owned(),
            Zone::Fixed(name, _) => format!("time.Location({name:?})"),
            Zone::Named(zone) => format!("time.Location({:?})", zone.iana_name().unwrap_or("")),
        };
        format!(
            "time.Date({}, time.{month}, {}, {}, {}, {}, {}, {location})",
            c.year, c.day, c.hour, c.minute, c.second, self.nanoseconds
        )
    }

    /// The date and time of day in its zone.
    pub(crate) fn civil(&self) -> time::Civil {
        let (offset, _) = self.offset();
        time::Civil::of_seconds(self.seconds.wrapping_add(i64::from(offset)))
    }

    /// `Time.Add`
    pub fn add(&self, nanoseconds: i64) -> Self {
        let sum = i64::from(self.nanoseconds) + nanoseconds % 1_000_000_000;
        let carry = sum.div_euclid(1_000_000_000);
        let mut time = self.clone();
        time.seconds = self
            .seconds
            .wrapping_add(nanoseconds / 1_000_000_000)
            .wrapping_add(carry);
        time.nanoseconds = sum.rem_euclid(1_000_000_000) as u32;
        time.monotonic = self.monotonic.map(|m| m.wrapping_add(nanoseconds));
        time
    }

    /// `Time.Sub` in nanoseconds, limited to the range.
    pub fn since(&self, earlier: &Self) -> i64 {
        let seconds = i128::from(self.seconds) - i128::from(earlier.seconds);
        let rest = i128::from(self.nanoseconds) - i128::from(earlier.nanoseconds);
        let total = seconds * 1_000_000_000 + rest;
        total.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }

    /// The time without its monotonic reading.
    pub(crate) fn wall(mut self) -> Self {
        self.monotonic = None;
        self
    }

    /// Go's `==` on times: the same instant and the same zone.
    pub(crate) fn identical(&self, other: &Self) -> bool {
        let zones = match (&self.zone, &other.zone) {
            (Zone::Utc, Zone::Utc) => true,
            (Zone::Named(a), Zone::Named(b)) => a == b,
            // Go makes zones without a name that are whole hours from UTC once, and its TOML library those of what has none;
            // other fixed ones are made with each time.
            (Zone::Fixed(a, offset), Zone::Fixed(b, other)) => {
                let hours = offset % 3600 == 0 && (-12..=14).contains(&(offset / 3600));
                a == b && offset == other && (a.ends_with("-local") || a.is_empty() && hours)
            }
            _ => false,
        };
        zones
            && (self.seconds, self.nanoseconds, self.monotonic)
                == (other.seconds, other.nanoseconds, other.monotonic)
    }
}
