//! Go's `text/template` and the Sprig functions, byte for byte.

#![forbid(unsafe_code)]
#![allow(
    clippy::format_push_string, // text is short here, and `write!` to a String has an error that cannot happen
    clippy::unnecessary_box_returns, // errors are boxed where they are made, because they are large and rare
    clippy::fn_params_excessive_bools, // tables of layout shapes
    clippy::type_complexity, // tuples local to one scanner
)]

mod builtins;
mod context;
mod encode;
mod error;
mod exec;
mod fmt;
mod functions;
pub mod go;
mod goregex;
mod gotime;
pub mod json;
mod parse;
pub mod sprig;
mod stack;
mod strconv;
mod template;
mod unicode;
mod value;

pub use context::{Context, Environment, Limits, Nothing, Session, with_stack};
pub use error::{CallError, Error};
pub use functions::{Function, Functions, IntoFunction, IntoResult, Param, Variadic};
pub use template::{MissingKey, Templates};
pub use value::{
    IntType, Kind, List, Map, Method, MethodBody, NilMap, Object, Str, Time, Type, TypeInfo,
    UintType, Value, Zone, deep_equal, types,
};
