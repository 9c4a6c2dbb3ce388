//! References, combinations of schemas, and unevaluated values.

use super::super::finding::Kind;
use super::super::json::View;
use super::super::program::Id;
use super::{Meeting, Token, Validator};

impl<'a> Validator<'a> {
    pub(super) fn references(&mut self, m: &mut Meeting<'_, 'a>) {
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

    pub(super) fn logic(&mut self, m: &mut Meeting<'_, 'a>) {
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
            // The other schemas may evaluate more of the value.
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

    /// Validates the items and properties that no other keyword has evaluated.
    pub(super) fn rest(&mut self, m: &mut Meeting<'_, 'a>) {
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
}
