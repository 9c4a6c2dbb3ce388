//! Lists of a registry, read element by element: what is kept of one is claimed before the next is read, so that a page
//! never becomes much more memory than its text.

use std::fmt;
use std::marker::PhantomData;

use flux_budget::Exhausted;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Deserializer};

use crate::client::place;
use crate::error::Error;

/// Why a list was not read to its end.
#[derive(Debug)]
pub(crate) enum ListError {
    /// It is not the JSON of such a list.
    Json(serde_json::Error),
    /// What is kept of it does not fit into memory.
    Memory(Exhausted),
    /// It has more elements than it may have.
    TooMany,
}

impl From<Exhausted> for ListError {
    fn from(error: Exhausted) -> Self {
        Self::Memory(error)
    }
}

impl ListError {
    /// The error of a list that was read at `url`, which has no secrets; `too_many` says how many elements it may have.
    pub(crate) fn at(self, url: &str, too_many: &str) -> Error {
        let url = url.to_owned();
        match self {
            Self::Json(error) => Error::Json {
                url,
                reason: place(&error),
            },
            Self::Memory(exhausted) => exhausted.into(),
            Self::TooMany => Error::List {
                url,
                reason: too_many.to_owned(),
            },
        }
    }
}

/// Passes each element of the list in `field` of the JSON object `json` to `each`. Nothing is passed without the field, or with
/// `null` in its place.
///
/// # Errors
/// [`ListError`]; that of `each` ends the list.
pub(crate) fn elements<T: DeserializeOwned>(
    json: &[u8],
    field: &'static str,
    each: impl FnMut(T) -> Result<(), ListError>,
) -> Result<(), ListError> {
    let mut reading = Reading {
        field,
        each,
        ended: None,
        element: PhantomData,
    };
    let mut input = serde_json::Deserializer::from_slice(json);
    let read = input.deserialize_map(&mut reading);
    let read = read.and_then(|()| input.end());
    match (reading.ended, read) {
        (Some(error), _) => Err(error),
        (None, read) => read.map_err(ListError::Json),
    }
}

struct Reading<T, F> {
    field: &'static str,
    each: F,
    /// The error of `each`, which the parser's own type cannot hold.
    ended: Option<ListError>,
    element: PhantomData<T>,
}

impl<'de, T, F> Visitor<'de> for &mut Reading<T, F>
where
    T: DeserializeOwned,
    F: FnMut(T) -> Result<(), ListError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_list) = map.next_key_seed(Is(self.field))? {
            if is_list {
                map.next_value_seed(List(&mut *self))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Whether a key is this one.
struct Is(&'static str);

impl<'de> DeserializeSeed<'de> for Is {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Is {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// The list itself.
struct List<'r, T, F>(&'r mut Reading<T, F>);

impl<'de, T, F> DeserializeSeed<'de> for List<'_, T, F>
where
    T: DeserializeOwned,
    F: FnMut(T) -> Result<(), ListError>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T, F> Visitor<'de> for List<'_, T, F>
where
    T: DeserializeOwned,
    F: FnMut(T) -> Result<(), ListError>,
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            if let Err(error) = (self.0.each)(element) {
                self.0.ended = Some(error);
                return Err(A::Error::custom("ended"));
            }
        }
        Ok(())
    }
}

/// A text of a list: only one that has from one to `MAX` bytes is kept, so that what is passed over takes no memory.
pub(crate) struct Short<const MAX: usize>(pub(crate) Option<String>);

impl<'de, const MAX: usize> Deserialize<'de> for Short<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<const MAX: usize>;
        impl<const MAX: usize> Visitor<'_> for Text<MAX> {
            type Value = Short<MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Short(None))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                let fits = (1..=MAX).contains(&text.len());
                Ok(Short(fits.then(|| text.to_owned())))
            }
        }
        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str) -> Result<Vec<String>, String> {
        let mut found = Vec::new();
        let read = elements(json.as_bytes(), "tags", |text: Short<3>| {
            found.extend(text.0);
            Ok(())
        });
        match read {
            Ok(()) => Ok(found),
            Err(ListError::Json(error)) => Err(error.to_string()),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn elements_are_read_from_their_field_only() {
        for (json, expected) in [
            (
                r#"{"tags": ["a", null, "", "abcd", "b\n"], "x": [1]}"#,
                &["a", "b\n"][..],
            ),
            (r#"{"tags": null}"#, &[]),
            (r#"{"Tags": ["a"]}"#, &[]),
            ("{}", &[]),
        ] {
            assert_eq!(texts(json).unwrap(), expected, "{json}");
        }
        for json in [
            "[]",
            "null",
            r#"{"tags": {}}"#,
            r#"{"tags": [1]}"#,
            "{} {}",
            "{",
        ] {
            assert!(texts(json).is_err(), "{json}");
        }
    }

    #[test]
    fn an_error_ends_the_list() {
        let mut seen = 0;
        let read = elements(
            br#"{"tags": ["a", "b", "c"], broken"#,
            "tags",
            |_: Short<3>| {
                seen += 1;
                if seen == 2 {
                    Err(ListError::TooMany)
                } else {
                    Ok(())
                }
            },
        );
        assert!(matches!(read, Err(ListError::TooMany)), "{read:?}");
        assert_eq!(seen, 2);
    }
}
