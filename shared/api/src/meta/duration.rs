//! Durations in Go's text format.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use flux_golang::time;
pub use flux_golang::time::DurationError;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration in Go's format: `1h30m0s`, `1.5s`, `300ms`.
///
/// Parsing accepts what Go's `time.ParseDuration` accepts (a sequence of decimal numbers, each with a unit, as in
/// `1h30m`); formatting gives Go's canonical form. Negative durations are valid in Go and kept; [`GoDuration::to_std`]
/// returns zero for them.
///
/// ```
/// use flux_api::meta::GoDuration;
///
/// let interval: GoDuration = "1.5h".parse().unwrap();
/// assert_eq!(interval.to_string(), "1h30m0s");
/// assert_eq!(interval.to_std(), std::time::Duration::from_secs(5400));
/// assert!("5 minutes".parse::<GoDuration>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoDuration {
    nanoseconds: i64,
}

impl GoDuration {
    /// A duration in nanoseconds.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self { nanoseconds }
    }

    /// A duration in seconds; saturates at the longest possible duration (about 292 years).
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            nanoseconds: seconds.saturating_mul(1_000_000_000),
        }
    }

    /// The length in nanoseconds.
    pub const fn nanoseconds(self) -> i64 {
        self.nanoseconds
    }

    /// Whether the length is zero.
    pub const fn is_zero(&self) -> bool {
        self.nanoseconds == 0
    }

    /// The duration as the standard library's type, zero if it is negative.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_nanos(u64::try_from(self.nanoseconds).unwrap_or(0))
    }
}

impl From<std::time::Duration> for GoDuration {
    fn from(duration: std::time::Duration) -> Self {
        Self {
            nanoseconds: i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX),
        }
    }
}

impl From<GoDuration> for std::time::Duration {
    fn from(duration: GoDuration) -> Self {
        duration.to_std()
    }
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        time::parse_duration(text.as_bytes()).map(Self::from_nanoseconds)
    }
}

impl Display for GoDuration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&time::format_duration(self.nanoseconds))
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str> as Deserialize>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use super::GoDuration;

    #[test]
    fn durations_are_read_and_written_as_in_go() {
        // Text, canonical form, nanoseconds; values from Go's time.ParseDuration and Duration.String.
        for (text, canonical, nanoseconds) in [
            ("0", "0s", 0),
            ("0s", "0s", 0),
            ("5m", "5m0s", 300_000_000_000),
            ("1h", "1h0m0s", 3_600_000_000_000),
            ("1.5h", "1h30m0s", 5_400_000_000_000),
            ("1h15m30.918s", "1h15m30.918s", 4_530_918_000_000),
            ("300ms", "300ms", 300_000_000),
            ("1.0001ms", "1.0001ms", 1_000_100),
            ("-2m3.4s", "-2m3.4s", -123_400_000_000),
            (".5s", "500ms", 500_000_000),
            ("10ns", "10ns", 10),
            ("15us", "15\u{b5}s", 15_000),
            ("0.3333333333333333333h", "20m0s", 1_200_000_000_000),
            ("1h1h", "2h0m0s", 7_200_000_000_000),
            (
                "-9223372036854775808ns",
                "-2562047h47m16.854775808s",
                i64::MIN,
            ),
        ] {
            let duration: GoDuration = text.parse().unwrap();
            assert_eq!(duration.nanoseconds(), nanoseconds, "{text}");
            assert_eq!(duration.to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn invalid_durations_are_refused_with_gos_message() {
        for (text, message) in [
            ("", r#"time: invalid duration """#),
            ("-", r#"time: invalid duration "-""#),
            ("3", r#"time: missing unit in duration "3""#),
            ("1d", r#"time: unknown unit "d" in duration "1d""#),
            ("1h 5m", r#"time: unknown unit "h " in duration "1h 5m""#),
            (".s", r#"time: invalid duration ".s""#),
            (
                "9223372036854775808ns",
                r#"time: invalid duration "9223372036854775808ns""#,
            ),
            ("3000000h", r#"time: invalid duration "3000000h""#),
        ] {
            assert_eq!(text.parse::<GoDuration>().unwrap_err().to_string(), message);
        }
    }
}
