//! Writes a definition as YAML.

use std::fmt::Write as _;

use serde_json::Value;

use crate::Definition;

impl Definition {
    /// The object as a YAML document, keys sorted, in the plain subset that every parser reads alike: a text is either
    /// free of special characters or quoted as in JSON.
    pub fn to_yaml(&self) -> String {
        let mut out = String::from("---\n");
        block(&mut out, &self.object, 0);
        out
    }
}

/// The `kustomization.yaml` that lists the files of these definitions.
pub fn kustomization(definitions: &[Definition]) -> String {
    let mut names: Vec<&str> = definitions
        .iter()
        .map(|definition| definition.file_name.as_str())
        .collect();
    names.sort_unstable();
    let mut out = String::from(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n",
    );
    for name in names {
        let _ = writeln!(out, "- {name}");
    }
    out
}

/// Writes the value's lines at an indentation; the cursor is at the start of a line.
fn block(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            for key in keys {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push_str(&scalar(key));
                out.push(':');
                entry(out, &map[key], indent);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.extend(std::iter::repeat_n(' ', indent));
                out.push('-');
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        // The first key follows the dash, the others are below it.
                        let start = out.len();
                        block(out, item, indent + 2);
                        out.replace_range(start..start + indent + 2, " ");
                    }
                    other => entry(out, other, indent + 2),
                }
            }
        }
        _ => {}
    }
}

/// Writes what follows a colon or a dash.
fn entry(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if map.is_empty() => out.push_str(" {}\n"),
        Value::Array(items) if items.is_empty() => out.push_str(" []\n"),
        Value::Object(_) => {
            out.push('\n');
            block(out, value, indent + 2);
        }
        Value::Array(_) => {
            out.push('\n');
            block(out, value, indent);
        }
        Value::String(text) => {
            let _ = writeln!(out, " {}", scalar(text));
        }
        other => {
            let _ = writeln!(out, " {other}");
        }
    }
}

/// A text, quoted unless it starts with a letter and contains only letters, digits and a few characters without meaning
/// in YAML.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan",
    ];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || " ._/,;()-".contains(c))
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}
