//! Patches between objects, some compared with upstream's library.

use oracle::{Oracle, cases, seed};
use serde_json::{Map, Value, json};

use super::{OperationKind, json_diff};

fn patch(old: &Value, new: &Value) -> Value {
    let operations = json_diff(old, new);
    Value::Array(operations.iter().map(super::Operation::to_json).collect())
}

#[test]
fn differences_are_operations_in_the_order_of_keys() {
    use OperationKind::{Add, Remove, Replace};
    // HC-DRIFT-007
    for (old, new, want) in [
        (
            json!({ "a": 1, "b": [1, 2] }),
            json!({ "a": 1.0, "b": [1, 2] }),
            json!([]),
        ),
        (
            json!({ "spec": { "b": "the old text of it", "c": 1, "x": true } }),
            json!({ "spec": { "a": 1, "b": "the new text of it", "c": 1 } }),
            // One replacement of the map is shorter.
            json!([{ "op": "replace", "path": "/spec", "value": { "a": 1, "b": "the new text of it", "c": 1 } }]),
        ),
        (
            json!({ "spec": { "a": 1, "keep": "x".repeat(99) } }),
            json!({ "spec": { "a": 2, "keep": "x".repeat(99) } }),
            json!([{ "op": "replace", "path": "/spec/a", "value": 2 }]),
        ),
        (
            json!({ "a/b~c": { "x": "y".repeat(99) } }),
            json!({ "a/b~c": { "x": "y".repeat(99), "z": null } }),
            json!([{ "op": "add", "path": "/a~1b~0c/z", "value": null }]),
        ),
        (
            json!({ "l": ["z".repeat(99), 1, 2, 3] }),
            json!({ "l": ["z".repeat(99), 1] }),
            json!([{ "op": "remove", "path": "/l/2" }, { "op": "remove", "path": "/l/2" }]),
        ),
        (
            json!({ "l": ["z".repeat(99)] }),
            json!({ "l": ["z".repeat(99), 1, 2] }),
            json!([{ "op": "add", "path": "/l/-", "value": 1 }, { "op": "add", "path": "/l/-", "value": 2 }]),
        ),
        (
            json!({ "a": {} }),
            json!({ "a": [] }),
            json!([{ "op": "replace", "path": "/a", "value": [] }]),
        ),
        // Never the metadata as a whole: other parts of it are not compared.
        (
            json!({ "metadata": { "labels": { "a": "1" }, "annotations": { "b": "1" }, "name": "n" } }),
            json!({ "metadata": { "labels": { "a": "2" }, "annotations": { "b": "2" }, "name": "n" } }),
            json!([
                { "op": "replace", "path": "/metadata/annotations/b", "value": "2" },
                { "op": "replace", "path": "/metadata/labels/a", "value": "2" },
            ]),
        ),
    ] {
        assert_eq!(patch(&old, &new), want, "{old} {new}");
    }
    let operations = json_diff(&json!({ "a": 1, "b": 2 }), &json!({ "b": 3, "c": 4 }));
    let kinds: Vec<OperationKind> = operations.iter().map(|each| each.kind).collect();
    assert_eq!(kinds, [Remove, Replace, Add]);
    assert_eq!(
        (&operations[1].old, &operations[1].new),
        (&json!(2), &json!(3))
    );
}

/// A generator of similar values.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn value(&mut self, depth: u64) -> Value {
        match self.below(if depth == 0 { 5 } else { 9 }) {
            0 => Value::Null,
            1 => json!(self.below(2) == 0),
            2 => json!(self.below(1000)),
            3 => json!(
                ["", "x", "a longer text with a blank", "<&>\u{2028}é\n\"q\""]
                    [self.below(4) as usize]
            ),
            4 => json!([1.5, -0.25, 1e21, 1e-7][self.below(4) as usize]),
            5 | 6 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => {
                let keys = ["a", "bb", "ccc", "x/y", "t~z", "<k>"];
                let entries = (0..self.below(5)).map(|_| {
                    let key = keys[self.below(6) as usize].to_owned();
                    (key, self.value(depth - 1))
                });
                Value::Object(entries.collect::<Map<_, _>>())
            }
        }
    }

    /// The value with some of its parts changed.
    fn changed(&mut self, value: &Value, depth: u64) -> Value {
        if self.below(8) == 0 {
            return self.value(depth);
        }
        match value {
            Value::Array(items) => {
                let mut items: Vec<Value> =
                    items.iter().map(|item| self.changed(item, depth)).collect();
                if self.below(4) == 0 {
                    items.pop();
                }
                if self.below(4) == 0 {
                    items.push(self.value(0));
                }
                Value::Array(items)
            }
            Value::Object(fields) => {
                let mut changed = Map::new();
                for (key, value) in fields {
                    if self.below(6) != 0 {
                        changed.insert(key.clone(), self.changed(value, depth));
                    }
                }
                if self.below(4) == 0 {
                    changed.insert("new".to_owned(), self.value(1));
                }
                Value::Object(changed)
            }
            other => other.clone(),
        }
    }
}

#[test]
fn patches_of_specs_match_upstream() {
    let Some(mut go) = Oracle::start("jsondiff") else {
        return;
    };
    let mut random = Random(seed().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    for _ in 0..cases(400) {
        // A large sibling, so that the object as a whole is not replaced.
        let large = "x".repeat(10_000);
        let old = json!({ "large": large, "spec": random.value(4) });
        let new = json!({ "large": large, "spec": random.changed(&old["spec"], 3) });
        let answer = go.ask(&json!({ "mode": "diff", "old": old, "new": new }));
        let theirs: Value = serde_json::from_str(&answer.text().unwrap()).unwrap();
        assert_eq!(patch(&old, &new), theirs, "{} {}", old["spec"], new["spec"]);
    }
}
