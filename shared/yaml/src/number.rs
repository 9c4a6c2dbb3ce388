//! Numbers read and written as Go's `strconv` and `encoding/json` do.

use crate::resolve::Scalar;

/// `strconv.ParseInt(text, 0, 64)`, else `strconv.ParseUint(text, 0, 64)`; underscores are already removed.
pub(crate) fn parse_int(text: &str) -> Option<Scalar> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let (digits, base) = base_of(unsigned);
    let magnitude = parse_unsigned(digits, base)?;
    if negative {
        return (magnitude <= 1 << 63).then(|| Scalar::Int((magnitude as i64).wrapping_neg()));
    }
    match i64::try_from(magnitude) {
        Ok(int) => Some(Scalar::Int(int)),
        // ParseUint accepts no sign.
        Err(_) => (!text.starts_with('+')).then_some(Scalar::Uint(magnitude)),
    }
}

fn base_of(unsigned: &str) -> (&str, u32) {
    let bytes = unsigned.as_bytes();
    if bytes.first() != Some(&b'0') || bytes.len() < 2 {
        return (unsigned, 10);
    }
    let (skip, base) = match bytes.get(1).map(u8::to_ascii_lowercase) {
        Some(b'x') => (2, 16),
        Some(b'o') => (2, 8),
        Some(b'b') => (2, 2),
        _ => (1, 8),
    };
    (unsigned.get(skip..).unwrap_or(""), base)
}

fn parse_unsigned(digits: &str, base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.chars().try_fold(0_u64, |sum, c| {
        sum.checked_mul(u64::from(base))?
            .checked_add(u64::from(c.to_digit(base)?))
    })
}

/// `strconv.ParseInt(text, base, 64)`.
pub(crate) fn parse_signed(text: &str, base: u32) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let magnitude = parse_unsigned(digits, base)?;
    if negative {
        return (magnitude <= 1 << 63).then(|| (magnitude as i64).wrapping_neg());
    }
    i64::try_from(magnitude).ok()
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

/// Splits `-1.25e-7` into sign, digits and exponent.
fn split(scientific: &str) -> (bool, String, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let digits = mantissa.replace('.', "");
    (negative, digits, exponent.parse().unwrap_or(0))
}

fn exponent_form(negative: bool, digits: &str, exponent: i32, pad: bool) -> String {
    let mut out = String::with_capacity(digits.len() + 8);
    if negative {
        out.push('-');
    }
    let (first, rest) = digits.split_at(1.min(digits.len()));
    out.push_str(first);
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out.push('e');
    out.push(if exponent < 0 { '-' } else { '+' });
    let exponent = exponent.unsigned_abs();
    if exponent < 10 && pad {
        out.push('0');
    }
    out.push_str(&exponent.to_string());
    out
}

fn decimal_form(negative: bool, digits: &str, exponent: i32) -> String {
    let mut out = String::with_capacity(digits.len() + 8);
    if negative {
        out.push('-');
    }
    let point = exponent + 1;
    if point <= 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', point.unsigned_abs() as usize));
        out.push_str(digits);
        return out;
    }
    let point = point as usize;
    if digits.len() <= point {
        out.push_str(digits);
        out.extend(std::iter::repeat_n('0', point - digits.len()));
    } else {
        let (whole, fraction) = digits.split_at(point);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// `strconv.FormatFloat(float, 'g', -1, 64)`, with YAML's words for NaN and infinities.
pub(crate) fn format_yaml(float: f64) -> String {
    if float.is_nan() {
        return ".nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    general(&format!("{float:e}"))
}

/// `strconv.FormatFloat(float, 'g', -1, 32)`, as sigs.k8s.io/yaml writes a float that is a key.
pub(crate) fn format_yaml_key(float: f64) -> String {
    let single = float as f32;
    if single.is_finite() {
        general(&format!("{single:e}"))
    } else {
        format_yaml(f64::from(single))
    }
}

/// The form of a JSON number in Go: an exponent only below 1e-6 and from 1e21 on. `None` for NaN and infinities.
pub(crate) fn format_json(float: f64) -> Option<String> {
    if !float.is_finite() {
        return None;
    }
    let (negative, digits, exponent) = split(&format!("{float:e}"));
    let magnitude = float.abs();
    Some(if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        exponent_form(negative, &digits, exponent, false)
    } else {
        decimal_form(negative, &digits, exponent)
    })
}

/// `%#v` of a float: an exponent below 1e-4 and from 1e21 on.
pub(crate) fn format_go_syntax(float: f64) -> String {
    let (negative, digits, exponent) = split(&format!("{float:e}"));
    if (-4..21).contains(&exponent) {
        decimal_form(negative, &digits, exponent)
    } else {
        exponent_form(negative, &digits, exponent, true)
    }
}

/// Go's `%g` with the fewest digits: an exponent below 1e-4 and from 1e6 on.
fn general(scientific: &str) -> String {
    let (negative, digits, exponent) = split(scientific);
    if (-4..6).contains(&exponent) {
        decimal_form(negative, &digits, exponent)
    } else {
        exponent_form(negative, &digits, exponent, true)
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(format_json(*float).as_deref(), Some(*json));
        }
        assert_eq!(format_yaml(f64::NEG_INFINITY), "-.inf");
        assert_eq!(format_json(f64::NAN), None);
        assert_eq!(format_yaml_key(0.1), "0.1");
        assert_eq!(format_yaml_key(16_777_217.0), "1.6777216e+07");
        assert_eq!(format_yaml_key(1e300), ".inf");
    }
}
