//! Merges the values of a user with those of a chart.

mod coalesce;
mod compose;
mod reuse;
mod tree;

pub use coalesce::TypeMismatch;
pub(crate) use coalesce::{Coalesce, ValueChart, Warnings};
pub use compose::{
    ComposeError, ComposedValues, DEFAULT_VALUES_KEY, SourceData, ValuesReason,
    ValuesReferenceError, ValuesSource, compose_values,
};
pub use reuse::reuse_values;
pub(crate) use tree::{constants, deep_copy, from_yaml, path_value, table, to_yaml, value_of};
