//! Go's `text/template` and the Sprig functions, byte for byte.

#![forbid(unsafe_code)]
#![allow(dead_code)] // the executor that uses the rest lands next

mod context;
mod error;
mod functions;
mod template;
mod value;

pub use context::{Context, Environment, Limits, Nothing, Session};
pub use error::{CallError, Error};
pub use functions::{Function, Functions, IntoFunction, IntoResult, Param, Variadic};
pub use template::{MissingKey, Templates};
pub use value::{
    IntType, Kind, List, Map, Method, MethodBody, NilMap, Object, Str, Time, Type, TypeInfo,
    UintType, Value, Zone, types,
};
