//! Files of sources and artifacts that are read by themselves: inputs that an artifact exports, metadata of namespaces.

use std::collections::BTreeMap;
use std::io;

use flux_api::helm::Values;
use flux_golang::strconv::quote;
use flux_tree::{Entry, TreePath};
use flux_yaml::{Value, json};

use super::copy::{SourceFiles, split_alias};
use super::merge::{MergeError, mapping};
use super::staging::{Blob, Node, Staging};

/// The alias of the artifact itself (SW-GEN-215).
pub(super) const ARTIFACT: &str = "artifact";
/// The most bytes of a file.
const MAX_FILE: u64 = 1 << 20;

/// Why a file cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    #[error("path format must be '@alias/path'")]
    Format,
    #[error("source alias {} not found", quote(.0))]
    Alias(String),
    #[error("path {} must stay within the source root", quote(.0))]
    Outside(String),
    #[error("open {0}: no such file or directory")]
    Missing(String),
    #[error("read {0}: is a directory")]
    Directory(String),
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// Why an artifact exports no inputs.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputsError {
    #[error("failed to read inputs file {}", quote(.0))]
    Read(String, #[source] FileError),
    #[error("failed to parse inputs file {}", quote(.0))]
    Parse(String, #[source] MergeError),
    #[error("failed to process inputs file {}", quote(.0))]
    Process(String, #[source] flux_yaml::Error),
}

/// The content of the file `@alias/path`.
pub(super) fn read(
    text: &str,
    sources: &SourceFiles,
    staging: &Staging,
) -> Result<Vec<u8>, FileError> {
    let (alias, below) = split_alias(text).ok_or(FileError::Format)?;
    let outside = || FileError::Outside(below.to_owned());
    let path = TreePath::new(below).map_err(|_| outside())?;
    if path.is_root() || below.starts_with('/') {
        return Err(outside());
    }
    let blob = if alias == ARTIFACT {
        match staging.get(&path) {
            Some(Node::File { blob, .. }) => blob.clone(),
            Some(Node::Directory) => return Err(FileError::Directory(below.to_owned())),
            None => return Err(FileError::Missing(below.to_owned())),
        }
    } else {
        let files = sources.get(alias);
        let files = files.ok_or_else(|| FileError::Alias(alias.to_owned()))?;
        match files.handles().get(&path) {
            Some(Entry::File(file)) => Blob::Spooled {
                of: files.clone(),
                handle: file.content.clone(),
            },
            Some(Entry::Directory) => return Err(FileError::Directory(below.to_owned())),
            Some(Entry::Symlink(_)) | None => return Err(FileError::Missing(below.to_owned())),
        }
    };
    Ok(blob.read(MAX_FILE)?)
}

/// What the file `@alias/path` exports: its keys with their values (SW-GEN-215).
pub(super) fn exported(
    text: &str,
    sources: &SourceFiles,
    staging: &Staging,
) -> Result<BTreeMap<String, Values>, InputsError> {
    let file = || text.to_owned();
    let content = read(text, sources, staging);
    let content = content.map_err(|error| InputsError::Read(file(), error))?;
    let map =
        mapping(&content, staging.claim()).map_err(|error| InputsError::Parse(file(), error))?;
    let values = map.unwrap_or_default().into_iter().map(|(key, mut value)| {
        value.floats_only();
        Ok((key, Values(as_json(&value)?)))
    });
    let values: Result<_, flux_yaml::Error> = values.collect();
    values.map_err(|error| InputsError::Process(file(), error))
}

/// The value as JSON, with numbers as Go writes them.
fn as_json(value: &Value) -> Result<serde_json::Value, flux_yaml::Error> {
    let text = json::to_string(value, json::Escape::Html)?;
    Ok(serde_json::from_str(&text).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flux_budget::Claim;
    use serde_json::json;

    use super::*;

    fn staging(text: &'static str) -> Staging {
        let mut staging = Staging::new(Claim::unlimited());
        let path = TreePath::new("in/values.yaml").unwrap();
        let blob = Blob::Inline(Bytes::from_static(text.as_bytes()));
        staging.put(&path, false, blob).unwrap();
        staging
    }

    fn export(path: &str, text: &'static str) -> Result<serde_json::Value, String> {
        let exported = exported(path, &SourceFiles::new(), &staging(text));
        let shown = |error: InputsError| flux_runtime::outcome::chain(&error);
        Ok(serde_json::to_value(exported.map_err(shown)?).unwrap())
    }

    // SW-GEN-215
    #[test]
    fn the_keys_of_a_file_are_exported() {
        let path = "@artifact/in/values.yaml";
        let text = "replicas: 3\nbig: 1e3\nlist: [a, {b: null}]\nmap:\n  on: yes\n";
        assert_eq!(
            export(path, text).unwrap(),
            json!({"replicas": 3, "big": 1000, "list": ["a", {"b": null}], "map": {"true": true}})
        );
        assert_eq!(export(path, "").unwrap(), json!({}));
        for (path, text, expected) in [
            (
                path,
                "- a",
                "failed to parse inputs file \"@artifact/in/values.yaml\": cannot unmarshal YAML document: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            (
                "@artifact/in",
                "",
                "failed to read inputs file \"@artifact/in\": read in: is a directory",
            ),
            (
                "@artifact/none",
                "",
                "failed to read inputs file \"@artifact/none\": open none: no such file or directory",
            ),
            (
                "@artifact/../x",
                "",
                "failed to read inputs file \"@artifact/../x\": path \"../x\" must stay within the source root",
            ),
            (
                "@other/x",
                "",
                "failed to read inputs file \"@other/x\": source alias \"other\" not found",
            ),
        ] {
            assert_eq!(export(path, text).unwrap_err(), expected);
        }
    }

    #[test]
    fn large_files_are_refused() {
        let text: &'static str = Box::leak("x".repeat(MAX_FILE as usize + 1).into_boxed_str());
        let error = export("@artifact/in/values.yaml", text).unwrap_err();
        assert!(
            error.ends_with("file exceeds the maximum size of 1048576 bytes"),
            "{error}"
        );
    }
}
