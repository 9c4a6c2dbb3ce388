//! Tag resolution: the types of plain scalars in go-yaml v2 and v3 (HE-YAML-014).

use std::borrow::Cow;

use crate::error::Error;
use crate::{number, timestamp};

pub(crate) const NULL: &str = "!!null";
pub(crate) const BOOL: &str = "!!bool";
pub(crate) const STR: &str = "!!str";
pub(crate) const INT: &str = "!!int";
pub(crate) const FLOAT: &str = "!!float";
pub(crate) const TIMESTAMP: &str = "!!timestamp";
pub(crate) const SEQ: &str = "!!seq";
pub(crate) const MAP: &str = "!!map";
pub(crate) const BINARY: &str = "!!binary";
pub(crate) const MERGE: &str = "!!merge";

const KNOWN: [&str; 10] = [
    NULL, BOOL, STR, INT, FLOAT, TIMESTAMP, SEQ, MAP, BINARY, MERGE,
];
const LONG_PREFIX: &str = "tag:yaml.org,2002:";

/// The version of go-yaml to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// go.yaml.in/yaml/v2, the base of sigs.k8s.io/yaml.
    V2,
    /// go.yaml.in/yaml/v3, the base of kyaml.
    V3,
}

/// A resolved scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Timestamp,
    Str,
}

impl Scalar {
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Scalar::Null => NULL,
            Scalar::Bool(_) => BOOL,
            Scalar::Int(_) | Scalar::Uint(_) => INT,
            Scalar::Float(_) => FLOAT,
            Scalar::Timestamp => TIMESTAMP,
            Scalar::Str => STR,
        }
    }
}

/// `tag:yaml.org,2002:x` as `!!x`; any other tag unchanged.
pub(crate) fn short_tag(tag: &str) -> Cow<'_, str> {
    match tag.strip_prefix(LONG_PREFIX) {
        None => Cow::Borrowed(tag),
        Some(name) => match KNOWN.iter().find(|known| known.get(2..) == Some(name)) {
            Some(known) => Cow::Borrowed(known),
            None => Cow::Owned(format!("!!{name}")),
        },
    }
}

/// As [`short_tag`], without allocating for the usual tags.
pub(crate) fn short_tag_owned(tag: &str) -> Cow<'static, str> {
    let name = tag
        .strip_prefix(LONG_PREFIX)
        .or_else(|| tag.strip_prefix("!!"));
    if let Some(known) = name.and_then(|n| KNOWN.iter().find(|k| k.get(2..) == Some(n))) {
        return Cow::Borrowed(known);
    }
    Cow::Owned(short_tag(tag).into_owned())
}

/// The tag of an untagged plain scalar in yaml.v3.
pub(crate) fn plain_tag_v3(text: &str) -> &'static str {
    plain(Flavor::V3, text, true).tag()
}

/// Resolves an untagged plain scalar. Timestamps are recognised only if `timestamps` is set.
pub(crate) fn plain(flavor: Flavor, text: &str, timestamps: bool) -> Scalar {
    let Some(&first) = text.as_bytes().first() else {
        return Scalar::Null;
    };
    match first {
        b'+' | b'-' | b'.' | b'0'..=b'9' => {
            if let Some(float) = special_float(text) {
                return Scalar::Float(float);
            }
            if first == b'.' {
                return number::parse_float(text).map_or(Scalar::Str, Scalar::Float);
            }
            if timestamps && timestamp::is_timestamp(text) {
                return Scalar::Timestamp;
            }
            number_like(flavor, text)
        }
        b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' | b'~' => {
            word(flavor, text)
        }
        _ => Scalar::Str,
    }
}

/// Whether a scalar with this tag must be a valid value of the tag's type; with other tags, it is a string.
pub(crate) fn is_resolvable(tag: &str) -> bool {
    matches!(tag, BOOL | INT | FLOAT | NULL | TIMESTAMP)
}

/// Resolves a scalar with a tag that its text must be valid for.
pub(crate) fn tagged(flavor: Flavor, tag: &str, text: &str) -> Result<Scalar, Error> {
    let scalar = plain(flavor, text, tag == TIMESTAMP);
    let found = scalar.tag();
    match scalar {
        Scalar::Int(int) if tag == FLOAT => Ok(Scalar::Float(int as f64)),
        scalar if found == tag => Ok(scalar),
        _ => Err(Error::Invalid(format!(
            "cannot decode {found} `{text}` as a {tag}"
        ))),
    }
}

fn special_float(text: &str) -> Option<f64> {
    match text {
        ".nan" | ".NaN" | ".NAN" => Some(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Some(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn word(flavor: Flavor, text: &str) -> Scalar {
    match text {
        "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        _ => match (flavor, old_bool(text)) {
            (Flavor::V2, Some(value)) => Scalar::Bool(value),
            _ => Scalar::Str,
        },
    }
}

/// The boolean words of YAML 1.1 that YAML 1.2 dropped.
pub(crate) fn old_bool(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// A text that starts with a sign or a digit: an integer in any of Go's bases, else a decimal float.
fn number_like(flavor: Flavor, text: &str) -> Scalar {
    let plain: Cow<'_, str> = if text.contains('_') {
        Cow::Owned(text.replace('_', ""))
    } else {
        Cow::Borrowed(text)
    };
    if let Some(int) = number::parse_int(&plain) {
        return int;
    }
    if number::looks_like_float(&plain)
        && let Some(float) = number::parse_float(&plain)
    {
        return Scalar::Float(float);
    }
    // The regular forms are handled by Go's base detection; what remains are signs after the prefix.
    let prefixes: &[(&str, u32)] = match flavor {
        Flavor::V2 => &[("0b", 2)],
        Flavor::V3 => &[("0b", 2), ("0o", 8)],
    };
    for &(prefix, base) in prefixes {
        if let Some(digits) = plain.strip_prefix(prefix)
            && let Some(int) = number::parse_signed(digits, base)
        {
            return Scalar::Int(int);
        }
    }
    Scalar::Str
}

/// Whether the text is a number in base 60 for other readers of YAML 1.1.
pub(crate) fn is_base60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = unsigned.split(':');
    let Some(head) = parts.next() else {
        return false;
    };
    if !head.starts_with(|c: char| c.is_ascii_digit())
        || !head.bytes().all(|b| b.is_ascii_digit() || b == b'_')
    {
        return false;
    }
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else {
        return false;
    };
    let (last, fraction) = match last.split_once('.') {
        Some((last, fraction)) => (last, fraction),
        None => (*last, ""),
    };
    fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && middle.iter().chain([&last]).all(|part| sexagesimal(part))
}

fn sexagesimal(part: &str) -> bool {
    match part.as_bytes() {
        [unit] => unit.is_ascii_digit(),
        [ten, unit] => (b'0'..=b'5').contains(ten) && unit.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_flavors_resolve_as_their_go_originals() {
        // HE-YAML-014: text, value in v2, value in v3
        let cases: &[(&str, Scalar, Scalar)] = &[
            ("", Scalar::Null, Scalar::Null),
            ("~", Scalar::Null, Scalar::Null),
            ("nUll", Scalar::Str, Scalar::Str),
            ("yes", Scalar::Bool(true), Scalar::Str),
            ("Off", Scalar::Bool(false), Scalar::Str),
            ("True", Scalar::Bool(true), Scalar::Bool(true)),
            ("0777", Scalar::Int(511), Scalar::Int(511)),
            ("0o17", Scalar::Int(15), Scalar::Int(15)),
            ("0o-7", Scalar::Str, Scalar::Int(-7)),
            ("08", Scalar::Float(8.0), Scalar::Float(8.0)),
            ("0x1F", Scalar::Int(31), Scalar::Int(31)),
            ("-0b11", Scalar::Int(-3), Scalar::Int(-3)),
            ("0b-11", Scalar::Int(-3), Scalar::Int(-3)),
            ("1_000", Scalar::Int(1000), Scalar::Int(1000)),
            ("1_0.5", Scalar::Float(10.5), Scalar::Float(10.5)),
            ("1e3", Scalar::Float(1000.0), Scalar::Float(1000.0)),
            ("1.", Scalar::Float(1.0), Scalar::Float(1.0)),
            (".5", Scalar::Float(0.5), Scalar::Float(0.5)),
            (".e3", Scalar::Str, Scalar::Str),
            ("1e400", Scalar::Str, Scalar::Str),
            ("-", Scalar::Str, Scalar::Str),
            ("1:20", Scalar::Str, Scalar::Str),
            (
                "18446744073709551615",
                Scalar::Uint(u64::MAX),
                Scalar::Uint(u64::MAX),
            ),
            (
                "18446744073709551616",
                Scalar::Float(1.844_674_407_370_955_2e19),
                Scalar::Float(1.844_674_407_370_955_2e19),
            ),
            ("2001-01-01", Scalar::Timestamp, Scalar::Timestamp),
        ];
        for (text, v2, v3) in cases {
            assert_eq!(&plain(Flavor::V2, text, true), v2, "v2 {text}");
            assert_eq!(&plain(Flavor::V3, text, true), v3, "v3 {text}");
        }
    }

    #[test]
    fn base_60_numbers_are_recognised() {
        for yes in ["1:20", "12:30:45", "-1:20", "1_0:20.5", "190:20:30", "1:2."] {
            assert!(is_base60(yes), "{yes}");
        }
        for no in [
            "1", "1:60", "a:20", ":20", "1:200", "1:", "1:20:", "1.5:20", "",
        ] {
            assert!(!is_base60(no), "{no}");
        }
    }
}
