//! State of a validation: the place in the value, the stack of schemas, and the unevaluated parts of the value.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::super::json::View;
use super::super::program::{Id, Program, Schema};

/// A step into the value.
#[derive(Clone, Copy)]
pub(super) enum Token<'a> {
    Name(&'a str),
    Index(usize),
}

/// The stack of schemas from the root to the current one.
pub(super) struct Scope<'s> {
    pub(super) schema: Id,
    /// The keyword of the reference that led here.
    pub(super) keyword: &'static str,
    /// Identifies the value: equal for schemas that apply to the same value.
    pub(super) value: usize,
    pub(super) parent: Option<&'s Scope<'s>>,
}

/// The parts that no schema has evaluated yet, tracked only if a keyword needs them.
#[derive(Default)]
pub(super) struct Unevaluated<'a> {
    pub(super) properties: BTreeSet<&'a str>,
    pub(super) items: BTreeSet<usize>,
}

impl Token<'_> {
    pub(super) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::Index(i) => Cow::Owned(i.to_string()),
        }
    }
}

impl Scope<'_> {
    /// The schemas from the current one to the root.
    pub(super) fn outwards(&self) -> impl Iterator<Item = Id> {
        std::iter::successors(Some(self), |scope| scope.parent).map(|scope| scope.schema)
    }

    /// The scope in which this schema was already applied to this value, if any.
    pub(super) fn cycle(&self) -> Option<&Scope<'_>> {
        let above = std::iter::successors(self.parent, |scope| scope.parent);
        let mut same = above.take_while(|scope| scope.value == self.value);
        same.find(|scope| scope.schema == self.schema)
    }

    /// The keywords on the path from the root.
    pub(super) fn way(&self, program: &Program) -> String {
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
    pub(super) fn of(value: View<'a>, schema: &Schema, asked: bool) -> Self {
        let mut unevaluated = Self::default();
        match value {
            View::Object(entries) => {
                let all = schema
                    .objects
                    .as_ref()
                    .is_some_and(|o| o.additional.is_some());
                if !all && (asked || schema.unevaluated_properties.is_some()) {
                    unevaluated.properties = entries.keys().collect();
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

    pub(super) fn keep(&mut self, left: &Self) {
        if self.is_empty() {
            return;
        }
        self.properties
            .retain(|name| left.properties.contains(name));
        self.items.retain(|i| left.items.contains(i));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.properties.is_empty() && self.items.is_empty()
    }
}
