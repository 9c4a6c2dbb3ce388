//! Times in seconds since 1970, as Go reads and prints them.

use flux_golang::time::{format, parse};

/// `time.RFC3339`
const RFC3339: &[u8] = b"2006-01-02T15:04:05Z07:00";
/// `time.RFC1123Z`
const RFC1123Z: &[u8] = b"Mon, 02 Jan 2006 15:04:05 -0700";

/// A time in UTC as RFC 3339.
pub(crate) fn rfc3339(seconds: i64) -> String {
    String::from_utf8_lossy(&format(RFC3339, seconds, 0, 0, "UTC")).into_owned()
}

/// A time in UTC as in e-mail.
pub(crate) fn rfc1123z(seconds: i64) -> String {
    String::from_utf8_lossy(&format(RFC1123Z, seconds, 0, 0, "UTC")).into_owned()
}

/// Reads RFC 3339.
pub(crate) fn from_rfc3339(text: &str) -> Option<i64> {
    if text.len() > 64 {
        return None;
    }
    parse(RFC3339, text.as_bytes())
        .ok()
        .map(|parsed| parsed.seconds)
}
