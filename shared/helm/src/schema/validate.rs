//! Values against compiled schemas, findings in the order in which Helm's validator comes upon them. Where its order is
//! that of a Go map, which is random, properties come in the order of their names.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hasher as _};

use super::{
    compile::{
        Additional, Arrays, Dependency, Format, Id, Numbers, Objects, Program, Schema, Strings,
    },
    decimal::Decimal,
    finding::{Finding, Kind, pointer},
    format,
    json::{Json, View},
};

/// How many times a schema may meet a value, and how many findings there may be.
const STEPS: usize = 5_000_000;
const FINDINGS: usize = 1_000_000;
/// How deep schemas may lead to schemas.
const DEPTH: usize = 10_000;

type Found<'a, T = ()> = Result<T, Finding<'a>>;

/// A validation of one document.
pub(super) struct Validator<'a> {
    program: &'a Program,
    /// Where the metaschemas begin of the parts that are of a dialect of their own, when a schema is validated.
    resources: BTreeMap<&'a str, Id>,
    meta: Option<Id>,
    at: Vec<Token<'a>>,
    steps: usize,
    findings: usize,
    depth: usize,
    exhausted: bool,
}

/// A step into the values.
#[derive(Clone, Copy)]
enum Token<'a> {
    Name(&'a str),
    Index(usize),
}

/// The way from the root schema to the present one.
struct Scope<'s> {
    schema: Id,
    /// The keyword of a reference that led here.
    keyword: &'static str,
    /// Tells values apart: those who look at the same value have the same number.
    value: usize,
    parent: Option<&'s Scope<'s>>,
}

/// What no schema has looked at yet, as far as somebody asks.
#[derive(Default)]
struct Unevaluated<'a> {
    properties: BTreeSet<&'a str>,
    items: BTreeSet<usize>,
}

/// A schema that meets a value.
struct Meeting<'s, 'a> {
    schema: &'a Schema,
    id: Id,
    value: View<'a>,
    scope: &'s Scope<'s>,
    meta: Option<Id>,
    /// Only whether it holds is asked for.
    quiet: bool,
    unevaluated: Unevaluated<'a>,
    findings: Vec<Finding<'a>>,
}

impl<'a> Validator<'a> {
    pub(super) fn new(program: &'a Program) -> Self {
        Self {
            program,
            resources: BTreeMap::new(),
            meta: None,
            at: Vec::new(),
            steps: STEPS,
            findings: FINDINGS,
            depth: DEPTH,
            exhausted: false,
        }
    }

    /// A validator of a schema, whose resources may be of drafts of their own.
    pub(super) fn of_schema(
        program: &'a Program,
        meta: Id,
        resources: BTreeMap<&'a str, Id>,
    ) -> Self {
        Self {
            meta: Some(meta),
            resources,
            ..Self::new(program)
        }
    }

    /// Validates a value; the error is the whole report.
    pub(super) fn run(mut self, root: Id, value: &'a Json) -> Result<(), String> {
        let found = self.fresh(root, value.view(), self.meta);
        if self.exhausted {
            return Err(
                "the schema takes too many steps on these values to validate them".to_owned(),
            );
        }
        found.map_err(|finding| finding.report(self.program))
    }

    /// Validates a value by itself, as if it were a document.
    fn fresh(&mut self, root: Id, value: View<'a>, meta: Option<Id>) -> Found<'a> {
        let scope = Scope {
            schema: root,
            keyword: "",
            value: 0,
            parent: None,
        };
        let above = std::mem::take(&mut self.at);
        let met = self.meet(root, value, &scope, meta, false, false);
        self.at = above;
        met.map(drop).map_err(|finding| Finding {
            at: String::new(),
            kind: Kind::Report(root),
            causes: finding.ungrouped(),
        })
    }

    fn finding(&mut self, quiet: bool, kind: impl FnOnce() -> Kind<'a>) -> Finding<'a> {
        if quiet {
            return Finding::new(String::new(), Kind::Unread);
        }
        self.findings = self.findings.saturating_sub(1);
        self.exhausted |= self.findings == 0;
        let numbers: Vec<_> = self.at.iter().map(Token::text).collect();
        Finding::new(pointer(numbers.iter().map(AsRef::as_ref)), kind())
    }

    /// The heart: one schema, one value.
    fn meet(
        &mut self,
        id: Id,
        value: View<'a>,
        scope: &Scope<'_>,
        meta: Option<Id>,
        quiet: bool,
        asked: bool,
    ) -> Found<'a, Unevaluated<'a>> {
        self.steps = self.steps.saturating_sub(1);
        self.exhausted |= self.steps == 0 || self.depth == 0;
        let Some(schema) = self.program.schemas.get(id).filter(|_| !self.exhausted) else {
            return Ok(Unevaluated::default());
        };
        let mut meeting = Meeting {
            schema,
            id,
            value,
            scope,
            meta,
            quiet,
            unevaluated: Unevaluated::of(value, schema, asked),
            findings: Vec::new(),
        };
        self.depth -= 1;
        let met = self.meet_within(&mut meeting);
        self.depth += 1;
        met?;
        match meeting.findings.len() {
            0 => Ok(meeting.unevaluated),
            1 => Err(meeting.findings.remove(0)),
            _ => {
                let mut group = self.finding(quiet, || Kind::Group);
                group.causes = meeting.findings;
                Err(group)
            }
        }
    }

    fn meet_within(&mut self, m: &mut Meeting<'_, 'a>) -> Found<'a> {
        let schema = m.schema;
        match schema.truth {
            Some(true) => return Ok(()),
            Some(false) => return Err(self.finding(m.quiet, || Kind::False)),
            None => {}
        }
        if let Some(again) = m.scope.cycle() {
            let program = self.program;
            return Err(self.finding(m.quiet, || Kind::Cycle {
                schema: m.id,
                first: m.scope.way(program),
                second: again.way(program),
            }));
        }
        self.meet_value(m)?;
        if let Some(target) = schema.reference {
            let met = self.follow(m, target, "$ref");
            if schema.only_reference {
                return met;
            }
            m.add(met);
        }
        match m.value {
            View::Object(entries) => {
                if let Some(rules) = &schema.objects {
                    self.object(m, rules, entries);
                }
            }
            View::Array(items) => {
                if let Some(rules) = &schema.arrays {
                    self.array(m, rules, items);
                }
            }
            View::String(text) => {
                if let Some(rules) = &schema.strings {
                    self.string(m, rules, text);
                }
            }
            View::Number(text) => {
                if let Some(rules) = &schema.numbers {
                    self.number(m, rules, text);
                }
            }
            View::Null | View::Bool(_) => {}
        }
        if m.findings.is_empty() || !m.quiet {
            self.references(m);
            self.logic(m);
            self.rest(m);
        }
        Ok(())
    }

    /// What ends a meeting at once: type, const, enum, format.
    fn meet_value(&mut self, m: &mut Meeting<'_, 'a>) -> Found<'a> {
        let (schema, value) = (m.schema, m.value);
        if !schema.types.is_empty() && !schema.types.contains(value) {
            let (got, want) = (value.type_name(), schema.types);
            return Err(self.finding(m.quiet, || Kind::Type { got, want }));
        }
        if let Some(wanted) = &schema.constant
            && !value.same(wanted)
        {
            return Err(self.finding(m.quiet, || Kind::Constant(wanted)));
        }
        if let Some(options) = &schema.options {
            // Long lists take their time.
            self.steps = self.steps.saturating_sub(options.len() / 8).max(1);
            if !options.iter().any(|option| value.same(option)) {
                return Err(self.finding(m.quiet, || Kind::Options(options)));
            }
        }
        if let (Some(wanted), View::String(text)) = (schema.format, value) {
            let (want, checked) = match wanted {
                Format::Regex => ("regex", format::regex(text)),
                Format::Named(name) => (name, format::check(name, text)),
            };
            if let Err(why) = checked {
                return Err(self.finding(m.quiet, || Kind::Format {
                    got: text,
                    want,
                    why,
                }));
            }
        }
        Ok(())
    }

    fn add(&mut self, m: &mut Meeting<'_, 'a>, kind: impl FnOnce() -> Kind<'a>) {
        let finding = self.finding(m.quiet, kind);
        m.findings.push(finding);
    }

    fn add_with(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        causes: Vec<Finding<'a>>,
        kind: impl FnOnce() -> Kind<'a>,
    ) {
        let mut finding = self.finding(m.quiet, kind);
        finding.causes = causes;
        m.findings.push(finding);
    }

    fn object(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        rules: &'a Objects,
        entries: &'a BTreeMap<String, Json>,
    ) {
        let count = entries.len();
        if let Some(min) = rules.min.filter(|min| count < *min) {
            self.add(m, || Kind::Count("minProperties", count, min));
        }
        if let Some(max) = rules.max.filter(|max| count > *max) {
            self.add(m, || Kind::Count("maxProperties", count, max));
        }
        let missing = missing(entries, &rules.required);
        if !missing.is_empty() {
            self.add(m, || Kind::Required(missing));
        }
        if m.done() {
            return;
        }
        for (name, dependency) in &rules.dependencies {
            if entries.contains_key(name) {
                match dependency {
                    Dependency::Names(names) => self.depend(m, entries, name, names),
                    Dependency::Schema(schema) => {
                        let met = self.same_value(m, *schema, "", false);
                        m.add(met);
                    }
                }
            }
        }
        if !self.properties(m, rules, entries) {
            return;
        }
        if let Some(schema) = rules.names {
            self.names(m, schema, entries);
        }
        for (name, schema) in &rules.dependent_schemas {
            if entries.contains_key(name) {
                let met = self.same_value(m, *schema, "", false);
                m.add(met);
            }
        }
        for (name, names) in &rules.dependent_required {
            if entries.contains_key(name) {
                self.depend(m, entries, name, names);
            }
        }
    }

    fn depend(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        entries: &BTreeMap<String, Json>,
        name: &'a str,
        names: &'a [String],
    ) {
        let missing = missing(entries, names);
        if !missing.is_empty() {
            self.add(m, || Kind::Dependency(missing, name));
        }
    }

    /// Whether the rest of the object is worth a look.
    fn properties(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        rules: &'a Objects,
        entries: &'a BTreeMap<String, Json>,
    ) -> bool {
        let mut refused = Vec::new();
        for (name, value) in entries {
            if m.done() {
                return false;
            }
            let mut evaluated = false;
            if let Some(schema) = rules.properties.get(name) {
                evaluated = true;
                self.part(m, *schema, value.view(), Token::Name(name));
            }
            for (pattern, schema) in &rules.patterns {
                if pattern.is_match(name) {
                    evaluated = true;
                    self.part(m, *schema, value.view(), Token::Name(name));
                }
            }
            if !evaluated && let Some(additional) = rules.additional {
                evaluated = true;
                match additional {
                    Additional::Allowed => {}
                    Additional::Refused => refused.push(name.as_str()),
                    Additional::Checked(schema) => {
                        self.part(m, schema, value.view(), Token::Name(name));
                    }
                }
            }
            if evaluated {
                m.unevaluated.properties.remove(name.as_str());
            }
        }
        if !refused.is_empty() {
            self.add(m, || Kind::AdditionalProperties(refused));
        }
        true
    }

    fn names(&mut self, m: &mut Meeting<'_, 'a>, schema: Id, entries: &'a BTreeMap<String, Json>) {
        for name in entries.keys() {
            if let Err(mut report) = self.fresh(schema, View::String(name), m.meta) {
                report.kind = Kind::PropertyName(name);
                m.findings.push(report);
            }
        }
    }

    fn array(&mut self, m: &mut Meeting<'_, 'a>, rules: &'a Arrays, items: &'a [Json]) {
        let count = items.len();
        if let Some(min) = rules.min.filter(|min| count < *min) {
            self.add(m, || Kind::Count("minItems", count, min));
        }
        if let Some(max) = rules.max.filter(|max| count > *max) {
            self.add(m, || Kind::Count("maxItems", count, max));
        }
        if rules.unique
            && let Some((first, second)) = equal(items)
        {
            self.add(m, || Kind::Equal(first, second));
        }
        for (i, (schema, item)) in rules.first.iter().zip(items).enumerate() {
            self.part(m, *schema, item.view(), Token::Index(i));
        }
        let rest = items.get(rules.first.len()..).unwrap_or_default();
        match rules.rest {
            Some(Additional::Refused) if !rest.is_empty() => {
                let count = rest.len();
                self.add(m, || Kind::AdditionalItems(count));
            }
            Some(Additional::Checked(schema)) => {
                // Helm's validator counts these anew.
                for (i, item) in rest.iter().enumerate() {
                    self.part(m, schema, item.view(), Token::Index(i));
                }
            }
            _ => {}
        }
        if let Some(schema) = rules.contains {
            self.contains(m, rules, schema, items);
        }
    }

    fn contains(&mut self, m: &mut Meeting<'_, 'a>, rules: &Arrays, schema: Id, items: &'a [Json]) {
        let (mut matched, mut others) = (Vec::new(), Vec::new());
        for (i, item) in items.iter().enumerate() {
            if let Err(finding) = self.part_of(m, schema, item.view(), Token::Index(i)) {
                others.push(finding);
                continue;
            }
            matched.push(i);
            if rules.contains_evaluates {
                m.unevaluated.items.remove(&i);
            }
        }
        match rules.min_contains {
            Some(min) if matched.len() < min => {
                self.add_with(m, others, || Kind::MinContains(matched.clone(), min));
            }
            None if matched.is_empty() => self.add_with(m, others, || Kind::Contains),
            _ => {}
        }
        if let Some(max) = rules.max_contains.filter(|max| matched.len() > *max) {
            self.add(m, || Kind::MaxContains(matched, max));
        }
    }

    fn string(&mut self, m: &mut Meeting<'_, 'a>, rules: &'a Strings, text: &'a str) {
        let length = || text.chars().count();
        if let Some(min) = rules.min.filter(|min| length() < *min) {
            self.add(m, || Kind::Count("minLength", length(), min));
        }
        if let Some(max) = rules.max.filter(|max| length() > *max) {
            self.add(m, || Kind::Count("maxLength", length(), max));
        }
        if let Some((pattern, compiled)) = &rules.pattern
            && !compiled.is_match(text)
        {
            self.add(m, || Kind::Pattern(text, pattern));
        }
    }

    fn number(&mut self, m: &mut Meeting<'_, 'a>, rules: &'a Numbers, text: &str) {
        let Some(got) = Decimal::parse(text) else {
            return;
        };
        let bounds = [
            ("minimum", &rules.minimum, [Ordering::Less].as_slice()),
            ("maximum", &rules.maximum, &[Ordering::Greater]),
            (
                "exclusiveMinimum",
                &rules.exclusive_minimum,
                &[Ordering::Less, Ordering::Equal],
            ),
            (
                "exclusiveMaximum",
                &rules.exclusive_maximum,
                &[Ordering::Greater, Ordering::Equal],
            ),
        ];
        for (keyword, bound, beyond) in bounds {
            if let Some(bound) = bound
                && beyond.contains(&got.cmp(bound))
            {
                self.add(m, || Kind::Measure(keyword, got.clone(), bound));
            }
        }
        if let Some(of) = &rules.multiple_of
            && !got.is_multiple(of)
        {
            self.add(m, || Kind::Measure("multipleOf", got, of));
        }
    }

    fn references(&mut self, m: &mut Meeting<'_, 'a>) {
        if let Some(target) = m.schema.recursive_ref {
            let recursive = |id| self.schema(id).is_some_and(|s| s.recursive_anchor);
            let target = if recursive(target) {
                let begins = |id| self.schema(id).map_or(id, |schema| schema.resource);
                let outer = m.scope.outwards().filter(|id| recursive(begins(*id)));
                outer.last().unwrap_or(target)
            } else {
                target
            };
            let met = self.follow(m, target, "$recursiveRef");
            m.add(met);
        }
        if let Some((target, anchor)) = &m.schema.dynamic_ref {
            let mut target = *target;
            let marked = self.schema(target).map(|s| s.dynamic_anchor.as_str());
            if !anchor.is_empty() && marked == Some(anchor) {
                let outer = m.scope.outwards().filter_map(|id| {
                    let resource = self.schema(self.schema(id)?.resource)?;
                    resource.dynamic_anchors.get(anchor).copied()
                });
                target = outer.last().unwrap_or(target);
            }
            let met = self.follow(m, target, "$dynamicRef");
            m.add(met);
        }
    }

    fn logic(&mut self, m: &mut Meeting<'_, 'a>) {
        let Some(rules) = &m.schema.logic else {
            return;
        };
        if let Some(schema) = rules.not
            && self.same_value(m, schema, "", true).is_ok()
        {
            self.add(m, || Kind::Not);
        }
        if !rules.all_of.is_empty() {
            let mut causes = Vec::new();
            for schema in &rules.all_of {
                causes.extend(self.same_value(m, *schema, "", false).err());
                if m.quiet && !causes.is_empty() {
                    break;
                }
            }
            if !causes.is_empty() {
                self.add_with(m, causes, || Kind::AllOf);
            }
        }
        if !rules.any_of.is_empty() {
            self.any_of(m, &rules.any_of);
        }
        if !rules.one_of.is_empty() {
            self.one_of(m, &rules.one_of);
        }
        if let Some(condition) = rules.condition {
            let next = match self.same_value(m, condition, "", true) {
                Ok(()) => rules.then,
                Err(_) => rules.otherwise,
            };
            if let Some(schema) = next {
                let met = self.same_value(m, schema, "", false);
                m.add(met);
            }
        }
    }

    fn any_of(&mut self, m: &mut Meeting<'_, 'a>, schemas: &[Id]) {
        let (mut matched, mut causes) = (false, Vec::new());
        for schema in schemas {
            if let Err(finding) = self.same_value(m, *schema, "", false) {
                causes.push(finding);
                continue;
            }
            matched = true;
            // The others may look at more of the value.
            if m.unevaluated.is_empty() {
                break;
            }
        }
        if !matched {
            self.add_with(m, causes, || Kind::AnyOf);
        }
    }

    fn one_of(&mut self, m: &mut Meeting<'_, 'a>, schemas: &[Id]) {
        let (mut matched, mut causes) = (None, Vec::new());
        for (i, schema) in schemas.iter().enumerate() {
            match (self.same_value(m, *schema, "", matched.is_some()), matched) {
                (Err(finding), None) => causes.push(finding),
                (Err(_), Some(_)) => {}
                (Ok(()), None) => matched = Some(i),
                (Ok(()), Some(first)) => {
                    self.add(m, || Kind::OneOf(Some((first, i))));
                    break;
                }
            }
        }
        if matched.is_none() {
            self.add_with(m, causes, || Kind::OneOf(None));
        }
    }

    /// What nothing else has looked at.
    fn rest(&mut self, m: &mut Meeting<'_, 'a>) {
        match m.value {
            View::Object(entries) => {
                if let Some(schema) = m.schema.unevaluated_properties {
                    for name in std::mem::take(&mut m.unevaluated.properties) {
                        if let Some(value) = entries.get(name) {
                            self.part(m, schema, value.view(), Token::Name(name));
                        }
                    }
                }
            }
            View::Array(items) => {
                if let Some(schema) = m.schema.unevaluated_items {
                    for i in std::mem::take(&mut m.unevaluated.items) {
                        if let Some(item) = items.get(i) {
                            self.part(m, schema, item.view(), Token::Index(i));
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn schema(&self, id: Id) -> Option<&'a Schema> {
        self.program.schemas.get(id)
    }

    /// Follows a reference.
    fn follow(&mut self, m: &mut Meeting<'_, 'a>, target: Id, keyword: &'static str) -> Found<'a> {
        self.same_value(m, target, keyword, false).map_err(|found| {
            let mut finding = self.finding(m.quiet, || Kind::Reference);
            finding.causes = found.ungrouped();
            finding
        })
    }

    /// Another schema for the same value.
    fn same_value(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        schema: Id,
        keyword: &'static str,
        quiet: bool,
    ) -> Found<'a> {
        let scope = Scope {
            schema,
            keyword,
            value: m.scope.value,
            parent: Some(m.scope),
        };
        let asked = !m.unevaluated.is_empty();
        let (schema, meta) = self.dialect(schema, m.meta);
        let left = self.meet(schema, m.value, &scope, meta, m.quiet || quiet, asked)?;
        m.unevaluated.keep(&left);
        Ok(())
    }

    /// A schema for a part of the value.
    fn part_of(
        &mut self,
        m: &Meeting<'_, 'a>,
        schema: Id,
        value: View<'a>,
        token: Token<'a>,
    ) -> Found<'a> {
        let scope = Scope {
            schema,
            keyword: "",
            value: m.scope.value + 1,
            parent: Some(m.scope),
        };
        self.at.push(token);
        let (schema, meta) = self.dialect(schema, m.meta);
        let met = self.meet(schema, value, &scope, meta, m.quiet, false);
        self.at.pop();
        met.map(drop)
    }

    fn part(&mut self, m: &mut Meeting<'_, 'a>, schema: Id, value: View<'a>, token: Token<'a>) {
        let met = self.part_of(m, schema, value, token);
        m.add(met);
    }

    /// The metaschema for a part of a schema that is of another dialect.
    fn dialect(&self, schema: Id, meta: Option<Id>) -> (Id, Option<Id>) {
        if meta != Some(schema) || self.resources.is_empty() {
            return (schema, meta);
        }
        let tokens: Vec<_> = self.at.iter().map(Token::text).collect();
        let place = pointer(tokens.iter().map(AsRef::as_ref));
        let own = self.resources.get(place.as_str()).copied();
        (own.unwrap_or(schema), own.or(meta))
    }
}

impl<'a> Meeting<'_, 'a> {
    fn add(&mut self, met: Found<'a>) {
        self.findings.extend(met.err());
    }

    /// Whether more findings would tell nothing.
    fn done(&self) -> bool {
        self.quiet && !self.findings.is_empty()
    }
}

impl Token<'_> {
    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Index(i) => Cow::Owned(i.to_string()),
        }
    }
}

impl Scope<'_> {
    /// The schemas from here to the root.
    fn outwards(&self) -> impl Iterator<Item = Id> {
        std::iter::successors(Some(self), |scope| scope.parent).map(|scope| scope.schema)
    }

    /// Where this schema has met this value before.
    fn cycle(&self) -> Option<&Scope<'_>> {
        let above = std::iter::successors(self.parent, |scope| scope.parent);
        let mut same = above.take_while(|scope| scope.value == self.value);
        same.find(|scope| scope.schema == self.schema)
    }

    /// The keywords that led here.
    fn way(&self, program: &Program) -> String {
        let mut steps = Vec::new();
        let mut scope = self;
        while let Some(parent) = scope.parent {
            steps.push(if scope.keyword.is_empty() {
                let (here, above) = (scope.schema, parent.schema);
                let (here, above) = (program.location(here), program.location(above));
                here.get(above.len()..).unwrap_or_default().to_owned()
            } else {
                format!("/{}", scope.keyword)
            });
            scope = parent;
        }
        steps.reverse();
        steps.concat()
    }
}

impl<'a> Unevaluated<'a> {
    fn of(value: View<'a>, schema: &Schema, asked: bool) -> Self {
        let mut unevaluated = Self::default();
        match value {
            View::Object(entries) => {
                let all = schema
                    .objects
                    .as_ref()
                    .is_some_and(|o| o.additional.is_some());
                if !all && (asked || schema.unevaluated_properties.is_some()) {
                    unevaluated.properties = entries.keys().map(String::as_str).collect();
                }
            }
            View::Array(items) => {
                let rules = schema.arrays.as_ref();
                let all = rules.is_some_and(|rules| rules.rest.is_some());
                let first = rules.map_or(0, |rules| rules.first.len());
                if !all && (asked || schema.unevaluated_items.is_some()) {
                    unevaluated.items = (first..items.len()).collect();
                }
            }
            _ => {}
        }
        unevaluated
    }

    fn keep(&mut self, left: &Self) {
        self.properties
            .retain(|name| left.properties.contains(name));
        self.items.retain(|i| left.items.contains(i));
    }

    fn is_empty(&self) -> bool {
        self.properties.is_empty() && self.items.is_empty()
    }
}

fn missing<'a>(entries: &BTreeMap<String, Json>, wanted: &'a [String]) -> Vec<&'a str> {
    let names = wanted.iter().map(String::as_str);
    names.filter(|name| !entries.contains_key(*name)).collect()
}

/// The first items that are equal.
fn equal(items: &[Json]) -> Option<(usize, usize)> {
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::new();
    for (second, item) in items.iter().enumerate() {
        let mut hasher = DefaultHasher::new();
        item.hash(&mut hasher);
        let alike = seen.entry(hasher.finish()).or_default();
        let found = alike
            .iter()
            .copied()
            .find(|first| items.get(*first).is_some_and(|first| first.same(item)));
        if let Some(first) = found {
            return Some((first, second));
        }
        alike.push(second);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::compile::Compiler;
    use super::*;

    /// What a schema says of an empty object.
    fn check(schema: &str, limit: impl FnOnce(&mut Validator<'_>)) -> Result<(), String> {
        let mut compiler = Compiler::new(false);
        let schema = flux_yaml::json::read(schema).unwrap();
        compiler.roots.add("file:///values.schema.json", schema);
        let root = compiler.compile("file:///values.schema.json").unwrap();
        let program = compiler.finish();
        let mut validator = Validator::new(&program);
        limit(&mut validator);
        validator.run(root, &Json::Object(BTreeMap::new()))
    }

    #[test]
    fn schemas_have_bounds() {
        // HE-SCHEMA-003
        let chain = |link: fn(usize) -> String| {
            let links = (0..40).map(|i| format!(r#""d{i}": {}"#, link(i + 1)));
            let links: Vec<_> = links.collect();
            let links = links.join(", ");
            format!(r##"{{"$ref": "#/$defs/d0", "$defs": {{{links}, "d40": {{}}}}}}"##)
        };
        let single = chain(|next| format!(r##"{{"$ref": "#/$defs/d{next}"}}"##));
        let double = chain(|next| {
            let next = format!(r##"{{"$ref": "#/$defs/d{next}"}}"##);
            format!(r#"{{"allOf": [{next}, {next}]}}"#)
        });
        let broken = double.replace("\"d40\": {}", "\"d40\": false");
        assert_eq!(check(&single, |_| {}), Ok(()));
        for (schema, limit) in [
            (&single, (|v| v.depth = 30) as fn(&mut Validator<'_>)),
            (&double, |v| v.steps = 10_000),
            (&broken, |v| v.findings = 1_000),
        ] {
            let error = check(schema, limit).unwrap_err();
            assert!(error.contains("too many steps"), "{error}");
        }
    }
}
