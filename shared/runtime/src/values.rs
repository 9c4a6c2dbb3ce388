//! Values of flags and environment variables, parsed as in Go (RT-FLG rows).

use std::time::Duration;

use flux_api::meta::{DurationError, GoDuration};
use flux_golang::strconv::{self, quote};

/// Parses a boolean as Go's `strconv.ParseBool` does (RT-FLG-003).
pub fn parse_bool(text: &str) -> Result<bool, String> {
    strconv::parse_bool(text.as_bytes())
        .map_err(|why| format!("strconv.ParseBool: parsing {}: {why}", quote(text)))
}

/// Parses a duration of Go (RT-FLG-008). A negative one counts as zero.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    text.parse::<GoDuration>().map(Duration::from)
}

/// Parses an integer as Go does in base 0: decimal, or with a prefix `0x`, `0o`, `0b` or `0`, underscores allowed.
pub fn parse_int(text: &str) -> Result<i64, String> {
    strconv::parse_int(text.as_bytes(), 0)
        .map_err(|why| format!("strconv.ParseInt: parsing {}: {why}", quote(text)))
}

/// Parses a count; a negative one counts as zero.
pub fn parse_count(text: &str) -> Result<usize, String> {
    parse_int(text).map(|value| usize::try_from(value).unwrap_or_default())
}

/// Parses a number of retries; a negative one counts as zero.
pub(crate) fn parse_retries(text: &str) -> Result<u32, String> {
    parse_int(text).map(|value| u32::try_from(value.max(0)).unwrap_or(u32::MAX))
}

pub(crate) fn parse_byte(text: &str) -> Result<u8, String> {
    u8::try_from(parse_int(text)?).map_err(|_| {
        format!(
            "strconv.ParseUint: parsing {}: value out of range",
            quote(text)
        )
    })
}
