//! Reads Chart.yaml alone, of an archive or a folder, as source-controller does before it builds a chart.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;
use flux_tree::{Entry, Tree, TreePath};
use tar::Archive;

use super::archive::{MAX_FRAMING_BYTES, chart_path, is_directory, is_extension};
use super::{LoadError, MAX_CHART_BYTES, MAX_ENTRIES};
use crate::Metadata;
use crate::yaml::{self, YamlError};

/// The files with metadata.
const CHART: &str = "Chart.yaml";
const REQUIREMENTS: &str = "requirements.yaml";

/// Why the metadata of a chart cannot be read. Printed with its source, joined by `: `, the text is source-controller's.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// The archive is not gzip.
    #[error("{0}")]
    Gzip(&'static str),
    /// The archive's tar stream is invalid, or unpacks to more than any loader of charts reads.
    #[error(transparent)]
    Tar(io::Error),
    /// An entry of the archive has a path that charts may not have (SC-HCHART-093).
    #[error(transparent)]
    Path(LoadError),
    /// The archive has more than [`MAX_ENTRIES`] entries.
    #[error("chart archive has more than {MAX_ENTRIES} entries")]
    TooManyEntries,
    /// A file with metadata is larger than allowed (SC-HCHART-092).
    #[error("size of '{name}' exceeds '{limit}' bytes limit")]
    TooLarge {
        /// Its name.
        name: String,
        /// The most bytes.
        limit: i64,
    },
    /// A file with metadata is not valid YAML, or has a value of the wrong type.
    #[error("cannot load '{file}'")]
    Yaml {
        /// Its name.
        file: &'static str,
        /// The error of the YAML parser or decoder.
        source: YamlError,
    },
    /// The archive has no Chart.yaml.
    #[error("no 'Chart.yaml' found")]
    Missing,
    /// There is nothing at the path.
    #[error("stat {0}: no such file or directory")]
    NotFound(String),
    /// The folder has no Chart.yaml.
    #[error("open {0}: no such file or directory")]
    NoChartYaml(String),
    /// A folder has the name of a file.
    #[error("'{0}' is a directory")]
    Directory(&'static str),
    /// The metadata is invalid (SC-HCHART-094).
    #[error(transparent)]
    Invalid(LoadError),
}

impl Metadata {
    /// Reads the metadata of a chart archive, whose files with metadata may have `max_file` bytes each. Nothing of the
    /// archive is held in memory. The metadata is not validated.
    ///
    /// # Errors
    /// [`MetadataError`]
    pub fn from_archive(archive: impl Read, max_file: i64) -> Result<Self, MetadataError> {
        let mut input = io::BufReader::new(archive);
        match io::BufRead::fill_buf(&mut input).map_err(MetadataError::Tar)? {
            [] => return Err(MetadataError::Gzip("EOF")),
            [0x1f, 0x8b, ..] => {}
            _ => return Err(MetadataError::Gzip("gzip: invalid header")),
        }
        let unpacked = Bounded {
            stream: MultiGzDecoder::new(input),
            left: MAX_CHART_BYTES + MAX_FRAMING_BYTES,
        };
        let mut found: Option<Self> = None;
        let mut archive = Archive::new(unpacked);
        let entries = archive.entries().map_err(MetadataError::Tar)?;
        for (count, entry) in entries.enumerate() {
            if count >= MAX_ENTRIES {
                return Err(MetadataError::TooManyEntries);
            }
            let entry = entry.map_err(MetadataError::Tar)?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if is_directory(&entry, &path) || is_extension(entry.header().entry_type()) {
                continue;
            }
            let name = match chart_path(&path) {
                Ok(name) => name,
                Err(error) => return Err(MetadataError::Path(error)),
            };
            let Some(file) = [CHART, REQUIREMENTS].into_iter().find(|file| *file == name) else {
                continue;
            };
            let size = entry.size();
            check_size(&path, size, max_file)?;
            let mut text = Vec::new();
            let read = entry.take(size).read_to_end(&mut text);
            read.map_err(MetadataError::Tar)?;
            found.get_or_insert_default().read(file, &text)?;
        }
        found.ok_or(MetadataError::Missing)
    }

    /// Reads the metadata of the chart in `folder` of a tree; requirements.yaml may have `max_file` bytes. It is not
    /// validated.
    ///
    /// # Errors
    /// [`MetadataError`]
    pub fn from_tree(tree: &Tree, folder: &TreePath, max_file: i64) -> Result<Self, MetadataError> {
        let mut metadata = Self::default();
        for file in [CHART, REQUIREMENTS] {
            let path = folder
                .join(file)
                .map_err(|_| MetadataError::NoChartYaml(file.to_owned()))?;
            match tree.get(&path) {
                Some(Entry::Directory) => return Err(MetadataError::Directory(file)),
                None if file == CHART => {
                    return Err(MetadataError::NoChartYaml(format!("/{path}")));
                }
                None => continue,
                Some(_) => {}
            }
            let text = tree.read(&path);
            let text = text.map_err(|_| MetadataError::NoChartYaml(format!("/{path}")))?;
            if file == REQUIREMENTS {
                check_size(file, text.len() as u64, max_file)?;
            }
            metadata.read(file, text)?;
        }
        Ok(metadata)
    }

    /// The sanitized metadata, if it is valid (HE-LOAD-010 to HE-LOAD-013, SC-HCHART-094).
    ///
    /// # Errors
    /// [`LoadError::Invalid`]
    pub fn validated(mut self) -> Result<Self, LoadError> {
        self.validate().map_err(LoadError::Invalid)?;
        Ok(self)
    }

    fn read(&mut self, file: &'static str, text: &[u8]) -> Result<(), MetadataError> {
        let decoded = yaml::value_as_written(text).and_then(|value| self.decode(&value));
        decoded.map_err(|source| MetadataError::Yaml { file, source })?;
        if self.api_version.is_empty() {
            "v1".clone_into(&mut self.api_version);
        }
        Ok(())
    }
}

fn check_size(name: &str, size: u64, limit: i64) -> Result<(), MetadataError> {
    if i64::try_from(size).unwrap_or(i64::MAX) > limit {
        let name = name.to_owned();
        return Err(MetadataError::TooLarge { name, limit });
    }
    Ok(())
}

/// A stream that fails beyond its limit, where a plain one would only end.
struct Bounded<R> {
    stream: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| io::Error::other(LoadError::ChartTooLarge))?;
        Ok(read)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// An archive of these files.
    pub(in crate::load) fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let gzip = GzEncoder::new(Vec::new(), Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        for (name, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let field = &mut header.as_old_mut().name;
            field[..name.len()].copy_from_slice(name.as_bytes()); // any name, however illegal
            header.set_cksum();
            archive.append(&header, *content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    fn read(files: &[(&str, &[u8])]) -> Result<Metadata, String> {
        let read = Metadata::from_archive(&*archive(files), 100);
        read.map_err(|error| {
            use std::error::Error as _;
            let source = error.source().map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        })
    }

    const CHART_YAML: &[u8] = b"name: web\nversion: 1.0.0\n";

    // SC-HCHART-094, SC-HCHART-092
    #[test]
    fn metadata_of_archives() {
        let found = read(&[
            ("web/Chart.yaml", CHART_YAML),
            ("web/charts/sub/Chart.yaml", b"name: sub"),
            (
                "web/requirements.yaml",
                b"dependencies: [{name: sub, version: 1.0.0}]",
            ),
        ])
        .unwrap();
        assert_eq!((&*found.name, &*found.api_version), ("web", "v1"));
        assert_eq!(found.dependencies.as_ref().unwrap()[0].name, "sub");
        assert!(found.validated().is_ok());
        let windows = read(&[("web\\Chart.yaml", CHART_YAML)]).unwrap();
        assert_eq!(windows.name, "web");
        let large = [b'#'; 101];
        for (files, text) in [
            (
                &[("web/values.yaml", &b""[..])][..],
                "no 'Chart.yaml' found",
            ),
            (
                &[("web/Chart.yaml", b"a: [")],
                "cannot load 'Chart.yaml': error converting YAML to JSON: yaml: line 1: did not find expected node content",
            ),
            (
                &[("web/Chart.yaml", &large)],
                "size of 'web/Chart.yaml' exceeds '100' bytes limit",
            ),
            (
                &[("web/requirements.yaml", &large)],
                "size of 'web/requirements.yaml' exceeds '100' bytes limit",
            ),
        ] {
            assert_eq!(read(files).unwrap_err(), text);
        }
        let other = [
            ("web/values.yaml", &large[..]),
            ("web/Chart.yaml", CHART_YAML),
        ];
        assert!(read(&other).is_ok());
        let unnamed = read(&[("web/Chart.yaml", b"version: 1.0.0")]).unwrap();
        assert_eq!(
            unnamed.validated().unwrap_err().to_string(),
            "validation: chart.metadata.name is required"
        );
    }

    // SC-HCHART-093
    #[test]
    fn archives_with_illegal_paths_are_refused() {
        for (path, text) in [
            ("web//abs/x", "chart illegally contains absolute paths"),
            ("web/../../x", "chart illegally references parent directory"),
            ("web/c:/x", "chart contains illegally named files"),
            (
                "file",
                "chart illegally contains content outside the base directory: \"file\"",
            ),
        ] {
            let files = [("web/Chart.yaml", CHART_YAML), (path, b"x")];
            assert_eq!(read(&files).unwrap_err(), text);
        }
    }

    #[test]
    fn broken_archives_are_errors() {
        for (bytes, text) in [(&b""[..], "EOF"), (b"PK", "gzip: invalid header")] {
            let error = Metadata::from_archive(bytes, 100).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
        let whole = archive(&[("web/Chart.yaml", CHART_YAML)]);
        for end in 2..whole.len() - 8 {
            let _ = Metadata::from_archive(&whole[..end], 100); // no panic
        }
        assert!(Metadata::from_archive(&whole[..whole.len() / 2], 100).is_err());
    }

    #[test]
    fn metadata_of_folders() {
        let path = |text: &str| TreePath::new(text).unwrap();
        let mut tree = Tree::new();
        tree.insert_file(path("a/Chart.yaml"), CHART_YAML, false)
            .unwrap();
        tree.insert(path("b"), Entry::Directory).unwrap();
        tree.insert(path("c/Chart.yaml"), Entry::Directory).unwrap();
        let read = |folder: &str| Metadata::from_tree(&tree, &path(folder), 100);
        assert_eq!(read("a").unwrap().name, "web");
        assert_eq!(
            read("b").unwrap_err().to_string(),
            "open /b/Chart.yaml: no such file or directory"
        );
        assert_eq!(
            read("c").unwrap_err().to_string(),
            "'Chart.yaml' is a directory"
        );
        tree.insert_file(path("a/requirements.yaml"), vec![b'#'; 101], false)
            .unwrap();
        let error = Metadata::from_tree(&tree, &path("a"), 100).unwrap_err();
        // SC-HCHART-092
        assert_eq!(
            error.to_string(),
            "size of 'requirements.yaml' exceeds '100' bytes limit"
        );
    }
}
