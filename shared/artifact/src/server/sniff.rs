//! Detects the content type of a file.

use std::path::Path;

/// How many bytes of a file are examined.
pub(super) const LENGTH: usize = 512;

/// The type by the file name. The names of artifacts add nothing to what the content shows.
pub(super) fn by_name(path: &Path) -> Option<&'static str> {
    (path.extension()? == "html").then_some("text/html; charset=utf-8")
}

/// The type by the first bytes: gzip, zip, text or other (SC-ART-054).
pub(super) fn by_content(head: &[u8]) -> &'static str {
    let is_binary = |byte: &u8| matches!(byte, 0x00..=0x08 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    if head.starts_with(&[0x1f, 0x8b, 0x08]) {
        "application/x-gzip"
    } else if head.starts_with(b"PK\x03\x04") {
        "application/zip"
    } else if head.iter().any(is_binary) {
        "application/octet-stream"
    } else {
        "text/plain; charset=utf-8"
    }
}
