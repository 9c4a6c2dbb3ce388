//! JSON merge patches (RFC 7386).

use flux_yaml::{Map, Value};

use super::PatchError;

/// The patch that changes `from` to `to`.
pub(super) fn difference(from: &Map, to: &Map) -> Map {
    let mut patch = Map::new();
    for (key, new) in to {
        match (from.get(key), new) {
            (Some(Value::Map(old)), Value::Map(new)) => {
                let below = difference(old, new);
                if !below.is_empty() {
                    patch.insert(key.clone(), Value::Map(below));
                }
            }
            (Some(old), new) if old == new => {}
            (_, new) => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

/// The patch that sets all fields of `new` in `live`, and removes those that are in `old` but not in `new`.
pub(super) fn three_way(old: &Map, new: &Map, live: &Map) -> Result<Map, PatchError> {
    let sets = only(&difference(live, new), false);
    let mut patch = only(&difference(old, new), true);
    if let Some(key) = conflict(&sets, &patch) {
        return Err(PatchError::Conflict(key.to_owned()));
    }
    combine(&mut patch, &sets);
    let metadata = patch.get("metadata").and_then(Value::as_map);
    let renamed = metadata.is_some_and(|metadata| metadata.contains_key("name"));
    if patch.contains_key("apiVersion") || patch.contains_key("kind") || renamed {
        return Err(PatchError::Identity);
    }
    Ok(patch)
}

/// Only the removals of a patch, or only the rest of it.
fn only(patch: &Map, removals: bool) -> Map {
    let mut kept = Map::new();
    for (key, value) in patch {
        match value {
            Value::Null if removals => {
                kept.insert(key.clone(), Value::Null);
            }
            Value::Map(below) if !below.is_empty() => {
                let below = only(below, removals);
                if !below.is_empty() {
                    kept.insert(key.clone(), Value::Map(below));
                }
            }
            Value::Null => {}
            value if !removals => {
                kept.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    kept
}

/// A key that both patches have with incompatible values.
fn conflict<'m>(sets: &'m Map, removes: &Map) -> Option<&'m str> {
    sets.iter()
        .find_map(|(key, set)| match (set, removes.get(key)?) {
            (Value::Map(set), Value::Map(removes)) => conflict(set, removes),
            (set, removed) if set == removed => None,
            _ => Some(key.as_str()),
        })
}

/// Merges `more` into `patch`.
fn combine(patch: &mut Map, more: &Map) {
    for (key, value) in more {
        match (patch.get_mut(key), value) {
            (Some(Value::Map(below)), Value::Map(value)) => combine(below, value),
            (Some(Value::Map(_)), value) => {
                patch.insert(key.clone(), value.clone());
            }
            _ => {
                patch.insert(key.clone(), without_nulls(value));
            }
        }
    }
}

/// The value without the nulls in its objects, which Helm's library drops from additions to a patch, lists included.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Map(entries) => {
            let kept = entries.iter().filter(|(_, value)| !value.is_null());
            Value::Map(
                kept.map(|(key, value)| (key.clone(), without_nulls(value)))
                    .collect(),
            )
        }
        Value::Seq(items) => Value::Seq(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}
