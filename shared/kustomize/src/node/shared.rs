//! Values that several fields of one object share.
//!
//! Upstream's label and annotation setters put the same node into every field that they write, and later changes happen
//! in place: patching `metadata.labels.app` of a Deployment that was written by `commonLabels` also changes its
//! selector and its template. Users' outputs depend on it, so it is reproduced: such nodes carry a share number, and
//! code that changes one in place records the change, which is repeated for its siblings at the end of the operation.

use std::rc::Rc;

use super::{Extent, Kind, Node};
use crate::error::Result;
use crate::meter::{Charge, Meter};

/// Changes of shared nodes that are not yet applied to their siblings.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pending: Vec<Node>,
}

/// The share number of a node, 0 if it is not shared.
///
/// It is stored in the column of parsed nodes: a created node has no line.
pub(crate) fn share_id(node: &Node) -> u32 {
    if node.line == 0 { node.column } else { 0 }
}

/// A string that can be put into several places under one share number.
pub(crate) fn shared_scalar(value: &str, id: u32) -> Node {
    let mut node = Node::string(value);
    node.column = id;
    node
}

impl Changes {
    /// Replaces `node` by `value`, keeping `node`'s share number.
    pub(crate) fn assign(&mut self, node: &mut Node, mut value: Node) {
        let id = share_id(node);
        if id != 0 {
            value.line = 0;
            value.column = id;
            self.pending.push(value.clone());
        } else if share_id(&value) != 0 {
            // The text is copied into an unshared node.
            value.column = 0;
        }
        *node = value;
    }

    /// Records that a node was changed directly.
    pub(crate) fn note(&mut self, node: &Node) {
        if share_id(node) != 0 {
            self.pending.push(node.clone());
        }
    }

    /// Applies the recorded changes to every sibling below `root`.
    pub(crate) fn settle(&mut self, root: &mut Node, meter: &Rc<Meter>) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut charge = Charge::new(meter);
        for change in self.pending.drain(..) {
            let mut spread = Spread::of(&change, Some(&mut charge));
            spread.below(root, 1)?;
            meter.work(spread.looked_at)?;
        }
        Ok(())
    }

    /// As [`settle`](Changes::settle), for single texts, which are small and do not nest.
    pub(crate) fn settle_text(&mut self, root: &mut Node) {
        for change in self.pending.drain(..) {
            let _ = Spread::of(&change, None).below(root, 1);
        }
    }
}

struct Spread<'c> {
    change: &'c Node,
    extent: Extent,
    charge: Option<&'c mut Charge>,
    looked_at: usize,
}

impl<'c> Spread<'c> {
    fn of(change: &'c Node, charge: Option<&'c mut Charge>) -> Self {
        Self {
            change,
            extent: Extent::of_node(change),
            charge,
            looked_at: 0,
        }
    }

    /// `depth` is the nesting of the node, itself included if it is a collection.
    fn below(&mut self, node: &mut Node, depth: usize) -> Result<()> {
        self.looked_at += 1;
        if share_id(node) == share_id(self.change) {
            Meter::fits(depth - usize::from(node.kind != Kind::Scalar) + self.extent.height)?;
            if let Some(charge) = &mut self.charge {
                charge.take(self.extent.bytes)?;
            }
            self.looked_at += self.extent.nodes;
            *node = self.change.clone();
            return Ok(());
        }
        for child in &mut node.content {
            let deeper = usize::from(child.kind != Kind::Scalar);
            self.below(child, depth + deeper)?;
        }
        Ok(())
    }
}
