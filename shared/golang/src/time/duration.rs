//! `time.Duration`.

/// `Duration.String`
pub fn format_duration(nanoseconds: i64) -> String {
    let magnitude = nanoseconds.unsigned_abs();
    let sign = if nanoseconds < 0 { "-" } else { "" };
    if magnitude == 0 {
        return "0s".to_owned();
    }
    let (unit, name) = match magnitude {
        0..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => {
            let (minutes, seconds) = (magnitude / 60_000_000_000, magnitude % 60_000_000_000);
            let seconds = decimal(seconds, 1_000_000_000);
            return match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, m) => format!("{sign}{m}m{seconds}s"),
                (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
            };
        }
    };
    format!("{sign}{}{name}", decimal(magnitude, unit))
}

/// `n / unit` without trailing zeros.
fn decimal(n: u64, unit: u64) -> String {
    let (whole, rest) = (n / unit, n % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let digits = unit.ilog10() as usize;
    let fraction = format!("{rest:0digits$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

/// `Duration.Round`
pub fn round_duration(d: i64, unit: i64) -> i64 {
    if unit <= 0 {
        return d;
    }
    let rest = d % unit;
    let below = rest.unsigned_abs() < unit as u64 - rest.unsigned_abs();
    if below {
        return d - rest;
    }
    if d < 0 {
        d.checked_sub(unit + rest).unwrap_or(i64::MIN)
    } else {
        d.checked_add(unit - rest).unwrap_or(i64::MAX)
    }
}

/// A text is not a duration; the messages are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not a sequence of numbers with units, or out of range. Holds the quoted text.
    #[error("time: invalid duration {0}")]
    Invalid(String),
    /// A number has no unit. Holds the quoted text.
    #[error("time: missing unit in duration {0}")]
    MissingUnit(String),
    /// A number has an unknown unit.
    #[error("time: unknown unit {unit} in duration {text}")]
    UnknownUnit {
        /// The text in place of the unit, quoted.
        unit: String,
        /// The whole text, quoted.
        text: String,
    },
}

/// `time.ParseDuration`, in nanoseconds.
///
/// # Errors
/// The text is not a duration.
pub fn parse_duration(text: &[u8]) -> Result<i64, DurationError> {
    let quoted = || quote(text);
    let invalid = || DurationError::Invalid(quoted());
    let (negative, mut rest) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if rest == b"0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        if !matches!(rest.first(), Some(b'.' | b'0'..=b'9')) {
            return Err(invalid());
        }
        let before = rest.len();
        let (mut whole, after) = leading_int(rest).ok_or_else(invalid)?;
        rest = after;
        let mut any = rest.len() != before;
        let (mut fraction, mut scale) = (0u64, 1.0f64);
        if let [b'.', after @ ..] = rest {
            let (f, s, tail) = leading_fraction(after);
            any |= tail.len() != after.len();
            (fraction, scale, rest) = (f, s, tail);
        }
        if !any {
            return Err(invalid());
        }
        let end = rest
            .iter()
            .position(|b| matches!(b, b'.' | b'0'..=b'9'))
            .unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        if name.is_empty() {
            return Err(DurationError::MissingUnit(quoted()));
        }
        let Some(unit) = unit(name) else {
            return Err(DurationError::UnknownUnit {
                unit: quote(name),
                text: quoted(),
            });
        };
        rest = tail;
        if whole > (1 << 63) / unit {
            return Err(invalid());
        }
        whole *= unit;
        if fraction > 0 {
            whole += (fraction as f64 * (unit as f64 / scale)) as u64;
            if whole > 1 << 63 {
                return Err(invalid());
            }
        }
        total = total
            .checked_add(whole)
            .filter(|&t| t <= 1 << 63)
            .ok_or_else(invalid)?;
    }
    if negative {
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| invalid())
}

fn unit(name: &[u8]) -> Option<u64> {
    Some(match name {
        b"ns" => 1,
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1_000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Go's `time.quote`: non-ASCII and control bytes are escaped as `\x..`.
pub(super) fn quote(text: &[u8]) -> String {
    let mut out = String::from('"');
    for (at, c, width) in crate::unicode::runes(text) {
        if !c.is_ascii() || c < ' ' {
            for b in text.get(at..at + width).unwrap_or_default() {
                out.push_str(&format!("\\x{b:02x}"));
            }
        } else {
            if c == '"' || c == '\\' {
                out.push('\\');
            }
            out.push(c);
        }
    }
    out.push('"');
    out
}

fn leading_int(text: &[u8]) -> Option<(u64, &[u8])> {
    let mut n: u64 = 0;
    let mut i = 0;
    while let Some(b @ b'0'..=b'9') = text.get(i) {
        n = n
            .checked_mul(10)?
            .checked_add(u64::from(b - b'0'))
            .filter(|&n| n <= 1 << 63)?;
        i += 1;
    }
    Some((n, text.get(i..)?))
}

fn leading_fraction(text: &[u8]) -> (u64, f64, &[u8]) {
    let (mut n, mut scale, mut overflow, mut i) = (0u64, 1.0, false, 0);
    while let Some(b @ b'0'..=b'9') = text.get(i) {
        i += 1;
        if overflow {
            continue;
        }
        let next = n
            .checked_mul(10)
            .and_then(|n| n.checked_add(u64::from(b - b'0')))
            .filter(|&y| n <= (i64::MAX / 10) as u64 && y <= 1 << 63);
        match next {
            Some(y) => {
                n = y;
                scale *= 10.0;
            }
            None => overflow = true,
        }
    }
    (n, scale, text.get(i..).unwrap_or_default())
}
