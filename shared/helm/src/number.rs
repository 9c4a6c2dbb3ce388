//! Numbers as Go writes them.

/// `%g` of a float64 with the fewest digits that tell it apart.
pub(crate) fn format_g(number: f64) -> String {
    general(&format!("{number:e}"), number.is_finite(), number)
}

/// The same of a float32, which is how YAML numbers become text (HE-LOAD-009).
pub(crate) fn format_g32(number: f64) -> String {
    let short = number as f32;
    general(&format!("{short:e}"), short.is_finite(), f64::from(short))
}

fn general(scientific: &str, finite: bool, number: f64) -> String {
    if !finite {
        return match number {
            n if n.is_nan() => "NaN",
            n if n > 0.0 => "+Inf",
            _ => "-Inf",
        }
        .to_owned();
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return plain(mantissa, exponent);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Mantissa times a small power of ten, without an exponent.
fn plain(mantissa: &str, exponent: i32) -> String {
    let (sign, digits) = mantissa
        .strip_prefix('-')
        .map_or(("", mantissa), |digits| ("-", digits));
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    if exponent < 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        return format!("{sign}{digits:0<whole$}");
    }
    let (whole, fraction) = digits.split_at(whole);
    format!("{sign}{whole}.{fraction}")
}

/// A float as `encoding/json` writes it: an exponent below 1e-6 and from 1e21 on (HE-FNE-002).
pub(crate) fn format_json(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-6..1e21).contains(&size) {
        return format!("{number}");
    }
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => {
            format!("{mantissa}e+{exponent}")
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_go_writes() {
        for (number, g, json) in [
            (0.0, "0", "0"),
            (-0.5, "-0.5", "-0.5"),
            (1.1, "1.1", "1.1"),
            (123_456.0, "123456", "123456"),
            (1_000_000.0, "1e+06", "1000000"),
            (1_234_567.5, "1.2345675e+06", "1234567.5"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_012, "1.2e-05", "0.000012"),
            (1e20, "1e+20", "100000000000000000000"),
            (1e21, "1e+21", "1e+21"),
            (1.5e-7, "1.5e-07", "1.5e-7"),
            (12.25, "12.25", "12.25"),
        ] {
            assert_eq!(format_g(number), g);
            assert_eq!(format_json(number), json);
        }
        assert_eq!(format_g32(1.10), "1.1");
        assert_eq!(format_g32(1.234_567_890_12), "1.2345679");
    }
}
