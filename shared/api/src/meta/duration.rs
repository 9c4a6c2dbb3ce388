//! Durations in Go's text format.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

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

/// A text that is not a Go duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a sequence of numbers with units.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A number with an unknown unit.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The text in place of the unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000 * NANOSECOND;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

impl GoDuration {
    /// A duration in nanoseconds.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        Self { nanoseconds }
    }

    /// A duration in seconds; saturates at the longest possible duration (about 292 years).
    pub const fn from_seconds(seconds: i64) -> Self {
        Self {
            nanoseconds: seconds.saturating_mul(SECOND as i64),
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
        let invalid = || DurationError::Invalid(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(invalid());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (span, after) = leading_span(rest, text)?;
            total = total
                .checked_add(span)
                .filter(|total| *total <= 1 << 63)
                .ok_or_else(invalid)?;
            rest = after;
        }
        let nanoseconds = match (negative, i64::try_from(total)) {
            (true, Ok(value)) => -value,
            (true, Err(_)) => i64::MIN,
            (false, Ok(value)) => value,
            (false, Err(_)) => return Err(invalid()),
        };
        Ok(Self { nanoseconds })
    }
}

/// Parses one number with its unit. Returns its nanoseconds and the rest of the text.
fn leading_span<'t>(rest: &'t str, text: &str) -> Result<(u64, &'t str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (whole, after) = leading_digits(rest);
    let (fraction, after) = match after.strip_prefix('.') {
        Some(after) => leading_digits(after),
        None => ("", after),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(invalid());
    }
    let end = after
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(after.len());
    let (unit, after) = after.split_at(end);
    let scale = match unit {
        "" => return Err(DurationError::MissingUnit(text.to_owned())),
        "ns" => NANOSECOND,
        "us" | "\u{b5}s" | "\u{3bc}s" => MICROSECOND,
        "ms" => MILLISECOND,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        _ => {
            return Err(DurationError::UnknownUnit {
                unit: unit.to_owned(),
                text: text.to_owned(),
            });
        }
    };
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().map_err(|_| invalid())?
    };
    let mut span = whole
        .checked_mul(scale)
        .filter(|span| *span <= 1 << 63)
        .ok_or_else(invalid)?;
    span = span
        .checked_add(fraction_of(fraction, scale))
        .ok_or_else(invalid)?;
    Ok((span, after))
}

fn leading_digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}

/// The value of the digits after a decimal point, in units of `scale`. Like Go, computes in floating point and drops
/// digits that do not fit 63 bits.
fn fraction_of(digits: &str, scale: u64) -> u64 {
    let mut value: u64 = 0;
    let mut power = 1f64;
    for digit in digits.bytes().map(|digit| u64::from(digit - b'0')) {
        match value
            .checked_mul(10)
            .and_then(|value| value.checked_add(digit))
        {
            Some(next) if next <= 1 << 63 => value = next,
            _ => break,
        }
        power *= 10.0;
    }
    (value as f64 * (scale as f64 / power)) as u64
}

impl Display for GoDuration {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.nanoseconds == 0 {
            return f.write_str("0s");
        }
        let sign = if self.nanoseconds < 0 { "-" } else { "" };
        let span = self.nanoseconds.unsigned_abs();
        f.write_str(sign)?;
        if span < SECOND {
            let (unit, scale) = match span {
                ..MICROSECOND => ("ns", NANOSECOND),
                MICROSECOND..MILLISECOND => ("\u{b5}s", MICROSECOND),
                _ => ("ms", MILLISECOND),
            };
            return write!(f, "{}{unit}", decimal(span, scale));
        }
        let (hours, minutes) = (span / HOUR, span / MINUTE % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(span % MINUTE, SECOND))
    }
}

/// `span / scale` with as many decimals as needed.
fn decimal(span: u64, scale: u64) -> String {
    let width = scale.ilog10() as usize;
    let fraction = format!("{:0width$}", span % scale);
    match fraction.trim_end_matches('0') {
        "" => (span / scale).to_string(),
        digits if width > 0 => format!("{}.{digits}", span / scale),
        _ => (span / scale).to_string(),
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
