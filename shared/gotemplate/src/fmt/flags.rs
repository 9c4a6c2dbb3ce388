//! Flags, width and precision, and their effect on basic values.

use flux_golang::{strconv, unicode};

/// The flags of one verb.
#[derive(Debug, Clone, Default)]
pub(super) struct Flags {
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`
    pub(super) plus_v: bool,
    /// `%#v`
    pub(super) sharp_v: bool,
}

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

impl Flags {
    fn padding(&self, out: &mut Vec<u8>, count: usize) {
        let byte = if self.zero && !self.minus { b'0' } else { b' ' };
        out.resize(out.len() + count, byte);
    }

    /// Appends text, padded to the width counted in runes.
    pub(super) fn pad(&self, out: &mut Vec<u8>, text: &[u8]) {
        let Some(width) = self.width.filter(|&w| w > 0) else {
            return out.extend_from_slice(text);
        };
        let fill = width.saturating_sub(unicode::rune_count(text));
        if self.minus {
            out.extend_from_slice(text);
            self.padding(out, fill);
        } else {
            self.padding(out, fill);
            out.extend_from_slice(text);
        }
    }

    fn pad_with_blanks(&self, out: &mut Vec<u8>, text: &[u8]) {
        let flags = Self {
            zero: false,
            ..self.clone()
        };
        flags.pad(out, text);
    }

    pub(super) fn boolean(&self, out: &mut Vec<u8>, b: bool) {
        self.pad(out, if b { b"true" } else { b"false" });
    }

    /// The first runes of `text`, limited by the precision.
    fn truncated<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let Some(n) = self.precision else {
            return text;
        };
        let cut = unicode::runes(text).nth(n).map(|(at, ..)| at);
        cut.and_then(|at| text.get(..at)).unwrap_or(text)
    }

    pub(super) fn string(&self, out: &mut Vec<u8>, text: &[u8]) {
        self.pad(out, self.truncated(text));
    }

    pub(super) fn quoted(&self, out: &mut Vec<u8>, text: &[u8]) {
        let text = self.truncated(text);
        let mut quoted = Vec::with_capacity(text.len() + 2);
        if self.sharp && strconv::can_backquote(text) {
            quoted.push(b'`');
            quoted.extend_from_slice(text);
            quoted.push(b'`');
        } else {
            strconv::quote_into(&mut quoted, text, self.plus);
        }
        self.pad(out, &quoted);
    }

    /// `%x` of bytes.
    pub(super) fn hex(&self, out: &mut Vec<u8>, bytes: &[u8], upper: bool) {
        let (digits, x) = if upper { (UPPER, b'X') } else { (LOWER, b'x') };
        let bytes = self.precision.and_then(|n| bytes.get(..n)).unwrap_or(bytes);
        if bytes.is_empty() {
            return self.padding(out, self.width.unwrap_or(0));
        }
        let mut text = Vec::with_capacity(bytes.len() * 2);
        if self.sharp {
            text.extend_from_slice(&[b'0', x]);
        }
        for (i, b) in bytes.iter().enumerate() {
            if self.space && i > 0 {
                text.push(b' ');
                if self.sharp {
                    text.extend_from_slice(&[b'0', x]);
                }
            }
            text.push(digits[usize::from(b >> 4)]);
            text.push(digits[usize::from(b & 15)]);
        }
        self.pad(out, &text);
    }

    pub(super) fn character(&self, out: &mut Vec<u8>, code: u64) {
        self.pad(out, rune(code).encode_utf8(&mut [0; 4]).as_bytes());
    }

    pub(super) fn quoted_character(&self, out: &mut Vec<u8>, code: u64) {
        let mut quoted = Vec::new();
        strconv::quote_rune(&mut quoted, rune(code), self.plus);
        self.pad(out, &quoted);
    }

    /// `%U`
    pub(super) fn code_point(&self, out: &mut Vec<u8>, code: u64) {
        let precision = self.precision.unwrap_or(4).max(4);
        let mut text = format!("U+{code:0precision$X}");
        if self.sharp
            && let Some(c) = u32::try_from(code).ok().and_then(char::from_u32)
            && unicode::is_print(c)
        {
            text.push_str(&format!(" '{c}'"));
        }
        self.pad_with_blanks(out, text.as_bytes());
    }

    /// An integer in base 2, 8, 10 or 16.
    pub(super) fn integer(&self, out: &mut Vec<u8>, n: u64, negative: bool, base: u32, verb: char) {
        let mut precision = 0;
        if let Some(p) = self.precision {
            precision = p;
            if p == 0 && n == 0 {
                let blanks = Self {
                    zero: false,
                    ..self.clone()
                };
                return blanks.padding(out, self.width.unwrap_or(0));
            }
        } else if self.zero
            && !self.minus
            && let Some(width) = self.width
        {
            let sign = usize::from(negative || self.plus || self.space);
            precision = width.saturating_sub(sign);
        }
        let upper = verb == 'X';
        let mut text: Vec<u8> = Vec::new();
        let mut rest = n;
        loop {
            let digit = (rest % u64::from(base)) as usize;
            text.push(if upper { UPPER[digit] } else { LOWER[digit] });
            rest /= u64::from(base);
            if rest == 0 {
                break;
            }
        }
        while text.len() < precision {
            text.push(b'0');
        }
        if self.sharp {
            match base {
                2 => text.extend_from_slice(b"b0"),
                8 if text.last() != Some(&b'0') => text.push(b'0'),
                16 => text.extend_from_slice(if upper { b"X0" } else { b"x0" }),
                _ => {}
            }
        }
        if verb == 'O' {
            text.extend_from_slice(b"o0");
        }
        if negative {
            text.push(b'-');
        } else if self.plus {
            text.push(b'+');
        } else if self.space {
            text.push(b' ');
        }
        text.reverse();
        self.pad_with_blanks(out, &text);
    }

    /// A float; `formatted` is the result of `strconv` for `verb`.
    pub(super) fn float(
        &self,
        out: &mut Vec<u8>,
        formatted: &str,
        verb: char,
        precision: Option<usize>,
    ) {
        let mut text = formatted.as_bytes().to_vec();
        if !matches!(text.first(), Some(b'-' | b'+')) {
            text.insert(0, b'+');
        }
        if self.space && text.first() == Some(&b'+') && !self.plus {
            text[0] = b' ';
        }
        if let Some(b'I' | b'N') = text.get(1) {
            if text.get(1) == Some(&b'N') && !self.space && !self.plus {
                text.remove(0);
            }
            return self.pad_with_blanks(out, &text);
        }
        if self.sharp && verb != 'b' {
            keep_zeros(&mut text, verb, precision);
        }
        if self.plus || text.first() != Some(&b'+') {
            if self.zero
                && !self.minus
                && let Some(width) = self.width.filter(|&w| w > text.len())
            {
                out.extend_from_slice(&text[..1]);
                self.padding(out, width - text.len());
                return out.extend_from_slice(&text[1..]);
            }
            return self.pad(out, &text);
        }
        self.pad(out, &text[1..]);
    }
}

/// The sharp flag for floats: there is always a decimal point, and `%g` keeps trailing zeros.
fn keep_zeros(text: &mut Vec<u8>, verb: char, precision: Option<usize>) {
    let mut digits: i64 = match verb {
        'v' | 'g' | 'G' | 'x' => precision.map_or(6, |p| p as i64),
        _ => 0,
    };
    let exponent = text.iter().skip(1).position(|b| match b {
        b'p' | b'P' => true,
        b'e' | b'E' => verb != 'x' && verb != 'X',
        _ => false,
    });
    let tail = exponent.map_or_else(Vec::new, |at| text.split_off(at + 1));
    let mut nonzero = false;
    for b in text.iter().skip(1).filter(|&&b| b != b'.') {
        nonzero |= *b != b'0';
        digits -= i64::from(nonzero);
    }
    if !text.contains(&b'.') {
        if text.len() == 2 && text.get(1) == Some(&b'0') {
            digits -= 1;
        }
        text.push(b'.');
    }
    for _ in 0..digits.max(0) {
        text.push(b'0');
    }
    text.extend_from_slice(&tail);
}

fn rune(code: u64) -> char {
    u32::try_from(code)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(unicode::RUNE_ERROR)
}
