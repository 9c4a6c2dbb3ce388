//! One object during a build.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use flux_selector::Selector as LabelSelector;

use crate::config::Selector;
use crate::error::Result;
use crate::id::{Gvk, Id, ResId};
use crate::meter::{Charge, Meter};
use crate::node::{self, Changes, Extent, Node};
use crate::regexp::{Regex, is_literal};
use crate::scope::Scopes;

/// Annotations that carry an object's history through the build (KZ-ID-013).
pub(crate) mod build_annotation {
    pub(crate) const PREVIOUS_KINDS: &str = "internal.config.kubernetes.io/previousKinds";
    pub(crate) const PREVIOUS_NAMES: &str = "internal.config.kubernetes.io/previousNames";
    pub(crate) const PREVIOUS_NAMESPACES: &str = "internal.config.kubernetes.io/previousNamespaces";
    pub(crate) const PREFIXES: &str = "internal.config.kubernetes.io/prefixes";
    pub(crate) const SUFFIXES: &str = "internal.config.kubernetes.io/suffixes";
    pub(crate) const BEHAVIOR: &str = "internal.config.kubernetes.io/generatorBehavior";
    pub(crate) const NEEDS_HASH: &str = "internal.config.kubernetes.io/needsHashSuffix";
    pub(crate) const ALLOW_NAME_CHANGE: &str = "internal.config.kubernetes.io/allowNameChange";
    pub(crate) const ALLOW_KIND_CHANGE: &str = "internal.config.kubernetes.io/allowKindChange";
    pub(crate) const HELM_GENERATED: &str = "internal.config.kubernetes.io/helm-generated";

    /// All annotations that never reach the output, including those of functions (KZ-ID-014).
    pub(crate) const ALL: [&str; 19] = [
        PREVIOUS_KINDS,
        PREVIOUS_NAMES,
        PREVIOUS_NAMESPACES,
        PREFIXES,
        SUFFIXES,
        BEHAVIOR,
        NEEDS_HASH,
        ALLOW_NAME_CHANGE,
        ALLOW_KIND_CHANGE,
        HELM_GENERATED,
        "internal.config.kubernetes.io/refBy",
        "internal.config.kubernetes.io/path",
        "internal.config.kubernetes.io/index",
        "internal.config.kubernetes.io/seqindent",
        "internal.config.kubernetes.io/id",
        "internal.config.kubernetes.io/annotations-migration-resource-id",
        "config.kubernetes.io/path",
        "config.kubernetes.io/index",
        "config.k8s.io/id",
    ];

    /// Whether the annotation is one that patches must preserve (KZ-J69-013).
    pub(crate) fn is_internal(key: &str) -> bool {
        key.starts_with("internal.config.kubernetes.io/")
            || matches!(
                key,
                "config.kubernetes.io/path" | "config.kubernetes.io/index" | "config.k8s.io/id"
            )
    }
}

use build_annotation as anno;

/// How a generated object affects an existing one (KZ-GEN-019).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behavior {
    Unspecified,
    Create,
    Replace,
    Merge,
}

impl Behavior {
    pub(crate) fn parse(text: &str) -> Self {
        match text {
            "replace" => Self::Replace,
            "merge" => Self::Merge,
            "create" => Self::Create,
            _ => Self::Unspecified,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Merge => "merge",
        }
    }
}

/// Current and historic identities, computed once until the object changes.
#[derive(Clone, Debug)]
struct Ids {
    current: Id,
    previous: Vec<ResId>,
}

/// An object. A deleted one has an empty node.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    node: Node,
    ids: OnceCell<Ids>,
    /// Names of the vars that read from this object.
    pub(crate) vars: Vec<String>,
    /// Its claimed memory.
    charge: Option<Charge>,
}

impl Resource {
    pub(crate) fn new(node: Node) -> Self {
        Self {
            node,
            ids: OnceCell::new(),
            vars: Vec::new(),
            charge: None,
        }
    }

    /// Updates the claimed memory after a change, and fails if the object nests too deep.
    pub(crate) fn update_claim(&mut self, meter: &Rc<Meter>) -> Result<()> {
        let extent = Extent::of_node(&self.node);
        meter.work(extent.nodes)?;
        Meter::fits(extent.height)?;
        self.charge
            .get_or_insert_with(|| Charge::new(meter))
            .set(extent.bytes)
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The object, for any change.
    pub(crate) fn node_mut(&mut self) -> &mut Node {
        self.ids.take();
        &mut self.node
    }

    /// The object, for changes that affect neither its type, nor its name and namespace, nor its annotations.
    pub(crate) fn body_mut(&mut self) -> &mut Node {
        &mut self.node
    }

    pub(crate) fn into_node(self) -> Node {
        self.node
    }

    /// Whether the object has been deleted.
    pub(crate) fn is_empty(&self) -> bool {
        node::is_empty(&self.node)
    }

    pub(crate) fn gvk(&self) -> Gvk {
        Gvk::new(node::api_version(&self.node), node::kind_field(&self.node))
    }

    pub(crate) fn kind(&self) -> &str {
        node::kind_field(&self.node)
    }

    fn meta_text(&self, name: &str) -> &str {
        node::meta_field(&self.node, name)
            .filter(|value| !node::is_empty(value))
            .map_or("", |value| &value.value)
    }

    pub(crate) fn name(&self) -> &str {
        self.meta_text("name")
    }

    pub(crate) fn namespace(&self) -> &str {
        self.meta_text("namespace")
    }

    pub(crate) fn annotation(&self, key: &str) -> Option<&str> {
        let map = node::meta_field(&self.node, "annotations")?;
        map.get(key).map(|value| value.value.as_str())
    }

    /// The comma-separated values of an annotation.
    fn list(&self, key: &str) -> Vec<&str> {
        self.annotation(key)
            .map_or_else(Vec::new, |text| text.split(',').collect())
    }

    fn append(&mut self, key: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let text = match self.annotation(key) {
            Some(present) => format!("{present},{value}"),
            None => value.to_owned(),
        };
        node::set_annotation(self.node_mut(), key, &text);
    }

    fn ids(&self, scopes: &Scopes) -> &Ids {
        self.ids.get_or_init(|| Ids {
            current: Id::current(self.gvk(), self.name(), self.namespace(), scopes),
            previous: self.read_previous(),
        })
    }

    fn read_previous(&self) -> Vec<ResId> {
        if self.annotation(anno::PREVIOUS_NAMES).is_none() {
            return Vec::new();
        }
        let names = self.list(anno::PREVIOUS_NAMES);
        let namespaces = self.list(anno::PREVIOUS_NAMESPACES);
        let kinds = self.list(anno::PREVIOUS_KINDS);
        let now = self.gvk();
        // The three have the same length unless they were written manually.
        names
            .iter()
            .zip(namespaces)
            .zip(kinds)
            .map(|((name, namespace), kind)| ResId {
                gvk: Gvk {
                    kind: kind.to_owned(),
                    ..now.clone()
                },
                name: (*name).to_owned(),
                namespace: namespace.to_owned(),
            })
            .collect()
    }

    /// Fails if the lists that make up the history do not match, as after a name was empty for a while.
    pub(crate) fn check_history(&self) -> Result<(), String> {
        let names = self.list(anno::PREVIOUS_NAMES).len();
        let same = self.annotation(anno::PREVIOUS_NAMES).is_none()
            || names == self.list(anno::PREVIOUS_NAMESPACES).len()
                && names == self.list(anno::PREVIOUS_KINDS).len();
        if same {
            return Ok(());
        }
        Err("number of previous names, number of previous namespaces, number of previous kinds not equal".into())
    }

    /// The current identity.
    pub(crate) fn current(&self, scopes: &Scopes) -> &Id {
        &self.ids(scopes).current
    }

    /// The previous identities, oldest first (KZ-ID-011).
    pub(crate) fn previous(&self, scopes: &Scopes) -> &[ResId] {
        &self.ids(scopes).previous
    }

    /// The original identity (KZ-ID-012).
    pub(crate) fn original<'r>(&'r self, scopes: &Scopes) -> (&'r ResId, &'r str) {
        let ids = self.ids(scopes);
        match ids.previous.first() {
            Some(first) => (first, first.effective_namespace()),
            None => (&ids.current.id, ids.current.effective_namespace()),
        }
    }

    /// Adds the current identity to the history.
    pub(crate) fn store_previous(&mut self, scopes: &Scopes) {
        let id = self.current(scopes).clone();
        self.append(anno::PREVIOUS_NAMES, &id.id.name);
        self.append(anno::PREVIOUS_NAMESPACES, id.effective_namespace());
        self.append(anno::PREVIOUS_KINDS, &id.id.gvk.kind);
    }

    pub(crate) fn add_prefix(&mut self, prefix: &str) {
        self.append(anno::PREFIXES, prefix);
    }

    pub(crate) fn add_suffix(&mut self, suffix: &str) {
        self.append(anno::SUFFIXES, suffix);
    }

    /// Whether the prefixes and suffixes of the two have the same end; if `lenient`, an object without any agrees with
    /// all (KZ-REF-007).
    pub(crate) fn affixes_agree(&self, other: &Self, lenient: bool) -> bool {
        [anno::PREFIXES, anno::SUFFIXES].into_iter().all(|key| {
            let (mine, theirs) = (self.list(key), other.list(key));
            if mine.is_empty() || theirs.is_empty() {
                return lenient || mine.len() == theirs.len();
            }
            let length = mine.len().min(theirs.len());
            mine[mine.len() - length..] == theirs[theirs.len() - length..]
        })
    }

    pub(crate) fn set_name(&mut self, name: &str) {
        let mut changes = Changes::default();
        node::set_name(self.node_mut(), name, &mut changes);
        changes.settle_text(&mut self.node);
    }

    fn enable(&mut self, key: &str) {
        let mut annotations = node::annotations(&self.node);
        annotations.insert(key.into(), "enabled".into());
        node::set_annotations(self.node_mut(), &annotations);
    }

    fn is_enabled(&self, key: &str) -> bool {
        self.annotation(key) == Some("enabled")
    }

    pub(crate) fn allow_name_change(&mut self) {
        self.enable(anno::ALLOW_NAME_CHANGE);
    }

    pub(crate) fn may_change_name(&self) -> bool {
        self.is_enabled(anno::ALLOW_NAME_CHANGE)
    }

    pub(crate) fn allow_kind_change(&mut self) {
        self.enable(anno::ALLOW_KIND_CHANGE);
    }

    pub(crate) fn may_change_kind(&self) -> bool {
        self.is_enabled(anno::ALLOW_KIND_CHANGE)
    }

    pub(crate) fn enable_hash(&mut self) {
        self.enable(anno::NEEDS_HASH);
    }

    pub(crate) fn needs_hash(&self) -> bool {
        self.is_enabled(anno::NEEDS_HASH)
    }

    pub(crate) fn behavior(&self) -> Behavior {
        Behavior::parse(self.annotation(anno::BEHAVIOR).unwrap_or_default())
    }

    pub(crate) fn set_behavior(&mut self, behavior: Behavior) {
        let mut annotations = node::annotations(&self.node);
        annotations.insert(anno::BEHAVIOR.into(), behavior.as_str().into());
        node::set_annotations(self.node_mut(), &annotations);
    }

    /// Takes the names, labels and annotations of the older object, overridden by this one's own labels and annotations
    /// (KZ-GEN-023).
    pub(crate) fn take_metadata_from(&mut self, older: &Self) {
        let mut labels = node::labels(older.node());
        labels.extend(node::labels(&self.node));
        let mine = node::annotations(&self.node);
        let theirs = node::annotations(older.node());
        let needs_hash = mine.contains_key(anno::NEEDS_HASH);
        let mut annotations = theirs.clone();
        annotations.extend(mine);
        // The history is the older one's.
        for key in anno::ALL {
            match theirs.get(key) {
                Some(value) => annotations.insert(key.into(), value.clone()),
                None => annotations.remove(key),
            };
        }
        if !needs_hash {
            annotations.remove(anno::NEEDS_HASH);
        }
        let mut changes = Changes::default();
        let node = self.node_mut();
        node::set_labels(node, &labels);
        node::set_annotations(node, &annotations);
        node::set_name(node, older.name(), &mut changes);
        node::set_namespace(node, older.namespace(), &mut changes);
        self.vars.clone_from(&older.vars);
    }

    /// Whether the selectors match labels and annotations.
    pub(crate) fn matches_selectors(
        &self,
        labels: &LabelSelector,
        annotations: &LabelSelector,
    ) -> bool {
        let matches = |selector: &LabelSelector, read: fn(&Node) -> BTreeMap<String, String>| {
            selector.is_empty() || {
                let values = read(&self.node);
                selector.matches(|key| values.get(key).map(String::as_str))
            }
        };
        matches(labels, node::labels) && matches(annotations, node::annotations)
    }
}

/// A part of a compiled [`Selector`]: most are literals.
#[derive(Debug)]
enum Pattern {
    Any,
    Text(String),
    Regex(Regex),
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, String> {
        Ok(if pattern.is_empty() {
            Self::Any
        } else if is_literal(pattern) {
            Self::Text(pattern.to_owned())
        } else {
            Self::Regex(Regex::new(&format!("^(?:{pattern})$"))?)
        })
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn cost(&self) -> u64 {
        match self {
            Self::Any | Self::Text(_) => 0,
            Self::Regex(regex) => regex.cost(""),
        }
    }

    fn passes(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Text(wanted) => wanted == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// A compiled [`Selector`] (KZ-PAT-010).
#[derive(Debug)]
pub(crate) struct Matcher {
    group: Pattern,
    version: Pattern,
    kind: Pattern,
    name: Pattern,
    namespace: Pattern,
    pub(crate) has_id: bool,
    /// The steps of comparing an object with it, per byte of the object's identity.
    cost: u64,
}

impl Matcher {
    pub(crate) fn new(selector: &Selector) -> Result<Self, String> {
        let id = &selector.id;
        let mut matcher = Self {
            group: Pattern::new(&id.gvk.group)?,
            version: Pattern::new(&id.gvk.version)?,
            kind: Pattern::new(&id.gvk.kind)?,
            name: Pattern::new(&id.name)?,
            namespace: Pattern::new(&id.namespace)?,
            has_id: !id.is_empty(),
            cost: 0,
        };
        let parts = [
            &matcher.group,
            &matcher.version,
            &matcher.kind,
            &matcher.name,
            &matcher.namespace,
        ];
        matcher.cost = parts.into_iter().map(Pattern::cost).sum();
        Ok(matcher)
    }

    /// The steps of comparing an identity with it.
    pub(crate) fn cost(&self, id: &ResId) -> u64 {
        let bytes = id.name.len() + id.namespace.len() + id.gvk.kind.len() + id.gvk.group.len();
        4 + self.cost * (1 + bytes as u64 / 16)
    }

    /// The only name that can match, if it is a literal.
    pub(crate) fn literal_name(&self) -> Option<&str> {
        self.name.text()
    }

    /// The only kind that can match, if it is a literal.
    pub(crate) fn literal_kind(&self) -> Option<&str> {
        self.kind.text()
    }

    pub(crate) fn gvk(&self, gvk: &Gvk) -> bool {
        self.kind.passes(&gvk.kind)
            && self.group.passes(&gvk.group)
            && self.version.passes(&gvk.version)
    }

    pub(crate) fn name(&self, name: &str) -> bool {
        self.name.passes(name)
    }

    pub(crate) fn namespace(&self, namespace: &str) -> bool {
        self.namespace.passes(namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_a_selector_costs() {
        type Part = fn(&mut ResId) -> &mut String;
        let cost = |selector: &Selector| {
            let matcher = Matcher::new(selector).unwrap();
            matcher.cost(&ResId::default())
        };
        let parts: [Part; 5] = [
            |id| &mut id.gvk.group,
            |id| &mut id.gvk.version,
            |id| &mut id.gvk.kind,
            |id| &mut id.name,
            |id| &mut id.namespace,
        ];
        for part in parts {
            let mut selector = Selector::default();
            "(a|b)*x".clone_into(part(&mut selector.id));
            assert!(cost(&selector) > cost(&Selector::default()), "{selector:?}");
        }
    }
}
