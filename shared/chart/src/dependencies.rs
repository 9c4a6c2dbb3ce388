//! The dependencies that a chart folder lacks, and where they are: in the same source, or in a repository. What is in a
//! repository the caller fetches (SC-HCHART-060 to SC-HCHART-065).

use flux_golang::path;
use flux_golang::url::Url;
use flux_semver::{ConstraintError, Constraints, Version, VersionError};
use flux_tree::{Tree, TreePath};

use crate::load::{LoadError, SourceLoadError};
use crate::{ApiVersionError, Chart, Dependency};

/// The scheme of dependencies in the same source.
const FILE: &str = "file://";
/// The schemes of repositories.
const OCI: &str = "oci";
const HTTP: [&str; 2] = ["https://", "http://"];
/// The first character of a repository's alias.
const ALIAS: char = '@';

/// A dependency that charts/ lacks.
#[derive(Clone, Debug, PartialEq)]
pub struct Missing {
    /// The name of its chart in the parent: its alias, or its own name.
    pub name: String,
    /// The dependency.
    pub dependency: Dependency,
}

/// Why a dependency in the same source cannot be added. Printed with its sources, joined by `: `, the text is
/// source-controller's.
#[derive(Debug, thiserror::Error)]
pub enum LocalDependencyError {
    /// Its repository is not a URL.
    #[error("failed to parse alleged local chart reference: {0}")]
    Url(String),
    /// There is nothing at its path.
    #[error("no chart found at '{path}' (reference '{reference}')")]
    Missing {
        /// The path in the source.
        path: String,
        /// Its repository.
        reference: String,
    },
    /// Its version is not a constraint.
    #[error("invalid version/constraint format '{text}'")]
    Constraint {
        /// The version.
        text: String,
        /// Why.
        source: ConstraintError,
    },
    /// It cannot be loaded.
    #[error("failed to load chart from '{path}' (reference '{reference}')")]
    Load {
        /// The path in the source.
        path: String,
        /// Its repository.
        reference: String,
        /// Why.
        source: Box<LocalLoadError>,
    },
    /// The chart's version is not a semantic version.
    #[error(transparent)]
    Version(VersionError),
    /// The chart's version does not satisfy the constraint.
    #[error("can't get a valid version for constraint '{0}'")]
    NoMatch(String),
}

/// Why a chart of a source cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LocalLoadError {
    /// The folder is not a chart.
    #[error(transparent)]
    Folder(#[from] SourceLoadError),
    /// The archive is not a chart.
    #[error(transparent)]
    Archive(#[from] LoadError),
    /// The archive has a chart of an unsupported version of the chart API (SC-HCHART-077).
    #[error(transparent)]
    ApiVersion(#[from] ApiVersionError),
}

/// Why the repository of a dependency cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryUrlError {
    /// It is not a URL.
    #[error("{0}")]
    Parse(String),
    /// It is an alias, which only the user's own command line can resolve.
    #[error("aliased repository dependency is not supported: {0}")]
    Alias(String),
    /// It has another scheme.
    #[error("invalid dependency repository URL: {0}")]
    Scheme(String),
}

impl Chart {
    /// The dependencies of Chart.lock, or else of Chart.yaml, that charts/ lacks. As many charts as dependencies count as
    /// complete, whatever they are (SC-HCHART-060).
    pub fn missing_dependencies(&self) -> Vec<Missing> {
        let wanted = match &self.lock {
            Some(lock) => &lock.dependencies,
            None => &self.metadata.dependencies,
        };
        let wanted = wanted.as_deref().unwrap_or_default();
        if self.dependencies.len() == wanted.len() {
            return Vec::new();
        }
        let mut missing: Vec<Missing> = Vec::new();
        for dependency in wanted {
            let name = dependency.name_in_parent();
            if self.dependencies.iter().any(|chart| chart.name() == name) {
                continue;
            }
            let found = Missing {
                name: name.to_owned(),
                dependency: dependency.clone(),
            };
            match missing.iter_mut().find(|known| known.name == name) {
                Some(known) => *known = found, // a later one counts, as in upstream
                None => missing.push(found),
            }
        }
        missing
    }

    /// Loads the chart at `path` of a source: a folder, or an archive (SC-HCHART-041).
    ///
    /// # Errors
    /// [`LocalLoadError`]
    pub fn from_source_path(
        source: &Tree,
        path: &TreePath,
        max_file: i64,
    ) -> Result<Self, LocalLoadError> {
        if source.is_dir(path) {
            return Ok(Self::from_source(source, path, max_file)?);
        }
        let archive = source
            .read(path)
            .map_err(|error| LoadError::Symlink(path.as_str().to_owned(), error))?;
        let chart = Self::from_archive(archive)?;
        chart.metadata.check_api_version()?;
        Ok(chart)
    }

    /// Adds a subchart for a dependency, under its alias if it has one (SC-HCHART-065).
    pub fn add_dependency(&mut self, mut chart: Self, dependency: &Dependency) {
        if !dependency.alias.is_empty() {
            chart.metadata.name.clone_from(&dependency.alias);
        }
        self.dependencies.push(chart);
    }
}

impl Dependency {
    /// The name of its chart in the parent.
    pub fn name_in_parent(&self) -> &str {
        if self.alias.is_empty() {
            &self.name
        } else {
            &self.alias
        }
    }

    /// Whether it is in the same source (SC-HCHART-061).
    pub fn is_local(&self) -> bool {
        self.repository.is_empty() || self.repository.starts_with(FILE)
    }

    /// Its path in the source, for the chart at `chart`. It does not leave the source (SC-HCHART-061).
    ///
    /// # Errors
    /// Its repository is not a URL.
    pub fn local_path(&self, chart: &str) -> Result<TreePath, LocalDependencyError> {
        let below = if self.repository.is_empty() {
            format!("charts/{}", self.name)
        } else {
            let url = Url::parse(self.repository.as_bytes()).map_err(LocalDependencyError::Url)?;
            let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
            format!("{}/{}", text(&url.host), text(&url.path))
        };
        let joined = path::join(chart, below.as_str());
        let clamped = TreePath::root().join_clamped(&joined);
        clamped.map_err(|error| LocalDependencyError::Url(error.to_string()))
    }

    /// Loads its chart at `path` of the source, whose version has to satisfy the constraint.
    ///
    /// # Errors
    /// [`LocalDependencyError`]
    pub fn load_local(
        &self,
        source: &Tree,
        path: &TreePath,
        max_file: i64,
    ) -> Result<Chart, LocalDependencyError> {
        let shown = || format!("/{}", path.as_str());
        if source.get(path).is_none() {
            return Err(LocalDependencyError::Missing {
                path: shown(),
                reference: self.repository.clone(),
            });
        }
        let constraint = Constraints::parse(&self.version).map_err(|source| {
            LocalDependencyError::Constraint {
                text: self.version.clone(),
                source,
            }
        })?;
        let chart = Chart::from_source_path(source, path, max_file);
        let chart = chart.map_err(|source| LocalDependencyError::Load {
            path: shown(),
            reference: self.repository.clone(),
            source: source.into(),
        })?;
        let version = Version::parse(&chart.metadata.version);
        if constraint.check(&version.map_err(LocalDependencyError::Version)?) {
            Ok(chart)
        } else {
            Err(LocalDependencyError::NoMatch(self.version.clone()))
        }
    }

    /// The normalised URL of its repository (SC-HCHART-062, SC-HCHART-064).
    ///
    /// # Errors
    /// [`RepositoryUrlError`]
    pub fn repository_url(&self) -> Result<String, RepositoryUrlError> {
        let url = normalize_url(&self.repository).map_err(RepositoryUrlError::Parse)?;
        if url.starts_with(OCI) || HTTP.iter().any(|scheme| url.starts_with(scheme)) {
            Ok(url)
        } else if url.starts_with(ALIAS) {
            Err(RepositoryUrlError::Alias(url))
        } else {
            Err(RepositoryUrlError::Scheme(url))
        }
    }
}

/// The URL of a repository in the form by which repositories are compared: without trailing slashes for OCI, with one
/// otherwise (SC-HCHART-064).
///
/// # Errors
/// It is not a URL. The text, which is Go's, may quote it.
pub fn normalize_url(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let mut url = Url::parse(text.as_bytes())?;
    url.trim_path();
    if url.scheme != OCI.as_bytes() {
        url.end_path();
    }
    Ok(String::from_utf8_lossy(&url.text()).into_owned())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::{File, Lock};

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn dependency(name: &str, version: &str, repository: &str) -> Dependency {
        Dependency {
            name: name.to_owned(),
            version: version.to_owned(),
            repository: repository.to_owned(),
            ..Dependency::default()
        }
    }

    fn chart(name: &str, version: &str) -> Chart {
        let text = format!("apiVersion: v2\nname: {name}\nversion: {version}\n");
        Chart::from_files(vec![File::new("Chart.yaml", text)]).unwrap()
    }

    fn names(chart: &Chart) -> Vec<String> {
        let missing = chart.missing_dependencies();
        missing.into_iter().map(|missing| missing.name).collect()
    }

    // SC-HCHART-060, SC-HCHART-065
    #[test]
    fn what_charts_lacks_is_missing() {
        let mut parent = chart("web", "1.0.0");
        assert!(names(&parent).is_empty());
        let aliased = Dependency {
            alias: "second".to_owned(),
            ..dependency("a", "1", "")
        };
        parent.metadata.dependencies = Some(vec![
            dependency("a", "1", ""),
            aliased.clone(),
            dependency("b", "1", ""),
        ]);
        assert_eq!(names(&parent), ["a", "second", "b"]);
        parent.add_dependency(chart("a", "1.0.0"), &aliased);
        assert_eq!(names(&parent), ["a", "b"]);
        // FR-H-089: the right number of charts counts as complete
        for other in ["x", "y"] {
            parent.dependencies.push(chart(other, "1.0.0"));
        }
        assert!(names(&parent).is_empty());
        parent.lock = Some(Lock {
            dependencies: Some(vec![dependency("locked", "1.0.0", "")]),
            ..Lock::default()
        });
        assert_eq!(names(&parent), ["locked"]);
    }

    // SC-HCHART-061
    #[test]
    fn local_dependencies_stay_in_the_source() {
        for (chart, repository, want) in [
            ("charts/app", "", "charts/app/charts/dep"),
            ("charts/app", "file://../common", "charts/common"),
            ("charts/app", "file://./sub", "charts/app/sub"),
            ("charts/app", "file://sub/x", "charts/app/sub/x"),
            ("charts/app", "file:///sub", "charts/app/sub"),
            ("charts/app", "file://../../../../etc", "etc"),
            (".", "file://common", "common"),
        ] {
            let dependency = dependency("dep", "1", repository);
            assert!(dependency.is_local());
            assert_eq!(dependency.local_path(chart).unwrap().as_str(), want);
        }
        assert!(!dependency("dep", "1", "https://a").is_local());
    }

    // SC-HCHART-061
    #[test]
    fn a_local_dependency_satisfies_its_constraint() {
        let mut source = Tree::new();
        for (folder, version) in [("good", "1.2.3"), ("broken", "x")] {
            let text = format!("apiVersion: v2\nname: dep\nversion: {version}\n");
            let name = path(&format!("{folder}/Chart.yaml"));
            source.insert_file(name, text, false).unwrap();
        }
        let archive = chart("dep", "1.5.0").package().unwrap();
        source.insert_file(path("dep.tgz"), archive, false).unwrap();
        // SC-HCHART-077
        let mut third = chart("dep", "1.0.0");
        third.metadata.api_version = "v3".to_owned();
        let third = third.package().unwrap();
        source.insert_file(path("v3.tgz"), third, false).unwrap();
        let load = |at: &str, version: &str| {
            let loaded =
                dependency("dep", version, "file://x").load_local(&source, &path(at), 1000);
            loaded.map(|chart| chart.metadata.version).map_err(|error| {
                let source = error.source().map(|source| format!(": {source}"));
                format!("{error}{}", source.unwrap_or_default())
            })
        };
        assert_eq!(load("good", "^1.0.0").unwrap(), "1.2.3");
        assert_eq!(load("dep.tgz", ">=1.4").unwrap(), "1.5.0");
        for (at, version, want) in [
            (
                "gone",
                "1",
                "no chart found at '/gone' (reference 'file://x')",
            ),
            (
                "good",
                ">=2",
                "can't get a valid version for constraint '>=2'",
            ),
            (
                "good",
                "x.y",
                "invalid version/constraint format 'x.y': improper constraint: \"x.y\"",
            ),
            (
                "broken",
                "1",
                "failed to load chart from '/broken' (reference 'file://x'): failed to load chart from /broken/",
            ),
            (
                "v3.tgz",
                "1",
                "failed to load chart from '/v3.tgz' (reference 'file://x'): only the Chart API v2 is supported",
            ),
        ] {
            assert_eq!(load(at, version).unwrap_err(), want);
        }
    }

    // SC-HCHART-062, SC-HCHART-064
    #[test]
    fn repositories_are_compared_by_normalised_urls() {
        for (text, want) in [
            ("https://a.example/charts", Ok("https://a.example/charts/")),
            (
                "https://a.example/charts//",
                Ok("https://a.example/charts/"),
            ),
            ("http://a.example", Ok("http://a.example/")),
            (
                "https://a.example/a%2Fb?x=y",
                Ok("https://a.example/a%2Fb/?x=y"),
            ),
            ("oci://a.example/charts//", Ok("oci://a.example/charts")),
            (
                "@stable",
                Err("aliased repository dependency is not supported: @stable/"),
            ),
            (
                "alias:stable",
                Err("invalid dependency repository URL: alias:stable"),
            ),
            (
                "ftp://a.example",
                Err("invalid dependency repository URL: ftp://a.example/"),
            ),
            (
                "https://[::1/",
                Err("parse \"https://[::1/\": missing ']' in host"),
            ),
        ] {
            let found = dependency("a", "1", text).repository_url();
            let found = found.map_err(|error| error.to_string());
            let want = want.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(found, want, "{text}");
        }
    }
}
