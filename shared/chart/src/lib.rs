//! Helm charts as files, compatible with Helm 4.3: archives and folders, Chart.yaml and its lock, values files and single
//! values set by path (ledger rows HE-LOAD, HE-VAL, HE-YAML).
//!
//! ```
//! use flux_chart::{Chart, File, load_values, merge_maps, set};
//!
//! let chart = Chart::from_files(vec![
//!     File::new("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
//!     File::new("values.yaml", "replicas: 1\nimage: {tag: a}\n"),
//! ])?;
//! assert_eq!(chart.metadata.version, "1.0.0");
//! let mut values = chart.values.unwrap_or_default();
//! merge_maps(&mut values, load_values(b"image: {tag: b}\n")?);
//! set(&mut values, "replicas=3")?;
//! assert_eq!(values["replicas"].as_i64(), Some(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! This crate does not render: templates, schemas and releases are part of `flux-helm`. Archives are passed as bytes and
//! folders as a `flux_tree::Tree`.

#![forbid(unsafe_code)]
#![allow(clippy::format_push_string)] // text is short here, and `write!` to a String has an error that cannot happen

mod chart;
pub mod decode;
mod dependencies;
pub mod index;
mod load;
mod package;
mod text;
mod time;
mod values;
mod version;
pub mod yaml;

pub use chart::{
    ApiVersionError, Chart, Crd, Dependency, File, Lock, Maintainer, Metadata, NotInstallable,
    crds_of, subchart_path,
};
pub use dependencies::{
    LocalDependencyError, LocalLoadError, Missing, RepositoryUrlError, normalize_url,
};
pub use flux_yaml::Map as Values;
pub use load::{
    LoadError, MAX_CHART_BYTES, MAX_ENTRIES, MAX_SUBCHART_DEPTH, MetadataError, SourceLoadError,
    loaded_size, loaded_size_of_folder,
};
pub use package::PackageError;
pub use time::Time;
pub use values::{
    MAX_INDEX, MAX_INDEXES, MAX_NESTING, MAX_NEW_ITEMS, MergedValues, SetError, SharedMap,
    SourceValues, ValueError, ValueOptions, ValuesFileError, documents, load_values, merge_maps,
    merge_source_values, set, set_file, set_json, set_literal, set_string,
};
pub use version::{BuildMetadataError, with_build_metadata};
pub use yaml::YamlError;
