//! Go's `unicode` and `unicode/utf8`: the tables of Go's Unicode version, and decoding that accepts invalid bytes.

mod tables;

/// `utf8.RuneError`, the result of decoding invalid bytes.
pub const RUNE_ERROR: char = char::REPLACEMENT_CHARACTER;

/// `utf8.DecodeRune`: the first rune and its width; (U+FFFD, 1) for an invalid byte, (U+FFFD, 0) for empty input.
pub fn decode(bytes: &[u8]) -> (char, usize) {
    let Some(&first) = bytes.first() else {
        return (RUNE_ERROR, 0);
    };
    let width = match first {
        0..=0x7f => return (char::from(first), 1),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return (RUNE_ERROR, 1),
    };
    let decoded = bytes
        .get(..width)
        .and_then(|b| std::str::from_utf8(b).ok())
        .and_then(|s| s.chars().next());
    decoded.map_or((RUNE_ERROR, 1), |c| (c, width))
}

/// `utf8.DecodeLastRune`.
pub fn decode_last(bytes: &[u8]) -> (char, usize) {
    for width in 1..=bytes.len().min(4) {
        let start = bytes.len() - width;
        if let Some(tail) = bytes.get(start..) {
            let (c, w) = decode(tail);
            if w == width && (c != RUNE_ERROR || width > 1) {
                return (c, width);
            }
        }
    }
    (RUNE_ERROR, usize::from(!bytes.is_empty()))
}

/// The runes of Go's `for i, r := range s`: offset, rune, width.
pub fn runes(bytes: &[u8]) -> impl Iterator<Item = (usize, char, usize)> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(at..)?;
        let (c, width) = decode(rest);
        if width == 0 {
            return None;
        }
        let start = at;
        at += width;
        Some((start, c, width))
    })
}

/// `utf8.RuneCount`.
pub fn rune_count(bytes: &[u8]) -> usize {
    if bytes.is_ascii() {
        bytes.len()
    } else {
        runes(bytes).count()
    }
}

/// Appends a rune in UTF-8.
pub fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// `strings.Map`: replaces each rune; an invalid byte is passed as U+FFFD.
pub fn map(bytes: &[u8], mut to: impl FnMut(char) -> char) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (_, c, _) in runes(bytes) {
        push(&mut out, to(c));
    }
    out
}

fn within(table: &[(u32, u32)], c: char) -> bool {
    let c = u32::from(c);
    let after = table.partition_point(|&(lo, _)| lo <= c);
    after
        .checked_sub(1)
        .and_then(|i| table.get(i))
        .is_some_and(|&(_, hi)| c <= hi)
}

fn mapped(table: &[(u32, u32, i32, u32)], c: char) -> char {
    let n = u32::from(c);
    let after = table.partition_point(|&(lo, ..)| lo <= n);
    after
        .checked_sub(1)
        .and_then(|i| table.get(i))
        .filter(|&&(lo, hi, _, step)| n <= hi && (n - lo).is_multiple_of(step))
        .and_then(|&(_, _, distance, _)| n.checked_add_signed(distance))
        .and_then(char::from_u32)
        .unwrap_or(c)
}

/// `unicode.IsLetter`
pub fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphabetic()
    } else {
        within(tables::LETTER, c)
    }
}

/// `unicode.IsDigit`
pub fn is_digit(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_digit()
    } else {
        within(tables::DIGIT, c)
    }
}

/// `unicode.IsNumber`
pub fn is_number(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_digit()
    } else {
        within(tables::NUMBER, c)
    }
}

/// `unicode.IsUpper`
pub fn is_upper(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_uppercase()
    } else {
        within(tables::UPPER, c)
    }
}

/// `unicode.IsLower`
pub fn is_lower(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_lowercase()
    } else {
        within(tables::LOWER, c)
    }
}

/// `unicode.IsPunct`
pub fn is_punct(c: char) -> bool {
    within(tables::PUNCT, c)
}

/// `unicode.IsTitle`
pub fn is_title(c: char) -> bool {
    within(tables::TITLE, c)
}

/// `unicode.IsPrint`
pub fn is_print(c: char) -> bool {
    if c.is_ascii() {
        (' '..='~').contains(&c)
    } else {
        within(tables::PRINT, c)
    }
}

/// `unicode.IsSpace`
pub const fn is_space(c: char) -> bool {
    matches!(
        c,
        '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200a}' | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

/// `unicode.ToUpper`
pub fn to_upper(c: char) -> char {
    if c.is_ascii() {
        c.to_ascii_uppercase()
    } else {
        mapped(tables::TO_UPPER, c)
    }
}

/// `unicode.ToLower`
pub fn to_lower(c: char) -> char {
    if c.is_ascii() {
        c.to_ascii_lowercase()
    } else {
        mapped(tables::TO_LOWER, c)
    }
}

/// `unicode.ToTitle`
pub fn to_title(c: char) -> char {
    if c.is_ascii() {
        c.to_ascii_uppercase()
    } else {
        mapped(tables::TO_TITLE, c)
    }
}

/// Trims leading white space.
pub fn trim_space_start(mut bytes: &[u8]) -> &[u8] {
    loop {
        let (c, width) = decode(bytes);
        match bytes.get(width..) {
            Some(rest) if width > 0 && is_space(c) => bytes = rest,
            _ => return bytes,
        }
    }
}

/// `strings.TrimSpace`
pub fn trim_space(bytes: &[u8]) -> &[u8] {
    let mut bytes = trim_space_start(bytes);
    loop {
        let (c, width) = decode_last(bytes);
        match bytes.len().checked_sub(width).and_then(|n| bytes.get(..n)) {
            Some(rest) if width > 0 && is_space(c) => bytes = rest,
            _ => return bytes,
        }
    }
}
