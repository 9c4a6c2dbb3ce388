//! Strategic merge (KZ-SMP rows): kyaml's walk over patch and target.
//!
//! kyaml changes nodes in place and compares them by identity, so this walk tracks which nodes stem from the target and
//! which from the patch: a value of the patch takes the style of the value that it replaces, and possibly its type.

mod list;

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::error::{Fail, Result};
use crate::id::Gvk;
use crate::meter::{MAX_DEPTH, Meter};
use crate::node::{self, Changes, Kind, Node};
use crate::schema::{Schema, TypeId, comment_schema};

/// The nodes at one place of patch and target.
enum Sources {
    Both(Node, Node),
    Target(Node),
    Patch(Node),
    /// The patch's value is the target's as well.
    Same(Node),
}

/// The result at one place.
enum Outcome {
    /// Removed.
    Clear,
    /// The target's node, possibly changed in place.
    Target(Node),
    /// Another node than the target's.
    Other(Node),
}

impl Outcome {
    fn node(self) -> Option<Node> {
        match self {
            Self::Clear => None,
            Self::Target(node) | Self::Other(node) => Some(node),
        }
    }
}

impl Sources {
    fn new(target: Option<Node>, patch: Option<Node>) -> Option<Self> {
        Some(match (target, patch) {
            (Some(target), Some(patch)) => Self::Both(target, patch),
            (Some(target), None) => Self::Target(target),
            (None, Some(patch)) => Self::Patch(patch),
            (None, None) => return None,
        })
    }

    fn each(&self) -> impl Iterator<Item = &Node> {
        let (first, second) = match self {
            Self::Both(target, patch) => (target, Some(patch)),
            Self::Target(node) | Self::Patch(node) | Self::Same(node) => (node, None),
        };
        std::iter::once(first).chain(second)
    }

    /// The kind of the first node that is not null.
    fn kind(&self) -> Option<Kind> {
        self.each()
            .find(|node| !node::is_null(node))
            .map(|node| node.kind)
    }
}

/// Merges a patch into an object; `None` if the patch deletes it.
pub(crate) fn merge(
    patch: Node,
    target: Node,
    schema: &mut Schema,
    meter: &Rc<Meter>,
) -> Result<Option<Node>> {
    let whole = patch.get(DIRECTIVE).is_some().then(|| target.clone());
    let mut walker = Walker {
        schema,
        meter,
        changes: Changes::default(),
        depth: 0,
    };
    let outcome = walker.walk(Sources::Both(target, patch), None)?;
    Ok(match outcome {
        Outcome::Clear => None,
        Outcome::Target(mut merged) => {
            walker.changes.settle(&mut merged, meter)?;
            Some(merged)
        }
        // A patch that replaces the whole object replaces an unused copy.
        Outcome::Other(other) => Some(whole.unwrap_or(other)),
    })
}

struct Walker<'s> {
    schema: &'s mut Schema,
    meter: &'s Rc<Meter>,
    changes: Changes,
    depth: usize,
}

/// The directives of a patch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

impl Directive {
    fn parse(text: &str) -> Result<Self> {
        match text {
            "merge" => Ok(Self::Merge),
            "replace" => Ok(Self::Replace),
            "delete" => Ok(Self::Delete),
            // KZ-SMP-022
            other => Err(Fail::quoting(
                "unknown patch strategy",
                format!("unknown patch strategy '{other}'"),
            )),
        }
    }
}

const DIRECTIVE: &str = "$patch";

/// Removes and returns the directive of a mapping.
fn map_directive(patch: &mut Node) -> Result<Directive> {
    let Some(value) = patch.get(DIRECTIVE) else {
        return Ok(Directive::Merge);
    };
    let directive = Directive::parse(&value.value)?;
    let _ = node::clear(patch, DIRECTIVE);
    Ok(directive)
}

/// Moves comments of the patch to the target.
fn take_comments(target: &mut Node, patch: &Node) {
    let Some(new) = &patch.comments else {
        return;
    };
    let comments = target.comments_mut();
    for (mine, theirs) in [
        (&mut comments.head, &new.head),
        (&mut comments.line, &new.line),
        (&mut comments.foot, &new.foot),
    ] {
        if !theirs.is_empty() {
            mine.clone_from(theirs);
        }
    }
}

impl Walker<'_> {
    fn walk(&mut self, mut sources: Sources, known: Option<TypeId>) -> Result<Outcome> {
        self.depth += 1;
        self.meter.steps(1)?;
        // The innermost collection may contain a scalar.
        if self.depth > MAX_DEPTH + 1 {
            return Err("object nests too deep to be patched".into());
        }
        let known = self.type_of(&sources, known);
        let kind = sources.kind();
        if let Some(kind @ (Kind::Mapping | Kind::Sequence | Kind::Scalar)) = kind {
            sources
                .each()
                .try_for_each(|node| node::expect(node, kind))?;
        }
        if let Sources::Both(target, patch) = &mut sources {
            take_comments(target, patch);
            // An empty block collection takes the patch's style.
            if target.kind != Kind::Scalar && target.content.is_empty() {
                target.style = patch.style;
            }
        }
        let outcome = match kind {
            Some(Kind::Mapping) | None => self.map(sources, known),
            Some(Kind::Sequence) => match known.and_then(|id| self.schema.merge_keys(id)) {
                Some(keys) => self.merged_list(sources, known, &keys),
                None => Ok(patched(sources)),
            },
            Some(_) => Ok(patched(sources)),
        };
        self.depth -= 1;
        outcome
    }

    /// The type of a place: from a comment's schema, otherwise `known`, otherwise from the object's own kind.
    fn type_of(&mut self, sources: &Sources, known: Option<TypeId>) -> Option<TypeId> {
        for node in sources.each().filter(|node| !node::is_null(node)) {
            if node.comments.is_some()
                && let Some(schema) = comment_schema(node.line_comment(), node.head_comment())
            {
                return self.schema.add_comment(&schema);
            }
        }
        known.or_else(|| {
            sources.each().find_map(|node| {
                let kind = node::kind_field(node);
                let api_version = node::api_version(node);
                if kind.is_empty() || api_version.is_empty() {
                    return None;
                }
                self.schema.of(&Gvk::new(api_version, kind))
            })
        })
    }

    fn map(&mut self, sources: Sources, known: Option<TypeId>) -> Result<Outcome> {
        match sources {
            Sources::Target(target) if node::is_null(&target) => {
                // KZ-SMP-003: an explicit null is kept, an implicit one is lost.
                Ok(if target.value.is_empty() {
                    Outcome::Clear
                } else {
                    Outcome::Target(target)
                })
            }
            Sources::Target(mut target) => {
                self.fields(&mut target, None, known)?;
                Ok(Outcome::Target(target))
            }
            Sources::Patch(patch) => self.added(patch, known),
            Sources::Both(target, patch) if node::is_null(&target) => self.added(patch, known),
            Sources::Both(mut target, mut patch) => {
                if node::is_null(&patch) {
                    return Ok(Outcome::Clear);
                }
                match map_directive(&mut patch)? {
                    Directive::Delete => Ok(Outcome::Clear),
                    Directive::Replace => {
                        self.own_fields(&mut patch, known)?;
                        Ok(Outcome::Other(patch))
                    }
                    Directive::Merge => {
                        self.fields(&mut target, Some(&mut patch), known)?;
                        Ok(Outcome::Target(target))
                    }
                }
            }
            Sources::Same(node) if node::is_null(&node) => Ok(Outcome::Clear),
            Sources::Same(mut node) => match map_directive(&mut node)? {
                Directive::Delete => Ok(Outcome::Clear),
                Directive::Replace | Directive::Merge => {
                    self.own_fields(&mut node, known)?;
                    Ok(Outcome::Target(node))
                }
            },
        }
    }

    /// A mapping that the target does not have: an unknown directive at its top is accepted.
    fn added(&mut self, mut patch: Node, known: Option<TypeId>) -> Result<Outcome> {
        if node::is_null(&patch) {
            return Ok(Outcome::Other(patch));
        }
        if matches!(map_directive(&mut patch), Ok(Directive::Delete)) {
            return Ok(Outcome::Clear);
        }
        self.own_fields(&mut patch, known)?;
        Ok(Outcome::Other(patch))
    }

    /// Walks the fields of a mapping that is both target and patch.
    fn own_fields(&mut self, node: &mut Node, known: Option<TypeId>) -> Result<()> {
        for name in names([&*node]) {
            refuse_empty_name(&name, node, true)?;
            let known = self.field_type(
                known,
                &name,
                [node.get(&name), None],
                [key(node, &name), None],
            );
            let Some(value) = node.get_mut(&name) else {
                continue;
            };
            let value = std::mem::replace(value, Node::new(Kind::Scalar));
            let outcome = self.walk(Sources::Same(value), known)?;
            put_back(node, &name, outcome, &mut self.changes)?;
        }
        Ok(())
    }

    fn fields(
        &mut self,
        target: &mut Node,
        mut patch: Option<&mut Node>,
        known: Option<TypeId>,
    ) -> Result<()> {
        let all = match &patch {
            Some(patch) => names([&*target, &**patch]),
            None => names([&*target]),
        };
        for name in all {
            let own = patch
                .as_deref()
                .is_none_or(|patch| patch.get(&name).is_none());
            refuse_empty_name(&name, target, own)?;
            let known = {
                let patch = patch.as_deref();
                self.field_type(
                    known,
                    &name,
                    [target.get(&name), patch.and_then(|patch| patch.get(&name))],
                    [
                        key(target, &name),
                        patch.and_then(|patch| key(patch, &name)),
                    ],
                )
            };
            let theirs = patch.as_deref_mut().and_then(|patch| {
                let value = patch.get_mut(&name)?;
                Some(std::mem::replace(value, Node::new(Kind::Scalar)))
            });
            // A scalar that the patch does not set cannot change.
            let untouched = theirs.is_none()
                && target
                    .get(&name)
                    .is_some_and(|value| value.kind == Kind::Scalar && !node::is_null(value));
            if untouched {
                // Setting it to itself may quote it.
                target
                    .get_mut(&name)
                    .into_iter()
                    .for_each(node::quote_non_string);
                continue;
            }
            let style = patch
                .as_deref()
                .and_then(|patch| key(patch, &name))
                .map(|key| key.style);
            let mine = target
                .get_mut(&name)
                .map(|value| std::mem::replace(value, Node::new(Kind::Scalar)));
            let old = mine
                .as_ref()
                .map(|node| (node.style, node.column, node.line));
            let Some(sources) = Sources::new(mine, theirs) else {
                continue;
            };
            let outcome = self.walk(sources, known)?;
            match old {
                None => {
                    let Some(value) = outcome.node().filter(|value| !node::is_null(value)) else {
                        continue;
                    };
                    let mut key = node::scalar(name.as_str());
                    key.style = style.unwrap_or_default();
                    target.content.push(key);
                    target.content.push(value);
                }
                Some((style, column, line)) => {
                    // The node keeps its style and its share number.
                    if let Some(place) = target.get_mut(&name) {
                        place.style = style;
                        place.column = column;
                        place.line = line;
                    }
                    put_back(target, &name, outcome, &mut self.changes)?;
                }
            }
        }
        Ok(())
    }

    fn field_type(
        &mut self,
        object: Option<TypeId>,
        name: &str,
        values: [Option<&Node>; 2],
        keys: [Option<&Node>; 2],
    ) -> Option<TypeId> {
        for (value, key) in values.into_iter().zip(keys) {
            let commented = [value, key]
                .into_iter()
                .flatten()
                .filter(|node| node.comments.is_some())
                .find_map(|node| comment_schema(node.line_comment(), node.head_comment()));
            if let Some(schema) = commented {
                return self.schema.add_comment(&schema);
            }
        }
        object.and_then(|object| self.schema.field(object, name))
    }
}

/// kyaml sets a field with an empty name as if the mapping were a scalar, which fails; the error shows the mapping, whose own value may have been quoted by then.
fn refuse_empty_name(name: &str, map: &mut Node, own: bool) -> Result<()> {
    if name.is_empty() {
        if own {
            map.get_mut(name)
                .into_iter()
                .for_each(node::quote_non_string);
        }
        node::expect(map, Kind::Scalar)?;
    }
    Ok(())
}

fn key<'n>(map: &'n Node, name: &str) -> Option<&'n Node> {
    map.content.get(map.position(name)?)
}

/// All field names, sorted.
fn names<'n>(maps: impl IntoIterator<Item = &'n Node>) -> BTreeSet<String> {
    maps.into_iter()
        .flat_map(Node::entries)
        .map(|(key, _)| key.value.clone())
        .collect()
}

/// Replaces a field by its result.
fn put_back(map: &mut Node, name: &str, outcome: Outcome, changes: &mut Changes) -> Result<()> {
    match outcome {
        Outcome::Clear => node::clear(map, name)?,
        Outcome::Target(mut value) => {
            node::quote_non_string(&mut value);
            if let Some(place) = map.get_mut(name) {
                *place = value;
            }
        }
        Outcome::Other(value) => node::set_field(map, name, value, changes)?,
    }
    Ok(())
}

/// The result for scalars and lists that do not merge: the patch's, if it has one.
fn patched(sources: Sources) -> Outcome {
    match sources {
        Sources::Both(_, patch) | Sources::Patch(patch) => Outcome::Other(patch),
        Sources::Target(node) | Sources::Same(node) => Outcome::Target(node),
    }
}
