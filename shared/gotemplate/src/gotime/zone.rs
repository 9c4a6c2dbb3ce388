//! Time zones of the IANA database, which is built in.

use jiff::tz::TimeZone;

/// `time.LoadLocation`; the error is Go's text.
pub(crate) fn load_zone(name: &str) -> Result<Option<TimeZone>, String> {
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
        // Names are case-sensitive in Go, as its files are.
        Ok(zone) if zone.iana_name() == Some(name) => Ok(Some(zone)),
        _ => Err(format!("unknown time zone {name}")),
    }
}

/// The offset in seconds east of UTC and the abbreviation in force at an instant.
pub(crate) fn offset_at(zone: &TimeZone, seconds: i64) -> (i32, String) {
    let clamped = seconds.clamp(
        jiff::Timestamp::MIN.as_second(),
        jiff::Timestamp::MAX.as_second(),
    );
    let Ok(timestamp) = jiff::Timestamp::from_second(clamped) else {
        return (0, "UTC".to_owned());
    };
    let info = zone.to_offset_info(timestamp);
    (info.offset().seconds(), info.abbreviation().to_owned())
}
