//! `time.Time` and the integer types of Go's `time` package.

use super::types::{Kind, TypeInfo};

/// `time.Time`
pub(crate) static TIME: TypeInfo = TypeInfo::object("time.Time", Kind::Struct);
/// `time.Duration`
pub(crate) static DURATION: TypeInfo = TypeInfo::plain("time.Duration", Kind::Int64);
/// `time.Month`
pub(crate) static MONTH: TypeInfo = TypeInfo::plain("time.Month", Kind::Int);
/// `time.Weekday`
pub(crate) static WEEKDAY: TypeInfo = TypeInfo::plain("time.Weekday", Kind::Int);

/// A Go `time.Time`: an instant and the zone to show it in.
#[derive(Debug, Clone)]
pub struct Time {
    pub(crate) seconds: i64,
    pub(crate) nanoseconds: u32,
    pub(crate) zone: Zone,
    pub(crate) monotonic: Option<i64>,
}

/// Where a time is shown.
#[derive(Debug, Clone)]
pub enum Zone {
    /// UTC.
    Utc,
    /// A fixed offset in seconds east of UTC, and the zone's abbreviation (may be empty).
    Fixed(Box<str>, i32),
}

impl Time {
    /// So many seconds and nanoseconds after 1970-01-01T00:00:00Z, in UTC.
    pub const fn unix(seconds: i64, nanoseconds: u32) -> Self {
        Self {
            seconds,
            nanoseconds,
            zone: Zone::Utc,
            monotonic: None,
        }
    }

    /// The same instant shown in `zone`.
    pub fn in_zone(mut self, zone: Zone) -> Self {
        self.zone = zone;
        self
    }

    /// The same with a monotonic reading in nanoseconds, which Go prints as `m=+0.000000001`.
    pub const fn with_monotonic(mut self, nanoseconds: i64) -> Self {
        self.monotonic = Some(nanoseconds);
        self
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    pub const fn unix_seconds(&self) -> i64 {
        self.seconds
    }
}
