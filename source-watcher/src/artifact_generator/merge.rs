//! Merges YAML as upstream does, which is as Helm merges values.

use std::io;

use flux_budget::{Claim, Exhausted};
use flux_yaml::{Map, Value, sigs};

/// Why two files cannot be merged.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    /// A file cannot be read.
    #[error("error reading YAML document")]
    Read(#[source] io::Error),
    /// A document is not YAML, or not a mapping (SW-GEN-185).
    #[error("cannot unmarshal YAML document: {0}")]
    Document(String),
    /// The result cannot be written.
    #[error("failed to merged YAML")]
    Write(#[source] flux_yaml::Error),
    /// The files do not fit into memory once they are read, or written.
    #[error(transparent)]
    Memory(#[from] Exhausted),
}

/// Memory of a claim that is given back when this is dropped.
struct Lent<'c> {
    claim: &'c Claim,
    before: u64,
}

impl<'c> Lent<'c> {
    fn of(claim: &'c Claim) -> Self {
        let before = claim.held();
        Self { claim, before }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let taken = self.claim.held().saturating_sub(self.before);
        self.claim.give_back(taken);
    }
}

/// The file that results from merging the file `over` into the file `base`: one document with sorted keys (SW-GEN-181 to
/// SW-GEN-185). The memory that this takes meanwhile is taken through `claim`.
pub(super) fn merge(base: &[u8], over: &[u8], claim: &Claim) -> Result<String, MergeError> {
    let _lent = Lent::of(claim);
    let over = load(over, claim)?;
    let mut merged = load(base, claim)?;
    merge_maps(&mut merged, over);
    let mut merged = Value::Map(merged);
    // Go decodes into untyped values, where numbers are floats.
    merged.floats_only();
    // Twice, since a text that grows is copied.
    claim.take(2 * sigs::written_bound(&merged))?;
    sigs::to_string(&merged).map_err(MergeError::Write)
}

/// The documents of a file, merged in their order (SW-GEN-183).
fn load(file: &[u8], claim: &Claim) -> Result<Map, MergeError> {
    claim.take(file.len() as u64)?;
    let mut merged = Map::new();
    for document in documents(file) {
        if let Some(map) = mapping(&document, claim)? {
            merge_maps(&mut merged, map);
        }
    }
    Ok(merged)
}

/// The mapping of a document, whose memory is taken through `claim`; `None` for `null`.
pub(super) fn mapping(document: &[u8], claim: &Claim) -> Result<Option<Map>, MergeError> {
    let value = sigs::from_str_within(document, claim).map_err(|error| match error {
        flux_yaml::Error::Convert(inner) => match *inner {
            flux_yaml::Error::Memory(exhausted) => MergeError::Memory(exhausted),
            inner => MergeError::Document(flux_yaml::Error::Convert(Box::new(inner)).to_string()),
        },
        error => MergeError::Document(error.to_string()),
    })?;
    let kind = match value {
        Value::Null => return Ok(None),
        Value::Map(map) => return Ok(Some(map)),
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Uint(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Seq(_) => "array",
    };
    let text = format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    );
    Err(MergeError::Document(text))
}

/// Merges `over` into `base`: mappings key by key, everything else replaces what is there.
fn merge_maps(base: &mut Map, over: Map) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Map(base)), Value::Map(over)) => merge_maps(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// The documents of a file as the YAML reader of Kubernetes splits it: at lines of three dashes, which only blanks and a
/// comment may follow.
fn documents(file: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut document: Vec<u8> = Vec::new();
    for line in file.split_inclusive(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let after = line.strip_prefix(b"---").map(<[u8]>::trim_ascii);
        let ends = after.is_some_and(|after| after.is_empty() || after.starts_with(b"#"));
        if ends && !document.is_empty() {
            all.push(std::mem::take(&mut document));
            continue;
        }
        document.extend_from_slice(line);
        document.push(b'\n');
    }
    if !document.is_empty() {
        all.push(document);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(base: &str, over: &str) -> String {
        merge(base.as_bytes(), over.as_bytes(), &Claim::unlimited()).unwrap()
    }

    #[test]
    fn mappings_are_merged_and_the_rest_is_replaced() {
        // SW-GEN-181, SW-GEN-184
        assert_eq!(
            merged(
                "# of the base\nz: 1\na:\n  b: [1, 2]\n  c: keep\n  d: {e: 1}\ngone: x\n",
                "a:\n  b: [3]\n  d: {f: 2}\ngone: null\nnew: 'y'\n",
            ),
            "a:\n  b:\n  - 3\n  c: keep\n  d:\n    e: 1\n    f: 2\ngone: null\nnew: \"y\"\nz: 1\n"
        );
        assert_eq!(merged("a: {b: 1}\n", "a: 2\n"), "a: 2\n");
        assert_eq!(merged("a: 1\n", "a: {b: 1}\n"), "a:\n  b: 1\n");
        assert_eq!(merged("", ""), "{}\n");
        // SW-GEN-183
        assert_eq!(
            merged(
                "---\na: 1\n--- # more\nb: 2\n---\n",
                "{\"c\": {\"d\": 1.5}}"
            ),
            "a: 1\nb: 2\nc:\n  d: 1.5\n"
        );
        assert_eq!(merged("a: 1\r\n---\r\nb: 2\r\n", "null\n"), "a: 1\nb: 2\n");
    }

    #[test]
    fn memory_is_claimed_while_files_are_merged() {
        let budget = flux_budget::Budget::new(4 << 20);
        let items = "1,".repeat(100_000);
        let levels = 200;
        let deep = format!(
            "{}[{}]{}",
            "{a: ".repeat(levels),
            "1,".repeat(20_000),
            "}".repeat(levels)
        );
        for (what, base, over) in [
            ("what is read", format!("a: [{items}]\n"), String::new()),
            ("what is merged", String::new(), format!("a: [{items}]\n")),
            ("what is written", deep, "b: 1\n".to_owned()),
        ] {
            let claim = budget.claim();
            let merged = merge(base.as_bytes(), over.as_bytes(), &claim);
            assert!(matches!(merged, Err(MergeError::Memory(_))), "{what}");
            assert_eq!(claim.held(), 0, "{what}");
        }
        let claim = budget.claim();
        merge(b"a: 1\n", b"b: [1, 2]\n", &claim).unwrap();
        assert_eq!(claim.held(), 0);
    }

    // SW-GEN-185
    #[test]
    fn what_is_not_a_mapping_cannot_be_merged() {
        let refused = |base: &str, over: &str| {
            let error = merge(base.as_bytes(), over.as_bytes(), &Claim::unlimited()).unwrap_err();
            error.to_string()
        };
        for (text, kind) in [
            ("- a\n", "array"),
            ("text\n", "string"),
            ("1\n", "number"),
            ("true\n", "bool"),
        ] {
            let expected = format!(
                "cannot unmarshal YAML document: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            );
            assert_eq!(refused("a: 1\n", text), expected);
            assert_eq!(refused(text, "a: 1\n"), expected);
        }
        let syntax = refused("a: b: c\n", "");
        assert!(
            syntax.starts_with(
                "cannot unmarshal YAML document: error converting YAML to JSON: yaml: "
            ),
            "{syntax}"
        );
    }
}
