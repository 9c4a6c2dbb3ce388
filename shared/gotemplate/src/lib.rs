//! Go's `text/template`, byte for byte: the same output and the same error texts as Go 1.26 and Sprig 3.3 (ledger rows
//! HE-TPL and HE-FN).
//!
//! ```
//! use std::sync::Arc;
//! use flux_gotemplate::{Functions, Limits, Nothing, Session, Templates, json};
//!
//! let mut templates = Templates::new("page", Arc::new(Functions::new()));
//! templates.parse("page", b"{{ range .names }}{{ . | len }} {{ end }}{{ .n.x }}")?;
//!
//! let data = json::unmarshal(br#"{"names": ["a", "b"], "n": 1}"#)?;
//! let mut session = Session::new(Nothing, Limits::default());
//! let error = templates.execute(&mut session, "page", data).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "template: page:1:46: executing \"page\" at <.n.x>: can't evaluate field x in type interface {}"
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Templates`] are parsed once and shared between threads; [`Value`]s and the [`Session`] of a run belong to one thread.
//! The services that functions need (time, randomness, name resolution) come from an [`Environment`], and every run has
//! [`Limits`]. Deeply nested templates need a large stack: [`with_stack`].
//!
//! Charts, `include`, `tpl`, `toYaml` and the other functions of Helm are part of `flux-helm`, which implements them with
//! [`Context::execute`] and [`Context::evaluate`].

#![forbid(unsafe_code)]
#![allow(
    clippy::format_push_string, // text is short here, and `write!` to a String has an error that cannot happen
    clippy::unnecessary_box_returns, // errors are boxed where they are created, because they are large and rare
    clippy::fn_params_excessive_bools, // tables of layout shapes
    clippy::type_complexity, // tuples local to one scanner
)]

mod builtins;
mod context;
mod error;
mod exec;
pub mod fmt;
mod functions;
pub mod json;
mod parse;
mod stack;
mod template;
mod threads;
mod value;

pub use context::{Context, Environment, Limits, Nothing, Session, with_stack};
pub use error::{CallError, Error};
pub use functions::{Function, Functions, IntoFunction, IntoResult, Param, Variadic};
pub use template::{MissingKey, Parsed, Templates};
pub use threads::on_kept_stack;
pub use value::{
    Blob, Constant, Constants, IntType, KeyInfo, Kind, List, Map, Method, MethodBody, NilMap,
    Object, Str, Time, Type, TypeInfo, UintType, Value, Zone, deep_equal, load_zone, types,
};
