//! Numeric constants.

use flux_golang::strconv;

use super::ast::Number;
use super::lex::Kind;

/// Parses a constant. The error is Go's.
pub(super) fn parse(pos: u32, text: &[u8], kind: Kind) -> Result<Number, String> {
    let shown = String::from_utf8_lossy(text);
    let mut number = Number {
        pos,
        text: (&*shown).into(),
        int: None,
        uint: None,
        float: None,
        complex: None,
        written_as_float: kind != Kind::CharConstant && looks_like_float(text),
    };
    match kind {
        Kind::CharConstant => {
            let (unit, tail) = text
                .get(1..)
                .and_then(|body| strconv::unquote_char(body, b'\''))
                .ok_or(strconv::SYNTAX)?;
            if tail != b"'" {
                return Err(format!("malformed character constant: {shown}"));
            }
            let code = unit.code();
            number.int = Some(i64::from(code));
            number.uint = Some(u64::from(code));
            number.float = Some(f64::from(code));
        }
        Kind::Complex => {
            let (re, im) = complex(text)?;
            set_complex(&mut number, re, im);
        }
        _ => real(&mut number, text)?,
    }
    Ok(number)
}

/// Whether it has a decimal point or an exponent, which hexadecimal numbers only have with `p`.
fn looks_like_float(text: &[u8]) -> bool {
    let has = |bytes: &[u8]| text.iter().any(|b| bytes.contains(b));
    let hex_int = matches!(text, [b'0', b'x' | b'X', _, ..]) && !has(b"pP");
    !hex_int && has(b".eEpP")
}

/// `a+bi`, as `fmt.Sscan` parses it: decimal or hexadecimal parts; text after the `i` is ignored.
fn complex(text: &[u8]) -> Result<(f64, f64), String> {
    const MALFORMED: &str = "syntax error scanning complex number";
    let (re, rest) = float_token(text);
    if !matches!(rest.first(), Some(b'+' | b'-')) {
        return Err(MALFORMED.to_owned());
    }
    let (_, after) = float_token(rest.get(1..).unwrap_or_default());
    if after.first() != Some(&b'i') {
        return Err(MALFORMED.to_owned());
    }
    let im = rest.get(..rest.len() - after.len()).unwrap_or_default();
    Ok((part(re)?, part(im)?))
}

fn part(text: &[u8]) -> Result<f64, String> {
    strconv::parse_float(text).map_err(|e| {
        let why = match e {
            strconv::NumberError::Syntax => strconv::SYNTAX,
            strconv::NumberError::Range => "value out of range",
        };
        format!(
            "strconv.ParseFloat: parsing {}: {why}",
            strconv::quote(text)
        )
    })
}

/// Splits off a prefix that looks like a number. The letters of "nan" and "inf" are consumed one by one, even if the word
/// does not continue like these.
fn float_token(text: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    let mut accept = |set: &dyn Fn(u8) -> bool| {
        let there = text.get(at).is_some_and(|b| set(b.to_ascii_lowercase()));
        at += usize::from(there);
        there
    };
    let sign = |b: u8| matches!(b, b'+' | b'-');
    let mut number = || {
        if accept(&|b| b == b'n') && accept(&|b| b == b'a') && accept(&|b| b == b'n') {
            return;
        }
        accept(&sign);
        if accept(&|b| b == b'i') && accept(&|b| b == b'n') && accept(&|b| b == b'f') {
            return;
        }
        let hex = accept(&|b| b == b'0') && accept(&|b| b == b'x');
        let decimal = |b: u8| b.is_ascii_digit() || b == b'_';
        let digit = |b: u8| decimal(b) || (hex && b.is_ascii_hexdigit());
        while accept(&digit) {}
        if accept(&|b| b == b'.') {
            while accept(&digit) {}
        }
        if accept(&|b| b == b'p' || (b == b'e' && !hex)) {
            accept(&sign);
            while accept(&decimal) {}
        }
    };
    number();
    text.split_at(at)
}

fn set_complex(number: &mut Number, re: f64, im: f64) {
    number.complex = Some((re, im));
    if im == 0.0 {
        number.float = Some(re);
        number.int = exact_int(re);
        number.uint = exact_uint(re);
    }
}

fn real(number: &mut Number, text: &[u8]) -> Result<(), String> {
    if let Some(body) = text.strip_suffix(b"i")
        && let Ok(im) = strconv::parse_float(body)
    {
        set_complex(number, 0.0, im);
        return Ok(());
    }
    number.uint = strconv::parse_uint(text, 0).ok();
    number.int = strconv::parse_int(text, 0).ok();
    if number.int == Some(0) && number.uint.is_none() {
        number.uint = Some(0); // -0
    }
    if let Some(n) = number.int {
        number.float = Some(n as f64);
    } else if let Some(n) = number.uint {
        number.float = Some(n as f64);
    } else if let Ok(f) = strconv::parse_float(text) {
        if !text
            .iter()
            .any(|b| matches!(b, b'.' | b'e' | b'E' | b'p' | b'P'))
        {
            return Err(format!("integer overflow: {}", strconv::quote(text)));
        }
        number.float = Some(f);
        number.int = exact_int(f);
        number.uint = exact_uint(f);
    }
    if number.int.is_none() && number.uint.is_none() && number.float.is_none() {
        return Err(format!("illegal number syntax: {}", strconv::quote(text)));
    }
    Ok(())
}

fn exact_int(f: f64) -> Option<i64> {
    let fits = f.fract() == 0.0
        && (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&f);
    fits.then_some(f as i64)
}

fn exact_uint(f: f64) -> Option<u64> {
    let fits = f.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&f);
    fits.then_some(f as u64)
}
