//! All documents of a compilation, and the resolution of references.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use flux_golang::strconv::quote;
use flux_golang::url::Url;

use super::compile::Source;
use super::draft::{Dialect, Draft};
use super::json::Json;
use super::meta;
use super::pointer::{self, join, lookup, place_text, split_fragment};
use super::program::Place;
use super::remotes::MAX_DOCUMENTS;
use super::root::{Resource, Root, Seen, validate};

/// All documents of one compilation.
pub(super) struct Roots<'d> {
    documents: HashMap<String, &'d Json<'d>>,
    /// By index.
    all: Vec<Root<'d>>,
    /// The targets of references without an address, by base.
    own: HashMap<String, String>,
    remotes: Option<&'d HashMap<String, Loaded<'d>>>,
    /// The addresses of the remote documents that were used.
    used: Vec<String>,
    /// The address of a document that has not been fetched.
    needs: Option<String>,
}

/// A remote document, or why it could not be fetched or parsed.
pub(super) type Loaded<'d> = Result<Json<'d>, String>;

/// A schema and its place.
struct Here<'h, 'd> {
    schema: &'d Json<'d>,
    pointer: &'h mut String,
    odd: bool,
}

impl<'h, 'd> Here<'h, 'd> {
    fn new(schema: &'d Json<'d>, pointer: &'h mut String, odd: bool) -> Self {
        Self {
            schema,
            pointer,
            odd,
        }
    }
}

/// What a schema inherits from its parents.
#[derive(Clone, Copy)]
struct Around<'a> {
    /// The base of references.
    base: &'a str,
    /// The pointer to the resource.
    holder: &'a str,
    dialect: &'a Dialect,
}

impl<'d> Roots<'d> {
    /// `document` is the content at its address, so that it is not loaded.
    pub(super) fn new(document: Option<(&str, &'d Json<'d>)>) -> Self {
        let documents = document.into_iter();
        Self {
            documents: documents
                .map(|(address, json)| (address.to_owned(), json))
                .collect(),
            all: Vec::new(),
            own: HashMap::new(),
            remotes: None,
            used: Vec::new(),
            needs: None,
        }
    }

    /// Sets the fetched remote documents.
    pub(super) fn set_remotes(&mut self, remotes: &'d HashMap<String, Loaded<'d>>) {
        self.remotes = Some(remotes);
    }

    /// Takes the address of the document that has not been fetched, and those of the remote documents that were used.
    pub(super) fn take_remotes(&mut self) -> (Option<String>, Vec<String>) {
        (self.needs.take(), std::mem::take(&mut self.used))
    }

    /// The addresses of the documents by index.
    pub(super) fn into_addresses(self) -> Vec<String> {
        self.all.into_iter().map(|root| root.address).collect()
    }

    pub(super) fn address(&self, document: usize) -> &str {
        self.all.get(document).map_or("", |root| &root.address)
    }

    /// The resource that a place is part of.
    pub(super) fn resource(&self, document: usize, pointer: &str) -> Option<Rc<Resource>> {
        self.all.get(document)?.resource(pointer).cloned()
    }

    /// The value at a place, if any, and whether its pointer is in a non-canonical form.
    pub(super) fn find(&self, place: &Place) -> Option<(&'d Json<'d>, bool)> {
        let document = self.all.get(place.document)?.json;
        pointer::find(document, &place.pointer)
    }

    /// The document at an address, parsed and validated against its metaschema on first use.
    pub(super) fn root(&mut self, address: &str) -> Result<usize, String> {
        if let Some(known) = self.all.iter().position(|r| r.address == address) {
            return Ok(known);
        }
        let json = self.load(address)?;
        let mut root = Root {
            address: address.to_owned(),
            json,
            resources: BTreeMap::new(),
            by_id: HashMap::new(),
            seen: Seen::default(),
        };
        let around = Around {
            base: address,
            holder: "",
            dialect: &Dialect::of(Draft::LATEST),
        };
        let mut pointer = String::new();
        self.collect(&mut root, Here::new(json, &mut pointer, false), around)?;
        let known = ["http://json-schema.org/", "https://json-schema.org/"];
        if !known.iter().any(|known| address.starts_with(known)) {
            validate(&root, json, "")?;
        }
        self.all.push(root);
        Ok(self.all.len() - 1)
    }

    /// Loads the document at an address. A document of another host is requested from the caller; files of this machine are
    /// not part of a chart and never loaded; names (`urn:`) accept everything (HE-SCHEMA-005).
    fn load(&mut self, address: &str) -> Result<&'d Json<'d>, String> {
        static ANYTHING: Json<'static> = Json::Bool(true);
        if let Some(known) = self.documents.get(address) {
            return Ok(known);
        }
        let failing = |why: &str| format!("failing loading {}: {why}", quote(address));
        let json = if let Some(document) = meta::document(address) {
            document
        } else {
            let url = Url::parse(address.as_bytes()).map_err(|e| failing(&e))?;
            match url.scheme.as_slice() {
                b"urn" => &ANYTHING,
                b"http" | b"https" => self.remote(address).map_err(|why| failing(&why))?,
                b"file" => {
                    let path = String::from_utf8_lossy(&url.path).into_owned();
                    return Err(failing(&format!(
                        "open {path}: no such file or directory: references must stay within the chart's schema"
                    )));
                }
                _ => {
                    let shown = String::from_utf8_lossy(&url.text()).into_owned();
                    let why = format!("no URLLoader registered for {}", quote(&shown));
                    return Err(failing(&why));
                }
            }
        };
        self.documents.insert(address.to_owned(), json);
        Ok(json)
    }

    /// Finds a document of another host.
    fn remote(&mut self, address: &str) -> Result<&'d Json<'d>, String> {
        if self.used.len() >= MAX_DOCUMENTS {
            return Err(format!(
                "a schema may refer to {MAX_DOCUMENTS} documents elsewhere at most"
            ));
        }
        let Some(fetched) = self.remotes.and_then(|remotes| remotes.get(address)) else {
            self.needs = Some(address.to_owned());
            return Err("it was not fetched yet".to_owned());
        };
        self.used.push(address.to_owned());
        fetched.as_ref().map_err(Clone::clone)
    }

    /// Collects the resources and anchors at a place and below it.
    fn collect(
        &mut self,
        root: &mut Root<'d>,
        here: Here<'_, 'd>,
        around: Around<'_>,
    ) -> Result<(), String> {
        let Here {
            schema,
            pointer,
            odd,
        } = here;
        if root.seen.contains(schema, pointer, odd) {
            return Ok(());
        }
        if schema.as_object().is_none() {
            if pointer.is_empty() {
                root.add(Resource::new("", around.base, around.dialect.clone()));
            }
        } else {
            self.collect_object(root, Here::new(schema, pointer, odd), around)?;
        }
        root.seen.insert(schema, pointer, odd);
        Ok(())
    }

    fn collect_object(
        &mut self,
        root: &mut Root<'d>,
        here: Here<'_, 'd>,
        around: Around<'_>,
    ) -> Result<(), String> {
        let Here {
            schema,
            pointer,
            odd,
        } = here;
        let fallback = around.dialect;
        let mut named = schema.get("$schema").and_then(Json::as_str);
        let place = (root.address.as_str(), pointer.as_str());
        let mut draft = self.draft(place, schema, fallback.draft, &mut BTreeSet::new())?;
        let mut id = draft.id_of(schema);
        if id.is_empty() && !pointer.is_empty() {
            // `$schema` counts only at the root of a resource.
            (draft, named) = (fallback.draft, None);
            id = draft.id_of(schema);
        }
        if id.is_empty() && !pointer.is_empty() {
            // Most schemas are part of their parent's resource.
            return self.collect_within(root, Here::new(schema, pointer, odd), around);
        }
        let mut base = around.base.to_owned();
        if !id.is_empty() {
            base = join(&base, id)
                .map_err(|_| {
                    let place = quote(place_text(&root.address, pointer));
                    format!("error in parsing id at {place}")
                })?
                .0;
        }
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
        let holder = root.by_id.get(&base).cloned().unwrap_or_default();
        let dialect = match root.resources.get(&holder) {
            Some(resource) => resource.dialect.clone(),
            None => fallback.clone(),
        };
        let around = Around {
            base: &base,
            holder: &holder,
            dialect: &dialect,
        };
        self.collect_within(root, Here::new(schema, pointer, odd), around)
    }

    /// Collects the anchors of a schema in a known resource, and its subschemas.
    fn collect_within(
        &mut self,
        root: &mut Root<'d>,
        here: Here<'_, 'd>,
        around: Around<'_>,
    ) -> Result<(), String> {
        let Here {
            schema,
            pointer,
            odd,
        } = here;
        root.collect_anchors(schema, pointer, around.holder)?;
        let Some(entries) = schema.as_object() else {
            return Ok(());
        };
        let length = pointer.len();
        for (step, below) in around.dialect.draft.within(entries) {
            step.extend(pointer);
            self.collect(root, Here::new(below, pointer, odd), around)?;
            pointer.truncate(length);
        }
        Ok(())
    }

    /// The draft that a schema declares.
    fn draft(
        &mut self,
        here: (&str, &str),
        schema: &Json<'_>,
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
            let place = quote(place_text(here.0, here.1));
            return Err(format!("invalid $schema in {place}: {why}"));
        }
        if here == (address, "") {
            return Err(format!("draft {} is not supported", quote(address)));
        }
        if !passed.insert(address.to_owned()) {
            return Err(format!("cycle in resolving $schema in {}", quote(address)));
        }
        let document = self.load(address)?;
        self.draft((address, ""), document, fallback, passed)
    }

    /// The vocabularies that the metaschema with this address requires, if it selects any.
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
        for (vocabulary, required) in chosen.iter() {
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

    /// Resolves a reference in a resource of a document.
    pub(super) fn resolve(
        &mut self,
        document: usize,
        base: &str,
        reference: &str,
    ) -> Result<Place, String> {
        let (address, fragment) = self.join(base, reference)?;
        if let Some(root) = self.all.get(document) {
            let resource = if address == root.address {
                Some("")
            } else {
                root.by_id.get(&address).map(String::as_str)
            };
            if let Some(resource) = resource {
                let pointer = root.at_fragment(&fragment, resource)?;
                return Ok(Place { document, pointer });
            }
        }
        let document = self.root(&address)?;
        self.at_fragment(document, &fragment)
    }

    /// As [`join`], with a fast path for references that are only a fragment.
    fn join(&mut self, base: &str, reference: &str) -> Result<(String, String), String> {
        if !reference.starts_with('#') {
            return join(base, reference);
        }
        if let Some(known) = self.own.get(base) {
            let (_, fragment) = split_fragment(reference)?;
            return Ok((known.clone(), fragment));
        }
        let joined = join(base, reference)?;
        self.own.insert(base.to_owned(), joined.0.clone());
        Ok(joined)
    }

    /// Resolves a fragment in a document.
    pub(super) fn at_fragment(&self, document: usize, fragment: &str) -> Result<Place, String> {
        let root = self.all.get(document);
        let pointer = root
            .map(|root| root.at_fragment(fragment, ""))
            .transpose()?;
        Ok(Place {
            document,
            pointer: pointer.unwrap_or_default(),
        })
    }

    /// The schema at a place. A value that is not in the place of a subschema is first processed as a schema.
    pub(super) fn schema(&mut self, source: &Source<'d>) -> Result<&'d Json<'d>, String> {
        let Place { document, pointer } = &source.place;
        let Some(root) = self.all.get(*document) else {
            return Err(format!("there is no document {document}"));
        };
        if let Some(json) = source.json
            && root.seen.contains(json, pointer, source.odd)
        {
            return Ok(json);
        }
        let schema = lookup(&root.address, root.json, pointer)?;
        let resource = root.resource(pointer).cloned();
        let mut root = self.all.remove(*document);
        let collected = resource.map_or(Ok(()), |resource| {
            let holder = root.by_id.get(&resource.id).cloned().unwrap_or_default();
            let around = Around {
                base: &resource.id,
                holder: &holder,
                dialect: &resource.dialect,
            };
            let mut at = pointer.clone();
            self.collect(&mut root, Here::new(schema, &mut at, source.odd), around)?;
            if root.resources.contains_key(pointer) {
                return Ok(());
            }
            root.collect_anchors(schema, pointer, &resource.pointer)
        });
        let checked = collected.and_then(|()| validate(&root, schema, pointer));
        self.all.insert(*document, root);
        checked.map(|()| schema)
    }
}
