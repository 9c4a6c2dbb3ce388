//! JSON Schema validation compatible with Helm: drafts 4 to 2020-12, with the messages of Helm's validator,
//! `santhosh-tekuri/jsonschema` 6 (HE-SCHEMA-002, HE-SCHEMA-003, HE-SCHEMA-006).
//!
//! ```
//! use flux_jsonschema::{Compiled, Json, Remotes, Schema};
//!
//! let text = br#"{"properties": {"replicas": {"type": "integer"}}}"#;
//! let Compiled::Schema(schema) = Schema::compile("file:///s.json", text, &Remotes::default())?
//! else {
//!     panic!("it refers to nothing");
//! };
//! let report = schema.validate(&Json::read(br#"{"replicas": "3"}"#)?).unwrap_err();
//! assert_eq!(
//!     report.to_string(),
//!     "jsonschema validation failed with 'file:///s.json#'\n- at '/replicas': got string, want integer"
//! );
//! # Ok::<(), flux_jsonschema::SchemaError>(())
//! ```
//!
//! This crate fetches nothing: for a reference to another host [`Schema::compile`] asks for the document; the caller adds
//! it to [`Remotes`] and compiles again. References to files fail; names (`urn:`) accept everything.

#![forbid(unsafe_code)]
#![allow(clippy::format_push_string)] // text is short here, and `write!` to a String has an error that cannot happen

mod address;
mod compile;
mod decimal;
mod draft;
mod finding;
mod format;
mod json;
mod keywords;
mod meta;
mod names;
mod plain;
mod pointer;
mod program;
mod remotes;
mod root;
mod roots;
mod schema;
mod validate;

pub use json::Json;
pub use remotes::{Fetched, MAX_DOCUMENTS, Remotes};
pub use schema::{Compiled, Invalid, Schema, SchemaError};
