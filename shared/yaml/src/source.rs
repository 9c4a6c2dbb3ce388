//! Decodes the bytes of a document: encodings, byte order marks, and the characters that YAML forbids.

use std::borrow::Cow;

use crate::error::{Error, Fault, Layer, Mark};
use crate::resolve::Flavor;

/// The maximum size of a document in bytes.
pub(crate) const MAX_BYTES: usize = 256 << 20;

/// go-yaml reads its input in pieces of this size, and fails when it reads a piece with a bad character in it.
const PIECE: usize = 512;

/// Text to scan, cut off before the first forbidden character.
pub(crate) struct Source<'i> {
    pub(crate) text: Cow<'i, str>,
    /// The problem after the end of the text.
    bad: Option<Bad>,
}

struct Bad {
    problem: &'static str,
    line: u32,
    column: u32,
}

impl<'i> Source<'i> {
    pub(crate) fn new(bytes: &'i [u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::Limit(format!(
                "document of {} bytes is larger than {MAX_BYTES}",
                bytes.len()
            )));
        }
        if let [0xFF, 0xFE, rest @ ..] = bytes {
            return Ok(Self::from_utf16(rest, u16::from_le_bytes));
        }
        if let [0xFE, 0xFF, rest @ ..] = bytes {
            return Ok(Self::from_utf16(rest, u16::from_be_bytes));
        }
        if bytes.is_empty() {
            return Ok(Source {
                text: Cow::Borrowed("\n"),
                bad: None,
            });
        }
        let marked = bytes.len();
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
        let marked = marked - bytes.len();
        let (text, encoding_fault) = match std::str::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let valid = error.valid_up_to();
                let text = std::str::from_utf8(&bytes[..valid]).unwrap_or("");
                (text, Some(utf8_problem(&bytes[valid..])))
            }
        };
        let (end, problem) = match (forbidden(text), encoding_fault) {
            (Some(at), _) => (at, "control characters are not allowed"),
            (None, Some(problem)) => (text.len(), problem),
            (None, None) => {
                return Ok(Source {
                    text: Cow::Borrowed(text),
                    bad: None,
                });
            }
        };
        Ok(Self::cut(Cow::Borrowed(text), end, marked, problem))
    }

    fn cut(text: Cow<'i, str>, end: usize, marked: usize, problem: &'static str) -> Self {
        let before = text.get(..end).unwrap_or("");
        let line = before.bytes().filter(|b| *b == b'\n').count();
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |last| last.chars().count());
        let bad = Bad {
            problem,
            line: line as u32,
            column: column as u32,
        };
        // A piece starts with the rest of a character that the previous one cut in two.
        let mut piece = 0;
        let mut next = PIECE.saturating_sub(marked);
        while next <= end {
            piece = next;
            while !text.is_char_boundary(piece) {
                piece -= 1;
            }
            next = piece + PIECE;
        }
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.get(..piece).unwrap_or("")),
            Cow::Owned(mut text) => {
                text.truncate(piece);
                Cow::Owned(text)
            }
        };
        Source {
            text,
            bad: Some(bad),
        }
    }

    fn from_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Self {
        let pairs = bytes.chunks_exact(2);
        let odd = !pairs.remainder().is_empty();
        let units = pairs.map(|pair| unit([pair[0], pair[1]]));
        let mut text = String::with_capacity(bytes.len());
        let mut problem = None;
        for c in char::decode_utf16(units) {
            match c {
                Ok(c) => text.push(c),
                Err(error) => {
                    problem = Some(if error.unpaired_surrogate() >= 0xDC00 {
                        "unexpected low surrogate area"
                    } else {
                        "expected low surrogate area"
                    });
                    break;
                }
            }
        }
        if problem.is_none() && odd {
            problem = Some("incomplete UTF-16 character");
        }
        let (end, problem) = match (forbidden(&text), problem) {
            (Some(at), _) => (at, "control characters are not allowed"),
            (None, Some(problem)) => (text.len(), problem),
            (None, None) => {
                return Source {
                    text: Cow::Owned(text),
                    bad: None,
                };
            }
        };
        Self::cut(Cow::Owned(text), end, 0, problem)
    }

    /// The text, if it is valid and needed no conversion.
    pub(crate) fn whole(&self) -> Option<&'i str> {
        match &self.text {
            Cow::Borrowed(text) if self.bad.is_none() => Some(text),
            _ => None,
        }
    }

    /// The error to report once reading has reached the bad character.
    pub(crate) fn error(&self, flavor: Flavor) -> Option<Error> {
        let bad = self.bad.as_ref()?;
        let fault = Fault {
            layer: Layer::Reader,
            problem: Cow::Borrowed(bad.problem),
            context: Mark::default(),
            at: Mark::default(),
        };
        Some(match fault.into_error(flavor) {
            Error::Syntax { message, .. } => Error::Syntax {
                message,
                line: bad.line + 1,
                column: bad.column + 1,
            },
            other => other,
        })
    }
}

/// Position of the first character that YAML forbids.
fn forbidden(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = 0;
    for piece in bytes.chunks(64) {
        // Without a branch for each byte: nearly all text is valid.
        let suspect = |b: u8| b < 0x20 && b != b'\n' || matches!(b, 0x7F | 0xC2 | 0xEF);
        if piece.iter().fold(false, |any, &b| any | suspect(b))
            && let Some(at) = (from..from + piece.len()).find(|&at| is_forbidden(bytes, at))
        {
            return Some(at);
        }
        from += piece.len();
    }
    None
}

/// Whether a forbidden character begins here.
fn is_forbidden(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at) {
        None | Some(b'\t' | b'\n' | b'\r') => false,
        Some(0..0x20 | 0x7F) => true,
        Some(0xC2) => matches!(bytes.get(at + 1), Some(0x80..=0x84 | 0x86..=0x9F)),
        Some(0xEF) => {
            bytes.get(at + 1) == Some(&0xBF) && matches!(bytes.get(at + 2), Some(0xBE | 0xBF))
        }
        Some(_) => false,
    }
}

/// go-yaml's message for bytes that are not UTF-8.
fn utf8_problem(rest: &[u8]) -> &'static str {
    let Some(&first) = rest.first() else {
        return "incomplete UTF-8 octet sequence";
    };
    let width = match first {
        0xC0..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0..0xF8 => 4,
        _ => return "invalid leading UTF-8 octet",
    };
    if rest.len() < width {
        return "incomplete UTF-8 octet sequence";
    }
    let mut value = u32::from(first) & (0x7F >> width);
    for octet in &rest[1..width] {
        if octet & 0xC0 != 0x80 {
            return "invalid trailing UTF-8 octet";
        }
        value = (value << 6) | u32::from(octet & 0x3F);
    }
    let least = match width {
        2 => 0x80,
        3 => 0x800,
        _ => 0x1_0000,
    };
    if value < least {
        "invalid length of a UTF-8 sequence"
    } else {
        "invalid Unicode character"
    }
}
