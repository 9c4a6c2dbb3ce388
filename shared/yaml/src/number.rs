//! Numbers read and written as Go's `strconv` and `encoding/json` do.

use flux_golang::strconv;

use crate::resolve::Scalar;

/// `strconv.ParseInt(text, 0, 64)`, else `strconv.ParseUint(text, 0, 64)`; underscores are already removed.
pub(crate) fn parse_int(text: &str) -> Option<Scalar> {
    let text = text.as_bytes();
    match strconv::parse_int(text, 0) {
        Ok(int) => Some(Scalar::Int(int)),
        Err(_) => strconv::parse_uint(text, 0).ok().map(Scalar::Uint),
    }
}

/// `strconv.ParseInt(text, base, 64)`.
pub(crate) fn parse_signed(text: &str, base: u32) -> Option<i64> {
    strconv::parse_int(text.as_bytes(), base).ok()
}

/// The decimal form that go-yaml recognises as a float: `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`.
pub(crate) fn looks_like_float(text: &str) -> bool {
    let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, rest) = digits(rest);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return false;
    }
    let Some(exponent) = rest.strip_prefix(['e', 'E']) else {
        return rest.is_empty();
    };
    let (exponent, rest) = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    !exponent.is_empty() && rest.is_empty()
}

fn digits(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A decimal float within the range of `f64`: Go reports others as an error, and the text stays text.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    if !looks_like_float(text) {
        return None;
    }
    text.parse().ok().filter(|float: &f64| float.is_finite())
}

/// `strconv.FormatFloat(float, 'g', -1, 64)`, with YAML's words for NaN and infinities.
pub(crate) fn format_yaml(float: f64) -> String {
    if float.is_nan() {
        return ".nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    strconv::format_float(float, b'g', None)
}

/// `strconv.FormatFloat(float, 'g', -1, 32)`, as sigs.k8s.io/yaml writes a float that is a key.
pub(crate) fn format_yaml_key(float: f64) -> String {
    let single = float as f32;
    if single.is_finite() {
        strconv::format_float32(single, b'g', None)
    } else {
        format_yaml(f64::from(single))
    }
}

/// `%#v` of a float: an exponent below 1e-4 and from 1e21 on.
pub(crate) fn format_go_syntax(float: f64) -> String {
    let magnitude = float.abs();
    let verb = if magnitude == 0.0 || (1e-4..1e21).contains(&magnitude) {
        b'f'
    } else {
        b'e'
    };
    strconv::format_float(float, verb, None)
}

#[cfg(test)]
mod tests {
    use flux_golang::json;

    use super::*;

    #[test]
    fn floats_are_written_as_strconv_writes_them() {
        // HE-YAML-006: value, as YAML, as JSON.
        let cases: &[(f64, &str, &str)] = &[
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (0.1, "0.1", "0.1"),
            (-2.5, "-2.5", "-2.5"),
            (100_000.0, "100000", "100000"),
            (1_000_000.0, "1e+06", "1000000"),
            (123_456_789.5, "1.234567895e+08", "123456789.5"),
            (1e20, "1e+20", "100000000000000000000"),
            (1e21, "1e+21", "1e+21"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "0.00001"),
            (1e-7, "1e-07", "1e-7"),
            (1.5e-300, "1.5e-300", "1.5e-300"),
            (
                f64::MAX,
                "1.7976931348623157e+308",
                "1.7976931348623157e+308",
            ),
        ];
        for (float, yaml, json) in cases {
            assert_eq!(&format_yaml(*float), yaml);
            assert_eq!(json::format_float(*float).as_deref(), Some(*json));
        }
        assert_eq!(format_yaml(f64::NEG_INFINITY), "-.inf");
        assert_eq!(json::format_float(f64::NAN), None);
        assert_eq!(format_yaml_key(0.1), "0.1");
        assert_eq!(format_yaml_key(16_777_217.0), "1.6777216e+07");
        assert_eq!(format_yaml_key(1e300), ".inf");
    }
}
