//! The compiler: compiles schemas one after the other as references reach them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::draft::Draft;
use super::json::Json;
use super::keywords::{Object, Themes};
use super::pointer::Step;
use super::program::{Id, Logic, Place, Program, Schema};
use super::roots::{Loaded, Roots};

/// A schema to be compiled, with its place.
#[derive(Default)]
pub(super) struct Source<'d> {
    pub(super) place: Place,
    /// `None` if a reference has no target.
    pub(super) json: Option<&'d Json<'d>>,
    /// Whether the pointer, or that of an enclosing schema, is in a non-canonical form. The value is then compiled as a
    /// schema of its own.
    pub(super) odd: bool,
}

/// Compiles schemas into one program.
pub(super) struct Compiler<'d> {
    pub(super) roots: Roots<'d>,
    pub(super) assert_formats: bool,
    /// By the address of their JSON in memory, which identifies a schema without its pointer.
    ids: HashMap<usize, Id, ByAddress>,
    odd_ids: HashMap<Place, Id>,
    program: Program,
    /// The schemas of the program that are not compiled yet.
    sources: Vec<Source<'d>>,
    compiled: usize,
}

impl<'d> Compiler<'d> {
    /// A compiler of the schema at an address, or of metaschemas; formats of 2019-09 and later are ignored unless
    /// `assert_formats` is set.
    pub(super) fn new(document: Option<(&str, &'d Json<'d>)>, assert_formats: bool) -> Self {
        Self {
            roots: Roots::new(document),
            assert_formats,
            ids: HashMap::default(),
            odd_ids: HashMap::new(),
            program: Program::default(),
            sources: Vec::new(),
            compiled: 0,
        }
    }

    /// Sets the fetched remote documents.
    pub(super) fn with_remotes(mut self, remotes: &'d HashMap<String, Loaded<'d>>) -> Self {
        self.roots.set_remotes(remotes);
        self
    }

    /// Compiles the schema at an address and all schemas that it refers to.
    pub(super) fn compile(&mut self, address: &str) -> Result<Id, String> {
        let document = self.roots.root(address)?;
        let id = self.enqueue(Place {
            document,
            pointer: String::new(),
        });
        while let Some(source) = self.sources.get_mut(self.compiled) {
            let source = std::mem::take(source);
            let mut compiled = self.schema(&source)?;
            compiled.place = source.place;
            if let Some(slot) = self.program.schemas.get_mut(self.compiled) {
                *slot = compiled;
            }
            self.compiled += 1;
        }
        Ok(id)
    }

    /// Creates a metaschema out of vocabularies.
    pub(super) fn join(&mut self, draft: Draft, parts: Vec<Id>) -> Id {
        let newest = draft >= Draft::D2020;
        let name = if newest { "meta" } else { "" };
        let place = Place {
            document: usize::MAX,
            pointer: String::new(),
        };
        let id = self.add(Source::default());
        let anchors = newest.then(|| (name.to_owned(), id));
        if let Some(schema) = self.program.schemas.get_mut(id) {
            *schema = Schema {
                place,
                resource: id,
                dynamic_anchor: name.to_owned(),
                dynamic_anchors: anchors.into_iter().collect(),
                logic: Some(Box::new(Logic {
                    all_of: parts,
                    ..Logic::default()
                })),
                ..Schema::default()
            };
        }
        self.compiled = self.program.schemas.len();
        id
    }

    pub(super) fn finish(mut self) -> Program {
        self.program.addresses = self.roots.into_addresses();
        self.program
    }

    fn add(&mut self, source: Source<'d>) -> Id {
        let id = self.program.schemas.len();
        self.program.schemas.push(Schema::default());
        self.sources.push(source);
        id
    }

    /// Queues the schema at a place for compilation.
    pub(super) fn enqueue(&mut self, place: Place) -> Id {
        match self.roots.find(&place) {
            Some((json, false)) => {
                let address = address(json);
                if let Some(id) = self.ids.get(&address) {
                    return *id;
                }
                let id = self.add(Source {
                    place,
                    json: Some(json),
                    odd: false,
                });
                self.ids.insert(address, id);
                id
            }
            // A missing target becomes an error when it is compiled.
            found => self.enqueue_odd(place, found.map(|(json, _)| json)),
        }
    }

    fn enqueue_odd(&mut self, place: Place, json: Option<&'d Json<'d>>) -> Id {
        if let Some(id) = self.odd_ids.get(&place) {
            return *id;
        }
        let id = self.add(Source {
            place: place.clone(),
            json,
            odd: true,
        });
        self.odd_ids.insert(place, id);
        id
    }

    /// Queues a schema that is one step below another.
    pub(super) fn enqueue_below(
        &mut self,
        above: &Source<'d>,
        step: Step<'_>,
        json: &'d Json<'d>,
    ) -> Id {
        if !above.odd
            && let Some(id) = self.ids.get(&address(json))
        {
            return *id;
        }
        let mut pointer = String::with_capacity(above.place.pointer.len() + 24);
        pointer.push_str(&above.place.pointer);
        step.extend(&mut pointer);
        let place = Place {
            document: above.place.document,
            pointer,
        };
        if above.odd {
            return self.enqueue_odd(place, Some(json));
        }
        let id = self.add(Source {
            place,
            json: Some(json),
            odd: false,
        });
        self.ids.insert(address(json), id);
        id
    }

    fn schema(&mut self, source: &Source<'d>) -> Result<Schema, String> {
        let Place { document, pointer } = &source.place;
        let json = self.roots.schema(source)?;
        let Some(resource) = self.roots.resource(*document, pointer) else {
            return Ok(Schema::default());
        };
        let mut schema = Schema {
            resource: self.enqueue(Place {
                document: *document,
                pointer: resource.pointer.clone(),
            }),
            ..Schema::default()
        };
        let draft = resource.dialect.draft;
        if draft >= Draft::D2020 && resource.pointer == *pointer {
            let anchors = resource.dynamic_anchors().into_iter();
            let anchors = anchors.map(|(anchor, pointer)| {
                let place = Place {
                    document: *document,
                    pointer,
                };
                (anchor, self.enqueue(place))
            });
            schema.dynamic_anchors = anchors.collect();
        }
        match json {
            Json::Bool(truth) => schema.truth = Some(*truth),
            Json::Object(entries) if entries.is_empty() => schema.truth = Some(true),
            Json::Object(entries) => {
                let mut object = Object {
                    compiler: self,
                    json,
                    source,
                    id: &resource.id,
                    draft,
                    themes: Themes::of(entries.keys()),
                };
                let has = |name: &str| resource.dialect.has(name);
                object.compile(&mut schema, &has)?;
            }
            _ => {}
        }
        Ok(schema)
    }
}

/// Hashes addresses in memory, which no input can choose.
pub(super) type ByAddress = BuildHasherDefault<AddressHasher>;

#[derive(Default)]
pub(super) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing; the hash table uses both ends of the number.
        let mixed = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ mixed >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The address of a value in memory, which identifies it.
pub(super) fn address(json: &Json<'_>) -> usize {
    std::ptr::from_ref(json) as usize
}
