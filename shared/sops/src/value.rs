//! The tree of a SOPS file: ordered maps and lists whose comments are entries of their own.

use std::fmt;

/// The nesting of maps and lists that is accepted.
pub(crate) const MAX_DEPTH: usize = 256;

/// A value. `Debug` shows its type only, since it may be secret.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing; never encrypted.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// Text, which need not be UTF-8: a binary file is one.
    Text(Vec<u8>),
    /// Bytes, of which old versions of SOPS made values.
    Bytes(Vec<u8>),
    /// A point in time.
    Time(Time),
    /// A comment between the items of a list.
    Comment(Comment),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(Branch),
}

impl Value {
    /// The type's name in Go, which upstream's errors show.
    pub(crate) fn go_type(&self) -> &'static str {
        match self {
            Self::Null => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::Bytes(_) => "[]uint8",
            Self::Time(_) => "time.Time",
            Self::Comment(_) => "sops.Comment",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "sops.TreeBranch",
        }
    }

    /// A text.
    pub(crate) fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.go_type())
    }
}

/// The entries of a map in their order, comments included. One document of a file is one such map.
pub(crate) type Branch = Vec<Entry>;

/// An entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Its key.
    pub key: Key,
    /// Its value; that of a comment is null.
    pub value: Value,
}

impl Entry {
    pub(crate) fn new(key: impl Into<Vec<u8>>, value: Value) -> Self {
        let key = Key::Text(key.into());
        Self { key, value }
    }

    pub(crate) fn comment(comment: Comment) -> Self {
        Self {
            key: Key::Comment(comment),
            value: Value::Null,
        }
    }
}

/// The key of an entry.
#[derive(Clone, PartialEq)]
pub(crate) enum Key {
    /// A name.
    Text(Vec<u8>),
    /// No entry, but a comment.
    Comment(Comment),
    /// A key that is not text, which SOPS refuses: the Go type.
    Other(&'static str),
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", String::from_utf8_lossy(text)),
            Self::Comment(_) => f.write_str("#"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// A comment without its `#`. `Debug` does not show it: it may have been encrypted.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Comment {
    /// The text.
    pub text: Vec<u8>,
    /// Whether it stands behind a value.
    pub inline: bool,
}

impl fmt::Debug for Comment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("#")
    }
}

/// A point in time as Go writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Time(String);

impl Time {
    /// Reads RFC 3339.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let digits = |at: usize, count: usize, max: u32| {
            let part = bytes.get(at..at + count)?;
            let number = part.iter().try_fold(0, |number: u32, byte| {
                byte.is_ascii_digit()
                    .then(|| number * 10 + u32::from(byte - b'0'))
            })?;
            (number <= max).then_some(number)
        };
        let literal = |at: usize, wanted: u8| (bytes.get(at) == Some(&wanted)).then_some(());
        let year = digits(0, 4, 9999)?;
        literal(4, b'-')?;
        let month = digits(5, 2, 12)?;
        literal(7, b'-')?;
        let day = digits(8, 2, 31)?;
        literal(10, b'T')?;
        digits(11, 2, 23)?;
        literal(13, b':')?;
        digits(14, 2, 59)?;
        literal(16, b':')?;
        digits(17, 2, 59)?;
        if day == 0 || day > days_of(year, month)? {
            return None;
        }
        let mut rest = &bytes[19..];
        let mut fraction = String::new();
        if let Some(after) = rest.strip_prefix(b".") {
            let length = after
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            if length == 0 {
                return None;
            }
            let kept = String::from_utf8_lossy(&after[..length.min(9)]).into_owned();
            let kept = kept.trim_end_matches('0');
            if !kept.is_empty() {
                fraction = format!(".{kept}");
            }
            rest = &after[length..];
        }
        let zone = match rest {
            b"Z" => "Z".to_owned(),
            [sign @ (b'+' | b'-'), zone @ ..] if zone.len() == 5 && zone[2] == b':' => {
                let at = text.len() - 5;
                let (hours, minutes) = (digits(at, 2, 23)?, digits(at + 3, 2, 59)?);
                if hours == 0 && minutes == 0 {
                    "Z".to_owned()
                } else {
                    format!("{}{hours:02}:{minutes:02}", char::from(*sign))
                }
            }
            _ => return None,
        };
        Some(Self(format!("{}{fraction}{zone}", &text[..19])))
    }

    /// RFC 3339 with a fraction of a second as far as there is one (`time.RFC3339Nano`).
    pub(crate) fn nanoseconds(&self) -> &str {
        &self.0
    }

    /// RFC 3339 in whole seconds (`time.RFC3339`).
    pub(crate) fn seconds(&self) -> String {
        let Some((whole, rest)) = self.0.split_once('.') else {
            return self.0.clone();
        };
        let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{whole}{zone}")
    }
}

fn days_of(year: u32, month: u32) -> Option<u32> {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if leap { 29 } else { 28 }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written_as_in_go() {
        let written = |text: &str| {
            Time::parse(text).map(|time| (time.nanoseconds().to_owned(), time.seconds()))
        };
        let same = |text: &str| Some((text.to_owned(), text.to_owned()));
        assert_eq!(
            written("2026-02-28T01:02:03Z"),
            same("2026-02-28T01:02:03Z")
        );
        assert_eq!(
            written("2026-02-28T01:02:03.1200+02:00"),
            Some((
                "2026-02-28T01:02:03.12+02:00".into(),
                "2026-02-28T01:02:03+02:00".into()
            ))
        );
        assert_eq!(
            written("2026-02-28T01:02:03.000+00:00"),
            same("2026-02-28T01:02:03Z")
        );
        for bad in [
            "",
            "2026-02-29T01:02:03Z",
            "2026-13-01T01:02:03Z",
            "2026-02-28 01:02:03Z",
            "2026-02-28T01:02:03",
            "2026-02-28T01:02:03.Z",
            "2026-02-28T24:02:03Z",
            "2026-02-28T01:02:03+2:00",
        ] {
            assert_eq!(Time::parse(bad), None, "{bad}");
        }
    }
}
