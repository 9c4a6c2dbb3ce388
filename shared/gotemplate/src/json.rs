//! Go's `encoding/json` for [`Value`](crate::Value)s, as used by `toJson` and `fromJson`.
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

/// A text is not JSON, or a value cannot be encoded as JSON; the message is Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(pub(crate) String);
