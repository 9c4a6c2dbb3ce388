//! From bytes to a [`Chart`].

mod archive;
mod files;
mod folder;
mod gunzip;
mod ignore;

use crate::Chart;
use crate::yaml::YamlError;

/// The most bytes that the files of an archive may hold together (HE-LOAD-002).
pub const MAX_CHART_BYTES: u64 = 100 * 1024 * 1024;
/// The most bytes that one file may hold (HE-LOAD-002).
pub const MAX_FILE_BYTES: u64 = 5 * 1024 * 1024;
/// The most entries that an archive may have. Helm has no such limit.
pub const MAX_ENTRIES: usize = 100_000;
/// How deep charts may lie within charts. Helm has no such limit.
pub const MAX_SUBCHART_DEPTH: usize = 64;

/// Why something is not a chart. Printed with its sources, joined by `: `, the text is Helm's.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The archive is not gzip, or breaks off.
    #[error("{0}")]
    Gzip(&'static str),
    /// The archive's tar stream is damaged.
    #[error("invalid chart archive")]
    Tar(#[source] std::io::Error),
    /// The archive holds no files.
    #[error("no files in chart archive")]
    Empty,
    /// The files are together larger than [`MAX_CHART_BYTES`].
    #[error("decompressed chart is larger than the maximum size {MAX_CHART_BYTES}")]
    ChartTooLarge,
    /// One file of an archive is larger than [`MAX_FILE_BYTES`].
    #[error(
        "decompressed chart file \"{0}\" is larger than the maximum file size {MAX_FILE_BYTES}"
    )]
    FileTooLarge(String),
    /// One file of a folder is larger than [`MAX_FILE_BYTES`].
    #[error("chart file \"{0}\" is larger than the maximum file size {MAX_FILE_BYTES}")]
    FolderFileTooLarge(String),
    /// The archive has more than [`MAX_ENTRIES`] entries.
    #[error("chart archive has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// Charts lie within charts more than [`MAX_SUBCHART_DEPTH`] deep.
    #[error("subcharts are nested more than {MAX_SUBCHART_DEPTH} levels deep")]
    TooDeep,
    /// An entry's path is absolute.
    #[error("chart illegally contains absolute paths")]
    AbsolutePath,
    /// An entry's path is that of the chart's folder itself.
    #[error("chart illegally contains content outside the base directory: \"{0}\"")]
    OutsideBase(String),
    /// An entry's path climbs out of the chart.
    #[error("chart illegally references parent directory")]
    ParentPath,
    /// An entry's path is one of Windows (`c:/`).
    #[error("chart contains illegally named files")]
    IllegalName,
    /// Chart.yaml lies beside the chart's folder instead of in it.
    #[error("chart yaml not in base directory")]
    ChartYamlOutside,
    /// A link of a folder leads nowhere or out of the tree.
    #[error("error evaluating symlink {0}")]
    Symlink(String, #[source] flux_tree::ResolveError),
    /// A pattern in `.helmignore` cannot be read.
    #[error("{0}")]
    Ignore(&'static str),
    /// There is no Chart.yaml.
    #[error("Chart.yaml file is missing")]
    MissingChartYaml,
    /// A file of the chart's own is not the YAML it should be.
    #[error("cannot load {file}")]
    Yaml {
        /// Chart.yaml, values.yaml, ...
        file: &'static str,
        /// What is wrong with it.
        source: YamlError,
    },
    /// Chart.yaml says what no chart may.
    #[error("validation: {0}")]
    Invalid(String),
    /// A packed subchart does not lie directly in charts/.
    #[error("error unpacking subchart tar in {chart}: expected {expected}, got {got}")]
    SubchartPath {
        /// The chart that holds it.
        chart: String,
        /// The archive's name.
        expected: String,
        /// The path found.
        got: String,
    },
    /// A subchart cannot be loaded.
    #[error("error unpacking subchart {name} in {chart}")]
    Subchart {
        /// Its folder or archive in charts/.
        name: String,
        /// The chart that holds it.
        chart: String,
        /// Why.
        source: Box<LoadError>,
    },
}

impl Chart {
    /// Reads a packed chart (`.tgz`). `.helmignore` plays no part (HE-LOAD-007).
    pub fn from_archive(bytes: &[u8]) -> Result<Self, LoadError> {
        files::chart(archive::files(bytes)?, 0)
    }

    /// Reads the chart that lies in `folder` of a tree, without what its `.helmignore` names. Links are followed within
    /// the tree.
    pub fn from_tree(
        tree: &flux_tree::Tree,
        folder: &flux_tree::TreePath,
    ) -> Result<Self, LoadError> {
        files::chart(folder::files(tree, folder)?, 0)
    }

    /// Makes a chart of its files, in the order given.
    pub fn from_files(files: Vec<crate::File>) -> Result<Self, LoadError> {
        files::chart(files, 0)
    }
}
