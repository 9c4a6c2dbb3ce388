//! Compiles the keywords of a schema.

use std::sync::Arc;

use flux_golang::regexp::Regex;
use flux_golang::strconv::quote;

use super::compile::{Compiler, Source};
use super::decimal::Decimal;
use super::draft::Draft;
use super::format;
use super::json::Json;
use super::names::Names;
use super::pointer::{Step, place_text, split_fragment};
use super::program::{
    Additional, Arrays, Dependency, Format, Id, Logic, Numbers, Objects, Schema, Strings, Types,
};

/// The object of a schema during compilation.
pub(super) struct Object<'c, 'd> {
    pub(super) compiler: &'c mut Compiler<'d>,
    pub(super) json: &'d Json<'d>,
    pub(super) source: &'c Source<'d>,
    /// The id of the resource, the base of references.
    pub(super) id: &'c str,
    pub(super) draft: Draft,
    /// The groups of keywords that are present.
    pub(super) themes: Themes,
}

/// A set of keyword groups that are compiled together. Most schemas have few of them.
#[derive(Clone, Copy, Default)]
pub(super) struct Themes(u8);

impl Themes {
    const NUMBERS: u8 = 1;
    const STRINGS: u8 = 1 << 1;
    const ARRAYS: u8 = 1 << 2;
    const OBJECTS: u8 = 1 << 3;
    const LOGIC: u8 = 1 << 4;
    const RARE: u8 = 1 << 5;

    pub(super) fn of<'k>(keywords: impl Iterator<Item = &'k str>) -> Self {
        Self(keywords.fold(0, |themes, keyword| themes | Self::one(keyword)))
    }

    fn one(keyword: &str) -> u8 {
        match keyword {
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                Self::NUMBERS
            }
            "minLength" | "maxLength" | "pattern" => Self::STRINGS,
            "prefixItems" | "items" | "additionalItems" | "contains" | "minItems" | "maxItems"
            | "uniqueItems" | "minContains" | "maxContains" => Self::ARRAYS,
            "properties"
            | "patternProperties"
            | "additionalProperties"
            | "dependencies"
            | "propertyNames"
            | "dependentSchemas"
            | "minProperties"
            | "maxProperties"
            | "required"
            | "dependentRequired" => Self::OBJECTS,
            "not" | "allOf" | "anyOf" | "oneOf" | "if" | "then" | "else" => Self::LOGIC,
            "unevaluatedItems"
            | "unevaluatedProperties"
            | "$recursiveRef"
            | "$recursiveAnchor"
            | "$dynamicRef"
            | "$dynamicAnchor" => Self::RARE,
            _ => 0,
        }
    }

    const fn has(self, theme: u8) -> bool {
        self.0 & theme != 0
    }
}

impl<'d> Object<'_, 'd> {
    pub(super) fn compile(
        &mut self,
        schema: &mut Schema,
        has: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
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
        let themes = self.themes;
        if themes.has(Themes::OBJECTS) {
            schema.objects = self.objects(applicator, validation)?;
        }
        if themes.has(Themes::NUMBERS) && validation {
            schema.numbers = self.numbers();
        }
        if themes.has(Themes::STRINGS) && validation {
            schema.strings = self.strings()?;
        }
        if themes.has(Themes::ARRAYS) {
            schema.arrays = self.arrays(applicator, validation);
        }
        if themes.has(Themes::LOGIC) && applicator {
            schema.logic = self.logic();
        }
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
        if themes.has(Themes::RARE) {
            self.rare(schema, has)?;
        }
        Ok(())
    }

    /// The unevaluated keywords, and references that depend on the dynamic scope.
    fn rare(&mut self, schema: &mut Schema, has: &dyn Fn(&str) -> bool) -> Result<(), String> {
        let unevaluated = match self.draft {
            Draft::D2019 => has("applicator"),
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
            let anchor = self.text("$dynamicAnchor").unwrap_or_default();
            anchor.clone_into(&mut schema.dynamic_anchor);
        }
        Ok(())
    }

    /// Keywords alongside a reference, which older drafts ignore: Helm's validator still compiles some of them, and checks
    /// `const`.
    fn beside_reference(&mut self, schema: &mut Schema) {
        if self.draft >= Draft::D6 {
            schema.constant = self.json.get("const").cloned().map(Json::into_owned);
            for keyword in ["contains", "propertyNames"] {
                self.part(keyword);
            }
        }
        if self.draft >= Draft::D7 && self.part("if").is_some() {
            self.branches();
        }
    }

    /// `then` and `else`, if `if` can lead to them.
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
            schema.options = Some(options.iter().cloned().map(Json::into_owned).collect());
        }
        if self.draft >= Draft::D6 {
            schema.constant = self.json.get("const").cloned().map(Json::into_owned);
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
        // In draft 4 these are booleans that make the limits exclusive.
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
                let each = entries.iter().map(|(name, value)| {
                    let dependency = match value {
                        Json::Array(names) => Dependency::Names(texts(names)),
                        _ => Dependency::Schema(self.at(Step::Named("dependencies", name), value)),
                    };
                    (name.to_owned(), dependency)
                });
                objects.dependencies = each.collect();
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
                    .filter_map(|(name, names)| Some((name.to_owned(), texts(names.as_array()?))));
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

    // Typed access to the values of keywords.

    fn text(&self, keyword: &str) -> Option<&'d str> {
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

    fn regexp(&self, keyword: &str, pattern: &str) -> Result<Arc<Regex>, String> {
        Regex::cached(pattern.as_bytes()).map_err(|why| {
            let pointer = format!("{}/{keyword}", self.source.place.pointer);
            let address = self.compiler.roots.address(self.source.place.document);
            let place = place_text(address, &pointer);
            format!(
                "invalid regex {} at {}: {why}",
                quote(pattern),
                quote(&place)
            )
        })
    }

    /// The schema one step below this one.
    fn at(&mut self, step: Step<'_>, json: &'d Json<'d>) -> Id {
        self.compiler.enqueue_below(self.source, step, json)
    }

    fn part(&mut self, keyword: &'static str) -> Option<Id> {
        let json = self.json.get(keyword)?;
        Some(self.at(Step::Keyword(keyword), json))
    }

    fn list(&mut self, keyword: &'static str) -> Vec<Id> {
        let items = self.json.get(keyword).and_then(Json::as_array);
        let items = items.unwrap_or_default().iter().enumerate();
        items
            .map(|(i, item)| self.at(Step::Item(keyword, i), item))
            .collect()
    }

    fn map(&mut self, keyword: &'static str) -> Names<String, Id> {
        let Some(Json::Object(entries)) = self.json.get(keyword) else {
            return Names::default();
        };
        let entries = entries.iter();
        entries
            .map(|(name, value)| (name.to_owned(), self.at(Step::Named(keyword, name), value)))
            .collect()
    }

    fn additional(&mut self, keyword: &'static str) -> Option<Additional> {
        match self.json.get(keyword)? {
            Json::Bool(true) => Some(Additional::Allowed),
            Json::Bool(false) => Some(Additional::Refused),
            _ => self.part(keyword).map(Additional::Checked),
        }
    }

    fn reference(&mut self, keyword: &str) -> Result<Option<Id>, String> {
        let Some(reference) = self.text(keyword) else {
            return Ok(None);
        };
        let document = self.source.place.document;
        let place = self.compiler.roots.resolve(document, self.id, reference)?;
        Ok(Some(self.compiler.enqueue(place)))
    }
}

fn texts(items: &[Json<'_>]) -> Vec<String> {
    let texts = items.iter().filter_map(Json::as_str);
    texts.map(str::to_owned).collect()
}
