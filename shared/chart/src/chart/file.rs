//! One file of a chart.

use bytes::Bytes;

use crate::Time;

/// A file of a chart, named by its path relative to the chart's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path, `/`-separated.
    pub name: String,
    /// The content, without a leading byte order mark.
    pub data: Bytes,
    /// Modification time; zero if unknown.
    pub mod_time: Time,
}

impl File {
    /// A file without a modification time.
    pub fn new(name: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self {
            name: name.into(),
            data: data.into(),
            mod_time: Time::zero(),
        }
    }

    /// The last part of the path.
    pub fn base_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or_default()
    }
}
