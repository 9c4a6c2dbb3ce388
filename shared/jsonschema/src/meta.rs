//! The metaschemas of all drafts, in the form that Helm's validator has, since the form affects the messages about invalid
//! schemas (HE-SCHEMA-006).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use super::compile::Compiler;
use super::draft::{Dialect, Draft};
use super::json;
use super::program::Program;

/// A metaschema or a part of one.
type Json = json::Json<'static>;

/// The keywords of drafts with a single metaschema document, each with the shape of its value.
const SINGLE: &str = "$schema uri, title string, description string, default any, multipleOf positive, maximum number, \
    minimum number, exclusiveMaximum limit, exclusiveMinimum limit, maxLength natural, minLength natural0, \
    pattern regex, additionalItems more, items items, maxItems natural, minItems natural0, uniqueItems boolean, \
    maxProperties natural, minProperties natural0, required strings, additionalProperties more, definitions map, \
    properties map, patternProperties patterns, dependencies dependencies, enum enum, type type, format string, \
    allOf schemas, anyOf schemas, oneOf schemas, not self";
const SINGLE_4: &str = "id string, $ref string";
const SINGLE_6: &str =
    "$id uri-reference, $ref uri-reference, contains self, propertyNames self, const any";
const SINGLE_7: &str = "$comment string, readOnly boolean, writeOnly boolean, examples list, \
    contentMediaType string, contentEncoding string, if self, then self, else self";

/// The keywords of each vocabulary of the newer drafts.
fn vocabulary(draft: Draft, name: &str) -> Option<&'static str> {
    Some(match (draft, name) {
        (Draft::D2019, "core") => {
            "$id id, $schema uri, $anchor anchor, $ref uri-reference, $recursiveRef uri-reference, \
             $recursiveAnchor boolean, $vocabulary vocabulary, $comment string, $defs map"
        }
        (_, "core") => {
            "$id id, $schema =uriString, $ref =uriReferenceString, $anchor =anchorString, \
             $dynamicRef =uriReferenceString, $dynamicAnchor =anchorString, $vocabulary vocabulary, \
             $comment string, $defs map"
        }
        (Draft::D2019, "applicator") => {
            "additionalItems self, unevaluatedItems self, items items, contains self, additionalProperties self, \
             unevaluatedProperties self, properties map, patternProperties patterns, dependentSchemas map, \
             propertyNames self, if self, then self, else self, allOf schemas, anyOf schemas, oneOf schemas, not self"
        }
        (_, "applicator") => {
            "prefixItems schemas, items self, contains self, additionalProperties self, properties map, \
             patternProperties patterns, dependentSchemas map, propertyNames self, if self, then self, else self, \
             allOf schemas, anyOf schemas, oneOf schemas, not self"
        }
        (_, "unevaluated") => "unevaluatedItems self, unevaluatedProperties self",
        (_, "validation") => {
            "multipleOf positive, maximum number, exclusiveMaximum number, minimum number, exclusiveMinimum number, \
             maxLength natural, minLength natural0, pattern regex, maxItems natural, minItems natural0, \
             uniqueItems boolean, maxContains natural, minContains natural, maxProperties natural, \
             minProperties natural0, required strings, dependentRequired dependents, const any, enum list, type type"
        }
        (_, "meta-data") => {
            "title string, description string, default any, deprecated boolean, readOnly boolean, writeOnly boolean, \
             examples list"
        }
        (_, "format" | "format-annotation" | "format-assertion") => "format string",
        (_, "content") => "contentMediaType string, contentEncoding string, contentSchema self",
        _ => return None,
    })
}

/// The metaschema at a well-known address, created once per process.
pub(super) fn document(address: &str) -> Option<&'static Json> {
    const MOST: usize = 9;
    static SINGLE: [OnceLock<Json>; 3] = [const { OnceLock::new() }; 3];
    static JOINT: [OnceLock<Json>; 2] = [const { OnceLock::new() }; 2];
    static PARTS: [[OnceLock<Json>; MOST]; 2] = [const { [const { OnceLock::new() }; MOST] }; 2];
    let rest = address
        .strip_prefix("http://json-schema.org/")
        .or_else(|| address.strip_prefix("https://json-schema.org/"))?;
    Some(match rest {
        "draft-04/schema" => SINGLE[0].get_or_init(|| single(Draft::D4)),
        "draft-06/schema" => SINGLE[1].get_or_init(|| single(Draft::D6)),
        "draft-07/schema" => SINGLE[2].get_or_init(|| single(Draft::D7)),
        "draft/2019-09/schema" => JOINT[0].get_or_init(|| joint(Draft::D2019)),
        "schema" | "draft/2020-12/schema" => JOINT[1].get_or_init(|| joint(Draft::D2020)),
        other => {
            let (draft, parts, name) = if let Some(name) = other.strip_prefix("draft/2019-09/meta/")
            {
                (Draft::D2019, &PARTS[0], name)
            } else {
                let name = other.strip_prefix("draft/2020-12/meta/")?;
                (Draft::D2020, &PARTS[1], name)
            };
            let known = draft.vocabularies().iter().position(|own| *own == name)?;
            parts.get(known)?.get_or_init(|| part(draft, name))
        }
    })
}

/// The address of the metaschema of a vocabulary.
pub(super) fn vocabulary_address(draft: Draft, name: &str) -> String {
    let folder = draft.address().trim_end_matches("schema");
    format!("{folder}meta/{name}")
}

fn text(text: &str) -> Json {
    Json::String(Cow::Owned(text.to_owned()))
}

fn number(number: u8) -> Json {
    Json::Number(number.to_string().into())
}

fn texts(all: &[&str]) -> Json {
    Json::Array(all.iter().map(|one| text(one)).collect())
}

fn object<const N: usize>(entries: [(&str, Json); N]) -> Json {
    let entries = entries.map(|(key, value)| (Cow::Owned(key.to_owned()), value));
    Json::Object(entries.into_iter().collect())
}

/// An object from entries that come from several sources.
fn object_of(entries: impl IntoIterator<Item = (String, Json)>) -> Json {
    let entries = entries.into_iter();
    Json::Object(
        entries
            .map(|(key, value)| (Cow::Owned(key), value))
            .collect(),
    )
}

fn of_type(name: &str) -> Json {
    object([("type", text(name))])
}

fn reference(to: &str) -> Json {
    object([("$ref", text(to))])
}

fn any_of(choices: Vec<Json>) -> Json {
    object([("anyOf", Json::Array(choices))])
}

/// The schema for the value of a keyword.
fn shape(draft: Draft, word: &str) -> Json {
    let shape = |word| shape(draft, word);
    let place = if draft < Draft::D2019 {
        "#/definitions/"
    } else {
        "#/$defs/"
    };
    let defined = |name: &str| reference(&format!("{place}{name}"));
    let natural = if draft == Draft::D4 {
        "positiveInteger"
    } else {
        "nonNegativeInteger"
    };
    let formatted = |format| object([("type", text("string")), ("format", text(format))]);
    let map_of = |each| object([("type", text("object")), ("additionalProperties", each)]);
    match word {
        "any" => Json::Bool(true),
        "self" => match draft {
            Draft::D2020 => object([("$dynamicRef", text("#meta"))]),
            Draft::D2019 => object([("$recursiveRef", text("#"))]),
            _ => reference("#"),
        },
        "schemas" => defined("schemaArray"),
        "strings" => defined("stringArray"),
        "natural" => defined(natural),
        "natural0" => defined(&format!("{natural}Default0")),
        "positive" if draft == Draft::D4 => object([
            ("type", text("number")),
            ("minimum", number(0)),
            ("exclusiveMinimum", Json::Bool(true)),
        ]),
        "positive" => object([("type", text("number")), ("exclusiveMinimum", number(0))]),
        "limit" if draft == Draft::D4 => of_type("boolean"),
        "limit" => of_type("number"),
        "more" if draft == Draft::D4 => any_of(vec![of_type("boolean"), shape("self")]),
        "more" => shape("self"),
        "items" => any_of(vec![shape("self"), shape("schemas")]),
        "map" => map_of(shape("self")),
        "patterns" if draft < Draft::D7 => shape("map"),
        "patterns" => object([
            ("type", text("object")),
            ("additionalProperties", shape("self")),
            ("propertyNames", object([("format", text("regex"))])),
        ]),
        "dependents" => map_of(shape("strings")),
        "dependencies" if draft < Draft::D2019 => {
            map_of(any_of(vec![shape("self"), shape("strings")]))
        }
        "dependencies" => map_of(any_of(vec![
            shape("self"),
            reference("meta/validation#/$defs/stringArray"),
        ])),
        "list" => of_type("array"),
        "enum" => object([
            ("type", text("array")),
            ("minItems", number(1)),
            ("uniqueItems", Json::Bool(true)),
        ]),
        "type" => any_of(vec![
            defined("simpleTypes"),
            object([
                ("type", text("array")),
                ("items", defined("simpleTypes")),
                ("minItems", number(1)),
                ("uniqueItems", Json::Bool(true)),
            ]),
        ]),
        "uri" | "uri-reference" | "regex" => formatted(word),
        "id" if draft == Draft::D2019 => object([
            ("type", text("string")),
            ("format", text("uri-reference")),
            ("pattern", text("^[^#]*#?$")),
        ]),
        "id" => object([
            ("$ref", text("#/$defs/uriReferenceString")),
            ("pattern", text("^[^#]*#?$")),
        ]),
        "anchor" => object([
            ("type", text("string")),
            ("pattern", text("^[A-Za-z][-A-Za-z0-9.:_]*$")),
        ]),
        "vocabulary" => object([
            ("type", text("object")),
            (
                "propertyNames",
                match draft {
                    Draft::D2019 => shape("uri"),
                    _ => shape("=uriString"),
                },
            ),
            ("additionalProperties", of_type("boolean")),
        ]),
        word => match (word.strip_prefix('='), word.strip_prefix('~')) {
            (Some(name), _) => defined(name),
            (_, Some(name)) => reference(&format!("meta/core#/$defs/{name}")),
            _ => of_type(word),
        },
    }
}

fn properties(draft: Draft, keywords: &str) -> impl Iterator<Item = (String, Json)> {
    let pairs = keywords
        .split(',')
        .filter_map(|pair| pair.trim().split_once(' '));
    pairs.map(move |(keyword, word)| (keyword.to_owned(), shape(draft, word)))
}

/// The definitions that keywords refer to.
fn definitions(draft: Draft, names: &[&str]) -> Json {
    let each = names.iter().map(|name| {
        let schema = match *name {
            "schemaArray" => object([
                ("type", text("array")),
                ("minItems", number(1)),
                ("items", shape(draft, "self")),
            ]),
            "nonNegativeInteger" | "positiveInteger" => {
                object([("type", text("integer")), ("minimum", number(0))])
            }
            "nonNegativeIntegerDefault0" | "positiveIntegerDefault0" if draft < Draft::D2019 => {
                let all = vec![shape(draft, "natural"), Json::Bool(true)];
                object([("allOf", Json::Array(all))])
            }
            "nonNegativeIntegerDefault0" => shape(draft, "natural"),
            "simpleTypes" => object([(
                "enum",
                texts(&[
                    "array", "boolean", "integer", "null", "number", "object", "string",
                ]),
            )]),
            "stringArray" => {
                let mut strings = BTreeMap::from([
                    ("type".to_owned(), text("array")),
                    ("items".to_owned(), of_type("string")),
                    ("uniqueItems".to_owned(), Json::Bool(true)),
                ]);
                if draft == Draft::D4 {
                    strings.insert("minItems".to_owned(), number(1));
                }
                object_of(strings)
            }
            "anchorString" => object([
                ("type", text("string")),
                ("pattern", text("^[A-Za-z_][-A-Za-z0-9._]*$")),
            ]),
            "uriString" => shape(draft, "uri"),
            _ => shape(draft, "uri-reference"),
        };
        ((*name).to_owned(), schema)
    });
    object_of(each)
}

/// The metaschema of a draft with a single document.
fn single(draft: Draft) -> Json {
    let keywords = match draft {
        Draft::D4 => vec![SINGLE, SINGLE_4],
        Draft::D6 => vec![SINGLE, SINGLE_6],
        _ => vec![SINGLE, SINGLE_6, SINGLE_7],
    };
    let all = keywords.into_iter().flat_map(|k| properties(draft, k));
    let prefix = if draft == Draft::D4 {
        "positive"
    } else {
        "nonNegative"
    };
    let (whole, whole0) = (
        format!("{prefix}Integer"),
        format!("{prefix}IntegerDefault0"),
    );
    let names = ["schemaArray", &whole, &whole0, "simpleTypes", "stringArray"];
    let address = text(&format!("{}#", draft.address()));
    let mut document = BTreeMap::from([
        ("$schema".to_owned(), address.clone()),
        ("definitions".to_owned(), definitions(draft, &names)),
        ("properties".to_owned(), object_of(all)),
    ]);
    if draft == Draft::D4 {
        let dependencies = object([
            ("exclusiveMaximum", texts(&["maximum"])),
            ("exclusiveMinimum", texts(&["minimum"])),
        ]);
        document.insert("dependencies".to_owned(), dependencies);
        document.insert("type".to_owned(), text("object"));
    } else {
        document.insert("$id".to_owned(), address);
        document.insert("type".to_owned(), texts(&["object", "boolean"]));
    }
    object_of(document)
}

/// The common entries of a metaschema document of the newer drafts.
fn head(draft: Draft, address: &str, vocabularies: &[(&str, bool)]) -> BTreeMap<String, Json> {
    let vocabularies = vocabularies.iter().map(|(name, wanted)| {
        let name = format!("{}{name}", draft.vocabulary_prefix());
        (name, Json::Bool(*wanted))
    });
    let anchor = match draft {
        Draft::D2019 => ("$recursiveAnchor", Json::Bool(true)),
        _ => ("$dynamicAnchor", text("meta")),
    };
    let entries = [
        ("$schema", text(draft.address())),
        ("$id", text(address)),
        ("$vocabulary", object_of(vocabularies)),
        ("type", texts(&["object", "boolean"])),
        anchor,
    ];
    entries.map(|(key, value)| (key.to_owned(), value)).into()
}

/// The metaschema of one vocabulary.
fn part(draft: Draft, name: &str) -> Json {
    let mut document = head(draft, &vocabulary_address(draft, name), &[(name, true)]);
    let keywords = vocabulary(draft, name).unwrap_or_default();
    let all = object_of(properties(draft, keywords));
    document.insert("properties".to_owned(), all);
    let names: &[&str] = match (draft, name) {
        (Draft::D2020, "core") => &["anchorString", "uriString", "uriReferenceString"],
        (_, "applicator") => &["schemaArray"],
        (_, "validation") => &[
            "nonNegativeInteger",
            "nonNegativeIntegerDefault0",
            "simpleTypes",
            "stringArray",
        ],
        _ => &[],
    };
    if !names.is_empty() {
        document.insert("$defs".to_owned(), definitions(draft, names));
    }
    object_of(document)
}

/// The metaschema that combines the vocabularies of a draft.
fn joint(draft: Draft) -> Json {
    // The draft's own metaschema does not include the assertion of formats.
    let parts: Vec<_> = draft
        .vocabularies()
        .iter()
        .filter(|name| **name != "format-assertion")
        .map(|name| (*name, *name != "format"))
        .collect();
    let mut document = head(draft, draft.address(), &parts);
    let all_of = parts
        .iter()
        .map(|(name, _)| reference(&format!("meta/{name}")));
    document.insert("allOf".to_owned(), Json::Array(all_of.collect()));
    let keywords = match draft {
        Draft::D2019 => "definitions map, dependencies dependencies",
        _ => {
            "definitions map, dependencies dependencies, $recursiveAnchor ~anchorString, \
             $recursiveRef ~uriReferenceString"
        }
    };
    let all = object_of(properties(draft, keywords));
    document.insert("properties".to_owned(), all);
    object_of(document)
}

/// The compiled metaschemas of some dialects, with the root of each.
pub(super) struct Metaschemas {
    pub(super) program: Program,
    pub(super) roots: BTreeMap<Dialect, usize>,
}

static KEPT: LazyLock<Mutex<HashMap<Vec<Draft>, Arc<Metaschemas>>>> = LazyLock::new(Mutex::default);

/// The metaschemas of these dialects, compiled once per process unless they select vocabularies.
pub(super) fn metaschemas(dialects: &[Dialect]) -> Result<Arc<Metaschemas>, String> {
    let lock = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let plain = dialects.iter().all(|d| d.vocabularies.is_none());
    let drafts: Vec<_> = dialects.iter().map(|d| d.draft).collect();
    if plain && let Some(kept) = lock().get(&drafts) {
        return Ok(Arc::clone(kept));
    }
    let mut compiler = Compiler::new(None, true);
    let mut roots = BTreeMap::new();
    for dialect in dialects {
        let root = match &dialect.vocabularies {
            None => compiler.compile(dialect.draft.address())?,
            Some(names) => {
                let parts = names
                    .iter()
                    .map(|name| compiler.compile(&vocabulary_address(dialect.draft, name)));
                let parts = parts.collect::<Result<Vec<_>, _>>()?;
                compiler.join(dialect.draft, parts)
            }
        };
        roots.insert(dialect.clone(), root);
    }
    let made = Arc::new(Metaschemas {
        program: compiler.finish(),
        roots,
    });
    if plain {
        lock().insert(drafts, Arc::clone(&made));
    }
    Ok(made)
}
