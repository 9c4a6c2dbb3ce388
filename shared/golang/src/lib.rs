//! The parts of Go's standard library whose results users see: texts that upstream's controllers quote, numbers and times
//! that they write, expressions and patterns in users' objects.
//!
//! Modules are named like Go's packages and contain only functions of those. Texts are bytes where a Go string may be
//! invalid UTF-8.
//!
//! ```
//! use flux_golang::{path, regexp, strconv, time};
//!
//! assert_eq!(strconv::quote("a\u{a0}b"), r#""a\u00a0b""#);
//! assert_eq!(time::parse_duration(b"1.5h").map(time::format_duration), Ok("1h30m0s".to_owned()));
//! assert!(path::Pattern::compile(b"a*[0-9]").unwrap().matches(b"ab7"));
//! assert_eq!(
//!     regexp::Regex::compile(b"a**").unwrap_err().to_string(),
//!     "error parsing regexp: invalid nested repetition operator: `**`"
//! );
//! ```

#![allow(
    clippy::format_push_string, // text is short here, and `write!` to a String has an error that cannot happen
    clippy::fn_params_excessive_bools, // tables of layout shapes
)]

pub mod encoding;
pub mod json;
pub mod path;
pub mod regexp;
pub mod strconv;
pub mod time;
pub mod unicode;
pub mod url;
