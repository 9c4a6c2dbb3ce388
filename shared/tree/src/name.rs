//! File names that are not UTF-8, as text and back.

use std::borrow::Cow;

/// The first of the private use characters that represent the bytes from 0x80 on.
const ESCAPES: u32 = 0xef80;

/// A file's name as text. Each byte that is not part of valid UTF-8 becomes one character of the private use area, so
/// that different names stay different and [`name_bytes`] is the inverse. UTF-8 is unchanged, except for these very
/// characters.
///
/// ```
/// # use flux_tree::{name_bytes, name_text};
/// assert_eq!(name_text("café.txt".as_bytes()), "café.txt");
/// let latin1 = b"caf\xe9.txt";
/// assert_eq!(name_text(latin1), "caf\u{efe9}.txt");
/// assert_eq!(name_bytes(&name_text(latin1)), latin1.as_slice());
/// ```
pub fn name_text(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) if !text.contains(is_escape) => return Cow::Borrowed(text),
        _ => {}
    }
    let mut text = String::with_capacity(name.len() * 3);
    for chunk in name.utf8_chunks() {
        for char in chunk.valid().chars() {
            if is_escape(char) {
                text.extend(char.encode_utf8(&mut [0; 4]).bytes().filter_map(escape));
            } else {
                text.push(char);
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(escape));
    }
    Cow::Owned(text)
}

/// The name whose text [`name_text`] returned: its inverse.
pub fn name_bytes(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(is_escape) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut name = Vec::with_capacity(text.len());
    for char in text.chars() {
        if is_escape(char) {
            name.push((u32::from(char) - ESCAPES) as u8 | 0x80);
        } else {
            name.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Cow::Owned(name)
}

fn is_escape(char: char) -> bool {
    (ESCAPES..ESCAPES + 0x80).contains(&u32::from(char))
}

/// The character for a byte from 0x80 on; smaller bytes are always valid UTF-8.
fn escape(byte: u8) -> Option<char> {
    char::from_u32(ESCAPES + u32::from(byte.checked_sub(0x80)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_stay_distinct() {
        let names: [&[u8]; 10] = [
            b"",
            b"plain/path.yaml",
            "caf\u{e9}".as_bytes(),
            b"caf\xe9.txt",
            b"caf\xe8.txt",
            b"\xff\xfe\x80",
            "\u{efe9}".as_bytes(),
            "caf\u{efe9}.txt".as_bytes(),
            b"cut \xe2\x82",
            "\u{fffd}".as_bytes(),
        ];
        let mut texts: Vec<String> = names.iter().map(|n| name_text(n).into_owned()).collect();
        for (name, text) in names.iter().zip(&texts) {
            assert_eq!(&*name_bytes(text), *name, "{text:?}");
        }
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), names.len());
        assert_eq!(
            texts
                .iter()
                .filter(|text| text.contains('\u{fffd}'))
                .count(),
            1
        );
    }
}
