//! Merges lists by keys, or as a set (KZ-SMP-010 to KZ-SMP-017, KZ-SMP-020).

use std::collections::BTreeSet;

use super::{DIRECTIVE, Directive, Outcome, Sources, Walker};
use crate::error::Result;
use crate::node::{self, Changes, Kind, Node};
use crate::schema::TypeId;

/// Removes and returns the directive of a list: an element with nothing else in it.
fn list_directive(patch: &mut Node) -> Result<Directive> {
    let Some(element) = patch
        .content
        .iter()
        .find(|item| item.kind == Kind::Mapping && item.get(DIRECTIVE).is_some())
    else {
        return Ok(Directive::Merge);
    };
    if element.content.len() > 2 {
        return Ok(Directive::Merge);
    }
    let text = element
        .get(DIRECTIVE)
        .map(|value| value.value.clone())
        .unwrap_or_default();
    let directive = Directive::parse(&text)?;
    set_element(&mut patch.content, None, &[DIRECTIVE.to_owned()], &[text])?;
    Ok(directive)
}

/// The rest of an element that may be deleted, without its directive; `None` for an element that cannot be deleted.
fn without_directive(element: &Node) -> Option<Node> {
    if node::is_null(element) {
        return Some(element.clone());
    }
    element.get(DIRECTIVE)?;
    let mut element = element.clone();
    let _ = node::clear(&mut element, DIRECTIVE);
    Some(element)
}

/// The position of an element of the result.
#[derive(Clone, Copy)]
enum Place {
    Target(usize),
    Patch(usize),
}

/// Both lists; merging changes their elements in place.
struct Lists {
    target: Vec<Node>,
    patch: Vec<Node>,
    /// There is only one list, used as both.
    same: bool,
}

impl Walker<'_> {
    pub(super) fn merged_list(
        &mut self,
        sources: Sources,
        known: Option<TypeId>,
        keys: &[String],
    ) -> Result<Outcome> {
        let (list, lists, style) = match sources {
            Sources::Target(mut target) => {
                if node::is_null(&target) {
                    return Ok(Outcome::Target(target));
                }
                let elements = std::mem::take(&mut target.content);
                let style = target.style;
                (Some(target), Lists::new(elements, Vec::new()), style)
            }
            Sources::Both(target, mut patch) if !node::is_null(&target) => {
                if node::is_null(&patch) {
                    return Ok(Outcome::Clear);
                }
                match list_directive(&mut patch)? {
                    Directive::Delete => return Ok(Outcome::Clear),
                    Directive::Replace => {
                        let style = patch.style;
                        (None, Lists::same(patch.content), style)
                    }
                    Directive::Merge => {
                        let mut target = target;
                        let elements = std::mem::take(&mut target.content);
                        let style = target.style;
                        (Some(target), Lists::new(elements, patch.content), style)
                    }
                }
            }
            Sources::Both(_, patch) | Sources::Patch(patch) => {
                let style = patch.style;
                (None, Lists::same(patch.content), style)
            }
            Sources::Same(mut node) => {
                if list_directive(&mut node)? == Directive::Delete {
                    return Ok(Outcome::Clear);
                }
                let style = node.style;
                (None, Lists::same(node.content), style)
            }
        };
        if let (Some(list), Some(key)) = (&list, only_key(&lists, keys)) {
            return self.untouched(list.clone(), lists.target, key, known);
        }
        let values = lists.values(keys);
        let primitive = [String::new()];
        let (values, keys) = if values.is_empty() && keys.is_empty() {
            (lists.primitives(), &primitive[..])
        } else {
            (values, keys)
        };
        if values.is_empty() {
            let mut list = list.unwrap_or_else(|| Node::new(Kind::Sequence));
            list.content = lists.target;
            list.style = style;
            return Ok(Outcome::Target(list));
        }
        let mut merged = Node::new(Kind::Sequence);
        merged.content = self.elements(lists, values, keys, known)?;
        merged.style = style;
        Ok(Outcome::Other(merged))
    }

    /// A list that the patch does not set, with elements identified by keys: only their fields are visited.
    fn untouched(
        &mut self,
        mut list: Node,
        elements: Vec<Node>,
        key: &str,
        known: Option<TypeId>,
    ) -> Result<Outcome> {
        let element_type = known.and_then(|id| self.schema.items(id));
        for element in elements {
            let name = element.get(key).cloned();
            let Some(mut merged) = self.walk(Sources::Target(element), element_type)?.node() else {
                continue;
            };
            if merged.get(key).is_none()
                && let Some(name) = name
            {
                node::set_field(&mut merged, key, name, &mut Changes::default())?;
            }
            list.content.push(merged);
        }
        Ok(Outcome::Target(list))
    }

    fn elements(
        &mut self,
        mut lists: Lists,
        mut values: Vec<Vec<String>>,
        keys: &[String],
        known: Option<TypeId>,
    ) -> Result<Vec<Node>> {
        let element_type = known.and_then(|id| self.schema.items(id));
        if keys.len() > 1 {
            self.meter.work(values.len() * values.len())?;
            merge_values(&mut values);
        }
        let mut items: Vec<Node> = Vec::new();
        let mut valid = (Vec::new(), Vec::new());
        for index in 0..values.len() {
            // Each element is searched in all of these, and inserted among them.
            let all = lists.target.len() + lists.patch.len() + items.len();
            self.meter.work(all)?;
            valid = valid_keys(&values, &values[index], keys);
            let (valid_keys, valid_values) = &valid;
            let outcome = self.element(&mut lists, valid_keys, valid_values, element_type)?;
            let Some(place) = outcome else {
                // KZ-SMP-015
                set_element(lists.merged_into(), None, valid_keys, valid_values)?;
                continue;
            };
            let element = lists.at(place);
            for (key, value) in valid_keys.iter().zip(valid_values) {
                if element.get(key).is_some() || value.is_empty() {
                    continue;
                }
                if key.is_empty() {
                    // A scalar is set to itself, and loses its tag.
                    node::expect(element, Kind::Scalar)?;
                    element.tag = "".into();
                    element.value.clone_from(value);
                } else {
                    node::set_field(
                        element,
                        key,
                        node::scalar(value.as_str()),
                        &mut Changes::default(),
                    )?;
                }
            }
            let element = element.clone();
            set_element(&mut items, Some(element), valid_keys, valid_values)?;
        }
        let rest = if lists.same {
            lists.patch
        } else {
            lists.target
        };
        self.meter.work(rest.len() * (items.len() + rest.len()))?;
        append(&mut items, rest, &valid.0)?;
        Ok(items)
    }

    /// Merges the elements with these values; `None` if nothing is left of them.
    fn element(
        &mut self,
        lists: &mut Lists,
        keys: &[String],
        values: &[String],
        known: Option<TypeId>,
    ) -> Result<Option<Place>> {
        let own = [values.to_vec()];
        let (keys, values) = valid_keys(&own, values, keys);
        let mine = find(&lists.target, &keys, &values);
        let theirs = find(&lists.patch, &keys, &values);
        let blank = || Node::new(Kind::Scalar);
        // A deleted element of a list that only the patch has is searched there again to remove it.
        let own = theirs.filter(|_| lists.same);
        let deleted = own.and_then(|at| without_directive(&lists.patch[at]));
        let sources = if lists.same {
            theirs.map(|at| Sources::Same(std::mem::replace(&mut lists.patch[at], blank())))
        } else {
            let target = mine.map(|at| std::mem::replace(&mut lists.target[at], blank()));
            let patch = theirs.map(|at| std::mem::replace(&mut lists.patch[at], blank()));
            // The target's node is needed again if the patch's replaces it.
            Sources::new(target, patch)
        };
        let Some(sources) = sources else {
            return Ok(None);
        };
        let kept = match &sources {
            Sources::Both(target, patch)
                if target.kind == Kind::Scalar || patch.get(DIRECTIVE).is_some() =>
            {
                Some(target.clone())
            }
            Sources::Both(..) => Some(Node::null()),
            _ => None,
        };
        let outcome = self.walk(sources, known)?;
        let place = match (&outcome, mine, theirs) {
            (Outcome::Target(_), Some(at), _) if !lists.same => Place::Target(at),
            (_, _, Some(at)) => Place::Patch(at),
            (_, Some(at), None) => Place::Target(at),
            (_, None, None) => return Ok(None),
        };
        if !matches!(outcome, Outcome::Target(_))
            && let (Some(at), Some(kept)) = (mine, kept)
        {
            lists.target[at] = kept;
        }
        let gone = match outcome.node() {
            None => {
                if let Some((at, element)) = own.zip(deleted) {
                    lists.patch[at] = element;
                }
                true
            }
            Some(node) => {
                let gone =
                    node::is_null(&node) || node.kind == Kind::Mapping && node.content.is_empty();
                *lists.at(place) = node;
                gone
            }
        };
        Ok((!gone).then_some(place))
    }
}

impl Lists {
    fn new(target: Vec<Node>, patch: Vec<Node>) -> Self {
        Self {
            target,
            patch,
            same: false,
        }
    }

    fn same(list: Vec<Node>) -> Self {
        Self {
            target: Vec::new(),
            patch: list,
            same: true,
        }
    }

    /// The list that becomes the result.
    fn merged_into(&mut self) -> &mut Vec<Node> {
        if self.same {
            &mut self.patch
        } else {
            &mut self.target
        }
    }

    fn at(&mut self, place: Place) -> &mut Node {
        match place {
            Place::Target(at) => &mut self.target[at],
            Place::Patch(at) => &mut self.patch[at],
        }
    }

    /// The key values of every element, the patch's first, each combination once.
    fn values(&self, keys: &[String]) -> Vec<Vec<String>> {
        if keys.is_empty() {
            return Vec::new();
        }
        let mut seen = BTreeSet::new();
        self.patch
            .iter()
            .chain(&self.target)
            .map(|element| {
                keys.iter()
                    .map(|key| {
                        element
                            .get(key)
                            .filter(|value| !node::is_empty(value))
                            .map_or_else(String::new, |value| value.value.clone())
                    })
                    .collect::<Vec<_>>()
            })
            .filter(|values| seen.insert(values.clone()))
            .collect()
    }

    fn primitives(&self) -> Vec<Vec<String>> {
        let mut seen = BTreeSet::new();
        self.patch
            .iter()
            .chain(&self.target)
            .filter(|element| seen.insert(element.value.clone()))
            .map(|element| vec![element.value.clone()])
            .collect()
    }
}

/// The key of a list that only the target has, if every element has a different value for it.
fn only_key<'k>(lists: &Lists, keys: &'k [String]) -> Option<&'k str> {
    let [key] = keys else {
        return None;
    };
    if lists.same || !lists.patch.is_empty() {
        return None;
    }
    let mut seen = BTreeSet::new();
    lists
        .target
        .iter()
        .all(|element| {
            element.kind == Kind::Mapping
                && element.get(key).is_some_and(|value| {
                    value.kind == Kind::Scalar
                        && !node::is_null(value)
                        && !value.value.is_empty()
                        && seen.insert(value.value.as_str())
                })
        })
        .then_some(key)
}

/// A missing key matches any value if another key is equal (KZ-SMP-012).
fn merge_values(all: &mut [Vec<String>]) {
    // Each iteration works on the list as it was when the iteration began.
    for i in 0..all.len() {
        let first = all[i].clone();
        for j in 0..all.len() {
            let second = all[j].clone();
            if let Some(merged) = joined(&first, &second) {
                all[i].clone_from(&merged);
                all[j] = merged;
            }
        }
    }
}

fn joined(first: &[String], second: &[String]) -> Option<Vec<String>> {
    if first.len() != second.len() {
        return None;
    }
    let mut common = false;
    let mut merged = Vec::with_capacity(first.len());
    for (a, b) in first.iter().zip(second) {
        if a == b {
            common = true;
        } else if !a.is_empty() && !b.is_empty() {
            return None;
        }
        merged.push(if a.is_empty() { b.clone() } else { a.clone() });
    }
    common.then_some(merged)
}

/// The keys that any element has (KZ-SMP-013), with their values.
fn valid_keys(
    all: &[Vec<String>],
    values: &[String],
    keys: &[String],
) -> (Vec<String>, Vec<String>) {
    let used = |index: usize| {
        all.iter()
            .any(|values| values.get(index).is_some_and(|value| !value.is_empty()))
    };
    if !(0..keys.len()).any(used) {
        return (keys.to_vec(), values.to_vec());
    }
    let valid: Vec<String> = keys
        .iter()
        .enumerate()
        .filter(|(index, _)| used(*index))
        .map(|(_, key)| key.clone())
        .collect();
    let values = values
        .iter()
        .enumerate()
        .filter(|(index, value)| !value.is_empty() || used(*index))
        .map(|(_, value)| value.clone())
        .collect();
    (valid, values)
}

fn find(list: &[Node], keys: &[String], values: &[String]) -> Option<usize> {
    if keys.first().is_none_or(String::is_empty) {
        let value = values.first().map_or("", String::as_str);
        return list.iter().position(|item| item.value == value);
    }
    if keys.len() != values.len() {
        return None;
    }
    list.iter().position(|item| {
        item.kind == Kind::Mapping
            && keys
                .iter()
                .zip(values)
                .all(|(key, value)| item.get(key).is_some_and(|found| found.value == *value))
    })
}

/// kyaml's `ElementSetter`: replaces the elements with these values, removes them if there is no new one, appends a new
/// one if none matches; drops nulls and empty mappings.
fn set_element(
    list: &mut Vec<Node>,
    element: Option<Node>,
    keys: &[String],
    values: &[String],
) -> Result<()> {
    let by_key = keys.first().is_some_and(|key| !key.is_empty())
        && values.first().is_some_and(|value| !value.is_empty());
    let mut found = false;
    let mut kept = Vec::with_capacity(list.len() + 1);
    for item in list.drain(..) {
        if node::is_null(&item) || item.kind == Kind::Mapping && item.content.is_empty() {
            continue;
        }
        if item.kind != Kind::Mapping && by_key {
            kept.push(item);
            continue;
        }
        if !matches(&item, keys, values)? {
            if !values.is_empty() {
                kept.push(item);
            }
            continue;
        }
        found = true;
        kept.extend(element.clone());
    }
    if let Some(element) = element
        && !found
        && !node::is_null(&element)
    {
        kept.push(element);
    }
    *list = kept;
    Ok(())
}

fn matches(item: &Node, keys: &[String], values: &[String]) -> Result<bool> {
    let mut last = false;
    for (index, key) in keys.iter().enumerate() {
        if let Some(value) = values.get(index) {
            last = if key.is_empty() {
                node::expect(item, Kind::Scalar)?;
                item.value == *value
            } else {
                // An empty value only requires that the field exists.
                node::get(item, key)?.is_some_and(|found| value.is_empty() || found.value == *value)
            };
        }
        if !last {
            return Ok(false);
        }
    }
    Ok(!keys.is_empty())
}

/// Appends the elements of the target to those merged so far; equal ones replace them.
fn append(items: &mut Vec<Node>, rest: Vec<Node>, keys: &[String]) -> Result<()> {
    for element in rest {
        if keys.first().is_some_and(String::is_empty) {
            let value = element.value.clone();
            set_element(items, Some(element), keys, &[value])?;
            continue;
        }
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            match node::get(&element, key)? {
                Some(value) => values.push(value.value.clone()),
                None => items.push(element.clone()),
            }
        }
        if keys.len() > 1 {
            set_element(items, None, keys, &values)?;
        }
        set_element(items, Some(element), keys, &values)?;
    }
    Ok(())
}
