//! Decompresses gzip in one pass, which is faster than streaming.
//!
//! When a chart of twelve megabytes was loaded by streaming, more than half of the time was spent on the checksum, whose
//! folding the decompressor's crate leaves to functions that are not inlined, and on copying pieces from one buffer to the
//! next.

use flate2::{Decompress, FlushDecompress, Status};

/// Maximum bytes of content that is decompressed in one pass; larger content is streamed, so that it can stop early.
const MAX_BYTES: usize = 64 << 20;
/// Maximum compression ratio of deflate.
const MAX_RATIO: usize = 1032;
/// Bytes of the fixed part of the header, and of the trailer: checksum and length.
const HEADER: usize = 10;
const TRAILER: usize = 8;

/// The content of a gzip file with a single member; `None` for any other file, and if it is too large or damaged.
pub(super) fn plain(bytes: &[u8]) -> Option<Vec<u8>> {
    let (rest, trailer) = bytes.split_last_chunk::<TRAILER>()?;
    let deflated = rest.get(header_length(rest)?..)?;
    let [crc @ .., _, _, _, _] = *trailer;
    let [_, _, _, _, length @ ..] = *trailer;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_BYTES || length > deflated.len().saturating_mul(MAX_RATIO) {
        return None;
    }
    // One more byte, so that the end is recognised when all content is there.
    let mut content = Vec::with_capacity(length + 1);
    let mut inflate = Decompress::new(false);
    let status = inflate.decompress_vec(deflated, &mut content, FlushDecompress::Finish);
    let complete = matches!(status, Ok(Status::StreamEnd))
        && inflate.total_in() == deflated.len() as u64
        && content.len() == length
        && crc32fast::hash(&content) == u32::from_le_bytes(crc);
    complete.then_some(content)
}

/// RFC 1952: flags tell which optional parts follow the fixed part.
fn header_length(bytes: &[u8]) -> Option<usize> {
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const TEXT: u8 = 1;
    let [0x1f, 0x8b, 8, flags, ..] = *bytes else {
        return None;
    };
    if flags & !(EXTRA | NAME | COMMENT | TEXT) != 0 {
        return None;
    }
    let mut at = HEADER;
    if flags & EXTRA != 0 {
        let length = bytes.get(at..)?.first_chunk::<2>()?;
        at += 2 + usize::from(u16::from_le_bytes(*length));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            at += 1 + memchr::memchr(0, bytes.get(at..)?)?;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use flate2::bufread::MultiGzDecoder;
    use flate2::{Compression, GzBuilder};

    use super::*;

    fn packed(content: &[u8], builder: GzBuilder) -> Vec<u8> {
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn headers_written_by_helm_are_read() {
        for content in [&b""[..], b"a", &b"line of text\n".repeat(5_000)] {
            for builder in [
                GzBuilder::new(),
                // As `helm package` writes it.
                GzBuilder::new().extra(*b"+aHR0cHM6").comment("Helm"),
                GzBuilder::new().filename("chart.tar").mtime(1),
            ] {
                assert_eq!(plain(&packed(content, builder)).unwrap(), content);
            }
        }
    }

    /// For any damaged or appended bytes, content decompressed here equals that of the streaming reader.
    #[test]
    fn damaged_headers_are_passed_to_the_decoder() {
        let content: Vec<u8> = (0..600_u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        let whole = packed(&content, GzBuilder::new().comment("Helm"));
        let mut unlike = 0;
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            for bytes in [&flipped, &whole[..at]] {
                let Some(unpacked) = plain(bytes) else {
                    unlike += 1;
                    continue;
                };
                let mut streamed = Vec::new();
                MultiGzDecoder::new(bytes)
                    .read_to_end(&mut streamed)
                    .unwrap();
                assert_eq!(unpacked, streamed, "{at}");
            }
        }
        assert!(unlike > whole.len());
        let mut two = whole.clone();
        two.extend_from_slice(&whole);
        assert_eq!(plain(&two), None);
    }
}
