//! Parsing of numbers in Go's syntax.

/// Why a number could not be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// `strconv.ErrSyntax`
    #[error("invalid syntax")]
    Syntax,
    /// `strconv.ErrRange`
    #[error("value out of range")]
    Range,
}

/// `strconv.ParseBool`
///
/// # Errors
/// [`NumberError::Syntax`].
pub fn parse_bool(text: &[u8]) -> Result<bool, NumberError> {
    match text {
        b"1" | b"t" | b"T" | b"TRUE" | b"true" | b"True" => Ok(true),
        b"0" | b"f" | b"F" | b"FALSE" | b"false" | b"False" => Ok(false),
        _ => Err(NumberError::Syntax),
    }
}

/// `strconv.ParseUint(text, base, 64)`; base 0 allows prefixes and underscores.
pub fn parse_uint(text: &[u8], base: u32) -> Result<u64, NumberError> {
    let (base, digits, underscores) = if base == 0 {
        match text {
            [b'0', b'b' | b'B', rest @ ..] if !rest.is_empty() => (2, rest, true),
            [b'0', b'x' | b'X', rest @ ..] if !rest.is_empty() => (16, rest, true),
            [b'0', b'o' | b'O', rest @ ..] | [b'0', rest @ ..] if !rest.is_empty() => {
                (8, rest, true)
            }
            _ => (10, text, true),
        }
    } else {
        (base, text, false)
    };
    if digits.is_empty() {
        return Err(NumberError::Syntax);
    }
    let mut n: u64 = 0;
    let mut overflow = false;
    for &b in digits {
        if underscores && b == b'_' {
            continue;
        }
        let Some(d) = char::from(b).to_digit(base) else {
            // If an overflow precedes an invalid digit, Go reports the overflow.
            return Err(if overflow {
                NumberError::Range
            } else {
                NumberError::Syntax
            });
        };
        match n
            .checked_mul(u64::from(base))
            .and_then(|n| n.checked_add(u64::from(d)))
        {
            Some(next) => n = next,
            None => overflow = true,
        }
    }
    if overflow {
        return Err(NumberError::Range);
    }
    if underscores && digits.contains(&b'_') && !underscores_fit(text) {
        return Err(NumberError::Syntax);
    }
    Ok(n)
}

/// `strconv.ParseInt(text, base, 64)`.
pub fn parse_int(text: &[u8], base: u32) -> Result<i64, NumberError> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let n = parse_uint(digits, base)?;
    if negative {
        0i64.checked_sub_unsigned(n).ok_or(NumberError::Range)
    } else {
        i64::try_from(n).map_err(|_| NumberError::Range)
    }
}

/// Whether all underscores are between digits, where a base prefix counts as a digit.
fn underscores_fit(text: &[u8]) -> bool {
    let text = match text {
        [b'+' | b'-', rest @ ..] => rest,
        _ => text,
    };
    let (mut last, hex, rest) = match text {
        [
            b'0',
            p @ (b'b' | b'B' | b'o' | b'O' | b'x' | b'X'),
            rest @ ..,
        ] => (b'0', p.eq_ignore_ascii_case(&b'x'), rest),
        _ => (b'^', false, text),
    };
    for &b in rest {
        if b.is_ascii_digit() || hex && b.is_ascii_hexdigit() {
            last = b'0';
        } else if b == b'_' {
            if last != b'0' {
                return false;
            }
            last = b'_';
        } else {
            if last == b'_' {
                return false;
            }
            last = b'!';
        }
    }
    last != b'_'
}

/// `strconv.ParseFloat(text, 64)`. A value out of range is an error.
pub fn parse_float(text: &[u8]) -> Result<f64, NumberError> {
    let syntax = NumberError::Syntax;
    let (negative, body) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity") {
        return Ok(if negative {
            f64::NEG_INFINITY
        } else {
            f64::INFINITY
        });
    }
    if text.eq_ignore_ascii_case(b"nan") {
        return Ok(f64::NAN);
    }
    if body.contains(&b'_') && !underscores_fit(text) {
        return Err(syntax);
    }
    let magnitude = match body {
        [b'0', b'x' | b'X', rest @ ..] => hexadecimal(rest)?,
        _ => decimal(body)?,
    };
    if magnitude.is_infinite() {
        return Err(NumberError::Range);
    }
    Ok(if negative { -magnitude } else { magnitude })
}

fn decimal(body: &[u8]) -> Result<f64, NumberError> {
    let plain: String = body
        .iter()
        .filter(|&&b| b != b'_')
        .map(|&b| char::from(b))
        .collect();
    let shape_fits = plain.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && plain
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    if !shape_fits {
        return Err(NumberError::Syntax);
    }
    plain.parse().map_err(|_| NumberError::Syntax)
}

/// Parses a hexadecimal float without its `0x`: mantissa, then the required binary exponent.
fn hexadecimal(body: &[u8]) -> Result<f64, NumberError> {
    let syntax = NumberError::Syntax;
    let p = body
        .iter()
        .position(|b| matches!(b, b'p' | b'P'))
        .ok_or(syntax)?;
    let (mantissa, exponent) = (body.get(..p), body.get(p + 1..));
    let (mantissa, exponent) = (mantissa.ok_or(syntax)?, exponent.ok_or(syntax)?);
    let digits: String = exponent
        .iter()
        .filter(|&&b| b != b'_')
        .map(|&b| char::from(b))
        .collect();
    let unsigned = digits.trim_start_matches(['+', '-']);
    if unsigned.is_empty()
        || digits.len() - unsigned.len() > 1
        || !unsigned.bytes().all(|b| b.is_ascii_digit())
    {
        return Err(syntax);
    }
    let mut exponent = digits.parse::<i64>().map_or(
        if digits.starts_with('-') {
            -1_000_000
        } else {
            1_000_000
        },
        |n| n.clamp(-1_000_000, 1_000_000),
    );
    // 61 significant bits and a sticky bit below them are enough for exact rounding.
    let (mut bits, mut sticky, mut seen_dot, mut any) = (0u64, false, false, false);
    for &b in mantissa.iter().filter(|&&b| b != b'_') {
        if b == b'.' {
            if seen_dot {
                return Err(syntax);
            }
            seen_dot = true;
            continue;
        }
        let digit = u64::from(char::from(b).to_digit(16).ok_or(syntax)?);
        any = true;
        if bits >> 57 == 0 {
            bits = bits << 4 | digit;
            exponent -= if seen_dot { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            exponent += if seen_dot { 0 } else { 4 };
        }
    }
    if !any {
        return Err(syntax);
    }
    Ok(scale(bits, sticky, exponent))
}

/// `bits * 2^exponent`, rounded to nearest even.
fn scale(bits: u64, sticky: bool, exponent: i64) -> f64 {
    if bits == 0 {
        return 0.0;
    }
    let top = 63 - i64::from(bits.leading_zeros());
    // The weight of the last bit to keep: 52 below the first, but not below the smallest denormal.
    let last = (top + exponent - 52).max(-1074);
    let drop = last - exponent;
    let (mut kept, rest) = if drop <= 0 {
        // At most 53 bits: so small a left shift loses none.
        (bits << (-drop).min(63), false)
    } else if drop > 63 {
        (0, true)
    } else {
        let half = 1u64 << (drop - 1);
        let low = bits & ((1u64 << drop) - 1);
        let kept = bits >> drop;
        let up = low > half || low == half && (sticky || kept & 1 == 1);
        (kept + u64::from(up), false)
    };
    if rest {
        kept = u64::from(drop == 64 && bits > 1 << 63);
    }
    // Two exact steps: the second may overflow to infinity but never rounds again.
    let last = last.clamp(-1074, 2000) as i32;
    let (first, second) = if last < -1000 {
        (-1000, last + 1000)
    } else {
        (last.min(900), last - last.min(900))
    };
    kept as f64 * 2f64.powi(first) * 2f64.powi(second)
}
