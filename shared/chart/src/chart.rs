//! The contents of a chart.

mod file;
mod metadata;
mod size;

use bytes::Bytes;
pub use file::File;
use flux_golang::path;
use flux_yaml::Map;
pub use metadata::{ApiVersionError, Dependency, Lock, Maintainer, Metadata};

use crate::Time;

/// A loaded chart: plain data that any number of renders may share.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    /// Chart.yaml, with the dependencies of requirements.yaml.
    pub metadata: Metadata,
    /// Chart.lock or requirements.lock.
    pub lock: Option<Lock>,
    /// The files below templates/.
    pub templates: Vec<File>,
    /// values.yaml, if the chart has one.
    pub values: Option<Map>,
    /// values.schema.json.
    pub schema: Option<Bytes>,
    /// Modification time of the schema.
    pub schema_mod_time: Time,
    /// All other files.
    pub files: Vec<File>,
    /// Every file as loaded, in the order of loading.
    pub raw: Vec<File>,
    /// Modification time of Chart.yaml.
    pub mod_time: Time,
    /// The subcharts in charts/, in the order of the names of their folders or archives.
    pub dependencies: Vec<Chart>,
}

/// A file of a chart's crds/ folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crd {
    /// The path including all parent charts: `chart/charts/sub/crds/x.yaml`.
    pub filename: String,
    /// The file itself.
    pub file: File,
}

/// Why a chart cannot be installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotInstallable {
    /// It is a library chart.
    #[error("{0} charts are not installable")]
    Kind(String),
    /// It depends on charts that charts/ lacks.
    #[error(
        "an error occurred while checking for chart dependencies. You may need to run 'helm dependency build' to fetch missing dependencies: found in Chart.yaml, but missing in charts/ directory: {}",
        .0.join(", ")
    )]
    Missing(Vec<String>),
}

impl Chart {
    /// The name in Chart.yaml.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Whether it is a library chart, of which only partial templates are used (HE-VAL-016).
    pub fn is_library(&self) -> bool {
        self.metadata.kind.eq_ignore_ascii_case("library")
    }

    /// The custom resource definitions of this chart, followed by those of its subcharts.
    pub fn crds(&self) -> Vec<Crd> {
        let mut crds = Vec::new();
        self.collect_crds(self.name(), &mut crds);
        crds
    }

    fn collect_crds(&self, path: &str, into: &mut Vec<Crd>) {
        crds_of(&self.files, path, into);
        for dependency in &self.dependencies {
            dependency.collect_crds(&subchart_path(path, dependency.name()), into);
        }
    }

    /// Checks that Helm's command line would install the chart: it is not a library chart, and charts/ has all dependencies
    /// of Chart.yaml.
    pub fn check_installable(&self) -> Result<(), NotInstallable> {
        if !matches!(self.metadata.kind.as_str(), "" | "application") {
            return Err(NotInstallable::Kind(self.metadata.kind.clone()));
        }
        let wanted = self.metadata.dependencies.iter().flatten();
        let missing: Vec<_> = wanted
            .map(|wanted| wanted.name.clone())
            .filter(|wanted| !self.dependencies.iter().any(|d| d.name() == wanted))
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(NotInstallable::Missing(missing))
        }
    }
}

/// The path of a subchart's files in its parent.
pub fn subchart_path(parent: &str, name: &str) -> String {
    format!("{parent}/charts/{name}")
}

/// Appends the custom resource definitions among a chart's files, with `path` as the path of the chart.
pub fn crds_of(files: &[File], path: &str, into: &mut Vec<Crd>) {
    for file in files {
        let extension = path::ext(file.name.as_str());
        let manifest = [".yaml", ".yml", ".json"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(extension));
        if file.name.starts_with("crds/") && manifest {
            into.push(Crd {
                filename: path::join(path, file.name.as_str()),
                file: file.clone(),
            });
        }
    }
}
