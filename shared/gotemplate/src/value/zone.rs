//! Time zones of the built-in IANA database.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `time.LoadLocation` with the built-in database; `None` is UTC.
///
/// # Errors
/// Go's text.
pub fn load_zone(name: &str) -> Result<Option<TimeZone>, String> {
    // UTC has its own representation.
    if name.is_empty() || name == "UTC" {
        return Ok(None);
    }
    let suspicious =
        name.split('/').any(|part| part == "..") || name.starts_with('/') || name.contains('\\');
    if suspicious {
        return Err("time: invalid location name".to_owned());
    }
    match TimeZone::get(name) {
        // Names are case-sensitive in Go, like its files.
        Ok(zone) if zone.iana_name() == Some(name) => Ok(Some(zone)),
        _ => Err(format!("unknown time zone {name}")),
    }
}

/// The offset in seconds east of UTC and the abbreviation in a zone at that time.
pub(crate) fn offset_at(zone: &TimeZone, seconds: i64) -> (i32, String) {
    let info = zone.to_offset_info(timestamp(seconds));
    (info.offset().seconds(), info.abbreviation().to_owned())
}

/// Whether a zone has daylight saving time at that time.
pub(crate) fn is_dst_at(zone: &TimeZone, seconds: i64) -> bool {
    zone.to_offset_info(timestamp(seconds)).dst().is_dst()
}

/// The nearest supported time.
fn timestamp(seconds: i64) -> Timestamp {
    let clamped = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    Timestamp::from_second(clamped).unwrap_or(Timestamp::UNIX_EPOCH)
}
