//! Expands anchors, aliases and merges of a tree, as kyaml's `DeAnchor` does.

use std::collections::{HashMap, HashSet};

use flux_budget::Claim;

use crate::error::Error;
use crate::node::{Kind, Node};
use crate::resolve;
use crate::room::{self, Room};
use crate::scan::MAX_DEPTH;

pub(crate) fn expand(
    mut root: Node,
    max_nodes: usize,
    claim: Option<&Claim>,
) -> Result<Node, Error> {
    if needs_expansion(&root) {
        name_apart(&mut root, &mut HashMap::new());
        let mut wanted = HashSet::new();
        collect_aliased(&root, &mut wanted);
        let mut expander = Expander {
            wanted,
            anchors: HashMap::new(),
            unread: HashMap::new(),
            open: Vec::new(),
            depth: 0,
            left: max_nodes,
            room: Room::new(claim),
        };
        expander.collect_anchored(&root)?;
        expander.node(&mut root)?;
    }
    Ok(root)
}

/// Whether the tree has an anchor, alias or merge. Most documents do not and skip the work.
fn needs_expansion(node: &Node) -> bool {
    node.anchor.is_some()
        || node.kind == Kind::Alias
        || node.tag == resolve::MERGE
        || node.content.iter().any(needs_expansion)
        || is_rebuilt(node)
}

/// Whether a mapping without merges is changed nevertheless: kyaml rebuilds every mapping, which alters repeated and
/// null keys and drops a `<<` that is only text.
fn is_rebuilt(node: &Node) -> bool {
    if node.kind != Kind::Mapping {
        return false;
    }
    let mut seen = HashSet::with_capacity(node.content.len() / 2);
    node.entries()
        .any(|(key, _)| !seen.insert(&key.value) || key.value == "<<" || key.is_null())
}

/// Separates an anchor's name from its number if the name is used more than once. No name contains it.
const NUMBERED: char = '\0';

/// Renames anchors that share a name, so that each alias keeps referring to the last node before it.
fn name_apart(node: &mut Node, given: &mut HashMap<Box<str>, usize>) {
    let numbered = |name: &str, number: usize| format!("{name}{NUMBERED}{number}");
    if let Some(name) = &mut node.anchor {
        let number = given.entry(name.clone()).or_default();
        *number += 1;
        if *number > 1 {
            *name = numbered(name, *number).into();
        }
    }
    if node.kind == Kind::Alias
        && let Some(&number) = given.get(node.value.as_str())
        && number > 1
    {
        node.value = numbered(&node.value, number);
    }
    for child in &mut node.content {
        name_apart(child, given);
    }
}

/// A name as in the document.
fn shown(name: &str) -> &str {
    name.split(NUMBERED).next().unwrap_or(name)
}

struct Expander<'c> {
    /// The names that aliases use.
    wanted: HashSet<Box<str>>,
    /// The node of each name, as far as the tree has been walked.
    anchors: HashMap<Box<str>, Node>,
    /// The anchored nodes in their original form: a merge may refer to a node that the walk has yet to reach, or that
    /// another merge has taken out of the tree.
    unread: HashMap<Box<str>, Node>,
    /// Names of the nodes being walked.
    open: Vec<Box<str>>,
    /// Depth of the node being walked.
    depth: usize,
    left: usize,
    room: Room<'c>,
}

impl Expander<'_> {
    fn node(&mut self, node: &mut Node) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or_else(too_large)?;
        let name = node.anchor.take();
        if let Some(name) = &name {
            self.open.push(name.clone());
        }
        match node.kind {
            Kind::Scalar => {}
            Kind::Alias => *node = self.target(&node.value)?,
            Kind::Mapping => {
                self.merge(node)?;
                self.children(node)?;
            }
            Kind::Document | Kind::Sequence => self.children(node)?,
        }
        if let Some(name) = name {
            self.open.pop();
            if self.wanted.contains(&name) {
                self.spend(&Extent::of(node))?;
                self.anchors.insert(name, node.clone());
            }
        }
        Ok(())
    }

    fn children(&mut self, node: &mut Node) -> Result<(), Error> {
        let collection = usize::from(node.kind != Kind::Document);
        self.depth += collection;
        node.content
            .iter_mut()
            .try_for_each(|child| self.node(child))?;
        self.depth -= collection;
        Ok(())
    }

    /// A copy of the node that an alias refers to.
    fn target(&mut self, name: &str) -> Result<Node, Error> {
        self.check_closed(name)?;
        if !self.anchors.contains_key(name) {
            let Some(mut unread) = self.unread.remove(name) else {
                return Err(unknown(name));
            };
            self.node(&mut unread)?;
        }
        let extent = Extent::of(self.anchors.get(name).ok_or_else(|| unknown(name))?);
        self.fit(&extent)?;
        self.anchors.get(name).cloned().ok_or_else(|| unknown(name))
    }

    /// A copy of the node that a merge refers to: as the walk has left it, or its original form if the walk has yet to
    /// reach it.
    fn source(&mut self, name: &str) -> Result<Node, Error> {
        self.check_closed(name)?;
        let found = self.anchors.get(name).or_else(|| self.unread.get(name));
        let source = found.ok_or_else(|| unknown(name))?;
        let extent = Extent::of(source);
        let mut source = source.clone();
        self.fit(&extent)?;
        source.anchor = None;
        Ok(source)
    }

    fn check_closed(&self, name: &str) -> Result<(), Error> {
        if self.open.iter().any(|open| **open == *name) {
            let name = shown(name);
            return Err(Error::Invalid(format!(
                "anchor '{name}' value contains itself"
            )));
        }
        Ok(())
    }

    /// Counts a copy inserted at the current position: it may be neither too large nor too deep.
    fn fit(&mut self, copy: &Extent) -> Result<(), Error> {
        if self.depth + copy.height > MAX_DEPTH {
            return Err(Error::Limit(format!("exceeded max depth of {MAX_DEPTH}")));
        }
        self.spend(copy)
    }

    /// Deducts a copy from the number of nodes that the document may still grow by.
    fn spend(&mut self, copy: &Extent) -> Result<(), Error> {
        let nodes = copy.nodes + copy.text / 64;
        self.left = self.left.checked_sub(nodes).ok_or_else(too_large)?;
        self.room.take(copy.nodes * room::NODE + copy.text)
    }

    /// Keeps copies of the nodes that aliases refer to.
    fn collect_anchored(&mut self, node: &Node) -> Result<(), Error> {
        if let Some(name) = &node.anchor
            && self.wanted.contains(name)
            && !self.unread.contains_key(name)
        {
            self.spend(&Extent::of(node))?;
            self.unread.insert(name.clone(), node.clone());
        }
        node.content
            .iter()
            .try_for_each(|child| self.collect_anchored(child))
    }

    /// Replaces the `<<` entry by what it merges; entries of the mapping itself keep their positions and take
    /// precedence.
    fn merge(&mut self, node: &mut Node) -> Result<(), Error> {
        let mut merges = node
            .content
            .iter()
            .step_by(2)
            .enumerate()
            .filter(|(_, key)| key.tag == resolve::MERGE)
            .map(|(entry, _)| 2 * entry);
        let first = merges.next();
        if merges.next().is_some() {
            return Err(Error::Merge("duplicate merge key".to_owned()));
        }
        if first.is_none() && !is_rebuilt(node) {
            return Ok(());
        }
        let mut sources = Vec::new();
        if let Some(at) = first
            && let Some(value) = node.content.get(at + 1).cloned()
        {
            self.merge_values(value, &mut sources)?;
        }
        // kyaml clears the first field named `<<`, whatever its tag.
        node.remove("<<");
        self.spend(&Extent::of(node))?;
        let own = node.clone();
        let mut places = places(node);
        for source in sources.iter().chain([&own]) {
            let first = self::places(source);
            for (key, _) in source.entries() {
                // kyaml finds the first entry of a name, even for the second of that name.
                if let Some(&at) = first.get(&key.value)
                    && let Some(pair) = source.content.get(at..at + 2)
                {
                    set_entry(node, pair, &mut places);
                }
            }
        }
        Ok(())
    }

    fn merge_values(&mut self, value: Node, sources: &mut Vec<Node>) -> Result<(), Error> {
        match value.kind {
            Kind::Mapping => {
                sources.push(value);
                Ok(())
            }
            Kind::Alias => {
                let target = self.source(&value.value)?;
                if target.kind != Kind::Mapping {
                    return Err(Error::Merge(
                        "invalid map merge: received alias for a non-map value".to_owned(),
                    ));
                }
                sources.push(target);
                Ok(())
            }
            Kind::Sequence => {
                // The first of a list takes precedence, so it is merged last.
                let mut found = Vec::new();
                for item in value.content {
                    if item.kind == Kind::Sequence {
                        return Err(Error::Merge(
                            "invalid map merge: received a nested sequence".to_owned(),
                        ));
                    }
                    let mut of_item = Vec::new();
                    self.merge_values(item, &mut of_item)?;
                    found.push(of_item);
                }
                sources.extend(found.into_iter().rev().flatten());
                Ok(())
            }
            _ => Err(Error::Merge(
                "map merge requires map or sequence of maps as the value".to_owned(),
            )),
        }
    }
}

fn unknown(name: &str) -> Error {
    let name = shown(name);
    Error::Invalid(format!("unknown anchor '{name}' referenced"))
}

fn too_large() -> Error {
    Error::Limit("document grows too large by its aliases".to_owned())
}

fn collect_aliased(node: &Node, names: &mut HashSet<Box<str>>) {
    if node.kind == Kind::Alias {
        names.insert(node.value.as_str().into());
    }
    for child in &node.content {
        collect_aliased(child, names);
    }
}

/// The position of the first key of each text, whatever its kind: kyaml compares only the text.
fn places(node: &Node) -> HashMap<String, usize> {
    let mut places = HashMap::with_capacity(node.content.len() / 2);
    for (entry, (key, _)) in node.entries().enumerate() {
        places.entry(key.value.clone()).or_insert(2 * entry);
    }
    places
}

/// Replaces the first entry of that name, or appends one; `places` are those of `node`.
fn set_entry(node: &mut Node, pair: &[Node], places: &mut HashMap<String, usize>) {
    let [key, value] = pair else { return };
    // To kyaml, a null key has no name.
    let name = if key.is_null() { "" } else { &key.value };
    let Some(&at) = places.get(name) else {
        places
            .entry(key.value.clone())
            .or_insert(node.content.len());
        node.content.push(key.clone());
        node.content.push(value.clone());
        return;
    };
    for (slot, new) in node.content.iter_mut().skip(at).zip(pair) {
        *slot = new.clone();
    }
    if *name != key.value {
        *places = self::places(node);
    }
}

/// The size of a copy of a node.
struct Extent {
    nodes: usize,
    /// Bytes of text.
    text: usize,
    /// Nesting depth, the node included.
    height: usize,
}

impl Extent {
    fn of(node: &Node) -> Self {
        let collection = usize::from(matches!(node.kind, Kind::Mapping | Kind::Sequence));
        let mut all = Extent {
            nodes: 1,
            text: node.value.len(),
            height: collection,
        };
        for below in node.content.iter().map(Self::of) {
            all.nodes += below.nodes;
            all.text += below.text;
            all.height = all.height.max(collection + below.height);
        }
        all
    }
}
