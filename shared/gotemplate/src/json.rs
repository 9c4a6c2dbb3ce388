//! Go's `encoding/json` over [`Value`](crate::Value)s: what `toJson` and `fromJson` are made of.
//!
//! ```
//! use flux_gotemplate::json;
//!
//! let value = json::unmarshal(br#"{"b": 1, "a": ["<", null]}"#)?;
//! assert_eq!(json::marshal(&value)?, br#"{"a":["\u003c",null],"b":1}"#);
//! # Ok::<(), json::JsonError>(())
//! ```

mod decode;
mod encode;

pub use decode::unmarshal;
pub use encode::{marshal, marshal_indent, marshal_raw};

/// A text that is not JSON, or a value that JSON cannot hold; the text is Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(pub(crate) String);
