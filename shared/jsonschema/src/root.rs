//! A document with schemas: the ids and anchors of its parts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use flux_golang::strconv::quote;

use super::compile::{ByAddress, address};
use super::draft::{Dialect, Draft};
use super::json::Json;
use super::pointer::{place_text, split_fragment};
use super::validate::Validator;
use super::{meta, plain};

/// A part of a document with an id of its own, or the whole document.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) pointer: String,
    pub(super) id: String,
    pub(super) dialect: Dialect,
    anchors: BTreeMap<String, String>,
    /// The anchors that `$dynamicRef` can find from other resources.
    dynamic: Vec<String>,
}

impl Resource {
    pub(super) fn new(pointer: &str, id: &str, dialect: Dialect) -> Self {
        Self {
            pointer: pointer.to_owned(),
            id: id.to_owned(),
            dialect,
            anchors: BTreeMap::new(),
            dynamic: Vec::new(),
        }
    }

    /// The targets of `$dynamicRef`: anchors with their pointers.
    pub(super) fn dynamic_anchors(&self) -> Vec<(String, String)> {
        let found = self.anchors.iter();
        found
            .filter(|(anchor, _)| self.dynamic.contains(anchor))
            .map(|(anchor, pointer)| (anchor.clone(), pointer.clone()))
            .collect()
    }
}

/// A document with the resources found in it.
pub(super) struct Root<'d> {
    pub(super) address: String,
    pub(super) json: &'d Json<'d>,
    pub(super) resources: BTreeMap<String, Rc<Resource>>,
    /// The pointers of the resources by their ids.
    pub(super) by_id: HashMap<String, String>,
    pub(super) seen: Seen,
}

/// The values that were searched for resources and anchors: by address in memory, and by pointer if that is in a
/// non-canonical form.
#[derive(Default)]
pub(super) struct Seen {
    addresses: HashSet<usize, ByAddress>,
    odd: HashSet<String>,
}

impl Seen {
    pub(super) fn contains(&self, json: &Json<'_>, pointer: &str, odd: bool) -> bool {
        if odd {
            self.odd.contains(pointer)
        } else {
            self.addresses.contains(&address(json))
        }
    }

    pub(super) fn insert(&mut self, json: &Json<'_>, pointer: &str, odd: bool) {
        if odd {
            self.odd.insert(pointer.to_owned());
        } else {
            self.addresses.insert(address(json));
        }
    }
}

impl Root<'_> {
    pub(super) fn add(&mut self, resource: Resource) {
        self.by_id
            .insert(resource.id.clone(), resource.pointer.clone());
        self.resources
            .insert(resource.pointer.clone(), Rc::new(resource));
    }

    /// The resource that a place is part of.
    pub(super) fn resource(&self, mut pointer: &str) -> Option<&Rc<Resource>> {
        if self.resources.len() == 1 {
            // In most cases the root is the only one.
            return self.resources.get("");
        }
        loop {
            if let Some(resource) = self.resources.get(pointer) {
                return Some(resource);
            }
            pointer = pointer.rsplit_once('/')?.0;
        }
    }

    pub(super) fn at_fragment(&self, fragment: &str, resource: &str) -> Result<String, String> {
        if fragment.is_empty() || fragment.starts_with('/') {
            return Ok(format!("{resource}{fragment}"));
        }
        let resource = self.resources.get(resource);
        let marked = resource.and_then(|resource| resource.anchors.get(fragment));
        marked.cloned().ok_or_else(|| {
            let id = resource.map_or("", |resource| resource.id.as_str());
            let reference = quote(place_text(id, fragment));
            format!(
                "anchor in {reference} not found in schema {}",
                quote(&self.address)
            )
        })
    }

    pub(super) fn collect_anchors(
        &mut self,
        schema: &Json<'_>,
        pointer: &str,
        holder: &str,
    ) -> Result<(), String> {
        if !["id", "$id", "$anchor", "$dynamicAnchor"]
            .iter()
            .any(|keyword| schema.get(keyword).is_some())
        {
            return Ok(());
        }
        let address = self.address.clone();
        let Some(resource) = self.resources.get_mut(holder) else {
            return Ok(());
        };
        let resource = Rc::make_mut(resource);
        let draft = resource.dialect.draft;
        let add = |resource: &mut Resource, anchor: &str| {
            let known = resource
                .anchors
                .insert(anchor.to_owned(), pointer.to_owned());
            match known.filter(|known| known != pointer) {
                None => Ok(()),
                Some(known) => Err(format!(
                    "duplicate anchor {} in {} at {} and {}",
                    quote(anchor),
                    quote(&address),
                    quote(&known),
                    quote(pointer)
                )),
            }
        };
        let named = |keyword: &str| schema.get(keyword).and_then(Json::as_str);
        if draft < Draft::D2019 {
            if schema.get("$ref").is_some() {
                return Ok(());
            }
            if let Some(id) = named(draft.id_keyword()) {
                let (_, fragment) = split_fragment(id).map_err(|_| {
                    let place = quote(place_text(&address, pointer));
                    format!("error in parsing anchor at {place}")
                })?;
                if !fragment.is_empty() && !fragment.starts_with('/') {
                    add(resource, &fragment)?;
                }
            }
            return Ok(());
        }
        if let Some(anchor) = named("$anchor") {
            add(resource, anchor)?;
        }
        if let Some(anchor) = named("$dynamicAnchor").filter(|_| draft >= Draft::D2020) {
            add(resource, anchor)?;
            resource.dynamic.push(anchor.to_owned());
        }
        Ok(())
    }
}

/// Validates a schema against the metaschema of its dialect.
pub(super) fn validate(root: &Root<'_>, schema: &Json<'_>, pointer: &str) -> Result<(), String> {
    let dialect = root
        .resource(pointer)
        .map_or(Dialect::of(Draft::LATEST), |resource| {
            resource.dialect.clone()
        });
    // A schema that passes the fast path has no resource with a dialect of its own.
    if dialect.vocabularies.is_none() && plain::is_schema(schema) {
        return Ok(());
    }
    let mut dialects: Vec<_> = root.resources.values().map(|r| r.dialect.clone()).collect();
    dialects.push(dialect.clone());
    dialects.sort();
    dialects.dedup();
    let metaschemas = meta::metaschemas(&dialects)?;
    let start = metaschemas.roots.get(&dialect).copied().unwrap_or_default();
    let resources = root.resources.iter().filter_map(|(pointer, resource)| {
        let root = metaschemas.roots.get(&resource.dialect)?;
        Some((pointer.as_str(), *root))
    });
    let resources = resources.collect();
    Validator::of_schema(&metaschemas.program, start, resources)
        .run(start, schema)
        .map_err(|report| {
            let place = quote(place_text(&root.address, pointer));
            format!("{place} is not valid against metaschema: {report}")
        })
}
