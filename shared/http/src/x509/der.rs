//! A DER reader: definite lengths in their shortest form only, as required for certificates.

/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;
/// `SET`.
pub(super) const SET: u8 = 0x31;
/// `BOOLEAN`.
pub(super) const BOOLEAN: u8 = 0x01;
/// `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(super) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub(super) const OID: u8 = 0x06;
/// `UTCTime`.
pub(super) const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`.
pub(super) const GENERALIZED_TIME: u8 = 0x18;

/// A primitive element with a context-specific tag.
pub(super) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// A constructed element with a context-specific tag.
pub(super) const fn context_constructed(number: u8) -> u8 {
    0xa0 | number
}

/// The unread part of some content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    pub(super) fn peek(self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element: its tag, its content, and the whole with its header.
    pub(super) fn any(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (&tag, after_tag) = self.0.split_first()?;
        if tag & 0x1f == 0x1f {
            return None; // tags of several bytes do not occur in certificates
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
        Some((tag, content, whole))
    }

    /// The next element's content, if it has this tag.
    pub(super) fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, content, _) = ahead.any()?;
        if found != tag {
            return None;
        }
        *self = ahead;
        Some(content)
    }

    /// The next element with its head, if it has this tag.
    pub(super) fn expect_whole(&mut self, tag: u8) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let (found, _, whole) = ahead.any()?;
        if found != tag {
            return None;
        }
        *self = ahead;
        Some(whole)
    }

    /// The content of an optional element; `None` if what follows is malformed.
    #[allow(clippy::option_option)] // absent and malformed are different answers
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.peek() == Some(tag) {
            self.expect(tag).map(Some)
        } else {
            Some(None)
        }
    }

    /// The content of the next `SEQUENCE`.
    pub(super) fn sequence(&mut self) -> Option<Reader<'a>> {
        self.expect(SEQUENCE).map(Reader)
    }

    /// The bytes of the next `BIT STRING`, which must not have unused bits.
    pub(super) fn bits(&mut self) -> Option<&'a [u8]> {
        match self.expect(BIT_STRING)?.split_first()? {
            (0, bytes) => Some(bytes),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shortest_definite_lengths_are_read() {
        let read = |bytes: &'static [u8]| {
            let mut reader = Reader::new(bytes);
            reader.any().map(|(tag, content, _)| (tag, content.len()))
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
            let mut reader = Reader::new(malformed);
            assert!(reader.any().is_none(), "{malformed:?}");
        }
    }
}
