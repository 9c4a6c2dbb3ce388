//! Plain data: a document without styles, comments and anchors.

use indexmap::IndexMap;

/// A mapping in insertion order.
pub type Map = IndexMap<String, Value>;

/// A JSON-like value with the number types that Go's YAML libraries distinguish.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number within `i64`.
    Int(i64),
    /// A whole number beyond `i64`, within `u64`.
    Uint(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    String(String),
    /// A list.
    Seq(Vec<Value>),
    /// A mapping from text to values.
    Map(Map),
}

impl Value {
    /// An empty mapping.
    pub fn map() -> Value {
        Value::Map(Map::new())
    }

    /// Whether this is `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// A boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// A whole number that fits `i64`.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// Any number, as Go's `encoding/json` decodes it into an `interface{}`.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Int(value) => Some(*value as f64),
            Value::Uint(value) => Some(*value as f64),
            Value::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn as_seq(&self) -> Option<&[Value]> {
        match self {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// The items of a list, mutable.
    pub fn as_seq_mut(&mut self) -> Option<&mut Vec<Value>> {
        match self {
            Value::Seq(items) => Some(items),
            _ => None,
        }
    }

    /// A mapping.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// A mapping, mutable.
    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value of a mapping's key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.get(key)
    }

    /// Follows keys through nested mappings.
    pub fn at<'k>(&self, path: impl IntoIterator<Item = &'k str>) -> Option<&Value> {
        path.into_iter().try_fold(self, |value, key| value.get(key))
    }

    /// Sorts the keys of this mapping and of all mappings in it by bytes, as Go's `encoding/json` writes maps.
    pub fn sort_keys(&mut self) {
        match self {
            Value::Map(map) => {
                map.sort_unstable_keys();
                map.values_mut().for_each(Value::sort_keys);
            }
            Value::Seq(items) => items.iter_mut().for_each(Value::sort_keys),
            _ => {}
        }
    }

    /// Converts every number to a float, as Go's `encoding/json` decodes into an `interface{}` (HE-YAML-017).
    pub fn floats_only(&mut self) {
        match self {
            Value::Int(value) => *self = Value::Float(*value as f64),
            Value::Uint(value) => *self = Value::Float(*value as f64),
            Value::Map(map) => map.values_mut().for_each(Value::floats_only),
            Value::Seq(items) => items.iter_mut().for_each(Value::floats_only),
            _ => {}
        }
    }

    /// Converts whole numbers beyond `i64` to floats, as Kubernetes' JSON decoder does for unstructured objects.
    pub fn kubernetes_numbers(&mut self) {
        match self {
            Value::Uint(value) => *self = Value::Float(*value as f64),
            // It reads JSON's `-0` as an integer.
            Value::Float(value) if *value == 0.0 => *self = Value::Int(0),
            Value::Map(map) => map.values_mut().for_each(Value::kubernetes_numbers),
            Value::Seq(items) => items.iter_mut().for_each(Value::kubernetes_numbers),
            _ => {}
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::String(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::String(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::Seq(items)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Value::Map(map)
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_decoder_that_reads_them() {
        let original: Value = [
            ("small", Value::Int(3)),
            ("large", Value::Uint(u64::MAX)),
            ("list", Value::Seq(vec![Value::Int(1)])),
        ]
        .into_iter()
        .collect();

        let mut json = original.clone();
        json.floats_only();
        assert_eq!(json.get("small"), Some(&Value::Float(3.0)));
        assert_eq!(json.get("list"), Some(&Value::Seq(vec![Value::Float(1.0)])));

        let mut kubernetes = original;
        kubernetes.kubernetes_numbers();
        assert_eq!(kubernetes.get("small"), Some(&Value::Int(3)));
        assert_eq!(
            kubernetes.get("large"),
            Some(&Value::Float(u64::MAX as f64))
        );
    }

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let inner: Value = [("b", 1_i64), ("a", 2)].into_iter().collect();
        let mut value: Value = [("z", Value::Null), ("l", Value::Seq(vec![inner]))]
            .into_iter()
            .collect();
        value.sort_keys();
        let keys: Vec<_> = value.as_map().unwrap().keys().collect();
        assert_eq!(keys, ["l", "z"]);
        let list = value.get("l").and_then(Value::as_seq).unwrap();
        let keys: Vec<_> = list[0].as_map().unwrap().keys().collect();
        assert_eq!(keys, ["a", "b"]);
    }
}
