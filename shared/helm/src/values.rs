//! Merges the values of a user with those of a chart.

mod coalesce;
mod reuse;
mod tree;

pub use coalesce::TypeMismatch;
pub(crate) use coalesce::{Coalesce, ValueChart, Warnings};
pub use reuse::reuse_values;
pub(crate) use tree::{constants, deep_copy, from_yaml, path_value, table, to_yaml, value_of};
