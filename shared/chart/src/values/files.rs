//! Values files that replace the default values of a chart (SC-HCHART-070 to SC-HCHART-073).

use bytes::Bytes;
use flux_budget::{Claim, Exhausted};
use flux_golang::path;
use flux_yaml::{Map, Value};

use super::merge_maps;
use crate::Chart;
use crate::yaml::{self, YamlError};

/// The file with the default values.
const VALUES: &str = "values.yaml";

/// Merged values, and the files that contributed to them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MergedValues {
    /// The values.
    pub values: Map,
    /// The files as they were named.
    pub files: Vec<String>,
}

/// Why values files cannot be merged. Printed with its source, joined by `: `, the text is source-controller's.
#[derive(Debug, thiserror::Error)]
pub enum ValuesFileError {
    /// The chart has no such file.
    #[error("no values file found at path '{0}'")]
    Missing(String),
    /// The source has no such file.
    #[error("no values file found at path '{path}' (reference '{reference}')")]
    MissingInSource {
        /// The path in the source.
        path: String,
        /// The path as it was named.
        reference: String,
    },
    /// A file is not valid YAML, or not a mapping.
    #[error("unmarshaling values from '{path}' failed")]
    Yaml {
        /// The path as it was named.
        path: String,
        /// The error of the YAML parser or decoder.
        source: YamlError,
    },
    /// The chart has no default values that could be replaced.
    #[error("failed to locate values file: values.yaml")]
    NoDefaults,
    /// The merged values cannot be written.
    #[error("{0}")]
    Write(String),
    /// The values do not fit into memory once they are read, or written.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// A values file of a source.
#[derive(Clone, Debug)]
pub struct SourceValues {
    /// The path as it was named.
    pub reference: String,
    /// The path in the source, with a leading slash.
    pub path: String,
    /// Its content, unless there is no such file.
    pub content: Option<Bytes>,
}

/// Merges files of a source in their order: later keys win, mappings are merged, lists replaced. Missing files are skipped
/// if `ignore_missing` (SC-HCHART-047, SC-HCHART-070). The memory of what is read is taken through `claim`; a file counts as
/// often as it is named.
///
/// # Errors
/// [`ValuesFileError`]
pub fn merge_source_values(
    files: Vec<SourceValues>,
    ignore_missing: bool,
    claim: &Claim,
) -> Result<MergedValues, ValuesFileError> {
    let mut merged = MergedValues::default();
    for file in files {
        match file.content {
            Some(content) => merged.add(file.reference, parsed(&content, claim))?,
            None if ignore_missing => {}
            None => {
                return Err(ValuesFileError::MissingInSource {
                    path: file.path,
                    reference: file.reference,
                });
            }
        }
    }
    Ok(merged)
}

impl MergedValues {
    fn add(&mut self, path: String, values: Result<Map, YamlError>) -> Result<(), ValuesFileError> {
        match values {
            Ok(values) => {
                merge_maps(&mut self.values, values);
                self.files.push(path);
                Ok(())
            }
            Err(source) => Err(match yaml::exhausted(&source) {
                Some(exhausted) => ValuesFileError::Memory(exhausted),
                None => ValuesFileError::Yaml { path, source },
            }),
        }
    }
}

impl Chart {
    /// Merges files of the chart, as [`merge_source_values`] does; `values.yaml` stands for the default values
    /// (SC-HCHART-071).
    ///
    /// # Errors
    /// [`ValuesFileError`]
    pub fn merge_values_files(
        &self,
        paths: &[String],
        ignore_missing: bool,
        claim: &Claim,
    ) -> Result<MergedValues, ValuesFileError> {
        let mut merged = MergedValues::default();
        for named in paths {
            let name = path::clean(named.as_str());
            if name == VALUES {
                claim.take(self.size() as u64)?;
                merged.add(named.clone(), Ok(self.values.clone().unwrap_or_default()))?;
                continue;
            }
            match self.files.iter().find(|file| file.name == name) {
                Some(file) => merged.add(named.clone(), parsed(&file.data, claim))?,
                None if ignore_missing => {}
                None => return Err(ValuesFileError::Missing(named.clone())),
            }
        }
        Ok(merged)
    }

    /// Replaces the default values, and returns whether that changed them (SC-HCHART-072). The memory of what is written is
    /// taken through `claim`.
    ///
    /// # Errors
    /// The chart has no default values, or the values cannot be written.
    pub fn replace_values(&mut self, values: Map, claim: &Claim) -> Result<bool, ValuesFileError> {
        let values = Value::Map(values);
        // Twice, since a text that grows is copied.
        claim.take(2 * flux_yaml::sigs::written_bound(&values))?;
        let text = match &values {
            Value::Map(map) if map.is_empty() => String::new(),
            values => flux_yaml::sigs::to_string(values)
                .map_err(|error| ValuesFileError::Write(error.to_string()))?,
        };
        let file = self.raw.iter_mut().find(|file| file.name == VALUES);
        let file = file.ok_or(ValuesFileError::NoDefaults)?;
        if file.data == text.as_bytes() {
            return Ok(false);
        }
        file.data = text.into();
        if let Value::Map(map) = values {
            self.values = Some(map);
        }
        Ok(true)
    }
}

/// The values of one file: its first document.
fn parsed(text: &[u8], claim: &Claim) -> Result<Map, YamlError> {
    let mut value = yaml::value_within(text, claim)?;
    value.floats_only();
    match value {
        Value::Map(map) => Ok(map),
        Value::Null => Ok(Map::new()),
        other => Err(YamlError::Decode(format!(
            "cannot unmarshal {} into Go value of type map[string]interface {{}}",
            yaml::json_kind(&other)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::File;

    fn chart(files: &[(&str, &str)]) -> Chart {
        let metadata = ("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n");
        let files = std::iter::once(&metadata).chain(files);
        let files = files.map(|(name, text)| File::new(*name, (*text).to_owned()));
        Chart::from_files(files.collect()).unwrap()
    }

    fn text(error: &ValuesFileError) -> String {
        let source = error.source().map(|source| format!(": {source}"));
        format!("{error}{}", source.unwrap_or_default())
    }

    /// The new values.yaml with the files that contributed.
    fn merged(chart: &mut Chart, paths: &[&str], ignore: bool) -> Result<(String, String), String> {
        let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
        let merge = |chart: &mut Chart| {
            let claim = Claim::unlimited();
            let merged = chart.merge_values_files(&paths, ignore, &claim)?;
            chart.replace_values(merged.values, &claim)?;
            Ok(merged.files)
        };
        let files = merge(chart).map_err(|error| text(&error))?;
        let raw = chart.raw.iter().find(|file| file.name == "values.yaml");
        let values = raw.map_or(&b""[..], |file| &file.data);
        Ok((
            String::from_utf8_lossy(values).into_owned(),
            files.join(" "),
        ))
    }

    #[test]
    fn values_files_replace_the_default_values() {
        let files = [
            (
                "values.yaml",
                "# comment\nb: {x: 1, w: [1, 2]}\na: one\nm: 1\n",
            ),
            (
                "b.yaml",
                "b: {w: [3], z: 1000000}\nm: null\n---\nlater: 1\n",
            ),
            ("dir/empty.yaml", ""),
            ("list.yaml", "[1]"),
            ("broken.yaml", "a: ["),
        ];
        for (paths, ignore, want) in [
            // SC-HCHART-070: later keys win, mappings merge, lists are replaced, null overwrites
            (
                &["values.yaml", "./b.yaml"][..],
                false,
                Ok((
                    "a: one\nb:\n  w:\n  - 3\n  x: 1\n  z: 1000000\nm: null\n",
                    "values.yaml ./b.yaml",
                )),
            ),
            // SC-HCHART-070, SC-HCHART-071: the default values count only if they are named
            (
                &["b.yaml"],
                false,
                Ok(("b:\n  w:\n  - 3\n  z: 1000000\nm: null\n", "b.yaml")),
            ),
            // SC-HCHART-072
            (&["gone.yaml", "dir/../gone"], true, Ok(("", ""))),
            (&["dir/empty.yaml"], false, Ok(("", "dir/empty.yaml"))),
            (
                &["gone.yaml"],
                false,
                Err("no values file found at path 'gone.yaml'"),
            ),
            // SC-HCHART-073
            (
                &["list.yaml"],
                false,
                Err(
                    "unmarshaling values from 'list.yaml' failed: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
                ),
            ),
            (
                &["broken.yaml"],
                true,
                Err(
                    "unmarshaling values from 'broken.yaml' failed: error converting YAML to JSON: yaml: line 1: did not find expected node content",
                ),
            ),
        ] {
            let want = want
                .map(|(values, files)| (values.to_owned(), files.to_owned()))
                .map_err(str::to_owned);
            assert_eq!(merged(&mut chart(&files), paths, ignore), want, "{paths:?}");
        }
    }

    // SC-HCHART-072
    #[test]
    fn unchanged_values_are_no_change() {
        let mut web = chart(&[("values.yaml", "a: 1\n"), ("a.yaml", "a: 1")]);
        let claim = Claim::unlimited();
        let values = web.merge_values_files(&["a.yaml".to_owned()], false, &claim);
        assert!(!web.replace_values(values.unwrap().values, &claim).unwrap());
        let mut without = chart(&[("a.yaml", "a: 1")]);
        let error = without.replace_values(Map::new(), &claim).unwrap_err();
        assert_eq!(text(&error), "failed to locate values file: values.yaml");
    }

    // SC-HCHART-047
    #[test]
    fn values_files_of_a_source() {
        let file = |reference: &str, content: Option<&'static str>| SourceValues {
            reference: reference.to_owned(),
            path: format!("/{reference}"),
            content: content.map(Bytes::from),
        };
        let files = vec![
            file("a", Some("x: 1")),
            file("b", None),
            file("c", Some("y: 2")),
        ];
        let error = merge_source_values(files.clone(), false, &Claim::unlimited()).unwrap_err();
        assert_eq!(
            text(&error),
            "no values file found at path '/b' (reference 'b')"
        );
        let merged = merge_source_values(files, true, &Claim::unlimited()).unwrap();
        assert_eq!(merged.files, ["a", "c"]);
        assert_eq!(merged.values.len(), 2);
    }

    #[test]
    fn the_memory_of_values_files_is_claimed() {
        let items = format!("a: [{}]\n", "1,".repeat(10_000));
        let deep = format!(
            "{}[{}]{}",
            "{a: ".repeat(200),
            "1,".repeat(20_000),
            "}".repeat(200)
        );
        let files = [("values.yaml", ""), ("a.yaml", &*items), ("b.yaml", &*deep)];
        let budget = flux_budget::Budget::new(8 << 20);
        let merge = |paths: &[&str], budget: &flux_budget::Budget| {
            let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
            let (mut chart, claim) = (chart(&files), budget.claim());
            let merged = chart.merge_values_files(&paths, false, &claim)?;
            chart.replace_values(merged.values, &claim)
        };
        assert!(merge(&["a.yaml"], &budget).unwrap());
        for paths in [&["a.yaml"; 40][..], &["b.yaml"]] {
            let error = merge(paths, &budget).unwrap_err();
            assert!(matches!(error, ValuesFileError::Memory(_)), "{error}");
        }
        let named = |_| SourceValues {
            reference: "a".to_owned(),
            path: "/a".to_owned(),
            content: Some(Bytes::from(items.clone())),
        };
        let error = merge_source_values((0..40).map(named).collect(), false, &budget.claim());
        assert!(matches!(error, Err(ValuesFileError::Memory(_))));
    }
}
