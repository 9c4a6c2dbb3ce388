//! Loads a chart folder of a source, as source-controller does.

use flux_tree::{ResolveError, Tree, TreePath};

use super::{LoadError, files, folder};
use crate::Chart;

/// Why a chart folder of a source cannot be loaded. Printed with its sources, joined by `: `, the text is
/// source-controller's.
#[derive(Debug, thiserror::Error)]
pub enum SourceLoadError {
    /// `.helmignore` is invalid.
    #[error("cannot load ignore rules for chart")]
    Ignore(#[source] LoadError),
    /// A link leads out of the source.
    #[error(
        "failed to load files from {folder}: cannot load '{name}' file: absolute path traverses outside root boundary"
    )]
    Outside {
        /// The chart's folder.
        folder: String,
        /// The link.
        name: String,
    },
    /// A file cannot be read, or is too large.
    #[error("failed to load files from {folder}")]
    Files {
        /// The chart's folder.
        folder: String,
        /// The error of the file.
        source: LoadError,
    },
    /// The files are not a chart.
    #[error("failed to load chart from {folder}")]
    Chart {
        /// The chart's folder.
        folder: String,
        /// The error of the chart.
        source: LoadError,
    },
}

impl Chart {
    /// Loads the chart in `folder` of a source, without the files excluded by its `.helmignore` (SC-HCHART-048). Links are
    /// followed within the source only. Each file may have `max_file` bytes; zero and less is no limit (SC-HCHART-092).
    ///
    /// # Errors
    /// [`SourceLoadError`]
    pub fn from_source(
        source: &Tree,
        folder: &TreePath,
        max_file: i64,
    ) -> Result<Self, SourceLoadError> {
        let limit = u64::try_from(max_file).ok().filter(|limit| *limit > 0);
        let too_large = |name: &str, size: u64| {
            let limit = limit.filter(|limit| size > *limit)?;
            let name = name.to_owned();
            Some(LoadError::FileBeyondLimit { name, size, limit })
        };
        let shown = || match folder.as_str() {
            "" => "/".to_owned(),
            path => format!("/{path}/"),
        };
        let found = folder::files(source, folder, &too_large);
        let found = found.map_err(|error| match error {
            LoadError::Ignore(_) => SourceLoadError::Ignore(error),
            LoadError::Symlink(name, ResolveError::Escapes { .. }) => SourceLoadError::Outside {
                folder: shown(),
                name,
            },
            source => SourceLoadError::Files {
                folder: shown(),
                source,
            },
        })?;
        files::chart(found, 0).map_err(|source| SourceLoadError::Chart {
            folder: shown(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use flux_tree::Entry;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::new();
        for (name, text) in files {
            tree.insert_file(path(name), (*text).to_owned(), false)
                .unwrap();
        }
        tree
    }

    fn text(error: &SourceLoadError) -> String {
        let source = error.source().map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    }

    const CHART: &str = "apiVersion: v2\nname: web\nversion: 1.0.0\n";

    // SC-HCHART-048
    #[test]
    fn a_folder_is_loaded_within_its_source() {
        let mut source = tree(&[
            ("app/Chart.yaml", CHART),
            ("app/.helmignore", "*.md\n"),
            ("app/README.md", ""),
            ("app/templates/.hidden", ""),
            ("app/values.yaml", "\u{feff}a: 1\n"),
            ("common/a.yaml", "a"),
        ]);
        source
            .insert(
                path("app/templates/a.yaml"),
                Entry::Symlink("../../common/a.yaml".into()),
            )
            .unwrap();
        let chart = Chart::from_source(&source, &path("app"), 100).unwrap();
        let names: Vec<_> = chart.raw.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(
            names,
            [
                ".helmignore",
                "Chart.yaml",
                "templates/a.yaml",
                "values.yaml"
            ]
        );
        assert_eq!(&*chart.templates[0].data, b"a");
        assert_eq!(&*chart.raw[3].data, b"a: 1\n");

        source
            .insert(path("app/x"), Entry::Symlink("../../etc/passwd".into()))
            .unwrap();
        let error = Chart::from_source(&source, &path("app"), 100).unwrap_err();
        assert_eq!(
            text(&error),
            "failed to load files from /app/: cannot load 'x' file: absolute path traverses outside root boundary"
        );
    }

    // SC-HCHART-092
    #[test]
    fn the_size_of_each_file_is_limited() {
        let source = tree(&[("app/Chart.yaml", CHART), ("app/files/large", "0123456789")]);
        let load = |limit: i64| Chart::from_source(&source, &path("app"), limit);
        assert!(load(40).is_ok());
        assert_eq!(
            text(&load(39).unwrap_err()),
            "failed to load files from /app/: cannot load file Chart.yaml as file size (40) exceeds limit (39)"
        );
        assert!(load(0).is_ok() && load(-1).is_ok());
    }

    #[test]
    fn the_step_that_failed_is_named() {
        for (files, want) in [
            (
                &[("app/Chart.yaml", CHART), ("app/.helmignore", "a**")][..],
                "cannot load ignore rules for chart: double-star (**) syntax is not supported",
            ),
            (
                &[("app/values.yaml", "")],
                "failed to load chart from /app/: Chart.yaml file is missing",
            ),
        ] {
            let error = Chart::from_source(&tree(files), &path("app"), 100).unwrap_err();
            assert_eq!(text(&error), want);
        }
    }
}
