//! Bech32 (BIP 173) without its limit on length.

const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The prefix and the bytes of an encoded text; the prefix is in the case of the text.
pub(crate) fn decode(text: &str) -> Option<(&str, Vec<u8>)> {
    let is_upper = !text.contains(|c: char| c.is_ascii_lowercase());
    let is_lower = !text.contains(|c: char| c.is_ascii_uppercase());
    if !(is_upper || is_lower) {
        return None;
    }
    let at = text
        .rfind('1')
        .filter(|at| *at > 0 && at + 7 <= text.len())?;
    let (prefix, data) = (&text[..at], &text[at + 1..]);
    if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let digit = |byte: u8| {
        let byte = byte.to_ascii_lowercase();
        let at = CHARSET.iter().position(|known| *known == byte)?;
        u8::try_from(at).ok()
    };
    let digits: Vec<u8> = data.bytes().map(digit).collect::<Option<_>>()?;
    if checksum(prefix, &digits) != 1 {
        return None;
    }
    let (digits, _) = digits.split_at(digits.len() - 6);
    let (mut bits, mut count) = (0u32, 0);
    let mut bytes = Vec::with_capacity(digits.len() * 5 / 8);
    for digit in digits {
        bits = (bits << 5 | u32::from(*digit)) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    let padding = bits & ((1 << count) - 1);
    (count < 5 && padding == 0).then_some((prefix, bytes))
}

fn checksum(prefix: &str, digits: &[u8]) -> u32 {
    let lower = || prefix.bytes().map(|byte| byte.to_ascii_lowercase());
    let high = lower().map(|byte| byte >> 5);
    let low = lower().map(|byte| byte & 31);
    let all = high.chain([0]).chain(low).chain(digits.iter().copied());
    all.fold(1, |sum: u32, value| {
        const GENERATOR: [u32; 5] = [
            0x3b6a_57b2,
            0x2650_8e6d,
            0x1ea1_19fa,
            0x3d42_33dd,
            0x2a14_62b3,
        ];
        let top = sum >> 25;
        let shifted = (sum & 0x01ff_ffff) << 5 ^ u32::from(value);
        let bits = GENERATOR
            .iter()
            .enumerate()
            .filter(|(bit, _)| top >> bit & 1 == 1);
        bits.fold(shifted, |sum, (_, word)| sum ^ word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_with_another_checksum_or_in_mixed_case_are_refused() {
        // From the tests of age.
        assert_eq!(decode("A12UEL5L"), Some(("A", vec![])));
        assert_eq!(decode("a12uel5l"), Some(("a", vec![])));
        for bad in [
            "a12uel5L",
            "a12uel5m",
            "12uel5l",
            "a1",
            "",
            "é12uel5l",
            "a1uel5l",
        ] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
