//! Values: loading files, merging them, setting single values by path.

mod files;
mod literal;
mod merge;
mod options;
mod reader;
mod set;
mod shared;

pub use files::{MergedValues, SourceValues, ValuesFileError, merge_source_values};
pub use merge::{documents, load_values, merge_maps};
pub use options::{ValueError, ValueOptions};
pub use set::{
    MAX_INDEX, MAX_INDEXES, MAX_NESTING, MAX_NEW_ITEMS, SetError, set, set_file, set_json,
    set_literal, set_string,
};
pub use shared::SharedMap;
