//! Numbers: `int64` arithmetic that wraps around on overflow, decimal arithmetic for floats.

use flux_gotemplate::{CallError, Context, Functions, List, Value, Variadic, types};

use super::convert::{to_float64, to_int64};
use super::decimal::Decimal;

const DIVIDE_BY_ZERO: &str = "runtime error: integer divide by zero";

pub(super) fn register(f: &mut Functions) {
    f.add("add1", |v: Value| {
        Value::int64(to_int64(&v).wrapping_add(1))
    });
    f.add("add", |v: Variadic<Value>| {
        Value::int64(v.0.iter().map(to_int64).fold(0, i64::wrapping_add))
    });
    f.add("sub", |a: Value, b: Value| {
        Value::int64(to_int64(&a).wrapping_sub(to_int64(&b)))
    });
    f.add("mul", |a: Value, v: Variadic<Value>| {
        Value::int64(
            v.0.iter()
                .map(to_int64)
                .fold(to_int64(&a), i64::wrapping_mul),
        )
    });
    f.add("div", |a: Value, b: Value| match to_int64(&b) {
        0 => Err(CallError::new(DIVIDE_BY_ZERO)),
        b => Ok(Value::int64(to_int64(&a).wrapping_div(b))),
    });
    f.add("mod", |a: Value, b: Value| match to_int64(&b) {
        0 => Err(CallError::new(DIVIDE_BY_ZERO)),
        b => Ok(Value::int64(to_int64(&a).wrapping_rem(b))),
    });
    f.add("max", |a: Value, v: Variadic<Value>| {
        Value::int64(v.0.iter().map(to_int64).fold(to_int64(&a), i64::max))
    });
    f.alias("biggest", "max");
    f.add("min", |a: Value, v: Variadic<Value>| {
        Value::int64(v.0.iter().map(to_int64).fold(to_int64(&a), i64::min))
    });
    f.add("maxf", |a: Value, v: Variadic<Value>| {
        v.0.iter().map(to_float64).fold(to_float64(&a), go_max)
    });
    f.add("minf", |a: Value, v: Variadic<Value>| {
        v.0.iter()
            .map(to_float64)
            .fold(to_float64(&a), |a, b| -go_max(-a, -b))
    });
    f.add("add1f", |v: Value| {
        decimals(&v, &[Value::int(1)], |a, b| Ok(a.add(b)))
    });
    f.add("addf", |v: Variadic<Value>| {
        decimals(&Value::Float(0.0), &v.0, |a, b| Ok(a.add(b)))
    });
    f.add("subf", |a: Value, v: Variadic<Value>| {
        decimals(&a, &v.0, |a, b| Ok(a.sub(b)))
    });
    f.add("mulf", |a: Value, v: Variadic<Value>| {
        decimals(&a, &v.0, |a, b| Ok(a.mul(b)))
    });
    f.add("divf", |a: Value, v: Variadic<Value>| {
        decimals(&a, &v.0, Decimal::div)
    });
    f.add("floor", |v: Value| to_float64(&v).floor());
    f.add("ceil", |v: Value| to_float64(&v).ceil());
    f.add("round", |v: Value, places: i64, on: Variadic<f64>| {
        round(to_float64(&v), places, on.0.first().copied().unwrap_or(0.5))
    });
    f.add("until", |c: &mut Context<'_>, n: i64| {
        ints(until_step(c, 0, n, if n < 0 { -1 } else { 1 })?)
    });
    f.add(
        "untilStep",
        |c: &mut Context<'_>, start: i64, stop: i64, step: i64| {
            ints(until_step(c, start, stop, step)?)
        },
    );
    f.add("seq", |c: &mut Context<'_>, params: Variadic<i64>| {
        seq(c, &params.0)
    });
}

/// `math.Max`
fn go_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        // Infinity takes precedence even over NaN.
        return if a == f64::INFINITY || b == f64::INFINITY {
            f64::INFINITY
        } else {
            f64::NAN
        };
    }
    if a == 0.0 && b == 0.0 {
        return if a.is_sign_negative() { b } else { a };
    }
    a.max(b)
}

fn decimals(
    first: &Value,
    rest: &[Value],
    apply: impl Fn(&Decimal, &Decimal) -> Result<Decimal, CallError>,
) -> Result<f64, CallError> {
    let mut sum = Decimal::of(to_float64(first))?;
    for value in rest {
        sum = apply(&sum, &Decimal::of(to_float64(value))?)?;
    }
    Ok(sum.to_float())
}

fn round(value: f64, places: i64, on: f64) -> f64 {
    let pow = pow10(places);
    let digit = pow * value;
    let fraction = digit - digit.trunc();
    let rounded = if fraction >= on {
        digit.ceil()
    } else {
        digit.floor()
    };
    rounded / pow
}

/// `math.Pow(10, n)`, with the same steps as Go.
fn pow10(n: i64) -> f64 {
    if n.unsigned_abs() > 400 {
        return if n < 0 { 0.0 } else { f64::INFINITY };
    }
    let (mut result, mut exponent) = (1.0f64, 0i32);
    // 10 is 0.625 times 2 to the 4th.
    let (mut x, mut e) = (0.625f64, 4i32);
    let mut bits = n.unsigned_abs();
    while bits != 0 {
        if bits & 1 == 1 {
            result *= x;
            exponent += e;
        }
        x *= x;
        e <<= 1;
        if x < 0.5 {
            x += x;
            e -= 1;
        }
        bits >>= 1;
    }
    if n < 0 {
        result = 1.0 / result;
        exponent = -exponent;
    }
    // In two steps, so that neither power of two overflows on its own.
    let half = exponent / 2;
    result * 2f64.powi(half) * 2f64.powi(exponent - half)
}

fn until_step(
    c: &mut Context<'_>,
    start: i64,
    stop: i64,
    step: i64,
) -> Result<Vec<i64>, CallError> {
    let up = stop >= start;
    if up && step <= 0 || !up && step >= 0 {
        return Ok(Vec::new());
    }
    let distance = start.abs_diff(stop);
    let count = distance.div_ceil(step.unsigned_abs());
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    c.charge(count.saturating_mul(size_of::<Value>()))?;
    let mut items = Vec::with_capacity(count);
    let mut n = start;
    for _ in 0..count {
        items.push(n);
        n = n.wrapping_add(step);
    }
    Ok(items)
}

#[allow(clippy::unnecessary_wraps)] // the callers chain it with what can fail
fn ints(items: Vec<i64>) -> Result<List, CallError> {
    let items = items.into_iter().map(Value::int).collect();
    Ok(List::of(&types::INT_SLICE, items))
}

fn seq(c: &mut Context<'_>, params: &[i64]) -> Result<String, CallError> {
    let sign = |a: i64, b: i64| if b < a { -1 } else { 1 };
    let (start, step, end) = match *params {
        [end] => (1, sign(1, end), end),
        [start, end] => (start, sign(start, end), end),
        [start, step, end] if end < start && step > 0 => return Ok(String::new()),
        [start, step, end] => (start, step, end),
        _ => return Ok(String::new()),
    };
    let past = end.wrapping_add(sign(start, end));
    let items = until_step(c, start, past, step)?;
    let items: Vec<String> = items.iter().map(i64::to_string).collect();
    Ok(items.join(" "))
}
