//! Values of flags and environment variables as Go reads them (RT-FLG rows).

use std::time::Duration;

use flux_api::meta::{DurationError, GoDuration};

/// Reads a boolean as Go's `strconv.ParseBool` does (RT-FLG-003).
pub fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {text:?}: invalid syntax"
        )),
    }
}

/// Reads a duration of Go (RT-FLG-008). Nothing can wait for less than no time: what is negative counts as zero.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    text.parse::<GoDuration>().map(Duration::from)
}

/// Reads an integer in base 0 of Go: decimal, or with a prefix `0x`, `0o`, `0b` or `0`, underscores allowed.
pub fn parse_int(text: &str) -> Result<i64, String> {
    let invalid = || format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase().replace('_', "");
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    if digits.starts_with(['+', '-']) {
        return Err(invalid());
    }
    i64::from_str_radix(digits, radix)
        .map(|value| sign * value)
        .map_err(|_| invalid())
}

/// Reads an integer that counts something; what is below zero counts as zero.
pub(crate) fn parse_count(text: &str) -> Result<usize, String> {
    parse_int(text).map(|value| usize::try_from(value).unwrap_or_default())
}

pub(crate) fn parse_byte(text: &str) -> Result<u8, String> {
    u8::try_from(parse_int(text)?)
        .map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}
