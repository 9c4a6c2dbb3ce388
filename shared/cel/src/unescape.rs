//! The values of string and bytes literals.

const MALFORMED: &str = "unable to unescape string";

/// The bytes of a literal with its quotes (and `r`, but without `b`). In a bytes literal an escape sequence is a byte, in a
/// string literal a character.
///
/// # Errors
/// An escape sequence that stands for no character.
pub(crate) fn unescape(literal: &str, bytes: bool) -> Result<Vec<u8>, &'static str> {
    let literal = literal.replace("\r\n", "\n").replace('\r', "\n");
    let raw = literal.strip_prefix(['r', 'R']);
    let quoted = raw.unwrap_or(&literal);
    let inner = ["'''", "\"\"\"", "'", "\""].iter().find_map(|quote| {
        let long_enough = quoted.len() >= 2 * quote.len();
        let inner = quoted.strip_prefix(quote)?.strip_suffix(quote)?;
        long_enough.then_some(inner)
    });
    let inner = inner.ok_or(MALFORMED)?;
    if raw.is_some() {
        return Ok(inner.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, sequence)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        rest = character(sequence, bytes, &mut out)?;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Appends the character of the escape sequence whose backslash has been read, and returns what follows it.
fn character<'t>(
    sequence: &'t str,
    bytes: bool,
    out: &mut Vec<u8>,
) -> Result<&'t str, &'static str> {
    let mut characters = sequence.chars();
    let first = characters
        .next()
        .ok_or("unable to unescape string, found '\\' as last character")?;
    let rest = characters.as_str();
    let plain = match first {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '\'' | '"' | '`' | '?' => first as u8,
        'x' | 'X' => return coded(rest, 2, 16, bytes, out),
        'u' if !bytes => return coded(rest, 4, 16, bytes, out),
        'U' if !bytes => return coded(rest, 8, 16, bytes, out),
        '0'..='3' => return coded(sequence, 3, 8, bytes, out),
        _ => return Err(MALFORMED),
    };
    out.push(plain);
    Ok(rest)
}

/// Appends the character with the code in the first `count` digits.
fn coded<'t>(
    text: &'t str,
    count: usize,
    radix: u32,
    bytes: bool,
    out: &mut Vec<u8>,
) -> Result<&'t str, &'static str> {
    let (digits, rest) = text.split_at_checked(count).ok_or(MALFORMED)?;
    let code = u32::from_str_radix(digits, radix).map_err(|_| MALFORMED)?;
    if bytes {
        out.push(code as u8);
        return Ok(rest);
    }
    let character = char::from_u32(code).ok_or("invalid unicode code point")?;
    let mut buffer = [0; 4];
    out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
    Ok(rest)
}
