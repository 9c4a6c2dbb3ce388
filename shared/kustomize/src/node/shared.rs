//! Values that several fields of one object share.
//!
//! Upstream's label and annotation setters put one and the same node into every field that they write, and later changes
//! happen in place: patching `metadata.labels.app` of a Deployment that a `commonLabels` has written changes its selector
//! and its template too. Users' outputs depend on it, so it is kept: such nodes carry a number, and whoever changes one
//! in place notes the change, to be repeated for its siblings when the operation is over.

use super::Node;

/// Changes made to shared nodes and not yet made to their siblings.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pending: Vec<Node>,
}

/// The number of a shared node, 0 for any other.
///
/// It lives where parsed nodes keep their column: a node made by hand has no line.
pub(crate) fn share_id(node: &Node) -> u32 {
    if node.line == 0 { node.column } else { 0 }
}

/// A string that may be put into several places under one number.
pub(crate) fn shared_scalar(value: &str, id: u32) -> Node {
    let mut node = Node::string(value);
    node.column = id;
    node
}

impl Changes {
    /// Puts `value` where `node` stands, under `node`'s number.
    pub(crate) fn assign(&mut self, node: &mut Node, mut value: Node) {
        let id = share_id(node);
        if id != 0 {
            value.line = 0;
            value.column = id;
            self.pending.push(value.clone());
        } else if share_id(&value) != 0 {
            // The text is copied into a node of its own.
            value.column = 0;
        }
        *node = value;
    }

    /// Notes that a node was changed by hand.
    pub(crate) fn note(&mut self, node: &Node) {
        if share_id(node) != 0 {
            self.pending.push(node.clone());
        }
    }

    /// Repeats what is pending for every sibling below `root`.
    pub(crate) fn settle(&mut self, root: &mut Node) {
        for change in self.pending.drain(..) {
            spread(root, &change);
        }
    }
}

fn spread(node: &mut Node, change: &Node) {
    if share_id(node) == share_id(change) {
        *node = change.clone();
        return;
    }
    for child in &mut node.content {
        spread(child, change);
    }
}
