//! Schemas that are ready: every keyword read, every reference followed to a number.

use std::sync::Arc;

use flux_golang::regexp::Regex;

use super::decimal::Decimal;
use super::json::{Json, View};
use super::names::Names;
use super::pointer::place_text;

/// The number of a schema in its program.
pub(super) type Id = usize;

/// Compiled schemas that refer to one another.
#[derive(Default)]
pub(super) struct Program {
    pub(super) schemas: Vec<Schema>,
    /// Of the documents that they lie in.
    pub(super) addresses: Vec<String>,
}

impl Program {
    /// Where a schema stands, for messages.
    pub(super) fn location(&self, id: Id) -> String {
        let place = self.schemas.get(id).map(|schema| &schema.place);
        let address = place.and_then(|place| self.addresses.get(place.document));
        match (address, place) {
            (Some(address), Some(place)) => place_text(address, &place.pointer),
            _ => "urn:mem:metaschema".to_owned(),
        }
    }
}

/// A document by its number, and a pointer into it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) document: usize,
    pub(super) pointer: String,
}

/// One schema.
#[derive(Default)]
pub(super) struct Schema {
    pub(super) place: Place,
    /// The schema where its resource begins.
    pub(super) resource: Id,
    /// Of a resource: what `$dynamicRef` may find in it.
    pub(super) dynamic_anchors: Names<String, Id>,
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

/// A set of JSON's types.
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

/// Bounds of a length or a count.
#[derive(Default)]
pub(super) struct Strings {
    pub(super) min: Option<usize>,
    pub(super) max: Option<usize>,
    pub(super) pattern: Option<(String, Arc<Regex>)>,
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
