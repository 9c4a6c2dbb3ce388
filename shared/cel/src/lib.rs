//! Expressions in CEL, the Common Expression Language, compiled and evaluated as cel-go does with the options of Flux:
//! optional values, comparison of numbers of different types, literals whose elements agree, UTC, and the libraries
//! strings, sets and encoders (RT-CEL-001, KC-HEALTH-035).
//!
//! ```
//! use flux_cel::{Expression, Limits, Numbers, Type, Value};
//!
//! let object = serde_json::json!({ "status": { "phase": "Bound", "replicas": 3 } });
//! let variable = |name: &str| Some(Value::of_json(object.get(name)?, Numbers::Integers));
//! let expression = Expression::parse("status.phase in ['Bound', 'Available'] && status.replicas > 2.5")?;
//! assert!(expression.evaluate_bool(variable, Limits::default())?);
//!
//! // With declared variables types are checked, and unknown names are errors.
//! let declared = [("dep", Type::map(Type::String, Type::Dyn))];
//! let compile = |text| Expression::compile(text, &declared, Some(Type::Bool));
//! assert!(compile("dep.status.ready == true").is_ok());
//! assert_eq!(
//!     compile("dep.status.ready").unwrap_err().to_string(),
//!     "CEL expression output type mismatch: expected bool, got dyn"
//! );
//! assert!(compile("self.status.ready == true").unwrap_err().to_string().contains("undeclared reference to 'self'"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An expression has at most 100,000 characters and is nested at most 250 levels deep; an evaluation ends at its
//! [`Limits`]. Messages of protocol buffers are not part of this.

#![forbid(unsafe_code)]
#![allow(
    clippy::format_push_string, // the texts are short, and `write!` to a String has an error that cannot happen
    clippy::match_same_arms,    // tables of operators read better with one line for each
    clippy::float_cmp,          // values are compared exactly, as the language does
)]

mod ast;
mod check;
mod declarations;
mod eval;
mod expression;
mod format;
mod functions;
mod lex;
mod macros;
mod parse;
mod source;
mod strings;
mod time;
mod types;
mod unescape;
mod unify;
mod value;

pub use eval::Limits;
pub use expression::{CompileError, EvaluateError, Expression};
pub use time::Timestamp;
pub use types::{Param, Type};
pub use value::{Map, Numbers, Value};
