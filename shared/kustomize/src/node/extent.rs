//! The size of nodes: memory and nesting.

use flux_yaml::Value;

use super::{Kind, Node};

/// The size of an object, or a part of one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    /// Estimated memory in bytes.
    pub(crate) bytes: usize,
    pub(crate) nodes: usize,
    /// Nesting of collections, itself included.
    pub(crate) height: usize,
}

/// Estimated bytes of a node, including the allocator's overhead and spare capacity.
const NODE: usize = size_of::<Node>() * 5 / 4;
/// Estimated bytes of a value in a mapping, including the mapping's index.
const VALUE: usize = size_of::<Value>() * 2;

impl Extent {
    pub(crate) fn of_node(node: &Node) -> Self {
        let comments = node.comments.as_ref().map_or(0, |comments| {
            size_of_val(&**comments)
                + comments.head.len()
                + comments.line.len()
                + comments.foot.len()
        });
        let below = node.content.iter().map(Self::of_node);
        Self::around(
            NODE + node.value.len() + node.tag.len() + comments,
            matches!(node.kind, Kind::Mapping | Kind::Sequence),
            below,
        )
    }

    pub(crate) fn of_value(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::around(VALUE + text.len(), false, []),
            Value::Seq(items) => Self::around(VALUE, true, items.iter().map(Self::of_value)),
            Value::Map(map) => {
                let keys: usize = map.keys().map(|key| key.len() + VALUE / 2).sum();
                Self::around(VALUE + keys, true, map.values().map(Self::of_value))
            }
            _ => Self::around(VALUE, false, []),
        }
    }

    fn around(bytes: usize, collection: bool, below: impl IntoIterator<Item = Self>) -> Self {
        let own = Self {
            bytes,
            nodes: 1,
            height: 0,
        };
        let mut all = below.into_iter().fold(own, |all, below| Self {
            bytes: all.bytes + below.bytes,
            nodes: all.nodes + below.nodes,
            height: all.height.max(below.height),
        });
        all.height += usize::from(collection);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_texts_of_a_value_count() {
        let bytes = |text: &str| {
            let value = flux_yaml::json::from_str(text).unwrap();
            Extent::of_value(&value).bytes
        };
        let long = "x".repeat(1000);
        assert_eq!(bytes(&format!(r#""{long}""#)), bytes(r#""""#) + 1000);
        let key = bytes(&format!(r#"{{"{long}": [1]}}"#)) - bytes(r#"{"": [1]}"#);
        assert_eq!(key, 1000);
        // A key has an entry of its own.
        assert!(bytes(r#"{"": 1}"#) > bytes("[1]"));
    }
}
