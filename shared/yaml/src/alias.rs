//! Resolves aliases to their nodes, and limits how much they may expand to.

use std::collections::HashMap;

use crate::node::{Kind, Node};

/// The targets of a document's aliases. An alias refers to the last node before it that has the anchor.
#[derive(Default)]
pub(crate) struct Aliases<'n> {
    targets: HashMap<*const Node, &'n Node>,
}

impl<'n> Aliases<'n> {
    pub(crate) fn new(root: &'n Node) -> Self {
        let mut aliases = Aliases::default();
        let mut names = HashMap::new();
        aliases.collect(root, &mut names);
        aliases
    }

    fn collect(&mut self, node: &'n Node, names: &mut HashMap<&'n str, &'n Node>) {
        if let Some(name) = &node.anchor {
            names.insert(name, node);
        }
        if node.kind == Kind::Alias
            && let Some(target) = names.get(node.value.as_str())
        {
            self.targets.insert(std::ptr::from_ref(node), target);
        }
        for child in &node.content {
            self.collect(child, names);
        }
    }

    pub(crate) fn target(&self, alias: &Node) -> Option<&'n Node> {
        self.targets.get(&std::ptr::from_ref(alias)).copied()
    }
}

/// go-yaml's guard against documents that expand excessively through aliases.
#[derive(Default)]
pub(crate) struct AliasGuard {
    decoded: u64,
    by_alias: u64,
    depth: u32,
    copied: usize,
}

/// The maximum bytes of text that the aliases of a document may copy. Go shares the text until it is written.
pub(crate) const MAX_COPIED: usize = 64 << 20;

impl AliasGuard {
    /// Counts a node. Returns false if too many nodes come from aliases.
    pub(crate) fn count(&mut self) -> bool {
        self.decoded += 1;
        if self.depth > 0 {
            self.by_alias += 1;
        }
        self.by_alias <= 100
            || self.decoded <= 1000
            || self.by_alias as f64 / self.decoded as f64 <= allowed_ratio(self.decoded)
    }

    /// Counts the text of a node. Returns false if aliases have copied too much.
    pub(crate) fn count_text(&mut self, bytes: usize) -> bool {
        if self.depth > 0 {
            self.copied = self.copied.saturating_add(bytes);
        }
        self.copied <= MAX_COPIED
    }

    pub(crate) fn enter(&mut self) {
        self.depth += 1;
    }

    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

/// From 99 % for a small document down to 10 % for a large one.
fn allowed_ratio(decoded: u64) -> f64 {
    const LOW: u64 = 400_000;
    const HIGH: u64 = 4_000_000;
    match decoded {
        0..=LOW => 0.99,
        HIGH.. => 0.10,
        _ => 0.99 - 0.89 * ((decoded - LOW) as f64 / (HIGH - LOW) as f64),
    }
}
