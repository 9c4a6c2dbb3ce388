//! Text as Go's standard library prints it.

use std::fmt::Write as _;

use flux_yaml::Value;
use flux_yaml::json::Escape;

/// `strconv.FormatFloat(value, 'g', -1, 64)`.
pub(crate) fn float_g(value: f64) -> String {
    let (negative, digits, exponent) = decimal(value);
    let sign = if negative { "-" } else { "" };
    if !(-3..=6).contains(&exponent) {
        return format!("{sign}{}", scientific(&digits, exponent));
    }
    format!("{sign}{}", fixed(&digits, exponent))
}

/// The shortest digits that read back as the value, and the position of the point behind the first of them.
fn decimal(value: f64) -> (bool, String, i32) {
    let text = format!("{:e}", value.abs());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or_default();
    (value.is_sign_negative(), digits, exponent + 1)
}

fn scientific(digits: &str, point: i32) -> String {
    let (first, rest) = digits.split_at(1.min(digits.len()));
    let exponent = point - 1;
    let sign = if exponent < 0 { '-' } else { '+' };
    let dot = if rest.is_empty() { "" } else { "." };
    format!("{first}{dot}{rest}e{sign}{:02}", exponent.abs())
}

fn fixed(digits: &str, point: i32) -> String {
    let length = digits.len() as i32;
    if digits.bytes().all(|b| b == b'0') {
        return "0".into();
    }
    if point <= 0 {
        return format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize));
    }
    if point >= length {
        return format!("{digits}{}", "0".repeat((point - length) as usize));
    }
    let (whole, part) = digits.split_at(point as usize);
    format!("{whole}.{part}")
}

/// The value as `json.Marshal` writes it: keys sorted by bytes, `<`, `>` and `&` escaped (KZ-HASH-006).
pub(crate) fn json(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_keys();
    compact(&sorted)
}

fn compact(value: &Value) -> String {
    // Only floats that are no numbers have no JSON, and no value that was read holds one.
    flux_yaml::json::to_string(value, Escape::Html).unwrap_or_default()
}

/// As [`json`], over several lines with two spaces for each level.
pub(crate) fn json_indented(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_keys();
    let mut out = String::new();
    indented(&sorted, 0, &mut out);
    out
}

fn indented(value: &Value, level: usize, out: &mut String) {
    let (open, close, length) = match value {
        Value::Seq(items) if !items.is_empty() => ('[', ']', items.len()),
        Value::Map(map) if !map.is_empty() => ('{', '}', map.len()),
        other => return out.push_str(&compact(other)),
    };
    out.push(open);
    for at in 0..length {
        if at > 0 {
            out.push(',');
        }
        out.push('\n');
        out.push_str(&"  ".repeat(level + 1));
        match value {
            Value::Seq(items) => items
                .get(at)
                .into_iter()
                .for_each(|item| indented(item, level + 1, out)),
            Value::Map(map) => {
                if let Some((key, item)) = map.get_index(at) {
                    out.push_str(&compact(&key.as_str().into()));
                    out.push_str(": ");
                    indented(item, level + 1, out);
                }
            }
            _ => {}
        }
    }
    out.push('\n');
    out.push_str(&"  ".repeat(level));
    out.push(close);
}

/// Text as `%q` quotes it.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", character as u32);
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// A list of text as `%v` prints it.
pub(crate) fn list_of<S: AsRef<str>>(items: &[S]) -> String {
    let items: Vec<_> = items.iter().map(AsRef::as_ref).collect();
    format!("[{}]", items.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_go() {
        for (value, want) in [
            (80.0, "80"),
            (1_000_000.0, "1e+06"),
            (12_345_678.0, "1.2345678e+07"),
            (123_456.0, "123456"),
            (0.000_01, "1e-05"),
            (1e-7, "1e-07"),
            (1e21, "1e+21"),
            (123_456_789.5, "1.234567895e+08"),
            (-1.5, "-1.5"),
            (0.0, "0"),
        ] {
            assert_eq!(float_g(value), want);
        }
    }

    #[test]
    fn json_is_escaped_for_html() {
        let value: Value = [("b", Value::from("<&>\u{2028}")), ("a", Value::Null)]
            .into_iter()
            .collect();
        assert_eq!(json(&value), r#"{"a":null,"b":"\u003c\u0026\u003e\u2028"}"#);
        assert_eq!(
            json_indented(&value),
            "{\n  \"a\": null,\n  \"b\": \"\\u003c\\u0026\\u003e\\u2028\"\n}"
        );
        assert_eq!(json_indented(&Value::map()), "{}");
    }
}
