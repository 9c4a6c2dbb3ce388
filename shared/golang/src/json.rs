//! Go's `encoding/json`: the encoding of strings and floats. Other values are encoded by the caller.

use crate::strconv;

/// Appends a text as a JSON string. `escape_html` escapes `<`, `>` and `&`, as `json.Marshal` does but an encoder with
/// `SetEscapeHTML(false)` does not.
pub fn push_string(out: &mut String, text: &str, escape_html: bool) {
    out.push('"');
    push_escaped(out, text, escape_html);
    out.push('"');
}

/// As [`push_string`], for bytes that need not be UTF-8: each invalid byte is written as `\ufffd`.
pub fn push_bytes(out: &mut String, text: &[u8], escape_html: bool) {
    out.push('"');
    for chunk in text.utf8_chunks() {
        push_escaped(out, chunk.valid(), escape_html);
        for _ in chunk.invalid() {
            out.push_str("\\ufffd");
        }
    }
    out.push('"');
}

/// As [`push_string`], without the quotes.
pub fn push_escaped(out: &mut String, text: &str, escape_html: bool) {
    let mut plain_from = 0;
    for (at, c) in text.char_indices() {
        let short = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\x08' => "\\b",
            '\x0C' => "\\f",
            '<' | '>' | '&' if escape_html => "",
            '\0'..='\x1F' | '\u{2028}' | '\u{2029}' => "",
            _ => continue,
        };
        out.push_str(text.get(plain_from..at).unwrap_or(""));
        if short.is_empty() {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push_str(short);
        }
        plain_from = at + c.len_utf8();
    }
    out.push_str(text.get(plain_from..).unwrap_or(""));
}

/// Formats a float as `json.Marshal` does: with an exponent only below 1e-6 and from 1e21 on, without a leading zero in it.
/// `None` for values that JSON does not have.
pub fn format_float(value: f64) -> Option<String> {
    format(value, |verb| strconv::format_float(value, verb, None))
}

/// As [`format_float`], for a `float32`.
pub fn format_float32(value: f32) -> Option<String> {
    format(f64::from(value), |verb| {
        strconv::format_float32(value, verb, None)
    })
}

fn format(value: f64, text: impl Fn(u8) -> String) -> Option<String> {
    if !value.is_finite() {
        return None;
    }
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        return Some(text(b'f'));
    }
    let text = text(b'e');
    Some(match text.split_once("e-0") {
        Some((mantissa, digit)) => format!("{mantissa}e-{digit}"),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::{format_float, push_bytes, push_string};
    use crate::strconv;

    #[test]
    fn floats_are_written_as_in_go() {
        // HE-YAML-006, HE-FNE-002: value, `%g`, JSON.
        for (value, g, json) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (-0.5, "-0.5", "-0.5"),
            (123_456.0, "123456", "123456"),
            (1_000_000.0, "1e+06", "1000000"),
            (1_234_567.5, "1.2345675e+06", "1234567.5"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_012, "1.2e-05", "0.000012"),
            (1e20, "1e+20", "100000000000000000000"),
            (1e21, "1e+21", "1e+21"),
            (1.5e-7, "1.5e-07", "1.5e-7"),
            (123_456_789.5, "1.234567895e+08", "123456789.5"),
        ] {
            assert_eq!(strconv::format_float(value, b'g', None), g);
            assert_eq!(format_float(value).as_deref(), Some(json));
        }
        assert_eq!(format_float(f64::NAN), None);
        assert_eq!(strconv::format_float32(1.1, b'g', None), "1.1");
    }

    #[test]
    fn strings_are_escaped_as_in_go() {
        let (mut html, mut plain, mut bytes) = (String::new(), String::new(), String::new());
        push_string(&mut html, "<&>\u{2028}\u{1}\"\n", true);
        push_string(&mut plain, "<&>\u{2028}\u{1}\"\n", false);
        push_bytes(&mut bytes, b"a\xff\xc3", true);
        assert_eq!(html, r#""\u003c\u0026\u003e\u2028\u0001\"\n""#);
        assert_eq!(plain, "\"<&>\\u2028\\u0001\\\"\\n\"");
        assert_eq!(bytes, r#""a\ufffd\ufffd""#);
    }
}
