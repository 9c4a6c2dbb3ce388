//! Go string and character literals.

use crate::unicode;

/// `strconv.Quote`, the `%q` of a string.
pub fn quote(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let mut out = Vec::with_capacity(text.len() + 2);
    quote_into(&mut out, text, false);
    // Invalid bytes have been escaped, so this is UTF-8.
    String::from_utf8_lossy(&out).into_owned()
}

/// `strconv.AppendQuote`, or `AppendQuoteToASCII`.
pub fn quote_into(out: &mut Vec<u8>, text: &[u8], ascii: bool) {
    out.push(b'"');
    for (at, c, width) in unicode::runes(text) {
        match text.get(at) {
            Some(&byte) if width == 1 && c == unicode::RUNE_ERROR => {
                out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
            _ => escape(out, c, '"', ascii),
        }
    }
    out.push(b'"');
}

/// `strconv.AppendQuoteRune`, or `AppendQuoteRuneToASCII`.
pub fn quote_rune(out: &mut Vec<u8>, c: char, ascii: bool) {
    out.push(b'\'');
    escape(out, c, '\'', ascii);
    out.push(b'\'');
}

fn escape(out: &mut Vec<u8>, c: char, quote: char, ascii: bool) {
    if c == quote || c == '\\' {
        out.push(b'\\');
        return unicode::push(out, c);
    }
    if (!ascii || c.is_ascii()) && unicode::is_print(c) {
        return unicode::push(out, c);
    }
    let short = match c {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        _ => {
            let n = u32::from(c);
            let long = match n {
                0..0x20 | 0x7f => format!("\\x{n:02x}"),
                0x20..0x1_0000 => format!("\\u{n:04x}"),
                _ => format!("\\U{n:08x}"),
            };
            out.extend_from_slice(long.as_bytes());
            return;
        }
    };
    out.push(b'\\');
    unicode::push(out, short);
}

/// `strconv.CanBackquote`
pub fn can_backquote(text: &[u8]) -> bool {
    unicode::runes(text).all(|(_, c, width)| {
        if width > 1 {
            c != '\u{feff}'
        } else {
            c != unicode::RUNE_ERROR && (c >= ' ' || c == '\t') && c != '`' && c != '\u{7f}'
        }
    })
}

/// `strconv.Unquote` of a literal with its quotes; `None` if it is malformed.
pub fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = literal.split_first()?;
    match quote {
        b'`' => {
            let (&last, body) = rest.split_last()?;
            let closed = last == b'`' && !body.contains(&b'`');
            closed.then(|| body.iter().copied().filter(|&b| b != b'\r').collect())
        }
        b'"' | b'\'' => {
            let mut out = Vec::with_capacity(rest.len());
            let mut rest = rest;
            while rest.first()? != &quote {
                if rest.first() == Some(&b'\n') {
                    return None;
                }
                let (unit, tail) = unquote_char(rest, quote)?;
                match unit {
                    Unit::Byte(b) => out.push(b),
                    Unit::Rune(c) => unicode::push(&mut out, c),
                }
                rest = tail;
                if quote == b'\'' {
                    break;
                }
            }
            (rest == [quote]).then_some(out)
        }
        _ => None,
    }
}

/// The value of one escape or rune of a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A byte, which need not be a whole character.
    Byte(u8),
    /// A character.
    Rune(char),
}

impl Unit {
    /// The value of the byte or the code point of the character.
    pub fn code(self) -> u32 {
        match self {
            Self::Byte(b) => u32::from(b),
            Self::Rune(c) => u32::from(c),
        }
    }
}

/// `strconv.UnquoteChar`: the first unit of a literal's body, and the rest.
pub fn unquote_char(text: &[u8], quote: u8) -> Option<(Unit, &[u8])> {
    let (&first, rest) = text.split_first()?;
    if first == quote {
        return None;
    }
    if first >= 0x80 {
        let (c, width) = unicode::decode(text);
        return Some((Unit::Rune(c), text.get(width..)?));
    }
    if first != b'\\' {
        return Some((Unit::Byte(first), rest));
    }
    let (&escape, rest) = rest.split_first()?;
    let byte = |b| Some((Unit::Byte(b), rest));
    match escape {
        b'a' => byte(7),
        b'b' => byte(8),
        b'f' => byte(12),
        b'n' => byte(b'\n'),
        b'r' => byte(b'\r'),
        b't' => byte(b'\t'),
        b'v' => byte(11),
        b'\\' => byte(b'\\'),
        b'\'' | b'"' if escape == quote => byte(escape),
        b'x' => {
            let (n, rest) = digits(rest, 2, 16)?;
            Some((Unit::Byte(u8::try_from(n).ok()?), rest))
        }
        b'u' | b'U' => {
            let (n, rest) = digits(rest, if escape == b'u' { 4 } else { 8 }, 16)?;
            Some((Unit::Rune(char::from_u32(n)?), rest))
        }
        b'0'..=b'7' => {
            let (n, rest) = digits(text.get(1..)?, 3, 8)?;
            Some((Unit::Byte(u8::try_from(n).ok()?), rest))
        }
        _ => None,
    }
}

fn digits(text: &[u8], count: usize, base: u32) -> Option<(u32, &[u8])> {
    let mut n: u32 = 0;
    for &b in text.get(..count)? {
        n = n.wrapping_mul(base) | char::from(b).to_digit(base)?;
    }
    Some((n, text.get(count..)?))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn text_is_quoted_as_in_go() {
        for (text, want) in [
            ("a \"b\" \\", r#""a \"b\" \\""#),
            ("\t\n\x01\x7f", r#""\t\n\x01\x7f""#),
            ("é\u{301}…", "\"é\u{301}…\""),
            // Not printable: white space except the blank, zero-width characters, private use, unassigned code points.
            (
                "\u{85}\u{a0}\u{ad}\u{200b}\u{2028}\u{3000}\u{feff}\u{e000}\u{10ffff}",
                r#""\u0085\u00a0\u00ad\u200b\u2028\u3000\ufeff\ue000\U0010ffff""#,
            ),
        ] {
            assert_eq!(quote(text), want);
        }
        assert_eq!(quote(b"a\xff\xc3"), r#""a\xff\xc3""#);
    }
}
