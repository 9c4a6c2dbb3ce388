//! Schemas made ready: every keyword read once, every reference followed to a number.

use std::collections::{BTreeMap, HashMap};

use flux_gotemplate::go::Regexp;

use super::{
    decimal::Decimal,
    draft::{Draft, escape},
    format,
    json::{Json, View},
    roots::{Place, Roots, lookup, place_text, split_fragment},
};
use crate::text::quote;

/// The number of a schema in its program.
pub(super) type Id = usize;

/// Compiled schemas that refer to one another.
#[derive(Default)]
pub(super) struct Program {
    pub(super) schemas: Vec<Schema>,
    addresses: Vec<String>,
}

impl Program {
    /// Where a schema stands, for messages.
    pub(super) fn location(&self, id: Id) -> String {
        let place = self.schemas.get(id).map(|schema| &schema.place);
        let address = place.and_then(|place| self.addresses.get(place.0));
        match (address, place) {
            (Some(address), Some((_, pointer))) => place_text(address, pointer),
            _ => "urn:mem:metaschema".to_owned(),
        }
    }
}

/// One schema.
#[derive(Default)]
pub(super) struct Schema {
    place: Place,
    /// The schema where its resource begins.
    pub(super) resource: Id,
    /// Of a resource: what `$dynamicRef` may find in it.
    pub(super) dynamic_anchors: BTreeMap<String, Id>,
    pub(super) dynamic_anchor: String,
    pub(super) recursive_anchor: bool,
    /// Whether what is beside `$ref` is left out of account.
    pub(super) only_reference: bool,
    /// `true` and `false`; an empty schema is `true`.
    pub(super) truth: Option<bool>,
    pub(super) reference: Option<Id>,
    pub(super) recursive_ref: Option<Id>,
    /// With the anchor that is looked for.
    pub(super) dynamic_ref: Option<(Id, String)>,
    pub(super) types: Types,
    pub(super) constant: Option<Json>,
    pub(super) options: Option<Vec<Json>>,
    pub(super) format: Option<Format>,
    pub(super) numbers: Option<Box<Numbers>>,
    pub(super) strings: Option<Box<Strings>>,
    pub(super) arrays: Option<Box<Arrays>>,
    pub(super) objects: Option<Box<Objects>>,
    pub(super) logic: Option<Box<Logic>>,
    pub(super) unevaluated_items: Option<Id>,
    pub(super) unevaluated_properties: Option<Id>,
}

/// A set of JSON's types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    const NAMES: [&'static str; 7] = [
        "null", "boolean", "number", "integer", "string", "array", "object",
    ];

    fn of(value: &Json) -> Self {
        let names = match value {
            Json::String(name) => vec![name.as_str()],
            Json::Array(names) => names.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        };
        Self(names.into_iter().fold(0, |set, name| set | Self::bit(name)))
    }

    fn bit(name: &str) -> u8 {
        let place = Self::NAMES.iter().position(|known| *known == name);
        place.map_or(0, |place| 1 << place)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'static str> {
        let names = Self::NAMES.into_iter().enumerate();
        names.filter_map(move |(bit, name)| (self.0 & 1 << bit != 0).then_some(name))
    }

    pub(super) fn contains(self, value: View<'_>) -> bool {
        let has = |name| self.0 & Self::bit(name) != 0;
        has(value.type_name()) || has("integer") && value.is_whole()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Regex,
    Named(&'static str),
}

#[derive(Default, PartialEq)]
pub(super) struct Numbers {
    pub(super) minimum: Option<Decimal>,
    pub(super) maximum: Option<Decimal>,
    pub(super) exclusive_minimum: Option<Decimal>,
    pub(super) exclusive_maximum: Option<Decimal>,
    pub(super) multiple_of: Option<Decimal>,
}

/// Bounds of a length or a count.
#[derive(Default)]
pub(super) struct Strings {
    pub(super) min: Option<usize>,
    pub(super) max: Option<usize>,
    pub(super) pattern: Option<(String, Regexp)>,
}

/// What more there may be.
#[derive(Clone, Copy)]
pub(super) enum Additional {
    Allowed,
    Refused,
    Checked(Id),
}

#[derive(Default)]
pub(super) struct Arrays {
    pub(super) min: Option<usize>,
    pub(super) max: Option<usize>,
    pub(super) unique: bool,
    /// Schemas of the first items.
    pub(super) first: Vec<Id>,
    /// The others. Without `first` these are all.
    pub(super) rest: Option<Additional>,
    pub(super) contains: Option<Id>,
    pub(super) min_contains: Option<usize>,
    pub(super) max_contains: Option<usize>,
    /// Whether an item that `contains` accepts counts as evaluated.
    pub(super) contains_evaluates: bool,
}

pub(super) enum Dependency {
    Names(Vec<String>),
    Schema(Id),
}

#[derive(Default)]
pub(super) struct Objects {
    pub(super) min: Option<usize>,
    pub(super) max: Option<usize>,
    pub(super) required: Vec<String>,
    pub(super) properties: BTreeMap<String, Id>,
    pub(super) patterns: Vec<(Regexp, Id)>,
    pub(super) additional: Option<Additional>,
    pub(super) names: Option<Id>,
    pub(super) dependencies: BTreeMap<String, Dependency>,
    pub(super) dependent_schemas: BTreeMap<String, Id>,
    pub(super) dependent_required: BTreeMap<String, Vec<String>>,
}

#[derive(Default)]
pub(super) struct Logic {
    pub(super) not: Option<Id>,
    pub(super) all_of: Vec<Id>,
    pub(super) any_of: Vec<Id>,
    pub(super) one_of: Vec<Id>,
    pub(super) condition: Option<Id>,
    pub(super) then: Option<Id>,
    pub(super) otherwise: Option<Id>,
}

/// Compiles schemas into one program.
#[derive(Default)]
pub(super) struct Compiler {
    pub(super) roots: Roots,
    assert_formats: bool,
    ids: HashMap<Place, Id>,
    program: Program,
    compiled: usize,
}

impl Compiler {
    /// A compiler; formats count for 2019-09 and later only if they are to be asserted.
    pub(super) fn new(assert_formats: bool) -> Self {
        Self {
            assert_formats,
            ..Self::default()
        }
    }

    /// Compiles the schema at an address and all that it refers to.
    pub(super) fn compile(&mut self, address: &str) -> Result<Id, String> {
        let document = self.roots.root(address)?;
        let id = self.enqueue((document, String::new()));
        while let Some(schema) = self.program.schemas.get(self.compiled) {
            let place = schema.place.clone();
            let compiled = self.schema(&place)?;
            if let Some(slot) = self.program.schemas.get_mut(self.compiled) {
                *slot = compiled;
            }
            self.compiled += 1;
        }
        Ok(id)
    }

    /// A metaschema of some vocabularies.
    pub(super) fn join(&mut self, draft: Draft, parts: Vec<Id>) -> Id {
        let id = self.program.schemas.len();
        let newest = draft >= Draft::D2020;
        let name = if newest { "meta" } else { "" };
        self.program.schemas.push(Schema {
            place: (usize::MAX, String::new()),
            resource: id,
            dynamic_anchor: name.to_owned(),
            dynamic_anchors: newest.then(|| (name.to_owned(), id)).into_iter().collect(),
            logic: Some(Box::new(Logic {
                all_of: parts,
                ..Logic::default()
            })),
            ..Schema::default()
        });
        self.compiled = self.program.schemas.len();
        id
    }

    pub(super) fn finish(mut self) -> Program {
        let addresses = self.roots.roots.into_iter().map(|root| root.address);
        self.program.addresses = addresses.collect();
        self.program
    }

    fn enqueue(&mut self, place: Place) -> Id {
        if let Some(id) = self.ids.get(&place) {
            return *id;
        }
        let id = self.program.schemas.len();
        self.program.schemas.push(Schema {
            place: place.clone(),
            ..Schema::default()
        });
        self.ids.insert(place, id);
        id
    }

    fn schema(&mut self, place: &Place) -> Result<Schema, String> {
        let (document, pointer) = place;
        let json = self.roots.schema(*document, pointer)?;
        let root = self.roots.roots.get(*document);
        let Some((root, resource)) = root.and_then(|root| Some((root, root.resource(pointer)?)))
        else {
            return Ok(Schema::default());
        };
        let value = lookup(&root.address, &json, pointer)?;
        let (address, resource) = (root.address.clone(), resource.clone());
        let mut schema = Schema {
            place: place.clone(),
            resource: self.enqueue((*document, resource.pointer.clone())),
            ..Schema::default()
        };
        let draft = resource.dialect.draft;
        if draft >= Draft::D2020 && resource.pointer == *pointer {
            for (anchor, marked) in resource.dynamic_anchors() {
                let id = self.enqueue((*document, marked));
                schema.dynamic_anchors.insert(anchor, id);
            }
        }
        match value {
            Json::Bool(truth) => schema.truth = Some(*truth),
            Json::Object(entries) if entries.is_empty() => schema.truth = Some(true),
            Json::Object(_) => {
                let mut object = Object {
                    compiler: self,
                    json: value,
                    place,
                    address: &address,
                    id: &resource.id,
                    draft,
                };
                let has = |name: &str| resource.dialect.has(name);
                object.compile(&mut schema, &has)?;
            }
            _ => {}
        }
        Ok(schema)
    }
}

/// The object of a schema while it is compiled.
struct Object<'c> {
    compiler: &'c mut Compiler,
    json: &'c Json,
    place: &'c Place,
    address: &'c str,
    /// The name of the resource, from which references start.
    id: &'c str,
    draft: Draft,
}

impl Object<'_> {
    fn compile(&mut self, schema: &mut Schema, has: &dyn Fn(&str) -> bool) -> Result<(), String> {
        schema.reference = self.reference("$ref")?;
        schema.only_reference = self.draft < Draft::D2019;
        if schema.only_reference && schema.reference.is_some() {
            self.beside_reference(schema);
            return Ok(());
        }
        let (applicator, validation) = (has("applicator"), has("validation"));
        if validation {
            self.scalars(schema);
        }
        schema.objects = self.objects(applicator, validation)?;
        schema.numbers = validation.then(|| self.numbers()).flatten();
        schema.strings = if validation { self.strings()? } else { None };
        schema.arrays = self.arrays(applicator, validation);
        schema.logic = applicator.then(|| self.logic()).flatten();
        let formats = match self.draft {
            _ if self.compiler.assert_formats => true,
            Draft::D2019 => has("format"),
            Draft::D2020 => has("format-assertion"),
            _ => true,
        };
        if formats {
            schema.format = match self.text("format") {
                Some("regex") => Some(Format::Regex),
                Some(name) => {
                    let known = format::KNOWN.into_iter().find(|known| *known == name);
                    known.map(Format::Named)
                }
                None => None,
            };
        }
        let unevaluated = match self.draft {
            Draft::D2019 => applicator,
            Draft::D2020 => has("unevaluated"),
            _ => false,
        };
        if unevaluated {
            schema.unevaluated_items = self.part("unevaluatedItems");
            schema.unevaluated_properties = self.part("unevaluatedProperties");
        }
        if self.draft >= Draft::D2019 {
            schema.recursive_ref = self.reference("$recursiveRef")?;
            schema.recursive_anchor = self.truth("$recursiveAnchor");
        }
        if self.draft >= Draft::D2020
            && let Some(target) = self.reference("$dynamicRef")?
        {
            let text = self.text("$dynamicRef").unwrap_or_default();
            let anchor = split_fragment(text).map(|(_, fragment)| fragment);
            let anchor = anchor.ok().filter(|anchor| !anchor.starts_with('/'));
            schema.dynamic_ref = Some((target, anchor.unwrap_or_default()));
        }
        if self.draft >= Draft::D2020 {
            schema.dynamic_anchor = self.text("$dynamicAnchor").unwrap_or_default().to_owned();
        }
        Ok(())
    }

    /// What older drafts leave out beside a reference, Helm's validator still compiles in part, and `const` counts.
    fn beside_reference(&mut self, schema: &mut Schema) {
        if self.draft >= Draft::D6 {
            schema.constant = self.json.get("const").cloned();
            for keyword in ["contains", "propertyNames"] {
                self.part(keyword);
            }
        }
        if self.draft >= Draft::D7 && self.part("if").is_some() {
            self.branches();
        }
    }

    /// `then` and `else`, as far as `if` may lead there.
    fn branches(&mut self) -> (Option<Id>, Option<Id>) {
        let fixed = self.json.get("if").and_then(Json::as_bool);
        let then = (fixed != Some(false)).then(|| self.part("then"));
        let otherwise = (fixed != Some(true)).then(|| self.part("else"));
        (then.flatten(), otherwise.flatten())
    }

    fn scalars(&mut self, schema: &mut Schema) {
        if let Some(types) = self.json.get("type") {
            schema.types = Types::of(types);
        }
        if let Some(Json::Array(options)) = self.json.get("enum") {
            schema.options = Some(options.clone());
        }
        if self.draft >= Draft::D6 {
            schema.constant = self.json.get("const").cloned();
        }
    }

    fn numbers(&self) -> Option<Box<Numbers>> {
        let mut numbers = Numbers {
            minimum: self.number("minimum"),
            maximum: self.number("maximum"),
            exclusive_minimum: self.number("exclusiveMinimum"),
            exclusive_maximum: self.number("exclusiveMaximum"),
            multiple_of: self.number("multipleOf"),
        };
        // In draft 4 these say of which kind the limit is.
        if self.truth("exclusiveMinimum") {
            numbers.exclusive_minimum = numbers.minimum.take();
        }
        if self.truth("exclusiveMaximum") {
            numbers.exclusive_maximum = numbers.maximum.take();
        }
        (numbers != Numbers::default()).then(|| Box::new(numbers))
    }

    fn strings(&self) -> Result<Option<Box<Strings>>, String> {
        let pattern = self.text("pattern").map(|pattern| {
            let compiled = self.regexp("pattern", pattern)?;
            Ok::<_, String>((pattern.to_owned(), compiled))
        });
        let strings = Strings {
            min: self.count("minLength"),
            max: self.count("maxLength"),
            pattern: pattern.transpose()?,
        };
        let any = strings.min.is_some() || strings.max.is_some() || strings.pattern.is_some();
        Ok(any.then(|| Box::new(strings)))
    }

    fn arrays(&mut self, applicator: bool, validation: bool) -> Option<Box<Arrays>> {
        let mut arrays = Arrays {
            contains_evaluates: self.draft >= Draft::D2020,
            ..Arrays::default()
        };
        if applicator {
            if self.draft >= Draft::D2020 {
                arrays.first = self.list("prefixItems");
                arrays.rest = self.part("items").map(Additional::Checked);
            } else if let Some(Json::Array(_)) = self.json.get("items") {
                arrays.first = self.list("items");
                arrays.rest = self.additional("additionalItems");
            } else {
                arrays.rest = self.part("items").map(Additional::Checked);
            }
            if self.draft >= Draft::D6 {
                arrays.contains = self.part("contains");
            }
        }
        if validation {
            arrays.min = self.count("minItems");
            arrays.max = self.count("maxItems");
            arrays.unique = self.truth("uniqueItems");
            if self.draft >= Draft::D2019 {
                arrays.min_contains = self.count("minContains");
                arrays.max_contains = self.count("maxContains");
            }
        }
        let any = arrays.min.is_some()
            || arrays.max.is_some()
            || arrays.unique
            || !arrays.first.is_empty()
            || arrays.rest.is_some()
            || arrays.contains.is_some();
        any.then(|| Box::new(arrays))
    }

    fn objects(
        &mut self,
        applicator: bool,
        validation: bool,
    ) -> Result<Option<Box<Objects>>, String> {
        let mut objects = Objects::default();
        if applicator {
            objects.properties = self.map("properties");
            for (pattern, id) in self.map("patternProperties") {
                let compiled = self.regexp("patternProperties", &pattern)?;
                objects.patterns.push((compiled, id));
            }
            objects.additional = self.additional("additionalProperties");
            if let Some(Json::Object(entries)) = self.json.get("dependencies") {
                for (name, value) in entries {
                    let dependency = match value {
                        Json::Array(names) => Dependency::Names(texts(names)),
                        _ => Dependency::Schema(self.at(&["dependencies", name])),
                    };
                    objects.dependencies.insert(name.clone(), dependency);
                }
            }
            if self.draft >= Draft::D6 {
                objects.names = self.part("propertyNames");
            }
            if self.draft >= Draft::D2019 {
                objects.dependent_schemas = self.map("dependentSchemas");
            }
        }
        if validation {
            objects.min = self.count("minProperties");
            objects.max = self.count("maxProperties");
            if let Some(Json::Array(names)) = self.json.get("required") {
                objects.required = texts(names);
            }
            if self.draft >= Draft::D2019
                && let Some(Json::Object(entries)) = self.json.get("dependentRequired")
            {
                let lists = entries
                    .iter()
                    .filter_map(|(name, names)| Some((name.clone(), texts(names.as_array()?))));
                objects.dependent_required = lists.collect();
            }
        }
        let any = objects.min.is_some()
            || objects.max.is_some()
            || !objects.required.is_empty()
            || !objects.properties.is_empty()
            || !objects.patterns.is_empty()
            || objects.additional.is_some()
            || objects.names.is_some()
            || !objects.dependencies.is_empty()
            || !objects.dependent_schemas.is_empty()
            || !objects.dependent_required.is_empty();
        Ok(any.then(|| Box::new(objects)))
    }

    fn logic(&mut self) -> Option<Box<Logic>> {
        let mut logic = Logic {
            not: self.part("not"),
            all_of: self.list("allOf"),
            any_of: self.list("anyOf"),
            one_of: self.list("oneOf"),
            ..Logic::default()
        };
        if self.draft >= Draft::D7 {
            logic.condition = self.part("if");
            if logic.condition.is_some() {
                (logic.then, logic.otherwise) = self.branches();
            }
        }
        let any = logic.not.is_some()
            || logic.condition.is_some()
            || !(logic.all_of.is_empty() && logic.any_of.is_empty() && logic.one_of.is_empty());
        any.then(|| Box::new(logic))
    }

    // What the values of keywords are.

    fn text(&self, keyword: &str) -> Option<&str> {
        self.json.get(keyword)?.as_str()
    }

    fn truth(&self, keyword: &str) -> bool {
        self.json.get(keyword).and_then(Json::as_bool) == Some(true)
    }

    fn number(&self, keyword: &str) -> Option<Decimal> {
        self.json.get(keyword)?.as_decimal()
    }

    fn count(&self, keyword: &str) -> Option<usize> {
        let number = self.number(keyword)?;
        let whole = number.is_whole();
        whole.then(|| number.to_usize().unwrap_or(usize::MAX))
    }

    fn regexp(&self, keyword: &str, pattern: &str) -> Result<Regexp, String> {
        Regexp::compile(pattern).map_err(|why| {
            let place = place_text(self.address, &format!("{}/{keyword}", self.place.1));
            format!(
                "invalid regex {} at {}: {why}",
                quote(pattern),
                quote(&place)
            )
        })
    }

    fn at(&mut self, tokens: &[&str]) -> Id {
        let (document, pointer) = self.place;
        let mut pointer = pointer.clone();
        for token in tokens {
            pointer.push('/');
            pointer.push_str(&escape(token));
        }
        self.compiler.enqueue((*document, pointer))
    }

    fn part(&mut self, keyword: &str) -> Option<Id> {
        self.json.get(keyword)?;
        Some(self.at(&[keyword]))
    }

    fn list(&mut self, keyword: &str) -> Vec<Id> {
        let count = self.json.get(keyword).and_then(Json::as_array);
        let count = count.map_or(0, <[Json]>::len);
        (0..count)
            .map(|i| self.at(&[keyword, &i.to_string()]))
            .collect()
    }

    fn map(&mut self, keyword: &str) -> BTreeMap<String, Id> {
        let json = self.json;
        let entries = json.get(keyword).and_then(Json::as_object);
        let names = entries.into_iter().flat_map(BTreeMap::keys);
        names
            .map(|name| (name.clone(), self.at(&[keyword, name])))
            .collect()
    }

    fn additional(&mut self, keyword: &str) -> Option<Additional> {
        match self.json.get(keyword)? {
            Json::Bool(true) => Some(Additional::Allowed),
            Json::Bool(false) => Some(Additional::Refused),
            _ => self.part(keyword).map(Additional::Checked),
        }
    }

    fn reference(&mut self, keyword: &str) -> Result<Option<Id>, String> {
        let json = self.json;
        let Some(reference) = json.get(keyword).and_then(Json::as_str) else {
            return Ok(None);
        };
        let roots = &mut self.compiler.roots;
        let place = roots.resolve(self.place.0, self.id, reference)?;
        Ok(Some(self.compiler.enqueue(place)))
    }
}

fn texts(items: &[Json]) -> Vec<String> {
    let texts = items.iter().filter_map(Json::as_str);
    texts.map(str::to_owned).collect()
}
