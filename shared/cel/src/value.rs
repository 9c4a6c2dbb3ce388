//! Values, and how they are compared, ordered and written.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use crate::time::Timestamp;
use crate::types::Type;

/// A value of an expression.
#[derive(Clone)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// An unsigned 64-bit integer.
    Uint(u64),
    /// A 64-bit floating-point number.
    Double(f64),
    /// A text.
    String(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A list.
    List(Arc<Vec<Value>>),
    /// A map.
    Map(Arc<Map>),
    /// Nanoseconds.
    Duration(i64),
    /// A point in time.
    Timestamp(Timestamp),
    /// A type.
    Type(Type),
    /// A value that may be absent.
    Optional(Option<Arc<Value>>),
}

/// Shows the type only: values may be those of a Secret.
impl Debug for Value {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "Value({})", self.type_name())
    }
}

/// A map, whose entries are in the order in which they were added.
#[derive(Clone, Default)]
pub struct Map {
    entries: Vec<(Value, Value)>,
    index: HashMap<Key, usize>,
}

/// A key of a map. Numbers of different types that are equal are the same key, as in lookups of cel-go.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// The bits of a number that is no integer.
    Double(u64),
    String(Arc<str>),
}

impl Key {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::String(value) => Some(Self::String(value.clone())),
            other => match (integer(other), other) {
                (Some(Ok(value)), _) => Some(Self::Int(value)),
                (Some(Err(value)), _) => Some(Self::Uint(value)),
                (None, Value::Double(value)) => Some(Self::Double(value.to_bits())),
                (None, _) => None,
            },
        }
    }
}

/// The integer that a number is, in the smaller type if it fits.
fn integer(value: &Value) -> Option<Result<i64, u64>> {
    match value {
        Value::Int(value) => Some(Ok(*value)),
        Value::Uint(value) => Some(i64::try_from(*value).map_err(|_| *value)),
        Value::Double(value) if value.fract() == 0.0 => {
            const LIMIT: f64 = 9_223_372_036_854_775_808.0;
            if (-LIMIT..LIMIT).contains(value) {
                Some(Ok(*value as i64))
            } else if (LIMIT..2.0 * LIMIT).contains(value) {
                Some(Err(*value as u64))
            } else {
                None
            }
        }
        _ => None,
    }
}

impl Map {
    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &Value) -> Option<&Value> {
        let at = self.index.get(&Key::of(key)?)?;
        self.entries.get(*at).map(|(_, value)| value)
    }

    /// The value of a key that is a text.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.get(&Value::String(name.into()))
    }

    /// Sets the value of a key. False if the key is of a type that no key has.
    pub(crate) fn insert(&mut self, key: Value, value: Value) -> bool {
        let Some(known) = Key::of(&key) else {
            return false;
        };
        if let Some(at) = self.index.get(&known) {
            if let Some(entry) = self.entries.get_mut(*at) {
                entry.1 = value;
            }
        } else {
            self.index.insert(known, self.entries.len());
            self.entries.push((key, value));
        }
        true
    }

    /// Removes a key.
    pub(crate) fn remove(&mut self, key: &Value) {
        if let Some(at) = Key::of(key).and_then(|key| self.index.remove(&key)) {
            self.entries.remove(at);
            for position in self.index.values_mut() {
                if *position > at {
                    *position -= 1;
                }
            }
        }
    }

    /// The entries.
    pub fn entries(&self) -> &[(Value, Value)] {
        &self.entries
    }
}

/// Of entries with the same key the last counts; those whose key is of a type that no key has are left out.
impl FromIterator<(Value, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (Value, Value)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

/// How the numbers of JSON become values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbers {
    /// Integers become `int`, as in an object that was read from Kubernetes.
    #[default]
    Integers,
    /// All become `double`, as in a document that Go reads into a `map[string]any`.
    Doubles,
}

impl Value {
    /// The value of JSON.
    pub fn of_json(json: &serde_json::Value, numbers: Numbers) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) if numbers == Numbers::Integers => Self::Int(value),
                _ => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::String(text.as_str().into()),
            Json::Array(items) => {
                let items = items.iter().map(|item| Self::of_json(item, numbers));
                Self::List(Arc::new(items.collect()))
            }
            Json::Object(fields) => {
                let mut map = Map::default();
                for (name, value) in fields {
                    let key = Self::String(name.as_str().into());
                    map.insert(key, Self::of_json(value, numbers));
                }
                Self::Map(Arc::new(map))
            }
        }
    }

    /// The type, without what a list or a map is made of.
    pub(crate) fn runtime_type(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Duration(_) => Type::Duration,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Type(_) => Type::Type(None),
            Self::Optional(_) => Type::optional(Type::Dyn),
        }
    }

    /// The name of the type as errors write it.
    pub(crate) fn type_name(&self) -> &'static str {
        self.runtime_type().runtime_name()
    }

    /// Whether two values are equal. Numbers of different types are compared by their values.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => a == b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a.runtime_name() == b.runtime_name(),
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => a.equals(b),
                (a, b) => a.is_none() && b.is_none(),
            },
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(&**b).all(|(a, b)| a.equals(b))
            }
            (Self::Map(a), Self::Map(b)) => {
                let same = |(key, value): &(Self, Self)| {
                    b.get(key).is_some_and(|other| value.equals(other))
                };
                a.len() == b.len() && a.entries().iter().all(same)
            }
            (a, b) => compare_numbers(a, b) == Some(Ordering::Equal),
        }
    }

    /// Whether the value is zero, empty or null.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(value) => value.is_empty(),
            Self::Bytes(value) => value.is_empty(),
            Self::List(value) => value.is_empty(),
            Self::Map(value) => value.is_empty(),
            Self::Duration(value) => *value == 0,
            Self::Timestamp(value) => value.is_zero(),
            Self::Type(_) => false,
            Self::Optional(value) => value.as_ref().is_none_or(|value| value.is_zero()),
        }
    }

    /// The value of an optional; absent without it.
    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// The value as Go's `%v` writes it, for errors.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Uint(value) => value.to_string(),
            Self::Double(value) => flux_golang::strconv::format_float(*value, b'g', None),
            Self::String(value) => value.to_string(),
            Self::Bytes(value) => format!("{value:?}").replace(',', ""),
            Self::Duration(value) => flux_golang::time::format_duration(*value),
            Self::Timestamp(value) => value.shown(),
            Self::Type(of) => of.runtime_name().to_owned(),
            Self::Optional(None) => "optional.none()".to_owned(),
            Self::Optional(Some(value)) => format!("optional({})", value.shown()),
            Self::List(items) => {
                let items: Vec<String> = items.iter().map(Self::shown).collect();
                format!("[{}]", items.join(", "))
            }
            Self::Map(map) => {
                let entries = map.entries().iter();
                let entries: Vec<String> = entries
                    .map(|(key, value)| format!("{}: {}", key.shown(), value.shown()))
                    .collect();
                format!("{{{}}}", entries.join(", "))
            }
        }
    }
}

/// How two numbers compare; `None` if one is no number, or not a number.
pub(crate) fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    use Value::{Double, Int, Uint};
    match (a, b) {
        (Int(a), Int(b)) => Some(a.cmp(b)),
        (Uint(a), Uint(b)) => Some(a.cmp(b)),
        (Double(a), Double(b)) => a.partial_cmp(b),
        (Int(a), Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Uint(a), Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Double(a), Int(b)) => compare_with(
            *a,
            -9_223_372_036_854_775_808.0,
            9_223_372_036_854_775_808.0,
            *b as f64,
        ),
        (Double(a), Uint(b)) => compare_with(*a, 0.0, 18_446_744_073_709_551_616.0, *b as f64),
        (Int(_) | Uint(_), Double(_)) => compare_numbers(b, a).map(Ordering::reverse),
        _ => None,
    }
}

/// Compares a double with an integer, which is between the limits as far as doubles can tell.
fn compare_with(a: f64, least: f64, limit: f64, b: f64) -> Option<Ordering> {
    if a.is_nan() {
        None
    } else if a < least {
        Some(Ordering::Less)
    } else if a > limit {
        Some(Ordering::Greater)
    } else {
        a.partial_cmp(&b)
    }
}
