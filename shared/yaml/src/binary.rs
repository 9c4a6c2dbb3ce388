//! Base64 as Go's `encoding/base64` reads and yaml.v3 writes it.

/// `StdEncoding.DecodeString`: padded, line breaks skipped.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut quantum = 0_u32;
    let mut digits = 0;
    let mut padding = 0;
    for byte in text.bytes() {
        if matches!(byte, b'\n' | b'\r') {
            continue;
        }
        if byte == b'=' {
            padding += 1;
            if digits + padding > 4 || digits < 2 {
                return None;
            }
            continue;
        }
        if padding > 0 {
            return None;
        }
        quantum = (quantum << 6) | digit(byte)?;
        digits += 1;
        if digits == 4 {
            out.extend_from_slice(&quantum.to_be_bytes()[1..]);
            quantum = 0;
            digits = 0;
        }
    }
    match (digits, padding) {
        (0, 0) => {}
        (2, 2) => out.push((quantum >> 4) as u8),
        (3, 1) => out.extend_from_slice(&(quantum >> 2).to_be_bytes()[2..]),
        _ => return None,
    }
    Some(out)
}

fn digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Bytes as text, each byte that is not UTF-8 replaced by U+FFFD, as Go does when it ranges over a string.
pub(crate) fn to_text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let mut text = String::new();
            for chunk in error.as_bytes().utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_strictly() {
        let cases: [(&str, Option<&[u8]>); 8] = [
            ("", Some(b"")),
            ("aGk=", Some(b"hi")),
            ("aA==", Some(b"h")),
            ("aGk\nhaGk=", Some(b"hi!hi")),
            ("aGkh\naGk=", Some(b"hi!hi")),
            ("aGk", None),
            ("a===", None),
            ("aG k=", None),
        ];
        for (text, want) in cases {
            assert_eq!(decode(text).as_deref(), want, "{text:?}");
        }
    }
}
