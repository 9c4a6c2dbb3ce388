//! Loads a [`Chart`] from an archive, a folder or files.

mod archive;
mod cost;
mod files;
mod folder;
mod gunzip;
mod ignore;
mod metadata;
mod source;

pub use cost::{loaded_size, loaded_size_of_folder};
pub use metadata::MetadataError;
pub use source::SourceLoadError;

use std::cell::Cell;

use crate::Chart;
use crate::yaml::YamlError;

/// Maximum bytes of all files of an archive or folder together (HE-LOAD-002). A single file has no limit of its own.
pub const MAX_CHART_BYTES: u64 = 100 * 1024 * 1024;
/// Maximum number of entries of an archive. Helm has no such limit.
pub const MAX_ENTRIES: usize = 100_000;
/// Maximum depth of nested subcharts. Helm has no such limit.
pub const MAX_SUBCHART_DEPTH: usize = 64;

/// Why a chart cannot be loaded. Printed with its sources, joined by `: `, the text is Helm's.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The archive is not gzip, or is truncated.
    #[error("{0}")]
    Gzip(&'static str),
    /// The archive's tar stream is invalid.
    #[error("invalid chart archive")]
    Tar(#[source] std::io::Error),
    /// The archive has no files.
    #[error("no files in chart archive")]
    Empty,
    /// All files together are larger than [`MAX_CHART_BYTES`].
    #[error("decompressed chart is larger than the maximum size {MAX_CHART_BYTES}")]
    ChartTooLarge,
    /// All files of a folder up to this one are larger than [`MAX_CHART_BYTES`].
    #[error(
        "error reading {0}: chart exceeds maximum decompressed size of {MAX_CHART_BYTES} bytes"
    )]
    FolderTooLarge(String),
    /// One file of a folder is larger than its caller allows (SC-HCHART-092).
    #[error("cannot load file {name} as file size ({size}) exceeds limit ({limit})")]
    FileBeyondLimit {
        /// Its path in the folder.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The archive has more than [`MAX_ENTRIES`] entries.
    #[error("chart archive has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// Subcharts are nested more than [`MAX_SUBCHART_DEPTH`] deep.
    #[error("subcharts are nested more than {MAX_SUBCHART_DEPTH} levels deep")]
    TooDeep,
    /// An entry's path is absolute.
    #[error("chart illegally contains absolute paths")]
    AbsolutePath,
    /// An entry's path is that of the chart's folder itself.
    #[error("chart illegally contains content outside the base directory: \"{0}\"")]
    OutsideBase(String),
    /// An entry's path leads out of the chart.
    #[error("chart illegally references parent directory")]
    ParentPath,
    /// An entry's path is a Windows path (`c:/`).
    #[error("chart contains illegally named files")]
    IllegalName,
    /// Chart.yaml is next to the chart's folder instead of in it.
    #[error("chart yaml not in base directory")]
    ChartYamlOutside,
    /// A symbolic link of a folder is broken or leads out of the tree.
    #[error("error evaluating symlink {0}")]
    Symlink(String, #[source] flux_tree::ResolveError),
    /// A pattern in `.helmignore` is invalid.
    #[error("{0}")]
    Ignore(&'static str),
    /// There is no Chart.yaml.
    #[error("Chart.yaml file is missing")]
    MissingChartYaml,
    /// A file of the chart is not valid YAML, or has a value of the wrong type.
    #[error("cannot load {file}")]
    Yaml {
        /// Name of the file: Chart.yaml, values.yaml, ...
        file: &'static str,
        /// The error of the YAML parser or decoder.
        source: YamlError,
    },
    /// Chart.yaml is invalid.
    #[error("validation: {0}")]
    Invalid(String),
    /// A subchart's archive is not directly in charts/.
    #[error("error unpacking subchart tar in {chart}: expected {expected}, got {got}")]
    SubchartPath {
        /// The parent chart.
        chart: String,
        /// The archive's name.
        expected: String,
        /// The actual path.
        got: String,
    },
    /// A subchart cannot be loaded.
    #[error("error unpacking subchart {name} in {chart}")]
    Subchart {
        /// Its folder or archive in charts/.
        name: String,
        /// The parent chart.
        chart: String,
        /// The error of the subchart.
        source: Box<LoadError>,
    },
}

impl Chart {
    /// Loads a chart archive (`.tgz`). `.helmignore` is not applied (HE-LOAD-007).
    pub fn from_archive(bytes: &[u8]) -> Result<Self, LoadError> {
        files::chart(archive::files(bytes)?, 0)
    }

    /// Loads the chart in `folder` of a tree, without the files excluded by its `.helmignore`. Links are followed within
    /// the tree.
    pub fn from_tree(
        tree: &flux_tree::Tree,
        folder: &flux_tree::TreePath,
    ) -> Result<Self, LoadError> {
        let left = Cell::new(MAX_CHART_BYTES);
        let too_large = |name: &str, size: u64| match left.get().checked_sub(size) {
            Some(rest) => {
                left.set(rest);
                None
            }
            None => Some(LoadError::FolderTooLarge(name.to_owned())),
        };
        files::chart(folder::files(tree, folder, &too_large)?, 0)
    }

    /// Assembles a chart from its files, in the given order.
    pub fn from_files(files: Vec<crate::File>) -> Result<Self, LoadError> {
        files::chart(files, 0)
    }
}
