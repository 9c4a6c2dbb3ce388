//! Validates values against compiled schemas. Findings are in the order of Helm's validator; where that iterates over a Go
//! map in random order, properties are in the order of their names.

mod array;
mod logic;
mod object;
mod scope;

use std::collections::BTreeMap;

use self::scope::{Scope, Token, Unevaluated};
use super::finding::{Finding, Kind, pointer};
use super::format;
use super::json::{Json, View};
use super::program::{Format, Id, Program, Schema};

/// Maximum number of applications of a schema to a value, and of findings.
const STEPS: usize = 5_000_000;
const FINDINGS: usize = 1_000_000;
/// Maximum depth of nested schemas.
const DEPTH: usize = 10_000;

type Found<'a, T = ()> = Result<T, Finding<'a>>;

/// The validation of one document.
pub(super) struct Validator<'a> {
    program: &'a Program,
    /// When a schema is validated: the roots of the metaschemas of parts with a dialect of their own.
    resources: BTreeMap<&'a str, Id>,
    meta: Option<Id>,
    at: Vec<Token<'a>>,
    steps: usize,
    findings: usize,
    depth: usize,
    exhausted: bool,
}

/// The application of a schema to a value.
struct Meeting<'s, 'a> {
    schema: &'a Schema,
    id: Id,
    value: View<'a>,
    scope: &'s Scope<'s>,
    meta: Option<Id>,
    /// Whether only the validity matters, not the findings.
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

    /// A validator for a schema, whose resources may have different drafts.
    pub(super) fn of_schema(
        program: &'a Program,
        meta: Id,
        mut resources: BTreeMap<&'a str, Id>,
    ) -> Self {
        if resources.values().all(|dialect| *dialect == meta) {
            // Fast path: if all resources have the same draft, no path is tracked.
            resources.clear();
        }
        Self {
            meta: Some(meta),
            resources,
            ..Self::new(program)
        }
    }

    /// Validates a value; the error is the whole report.
    pub(super) fn run(mut self, root: Id, value: &'a Json<'a>) -> Result<(), String> {
        let found = self.fresh(root, value.view(), self.meta);
        if self.exhausted {
            return Err(
                "the schema takes too many steps on these values to validate them".to_owned(),
            );
        }
        found.map_err(|finding| finding.report(self.program))
    }

    /// Validates a value as a document of its own.
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
        Finding::new(self.place(), kind())
    }

    /// The pointer to the value that is validated.
    fn place(&self) -> String {
        let parts: Vec<_> = self.at.iter().map(Token::text).collect();
        pointer(parts.iter().map(AsRef::as_ref))
    }

    /// Applies one schema to one value.
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

    /// The keywords whose failure ends the application: type, const, enum, format.
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
            // Long lists count as several steps.
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

    fn schema(&self, id: Id) -> Option<&'a Schema> {
        self.program.schemas.get(id)
    }

    /// Applies the target of a reference.
    fn follow(&mut self, m: &mut Meeting<'_, 'a>, target: Id, keyword: &'static str) -> Found<'a> {
        self.same_value(m, target, keyword, false).map_err(|found| {
            let mut finding = self.finding(m.quiet, || Kind::Reference);
            finding.causes = found.ungrouped();
            finding
        })
    }

    /// Applies another schema to the same value.
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

    /// Applies a schema to a part of the value.
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

    /// The metaschema for a part of a schema that has another dialect.
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

    /// Whether further findings are irrelevant.
    fn done(&self) -> bool {
        self.quiet && !self.findings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::compile::Compiler;
    use super::super::names::Names;
    use super::*;

    /// Validates an empty object against a schema.
    fn check(schema: &str, limit: impl FnOnce(&mut Validator<'_>)) -> Result<(), String> {
        let address = "file:///values.schema.json";
        let schema = flux_yaml::json::read(schema.as_bytes()).unwrap();
        let mut compiler = Compiler::new(Some((address, &schema)), false);
        let root = compiler.compile(address).unwrap();
        let program = compiler.finish();
        let mut validator = Validator::new(&program);
        limit(&mut validator);
        validator.run(root, &Json::Object(Names::default()))
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
