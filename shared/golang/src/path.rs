//! Go's `path`; `path/filepath` behaves the same on Linux.

mod pattern;

use std::borrow::Borrow as _;
use std::ops::Range;

pub use pattern::{BadPattern, Pattern};

/// The types of paths: `str`, or bytes that need not be UTF-8.
pub trait Path: ToOwned + sealed::Sealed + 'static {
    /// The bytes of the path.
    fn bytes(&self) -> &[u8];
    /// A part of the path. Its ends are next to slashes, dots, or the ends of the path.
    fn part(&self, range: Range<usize>) -> &Self;
    /// A path of these bytes, which are parts of other paths.
    fn from_bytes(bytes: Vec<u8>) -> Self::Owned;
    /// A path of a single ASCII character.
    fn from_ascii(text: &'static str) -> &'static Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for str {}
    impl Sealed for [u8] {}
}

impl Path for str {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn part(&self, range: Range<usize>) -> &Self {
        self.get(range).unwrap_or_default()
    }

    fn from_bytes(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap_or_default()
    }

    fn from_ascii(text: &'static str) -> &'static Self {
        text
    }
}

impl Path for [u8] {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn part(&self, range: Range<usize>) -> &Self {
        self.get(range).unwrap_or_default()
    }

    fn from_bytes(bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    fn from_ascii(text: &'static str) -> &'static Self {
        text.as_bytes()
    }
}

/// `path.Clean`: without `.`, `..` and doubled slashes where they can be resolved; the empty path is `.`.
pub fn clean<P: Path + ?Sized>(path: &P) -> P::Owned {
    let bytes = path.bytes();
    let is_clean = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    if bytes.split(|b| *b == b'/').all(is_clean) {
        return path.to_owned();
    }
    let rooted = bytes.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in bytes.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(&last) if last != b".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    P::from_bytes(if rooted {
        [b"/", joined.as_slice()].concat()
    } else if joined.is_empty() {
        b".".to_vec()
    } else {
        joined
    })
}

/// `path.Join` of two parts.
pub fn join<P: Path + ?Sized>(folder: &P, name: &P) -> P::Owned {
    match (folder.bytes(), name.bytes()) {
        (b"", b"") => P::from_bytes(Vec::new()),
        (b"", _) => clean(name),
        (_, b"") => clean(folder),
        (folder, name) => {
            let joined = P::from_bytes([folder, b"/", name].concat());
            clean::<P>(joined.borrow())
        }
    }
}

/// `path.Base`: the last part; `.` for the empty path.
pub fn base<P: Path + ?Sized>(path: &P) -> &P {
    let bytes = path.bytes();
    if bytes.is_empty() {
        return P::from_ascii(".");
    }
    let Some(last) = bytes.iter().rposition(|b| *b != b'/') else {
        return P::from_ascii("/");
    };
    let start = memchr::memrchr(b'/', &bytes[..last]).map_or(0, |slash| slash + 1);
    let end = last + 1;
    path.part(start..end)
}

/// `path.Dir`: all but the last part.
pub fn dir<P: Path + ?Sized>(path: &P) -> P::Owned {
    let end = memchr::memrchr(b'/', path.bytes()).map_or(0, |slash| slash + 1);
    clean(path.part(0..end))
}

/// `path.Ext`: the last part from its last dot on.
pub fn ext<P: Path + ?Sized>(path: &P) -> &P {
    let bytes = path.bytes();
    let name = memchr::memrchr(b'/', bytes).map_or(0, |slash| slash + 1);
    let start = memchr::memrchr(b'.', &bytes[name..]).map_or(bytes.len(), |dot| name + dot);
    path.part(start..bytes.len())
}

#[cfg(test)]
mod tests;
