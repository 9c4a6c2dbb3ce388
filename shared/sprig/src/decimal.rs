//! Decimal numbers with the arithmetic of `shopspring/decimal`.

use flux_golang::strconv;
use flux_gotemplate::CallError;
use num_bigint::{BigInt, Sign};

/// `value * 10^exponent`
#[derive(Debug, Clone)]
pub(super) struct Decimal {
    value: BigInt,
    exponent: i64,
}

/// Digits after the decimal point of a quotient.
const DIVISION_PRECISION: i64 = 16;

impl Decimal {
    /// The shortest decimal that parses to the same float as `f`.
    pub(super) fn of(f: f64) -> Result<Self, CallError> {
        if !f.is_finite() {
            let text = strconv::format_float(f, b'g', None);
            return Err(format!("Cannot create a Decimal from {text}").into());
        }
        let text = format!("{f:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let fraction = mantissa.split_once('.').map_or(0, |(_, f)| f.len());
        let digits: String = mantissa.chars().filter(|&c| c != '.').collect();
        Ok(Self {
            value: digits.parse().unwrap_or_default(),
            exponent: exponent.parse::<i64>().unwrap_or(0) - fraction as i64,
        })
    }

    fn scaled_to(&self, exponent: i64) -> BigInt {
        &self.value * power(self.exponent - exponent)
    }

    pub(super) fn add(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self {
            value: self.scaled_to(exponent) + other.scaled_to(exponent),
            exponent,
        }
    }

    pub(super) fn sub(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Self {
            value: self.scaled_to(exponent) - other.scaled_to(exponent),
            exponent,
        }
    }

    pub(super) fn mul(&self, other: &Self) -> Self {
        Self {
            value: &self.value * &other.value,
            exponent: self.exponent + other.exponent,
        }
    }

    /// The quotient, rounded to 16 digits after the point, halves away from zero.
    pub(super) fn div(&self, other: &Self) -> Result<Self, CallError> {
        if other.value.sign() == Sign::NoSign {
            return Err("decimal division by 0".into());
        }
        let shift = self.exponent - other.exponent + DIVISION_PRECISION;
        let (mut dividend, mut divisor) = (self.value.clone(), other.value.clone());
        if shift >= 0 {
            dividend *= power(shift);
        } else {
            divisor *= power(-shift);
        }
        let mut quotient = &dividend / &divisor;
        let rest = &dividend - &quotient * &divisor;
        if rest.magnitude() * 2u32 >= *divisor.magnitude() {
            let away = if self.value.sign() == other.value.sign() {
                1
            } else {
                -1
            };
            // A dividend of zero has no remainder, so the signs are known here.
            quotient += away;
        }
        Ok(Self {
            value: quotient,
            exponent: -DIVISION_PRECISION,
        })
    }

    /// The nearest float.
    pub(super) fn to_float(&self) -> f64 {
        format!("{}e{}", self.value, self.exponent)
            .parse()
            .unwrap_or(0.0)
    }
}

fn power(n: i64) -> BigInt {
    BigInt::from(10u32).pow(u32::try_from(n.max(0)).unwrap_or(u32::MAX))
}
