//! Exact decimal numbers: `0.3` is a multiple of `0.1`.

use std::cmp::Ordering;

use num_bigint::BigUint;

/// The largest exponent of Go's rationals.
const MAX_EXPONENT: i64 = 1_000_000;
/// Maximum number of digits; arithmetic on longer numbers would be slow.
const MAX_DIGITS: usize = 10_000;

/// Digits, multiplied by a power of ten.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Decimal {
    negative: bool,
    /// Without leading or trailing zeros; empty for zero.
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Parses a JSON number; `None` if it is too large for Go.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()),
            None => (unsigned, Some(0)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.len() + fraction.len() > MAX_DIGITS {
            return None;
        }
        let all = [whole, fraction].concat();
        let digits = all.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Self {
                negative: false,
                digits: String::new(),
                exponent: 0,
            });
        }
        let exponent = exponent?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
        if exponent.checked_abs()? > MAX_EXPONENT {
            return None;
        }
        let kept = digits.trim_end_matches('0');
        Some(Self {
            negative,
            exponent: exponent + i64::try_from(digits.len() - kept.len()).ok()?,
            digits: kept.to_owned(),
        })
    }

    fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// Whether it has no fractional part.
    pub(super) fn is_whole(&self) -> bool {
        self.exponent >= 0
    }

    /// The value of an integer; `None` if it does not fit.
    pub(super) fn to_usize(&self) -> Option<usize> {
        if !self.is_whole() || self.negative || self.exponent > 20 {
            return None;
        }
        let zeros = "0".repeat(usize::try_from(self.exponent).ok()?);
        format!("0{}{zeros}", self.digits).parse().ok()
    }

    /// The nearest float.
    pub(super) fn to_f64(&self) -> f64 {
        let sign = if self.negative { "-" } else { "" };
        let text = format!("{sign}0{}e{}", self.digits, self.exponent);
        text.parse().unwrap_or_default()
    }

    /// Whether this is an integer multiple of `of`, which is not zero.
    pub(super) fn is_multiple(&self, of: &Self) -> bool {
        if self.is_zero() {
            return true;
        }
        let number = |digits: &str| digits.parse::<BigUint>().unwrap_or_default();
        let (dividend, divisor) = (number(&self.digits), number(&of.digits));
        if divisor == BigUint::ZERO {
            return false;
        }
        let shift = self.exponent - of.exponent;
        let Ok(power) = u32::try_from(shift.unsigned_abs()) else {
            return false;
        };
        let ten = BigUint::from(10_u32);
        if shift >= 0 {
            let scale = ten.modpow(&BigUint::from(power), &divisor);
            return (dividend * scale) % divisor == BigUint::ZERO;
        }
        // In this case the divisor is longer than the dividend.
        if of.digits.len() + power as usize > self.digits.len() {
            return false;
        }
        dividend % (divisor * ten.pow(power)) == BigUint::ZERO
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |n: &Self| match (n.is_zero(), n.negative) {
            (true, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        // Compare the position of the first digit, then the digits.
        let length = |n: &Self| n.exponent + i64::try_from(n.digits.len()).unwrap_or(i64::MAX);
        let size = || {
            length(self)
                .cmp(&length(other))
                .then_with(|| self.digits.cmp(&other.digits))
        };
        match (sign(self), sign(other)) {
            (1, 1) => size(),
            (-1, -1) => size().reverse(),
            (a, b) => a.cmp(&b),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_and_divide_without_loss() {
        let number = |text| Decimal::parse(text).unwrap();
        assert_eq!(number("1.0"), number("1"));
        assert_eq!(number("-0"), number("0.00e7"));
        assert_eq!(number("120e-1"), number("12"));
        for (small, big) in [
            ("-1", "0"),
            ("0", "0.1"),
            ("9.99", "10"),
            ("-10", "-9.99"),
            ("1e999", "1.1e999"),
            ("12345678901234567890", "12345678901234567890.1"),
        ] {
            assert!(number(small) < number(big), "{small} {big}");
        }
        for (dividend, divisor, whole) in [
            ("0.3", "0.1", true),
            ("1e100", "3", false),
            ("3e100", "3", true),
            ("1000", "1e3", true),
            ("100", "1e3", false),
            ("-7.5", "2.5", true),
            ("1e1000000", "1e-1000000", true),
        ] {
            assert_eq!(number(dividend).is_multiple(&number(divisor)), whole);
        }
        assert_eq!(Decimal::parse("1e1000001"), None);
        assert!(Decimal::parse("1e9999999999999999999").is_none());
        assert_eq!(number("1.5e3").to_usize(), Some(1500));
        assert_eq!(number("-2.5").to_f64().to_bits(), (-2.5_f64).to_bits());
    }
}
