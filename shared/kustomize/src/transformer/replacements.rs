//! Copies values between objects.

use std::rc::Rc;

use flux_golang::strconv::quote;
use flux_selector::Selector as LabelSelector;
use flux_yaml::Value;

use super::replacement_text;
use crate::config::{FieldOptions, Mode, Replacement, Selector, Source, Target, decode};
use crate::error::{Context, Result};
use crate::id::ResId;
use crate::loader::Loader;
use crate::meter::{Charge, Meter};
use crate::node::{self, Changes, Extent, Kind, Match, Node};
use crate::resmap::ResMap;
use crate::resource::{Matcher, Resource};
use crate::secrecy::unreadable;
use crate::state::State;

/// Copies values from one object into others (KZ-REPL rows).
pub(crate) struct Replacements {
    entries: Vec<Replacement>,
}

impl Replacements {
    /// Reads the files that entries refer to (KZ-REPL-001, KZ-REPL-002).
    pub(crate) fn configure(loader: &Loader<'_>, entries: &[Replacement]) -> Result<Self> {
        let mut all = Vec::new();
        for entry in entries {
            if entry.path.is_empty() {
                all.push(entry.clone());
                continue;
            }
            if entry.source.is_some() || entry.targets.as_ref().is_some_and(|list| !list.is_empty())
            {
                return Err("cannot specify both path and inline replacement".into());
            }
            let text = loader.load(&entry.path)?;
            let (value, _charge) = loader.meter().read(&text, |text, claim| {
                flux_yaml::sigs::from_str_within(text, claim)
            })?;
            let value = value.map_err(|error| unreadable(&error, &text))?;
            // Outside of a kustomization it is a plain replacement.
            let unmarshal = |error: String| {
                let error = error.replace("ReplacementField.", "Replacement.");
                format!("error unmarshaling JSON: while decoding JSON: {error}")
            };
            let mut add = |item: &Value| -> Result<()> {
                let replacement: Replacement = decode(item, Mode::LENIENT).map_err(unmarshal)?;
                all.push(Replacement {
                    path: String::new(),
                    ..replacement
                });
                Ok(())
            };
            match &value {
                Value::Seq(items) => items.iter().try_for_each(&mut add)?,
                Value::Map(_) => add(&value)?,
                other => {
                    let kind = match other {
                        Value::String(_) => "string",
                        Value::Bool(_) => "bool",
                        Value::Null => "invalid",
                        _ => "float64",
                    };
                    return Err(format!(
                        "unsupported replacement type encountered within replacement path: {kind}"
                    )
                    .into());
                }
            }
        }
        Ok(Self { entries: all })
    }

    pub(super) fn run(&self, map: &mut ResMap, state: &mut State<'_>) -> Result<()> {
        let state = &*state;
        for entry in &self.entries {
            // KZ-REPL-003
            let targets = match &entry.targets {
                Some(targets) if entry.source.is_some() || entry.source_value.is_some() => targets,
                _ => {
                    return Err("replacements must specify a source and at least one target".into());
                }
            };
            let value = match (&entry.source, &entry.source_value) {
                (Some(_), Some(_)) => {
                    return Err("value and resource selectors are mutually exclusive".into());
                }
                (_, Some(text)) => node::scalar(text.as_str()),
                (Some(source), None) => source_value(source, map, state)?,
                (None, None) => continue,
            };
            for target in targets {
                apply(target, &value, map, state)?;
            }
        }
        map.drop_empty();
        Ok(())
    }
}

/// Whether every part set in the selector equals the identity's (KZ-REPL-004).
fn is_selected(id: &ResId, namespace: &str, selector: &ResId) -> bool {
    (selector.name.is_empty() || selector.name == id.name)
        && (selector.namespace.is_empty() || selector.effective_namespace() == namespace)
        && id.gvk.is_selected(&selector.gvk)
}

fn source_value(source: &Source, map: &mut ResMap, state: &State<'_>) -> Result<Node> {
    let (scopes, meter) = (state.scopes(), state.meter());
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    let (name, kind) = (given(&source.id.name), given(&source.id.gvk.kind));
    let candidates = map.with_name_or_kind(name, kind, scopes, meter)?;
    meter.work(candidates.len() * 4)?;
    let mut found = None;
    for at in candidates {
        let Some(resource) = map.get(at) else {
            continue;
        };
        // Identities are compared as written here, without their known scope.
        let current = &resource.current(scopes).id;
        let matches = std::iter::once(current)
            .chain(resource.previous(scopes))
            .any(|id| is_selected(id, id.effective_namespace(), &source.id));
        if !matches {
            continue;
        }
        if found.is_some() {
            return Err(format!("multiple matches for selector {source}").into());
        }
        found = Some(resource);
    }
    let Some(resource) = found else {
        return Err(format!("nothing selected by {source}").into());
    };
    // KZ-REPL-005
    let path = if source.field_path.is_empty() {
        "metadata.name"
    } else {
        &source.field_path
    };
    let value = node::lookup(resource.node(), &node::split_path_smart(path, '.'))
        .map_err(|fail| meter.in_object_of(resource.kind(), fail))
        .context(|| "error looking up replacement source".into())?;
    match value {
        Some(value) if !node::is_empty(value) => {
            if resource.kind() == "Secret" {
                meter.note_spread_secret();
            }
            refined(value, source.options.as_ref(), resource.kind() == "Secret")
        }
        _ => Err(format!(
            "fieldPath `{path}` is missing for replacement source {}",
            source.id
        )
        .into()),
    }
}

/// One part of a value (KZ-REPL-006).
fn refined(value: &Node, options: Option<&FieldOptions>, is_secret: bool) -> Result<Node> {
    let mut part = value.clone();
    let Some(options) = options.filter(|options| !options.delimiter.is_empty()) else {
        return Ok(part);
    };
    if value.kind != Kind::Scalar {
        return Err("delimiter option can only be used with scalar nodes".into());
    }
    let mut parts = value.value.split(options.delimiter.as_str());
    let chosen = usize::try_from(options.index)
        .ok()
        .and_then(|index| parts.nth(index));
    match chosen {
        Some(text) => {
            text.clone_into(&mut part.value);
            Ok(part)
        }
        None => Err(format!(
            "options.index {} is out of bounds for value {}",
            options.index,
            if is_secret { "***" } else { &value.value }
        )
        .into()),
    }
}

/// A compiled label and annotation selector.
struct Metadata {
    labels: LabelSelector,
    annotations: LabelSelector,
    is_empty: bool,
}

impl Metadata {
    fn new(selector: &Selector) -> Result<Self, String> {
        Ok(Self {
            labels: selector.parsed_labels()?,
            annotations: selector.parsed_annotations()?,
            is_empty: selector.labels.is_empty() && selector.annotations.is_empty(),
        })
    }

    fn matches(&self, resource: &Resource) -> bool {
        resource.matches_selectors(&self.labels, &self.annotations)
    }
}

fn matches_id(matcher: &Matcher, id: &ResId) -> bool {
    matcher.gvk(&id.gvk) && matcher.name(&id.name) && matcher.namespace(&id.namespace)
}

fn apply(target: &Target, value: &Node, map: &mut ResMap, state: &State<'_>) -> Result<()> {
    let (scopes, meter) = (state.scopes(), state.meter());
    // KZ-REPL-007
    let Some(select) = &target.select else {
        return Err("target must specify resources to select".into());
    };
    let creating = |error| format!("error creating target selector: {error}");
    let matcher = Matcher::new(select).map_err(creating)?;
    let metadata = Metadata::new(select)?;
    let rejects = target
        .reject
        .iter()
        .map(|reject| {
            Ok((
                Matcher::new(reject).map_err(creating)?,
                Metadata::new(reject)?,
            ))
        })
        .collect::<Result<Vec<_>, String>>()?;
    let candidates = map.candidates(&matcher, scopes, meter)?;
    let extent = Extent::of_node(value);
    for at in candidates {
        let Some(resource) = map.get(at) else {
            continue;
        };
        let current = &resource.current(scopes).id;
        let known = 1 + resource.previous(scopes).len() as u64;
        for (matcher, _) in &rejects {
            meter.steps(matcher.cost(current) * known)?;
        }
        meter.steps(matcher.cost(current) * known)?;
        let ids = || std::iter::once(&resource.current(scopes).id).chain(resource.previous(scopes));
        // KZ-REPL-009, KZ-REPL-010, KZ-REPL-011: either half of an entry rejects by itself.
        let rejected = rejects.iter().any(|(matcher, metadata)| {
            !metadata.is_empty && metadata.matches(resource)
                || matcher.has_id && ids().any(|id| matches_id(matcher, id))
        });
        // KZ-REPL-008
        if rejected || !metadata.matches(resource) || !ids().any(|id| matches_id(&matcher, id)) {
            continue;
        }
        map.change(at, scopes, meter, |resource| {
            let mut copier = Copier {
                value,
                extent,
                meter,
                charge: Charge::new(meter),
            };
            copier.copy(resource.node_mut(), target)
        })?;
    }
    Ok(())
}

/// Copies one value into an object.
struct Copier<'v> {
    value: &'v Node,
    extent: Extent,
    meter: &'v Rc<Meter>,
    /// The memory of the copies.
    charge: Charge,
}

impl Copier<'_> {
    /// KZ-REPL-013 to KZ-REPL-021
    fn copy(&mut self, object: &mut Node, target: &Target) -> Result<()> {
        let default = ["metadata.name".to_owned()];
        let paths = if target.field_paths.is_empty() {
            &default[..]
        } else {
            &target.field_paths
        };
        let create = target
            .options
            .as_ref()
            .filter(|options| options.create)
            .map(|_| self.value.kind);
        for path in paths {
            let parts = node::split_path_smart(path, '.');
            self.meter.work(parts.len())?;
            self.charge.take(self.extent.bytes)?;
            if replacement_text::set(object, &parts, self.value, create, self.meter)?.is_some() {
                continue;
            }
            let not_found = || {
                let verb = if create.is_some() {
                    "find or create"
                } else {
                    "find"
                };
                format!(
                    "unable to {verb} field {} in replacement target",
                    quote(path)
                )
            };
            let found = node::find_all(object, &parts, create, self.meter).map_err(|fail| {
                if fail.is_final() {
                    return fail;
                }
                self.meter
                    .in_object_of(node::kind_field(object), fail)
                    .within(not_found)
            })?;
            if found.is_empty() {
                return Err(not_found().into());
            }
            let Match::Here(places) = found else {
                continue;
            };
            for place in places {
                Meter::fits(place.len() + self.extent.height)?;
                let mut changes = Changes::default();
                if let Some(field) = at_place(object, &place) {
                    self.charge
                        .take(2 * (self.extent.bytes + field.value.len()))?;
                    put(field, self.value, target.options.as_ref(), &mut changes)?;
                }
                changes.settle(object, self.meter)?;
            }
        }
        Ok(())
    }
}

fn at_place<'n>(object: &'n mut Node, place: &[usize]) -> Option<&'n mut Node> {
    place
        .iter()
        .try_fold(object, |node, index| node.content.get_mut(*index))
}

/// KZ-REPL-020, KZ-REPL-021
fn put(
    field: &mut Node,
    value: &Node,
    options: Option<&FieldOptions>,
    changes: &mut Changes,
) -> Result<()> {
    let mut text = value.value.clone();
    if let Some(options) = options.filter(|options| !options.delimiter.is_empty()) {
        if field.kind != Kind::Scalar {
            return Err("delimiter option can only be used with scalar nodes".into());
        }
        if node::is_null(value) {
            text.clear();
        }
        let mut parts: Vec<&str> = field.value.split(options.delimiter.as_str()).collect();
        match usize::try_from(options.index) {
            Err(_) => parts.insert(0, &text),
            Ok(index) => match parts.get_mut(index) {
                Some(part) => *part = &text,
                None => parts.push(&text),
            },
        }
        text = parts.join(&options.delimiter);
    }
    if field.kind == Kind::Scalar {
        field.value = text;
        changes.note(field);
    } else {
        let mut value = value.clone();
        value.value = text;
        changes.assign(field, value);
    }
    Ok(())
}
