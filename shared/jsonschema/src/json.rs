//! JSON that keeps numbers as written.

use std::borrow::Cow;

use flux_yaml::json::Build;

use super::decimal::Decimal;
use super::names::Names;

/// A schema or a value. Texts without escapes are borrowed from the input. Objects are ordered by key, so that findings
/// have a defined order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Json<'t> {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// The text of a number.
    Number(Cow<'t, str>),
    /// A text.
    String(Cow<'t, str>),
    /// A list.
    Array(Vec<Json<'t>>),
    /// An object, created by collecting pairs; the last pair with a name counts.
    Object(Entries<'t>),
}

/// The entries of an object.
pub(crate) type Entries<'t> = Names<Cow<'t, str>, Json<'t>>;

impl<'t> Build<'t> for Json<'t> {
    fn null() -> Self {
        Self::Null
    }

    fn bool(truth: bool) -> Self {
        Self::Bool(truth)
    }

    fn number(text: &'t str) -> Result<Self, String> {
        Ok(Self::Number(Cow::Borrowed(text)))
    }

    fn string(text: Cow<'t, str>) -> Self {
        Self::String(text)
    }

    fn array(items: Vec<Self>) -> Self {
        Self::Array(items)
    }

    fn object(entries: Vec<(Cow<'t, str>, Self)>) -> Self {
        Self::Object(Names::new(entries))
    }
}

impl<'t> Json<'t> {
    /// A copy that borrows nothing.
    pub(super) fn into_owned(self) -> Json<'static> {
        let owned = |text: Cow<'t, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Null => Json::Null,
            Self::Bool(truth) => Json::Bool(truth),
            Self::Number(text) => Json::Number(owned(text)),
            Self::String(text) => Json::String(owned(text)),
            Self::Array(items) => Json::Array(items.into_iter().map(Json::into_owned).collect()),
            Self::Object(entries) => {
                let entries = entries.into_iter();
                let entries = entries.map(|(key, value)| (owned(key), value.into_owned()));
                Json::Object(entries.collect())
            }
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Json<'t>> {
        self.as_object()?.get(key)
    }

    pub(super) fn as_object(&self) -> Option<&Entries<'t>> {
        match self {
            Self::Object(entries) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn as_array(&self) -> Option<&[Json<'t>]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    pub(super) fn as_decimal(&self) -> Option<Decimal> {
        match self {
            Self::Number(text) => Decimal::parse(text),
            _ => None,
        }
    }

    /// A borrowed view of the value.
    pub(super) fn view(&self) -> View<'_> {
        match self {
            Self::Null => View::Null,
            Self::Bool(truth) => View::Bool(*truth),
            Self::Number(text) => View::Number(text),
            Self::String(text) => View::String(text),
            Self::Array(items) => View::Array(items),
            Self::Object(entries) => View::Object(entries),
        }
    }

    /// Equality according to JSON: 1 equals 1.0.
    pub(super) fn same(&self, other: &Json<'_>) -> bool {
        self.view().same(other)
    }

    /// Hashes consistently with [`same`](Json::same).
    pub(super) fn hash(&self, hasher: &mut impl std::hash::Hasher) {
        use std::hash::Hash as _;
        std::mem::discriminant(self).hash(hasher);
        match self {
            Self::Null => {}
            Self::Bool(truth) => truth.hash(hasher),
            Self::Number(text) => Decimal::parse(text).hash(hasher),
            Self::String(text) => text.hash(hasher),
            Self::Array(items) => items.iter().for_each(|item| item.hash(hasher)),
            Self::Object(entries) => {
                for (key, value) in entries.iter() {
                    key.hash(hasher);
                    value.hash(hasher);
                }
            }
        }
    }
}

/// A borrowed value, or a property's name seen as a value.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(&'a str),
    Array(&'a [Json<'a>]),
    Object(&'a Entries<'a>),
}

impl View<'_> {
    /// The name of its JSON type.
    pub(super) const fn type_name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::String(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Number(text) if Decimal::parse(text).is_some_and(|n| n.is_whole()))
    }

    pub(super) fn same(self, other: &Json<'_>) -> bool {
        match (self, other) {
            (Self::Null, Json::Null) => true,
            (Self::Bool(a), Json::Bool(b)) => a == *b,
            (Self::String(a), Json::String(b)) => a == b,
            (Self::Number(a), Json::Number(b)) => {
                a == &**b || Decimal::parse(a).is_some_and(|a| Decimal::parse(b) == Some(a))
            }
            (Self::Array(a), Json::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
            }
            (Self::Object(a), Json::Object(b)) => {
                let mut pairs = a.iter().zip(b.iter());
                a.len() == b.len() && pairs.all(|((ka, a), (kb, b))| ka == kb && a.same(b))
            }
            _ => false,
        }
    }
}
