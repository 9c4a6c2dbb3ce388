//! The drafts of JSON Schema: what they call things, where schemas lie within schemas, and their vocabularies.

use std::borrow::Cow;

use super::json::Json;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Draft {
    D4,
    D6,
    D7,
    D2019,
    D2020,
}

/// How schemas lie in a keyword's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// It is one.
    Itself,
    /// One for each of an object's keys.
    Each,
    /// A list of them.
    Items,
}

/// Keywords that hold schemas, with the draft from which on they do.
const PLACES: [(Draft, &str, Holds); 23] = [
    (Draft::D4, "definitions", Holds::Each),
    (Draft::D4, "not", Holds::Itself),
    (Draft::D4, "allOf", Holds::Items),
    (Draft::D4, "anyOf", Holds::Items),
    (Draft::D4, "oneOf", Holds::Items),
    (Draft::D4, "properties", Holds::Each),
    (Draft::D4, "additionalProperties", Holds::Itself),
    (Draft::D4, "patternProperties", Holds::Each),
    (Draft::D4, "items", Holds::Itself),
    (Draft::D4, "items", Holds::Items),
    (Draft::D4, "additionalItems", Holds::Itself),
    (Draft::D4, "dependencies", Holds::Each),
    (Draft::D6, "propertyNames", Holds::Itself),
    (Draft::D6, "contains", Holds::Itself),
    (Draft::D7, "if", Holds::Itself),
    (Draft::D7, "then", Holds::Itself),
    (Draft::D7, "else", Holds::Itself),
    (Draft::D2019, "$defs", Holds::Each),
    (Draft::D2019, "dependentSchemas", Holds::Each),
    (Draft::D2019, "unevaluatedProperties", Holds::Itself),
    (Draft::D2019, "unevaluatedItems", Holds::Itself),
    (Draft::D2019, "contentSchema", Holds::Itself),
    (Draft::D2020, "prefixItems", Holds::Items),
];

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

    /// The draft that a `$schema` names.
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

    /// The keyword that names a schema.
    pub(super) const fn id_keyword(self) -> &'static str {
        match self {
            Self::D4 => "id",
            _ => "$id",
        }
    }

    /// The name that a schema gives itself, without a fragment; nothing if it gives none.
    pub(super) fn id_of(self, schema: &Json) -> &str {
        // Beside a reference nothing counts in the older drafts.
        if self < Self::D2019 && schema.get("$ref").is_some() {
            return "";
        }
        let id = schema.get(self.id_keyword()).and_then(Json::as_str);
        id.map_or("", |id| id.split_once('#').map_or(id, |(id, _)| id))
    }

    /// The schemas that lie directly in one, with the pointers from it to them.
    pub(super) fn within(self, schema: &Json) -> Vec<(String, &Json)> {
        let mut found = Vec::new();
        for (since, keyword, holds) in PLACES {
            let Some(value) = schema.get(keyword).filter(|_| since <= self) else {
                continue;
            };
            match (holds, value) {
                (Holds::Itself, value) => found.push((format!("/{keyword}"), value)),
                (Holds::Each, Json::Object(entries)) => {
                    found.extend(
                        entries
                            .iter()
                            .map(|(name, value)| (format!("/{keyword}/{}", escape(name)), value)),
                    );
                }
                (Holds::Items, Json::Array(items)) => {
                    let items = items.iter().enumerate();
                    found.extend(items.map(|(i, value)| (format!("/{keyword}/{i}"), value)));
                }
                _ => {}
            }
        }
        found
    }

    /// The vocabularies there are.
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

    /// What the names of vocabularies begin with.
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

/// A draft and those of its vocabularies that count, if a metaschema chose.
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

    /// Whether the keywords of a vocabulary count.
    pub(super) fn has(&self, name: &str) -> bool {
        if name == "core" || self.draft < Draft::D2019 {
            return true;
        }
        match &self.vocabularies {
            Some(chosen) => chosen.contains(&name),
            // In 2019-09 what is unevaluated belongs to the applicators.
            None => matches!(name, "applicator" | "validation" | "unevaluated"),
        }
    }
}

/// A token of a JSON pointer.
pub(super) fn escape(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

/// The token without escapes, if they are whole.
pub(super) fn unescape(token: &str) -> Option<Cow<'_, str>> {
    if !token.contains('~') {
        return Some(Cow::Borrowed(token));
    }
    let mut parts = token.split('~');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (c, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', part.get(1..)),
            Some(b'1') => ('/', part.get(1..)),
            _ => return None,
        };
        out.push(c);
        out.push_str(rest?);
    }
    Some(Cow::Owned(out))
}
