//! Loads and merges values files.

use std::borrow::Cow;

use flux_yaml::{Map, Value};

use crate::yaml::{self, YamlError};

/// Loads a values file: YAML documents, each a mapping, merged in order (HE-LOAD-015). Numbers become floats.
pub fn load_values(text: &[u8]) -> Result<Map, YamlError> {
    let mut values = Map::new();
    let (documents, end) = documents(text);
    end?;
    for document in documents {
        let mut document = yaml::value(&document)?;
        document.floats_only();
        match document {
            Value::Map(map) => merge_maps(&mut values, map),
            Value::Null => {}
            other => {
                return Err(YamlError::Decode(format!(
                    "cannot unmarshal {} into Go value of type map[string]interface {{}}",
                    yaml::json_kind(&other)
                )));
            }
        }
    }
    Ok(values)
}

/// Merges `from` into `into`: mappings recursively, other values are replaced.
pub fn merge_maps(into: &mut Map, from: Map) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Map(old)), Value::Map(new)) => merge_maps(old, new),
            (Some(old), new) => *old = new,
            (None, new) => drop(into.insert(key, new)),
        }
    }
}

/// Splits a stream into documents as Kubernetes' YAML reader does: at lines that begin with `---`, followed by nothing but
/// a comment. Every line of a document ends in a line feed, including the last. On an error, the documents before the
/// invalid line are returned with it.
pub fn documents(text: &[u8]) -> (Vec<Cow<'_, [u8]>>, Result<(), YamlError>) {
    if is_document(text) {
        return (vec![Cow::Borrowed(text)], Ok(()));
    }
    let mut documents = Vec::new();
    let mut current: Vec<u8> = Vec::new();
    for line in text.split_inclusive(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if let Some(rest) = line.strip_prefix(b"---") {
            let rest = String::from_utf8_lossy(rest);
            let rest = rest.trim();
            if !rest.is_empty() && !rest.starts_with('#') {
                return (documents, Err(YamlError::Separator(rest.to_owned())));
            }
            if !current.is_empty() {
                documents.push(Cow::Owned(std::mem::take(&mut current)));
                continue;
            }
        }
        current.extend_from_slice(line);
        current.push(b'\n');
    }
    if !current.is_empty() {
        documents.push(Cow::Owned(current));
    }
    (documents, Ok(()))
}

/// Whether a text is a single document with line feeds at the end of all lines.
fn is_document(text: &[u8]) -> bool {
    let begins_line = |at: usize| {
        at.checked_sub(1)
            .is_none_or(|b| text.get(b) == Some(&b'\n'))
    };
    text.ends_with(b"\n")
        && memchr::memchr(b'\r', text).is_none()
        && !memchr::memmem::find_iter(text, b"---").any(begins_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_merged_in_order() {
        // HE-LOAD-015
        let values =
            load_values(b"a: {b: 1, c: x}\nd: 1\n--- # more\na: {b: 2}\n---\n---\nd: null")
                .unwrap();
        let values = Value::Map(values);
        assert_eq!(values.at(["a", "b"]), Some(&Value::Float(2.0)));
        assert_eq!(values.at(["a", "c"]), Some(&Value::from("x")));
        assert_eq!(values.get("d"), Some(&Value::Null));
        assert!(load_values(b"").unwrap().is_empty());
        assert!(load_values(b"# only a comment\n").unwrap().is_empty());
        assert!(load_values(b"[1]").is_err());
        assert!(load_values(b"a: 1\n---b: 2\n").is_err());
    }

    #[test]
    fn single_documents_are_not_cut() {
        for (text, want) in [
            ("", vec![]),
            ("a: 1\n", vec!["a: 1\n"]),
            ("a: 1", vec!["a: 1\n"]),
            ("a: 1\r\n", vec!["a: 1\n"]),
            ("# ------\na: b---c\n", vec!["# ------\na: b---c\n"]),
            ("---\na: 1\n", vec!["---\na: 1\n"]),
            ("------a\n", vec![]),
            ("a: 1\n----\n", vec![]),
            ("a: 1\n---\nb: 1\n", vec!["a: 1\n", "b: 1\n"]),
            ("\n", vec!["\n"]),
        ] {
            let (documents, end) = documents(text.as_bytes());
            let documents: Vec<_> = documents
                .iter()
                .map(|d| str::from_utf8(d).unwrap())
                .collect();
            assert_eq!(
                (documents, end.is_err()),
                (want, text.contains("----") && !text.contains('#')),
                "{text:?}"
            );
        }
    }

    #[test]
    fn the_last_line_is_never_lost() {
        // HE-LOAD-020, HE-LOAD-022
        for length in 4000..4200 {
            let comment = "#".repeat(length);
            let values = load_values(format!("{comment}\nlast: 1").as_bytes()).unwrap();
            assert!(values.contains_key("last"), "{length}");
        }
    }
}
