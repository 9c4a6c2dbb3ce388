//! Durations in Go's notation, which flags, specs and messages use (RT-FLG-008).

use std::{fmt, str::FromStr, time::Duration};

/// A duration that reads and prints as Go's `time.Duration` does.
///
/// ```
/// use flux_runtime::duration::GoDuration;
/// assert_eq!("1h30m".parse::<GoDuration>().unwrap().to_string(), "1h30m0s");
/// assert_eq!("750ms".parse::<GoDuration>().unwrap().to_string(), "750ms");
/// assert!("5".parse::<GoDuration>().is_err());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(pub Duration);

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a sequence of numbers with units.
    #[error("time: invalid duration {0:?}")]
    Malformed(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that Go does not know.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit as written.
        unit: String,
        /// The whole text.
        text: String,
    },
    /// Below zero: nothing here can wait for less than no time.
    #[error("duration {0:?} is negative")]
    Negative(String),
}

impl FromStr for GoDuration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let malformed = || DurationError::Malformed(text.to_owned());
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::default());
        }
        if rest.is_empty() {
            return Err(malformed());
        }
        let mut nanos: u128 = 0;
        while !rest.is_empty() {
            let number = rest.len()
                - rest
                    .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
                    .len();
            let (digits, tail) = rest.split_at(number);
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
                return Err(malformed());
            }
            let unit = tail.len()
                - tail
                    .trim_start_matches(|c: char| !c.is_ascii_digit() && c != '.')
                    .len();
            let (unit, tail) = tail.split_at(unit);
            let scale: u128 = match unit {
                "ns" => 1,
                "us" | "µs" | "μs" => 1_000,
                "ms" => 1_000_000,
                "s" => 1_000_000_000,
                "m" => 60_000_000_000,
                "h" => 3_600_000_000_000,
                "" => return Err(DurationError::MissingUnit(text.to_owned())),
                unit => {
                    return Err(DurationError::UnknownUnit {
                        unit: unit.to_owned(),
                        text: text.to_owned(),
                    });
                }
            };
            let whole: u128 = if whole.is_empty() {
                0
            } else {
                whole.parse().map_err(|_| malformed())?
            };
            let mut part = whole.checked_mul(scale).ok_or_else(malformed)?;
            let mut step = scale;
            for digit in fraction.bytes() {
                step /= 10;
                part += u128::from(digit - b'0') * step;
            }
            nanos = nanos.checked_add(part).ok_or_else(malformed)?;
            if nanos > i64::MAX as u128 {
                return Err(malformed());
            }
            rest = tail;
        }
        if negative && nanos > 0 {
            return Err(DurationError::Negative(text.to_owned()));
        }
        Ok(Self(Duration::from_nanos(
            u64::try_from(nanos).map_err(|_| malformed())?,
        )))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let fraction = |value: u128, scale: u128| {
            let text = format!(
                "{}.{:0width$}",
                value / scale,
                value % scale,
                width = scale.ilog10() as usize
            );
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match nanos {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", fraction(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", fraction(nanos, 1_000_000)),
            _ => {
                let minutes = nanos / 60_000_000_000;
                let seconds = fraction(nanos % 60_000_000_000, 1_000_000_000);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => write!(f, "{seconds}s"),
                    (0, minutes) => write!(f, "{minutes}m{seconds}s"),
                    (hours, minutes) => write!(f, "{hours}h{minutes}m{seconds}s"),
                }
            }
        }
    }
}

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<GoDuration> for Duration {
    fn from(duration: GoDuration) -> Self {
        duration.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_as_go_does() {
        // RT-FLG-008; the right column is what Go's time.Duration prints
        for (text, want) in [
            ("0", "0s"),
            ("0s", "0s"),
            ("750ms", "750ms"),
            ("15m", "15m0s"),
            ("1h30m", "1h30m0s"),
            ("1.5h", "1h30m0s"),
            ("90s", "1m30s"),
            (".5s", "500ms"),
            ("1.234567s", "1.234567s"),
            ("10us", "10µs"),
            ("1500ns", "1.5µs"),
            ("100h", "100h0m0s"),
            ("+5s", "5s"),
            ("60.25s", "1m0.25s"),
        ] {
            assert_eq!(
                text.parse::<GoDuration>().unwrap().to_string(),
                want,
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in [
            "",
            "5",
            "s",
            ".s",
            "1..5s",
            "1d",
            "5 s",
            "1h-5m",
            "9999999999h",
        ] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
        assert_eq!(
            "-5s".parse::<GoDuration>(),
            Err(DurationError::Negative("-5s".into()))
        );
    }
}
