//! Quantities (`100m`, `1Gi`), parsed and formatted as in apimachinery's `resource.Quantity`, quirks included.

/// The text of a quantity after Go has parsed and formatted it: usually the canonical form, but many texts are kept.
/// `None` if Go cannot parse it.
pub(super) fn canonical(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    if text == "0" {
        return Some(text.to_owned());
    }
    let parts = Parts::of(text)?;
    let suffix = Suffix::of(parts.suffix)?;
    if let Some(small) = parts.small(suffix) {
        return Some(if small.is_kept {
            text.to_owned()
        } else {
            small.amount.written(suffix.format)
        });
    }
    let mut format = suffix.format;
    let mut amount = parts.large(suffix)?;
    amount.round_up(NANO);
    if format == Format::Binary {
        amount.cap();
        if amount.integer_digits() <= 0 {
            format = Format::Decimal;
        }
    }
    Some(amount.written(format))
}

/// The smallest decimal place of a quantity.
const NANO: i64 = 9;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Exponent,
    Binary,
}

/// The suffix of the number: a power of ten or, binary, of two.
#[derive(Clone, Copy)]
struct Suffix {
    exponent: i32,
    format: Format,
}

const DECIMAL: [(&str, i64); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Suffix {
    #[expect(clippy::cast_possible_truncation, reason = "that is what Go does")]
    fn of(text: &str) -> Option<Self> {
        if let Some((_, exponent)) = DECIMAL.iter().find(|(suffix, _)| *suffix == text) {
            return Some(Self {
                exponent: *exponent as i32,
                format: Format::Decimal,
            });
        }
        if let Some(thousands) = BINARY.iter().position(|suffix| *suffix == text) {
            return Some(Self {
                exponent: thousands as i32 * 10,
                format: Format::Binary,
            });
        }
        let exponent: i64 = text.strip_prefix(['e', 'E'])?.parse().ok()?;
        Some(Self {
            exponent: exponent as i32,
            format: Format::Exponent,
        })
    }
}

/// The parts of a quantity's text.
struct Parts<'t> {
    negative: bool,
    /// Sign, digits and point.
    value: &'t str,
    /// The digits before the point without leading zeros, but at least one.
    whole: &'t str,
    /// The digits after the point.
    fraction: &'t str,
    suffix: &'t str,
}

impl<'t> Parts<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let negative = text.starts_with('-');
        let significant = unsigned.trim_start_matches('0');
        if significant.is_empty() {
            // Even a sign alone counts as zero.
            return Some(Self {
                negative,
                value: "0",
                whole: "0",
                fraction: "",
                suffix: "",
            });
        }
        let (whole, rest) = digits(significant);
        let whole = if whole.is_empty() && !rest.is_empty() {
            "0"
        } else {
            whole
        };
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        let value = &text[..text.len() - suffix.len()];

        let exponent = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        digits(exponent).1.is_empty().then_some(Self {
            negative,
            value,
            whole,
            fraction,
            suffix,
        })
    }

    /// The amount if Go computes it with 64 bits, and whether Go keeps the text.
    fn small(&self, suffix: Suffix) -> Option<Small> {
        let (whole, fraction) = (self.whole.len() as i64, self.fraction.len() as i64);
        let (precision, scale, factor) = match suffix.format {
            Format::Decimal | Format::Exponent => {
                (18 - whole - fraction, i64::from(suffix.exponent), 1)
            }
            Format::Binary if fraction == 0 => {
                let digits = i64::from(suffix.exponent) * 3 / 10;
                (15 - whole - digits - 1, 0, 1_i64 << suffix.exponent)
            }
            Format::Binary => return None,
        };
        let scale = scale - fraction;
        if precision < 0 || scale < -NANO {
            return None;
        }
        let shifted = format!("{}{}", self.whole, self.fraction);
        let number: i64 = shifted.parse().ok()?;
        let product = number.checked_mul(factor)?;
        let is_kept = match suffix.format {
            Format::Binary => number & 7 != 0,
            _ => scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0'),
        };
        let amount = Amount::new(self.negative, &product.to_string(), -scale);
        Some(Small { amount, is_kept })
    }

    /// The amount if it may exceed 64 bits. `None` without any digit.
    fn large(&self, suffix: Suffix) -> Option<Amount> {
        let unsigned = self.value.trim_start_matches(['-', '+']);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let number = format!("{whole}{fraction}");
        if number.is_empty() {
            return None;
        }
        let places = fraction.len() as i64;
        if suffix.format != Format::Binary {
            let places = places - i64::from(suffix.exponent);
            return Some(Amount::new(self.negative, &number, places));
        }
        let mut amount = Amount::new(self.negative, &number, places);
        for _ in 0..suffix.exponent / 10 {
            amount.multiply(1024);
        }
        Some(amount)
    }
}

struct Small {
    amount: Amount,
    is_kept: bool,
}

/// The leading digits, and the rest.
fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit());
    text.split_at(end.unwrap_or(text.len()))
}

/// A decimal number of any size.
struct Amount {
    negative: bool,
    /// Digits, the least significant first, the last one not 0; empty for zero.
    digits: Vec<u8>,
    /// How many of the digits are after the point; negative for zeros before it.
    places: i64,
}

impl Amount {
    /// Takes ASCII digits, the most significant first.
    fn new(negative: bool, digits: &str, places: i64) -> Self {
        let mut amount = Self {
            negative,
            digits: digits.bytes().rev().map(|digit| digit - b'0').collect(),
            places,
        };
        amount.tidy();
        amount
    }

    /// Drops zeros at both ends.
    fn tidy(&mut self) {
        while self.digits.last() == Some(&0) {
            self.digits.pop();
        }
        let zeros = self.digits.iter().take_while(|digit| **digit == 0).count();
        self.digits.drain(..zeros);
        self.places -= zeros as i64;
    }

    /// How many digits are before the point; zero or less for values below one.
    fn integer_digits(&self) -> i64 {
        self.digits.len() as i64 - self.places
    }

    fn multiply(&mut self, factor: u32) {
        let mut carry = 0;
        for digit in &mut self.digits {
            carry += u32::from(*digit) * factor;
            *digit = (carry % 10).to_le_bytes()[0];
            carry /= 10;
        }
        while carry > 0 {
            self.digits.push((carry % 10).to_le_bytes()[0]);
            carry /= 10;
        }
        self.tidy();
    }

    /// Rounds to this many decimal places, away from zero.
    fn round_up(&mut self, places: i64) {
        if self.places <= places || self.digits.is_empty() {
            return;
        }
        let dropped = usize::try_from(self.places - places).unwrap_or(usize::MAX);
        // The dropped digits are not all zeros, since there are no trailing zeros.
        self.digits.drain(..dropped.min(self.digits.len()));
        self.places = places;
        for digit in &mut self.digits {
            *digit += 1;
            if *digit < 10 {
                return self.tidy();
            }
            *digit = 0;
        }
        self.digits.push(1);
        self.tidy();
    }

    /// Binary quantities are capped at int64.
    fn cap(&mut self) {
        const MAX: &str = "9223372036854775807";
        let length = MAX.len() as i64;
        let is_larger = self.integer_digits() > length
            || self.integer_digits() == length
                && (self.digits.iter().rev().map(|digit| digit + b'0')).gt(MAX.bytes());
        if is_larger {
            *self = Self::new(self.negative, MAX, 0);
        }
    }

    /// The value of a number with at most 19 digits and no decimal places.
    fn as_integer(&self) -> Option<u64> {
        if self.places > 0 || self.integer_digits() > 19 {
            return None;
        }
        let number = self.digits.iter().rev();
        let number = number.fold(0, |number, digit| number * 10 + u64::from(*digit));
        Some(number * 10_u64.pow(u32::try_from(-self.places).ok()?))
    }

    fn written(&self, format: Format) -> String {
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        let sign = if self.negative { "-" } else { "" };
        let integer = self.as_integer().filter(|integer| *integer >= 1024);
        if let (Format::Binary, Some(mut integer)) = (format, integer) {
            let mut thousands = 0;
            while integer >= 1024 && integer.is_multiple_of(1024) {
                integer /= 1024;
                thousands += 1;
            }
            return format!("{sign}{integer}{}", BINARY[thousands]);
        }
        // The exponent is a multiple of three.
        let zeros = (-self.places).rem_euclid(3);
        let exponent = -self.places - zeros;
        let suffix = if format == Format::Exponent {
            match exponent {
                0 => String::new(),
                exponent => format!("e{exponent}"),
            }
        } else {
            // Go has no suffix beyond these, and then writes the number without one.
            let suffix = DECIMAL.iter().find(|(_, power)| *power == exponent);
            suffix.map_or_else(String::new, |(suffix, _)| (*suffix).to_owned())
        };
        let digits: String = (self.digits.iter().rev())
            .map(|digit| char::from(digit + b'0'))
            .chain((0..zeros).map(|_| '0'))
            .collect();
        format!("{sign}{digits}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn quantities_are_written_as_go_writes_them() {
        for (text, want) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1500m", "1500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("100Mi", "100Mi"),
            ("0.1Ki", "102400m"),
            ("1e3", "1e3"),
            ("1e5", "100e3"),
            ("10000", "10k"),
            ("0.0000000001", "1n"),
            ("-0.5Mi", "-512Ki"),
            ("100Ei", "9223372036854775807"),
            ("0Gi", "0"),
            ("005", "005"),
            ("+5", "+5"),
            ("-", "0"),
            ("m", "0"),
            ("1.", "1."),
            ("1000E", "1"),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(want), "{text}");
        }
        for text in [
            "", " 1", "1 Gi", "1kb", "1e", "1e5m", "e-10", "true", "1Gi5", "0x1",
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }
}
