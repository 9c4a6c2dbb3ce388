//! The objects of a layer, in order, indexed by identity to avoid searching them in every step.

use std::collections::HashMap;
use std::rc::Rc;

use crate::config::Selector;
use crate::error::{Cause, Fail, Limited, Result};
use crate::id::{Key, ResId};
use crate::meter::Meter;
use crate::node;
use crate::origin::Origin;
use crate::resource::{Behavior, Matcher, Resource};
use crate::scope::Scopes;
use crate::state::State;

/// Objects in order of appearance.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResMap {
    list: Vec<Resource>,
    index: Option<Index>,
}

/// The positions of the objects of each identity. It is dropped by everything that may change identities, and rebuilt
/// on demand.
#[derive(Clone, Debug, Default)]
struct Index {
    current: HashMap<Key, Vec<usize>>,
    any: HashMap<Key, Vec<usize>>,
    names: HashMap<String, Vec<usize>>,
    kinds: HashMap<String, Vec<usize>>,
}

impl Index {
    fn add(&mut self, at: usize, resource: &Resource, scopes: &Scopes) {
        let current = resource.current(scopes);
        push(&mut self.current, current.key(), at);
        if resource.is_empty() {
            return;
        }
        push(&mut self.any, current.key(), at);
        push(&mut self.names, current.id.name.clone(), at);
        push(&mut self.kinds, current.id.gvk.kind.clone(), at);
        for previous in resource.previous(scopes) {
            push(&mut self.any, previous.key(), at);
            push(&mut self.names, previous.name.clone(), at);
            push(&mut self.kinds, previous.gvk.kind.clone(), at);
        }
    }
}

/// Objects are added in order, so a duplicate can only be the last one.
fn push<K: std::hash::Hash + Eq>(map: &mut HashMap<K, Vec<usize>>, key: K, at: usize) {
    let places = map.entry(key).or_default();
    if places.last() != Some(&at) {
        places.push(at);
    }
}

/// The error if one object was expected for an identity, but another number was found.
pub(crate) fn wrong_count(id: &ResId, found: usize) -> String {
    let problem = if found > 1 {
        "multiple matches"
    } else {
        "no matches"
    };
    format!("{problem} for Id {id}; failed to find unique target for patch {id}")
}

impl ResMap {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Resource> {
        self.list.iter()
    }

    /// The objects, for changes that may affect identities.
    pub(crate) fn list_mut(&mut self) -> &mut Vec<Resource> {
        self.index = None;
        &mut self.list
    }

    /// The objects, for changes that affect neither identity nor history.
    pub(crate) fn bodies_mut(&mut self) -> &mut [Resource] {
        &mut self.list
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Resource> {
        self.list.get(at)
    }

    pub(crate) fn into_list(self) -> Vec<Resource> {
        self.list
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    fn index(&mut self, scopes: &Scopes, meter: &Meter) -> Result<&mut Index> {
        if self.index.is_none() {
            // An entry takes about as long as twenty nodes.
            meter.work(self.list.len() * 20)?;
        }
        Ok(self.index.get_or_insert_with(|| {
            let mut index = Index::default();
            for (at, resource) in self.list.iter().enumerate() {
                index.add(at, resource, scopes);
            }
            index
        }))
    }

    /// Appends an object whose identity must be new (KZ-ID-004).
    pub(crate) fn append(&mut self, resource: Resource, state: &State<'_>) -> Result<()> {
        let (scopes, limit) = (state.scopes(), state.resource_limit());
        if self.list.len() >= limit {
            return Err(Fail::new(
                Cause::Limit(Limited::Resources, limit),
                format!("more than {limit} objects in one build"),
            ));
        }
        let at = self.list.len();
        let index = self.index(scopes, state.meter())?;
        let id = resource.current(scopes);
        if index.current.contains_key(&id.key()) {
            return Err(format!("may not add resource with an already registered id: {id}").into());
        }
        index.add(at, &resource, scopes);
        self.list.push(resource);
        Ok(())
    }

    pub(crate) fn append_all(&mut self, other: Self, state: &State<'_>) -> Result<()> {
        if self.list.is_empty() && other.index.as_ref().is_some_and(Index::is_unique) {
            *self = other;
            return Ok(());
        }
        other
            .list
            .into_iter()
            .try_for_each(|resource| self.append(resource, state))
    }

    /// Fails if two objects share an identity, as upstream does when it copies the set.
    pub(crate) fn require_unique(&mut self, state: &State<'_>) -> Result<()> {
        let scopes = state.scopes();
        let fresh = self.index.is_none();
        let index = self.index(scopes, state.meter())?;
        // An existing index has been checked before.
        if !fresh {
            return Ok(());
        }
        if index.is_unique() {
            return Ok(());
        }
        let second = index
            .current
            .values()
            .filter_map(|places| places.get(1).copied())
            .min()
            .unwrap_or_default();
        let id = self.list[second].current(scopes);
        Err(format!("may not add resource with an already registered id: {id}").into())
    }

    /// Adds generated objects, which may merge into existing ones (KZ-GEN-020 to KZ-GEN-027).
    pub(crate) fn absorb(&mut self, new: Resource, state: &State<'_>) -> Result<()> {
        let scopes = state.scopes();
        let id = new.current(scopes).clone();
        let matches = self.any_of(&id.key(), scopes, state.meter())?;
        let shown = || {
            format!(
                "resid.ResId{{Gvk:resid.Gvk{{Group:{:?}, Version:{:?}, Kind:{:?}, isClusterScoped:{}}}, Name:{:?}, \
                 Namespace:{:?}}}",
                id.id.gvk.group,
                id.id.gvk.version,
                id.id.gvk.kind,
                id.cluster_scoped,
                id.id.name,
                id.id.namespace
            )
        };
        let behavior = new.behavior();
        match (matches.as_slice(), behavior) {
            ([], Behavior::Merge | Behavior::Replace) => {
                Err(format!("id {} does not exist; cannot merge or replace", shown()).into())
            }
            ([], _) => self.append(new, state),
            ([at], Behavior::Merge | Behavior::Replace) => {
                let older = self.list[*at].clone();
                let mut merged = merged(new, &older, behavior, state)?;
                merged.update_claim(state.meter())?;
                let now = merged.current(scopes);
                // An object whose kind was patched is found by its history and cannot be replaced.
                if now.key() != older.current(scopes).key() {
                    return Err(format!("cannot find resource with id {now} to replace").into());
                }
                self.list_mut()[*at] = merged;
                Ok(())
            }
            ([_], _) => Err(format!(
                "id {} exists; can not use behavior: '{}', behavior must be merge or replace",
                shown(),
                behavior.as_str()
            )
            .into()),
            _ => Err(format!(
                "found multiple objects {:?} that could accept merge of {id}",
                matches
                    .iter()
                    .map(|at| self.list[*at].current(scopes).to_string())
                    .collect::<Vec<_>>()
            )
            .into()),
        }
    }

    /// Positions of the objects that have or had this identity.
    pub(crate) fn any_of(
        &mut self,
        key: &Key,
        scopes: &Scopes,
        meter: &Meter,
    ) -> Result<Vec<usize>> {
        let found = self.index(scopes, meter)?.any.get(key);
        Ok(found.cloned().unwrap_or_default())
    }

    /// Positions of the objects that have or had this name.
    pub(crate) fn named(
        &mut self,
        name: &str,
        scopes: &Scopes,
        meter: &Meter,
    ) -> Result<Vec<usize>> {
        let found = self.index(scopes, meter)?.names.get(name);
        Ok(found.cloned().unwrap_or_default())
    }

    /// Positions of the objects that have or had this kind.
    fn of_kind(&mut self, kind: &str, scopes: &Scopes, meter: &Meter) -> Result<Vec<usize>> {
        let found = self.index(scopes, meter)?.kinds.get(kind);
        Ok(found.cloned().unwrap_or_default())
    }

    /// Positions of all objects that can match, in order: those of the selector's name, otherwise of its kind, if it is
    /// a literal.
    pub(crate) fn candidates(
        &mut self,
        matcher: &Matcher,
        scopes: &Scopes,
        meter: &Meter,
    ) -> Result<Vec<usize>> {
        self.with_name_or_kind(
            matcher.literal_name(),
            matcher.literal_kind(),
            scopes,
            meter,
        )
    }

    /// Positions of all objects that have or had this name, otherwise this kind, in order.
    pub(crate) fn with_name_or_kind(
        &mut self,
        name: Option<&str>,
        kind: Option<&str>,
        scopes: &Scopes,
        meter: &Meter,
    ) -> Result<Vec<usize>> {
        match (name, kind) {
            (Some(name), _) => self.named(name, scopes, meter),
            (None, Some(kind)) => self.of_kind(kind, scopes, meter),
            (None, None) => {
                meter.work(self.list.len())?;
                Ok((0..self.list.len()).collect())
            }
        }
    }

    /// Positions of the objects that a patch target selects (KZ-PAT-011).
    pub(crate) fn select(
        &mut self,
        selector: &Selector,
        scopes: &Scopes,
        meter: &Meter,
    ) -> Result<Vec<usize>> {
        let matcher = Matcher::new(selector)?;
        let labels = selector.parsed_labels()?;
        let annotations = selector.parsed_annotations()?;
        let mut selected = Vec::new();
        for at in self.candidates(&matcher, scopes, meter)? {
            let resource = &self.list[at];
            let current = resource.current(scopes);
            let (original, original_namespace) = resource.original(scopes);
            meter.steps(matcher.cost(&current.id) + matcher.cost(original))?;
            let matches = matcher.gvk(&current.id.gvk)
                && (matcher.name(&original.name) || matcher.name(&current.id.name))
                && (matcher.namespace(original_namespace)
                    || matcher.namespace(current.effective_namespace()))
                && resource.matches_selectors(&labels, &annotations);
            if matches {
                selected.push(at);
            }
        }
        Ok(selected)
    }

    /// Drops deleted objects (KZ-ORD-006).
    pub(crate) fn drop_empty(&mut self) {
        if self.list.iter().any(Resource::is_empty) {
            self.list_mut().retain(|resource| !resource.is_empty());
        }
    }

    /// Changes one object; the index is kept unless its identities have changed. The error names the object if it would
    /// nest too deep.
    pub(crate) fn change(
        &mut self,
        at: usize,
        scopes: &Scopes,
        meter: &Rc<Meter>,
        change: impl FnOnce(&mut Resource) -> Result<()>,
    ) -> Result<()> {
        let Some(resource) = self.list.get_mut(at) else {
            return Ok(());
        };
        let id = resource.current(scopes).clone();
        let before = (
            resource.current(scopes).key(),
            resource.previous(scopes).to_vec(),
        );
        let result = change(resource)
            .and_then(|()| resource.update_claim(meter))
            .map_err(|fail| match fail.cause {
                Cause::Limit(Limited::Nesting, _) => fail.within(|| format!("object {id}")),
                _ => fail,
            });
        let same = !resource.is_empty()
            && before.0 == resource.current(scopes).key()
            && before.1 == resource.previous(scopes);
        if !same {
            self.index = None;
        }
        result
    }
}

impl Index {
    fn is_unique(&self) -> bool {
        self.current.values().all(|places| places.len() == 1)
    }
}

fn merged(
    mut new: Resource,
    older: &Resource,
    behavior: Behavior,
    state: &State<'_>,
) -> Result<Resource> {
    if behavior == Behavior::Replace {
        new.take_metadata_from(older);
        return Ok(new);
    }
    let origin = Origin::from_annotation(older, state.meter())?;
    new.take_metadata_from(older);
    for field in ["data", "binaryData"] {
        let mut map = node::string_map(node::field(older.node(), field));
        map.extend(node::string_map(node::field(new.node(), field)));
        crate::generator::set_data(new.node_mut(), field, map);
    }
    // KZ-GEN-025
    if let Some(origin) = origin {
        origin.annotate(&mut new);
    }
    Ok(new)
}
