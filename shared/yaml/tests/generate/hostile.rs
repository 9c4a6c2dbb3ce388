//! Generates malformed and hostile text.

use super::Random;

/// Fragments in random order.
pub(super) fn soup(r: &mut Random) -> String {
    let fragments = [
        "a",
        "b",
        ": ",
        ":",
        "- ",
        "-",
        "? ",
        "\n",
        "\n  ",
        "\n    ",
        "\n\n",
        "\t",
        " ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        ",",
        "&x ",
        "*x",
        "!!str ",
        "!t ",
        "!",
        "|",
        ">",
        "|-\n  ",
        ">+\n ",
        "|2\n",
        "'",
        "\"",
        "'a'",
        "\"b\"",
        "# c",
        "#",
        "---\n",
        "...\n",
        "%YAML 1.1\n",
        "%TAG !e! tag:e:\n",
        "<<",
        "<<: ",
        "1",
        "~",
        "\\",
        "\\n",
        "\r\n",
        "ü",
        "😀",
        "@",
        "`",
        "%",
    ];
    (0..=r.below(25)).map(|_| r.pick(&fragments)).collect()
}

/// Removes, inserts and repeats characters.
pub(super) fn mutate(r: &mut Random, text: &mut String) {
    for _ in 0..=r.below(3) {
        let mut at = r.below(text.len() + 1);
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        match r.below(3) {
            0 => {
                let end = (at + 1..=text.len())
                    .find(|end| text.is_char_boundary(*end))
                    .unwrap_or(at);
                text.replace_range(at..end, "");
            }
            1 => {
                let inserted = r.pick(&[
                    " ", "\n", ":", "#", "-", "\t", "'", "\"", "[", "}", ",", "&", "*", "!", "|",
                    "  ", "\n\n", "# c\n", "\r", "\r\n", "\u{85}", "\u{2028}", "\u{feff}",
                    "\u{7f}", "\0", "\u{1}", "\u{fffe}", "\u{9f}", "😀", "?", " - ", "- ", "%",
                    "@", "...\n", "---\n",
                ]);
                text.insert_str(at, inserted);
            }
            _ => {
                let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
                let line = text[at..end].to_owned();
                text.insert_str(at, &line);
            }
        }
    }
}

/// The bytes of a text, sometimes in UTF-16, with a byte order mark, or damaged.
pub(super) fn encode(r: &mut Random, text: &str) -> Vec<u8> {
    let mut bytes = match r.below(100) {
        0..4 => [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
        4 => [&b"\xFF\xFE"[..], &utf16(text, u16::to_le_bytes)].concat(),
        5 => [&b"\xFE\xFF"[..], &utf16(text, u16::to_be_bytes)].concat(),
        _ => text.as_bytes().to_vec(),
    };
    if r.chance(3) {
        let at = r.below(bytes.len() + 1);
        let bad: &[u8] = r.pick(&[
            b"\xFF",
            b"\x80",
            b"\xC3",
            b"\xE2\x82",
            b"\xC0\x80",
            b"\xED\xA0\x80",
            b"\xF4\x90\x80\x80",
            b"\xF0\x9F\x98",
            b"\x00",
            b"\x08",
        ]);
        bytes.splice(at..at, bad.iter().copied());
    }
    if r.chance(1) {
        bytes.truncate(r.below(bytes.len() + 1));
    }
    bytes
}

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}
