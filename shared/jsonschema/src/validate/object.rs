//! Validation of objects.

use super::super::finding::Kind;
use super::super::json::{Entries, View};
use super::super::program::{Additional, Dependency, Id, Objects};
use super::{Meeting, Token, Validator};

impl<'a> Validator<'a> {
    pub(super) fn object(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        rules: &'a Objects,
        entries: &'a Entries<'a>,
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
        for (name, dependency) in rules.dependencies.iter() {
            if entries.contains(name) {
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
        for (name, schema) in rules.dependent_schemas.iter() {
            if entries.contains(name) {
                let met = self.same_value(m, *schema, "", false);
                m.add(met);
            }
        }
        for (name, names) in rules.dependent_required.iter() {
            if entries.contains(name) {
                self.depend(m, entries, name, names);
            }
        }
    }

    fn depend(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        entries: &Entries<'_>,
        name: &'a str,
        names: &'a [String],
    ) {
        let missing = missing(entries, names);
        if !missing.is_empty() {
            self.add(m, || Kind::Dependency(missing, name));
        }
    }

    /// Validates properties. Returns whether to continue with the rest of the object.
    fn properties(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        rules: &'a Objects,
        entries: &'a Entries<'a>,
    ) -> bool {
        let mut refused = Vec::new();
        for (name, value) in entries.iter() {
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
                    Additional::Refused => refused.push(name),
                    Additional::Checked(schema) => {
                        self.part(m, schema, value.view(), Token::Name(name));
                    }
                }
            }
            if evaluated {
                m.unevaluated.properties.remove(name);
            }
        }
        if !refused.is_empty() {
            self.add(m, || Kind::AdditionalProperties(refused));
        }
        true
    }

    fn names(&mut self, m: &mut Meeting<'_, 'a>, schema: Id, entries: &'a Entries<'a>) {
        for name in entries.keys() {
            if let Err(mut report) = self.fresh(schema, View::String(name), m.meta) {
                report.kind = Kind::PropertyName(name);
                report.at = self.place();
                m.findings.push(report);
            }
        }
    }
}

fn missing<'a>(entries: &Entries<'_>, wanted: &'a [String]) -> Vec<&'a str> {
    let names = wanted.iter().map(String::as_str);
    names.filter(|name| !entries.contains(name)).collect()
}
