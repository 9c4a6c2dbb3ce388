//! Values: reading, merging, setting single ones by path, and bringing a chart's and a user's together.

mod coalesce;
mod literal;
mod merge;
mod options;
mod reader;
mod reuse;
mod set;
mod tree;

pub use coalesce::TypeMismatch;
pub(crate) use coalesce::{Coalesce, ValueChart, Warnings};
pub(crate) use merge::documents;
pub use merge::{load_values, merge_maps};
pub use options::{ValueError, ValueOptions};
pub use reuse::reuse_values;
pub use set::{MAX_INDEX, MAX_NESTING, SetError, set, set_file, set_json, set_literal, set_string};
pub(crate) use tree::{constants, deep_copy, from_yaml, path_value, table, to_yaml, value_of};
