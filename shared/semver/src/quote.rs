//! Quoting as Go's `%q` does it.

use std::fmt::Write;
use std::sync::LazyLock;

use regex::Regex;

/// What Go prints as itself: letters, marks, numbers, punctuation, symbols and the blank.
static PRINTABLE: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"\A[\p{L}\p{M}\p{N}\p{P}\p{S}]\z").ok());

/// `text` in double quotes, escaped as Go's `%q` does.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if c.is_ascii() => drop(write!(out, "\\x{:02x}", c as u32)),
            c if is_printable(c) => out.push(c),
            c if (c as u32) < 0x1_0000 => drop(write!(out, "\\u{:04x}", c as u32)),
            c => drop(write!(out, "\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

fn is_printable(c: char) -> bool {
    PRINTABLE
        .as_ref()
        .is_some_and(|regex| regex.is_match(c.encode_utf8(&mut [0; 4])))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quoted_as_go_does() {
        for (text, want) in [
            ("a \"b\" \\", r#""a \"b\" \\""#),
            ("\t\n\x01\x7f", r#""\t\n\x01\x7f""#),
            ("é\u{301}…", "\"é\u{301}…\""),
            (
                "\u{a0}\u{200b}\u{feff}\u{10ffff}",
                r#""\u00a0\u200b\ufeff\U0010ffff""#,
            ),
        ] {
            assert_eq!(quote(text), want);
        }
    }
}
