//! Compiled schemas: every keyword is parsed, every reference resolved to a number.

use std::sync::Arc;

use flux_golang::regexp::Regex;

use super::decimal::Decimal;
use super::json::{Json, View};
use super::names::Names;
use super::pointer::place_text;

/// Index of a schema in its program.
pub(super) type Id = usize;

/// Compiled schemas that refer to one another.
#[derive(Default)]
pub(super) struct Program {
    pub(super) schemas: Vec<Schema>,
    /// The addresses of the documents.
    pub(super) addresses: Vec<String>,
}

impl Program {
    /// The address of a schema, for messages.
    pub(super) fn location(&self, id: Id) -> String {
        let place = self.schemas.get(id).map(|schema| &schema.place);
        let address = place.and_then(|place| self.addresses.get(place.document));
        match (address, place) {
            (Some(address), Some(place)) => place_text(address, &place.pointer),
            _ => "urn:mem:metaschema".to_owned(),
        }
    }
}

/// An index of a document and a pointer into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) document: usize,
    pub(super) pointer: String,
}

/// One schema.
#[derive(Default)]
pub(super) struct Schema {
    pub(super) place: Place,
    /// The root schema of its resource.
    pub(super) resource: Id,
    /// For a resource: the targets of `$dynamicRef` in it.
    pub(super) dynamic_anchors: Names<String, Id>,
    pub(super) dynamic_anchor: String,
    pub(super) recursive_anchor: bool,
    /// Whether keywords alongside `$ref` are ignored.
    pub(super) only_reference: bool,
    /// The value of a boolean schema; an empty schema counts as `true`.
    pub(super) truth: Option<bool>,
    pub(super) reference: Option<Id>,
    pub(super) recursive_ref: Option<Id>,
    /// With the name of the dynamic anchor.
    pub(super) dynamic_ref: Option<(Id, String)>,
    pub(super) types: Types,
    pub(super) constant: Option<Json<'static>>,
    pub(super) options: Option<Vec<Json<'static>>>,
    pub(super) format: Option<Format>,
    pub(super) numbers: Option<Box<Numbers>>,
    pub(super) strings: Option<Box<Strings>>,
    pub(super) arrays: Option<Box<Arrays>>,
    pub(super) objects: Option<Box<Objects>>,
    pub(super) logic: Option<Box<Logic>>,
    pub(super) unevaluated_items: Option<Id>,
    pub(super) unevaluated_properties: Option<Id>,
}

/// A set of JSON types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Types(u8);

impl Types {
    const NAMES: [&'static str; 7] = [
        "null", "boolean", "number", "integer", "string", "array", "object",
    ];
    const INTEGER: u8 = 1 << 3;

    pub(super) fn of(value: &Json<'_>) -> Self {
        let names = match value {
            Json::String(name) => return Self(Self::bit(name)),
            Json::Array(names) => names.iter().filter_map(Json::as_str),
            _ => return Self(0),
        };
        Self(names.fold(0, |set, name| set | Self::bit(name)))
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
        let own = match value {
            View::Null => 0,
            View::Bool(_) => 1,
            View::Number(_) => 2,
            View::String(_) => 4,
            View::Array(_) => 5,
            View::Object(_) => 6,
        };
        self.0 & 1 << own != 0 || self.0 & Self::INTEGER != 0 && value.is_whole()
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

/// Limits of lengths and counts.
#[derive(Default)]
pub(super) struct Strings {
    pub(super) min: Option<usize>,
    pub(super) max: Option<usize>,
    pub(super) pattern: Option<(String, Arc<Regex>)>,
}

/// What `additional…` keywords allow.
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
    /// The schemas of the first items.
    pub(super) first: Vec<Id>,
    /// The schema of the other items, or of all if `first` is empty.
    pub(super) rest: Option<Additional>,
    pub(super) contains: Option<Id>,
    pub(super) min_contains: Option<usize>,
    pub(super) max_contains: Option<usize>,
    /// Whether an item that matches `contains` counts as evaluated.
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
    pub(super) properties: Names<String, Id>,
    pub(super) patterns: Vec<(Arc<Regex>, Id)>,
    pub(super) additional: Option<Additional>,
    pub(super) names: Option<Id>,
    pub(super) dependencies: Names<String, Dependency>,
    pub(super) dependent_schemas: Names<String, Id>,
    pub(super) dependent_required: Names<String, Vec<String>>,
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
