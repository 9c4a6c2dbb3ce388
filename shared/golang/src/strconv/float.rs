//! Formatting of floats as in Go.

/// `strconv.FormatFloat(value, format, precision, 64)`; `None` as precision is Go's -1, the shortest text that parses to
/// the same value. Formats: `e E f g G b x X`.
pub fn format_float(value: f64, format: u8, precision: Option<usize>) -> String {
    format_digits(value, format, precision, || {
        Digits::of(&format!("{:e}", value.abs()))
    })
}

/// As [`format_float`], for a `float32`.
pub fn format_float32(value: f32, format: u8, precision: Option<usize>) -> String {
    if precision.is_some() || matches!(format, b'b' | b'x' | b'X') {
        if format == b'b' {
            let bits = value.to_bits();
            return binary(
                value.is_sign_negative(),
                u64::from(bits & 0x7f_ffff),
                (bits >> 23 & 0xff) as i32,
                23,
                -127,
            );
        }
        return format_float(f64::from(value), format, precision);
    }
    format_digits(f64::from(value), format, precision, || {
        Digits::of(&format!("{:e}", value.abs()))
    })
}

/// Decimal digits, and the number of those before the decimal point.
struct Digits {
    digits: Vec<u8>,
    point: i32,
}

impl Digits {
    /// Parses Rust's format `d.ddde±x`.
    fn of(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        let exponent: i32 = exponent.parse().unwrap_or(0);
        let point = if digits.is_empty() { 0 } else { exponent + 1 };
        Self { digits, point }
    }

    fn at(&self, i: i32) -> char {
        let digit = usize::try_from(i).ok().and_then(|i| self.digits.get(i));
        digit.map_or('0', |&b| char::from(b))
    }
}

fn format_digits(
    value: f64,
    format: u8,
    precision: Option<usize>,
    shortest: impl Fn() -> Digits,
) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let negative = value.is_sign_negative();
    let sign = if negative { "-" } else { "" };
    let magnitude = value.abs();
    match (format, precision) {
        (b'b', _) => {
            let bits = value.to_bits();
            binary(
                negative,
                bits & ((1 << 52) - 1),
                (bits >> 52 & 0x7ff) as i32,
                52,
                -1023,
            )
        }
        (b'x' | b'X', _) => hexadecimal(value, format, precision),
        (b'f', Some(n)) => format!("{sign}{magnitude:.n$}"),
        (b'f', None) => {
            let digits = shortest();
            let n = (digits.digits.len() as i32 - digits.point).max(0);
            format!("{sign}{}", fixed(&digits, n))
        }
        (b'e' | b'E', Some(n)) => {
            let digits = Digits::of(&format!("{magnitude:.n$e}"));
            format!("{sign}{}", exponential(&digits, n as i32, format))
        }
        (b'e' | b'E', None) => {
            let digits = shortest();
            let n = (digits.digits.len() as i32 - 1).max(0);
            format!("{sign}{}", exponential(&digits, n, format))
        }
        (b'g' | b'G', _) => format!("{sign}{}", general(magnitude, format, precision, shortest)),
        _ => format!("%{}", char::from(format)),
    }
}

fn general(
    magnitude: f64,
    format: u8,
    precision: Option<usize>,
    shortest: impl Fn() -> Digits,
) -> String {
    let (digits, mut precision, switch) = match precision {
        None => {
            let digits = shortest();
            let n = digits.digits.len() as i32;
            (digits, n, 6)
        }
        Some(n) => {
            let n = n.max(1);
            let digits = Digits::of(&format!("{magnitude:.*e}", n - 1));
            let nd = digits.digits.len() as i32;
            let n = n as i32;
            let switch = if n > nd && nd >= digits.point { nd } else { n };
            (digits, n, switch)
        }
    };
    let nd = digits.digits.len() as i32;
    let exponent = digits.point - 1;
    if exponent < -4 || exponent >= switch {
        precision = precision.min(nd);
        return exponential(&digits, (precision - 1).max(0), format + b'e' - b'g');
    }
    if precision > digits.point {
        precision = nd;
    }
    fixed(&digits, (precision - digits.point).max(0))
}

/// The format `ddd.ddd` with `fraction` digits after the point.
fn fixed(digits: &Digits, fraction: i32) -> String {
    let mut out = String::new();
    if digits.point > 0 {
        out.extend((0..digits.point).map(|i| digits.at(i)));
    } else {
        out.push('0');
    }
    if fraction > 0 {
        out.push('.');
        out.extend((0..fraction).map(|i| digits.at(digits.point + i)));
    }
    out
}

/// The format `d.ddde±dd` with `fraction` digits after the point.
fn exponential(digits: &Digits, fraction: i32, e: u8) -> String {
    let mut out = String::new();
    out.push(digits.at(0));
    if fraction > 0 {
        out.push('.');
        out.extend((1..=fraction).map(|i| digits.at(i)));
    }
    let exponent = if digits.digits.is_empty() {
        0
    } else {
        digits.point - 1
    };
    out.push(char::from(e));
    out.push(if exponent < 0 { '-' } else { '+' });
    out.push_str(&format!("{:02}", exponent.abs()));
    out
}

/// `%b`: decimal mantissa and binary exponent.
fn binary(negative: bool, mantissa: u64, exponent: i32, bits: i32, bias: i32) -> String {
    let (mantissa, exponent) = if exponent == 0 {
        (mantissa, 1)
    } else {
        (mantissa | 1 << bits, exponent)
    };
    let exponent = exponent + bias - bits;
    let sign = if negative { "-" } else { "" };
    format!("{sign}{mantissa}p{exponent:+}")
}

/// `%x`: `0x1.8p+01`.
fn hexadecimal(value: f64, format: u8, precision: Option<usize>) -> String {
    let bits = value.to_bits();
    let raw = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    let (mut mantissa, mut exponent) = if raw == 0 {
        (fraction, -1022)
    } else {
        (fraction | 1 << 52, raw - 1023)
    };
    if mantissa == 0 {
        exponent = 0;
    }
    mantissa <<= 8;
    while mantissa != 0 && mantissa & 1 << 60 == 0 {
        mantissa <<= 1;
        exponent -= 1;
    }
    if let Some(n) = precision.filter(|&n| n < 15) {
        let shift = n as u32 * 4;
        let extra = mantissa << shift & ((1 << 60) - 1);
        mantissa >>= 60 - shift;
        if extra | (mantissa & 1) > 1 << 59 {
            mantissa += 1;
        }
        mantissa <<= 60 - shift;
        if mantissa & 1 << 61 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let mut out = String::from(if value.is_sign_negative() {
        "-0x"
    } else {
        "0x"
    });
    out.push(if mantissa >> 60 & 1 == 1 { '1' } else { '0' });
    mantissa <<= 4;
    let mut digits = Vec::new();
    match precision {
        None => {
            while mantissa != 0 {
                digits.push((mantissa >> 60) as u32 & 15);
                mantissa <<= 4;
            }
        }
        Some(n) => {
            for _ in 0..n {
                digits.push((mantissa >> 60) as u32 & 15);
                mantissa <<= 4;
            }
        }
    }
    if !digits.is_empty() {
        out.push('.');
        out.extend(digits.iter().filter_map(|&d| char::from_digit(d, 16)));
    }
    out.push_str(&format!(
        "p{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    ));
    if format == b'X' {
        out.to_uppercase()
    } else {
        out
    }
}
