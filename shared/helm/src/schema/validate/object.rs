//! What schemas say of objects.

use std::collections::BTreeMap;

use super::super::{
    compile::{Additional, Dependency, Id, Objects},
    finding::Kind,
    json::{Json, View},
};
use super::{Meeting, Token, Validator};

impl<'a> Validator<'a> {
    pub(super) fn object(
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
}

fn missing<'a>(entries: &BTreeMap<String, Json>, wanted: &'a [String]) -> Vec<&'a str> {
    let names = wanted.iter().map(String::as_str);
    names.filter(|name| !entries.contains_key(*name)).collect()
}
