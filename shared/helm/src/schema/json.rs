//! JSON as schemas see it: numbers as they are written.

use std::collections::BTreeMap;

use flux_gotemplate::{Constant, Constants, Map, Value};
use flux_yaml::json::Build;

use super::decimal::Decimal;
use crate::number;

/// A schema or a value. Objects are ordered by key, which gives findings an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Json {
    #[default]
    Null,
    Bool(bool),
    /// A number's text.
    Number(Box<str>),
    String(String),
    Array(Vec<Json>),
    Object(BTreeMap<String, Json>),
}

impl Build for Json {
    fn null() -> Self {
        Self::Null
    }

    fn bool(truth: bool) -> Self {
        Self::Bool(truth)
    }

    fn number(text: &str) -> Result<Self, String> {
        Ok(Self::Number(text.into()))
    }

    fn string(text: String) -> Self {
        Self::String(text)
    }

    fn array(items: Vec<Self>) -> Self {
        Self::Array(items)
    }

    fn object(entries: Vec<(String, Self)>) -> Self {
        Self::Object(entries.into_iter().collect())
    }
}

impl Json {
    /// Values of a chart.
    pub(super) fn of(values: &Map) -> Self {
        if let Some(constants) = values.as_constants() {
            return of_constants(&constants);
        }
        values.read(|entries| {
            let entries = entries.iter();
            let entries = entries.map(|(key, value)| (key.to_text().into_owned(), one(value)));
            Self::Object(entries.collect())
        })
    }

    pub(super) fn get(&self, key: &str) -> Option<&Json> {
        self.as_object()?.get(key)
    }

    pub(super) fn as_object(&self) -> Option<&BTreeMap<String, Json>> {
        match self {
            Self::Object(entries) => Some(entries),
            _ => None,
        }
    }

    pub(super) fn as_array(&self) -> Option<&[Json]> {
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

    /// The value as validation looks at it.
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

    /// Equality as JSON has it: 1 equals 1.0.
    pub(super) fn same(&self, other: &Json) -> bool {
        self.view().same(other)
    }

    /// Feeds a hasher alike for what is [`same`](Json::same).
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
                for (key, value) in entries {
                    key.hash(hasher);
                    value.hash(hasher);
                }
            }
        }
    }
}

/// A value that is borrowed, which a property's name may be, too.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    String(&'a str),
    Array(&'a [Json]),
    Object(&'a BTreeMap<String, Json>),
}

impl View<'_> {
    /// What JSON calls its type.
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

    pub(super) fn same(self, other: &Json) -> bool {
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
                let mut pairs = a.iter().zip(b);
                a.len() == b.len() && pairs.all(|((ka, a), (kb, b))| ka == kb && a.same(b))
            }
            _ => false,
        }
    }
}

fn of_constants(values: &Constants) -> Json {
    let entries = values.entries().iter();
    let entries = entries.map(|(key, value)| (key.to_text().into_owned(), of_constant(value)));
    Json::Object(entries.collect())
}

fn of_constant(value: &Constant) -> Json {
    match value {
        Constant::List(items) => Json::Array(items.iter().map(of_constant).collect()),
        Constant::Map(map) => of_constants(map),
        scalar => one(&scalar.value()),
    }
}

fn one(value: &Value) -> Json {
    match value {
        Value::Bool(truth) => Json::Bool(*truth),
        Value::Int(_, number) => Json::Number(number.to_string().into()),
        Value::Uint(_, number) => Json::Number(number.to_string().into()),
        Value::Float(float) => Json::Number(number::format_json(*float).into()),
        Value::Str(text) => Json::String(text.to_text().into_owned()),
        Value::List(list) => Json::Array(list.items().iter().map(one).collect()),
        Value::Map(map) => Json::of(map),
        _ => Json::Null,
    }
}
