//! The documents that schemas lie in: what names and anchors they give to their parts, and where references lead.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::rc::Rc;

use flux_gotemplate::go::Url;

use super::{
    draft::{Dialect, Draft, unescape},
    format::atoi,
    json::Json,
    meta,
    validate::Validator,
};
use crate::text::quote;

/// A part of a document with a name of its own, or the whole.
#[derive(Clone, Debug)]
pub(super) struct Resource {
    pub(super) pointer: String,
    pub(super) id: String,
    pub(super) dialect: Dialect,
    anchors: BTreeMap<String, String>,
    /// Those of the anchors that `$dynamicRef` may find from afar.
    dynamic: Vec<String>,
}

impl Resource {
    fn new(pointer: &str, id: &str, dialect: Dialect) -> Self {
        Self {
            pointer: pointer.to_owned(),
            id: id.to_owned(),
            dialect,
            anchors: BTreeMap::new(),
            dynamic: Vec::new(),
        }
    }

    /// Anchors that `$dynamicRef` may find, and the pointers to what they mark.
    pub(super) fn dynamic_anchors(&self) -> Vec<(String, String)> {
        let found = self.anchors.iter();
        found
            .filter(|(anchor, _)| self.dynamic.contains(anchor))
            .map(|(anchor, pointer)| (anchor.clone(), pointer.clone()))
            .collect()
    }
}

/// A document and what was found in it.
pub(super) struct Root {
    pub(super) address: String,
    pub(super) json: Rc<Json>,
    pub(super) resources: BTreeMap<String, Resource>,
    /// The pointers of the resources by their ids.
    by_id: HashMap<String, String>,
    seen: HashSet<String>,
}

/// All documents of one compilation.
#[derive(Default)]
pub(super) struct Roots {
    documents: HashMap<String, Rc<Json>>,
    pub(super) roots: Vec<Root>,
}

/// A place: a document by its number, and a pointer into it.
pub(super) type Place = (usize, String);

impl Roots {
    /// Adds a document under an address, in place of loading it.
    pub(super) fn add(&mut self, address: &str, json: Json) {
        self.documents.insert(address.to_owned(), Rc::new(json));
    }

    /// The document at an address, read and validated against its metaschema when it is first asked for.
    pub(super) fn root(&mut self, address: &str) -> Result<usize, String> {
        if let Some(known) = self.roots.iter().position(|r| r.address == address) {
            return Ok(known);
        }
        let json = self.load(address)?;
        let mut root = Root {
            address: address.to_owned(),
            json: Rc::clone(&json),
            resources: BTreeMap::new(),
            by_id: HashMap::new(),
            seen: HashSet::new(),
        };
        self.collect(&mut root, &json, address, "", &Dialect::of(Draft::LATEST))?;
        let known = ["http://json-schema.org/", "https://json-schema.org/"];
        if !known.iter().any(|known| address.starts_with(known)) {
            validate(&root, &json, "")?;
        }
        self.roots.push(root);
        Ok(self.roots.len() - 1)
    }

    /// References may stay within the schema. Helm would fetch others, which in a controller that many use opens ways
    /// into its network and to its disk (HE-SCHEMA-005); names (`urn:`) allow everything, as there.
    fn load(&mut self, address: &str) -> Result<Rc<Json>, String> {
        if let Some(known) = self.documents.get(address) {
            return Ok(Rc::clone(known));
        }
        let failing = |why: &str| format!("failing loading {}: {why}", quote(address));
        let json = if let Some(document) = meta::document(address) {
            document
        } else {
            let url = Url::parse(address.as_bytes()).map_err(|e| failing(&e))?;
            match url.scheme() {
                b"urn" => Json::Bool(true),
                b"file" | b"http" | b"https" => {
                    return Err(failing("references must stay within the chart's schema"));
                }
                _ => {
                    let shown = String::from_utf8_lossy(&url.text()).into_owned();
                    let why = format!("no URLLoader registered for {}", quote(&shown));
                    return Err(failing(&why));
                }
            }
        };
        let json = Rc::new(json);
        self.documents.insert(address.to_owned(), Rc::clone(&json));
        Ok(json)
    }

    /// Finds the resources and anchors at a place and below it.
    fn collect(
        &mut self,
        root: &mut Root,
        schema: &Json,
        base: &str,
        pointer: &str,
        fallback: &Dialect,
    ) -> Result<(), String> {
        if root.seen.contains(pointer) {
            return Ok(());
        }
        if schema.as_object().is_none() {
            if pointer.is_empty() {
                root.add(Resource::new("", base, fallback.clone()));
            }
        } else {
            self.collect_object(root, schema, base, pointer, fallback)?;
        }
        root.seen.insert(pointer.to_owned());
        Ok(())
    }

    fn collect_object(
        &mut self,
        root: &mut Root,
        schema: &Json,
        base: &str,
        pointer: &str,
        fallback: &Dialect,
    ) -> Result<(), String> {
        let mut named = schema.get("$schema").and_then(Json::as_str);
        let here = (root.address.as_str(), pointer);
        let mut draft = self.draft(here, schema, fallback.draft, &mut BTreeSet::new())?;
        let mut id = draft.id_of(schema);
        if id.is_empty() && !pointer.is_empty() {
            // Only where a resource begins does `$schema` count.
            (draft, named) = (fallback.draft, None);
            id = draft.id_of(schema);
        }
        let mut base = base.to_owned();
        if !id.is_empty() {
            base = join(&base, id)
                .map_err(|_| {
                    let place = quote(&place_text(&root.address, pointer));
                    format!("error in parsing id at {place}")
                })?
                .0;
        }
        if !id.is_empty() || pointer.is_empty() {
            match root.by_id.get(&base) {
                Some(other) if other != pointer => {
                    return Err(format!(
                        "duplicate id {} in {} at {} and {}",
                        quote(&base),
                        quote(&root.address),
                        quote(pointer),
                        quote(other)
                    ));
                }
                Some(_) => {}
                None => {
                    let dialect = match named {
                        None => fallback.clone(),
                        Some(named) => Dialect {
                            draft,
                            vocabularies: self.vocabularies(named, draft)?,
                        },
                    };
                    root.add(Resource::new(pointer, &base, dialect));
                }
            }
        }
        let holder = root.by_id.get(&base).cloned().unwrap_or_default();
        root.collect_anchors(schema, pointer, &holder)?;
        let dialect = match root.resources.get(&holder) {
            Some(resource) => resource.dialect.clone(),
            None => fallback.clone(),
        };
        for (below, value) in draft.within(schema) {
            self.collect(root, value, &base, &format!("{pointer}{below}"), &dialect)?;
        }
        Ok(())
    }

    /// The draft that a schema says it is of.
    fn draft(
        &mut self,
        here: (&str, &str),
        schema: &Json,
        fallback: Draft,
        passed: &mut BTreeSet<String>,
    ) -> Result<Draft, String> {
        let Some(named) = schema.get("$schema").and_then(Json::as_str) else {
            return Ok(fallback);
        };
        if let Some(draft) = Draft::named(named) {
            return Ok(draft);
        }
        let address = named.split_once('#').map_or(named, |(address, _)| address);
        if let Err(why) = Url::parse(address.as_bytes()) {
            let place = quote(&place_text(here.0, here.1));
            return Err(format!("invalid $schema in {place}: {why}"));
        }
        if here == (address, "") {
            return Err(format!("draft {} is not supported", quote(address)));
        }
        if !passed.insert(address.to_owned()) {
            return Err(format!("cycle in resolving $schema in {}", quote(address)));
        }
        let document = self.load(address)?;
        self.draft((address, ""), &document, fallback, passed)
    }

    /// The vocabularies that the metaschema of this name requires, if it chooses.
    fn vocabularies(
        &mut self,
        named: &str,
        draft: Draft,
    ) -> Result<Option<Vec<&'static str>>, String> {
        if Draft::named(named).is_some() {
            return Ok(None);
        }
        let address = named.split_once('#').map_or(named, |(address, _)| address);
        let document = self.load(address)?;
        let chosen = document.get("$vocabulary").and_then(Json::as_object);
        let Some(chosen) = chosen.filter(|_| draft >= Draft::D2019) else {
            return Ok(None);
        };
        let mut names = Vec::new();
        for (vocabulary, required) in chosen {
            if required != &Json::Bool(true) {
                continue;
            }
            let name = vocabulary.strip_prefix(draft.vocabulary_prefix());
            let known = draft.vocabularies().iter().find(|n| Some(**n) == name);
            let Some(known) = known else {
                let (vocabulary, address) = (quote(vocabulary), quote(address));
                return Err(format!("unsupported vocabulary {vocabulary} in {address}"));
            };
            names.push(*known);
        }
        if !names.contains(&"core") {
            names.push("core");
        }
        Ok(Some(names))
    }

    /// Where a reference leads that stands in a resource of a document.
    pub(super) fn resolve(
        &mut self,
        document: usize,
        base: &str,
        reference: &str,
    ) -> Result<Place, String> {
        let (address, fragment) = join(base, reference)?;
        if let Some(root) = self.roots.get(document) {
            let resource = if address == root.address {
                Some("")
            } else {
                root.by_id.get(&address).map(String::as_str)
            };
            if let Some(resource) = resource {
                return Ok((document, root.at_fragment(&fragment, resource)?));
            }
        }
        let document = self.root(&address)?;
        self.at_fragment(document, &fragment)
    }

    /// The place of a fragment in a document.
    pub(super) fn at_fragment(&self, document: usize, fragment: &str) -> Result<Place, String> {
        let root = self.roots.get(document);
        let pointer = root
            .map(|root| root.at_fragment(fragment, ""))
            .transpose()?;
        Ok((document, pointer.unwrap_or_default()))
    }

    /// The schema at a place, which becomes one by being referred to if it does not lie where schemas do.
    pub(super) fn schema(&mut self, document: usize, pointer: &str) -> Result<Rc<Json>, String> {
        let Some(root) = self.roots.get(document) else {
            return Ok(Rc::default());
        };
        let json = Rc::clone(&root.json);
        if root.seen.contains(pointer) {
            return Ok(json);
        }
        lookup(&root.address, &json, pointer)?;
        let resource = root.resource(pointer).cloned();
        let schema = lookup(&root.address, &json, pointer)?;
        let mut root = self.roots.remove(document);
        let collected = resource.map_or(Ok(()), |resource| {
            self.collect(&mut root, schema, &resource.id, pointer, &resource.dialect)?;
            if root.resources.contains_key(pointer) {
                return Ok(());
            }
            root.collect_anchors(schema, pointer, &resource.pointer)
        });
        let checked = collected.and_then(|()| validate(&root, schema, pointer));
        self.roots.insert(document, root);
        checked.map(|()| json)
    }
}

impl Root {
    fn add(&mut self, resource: Resource) {
        self.by_id
            .insert(resource.id.clone(), resource.pointer.clone());
        self.resources.insert(resource.pointer.clone(), resource);
    }

    /// The resource that a place belongs to.
    pub(super) fn resource(&self, mut pointer: &str) -> Option<&Resource> {
        if self.resources.len() == 1 {
            // Mostly the root is the only one.
            return self.resources.get("");
        }
        loop {
            if let Some(resource) = self.resources.get(pointer) {
                return Some(resource);
            }
            pointer = pointer.rsplit_once('/')?.0;
        }
    }

    fn at_fragment(&self, fragment: &str, resource: &str) -> Result<String, String> {
        if fragment.is_empty() || fragment.starts_with('/') {
            return Ok(format!("{resource}{fragment}"));
        }
        let resource = self.resources.get(resource);
        let marked = resource.and_then(|resource| resource.anchors.get(fragment));
        marked.cloned().ok_or_else(|| {
            let id = resource.map_or("", |resource| resource.id.as_str());
            let reference = quote(&place_text(id, fragment));
            format!(
                "anchor in {reference} not found in schema {}",
                quote(&self.address)
            )
        })
    }

    fn collect_anchors(
        &mut self,
        schema: &Json,
        pointer: &str,
        holder: &str,
    ) -> Result<(), String> {
        let address = self.address.clone();
        let Some(resource) = self.resources.get_mut(holder) else {
            return Ok(());
        };
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
                    let place = quote(&place_text(&address, pointer));
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

/// Validates what is to be a schema against the metaschema of its dialect.
fn validate(root: &Root, schema: &Json, pointer: &str) -> Result<(), String> {
    let dialect = root
        .resource(pointer)
        .map_or(Dialect::of(Draft::LATEST), |resource| {
            resource.dialect.clone()
        });
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
            let place = quote(&place_text(&root.address, pointer));
            format!("{place} is not valid against metaschema: {report}")
        })
}

/// What a pointer leads to.
pub(super) fn lookup<'j>(
    address: &str,
    document: &'j Json,
    pointer: &str,
) -> Result<&'j Json, String> {
    let shown = || quote(&place_text(address, pointer));
    let mut at = document;
    for token in pointer.split('/').skip(1) {
        let token = unescape(token).ok_or_else(|| format!("invalid json-pointer {}", shown()))?;
        let next = match at {
            Json::Object(entries) => entries.get(&*token),
            Json::Array(items) => {
                let index = atoi(&token).ok().and_then(|i| usize::try_from(i).ok());
                index.and_then(|index| items.get(index))
            }
            _ => None,
        };
        at = next.ok_or_else(|| format!("json-pointer in {} not found", shown()))?;
    }
    Ok(at)
}

/// A reference seen from a base: the address without the fragment, and the fragment without escapes.
fn join(base: &str, reference: &str) -> Result<(String, String), String> {
    let parse = |text: &str| {
        let url = Url::parse(text.as_bytes());
        url.map_err(|e| format!("error in parsing {}: {e}", quote(text)))
    };
    let base = parse(base)?;
    let (reference, fragment) = split_fragment(reference)?;
    let url = base.resolve(&parse(reference)?);
    Ok((String::from_utf8_lossy(&url.text()).into_owned(), fragment))
}

/// An address, and its fragment without escapes.
pub(super) fn split_fragment(text: &str) -> Result<(&str, String), String> {
    let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
    let mut out = Vec::new();
    let bytes = fragment.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            out.push(byte);
            at += 1;
            continue;
        }
        let hex = |i: usize| {
            let digit = bytes.get(at + i).map(|b| char::from(*b));
            digit.and_then(|c| c.to_digit(16))
        };
        let (Some(high), Some(low)) = (hex(1), hex(2)) else {
            let end = (at + 3).min(bytes.len());
            let part = String::from_utf8_lossy(bytes.get(at..end).unwrap_or_default());
            return Err(format!(
                "error in parsing {}: invalid URL escape {}",
                quote(text),
                quote(&part)
            ));
        };
        out.push(u8::try_from(high << 4 | low).unwrap_or_default());
        at += 3;
    }
    Ok((address, String::from_utf8_lossy(&out).into_owned()))
}

/// A place as messages show it.
pub(super) fn place_text(address: &str, fragment: &str) -> String {
    let mut out = format!("{address}#");
    for byte in fragment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+=:@/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
