//! Times in the format of Helm's records.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::Offset;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A time with its original zone offset, like Go's `time.Time` in a release record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    instant: Timestamp,
    offset: Offset,
}

/// Seconds from 1970 to the first of January of year 1, Go's zero time.
const ZERO_SECOND: i64 = -62_135_596_800;

impl Time {
    /// Go's zero time, `0001-01-01T00:00:00Z`.
    pub fn zero() -> Self {
        Self::at(Timestamp::from_second(ZERO_SECOND).unwrap_or(Timestamp::MIN))
    }

    /// The time in UTC.
    pub const fn at(instant: Timestamp) -> Self {
        Self {
            instant,
            offset: Offset::UTC,
        }
    }

    /// Whether this is [`Time::zero`].
    pub fn is_zero(&self) -> bool {
        self.instant == Self::zero().instant
    }

    /// The time without its zone.
    pub fn instant(&self) -> Timestamp {
        self.instant
    }

    /// Parses RFC 3339 as Go does; `None` if it is invalid.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_once('T')?;
        let zone = rest.rfind(['Z', '+', '-'])?;
        let seconds = match rest.get(zone..)? {
            "Z" => 0,
            numeric => numeric_offset(numeric)?,
        };
        let clock = rest.get(..zone)?;
        if date.len() != 10 || clock.len() < 8 {
            return None;
        }
        let civil: jiff::civil::DateTime = format!("{date}T{clock}").parse().ok()?;
        let offset = Offset::from_seconds(seconds).ok()?;
        Some(Self {
            instant: offset.to_timestamp(civil).ok()?,
            offset,
        })
    }
}

fn numeric_offset(text: &str) -> Option<i32> {
    let (sign, digits) = text.split_at_checked(1)?;
    let (hours, minutes) = digits.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
    Some(if sign == "-" { -seconds } else { seconds })
}

impl Default for Time {
    fn default() -> Self {
        Self::zero()
    }
}

/// RFC 3339 with up to nine fractional digits of the second, without trailing zeros.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = self.offset.to_datetime(self.instant);
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            civil.year(),
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        )?;
        let nanoseconds = civil.subsec_nanosecond();
        if nanoseconds != 0 {
            let digits = format!("{nanoseconds:09}");
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        let minutes = self.offset.seconds() / 60;
        if minutes == 0 {
            return f.write_str("Z");
        }
        let sign = if minutes < 0 { '-' } else { '+' };
        write!(
            f,
            "{sign}{:02}:{:02}",
            minutes.abs() / 60,
            minutes.abs() % 60
        )
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Decodes RFC 3339; `null` and the empty text, which Helm 3 wrote, are the zero time (HE-REL-002).
impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        match text.as_deref() {
            None | Some("") => Ok(Self::zero()),
            Some(text) => Self::parse(text)
                .ok_or_else(|| D::Error::custom(format!("'{text}' is not an RFC 3339 time"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Time;

    #[test]
    fn times_are_formatted_as_in_go() {
        // HE-REL-002
        for (text, want) in [
            ("2024-01-02T03:04:05Z", "2024-01-02T03:04:05Z"),
            (
                "2024-01-02T03:04:05.120000000+02:00",
                "2024-01-02T03:04:05.12+02:00",
            ),
            (
                "2024-01-02T03:04:05.123456789-03:30",
                "2024-01-02T03:04:05.123456789-03:30",
            ),
            ("2024-01-02T03:04:05+00:00", "2024-01-02T03:04:05Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(Time::parse(text).unwrap().to_string(), want);
        }
        assert!(Time::parse("0001-01-01T00:00:00Z").unwrap().is_zero());
        for text in [
            "",
            "2024",
            "2024-01-02 03:04:05Z",
            "2024-01-02T03:04:05",
            "2024-13-02T03:04:05Z",
            "2024-01-02T03:04:05+2:00",
            "2024-01-02T03:04:05+02:0",
        ] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }
}
