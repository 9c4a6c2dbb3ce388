//! Random text and numbers, from the host's source.

use flux_golang::unicode;
use flux_gotemplate::{CallError, Context, Functions, Str};

pub(super) fn register(f: &mut Functions) {
    f.add("randAlphaNum", |c: &mut Context<'_>, n: i64| {
        text(c, n, |b| b.is_ascii_alphanumeric())
    });
    f.add("randAlpha", |c: &mut Context<'_>, n: i64| {
        text(c, n, |b| b.is_ascii_alphabetic())
    });
    f.add("randNumeric", |c: &mut Context<'_>, n: i64| {
        text(c, n, |b| b.is_ascii_digit())
    });
    f.add("randAscii", |c: &mut Context<'_>, n: i64| {
        text(c, n, |b| (32..127).contains(&b))
    });
    f.add("randBytes", |c: &mut Context<'_>, n: i64| {
        let n = usize::try_from(n)
            .map_err(|_| CallError::new("runtime error: makeslice: len out of range"))?;
        c.charge(n)?;
        let mut bytes = vec![0; n];
        c.environment().random(&mut bytes)?;
        Ok::<_, CallError>(flux_golang::encoding::base64(&bytes))
    });
    f.add("randInt", |c: &mut Context<'_>, min: i64, max: i64| {
        let range = max.wrapping_sub(min);
        if range <= 0 {
            return Err(CallError::new("invalid argument to Intn"));
        }
        Ok(min.wrapping_add(below(c, range as u64)? as i64))
    });
    f.add("shuffle", |c: &mut Context<'_>, s: Str| shuffle(c, &s));
    f.add("uuidv4", |c: &mut Context<'_>| uuid(c));
}

/// A uniformly distributed number below `end`.
fn below(c: &mut Context<'_>, end: u64) -> Result<u64, CallError> {
    // The largest multiple of `end`: using values above it would favour small numbers.
    let fair = u64::MAX - u64::MAX % end;
    loop {
        let mut bytes = [0; 8];
        c.environment().random(&mut bytes)?;
        let n = u64::from_le_bytes(bytes);
        if n < fair {
            return Ok(n % end);
        }
    }
}

/// A random text of `n` characters that `fits` accepts; empty if `n` is negative.
fn text(c: &mut Context<'_>, n: i64, fits: fn(u8) -> bool) -> Result<Str, CallError> {
    let n = usize::try_from(n).unwrap_or(0);
    c.charge(n)?;
    let environment = c.environment();
    let mut out = Vec::with_capacity(n);
    let mut pool = [0; 64];
    while out.len() < n {
        environment.random(&mut pool)?;
        let fitting = pool.iter().map(|b| b & 0x7f).filter(|&b| fits(b));
        out.extend(fitting.take(n - out.len()));
    }
    Ok(out.into())
}

fn shuffle(c: &mut Context<'_>, s: &[u8]) -> Result<String, CallError> {
    let mut runes: Vec<char> = unicode::runes(s).map(|(_, c, _)| c).collect();
    for i in (1..runes.len()).rev() {
        let j = below(c, i as u64 + 1)? as usize;
        runes.swap(i, j);
    }
    Ok(runes.into_iter().collect())
}

fn uuid(c: &mut Context<'_>) -> Result<String, CallError> {
    let mut bytes = [0u8; 16];
    c.environment().random(&mut bytes)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = flux_golang::encoding::hex(&bytes);
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    Ok([
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-"))
}
