//! DER, the encoding of ASN.1 values in certificates and signatures, read and written (ITU-T X.690): definite lengths in
//! their shortest form only.
//!
//! ```
//! use flux_der::{INTEGER, Reader, SEQUENCE, encode};
//!
//! let pair = encode(SEQUENCE, &[encode(INTEGER, &[1]), encode(INTEGER, &[2])].concat());
//! let mut fields = Reader::new(&pair).sequence().unwrap();
//! assert_eq!(fields.small_integer(), Some(1));
//! assert_eq!(fields.expect(INTEGER), Some(&[2][..]));
//! assert!(fields.is_empty());
//! ```
//!
//! What is malformed is `None`: the caller knows what it was reading.

#![forbid(unsafe_code)]

pub mod x509;

/// The tag of a `BOOLEAN`.
pub const BOOLEAN: u8 = 0x01;
/// The tag of a `INTEGER`.
pub const INTEGER: u8 = 0x02;
/// The tag of a `BIT STRING`.
pub const BIT_STRING: u8 = 0x03;
/// The tag of a `OCTET STRING`.
pub const OCTET_STRING: u8 = 0x04;
/// The tag of a `NULL`.
pub const NULL: u8 = 0x05;
/// The tag of a `OBJECT IDENTIFIER`.
pub const OID: u8 = 0x06;
/// The tag of a `ENUMERATED`.
pub const ENUMERATED: u8 = 0x0a;
/// The tag of a `UTF8String`.
pub const UTF8_STRING: u8 = 0x0c;
/// The tag of a `UTCTime`.
pub const UTC_TIME: u8 = 0x17;
/// The tag of a `GeneralizedTime`.
pub const GENERALIZED_TIME: u8 = 0x18;
/// The tag of a `BMPString`.
pub const BMP_STRING: u8 = 0x1e;
/// The tag of a `SEQUENCE`.
pub const SEQUENCE: u8 = 0x30;
/// The tag of a `SET`.
pub const SET: u8 = 0x31;

/// The context-specific tag of a primitive element.
pub const fn context(number: u8) -> u8 {
    0x80 | number
}

/// The context-specific tag of a constructed element.
pub const fn constructed(number: u8) -> u8 {
    0xa0 | number
}

/// One element.
#[derive(Debug, Clone, Copy)]
pub struct Element<'a> {
    /// Its tag.
    pub tag: u8,
    /// What follows the header.
    pub content: &'a [u8],
    /// The element with its header.
    pub whole: &'a [u8],
}

/// The unread part of some content.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads the elements in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was read.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The next element.
    pub fn any(&mut self) -> Option<Element<'a>> {
        let (&tag, after_tag) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None; // tags of several bytes do not occur in the structures that are read here
        }
        let (&first, mut rest) = after_tag.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            let (digits, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
            rest = after;
            if digits.is_empty() || digits.len() > 4 || digits[0] == 0 {
                return None;
            }
            let length = digits
                .iter()
                .fold(0_usize, |length, &digit| length << 8 | usize::from(digit));
            if length < 0x80 {
                return None;
            }
            length
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = self.0.get(..self.0.len() - rest.len())?;
        self.0 = rest;
        Some(Element {
            tag,
            content,
            whole,
        })
    }

    /// The next element, if it has this tag.
    pub fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let found = ahead.any()?;
        if found.tag != tag {
            return None;
        }
        *self = ahead;
        Some(found)
    }

    /// The content of the next element, if it has this tag.
    pub fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|element| element.content)
    }

    /// The content of the next element, or `None` inside if it has another tag or is absent; an outer `None`
    /// if it is malformed.
    #[allow(clippy::option_option)] // absent and malformed are different answers
    pub fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.0.first() == Some(&tag) {
            self.expect(tag).map(Some)
        } else {
            Some(None)
        }
    }

    /// The content of the next `SEQUENCE`.
    pub fn sequence(&mut self) -> Option<Reader<'a>> {
        self.expect(SEQUENCE).map(Reader)
    }

    /// The bytes of the next `BIT STRING`, which must not have unused bits.
    pub fn bits(&mut self) -> Option<&'a [u8]> {
        match self.expect(BIT_STRING)?.split_first()? {
            (0, bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The next `INTEGER` that is neither negative nor above 64 bits.
    pub fn small_integer(&mut self) -> Option<u64> {
        small(self.expect(INTEGER)?)
    }

    /// The next `UTCTime` or `GeneralizedTime`, in seconds since 1970. Fractions of a second are cut off.
    pub fn time(&mut self) -> Option<i64> {
        let element = self.any()?;
        time(element.tag, element.content)
    }
}

/// The value of an `INTEGER`'s content.
pub fn small(content: &[u8]) -> Option<u64> {
    if content.first()? & 0x80 != 0 || content.len() > 9 || (content.len() == 9 && content[0] != 0)
    {
        return None;
    }
    Some(
        content
            .iter()
            .fold(0_u64, |number, &digit| number << 8 | u64::from(digit)),
    )
}

/// A `UTCTime` or `GeneralizedTime` in seconds since 1970.
pub fn time(tag: u8, content: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    let (text, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(text) || !digits(fraction) || fraction.is_empty() {
        return None;
    }
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if !(rest.len() == 10 || (rest.len() == 8 && tag == UTC_TIME)) {
        return None;
    }
    let two = |at: usize| rest.get(at..at + 2).map_or(Some(0), |two| two.parse().ok());
    let civil = flux_golang::time::Civil {
        year,
        month: two(0)?,
        day: two(2)?,
        hour: two(4)?,
        minute: two(6)?,
        second: two(8)?,
    };
    let in_range = (1..=12).contains(&civil.month)
        && civil.day >= 1
        && civil.hour < 24
        && civil.minute < 60
        && civil.second < 60;
    let seconds = civil.seconds();
    // A day that its month does not have comes back as another date.
    (in_range && flux_golang::time::Civil::of_seconds(seconds) == civil).then_some(seconds)
}

/// Encodes an element.
pub fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(u8::try_from(length).unwrap_or_default());
    } else {
        let digits = length.to_be_bytes();
        let digits: Vec<u8> = digits.into_iter().skip_while(|&digit| digit == 0).collect();
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
        out.extend(digits);
    }
    out.extend_from_slice(content);
    out
}

/// An object identifier's content in dotted form.
pub fn dotted(oid: &[u8]) -> String {
    let mut parts: Vec<u64> = Vec::new();
    let mut part = 0_u64;
    for &byte in oid {
        part = part.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if parts.is_empty() {
                let first = (part / 40).min(2);
                parts.extend([first, part - first * 40]);
            } else {
                parts.push(part);
            }
            part = 0;
        }
    }
    let parts: Vec<String> = parts.iter().map(u64::to_string).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shortest_definite_lengths_are_read() {
        let read = |bytes: &'static [u8]| {
            let found = Reader::new(bytes).any();
            found.map(|element| (element.tag, element.content.len()))
        };
        assert_eq!(read(&[0x30, 0x01, 0x05]), Some((0x30, 1)));
        assert_eq!(read(&[0x30, 0x00]), Some((0x30, 0)));
        for malformed in [
            &[0x30][..],
            &[0x30, 0x02, 0x05],
            &[0x30, 0x80, 0x05],
            &[0x30, 0x81, 0x01, 0x05],
            &[0x30, 0x82, 0x00, 0x81],
            &[0x30, 0x85, 0x01, 0x01, 0x01, 0x01, 0x01],
            &[0x3f, 0x81, 0x01, 0x00],
            &[],
        ] {
            assert!(Reader::new(malformed).any().is_none(), "{malformed:?}");
        }
    }

    #[test]
    fn what_is_encoded_is_read_back() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let whole = encode(SEQUENCE, &content);
            assert_eq!(Reader::new(&whole).expect(SEQUENCE), Some(&content[..]));
        }
    }

    #[test]
    fn times_are_read_as_in_certificates() {
        for (tag, text, want) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "231114221320Z", Some(1_700_000_000)),
            (GENERALIZED_TIME, "20231114221320.5Z", Some(1_700_000_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "230230000000Z", None),
            (UTC_TIME, "231114221320", None),
            (GENERALIZED_TIME, "20231114221320.Z", None),
            (INTEGER, "231114221320Z", None),
        ] {
            assert_eq!(time(tag, text.as_bytes()), want, "{text}");
        }
    }

    #[test]
    fn identifiers_are_printed_with_dots() {
        assert_eq!(dotted(&[0x55, 0x1d, 0x0f]), "2.5.29.15");
        assert_eq!(
            dotted(&[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01, 0x08]),
            "1.3.6.1.4.1.57264.1.8"
        );
    }
}
