//! Validation of arrays, strings and numbers.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hasher as _};

use super::super::decimal::Decimal;
use super::super::finding::Kind;
use super::super::json::Json;
use super::super::program::{Additional, Arrays, Id, Numbers, Strings};
use super::{Meeting, Token, Validator};

impl<'a> Validator<'a> {
    pub(super) fn array(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        rules: &'a Arrays,
        items: &'a [Json<'a>],
    ) {
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
                for (i, item) in rest.iter().enumerate() {
                    let place = Token::Index(rules.first.len() + i);
                    self.part(m, schema, item.view(), place);
                }
            }
            _ => {}
        }
        if let Some(schema) = rules.contains {
            self.contains(m, rules, schema, items);
        }
    }

    fn contains(
        &mut self,
        m: &mut Meeting<'_, 'a>,
        rules: &Arrays,
        schema: Id,
        items: &'a [Json<'a>],
    ) {
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

    pub(super) fn string(&mut self, m: &mut Meeting<'_, 'a>, rules: &'a Strings, text: &'a str) {
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

    pub(super) fn number(&mut self, m: &mut Meeting<'_, 'a>, rules: &'a Numbers, text: &str) {
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
}

/// The indexes of the first equal items.
fn equal(items: &[Json<'_>]) -> Option<(usize, usize)> {
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
