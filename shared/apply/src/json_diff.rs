//! The JSON patch (RFC 6902) from one value to another, as `wI2L/jsondiff` computes it with its option `Rationalize`.

use flux_golang::json;
use serde_json::{Map, Value, json};

/// One operation of a patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// What is done.
    pub kind: OperationKind,
    /// The JSON pointer of the changed value.
    pub path: String,
    /// The value before, `null` for an addition.
    pub old: Value,
    /// The value after, `null` for a removal.
    pub new: Value,
}

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationKind {
    /// A value that was not there.
    Add,
    /// Another value in its place.
    Replace,
    /// A value that is there no longer.
    Remove,
}

impl OperationKind {
    /// The name in patches.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Remove => "remove",
        }
    }
}

impl Operation {
    /// The operation as JSON.
    pub fn to_json(&self) -> Value {
        match self.kind {
            OperationKind::Remove => json!({ "op": "remove", "path": self.path }),
            kind => json!({ "op": kind.as_str(), "path": self.path, "value": self.new }),
        }
    }

    /// The length of the operation as text, as upstream estimates it: additions count without their value.
    fn length(&self, value: usize) -> usize {
        const BARE: usize = r#"{"op":"","path":""}"#.len();
        const VALUE: usize = r#","value":"#.len();
        let value = match self.kind {
            OperationKind::Remove => 0,
            OperationKind::Add => VALUE,
            OperationKind::Replace => VALUE + value,
        };
        BARE + self.kind.as_str().len() + self.path.len() + value
    }
}

/// The operations that change `old` to `new`. Where one replacement of a map or list is shorter as text than the
/// operations in it, it takes their place (HC-DRIFT-007); never so for the object as a whole and for its `metadata`, of
/// which `old` and `new` have a part only.
pub fn json_diff(old: &Value, new: &Value) -> Vec<Operation> {
    let mut diff = Diff::default();
    diff.compare("", old, new, true);
    diff.operations
        .into_iter()
        .map(|(operation, _)| operation)
        .collect()
}

#[derive(Default)]
struct Diff {
    /// Each with the length of its value as text.
    operations: Vec<(Operation, usize)>,
}

impl Diff {
    /// `is_found` is whether upstream finds the new value in the text of the new object: it does not look below keys that
    /// are escaped in JSON, whose values count as empty.
    fn compare(&mut self, path: &str, old: &Value, new: &Value, is_found: bool) {
        if old == new || same_number(old, new) {
            return;
        }
        let first = self.operations.len();
        match (old, new) {
            (Value::Object(before), Value::Object(after)) => {
                self.compare_maps(path, before, after, is_found);
            }
            (Value::Array(before), Value::Array(after)) => {
                self.compare_lists(path, before, after, is_found);
            }
            _ => {
                let length = if is_found { length(new) } else { 0 };
                self.push(OperationKind::Replace, path, old, new, length);
                return;
            }
        }
        if self.operations.len() > first && !matches!(path, "" | "/metadata") {
            self.rationalise(path, old, new, first, is_found);
        }
    }

    fn compare_maps(
        &mut self,
        path: &str,
        before: &Map<String, Value>,
        after: &Map<String, Value>,
        is_found: bool,
    ) {
        let added = after.keys().filter(|key| !before.contains_key(*key));
        let mut keys: Vec<&String> = before.keys().chain(added).collect();
        keys.sort_unstable();
        for key in keys {
            let below = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
            match (before.get(key), after.get(key)) {
                (Some(old), Some(new)) => {
                    let is_found = is_found && length(&Value::from(key.as_str())) == key.len() + 2;
                    self.compare(&below, old, new, is_found);
                }
                (Some(old), None) => {
                    self.push(OperationKind::Remove, &below, old, &Value::Null, 0);
                }
                (None, Some(new)) => self.push(OperationKind::Add, &below, &Value::Null, new, 0),
                (None, None) => {}
            }
        }
    }

    fn compare_lists(&mut self, path: &str, before: &[Value], after: &[Value], is_found: bool) {
        let both = before.len().min(after.len());
        // What is too much is removed one after the other from the same place.
        for old in before.iter().skip(both) {
            let at = format!("{path}/{both}");
            self.push(OperationKind::Remove, &at, old, &Value::Null, 0);
        }
        for (index, (old, new)) in before.iter().zip(after).enumerate() {
            self.compare(&format!("{path}/{index}"), old, new, is_found);
        }
        for new in after.iter().skip(both) {
            let end = format!("{path}/-");
            self.push(OperationKind::Add, &end, &Value::Null, new, 0);
        }
    }

    fn push(&mut self, kind: OperationKind, path: &str, old: &Value, new: &Value, length: usize) {
        let operation = Operation {
            kind,
            path: path.to_owned(),
            old: old.clone(),
            new: new.clone(),
        };
        self.operations.push((operation, length));
    }

    /// Replaces the operations from `first` on by one if that is shorter.
    fn rationalise(&mut self, path: &str, old: &Value, new: &Value, first: usize, is_found: bool) {
        let single = Operation {
            kind: OperationKind::Replace,
            path: path.to_owned(),
            old: Value::Null,
            new: Value::Null,
        };
        let value = if is_found { length(new) } else { 0 };
        let many = self.operations.iter().skip(first);
        let lengths = many.map(|(operation, value)| operation.length(*value));
        let count = self.operations.len() - first;
        if lengths.sum::<usize>() + count - 1 > single.length(value) {
            self.operations.truncate(first);
            self.push(OperationKind::Replace, path, old, new, value);
        }
    }
}

/// Whether both are the same number, one of them written as an integer.
fn same_number(old: &Value, new: &Value) -> bool {
    match (old, new) {
        (Value::Number(old), Value::Number(new)) => {
            old.is_f64() != new.is_f64() && old.as_f64() == new.as_f64()
        }
        _ => false,
    }
}

/// The length of a value as Go's JSON, in bytes.
fn length(value: &Value) -> usize {
    let separators = |count: usize| count.saturating_sub(1);
    match value {
        Value::Null | Value::Bool(true) => 4,
        Value::Bool(false) => 5,
        Value::Number(number) => match (number.is_f64(), number.as_f64()) {
            (true, Some(float)) => json::format_float(float).map_or(0, |text| text.len()),
            _ => number.to_string().len(),
        },
        Value::String(text) => {
            let mut escaped = String::new();
            json::push_escaped(&mut escaped, text, true);
            escaped.len() + 2
        }
        Value::Array(items) => {
            2 + separators(items.len()) + items.iter().map(length).sum::<usize>()
        }
        Value::Object(fields) => {
            let entries = fields.iter();
            let entries =
                entries.map(|(key, value)| length(&Value::from(key.as_str())) + 1 + length(value));
            2 + separators(fields.len()) + entries.sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests;
