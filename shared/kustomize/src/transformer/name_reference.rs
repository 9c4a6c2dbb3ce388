//! Updates references to objects whose names have changed (KZ-REF rows).

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::config::FieldSpec;
use crate::error::{Context, Result};
use crate::field_spec;
use crate::id::{Gvk, NO_NAMESPACE, ResId};
use crate::meter::Meter;
use crate::node::{self, Changes, Kind, Node};
use crate::resmap::ResMap;
use crate::resource::Resource;
use crate::scope::Scopes;
use crate::state::State;
use crate::transformer_config::NameReference;

/// The facts about a referral target that references need.
struct Candidate {
    current: ResId,
    cluster_scoped: bool,
    effective_namespace: String,
    original_namespace: String,
    previous: Vec<ResId>,
    /// The object with only its annotations, for its prefixes and suffixes.
    affixes: Resource,
}

/// All objects that may be referred to, by each of their current and previous names.
struct Candidates {
    all: Vec<Candidate>,
    by_name: HashMap<String, Vec<usize>>,
    /// The current places (effective namespace and text) of the objects that originally had a namespace.
    moved: HashMap<String, HashSet<(String, String)>>,
}

/// Rewrites all references.
pub(crate) fn fix(map: &mut ResMap, references: &[NameReference], state: &State<'_>) -> Result<()> {
    let scopes = state.scopes();
    let meter = state.meter();
    meter.work(map.len() * 20)?;
    map.iter().try_for_each(Resource::check_history)?;
    let candidates = Candidates::of(map, scopes);
    // The specs for a kind of referrer are determined once per kind.
    let mut plans: HashMap<Gvk, Vec<(&Gvk, &FieldSpec)>> = HashMap::new();
    for resource in map.list_mut() {
        let original = resource.original(scopes).0.gvk.clone();
        let plan = plans.entry(original).or_insert_with_key(|gvk| {
            references
                .iter()
                .flat_map(|reference| {
                    let target = &reference.target;
                    reference.referrers.iter().map(move |field| (target, field))
                })
                .filter(|(_, field)| gvk.is_selected(&field.gvk))
                .collect()
        });
        if plan.is_empty() {
            continue;
        }
        let referrer = Referrer::of(resource, scopes)?;
        for (target, field) in plan {
            referrer.update(resource, target, field, &candidates, meter)?;
        }
        resource.update_claim(meter)?;
    }
    Ok(())
}

impl Candidates {
    fn of(map: &ResMap, scopes: &Scopes) -> Self {
        let mut all = Vec::new();
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        let mut moved: HashMap<String, HashSet<(String, String)>> = HashMap::new();
        for resource in map.iter() {
            let place = moved
                .entry(resource.original(scopes).1.to_owned())
                .or_default();
            place.insert((
                resource.current(scopes).effective_namespace().to_owned(),
                resource.namespace().to_owned(),
            ));
            // KZ-REF-001
            let previous = resource.previous(scopes);
            if previous.is_empty() {
                continue;
            }
            for id in previous {
                let places = by_name.entry(id.name.clone()).or_default();
                if places.last() != Some(&all.len()) {
                    places.push(all.len());
                }
            }
            let current = resource.current(scopes);
            all.push(Candidate {
                current: current.id.clone(),
                cluster_scoped: current.cluster_scoped,
                effective_namespace: current.effective_namespace().to_owned(),
                original_namespace: resource.original(scopes).1.to_owned(),
                previous: previous.to_vec(),
                affixes: affixes(resource),
            });
        }
        moved.remove(NO_NAMESPACE);
        Self {
            all,
            by_name,
            moved,
        }
    }
}

fn affixes(resource: &Resource) -> Resource {
    let mut meta = Node::new(Kind::Mapping);
    if let Some(annotations) = node::meta_field(resource.node(), "annotations") {
        meta.content
            .extend([node::scalar("annotations"), annotations.clone()]);
    }
    Resource::new(Node::mapping([(node::scalar("metadata"), meta)]))
}

/// The object whose references are updated.
struct Referrer {
    gvk: Gvk,
    id: String,
    cluster_scoped: bool,
    effective_namespace: String,
    /// Namespaces of a role binding's service accounts (KZ-REF-003).
    account_namespaces: HashSet<String>,
    role: Option<Gvk>,
    affixes: Resource,
}

impl Referrer {
    fn of(resource: &Resource, scopes: &Scopes) -> Result<Self> {
        let current = resource.current(scopes);
        Ok(Self {
            gvk: current.id.gvk.clone(),
            id: current.to_string(),
            cluster_scoped: current.cluster_scoped,
            effective_namespace: current.effective_namespace().to_owned(),
            account_namespaces: if current.cluster_scoped {
                HashSet::new()
            } else {
                account_namespaces(resource, &current.to_string())?
            },
            role: role(resource.node()),
            affixes: affixes(resource),
        })
    }

    fn update(
        &self,
        resource: &mut Resource,
        target: &Gvk,
        field: &FieldSpec,
        candidates: &Candidates,
        meter: &Rc<Meter>,
    ) -> Result<()> {
        // KZ-REF-002: the spec's kind was compared with the original one, the path is followed in the current object.
        let field = FieldSpec {
            gvk: self.gvk.clone(),
            ..field.clone()
        };
        let search = Search {
            referrer: self,
            target,
            candidates,
            meter,
            is_role: field.path.ends_with("roleRef/name"),
        };
        let mut changes = Changes::default();
        let object = resource.node_mut();
        field_spec::visit(object, &field, None, meter, &mut |at| {
            search.set(at, &mut changes)
        })
        .context(|| {
            format!(
                "updating name reference in '{}' field of '{}'",
                field.path, self.id
            )
        })?;
        changes.settle(object, meter)
    }
}

fn account_namespaces(resource: &Resource, id: &str) -> Result<HashSet<String>> {
    let mut namespaces = HashSet::new();
    if resource.kind() != "RoleBinding" {
        return Ok(namespaces);
    }
    for subject in node::field(resource.node(), "subjects").map_or(&[][..], Node::items) {
        let (Some(namespace), Some(kind)) = (subject.get("namespace"), subject.get("kind")) else {
            continue;
        };
        if kind.value != "ServiceAccount" {
            continue;
        }
        if node::is_null(namespace) || namespace.as_string().is_none() {
            return Err(
                format!("Invalid Input: namespace is blank for resource \"{id}\"\n").into(),
            );
        }
        namespaces.insert(namespace.value.clone());
    }
    Ok(namespaces)
}

fn role(object: &Node) -> Option<Gvk> {
    let reference = node::field(object, "roleRef")?;
    Some(Gvk {
        group: reference.get("apiGroup")?.value.clone(),
        version: String::new(),
        kind: reference.get("kind")?.value.clone(),
    })
}

struct Search<'s> {
    referrer: &'s Referrer,
    target: &'s Gvk,
    candidates: &'s Candidates,
    meter: &'s Meter,
    is_role: bool,
}

impl Search<'_> {
    fn set(&self, at: &mut Node, changes: &mut Changes) -> Result<()> {
        if node::is_null(at) {
            return Ok(());
        }
        match at.kind {
            Kind::Scalar => self.set_text(at, changes),
            Kind::Mapping => self.set_map(at, changes),
            _ => at.content.iter_mut().try_for_each(|item| {
                if node::is_null(item) {
                    return Ok(());
                }
                match item.kind {
                    Kind::Scalar => self.set_text(item, changes),
                    Kind::Mapping => self.set_map(item, changes),
                    _ => Err("is expected to be either a string or a map of string".into()),
                }
            }),
        }
    }

    /// KZ-REF-010
    fn set_text(&self, at: &mut Node, changes: &mut Changes) -> Result<()> {
        let found = self.select(&at.value, |_| true, |a, b| a.name == b.name)?;
        match found {
            Some(candidate) if candidate.current.name != at.value => {
                let name = node::scalar(candidate.current.name.as_str());
                Ok(node::set_scalar(at, name, changes)?)
            }
            _ => Ok(()),
        }
    }

    /// KZ-REF-011 to KZ-REF-013
    fn set_map(&self, at: &mut Node, changes: &mut Changes) -> Result<()> {
        let Some(name) = at.get("name").map(|name| name.value.clone()) else {
            return Err("path config error; no 'name' field in node".into());
        };
        let namespace = at.get("namespace").map(|namespace| namespace.value.clone());
        let identical = |a: &ResId, b: &ResId| a.name == b.name && a.namespace == b.namespace;
        let found = match &namespace {
            None => self.select(&name, |_| true, identical)?,
            Some(namespace) => {
                // The namespace is an original one, otherwise a current one.
                if self.came_with(namespace) {
                    let came = |candidate: &Candidate| candidate.original_namespace == *namespace;
                    self.select(&name, came, identical)?
                } else {
                    let has = |candidate: &Candidate| {
                        candidate.effective_namespace == *namespace && namespace != NO_NAMESPACE
                    };
                    self.select(&name, has, identical)?
                }
            }
        };
        let Some(candidate) = found else {
            return Ok(());
        };
        let current = &candidate.current;
        if current.name == name && current.namespace.is_empty() {
            return Ok(());
        }
        node::set_field(at, "name", node::scalar(current.name.as_str()), changes)?;
        if !current.namespace.is_empty() {
            node::set_field(
                at,
                "namespace",
                node::scalar(current.namespace.as_str()),
                changes,
            )?;
        }
        Ok(())
    }

    /// Whether an object that may be referred to originally had this namespace.
    fn came_with(&self, namespace: &str) -> bool {
        let referrer = self.referrer;
        self.candidates.moved.get(namespace).is_some_and(|now| {
            now.iter().any(|(effective, text)| {
                referrer.cluster_scoped
                    || effective == NO_NAMESPACE
                    || *effective == referrer.effective_namespace
                    || referrer.account_namespaces.contains(text)
            })
        })
    }

    /// KZ-REF-003
    fn is_visible(&self, candidate: &Candidate) -> bool {
        self.referrer.cluster_scoped
            || candidate.cluster_scoped
            || candidate.effective_namespace == self.referrer.effective_namespace
            || self
                .referrer
                .account_namespaces
                .contains(&candidate.current.namespace)
    }

    /// Filters 1 to 5 (KZ-REF-004 to KZ-REF-009).
    fn select(
        &self,
        name: &str,
        among: impl Fn(&Candidate) -> bool,
        identical: impl Fn(&ResId, &ResId) -> bool,
    ) -> Result<Option<&Candidate>> {
        let was = |candidate: &Candidate, gvk: &Gvk| {
            candidate.previous.iter().any(|id| id.gvk.is_selected(gvk))
        };
        let referrer = self.referrer;
        let known = self.candidates.by_name.get(name).map_or(0, Vec::len);
        self.meter.work(known * 8)?;
        let mut left: Vec<&Candidate> = self
            .candidates
            .by_name
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|at| self.candidates.all.get(*at))
            .filter(|candidate| self.is_visible(candidate) && among(candidate))
            .filter(|candidate| was(candidate, self.target))
            .filter(|candidate| match &referrer.role {
                Some(role) if self.is_role => was(candidate, role),
                _ => true,
            })
            .filter(|candidate| {
                referrer.cluster_scoped
                    || candidate.cluster_scoped
                    || candidate.current.gvk.kind == "ServiceAccount"
                    || candidate.effective_namespace == referrer.effective_namespace
            })
            .collect();
        if let [only] = left.as_slice() {
            return Ok(Some(only));
        }
        left.retain(|candidate| candidate.affixes.affixes_agree(&referrer.affixes, true));
        if left.len() > 1 {
            left.retain(|candidate| candidate.affixes.affixes_agree(&referrer.affixes, false));
        }
        let Some((first, others)) = left.split_first() else {
            return Ok(None);
        };
        if others
            .iter()
            .all(|other| identical(&first.current, &other.current))
        {
            return Ok(Some(first));
        }
        let ids: Vec<_> = left
            .iter()
            .map(|candidate| candidate.current.to_string())
            .collect();
        Err(format!("found multiple possible referrals: {}", ids.join(", ")).into())
    }
}
