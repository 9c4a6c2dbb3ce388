//! Maps and lists in formats that have none: `a__map_b` and `a__list_0` (KC-SOPS-029).

use std::collections::BTreeMap;

use flux_golang::strconv::parse_int;

use super::MetadataError;
use crate::value::{Branch, Entry, Key, MAX_DEPTH, Value};

const MAP: &[u8] = b"__map_";
const LIST: &[u8] = b"__list_";

/// A value in the making.
#[derive(Default)]
struct Node {
    value: Option<Value>,
    keys: BTreeMap<Vec<u8>, Node>,
    items: BTreeMap<i64, Node>,
}

/// The nested form of entries.
pub(super) fn unflatten(branch: Branch) -> Result<Branch, MetadataError> {
    let mut root = Node::default();
    for entry in branch {
        let Key::Text(key) = entry.key else { continue };
        let steps = steps(&key);
        if steps.len() > MAX_DEPTH {
            return Err(MetadataError::Flat("too deep"));
        }
        let mut node = &mut root;
        for step in steps {
            node = match step {
                Step::Key(key) => node.keys.entry(key).or_default(),
                Step::Item(at) => node.items.entry(at).or_default(),
            };
        }
        if node.value.replace(entry.value).is_some() {
            return Err(MetadataError::Flat("Duplicate value"));
        }
    }
    match nested(root)? {
        Value::Map(branch) => Ok(branch),
        _ => Err(MetadataError::NotAMap),
    }
}

enum Step {
    Key(Vec<u8>),
    Item(i64),
}

/// The way that a flat key describes.
fn steps(key: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut in_list = false;
    let (mut start, mut at) = (0, 0);
    let step = |in_list: bool, text: &[u8]| {
        if in_list {
            Step::Item(parse_int(text, 10).unwrap_or_default())
        } else {
            Step::Key(text.to_vec())
        }
    };
    while at < key.len() {
        let separator = [MAP, LIST]
            .into_iter()
            .find(|separator| key[at..].starts_with(separator));
        let Some(separator) = separator else {
            at += 1;
            continue;
        };
        steps.push(step(in_list, &key[start..at]));
        in_list = separator == LIST;
        at += separator.len();
        start = at;
    }
    steps.push(step(in_list, &key[start..]));
    steps
}

fn nested(node: Node) -> Result<Value, MetadataError> {
    let Node { value, keys, items } = node;
    match (value, keys.is_empty(), items.is_empty()) {
        (Some(value), true, true) => Ok(value),
        (None, true, true) => Ok(Value::Map(Branch::new())),
        (None, false, true) => {
            let entries = keys
                .into_iter()
                .map(|(key, node)| Ok(Entry::new(key, nested(node)?)));
            Ok(Value::Map(entries.collect::<Result<_, _>>()?))
        }
        (None, true, false) => {
            let complete = items.keys().copied().eq(0..items.len() as i64);
            if !complete {
                return Err(MetadataError::Flat("Incomplete list"));
            }
            let items = items.into_values().map(nested);
            Ok(Value::List(items.collect::<Result<_, _>>()?))
        }
        _ => Err(MetadataError::Flat("Type mismatch")),
    }
}
