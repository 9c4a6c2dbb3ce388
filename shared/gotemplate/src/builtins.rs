//! The builtin functions of every template.

mod compare;
mod escape;
mod index;

use crate::error::CallError;
use crate::exec::Rv;
use crate::fmt;
use crate::value::{IntType, Str, Type, UintType, Value, types};

/// A builtin function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builtin {
    And,
    Call,
    Eq,
    Ge,
    Gt,
    Html,
    Index,
    Js,
    Le,
    Len,
    Lt,
    Ne,
    Not,
    Or,
    Print,
    Printf,
    Println,
    Slice,
    Urlquery,
}

/// How the arguments of a builtin are passed.
pub(crate) enum Params {
    /// Unchanged.
    Reflected,
    /// As `interface {}`, the first one as the given type.
    Printed(Type),
}

const ALL: [Builtin; 19] = [
    Builtin::And,
    Builtin::Call,
    Builtin::Eq,
    Builtin::Ge,
    Builtin::Gt,
    Builtin::Html,
    Builtin::Index,
    Builtin::Js,
    Builtin::Le,
    Builtin::Len,
    Builtin::Lt,
    Builtin::Ne,
    Builtin::Not,
    Builtin::Or,
    Builtin::Print,
    Builtin::Printf,
    Builtin::Println,
    Builtin::Slice,
    Builtin::Urlquery,
];

impl Builtin {
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        ALL.into_iter().find(|b| b.name().as_bytes() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::And => "and",
            Self::Call => "call",
            Self::Eq => "eq",
            Self::Ge => "ge",
            Self::Gt => "gt",
            Self::Html => "html",
            Self::Index => "index",
            Self::Js => "js",
            Self::Le => "le",
            Self::Len => "len",
            Self::Lt => "lt",
            Self::Ne => "ne",
            Self::Not => "not",
            Self::Or => "or",
            Self::Print => "print",
            Self::Printf => "printf",
            Self::Println => "println",
            Self::Slice => "slice",
            Self::Urlquery => "urlquery",
        }
    }

    /// The number of parameters, and whether the last is variadic.
    pub(crate) const fn arity(self) -> (usize, bool) {
        match self {
            Self::And
            | Self::Or
            | Self::Call
            | Self::Eq
            | Self::Index
            | Self::Slice
            | Self::Printf => (2, true),
            Self::Html | Self::Js | Self::Urlquery | Self::Print | Self::Println => (1, true),
            Self::Len | Self::Not => (1, false),
            Self::Ge | Self::Gt | Self::Le | Self::Lt | Self::Ne => (2, false),
        }
    }

    pub(crate) fn params(self) -> Params {
        match self {
            Self::Printf => Params::Printed(&types::STRING),
            Self::Html | Self::Js | Self::Urlquery | Self::Print | Self::Println => {
                Params::Printed(&types::ANY)
            }
            _ => Params::Reflected,
        }
    }
}

/// The builtins that work on reflected values; `and`, `or` and `call` are part of the executor.
pub(crate) fn reflected(builtin: Builtin, args: &[Rv]) -> Result<Rv, CallError> {
    let (first, rest) = args.split_first().ok_or("missing argument")?;
    let second = rest.first();
    let truth = match (builtin, second) {
        (Builtin::Index, _) => return index::index(first, rest),
        (Builtin::Slice, _) => return index::slice(first, rest),
        (Builtin::Len, _) => return index::len(first).map(|n| Rv::Is(Value::int(n as i64))),
        (Builtin::Not, _) => !first.value().is_some_and(Value::truth),
        (Builtin::Eq, _) => compare::eq(first, rest)?,
        (Builtin::Ne, _) => !compare::eq(first, rest)?,
        (Builtin::Lt, Some(second)) => compare::lt(first, second)?,
        (Builtin::Le, Some(second)) => compare::le(first, second)?,
        (Builtin::Gt, Some(second)) => !compare::le(first, second)?,
        (Builtin::Ge, Some(second)) => !compare::lt(first, second)?,
        _ => return Err(format!("{} is not a plain function", builtin.name()).into()),
    };
    Ok(Rv::Is(Value::Bool(truth)))
}

/// The builtins that return text.
pub(crate) fn printed(builtin: Builtin, args: &[Value]) -> Result<Str, CallError> {
    match builtin {
        Builtin::Printf => match args.split_first() {
            Some((Value::Str(format), args)) => fmt::sprintf(format, args),
            _ => Err("printf needs a format".into()),
        },
        Builtin::Println => fmt::sprintln(args),
        Builtin::Html => Ok(escape::html(&shown(args)?)),
        Builtin::Js => Ok(escape::js(&shown(args)?)),
        Builtin::Urlquery => Ok(escape::url_query(&shown(args)?)),
        _ => fmt::sprint(args),
    }
}

/// `evalArgs`: the printed arguments, with pointers dereferenced.
fn shown(args: &[Value]) -> Result<Str, CallError> {
    let shown: Vec<Value> = args
        .iter()
        .map(|arg| match arg {
            Value::Nil => "<no value>".into(),
            other => other.clone(),
        })
        .collect();
    fmt::sprint(&shown)
}

/// `prepareArg`: converts a value for a parameter or map key of type `ty`; integers are converted.
pub(crate) fn prepare(value: Option<Value>, ty: Type) -> Result<Value, String> {
    let Some(value) = value else {
        if ty.kind.can_be_nil() {
            return Ok(Value::Nil);
        }
        return Err(format!("value is nil; should be of type {}", ty.name));
    };
    let own = value.go_type().unwrap_or(&types::ANY);
    if own.assignable_to(ty) {
        return Ok(value);
    }
    match value {
        Value::Int(_, n) if ty.kind.is_signed() => Ok(Value::Int(IntType::Int, n)),
        Value::Uint(_, n) if ty.kind.is_signed() => Ok(Value::Int(IntType::Int, n as i64)),
        Value::Int(_, n) if ty.kind.is_unsigned() => Ok(Value::Uint(UintType::Uint, n as u64)),
        Value::Uint(_, n) if ty.kind.is_unsigned() => Ok(Value::Uint(UintType::Uint, n)),
        _ => Err(format!(
            "value has type {}; should be {}",
            own.name, ty.name
        )),
    }
}

/// The error of Go's `reflect` for an invalid value.
fn no_value(method: &str) -> CallError {
    CallError::new(format!(
        "reflect: call of reflect.Value.{method} on zero Value"
    ))
}
