//! Go's `strconv`: quoting, and numbers in Go's syntax.

mod float;
mod number;
mod quote;

pub use float::{format_float, format_float32};
pub use number::{NumberError, parse_bool, parse_float, parse_int, parse_uint};
pub use quote::{Unit, can_backquote, quote, quote_into, quote_rune, unquote, unquote_char};

/// `strconv.ErrSyntax`
pub const SYNTAX: &str = "invalid syntax";
