//! Go's `strconv`: quoting, and numbers in Go's syntax.

mod float;
mod number;
mod quote;

pub(crate) use float::{format_float, format_float32};
pub(crate) use number::{NumberError, parse_float, parse_int, parse_uint};
pub(crate) use quote::{can_backquote, quote, quote_into, quote_rune, unquote, unquote_char};

/// `strconv.ErrSyntax`
pub(crate) const SYNTAX: &str = "invalid syntax";
