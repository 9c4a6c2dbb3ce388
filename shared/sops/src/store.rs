//! Files of each format: read into trees, and trees written in plain (KC-SOPS-029, KC-SOPS-030).

mod dotenv;
mod ini;
mod json;
mod yaml;

use flux_golang::strconv::format_float;

pub(crate) use self::ini::unescaped;
use crate::format::Format;
use crate::value::{Branch, Key, Value};

/// Why a file could not be read. The texts are upstream's, without what they would quote of the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is no YAML.
    #[error("{0}")]
    Yaml(String),
    /// It is YAML that cannot be a SOPS file.
    #[error("Error unmarshaling input YAML: {0}")]
    YamlShape(String),
    /// It is no JSON object, or no INI file.
    #[error("Could not unmarshal input data: {0}")]
    Data(String),
    /// A line is neither a comment nor an assignment.
    #[error("invalid dotenv input line: <redacted>")]
    Dotenv,
}

/// Why a tree cannot be written in a format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is not exactly one document.
    #[error("error emitting binary store: there must be exactly one tree branch")]
    BinaryDocuments,
    /// `data` is not text.
    #[error("error emitting binary store: 'data' key in tree does not have a string value")]
    BinaryText,
    /// There is no `data`.
    #[error("error emitting binary store: no binary data found in tree")]
    BinaryAbsent,
    /// A value is a list or a map.
    #[error("cannot use complex value in dotenv file; offending key {0}")]
    Dotenv(String),
    /// A section is no map.
    #[error(
        "Error marshaling to INI: Error encoding section: Section values should always be TreeBranches"
    )]
    IniSection,
    /// A section or a key has no name.
    #[error("Error marshaling to INI: {0}")]
    IniName(&'static str),
    /// A value is no JSON.
    #[error("Error marshaling to json: {0}")]
    Json(&'static str),
    /// A value is no YAML.
    #[error("Error marshaling to YAML: {0}")]
    Yaml(String),
    /// There is no document; upstream panics here (KC-SOPS-018).
    #[error("runtime error: index out of range [0] with length 0")]
    NoDocument,
    /// A key is not text; upstream panics here (KC-SOPS-018).
    #[error("interface conversion: interface {{}} is {0}, not string")]
    Key(&'static str),
}

/// Reads a file into its documents.
pub(crate) fn read(data: &[u8], format: Format) -> Result<Vec<Branch>, ReadError> {
    match format {
        Format::Binary | Format::Json => Ok(vec![json::read(data)?]),
        Format::Dotenv => Ok(vec![dotenv::read(data)?]),
        Format::Ini => Ok(vec![ini::read(data)?]),
        Format::Yaml => yaml::read(data),
    }
}

/// Writes documents.
pub(crate) fn write(documents: &[Branch], format: Format) -> Result<Vec<u8>, WriteError> {
    let first = || documents.first().ok_or(WriteError::NoDocument);
    match format {
        Format::Binary => binary(documents),
        Format::Dotenv => dotenv::write(first()?),
        Format::Ini => ini::write(documents),
        Format::Json => json::write(first()?),
        Format::Yaml => yaml::write(documents),
    }
}

fn binary(documents: &[Branch]) -> Result<Vec<u8>, WriteError> {
    let [document] = documents else {
        return Err(WriteError::BinaryDocuments);
    };
    let data = document
        .iter()
        .find(|entry| matches!(&entry.key, Key::Text(key) if key == b"data"));
    match data.map(|entry| &entry.value) {
        Some(Value::Text(data)) => Ok(data.clone()),
        Some(_) => Err(WriteError::BinaryText),
        None => Err(WriteError::BinaryAbsent),
    }
}

/// A value as the text of a format without types (`stores.ValToString`).
fn to_text(value: &Value) -> Vec<u8> {
    match value {
        Value::Null => b"<nil>".to_vec(),
        Value::Bool(value) => value.to_string().into_bytes(),
        Value::Int(value) => value.to_string().into_bytes(),
        Value::Float(value) => {
            let text = format_float(*value, b'G', None);
            if text.contains(['.', 'E']) {
                text.into_bytes()
            } else {
                format_float(*value, b'f', Some(1)).into_bytes()
            }
        }
        Value::Text(text) => text.clone(),
        Value::Time(time) => time.seconds().into_bytes(),
        Value::Comment(comment) => comment.text.clone(),
        Value::Bytes(bytes) => {
            let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
            format!("[{}]", numbers.join(" ")).into_bytes()
        }
        // The writers of the formats refuse these or never get here.
        Value::List(_) | Value::Map(_) => Vec::new(),
    }
}
