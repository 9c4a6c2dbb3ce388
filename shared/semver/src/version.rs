//! Semantic versions: parsing, precedence, increments.

use std::cmp::Ordering;
use std::fmt;
use std::num::IntErrorKind;
use std::str::FromStr;

use flux_golang::strconv::quote;

/// The longest text, in bytes, that is read as a version.
pub const MAX_VERSION_LEN: usize = 256;

/// A semantic version, with the text it was read from.
///
/// Two versions are equal when neither precedes the other: build metadata and spelling do not count.
#[derive(Clone, Debug)]
pub struct Version {
    major: u64,
    minor: u64,
    patch: u64,
    prerelease: String,
    metadata: String,
    original: String,
}

/// Why a text is not a version. The texts are those of the Go library, which templates and conditions show.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// The text does not have the shape of a version.
    #[error("invalid semantic version")]
    Invalid,
    /// Strict reading of an empty text.
    #[error("version string empty")]
    Empty,
    /// Strict parsing of a number with a character that is not a digit.
    #[error("invalid characters in version")]
    InvalidCharacters,
    /// A number or numeric pre-release part with a leading zero.
    #[error("version segment starts with 0")]
    SegmentStartsZero,
    /// A build metadata part is empty or has characters outside `[0-9A-Za-z-]`.
    #[error("invalid metadata string")]
    InvalidMetadata,
    /// A pre-release part is empty or has characters outside `[0-9A-Za-z-]`.
    #[error("invalid prerelease string")]
    InvalidPrerelease,
    /// More than [`MAX_VERSION_LEN`] bytes.
    #[error("version string is too long (max 256 bytes)")]
    TooLong,
    /// Strict parsing of a number that is empty or does not fit 64 bits.
    #[error("strconv.ParseUint: parsing {}: {fault}", quote(.number))]
    Number {
        /// The digits.
        number: String,
        /// What is wrong with them.
        fault: NumberFault,
    },
    /// Lenient parsing of a number that does not fit 64 bits.
    #[error("error parsing version segment: strconv.ParseUint: parsing {}: value out of range", quote(.0))]
    Segment(String),
    /// Incrementing would overflow 64 bits.
    #[error("{0} version increment would overflow uint64")]
    Overflow(&'static str),
}

/// What is wrong with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberFault {
    /// There are no digits.
    Syntax,
    /// It does not fit 64 bits.
    Range,
}

impl fmt::Display for NumberFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "invalid syntax",
            Self::Range => "value out of range",
        })
    }
}

impl Version {
    /// A version of these parts, which are not validated (Go's `New`).
    pub fn new(major: u64, minor: u64, patch: u64, prerelease: &str, metadata: &str) -> Self {
        let mut version = Self {
            major,
            minor,
            patch,
            prerelease: prerelease.to_owned(),
            metadata: metadata.to_owned(),
            original: String::new(),
        };
        version.original = version.to_string();
        version
    }

    /// Parses a version leniently (Go's `NewVersion`): a leading `v`, missing minor and patch numbers and leading zeros
    /// in the three numbers are accepted.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        if text.len() > MAX_VERSION_LEN {
            return Err(VersionError::TooLong);
        }
        let numbers = text.strip_prefix('v').unwrap_or(text);
        let (major, mut rest) = split_digits(numbers).ok_or(VersionError::Invalid)?;
        let (mut minor, mut patch) = ("", "");
        for number in [&mut minor, &mut patch] {
            let Some((digits, after)) = rest.strip_prefix('.').and_then(split_digits) else {
                break;
            };
            (*number, rest) = (digits, after);
        }
        let (prerelease, rest) = split_identifiers(rest, '-').ok_or(VersionError::Invalid)?;
        let (metadata, rest) = split_identifiers(rest, '+').ok_or(VersionError::Invalid)?;
        if !rest.is_empty() {
            return Err(VersionError::Invalid);
        }
        let version = Self {
            major: lenient_number(major)?,
            minor: lenient_number(minor)?,
            patch: lenient_number(patch)?,
            prerelease: prerelease.to_owned(),
            metadata: metadata.to_owned(),
            original: text.to_owned(),
        };
        if !prerelease.is_empty() {
            check_prerelease(prerelease)?;
        }
        Ok(version)
    }

    /// Parses a version of exactly three numbers without a `v` or leading zeros (Go's `StrictNewVersion`).
    pub fn parse_strict(text: &str) -> Result<Self, VersionError> {
        if text.is_empty() {
            return Err(VersionError::Empty);
        }
        if text.len() > MAX_VERSION_LEN {
            return Err(VersionError::TooLong);
        }
        let mut parts = text.splitn(3, '.');
        let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(VersionError::Invalid);
        };
        let (rest, metadata) = rest
            .split_once('+')
            .map_or((rest, None), |(a, b)| (a, Some(b)));
        metadata.map_or(Ok(()), check_metadata)?;
        let (patch, prerelease) = rest
            .split_once('-')
            .map_or((rest, None), |(a, b)| (a, Some(b)));
        prerelease.map_or(Ok(()), check_prerelease)?;
        for number in [major, minor, patch] {
            if !number.bytes().all(|b| b.is_ascii_digit()) {
                return Err(VersionError::InvalidCharacters);
            }
            if number.len() > 1 && number.starts_with('0') {
                return Err(VersionError::SegmentStartsZero);
            }
        }
        Ok(Self {
            major: strict_number(major)?,
            minor: strict_number(minor)?,
            patch: strict_number(patch)?,
            prerelease: prerelease.unwrap_or_default().to_owned(),
            metadata: metadata.unwrap_or_default().to_owned(),
            original: text.to_owned(),
        })
    }

    /// The first number.
    pub fn major(&self) -> u64 {
        self.major
    }

    /// The second number.
    pub fn minor(&self) -> u64 {
        self.minor
    }

    /// The third number.
    pub fn patch(&self) -> u64 {
        self.patch
    }

    /// What follows the `-`; empty without one.
    pub fn prerelease(&self) -> &str {
        &self.prerelease
    }

    /// What follows the `+`; empty without one.
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// The text the version was read from; [`Display`](fmt::Display) gives the canonical form without a `v` instead.
    pub fn original(&self) -> &str {
        &self.original
    }

    /// Precedence as in Go's `Compare`.
    pub fn compare(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| {
            match (self.prerelease.as_str(), other.prerelease.as_str()) {
                ("", "") => Ordering::Equal,
                ("", _) => Ordering::Greater,
                (_, "") => Ordering::Less,
                (a, b) => compare_prereleases(a, b),
            }
        })
    }

    /// The next patch version; of a pre-release, the release itself.
    pub fn inc_patch(&self) -> Result<Self, VersionError> {
        let patch = if self.prerelease.is_empty() {
            increment(self.patch, "patch")?
        } else {
            self.patch
        };
        Ok(self.with_numbers(self.major, self.minor, patch))
    }

    /// The next minor version.
    pub fn inc_minor(&self) -> Result<Self, VersionError> {
        Ok(self.with_numbers(self.major, increment(self.minor, "minor")?, 0))
    }

    /// The next major version.
    pub fn inc_major(&self) -> Result<Self, VersionError> {
        Ok(self.with_numbers(increment(self.major, "major")?, 0, 0))
    }

    /// This version with another pre-release part (without its `-`; empty removes it).
    pub fn set_prerelease(&self, prerelease: &str) -> Result<Self, VersionError> {
        if !prerelease.is_empty() {
            check_prerelease(prerelease)?;
        }
        let mut next = self.clone();
        prerelease.clone_into(&mut next.prerelease);
        Ok(self.respelled(next))
    }

    /// This version with other build metadata (without its `+`; empty removes it).
    pub fn set_metadata(&self, metadata: &str) -> Result<Self, VersionError> {
        if !metadata.is_empty() {
            check_metadata(metadata)?;
        }
        let mut next = self.clone();
        metadata.clone_into(&mut next.metadata);
        Ok(self.respelled(next))
    }

    fn with_numbers(&self, major: u64, minor: u64, patch: u64) -> Self {
        self.respelled(Self::new(major, minor, patch, "", ""))
    }

    /// `next`, with a leading `v` if this version was written with one.
    fn respelled(&self, mut next: Self) -> Self {
        let v = if self.original.starts_with('v') {
            "v"
        } else {
            ""
        };
        next.original = format!("{v}{next}");
        next
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        if !self.prerelease.is_empty() {
            write!(f, "-{}", self.prerelease)?;
        }
        if !self.metadata.is_empty() {
            write!(f, "+{}", self.metadata)?;
        }
        Ok(())
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        Self::parse(text)
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.compare(other).is_eq()
    }
}

impl Eq for Version {}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.compare(other)
    }
}

/// The digits at the start of `text` and what follows; `None` without a digit.
fn split_digits(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().take_while(u8::is_ascii_digit).count();
    (end > 0).then(|| text.split_at(end))
}

/// The identifiers after `mark` and the rest; empty identifiers without `mark`; `None` if `mark` is not followed by a
/// well-formed list.
fn split_identifiers(text: &str, mark: char) -> Option<(&str, &str)> {
    let Some(list) = text.strip_prefix(mark) else {
        return Some(("", text));
    };
    let end = list
        .bytes()
        .take_while(|&b| is_identifier_byte(b) || b == b'.')
        .count();
    let (list, rest) = list.split_at(end);
    (!list.split('.').any(str::is_empty)).then_some((list, rest))
}

fn is_identifier_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-'
}

fn lenient_number(digits: &str) -> Result<u64, VersionError> {
    if digits.is_empty() {
        return Ok(0);
    }
    digits
        .parse()
        .map_err(|_| VersionError::Segment(digits.to_owned()))
}

fn strict_number(digits: &str) -> Result<u64, VersionError> {
    digits
        .parse()
        .map_err(|e: std::num::ParseIntError| VersionError::Number {
            number: digits.to_owned(),
            fault: if *e.kind() == IntErrorKind::PosOverflow {
                NumberFault::Range
            } else {
                NumberFault::Syntax
            },
        })
}

fn increment(number: u64, name: &'static str) -> Result<u64, VersionError> {
    number.checked_add(1).ok_or(VersionError::Overflow(name))
}

fn check_prerelease(text: &str) -> Result<(), VersionError> {
    for part in text.split('.') {
        if part.is_empty() {
            return Err(VersionError::InvalidPrerelease);
        }
        if part.bytes().all(|b| b.is_ascii_digit()) {
            if part.len() > 1 && part.starts_with('0') {
                return Err(VersionError::SegmentStartsZero);
            }
        } else if !part.bytes().all(is_identifier_byte) {
            return Err(VersionError::InvalidPrerelease);
        }
    }
    Ok(())
}

fn check_metadata(text: &str) -> Result<(), VersionError> {
    let well_formed = |part: &str| !part.is_empty() && part.bytes().all(is_identifier_byte);
    if text.split('.').all(well_formed) {
        Ok(())
    } else {
        Err(VersionError::InvalidMetadata)
    }
}

/// Compares two pre-release parts identifier by identifier; a missing identifier precedes any.
pub(crate) fn compare_prereleases(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let (x, y) = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (x, y) => (x.unwrap_or_default(), y.unwrap_or_default()),
        };
        let order = compare_identifiers(x, y);
        if order.is_ne() {
            return order;
        }
    }
}

fn compare_identifiers(a: &str, b: &str) -> Ordering {
    // A number too large for 64 bits counts as text, as in Go.
    match (a.parse::<u64>(), b.parse::<u64>()) {
        _ if a == b => Ordering::Equal,
        _ if a.is_empty() => Ordering::Less,
        _ if b.is_empty() => Ordering::Greater,
        (Ok(a), Ok(b)) => a.cmp(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.cmp(b),
    }
}
