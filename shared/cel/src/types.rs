//! Types, as the checker knows them.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

/// The type of an expression. `Display` writes it as cel-go does in errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Known at evaluation only.
    Dyn,
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A 64-bit integer.
    Int,
    /// An unsigned 64-bit integer.
    Uint,
    /// A 64-bit floating-point number.
    Double,
    /// A text.
    String,
    /// Bytes.
    Bytes,
    /// A span of time.
    Duration,
    /// A point in time.
    Timestamp,
    /// A list of elements of one type.
    List(Arc<Type>),
    /// A map from keys of one type to values of one type.
    Map(Arc<(Type, Type)>),
    /// A value that may be absent.
    Optional(Arc<Type>),
    /// A type as a value; that type if it is known.
    Type(Option<Arc<Type>>),
    /// A type to be found: a parameter of a function, or (with a number) of one call.
    #[doc(hidden)]
    Param(Param),
    /// The type of what has a problem.
    #[doc(hidden)]
    Error,
}

/// A type parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    /// In the declaration of a function.
    Declared(char),
    /// In a call.
    Fresh(usize),
}

impl Type {
    /// A list of elements of type `element`.
    pub fn list(element: Type) -> Self {
        Self::List(Arc::new(element))
    }

    /// A map from `key` to `value`.
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// An optional value of type `value`.
    pub fn optional(value: Type) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// The type as Go's `String` writes it, which for some types differs from errors of the checker.
    pub(crate) fn declared(&self) -> String {
        let parameters = self.parameters();
        if parameters.is_empty() {
            return self.runtime_name().to_owned();
        }
        let parameters: Vec<String> = parameters.into_iter().map(Self::declared).collect();
        format!("{}({})", self.runtime_name(), parameters.join(", "))
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The type of the value, if this is the type of an optional; else the type itself.
    pub(crate) fn unwrapped(&self) -> (Self, bool) {
        match self {
            Self::Optional(value) => ((**value).clone(), true),
            other => (other.clone(), false),
        }
    }

    /// The types that this one is made of.
    pub(crate) fn parameters(&self) -> Vec<&Type> {
        match self {
            Self::List(element) | Self::Optional(element) | Self::Type(Some(element)) => {
                vec![element]
            }
            Self::Map(parts) => vec![&parts.0, &parts.1],
            _ => Vec::new(),
        }
    }

    /// The name of the type without what it is made of, as `type()` returns it.
    pub fn name(&self) -> &'static str {
        self.runtime_name()
    }

    /// The type as errors of the evaluation name it, without what it is made of.
    pub(crate) fn runtime_name(&self) -> &'static str {
        match self {
            Self::Dyn | Self::Param(_) | Self::Error => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
        }
    }

    /// The type that this name stands for in an expression.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let param = |name| Self::Param(Param::Declared(name));
        Some(match name.strip_prefix('.').unwrap_or(name) {
            "bool" => Self::Bool,
            "bytes" => Self::Bytes,
            "double" => Self::Double,
            "google.protobuf.Duration" => Self::Duration,
            "google.protobuf.Timestamp" => Self::Timestamp,
            "int" => Self::Int,
            "list" => Self::list(param('A')),
            "map" => Self::map(param('A'), param('B')),
            "null_type" => Self::Null,
            "optional_type" => Self::optional(param('V')),
            "string" => Self::String,
            "type" => Self::Type(None),
            "uint" => Self::Uint,
            _ => return None,
        })
    }
}

impl Display for Type {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Error => f.write_str("!error!"),
            Self::Null => f.write_str("null"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Param(Param::Declared(name)) => write!(f, "{name}"),
            Self::Param(Param::Fresh(number)) => write!(f, "_var{number}"),
            other => {
                f.write_str(other.runtime_name())?;
                let parameters = other.parameters();
                if parameters.is_empty() {
                    return Ok(());
                }
                let parameters: Vec<String> = parameters.iter().map(ToString::to_string).collect();
                write!(f, "({})", parameters.join(", "))
            }
        }
    }
}
