//! Byte ranges.

use std::time::{SystemTime, UNIX_EPOCH};

use super::body::Part;

/// The most ranges that are served. For more the whole file is sent, as RFC 9110 (section 14.2) allows.
const MAX_RANGES: usize = 64;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RangeError {
    #[error("invalid range")]
    Invalid,
    #[error("invalid range: failed to overlap")]
    NoOverlap,
}

impl Range {
    pub(super) fn content_range(self, size: u64) -> String {
        format!(
            "bytes {}-{}/{size}",
            self.start,
            (self.start + self.length).saturating_sub(1)
        )
    }
}

/// Parses a `Range` header. The result is empty if the ranges are too many or add up to more than the file, which no
/// honest client requests.
pub(super) fn parse(text: &str, size: u64) -> Result<Vec<Range>, RangeError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let list = text.strip_prefix("bytes=").ok_or(RangeError::Invalid)?;
    let mut ranges = Vec::new();
    let mut beyond = false;
    for one in list.split(',').map(str::trim).filter(|one| !one.is_empty()) {
        let (first, last) = one.split_once('-').ok_or(RangeError::Invalid)?;
        let (first, last) = (first.trim(), last.trim());
        if first.is_empty() {
            let length = number(last)?.min(size);
            ranges.push(Range {
                start: size - length,
                length,
            });
            continue;
        }
        let start = number(first)?;
        if start >= size {
            beyond = true;
            continue;
        }
        let end = if last.is_empty() {
            size - 1
        } else {
            number(last)?
        };
        if end < start {
            return Err(RangeError::Invalid);
        }
        ranges.push(Range {
            start,
            length: end.min(size - 1) - start + 1,
        });
    }
    if beyond && ranges.is_empty() {
        return Err(RangeError::NoOverlap);
    }
    let sum: u64 = ranges.iter().map(|range| range.length).sum();
    if ranges.len() > MAX_RANGES || sum > size {
        ranges.clear();
    }
    Ok(ranges)
}

fn number(text: &str) -> Result<u64, RangeError> {
    let number = text
        .parse::<i64>()
        .ok()
        .and_then(|number| u64::try_from(number).ok());
    number.ok_or(RangeError::Invalid)
}

/// A boundary that does not occur in the file: it is compressed data, or text without such lines.
pub(super) fn boundary(size: u64, modified: Option<SystemTime>) -> String {
    let nanos = modified
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |time| time.as_nanos());
    format!("flux-artifact-{nanos:032x}{size:016x}")
}

/// The body for several ranges.
pub(super) fn multipart(ranges: &[Range], boundary: &str, kind: &str, size: u64) -> Vec<Part> {
    let mut parts = Vec::new();
    for (at, range) in ranges.iter().enumerate() {
        let before = if at == 0 { "" } else { "\r\n" };
        parts.push(Part::Text(format!(
            "{before}--{boundary}\r\nContent-Range: {}\r\nContent-Type: {kind}\r\n\r\n",
            range.content_range(size)
        )));
        parts.push(Part::File(*range));
    }
    parts.push(Part::Text(format!("\r\n--{boundary}--\r\n")));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    // SC-ART-052
    #[test]
    fn range_headers_are_parsed() {
        let invalid = Err(RangeError::Invalid);
        let many = |count| format!("bytes={}", "-0,".repeat(count));
        for (text, want) in [
            ("", Ok(vec![])),
            ("bytes=", Ok(vec![])),
            ("bytes=0-4", Ok(vec![(0, 5)])),
            ("bytes=2-", Ok(vec![(2, 8)])),
            ("bytes=-3", Ok(vec![(7, 3)])),
            ("bytes=-30", Ok(vec![(0, 10)])),
            ("bytes=5-100", Ok(vec![(5, 5)])),
            ("bytes= 0-0 , 2-2 ,", Ok(vec![(0, 1), (2, 1)])),
            ("bytes=0-0,20-", Ok(vec![(0, 1)])),
            ("bytes=0-,0-", Ok(vec![])),
            (&many(MAX_RANGES), Ok(vec![(10, 0); MAX_RANGES])),
            (&many(MAX_RANGES + 1), Ok(vec![])),
            ("bytes=10-", Err(RangeError::NoOverlap)),
            ("bytes=4-2", invalid.clone()),
            ("bytes=a-b", invalid.clone()),
            ("bytes=--1", invalid.clone()),
            ("bytes=-", invalid.clone()),
            ("bytes=5", invalid.clone()),
            ("lines=0-1", invalid),
        ] {
            let found = parse(text, 10);
            let found = found.map(|ranges| {
                ranges
                    .iter()
                    .map(|range| (range.start, range.length))
                    .collect::<Vec<_>>()
            });
            assert_eq!(found, want, "{text}");
        }
    }
}
