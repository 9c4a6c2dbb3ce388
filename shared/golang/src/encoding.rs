//! Hexadecimal, base64 and base32 with Go's errors.

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digits = b"0123456789abcdef";
    let both = bytes.iter().flat_map(|b| [b >> 4, b & 15]);
    both.map(|n| char::from(digits[usize::from(n)])).collect()
}

/// Standard base64 with padding.
pub fn base64(bytes: &[u8]) -> String {
    encode(bytes, BASE64, 6, 4)
}

/// Standard base32 with padding.
pub fn base32(bytes: &[u8]) -> String {
    encode(bytes, BASE32, 5, 8)
}

fn encode(bytes: &[u8], alphabet: &[u8], bits: u32, group: usize) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    let (mut buffer, mut held) = (0u32, 0u32);
    for &b in bytes {
        buffer = buffer << 8 | u32::from(b);
        held += 8;
        while held >= bits {
            held -= bits;
            push(&mut out, alphabet, buffer >> held);
        }
        buffer &= (1 << held) - 1;
    }
    if held > 0 {
        push(&mut out, alphabet, buffer << (bits - held));
    }
    while !out.len().is_multiple_of(group) {
        out.push('=');
    }
    out
}

fn push(out: &mut String, alphabet: &[u8], index: u32) {
    let index = index as usize % alphabet.len();
    out.push(char::from(alphabet.get(index).copied().unwrap_or(b'=')));
}

/// Decodes standard base64, ignoring newlines; the error text is Go's.
///
/// # Errors
/// The text is not valid base64.
pub fn decode_base64(text: &[u8]) -> Result<Vec<u8>, String> {
    let corrupt = |at: usize| Err(format!("illegal base64 data at input byte {at}"));
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut i = 0;
    let skip = |mut i: usize| {
        while matches!(text.get(i), Some(b'\n' | b'\r')) {
            i += 1;
        }
        i
    };
    loop {
        let mut quantum = [0u8; 4];
        let mut filled = 0;
        while filled < 4 {
            i = skip(i);
            let Some(&b) = text.get(i) else {
                if filled == 0 {
                    return Ok(out);
                }
                return corrupt(i - filled);
            };
            i += 1;
            if let Some(digit) = BASE64.iter().position(|&a| a == b) {
                quantum[filled] = digit as u8;
                filled += 1;
                continue;
            }
            if b != b'=' {
                return corrupt(i - 1);
            }
            // Padding: two digits are followed by two padding characters, three digits by one.
            match filled {
                0 | 1 => return corrupt(i - 1),
                2 => {
                    i = skip(i);
                    if i == text.len() {
                        return corrupt(text.len());
                    }
                    if text.get(i) != Some(&b'=') {
                        return corrupt(i - 1);
                    }
                    i += 1;
                }
                _ => {}
            }
            i = skip(i);
            out.push(quantum[0] << 2 | quantum[1] >> 4);
            if filled == 3 {
                out.push(quantum[1] << 4 | quantum[2] >> 2);
            }
            return if i < text.len() { corrupt(i) } else { Ok(out) };
        }
        out.push(quantum[0] << 2 | quantum[1] >> 4);
        out.push(quantum[1] << 4 | quantum[2] >> 2);
        out.push(quantum[2] << 6 | quantum[3]);
    }
}

/// Decodes standard base32, ignoring newlines; the error text is Go's.
///
/// # Errors
/// The text is not valid base32.
pub fn decode_base32(text: &[u8]) -> Result<Vec<u8>, String> {
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !matches!(b, b'\n' | b'\r'))
        .collect();
    let corrupt = |at: usize| Err(format!("illegal base32 data at input byte {at}"));
    let mut out = Vec::with_capacity(text.len() / 8 * 5);
    for (n, group) in text.chunks(8).enumerate() {
        let at = n * 8;
        let (mut buffer, mut digits) = (0u64, 0usize);
        for j in 0..8 {
            let Some(&b) = group.get(j) else {
                return corrupt(at);
            };
            // Padding ends the text; so few bytes after it are not checked.
            let after = text.len() - (at + j + 1);
            if b == b'=' && j >= 2 && after < 8 {
                if after + j < 7 {
                    return corrupt(text.len());
                }
                if let Some(k) = (j + 1..8).find(|&k| group.get(k) != Some(&b'=')) {
                    return corrupt(at + k - 1);
                }
                if matches!(j, 3 | 6) {
                    return corrupt(at + j);
                }
                push_base32(&mut out, buffer, digits);
                return Ok(out);
            }
            let Some(digit) = BASE32.iter().position(|&a| a == b) else {
                return corrupt(at + j);
            };
            buffer = buffer << 5 | digit as u64;
            digits += 1;
        }
        push_base32(&mut out, buffer, digits);
    }
    Ok(out)
}

/// Appends the whole bytes of this many digits.
fn push_base32(out: &mut Vec<u8>, digits: u64, count: usize) {
    let bytes = (digits << (40 - count * 5)).to_be_bytes();
    out.extend(bytes.iter().skip(3).take(count * 5 / 8));
}
