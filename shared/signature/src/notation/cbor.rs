//! A CBOR reader for COSE envelopes: definite lengths, no key of a map twice, bounded depth.

/// The maximum depth of arrays, maps and tags, as in the library that upstream uses.
const MAX_DEPTH: usize = 32;
/// The maximum number of values in all, so that a small envelope does not become much memory.
const MAX_VALUES: usize = 4096;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Tag(u64, Box<Value>),
    Float(f64),
    /// Booleans, null, and simple values without a meaning here.
    Simple(u8),
}

impl Value {
    /// Reads one value that is all of the bytes.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (mut rest, mut left) = (bytes, MAX_VALUES);
        let value = read(&mut rest, 0, &mut left)?;
        rest.is_empty().then_some(value)
    }

    /// The value of a key of a map.
    pub(super) fn get(&self, key: &Value) -> Option<&Value> {
        let Self::Map(pairs) = self else { return None };
        pairs
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// The value of a text key of a map.
    pub(super) fn get_text(&self, key: &str) -> Option<&Value> {
        self.get(&Value::Text(key.to_owned()))
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Encodes the head of a value: its major type, and its number or length.
pub(super) fn head(major: u8, number: u64) -> Vec<u8> {
    let major = major << 5;
    let bytes = number.to_be_bytes();
    let low = |count: usize| bytes.get(8 - count..).unwrap_or_default();
    let (additional, tail) = match number {
        0..24 => (bytes[7], low(0)),
        24..0x100 => (24, low(1)),
        0x100..0x1_0000 => (25, low(2)),
        0x1_0000..0x1_0000_0000 => (26, low(4)),
        _ => (27, low(8)),
    };
    [&[major | additional], tail].concat()
}

fn read(rest: &mut &[u8], depth: usize, left: &mut usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    *left = left.checked_sub(1)?;
    let (&first, after) = rest.split_first()?;
    *rest = after;
    let (major, additional) = (first >> 5, first & 0x1f);
    let number = match additional {
        0..24 => u64::from(additional),
        24 => u64::from(*take(rest, 1)?.first()?),
        25 => u64::from(u16::from_be_bytes(take(rest, 2)?.try_into().ok()?)),
        26 => u64::from(u32::from_be_bytes(take(rest, 4)?.try_into().ok()?)),
        27 => u64::from_be_bytes(take(rest, 8)?.try_into().ok()?),
        _ => return None, // lengths that are not definite, and what is reserved
    };
    Some(match major {
        0 => Value::Integer(i128::from(number)),
        1 => Value::Integer(-1 - i128::from(number)),
        2 => Value::Bytes(take(rest, usize::try_from(number).ok()?)?.to_vec()),
        3 => {
            let bytes = take(rest, usize::try_from(number).ok()?)?;
            Value::Text(std::str::from_utf8(bytes).ok()?.to_owned())
        }
        4 => {
            let items = (0..number).map(|_| read(rest, depth + 1, left));
            Value::Array(items.collect::<Option<_>>()?)
        }
        5 => {
            let mut pairs: Vec<(Value, Value)> = Vec::new();
            for _ in 0..number {
                let key = read(rest, depth + 1, left)?;
                if pairs.iter().any(|(known, _)| *known == key) {
                    return None;
                }
                let value = read(rest, depth + 1, left)?;
                pairs.push((key, value));
            }
            Value::Map(pairs)
        }
        6 => Value::Tag(number, Box::new(read(rest, depth + 1, left)?)),
        7 => match additional {
            0..24 => Value::Simple(additional),
            24 if number >= 32 => Value::Simple(u8::try_from(number).ok()?),
            26 => Value::Float(f64::from(f32::from_bits(u32::try_from(number).ok()?))),
            27 => Value::Float(f64::from_bits(number)),
            _ => return None,
        },
        _ => return None,
    })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read() {
        let read = |hexadecimal: &str| Value::parse(&hex::decode(hexadecimal).unwrap());
        assert_eq!(read("1903e8"), Some(Value::Integer(1000)));
        assert_eq!(read("3863"), Some(Value::Integer(-100)));
        assert_eq!(read("3bffffffffffffffff"), Some(Value::Integer(-(1 << 64))));
        assert_eq!(
            read("c11a514b67b0"),
            Some(Value::Tag(1, Box::new(Value::Integer(1_363_896_240))))
        );
        assert_eq!(
            read("a10126").unwrap().get(&Value::Integer(1)),
            Some(&Value::Integer(-7))
        );
        assert_eq!(read("fb3ff0000000000000"), Some(Value::Float(1.0)));
        for malformed in [
            "",
            "18",
            "5f40ff",
            "9f",
            "a201000100",
            "62c328",
            "0000",
            "f818",
            "1c",
            "9b00000000ffffffff",
        ] {
            assert_eq!(read(malformed), None, "{malformed}");
        }
        let deep = [vec![0x81; 40], vec![0]].concat();
        assert_eq!(Value::parse(&deep), None);
        assert!(Value::parse(&deep[10..]).is_some());
        let wide = |count: u16| {
            [
                &[0x99][..],
                &count.to_be_bytes(),
                &vec![0; usize::from(count)],
            ]
            .concat()
        };
        assert!(Value::parse(&wide(4095)).is_some());
        assert_eq!(Value::parse(&wide(4096)), None);
    }

    #[test]
    fn heads_are_in_their_shortest_form() {
        for (number, want) in [
            (0, "40"),
            (23, "57"),
            (24, "5818"),
            (255, "58ff"),
            (256, "590100"),
            (65_536, "5a00010000"),
            (1 << 32, "5b0000000100000000"),
        ] {
            assert_eq!(hex::encode(head(2, number)), want);
        }
    }
}
