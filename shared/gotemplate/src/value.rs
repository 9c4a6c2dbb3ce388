//! Go's dynamic values.

mod blob;
mod constant;
mod dispose;
mod equal;
mod list;
mod location;
mod map;
mod object;
mod str;
mod time;
mod time_methods;
pub mod types;
mod zone;

use std::rc::Rc;

pub use blob::Blob;
pub use constant::{Constant, Constants};
pub use equal::deep_equal;
pub(crate) use equal::deep_equal_within;
pub use list::List;
pub(crate) use map::WeakMap;
pub use map::{Map, NilMap};
pub use object::Object;
pub use str::Str;
pub(crate) use time::TIME;
pub use time::{Time, Zone};
pub use types::{KeyInfo, Kind, Method, MethodBody, Type, TypeInfo};
pub use zone::load_zone;

use crate::functions::Function;

/// A Go value in a template: the content of an `interface {}`.
///
/// Integers keep their Go type because it is visible through `printf "%T"`, `typeOf`, `kindOf` and `has`. Containers are
/// shared as in Go: a clone of a map is the same map. Values belong to one thread; only parsed templates and constants are
/// shared between threads.
#[derive(Clone, Default)]
pub enum Value {
    /// The nil interface: JSON null, a missing map entry.
    #[default]
    Nil,
    /// `bool`
    Bool(bool),
    /// A signed integer and its type.
    Int(IntType, i64),
    /// An unsigned integer and its type.
    Uint(UintType, u64),
    /// `float32`, stored in the wider type without loss.
    Float32(f32),
    /// `float64`, the type of all numbers of JSON and YAML.
    Float(f64),
    /// `complex128`, only from imaginary constants.
    Complex(f64, f64),
    /// `string`
    Str(Str),
    /// `[]byte`
    Bytes(Blob),
    /// A slice of any other type.
    List(List),
    /// A map with string keys.
    Map(Map),
    /// `time.Time`
    Time(Rc<Time>),
    /// A function, for `call`.
    Func(Rc<Function>),
    /// A struct or pointer to one, of this crate or of the host.
    Object(Rc<dyn Object>),
}

/// The signed integer types, including the named types of Go's `time` package that occur in templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IntType {
    /// `int`
    Int,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `time.Duration`, nanoseconds
    Duration,
    /// `time.Month`, January is 1
    Month,
    /// `time.Weekday`, Sunday is 0
    Weekday,
}

/// The unsigned integer types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UintType {
    /// `uint`
    Uint,
    /// `uint8`
    Uint8,
    /// `uint16`
    Uint16,
    /// `uint32`
    Uint32,
    /// `uint64`
    Uint64,
    /// `uintptr`
    Uintptr,
}

impl IntType {
    /// The type's description.
    pub fn go_type(self) -> Type {
        match self {
            Self::Int => &types::INT,
            Self::Int8 => &types::INT8,
            Self::Int16 => &types::INT16,
            Self::Int32 => &types::INT32,
            Self::Int64 => &types::INT64,
            Self::Duration => &time::DURATION,
            Self::Month => &time::MONTH,
            Self::Weekday => &time::WEEKDAY,
        }
    }
}

impl UintType {
    /// The type's description.
    pub fn go_type(self) -> Type {
        match self {
            Self::Uint => &types::UINT,
            Self::Uint8 => &types::UINT8,
            Self::Uint16 => &types::UINT16,
            Self::Uint32 => &types::UINT32,
            Self::Uint64 => &types::UINT64,
            Self::Uintptr => &types::UINTPTR,
        }
    }
}

impl Value {
    /// Go's `int`.
    pub const fn int(n: i64) -> Self {
        Self::Int(IntType::Int, n)
    }

    /// Go's `int64`.
    pub const fn int64(n: i64) -> Self {
        Self::Int(IntType::Int64, n)
    }

    /// Go's `uint64`.
    pub const fn uint64(n: u64) -> Self {
        Self::Uint(UintType::Uint64, n)
    }

    /// A `time.Duration` of this many nanoseconds.
    pub const fn duration(nanoseconds: i64) -> Self {
        Self::Int(IntType::Duration, nanoseconds)
    }

    /// A `[]byte`.
    pub fn bytes(bytes: impl AsRef<[u8]> + 'static) -> Self {
        Self::Bytes(Blob::new(bytes))
    }

    /// A value of the host or a struct of this crate.
    pub fn object(object: impl Object + 'static) -> Self {
        Self::Object(Rc::new(object))
    }

    /// The dynamic type; `None` for nil.
    pub fn go_type(&self) -> Option<Type> {
        Some(match self {
            Self::Nil => return None,
            Self::Bool(_) => &types::BOOL,
            Self::Int(t, _) => t.go_type(),
            Self::Uint(t, _) => t.go_type(),
            Self::Float32(_) => &types::FLOAT32,
            Self::Float(_) => &types::FLOAT64,
            Self::Complex(..) => &types::COMPLEX128,
            Self::Str(_) => &types::STRING,
            Self::Bytes(_) => &types::BYTES,
            Self::List(list) => list.go_type(),
            Self::Map(map) => map.go_type(),
            Self::Time(_) => &time::TIME,
            Self::Func(_) => &types::FUNC,
            Self::Object(object) => object.go_type(),
        })
    }

    /// The kind; `None` for nil.
    pub fn kind(&self) -> Option<Kind> {
        self.go_type().map(|t| t.kind)
    }

    /// `%T`: the type's name, `<nil>` for nil.
    pub fn type_name(&self) -> &'static str {
        self.go_type().map_or("<nil>", |t| t.name)
    }

    /// The truth value for `if`: false for nil, false, zero and empty values.
    pub fn truth(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(b) => *b,
            Self::Int(_, n) => *n != 0,
            Self::Uint(_, n) => *n != 0,
            Self::Float32(f) => *f != 0.0,
            Self::Float(f) => *f != 0.0,
            Self::Complex(re, im) => *re != 0.0 || *im != 0.0,
            Self::Str(s) => !s.is_empty(),
            Self::Bytes(b) => !b.is_empty(),
            Self::List(list) => !list.items().is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Object(object) => !object.is_nil(),
            Self::Time(_) | Self::Func(_) => true,
        }
    }

    /// Whether this is nil or a typed nil.
    pub fn is_nil(&self) -> bool {
        match self {
            Self::Nil => true,
            Self::List(list) => list.is_nil(),
            Self::Map(map) => map.is_nil(),
            Self::Object(object) => object.is_nil(),
            _ => false,
        }
    }

    /// The bytes of a string.
    pub fn as_str(&self) -> Option<&Str> {
        match self {
            Self::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The map, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Self::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The items, if it is a list other than `[]byte`.
    pub fn as_items(&self) -> Option<&[Value]> {
        match self {
            Self::List(list) => Some(list.items()),
            _ => None,
        }
    }

    /// The host's object of type `T`.
    pub fn downcast<T: 'static>(&self) -> Option<&T> {
        match self {
            Self::Object(object) => object.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// Whether it is a list, a map or an object.
    pub const fn is_container(&self) -> bool {
        matches!(self, Self::List(_) | Self::Map(_) | Self::Object(_))
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

/// Go's `int`.
impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::int(n)
    }
}

impl From<f64> for Value {
    fn from(f: f64) -> Self {
        Self::Float(f)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Self::Str(s.into())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Self::Str(s.into())
    }
}

impl From<Str> for Value {
    fn from(s: Str) -> Self {
        Self::Str(s)
    }
}

impl From<List> for Value {
    fn from(list: List) -> Self {
        Self::List(list)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Self::Map(map)
    }
}

impl From<Time> for Value {
    fn from(time: Time) -> Self {
        Self::Time(Rc::new(time))
    }
}

/// `[]interface {}`.
impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Self::List(List::new(items))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}
