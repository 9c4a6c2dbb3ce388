//! Reads arbitrary text as durations, times and layouts: no panic, and a duration that is written reads back.
#![no_main]

use flux_golang::time::{format, format_duration, parse, parse_duration, round_duration};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let at = input.iter().position(|byte| *byte == b'\n');
    let (layout, value) = input.split_at(at.unwrap_or(input.len()));
    if let Ok(duration) = parse_duration(layout) {
        let text = format_duration(duration);
        assert_eq!(parse_duration(text.as_bytes()), Ok(duration), "{text}");
        let _ = round_duration(duration, 1_000_000);
    }
    let value = value.get(1..).unwrap_or_default();
    for layout in [
        layout,
        b"2006-01-02T15:04:05Z07:00",
        b"Mon, 02 Jan 2006 15:04:05 MST",
    ] {
        if let Ok(time) = parse(layout, value) {
            let (zone, offset) = time.zone.clone().unwrap_or_default();
            let _ = format(layout, time.seconds, time.nanoseconds, offset, &zone);
        }
    }
    // Any time that a chart can compute.
    let mut bytes = [0; 8];
    let length = value.len().min(8);
    bytes[..length].copy_from_slice(&value[..length]);
    let _ = format(layout, i64::from_be_bytes(bytes), 999_999_999, -86_399, "X");
    let _ = format_duration(i64::from_be_bytes(bytes));
    let _ = round_duration(i64::from_be_bytes(bytes), 3_600_000_000_000);
});
