//! `html`, `js`, `urlquery`.

use flux_golang::unicode;

use crate::value::Str;

/// `template.HTMLEscapeString`
pub(super) fn html(text: &[u8]) -> Str {
    let mut out = Vec::with_capacity(text.len());
    for &b in text {
        let escaped: &[u8] = match b {
            0 => "\u{fffd}".as_bytes(),
            b'"' => b"&#34;",
            b'\'' => b"&#39;",
            b'&' => b"&amp;",
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            _ => {
                out.push(b);
                continue;
            }
        };
        out.extend_from_slice(escaped);
    }
    out.into()
}

/// `template.JSEscapeString`
pub(super) fn js(text: &[u8]) -> Str {
    let mut out = Vec::with_capacity(text.len());
    for (at, c, width) in unicode::runes(text) {
        let escaped: &str = match c {
            '\\' => r"\\",
            '\'' => r"\'",
            '"' => "\\\"",
            '<' => r"\u003C",
            '>' => r"\u003E",
            '&' => r"\u0026",
            '=' => r"\u003D",
            '\0'..' ' => {
                out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes());
                continue;
            }
            _ => {
                if c.is_ascii() || unicode::is_print(c) {
                    out.extend_from_slice(text.get(at..at + width).unwrap_or_default());
                } else {
                    out.extend_from_slice(format!("\\u{:04X}", u32::from(c)).as_bytes());
                }
                continue;
            }
        };
        out.extend_from_slice(escaped.as_bytes());
    }
    out.into()
}

/// `url.QueryEscape`
pub(crate) fn url_query(text: &[u8]) -> Str {
    let mut out = Vec::with_capacity(text.len());
    for &b in text {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(b),
            b' ' => out.push(b'+'),
            _ => out.extend_from_slice(format!("%{b:02X}").as_bytes()),
        }
    }
    out.into()
}
