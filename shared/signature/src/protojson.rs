//! Values as protobuf's JSON has them: numbers of 64 bits that may be texts, and bytes in base64 of any alphabet. Lists and
//! maps have a maximum number of elements, so that a small text does not become much memory.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let alphabet = if text.contains(['-', '_']) {
            &URL_SAFE
        } else {
            &STANDARD
        };
        GeneralPurpose::new(alphabet, LENIENT)
            .decode(&text)
            .map(Self)
            .map_err(|_| de::Error::custom("invalid base64"))
    }
}

/// A number of 64 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Int64(pub(crate) i64);

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(i64),
            Text(String),
        }
        match Either::deserialize(deserializer)? {
            Either::Number(number) => Ok(Self(number)),
            Either::Text(text) => text
                .parse()
                .map(Self)
                .map_err(|_| de::Error::custom("invalid number")),
        }
    }
}

/// A time in seconds since 1970; fractions are cut off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) i64);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        crate::time::from_rfc3339(&text)
            .map(Self)
            .ok_or_else(|| de::Error::custom("invalid time"))
    }
}

/// A list of at most `MAX` elements.
#[derive(Debug, Clone)]
pub(crate) struct List<T, const MAX: usize>(pub(crate) Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Elements<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MAX} elements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    if elements.len() == MAX {
                        return Err(de::Error::custom("too many elements"));
                    }
                    elements.push(element);
                }
                Ok(List(elements))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

/// A map of texts with at most `MAX` keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table<const MAX: usize>(pub(crate) BTreeMap<String, String>);

impl<'de, const MAX: usize> Deserialize<'de> for Table<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<const MAX: usize>;
        impl<'de, const MAX: usize> Visitor<'de> for Pairs<MAX> {
            type Value = Table<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map of at most {MAX} keys")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    if pairs.len() == MAX {
                        return Err(de::Error::custom("too many keys"));
                    }
                    pairs.insert(key, value);
                }
                Ok(Table(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_maps_have_a_maximum() {
        let list = |text: &str| serde_json::from_str::<List<u8, 2>>(text).map(|list| list.0);
        assert_eq!(list("[1,2]").unwrap(), [1, 2]);
        assert!(list("[1,2,3]").is_err());
        assert!(list("{}").is_err());
        let table = |text: &str| serde_json::from_str::<Table<1>>(text).map(|table| table.0.len());
        assert_eq!(table(r#"{"a":"b"}"#).unwrap(), 1);
        assert!(table(r#"{"a":"b","c":"d"}"#).is_err());
    }

    #[test]
    fn bytes_and_numbers_have_several_forms() {
        for text in [r#""-_8=""#, r#""+/8""#, r#""+/8=""#, r#""-_8""#] {
            let bytes: Bytes = serde_json::from_str(text).unwrap();
            assert_eq!(bytes.0, [0xfb, 0xff], "{text}");
        }
        assert!(serde_json::from_str::<Bytes>(r#""?""#).is_err());
        for text in ["-7", r#""-7""#] {
            assert_eq!(serde_json::from_str::<Int64>(text).unwrap(), Int64(-7));
        }
        assert!(serde_json::from_str::<Int64>(r#""7x""#).is_err());
    }
}
