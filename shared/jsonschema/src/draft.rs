//! The drafts of JSON Schema: their keywords, subschemas and vocabularies.

use super::json::{Entries, Json};
use super::pointer::Step;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Draft {
    D4,
    D6,
    D7,
    D2019,
    D2020,
}

/// Where subschemas are in a keyword's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// The value is a schema.
    Itself,
    /// Each value of the object is a schema.
    Each,
    /// Each item of the list is a schema.
    Items,
    /// The value is a schema or a list of schemas.
    ItselfAndItems,
}

/// Where subschemas are in the value of a keyword, if it has any, and since which draft. The number is the rank of the
/// keyword in the order of traversal.
const fn holder(keyword: &str) -> Option<(u8, Draft, Holds)> {
    use Draft::{D4, D6, D7, D2019, D2020};
    use Holds::{Each, Items, Itself, ItselfAndItems};
    Some(match keyword.as_bytes() {
        b"definitions" => (0, D4, Each),
        b"not" => (1, D4, Itself),
        b"allOf" => (2, D4, Items),
        b"anyOf" => (3, D4, Items),
        b"oneOf" => (4, D4, Items),
        b"properties" => (5, D4, Each),
        b"additionalProperties" => (6, D4, Itself),
        b"patternProperties" => (7, D4, Each),
        b"items" => (8, D4, ItselfAndItems),
        b"additionalItems" => (9, D4, Itself),
        b"dependencies" => (10, D4, Each),
        b"propertyNames" => (11, D6, Itself),
        b"contains" => (12, D6, Itself),
        b"if" => (13, D7, Itself),
        b"then" => (14, D7, Itself),
        b"else" => (15, D7, Itself),
        b"$defs" => (16, D2019, Each),
        b"dependentSchemas" => (17, D2019, Each),
        b"unevaluatedProperties" => (18, D2019, Itself),
        b"unevaluatedItems" => (19, D2019, Itself),
        b"contentSchema" => (20, D2019, Itself),
        b"prefixItems" => (21, D2020, Items),
        _ => return None,
    })
}

impl Draft {
    pub(super) const LATEST: Self = Self::D2020;

    pub(super) const fn address(self) -> &'static str {
        match self {
            Self::D4 => "http://json-schema.org/draft-04/schema",
            Self::D6 => "http://json-schema.org/draft-06/schema",
            Self::D7 => "http://json-schema.org/draft-07/schema",
            Self::D2019 => "https://json-schema.org/draft/2019-09/schema",
            Self::D2020 => "https://json-schema.org/draft/2020-12/schema",
        }
    }

    /// The draft with this `$schema`.
    pub(super) fn named(address: &str) -> Option<Self> {
        let (address, fragment) = address.split_once('#').unwrap_or((address, ""));
        if !fragment.is_empty() {
            return None;
        }
        let bare = without_scheme(address);
        if bare == "json-schema.org/schema" {
            return Some(Self::LATEST);
        }
        let all = [Self::D4, Self::D6, Self::D7, Self::D2019, Self::D2020];
        all.into_iter()
            .find(|draft| without_scheme(draft.address()) == bare)
    }

    /// The keyword for the id of a schema.
    pub(super) const fn id_keyword(self) -> &'static str {
        match self {
            Self::D4 => "id",
            _ => "$id",
        }
    }

    /// The id of a schema without fragment; empty if it has none.
    pub(super) fn id_of<'s>(self, schema: &'s Json<'_>) -> &'s str {
        // In older drafts keywords alongside a reference are ignored.
        if self < Self::D2019 && schema.get("$ref").is_some() {
            return "";
        }
        let id = schema.get(self.id_keyword()).and_then(Json::as_str);
        id.map_or("", |id| id.split_once('#').map_or(id, |(id, _)| id))
    }

    /// The direct subschemas of a schema, with the steps to them.
    pub(super) fn within<'s, 't>(self, schema: &'s Entries<'t>) -> Vec<(Step<'s>, &'s Json<'t>)> {
        let holders = schema.iter().filter_map(|(keyword, value)| {
            let (rank, since, holds) = holder(keyword)?;
            (since <= self).then_some((rank, keyword, holds, value))
        });
        let mut holders: Vec<_> = holders.collect();
        holders.sort_unstable_by_key(|(rank, ..)| *rank);
        let mut found = Vec::new();
        for (_, keyword, holds, value) in holders {
            if matches!(holds, Holds::Itself | Holds::ItselfAndItems) {
                found.push((Step::Keyword(keyword), value));
            }
            match (holds, value) {
                (Holds::Each, Json::Object(entries)) => {
                    let entries = entries.iter();
                    found.extend(entries.map(|(name, value)| (Step::Named(keyword, name), value)));
                }
                (Holds::Items | Holds::ItselfAndItems, Json::Array(items)) => {
                    let items = items.iter().enumerate();
                    found.extend(items.map(|(i, value)| (Step::Item(keyword, i), value)));
                }
                _ => {}
            }
        }
        found
    }

    /// The vocabularies of the draft.
    pub(super) const fn vocabularies(self) -> &'static [&'static str] {
        match self {
            Self::D2019 => &[
                "core",
                "applicator",
                "validation",
                "meta-data",
                "format",
                "content",
            ],
            Self::D2020 => &[
                "core",
                "applicator",
                "unevaluated",
                "validation",
                "meta-data",
                "format-annotation",
                "format-assertion",
                "content",
            ],
            _ => &[],
        }
    }

    /// The prefix of the names of vocabularies.
    pub(super) const fn vocabulary_prefix(self) -> &'static str {
        match self {
            Self::D2019 => "https://json-schema.org/draft/2019-09/vocab/",
            _ => "https://json-schema.org/draft/2020-12/vocab/",
        }
    }
}

fn without_scheme(address: &str) -> &str {
    let rest = address.strip_prefix("http://");
    rest.or_else(|| address.strip_prefix("https://"))
        .unwrap_or(address)
}

/// A draft, and the enabled vocabularies if a metaschema selects them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Dialect {
    pub(super) draft: Draft,
    pub(super) vocabularies: Option<Vec<&'static str>>,
}

impl Dialect {
    pub(super) const fn of(draft: Draft) -> Self {
        Self {
            draft,
            vocabularies: None,
        }
    }

    /// Whether a vocabulary is enabled.
    pub(super) fn has(&self, name: &str) -> bool {
        if name == "core" || self.draft < Draft::D2019 {
            return true;
        }
        match &self.vocabularies {
            Some(chosen) => chosen.contains(&name),
            // In 2019-09 the unevaluated keywords are part of the applicators.
            None => matches!(name, "applicator" | "validation" | "unevaluated"),
        }
    }
}
