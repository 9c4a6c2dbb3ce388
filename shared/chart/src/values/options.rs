//! Values from files and single settings, as on Helm's command line.

use flux_yaml::{Map, Value};

use super::{SetError, load_values, merge_maps, set, set_file, set_json, set_literal, set_string};
use crate::yaml::{self, YamlError};

/// The value options of Helm's command line.
#[derive(Clone, Debug, Default)]
pub struct ValueOptions {
    /// `-f`: names and contents of values files.
    pub files: Vec<(String, Vec<u8>)>,
    /// `--set-json`
    pub set_json: Vec<String>,
    /// `--set`
    pub set: Vec<String>,
    /// `--set-string`
    pub set_string: Vec<String>,
    /// `--set-file`
    pub set_file: Vec<String>,
    /// `--set-literal`
    pub set_literal: Vec<String>,
}

/// An option is invalid. Printed with its source, joined by `: `, the text is Helm's.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// A values file is not valid YAML, or not a mapping.
    #[error("failed to parse {file}")]
    File {
        /// Its name.
        file: String,
        /// The error of the YAML parser or decoder.
        source: YamlError,
    },
    /// An argument of `--set-json` that looks like a JSON object is invalid.
    #[error("failed parsing --set-json data JSON: {0}")]
    JsonObject(String),
    /// An argument of `--set-json` is invalid.
    #[error("failed parsing --set-json data {0}")]
    Json(String),
    /// An argument of another option is invalid.
    #[error("failed parsing {option} data")]
    Set {
        /// The option.
        option: &'static str,
        /// The error in the argument.
        source: SetError,
    },
}

impl ValueOptions {
    /// Merges all values: the files, then the options in Helm's fixed order, whatever their order on the command line.
    /// `read` returns the content of the files that `--set-file` names.
    pub fn merge(
        &self,
        read: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Map, ValueError> {
        let mut values = Map::new();
        for (name, text) in &self.files {
            let file = load_values(text).map_err(|source| ValueError::File {
                file: name.clone(),
                source,
            })?;
            merge_maps(&mut values, file);
        }
        for argument in &self.set_json {
            merge_json(&mut values, argument)?;
        }
        let options: [(&'static str, &[String], Setter<'_>); 4] = [
            ("--set", &self.set, &mut set),
            ("--set-string", &self.set_string, &mut set_string),
            ("--set-file", &self.set_file, &mut |into, argument| {
                set_file(into, argument, read)
            }),
            ("--set-literal", &self.set_literal, &mut set_literal),
        ];
        for (option, arguments, apply) in options {
            for argument in arguments {
                apply(&mut values, argument)
                    .map_err(|source| ValueError::Set { option, source })?;
            }
        }
        Ok(values)
    }
}

type Setter<'a> = &'a mut dyn FnMut(&mut Map, &str) -> Result<(), SetError>;

fn merge_json(values: &mut Map, argument: &str) -> Result<(), ValueError> {
    let trimmed = argument.trim();
    if !trimmed.starts_with('{') {
        return set_json(values, argument).map_err(|_| ValueError::Json(argument.to_owned()));
    }
    match yaml::json_prefix(trimmed) {
        Ok((Value::Map(map), length)) if trimmed.len() == length => {
            merge_maps(values, map);
            Ok(())
        }
        _ => Err(ValueError::JsonObject(argument.to_owned())),
    }
}
