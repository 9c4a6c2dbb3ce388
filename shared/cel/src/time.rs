//! Points in time and spans of time.

use std::sync::Arc;

use flux_golang::strconv;
use flux_golang::time::{Civil, format, parse};

use crate::value::Value;

/// The seconds of year 1 and of the end of year 9999.
const FIRST: i64 = -62_135_596_800;
const LAST: i64 = 253_402_300_799;
const NANOS: i64 = 1_000_000_000;

pub(crate) const OVERFLOW: &str = "timestamp overflow";

/// A point in time between the years 1 and 9999, with the offset in which it was written.
#[derive(Clone, Copy, Debug)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
    offset: i32,
}

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.total() == other.total()
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.total().cmp(&other.total())
    }
}

impl Timestamp {
    /// The point in time this many seconds and nanoseconds after 1970.
    ///
    /// # Errors
    /// It is before the year 1 or after 9999.
    pub(crate) fn new(seconds: i64, nanoseconds: u32) -> Result<Self, String> {
        if !(FIRST..=LAST).contains(&seconds) {
            return Err(OVERFLOW.to_owned());
        }
        Ok(Self {
            seconds,
            nanoseconds,
            offset: 0,
        })
    }

    /// Reads RFC 3339; `None` if the text is not that.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let parsed = parse(b"2006-01-02T15:04:05Z07:00", text.as_bytes()).ok()?;
        let time = Self::new(parsed.seconds, parsed.nanoseconds);
        let offset = parsed.zone.map_or(0, |(_, offset)| offset);
        Some(time.map(|time| Self { offset, ..time }))
    }

    fn total(self) -> i128 {
        i128::from(self.seconds) * i128::from(NANOS) + i128::from(self.nanoseconds)
    }

    fn of_total(total: i128, offset: i32) -> Result<Self, String> {
        let seconds = total.div_euclid(i128::from(NANOS));
        let nanoseconds = total.rem_euclid(i128::from(NANOS)) as u32;
        let seconds = i64::try_from(seconds).map_err(|_| OVERFLOW.to_owned())?;
        let time = Self::new(seconds, nanoseconds)?;
        Ok(Self { offset, ..time })
    }

    pub(crate) fn seconds(self) -> i64 {
        self.seconds
    }

    pub(crate) fn is_zero(self) -> bool {
        self.total() == i128::from(FIRST) * i128::from(NANOS)
    }

    /// The time plus nanoseconds.
    pub(crate) fn plus(self, nanoseconds: i128) -> Result<Self, String> {
        Self::of_total(self.total() + nanoseconds, self.offset)
    }

    /// The nanoseconds since `other`.
    pub(crate) fn since(self, other: Self) -> Result<i64, String> {
        i64::try_from(self.total() - other.total()).map_err(|_| OVERFLOW.to_owned())
    }

    /// The time in RFC 3339 with fractions of a second, in its own offset.
    pub fn text(self) -> String {
        self.text_in(self.offset)
    }

    /// As [`Timestamp::text`], in UTC.
    pub(crate) fn utc_text(self) -> String {
        self.text_in(0)
    }

    fn text_in(self, offset: i32) -> String {
        let layout = b"2006-01-02T15:04:05.999999999Z07:00";
        let text = format(layout, self.seconds, self.nanoseconds, offset, "");
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The time as Go's `%v` writes it.
    pub(crate) fn shown(self) -> String {
        let zone = if self.offset == 0 { "UTC" } else { "" };
        let layout = b"2006-01-02 15:04:05.999999999 -0700 MST";
        let text = format(layout, self.seconds, self.nanoseconds, self.offset, zone);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// A part of the time, by the name of the function that returns it, in a zone or else in UTC.
    ///
    /// # Errors
    /// The zone is not known.
    pub(crate) fn part(self, function: &str, zone: Option<&str>) -> Result<i64, String> {
        let offset = match zone {
            None => 0,
            Some(zone) => self.offset_in(zone)?,
        };
        let civil = Civil::of_seconds(self.seconds + offset);
        Ok(match function {
            "getFullYear" => civil.year,
            "getMonth" => i64::from(civil.month) - 1,
            "getDayOfYear" => i64::from(civil.year_day()) - 1,
            "getDayOfMonth" => i64::from(civil.day) - 1,
            "getDate" => i64::from(civil.day),
            "getDayOfWeek" => i64::from(civil.weekday()),
            "getHours" => i64::from(civil.hour),
            "getMinutes" => i64::from(civil.minute),
            "getSeconds" => i64::from(civil.second),
            _ => i64::from(self.nanoseconds / 1_000_000),
        })
    }

    /// The seconds east of UTC in a zone: `Europe/Berlin`, or an offset as `-08:00`.
    fn offset_in(self, zone: &str) -> Result<i64, String> {
        if let Some((hours, minutes)) = zone.split_once(':') {
            let number = |text: &str| {
                let parsed = strconv::parse_int(text.as_bytes(), 10);
                parsed.map_err(|error| {
                    format!("strconv.Atoi: parsing {}: {error}", strconv::quote(text))
                })
            };
            let (hours_, minutes) = (number(hours)?, number(minutes)?);
            let signed = if hours.starts_with('-') {
                -minutes
            } else {
                minutes
            };
            // beyond this no date has a year of four digits
            let total = hours_.saturating_mul(60).saturating_add(signed);
            return Ok(total.clamp(-1 << 32, 1 << 32) * 60);
        }
        if zone.is_empty() || zone == "UTC" {
            return Ok(0);
        }
        let unknown = || format!("unknown time zone {zone}");
        let found = jiff::tz::TimeZone::get(zone).map_err(|_| unknown())?;
        let time = jiff::Timestamp::new(self.seconds, 0).map_err(|_| unknown())?;
        Ok(i64::from(found.to_offset(time).seconds()))
    }
}

/// A span of time as seconds with an `s`.
pub(crate) fn duration_text(nanoseconds: i64) -> String {
    let whole = (nanoseconds / NANOS) as f64;
    let seconds = whole + (nanoseconds % NANOS) as f64 / 1e9;
    strconv::format_float(seconds, b'f', None) + "s"
}

/// A part of a span of time, by the name of the function that returns it.
pub(crate) fn duration_part(function: &str, nanoseconds: i64) -> Value {
    Value::Int(match function {
        "getHours" => nanoseconds / (3_600 * NANOS),
        "getMinutes" => nanoseconds / (60 * NANOS),
        "getSeconds" => nanoseconds / NANOS,
        _ => nanoseconds / 1_000_000,
    })
}

/// Reads a span of time as Go does; `None` if the text is not one.
pub(crate) fn parse_duration(text: &Arc<str>) -> Option<i64> {
    flux_golang::time::parse_duration(text.as_bytes()).ok()
}
