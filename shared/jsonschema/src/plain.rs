//! Fast path: recognises schemas that are valid under every metaschema.
//!
//! Most of a chart's schema consists of types and descriptions. Such a schema is checked here in a tenth of the time that
//! the metaschema of its draft takes. Anything else, and every invalid schema, is left to the metaschema.

use super::format;
use super::json::{Entries, Json};
use super::program::Types;

/// Maximum length of lists that are searched for duplicates.
const LONGEST: usize = 32;

/// Whether a value is certainly a valid schema in all drafts; false if unsure.
pub(super) fn is_schema(value: &Json<'_>) -> bool {
    value.as_object().is_some_and(|entries| {
        let mut entries = entries.iter();
        entries.all(|(keyword, value)| is_keyword(keyword, value))
    })
}

fn is_keyword(keyword: &str, value: &Json<'_>) -> bool {
    match keyword {
        "title" | "description" | "format" | "$comment" => value.as_str().is_some(),
        "type" => match value {
            Json::String(name) => is_type(name),
            Json::Array(names) => are_different_texts(names, is_type),
            _ => false,
        },
        "properties" | "definitions" | "$defs" => {
            let each = |entries: &Entries<'_>| entries.iter().all(|(_, value)| is_schema(value));
            value.as_object().is_some_and(each)
        }
        "items" | "not" | "if" | "then" | "else" => is_schema(value),
        "additionalProperties" => value.as_bool().is_some() || is_schema(value),
        "allOf" | "anyOf" | "oneOf" => {
            let items = value.as_array().unwrap_or_default();
            !items.is_empty() && items.iter().all(is_schema)
        }
        "required" | "enum" => {
            let items = value.as_array().unwrap_or_default();
            are_different_texts(items, |_| true)
        }
        "$ref" => value
            .as_str()
            .is_some_and(|to| to.strip_prefix('#').is_some_and(is_harmless)),
        "$schema" => value.as_str().is_some_and(|address| {
            let rest = address.strip_prefix("https://");
            let rest = rest.or_else(|| address.strip_prefix("http://"));
            rest.and_then(|rest| rest.strip_prefix("json-schema.org/"))
                .is_some_and(|rest| is_harmless(rest.strip_suffix('#').unwrap_or(rest)))
        }),
        "minimum" | "maximum" => matches!(value, Json::Number(_)),
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
            matches!(value, Json::Number(text) if text.bytes().all(|b| b.is_ascii_digit()))
        }
        "uniqueItems" | "readOnly" | "writeOnly" | "deprecated" => value.as_bool().is_some(),
        "pattern" => value
            .as_str()
            .is_some_and(|pattern| format::regex(pattern).is_ok()),
        "examples" => value.as_array().is_some(),
        // Other keywords with simple values, of any draft.
        "id"
        | "$id"
        | "$anchor"
        | "$recursiveRef"
        | "$recursiveAnchor"
        | "$dynamicRef"
        | "$dynamicAnchor"
        | "$vocabulary"
        | "additionalItems"
        | "prefixItems"
        | "contains"
        | "minContains"
        | "maxContains"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "patternProperties"
        | "propertyNames"
        | "dependencies"
        | "dependentSchemas"
        | "dependentRequired"
        | "multipleOf"
        | "exclusiveMinimum"
        | "exclusiveMaximum"
        | "contentMediaType"
        | "contentEncoding"
        | "contentSchema" => false,
        // `default`, `const` and unknown keywords accept any value.
        _ => true,
    }
}

fn is_type(name: &str) -> bool {
    !Types::of(&Json::String(name.into())).is_empty()
}

/// Whether the items are texts, at least one, without duplicates.
fn are_different_texts(items: &[Json<'_>], fits: impl Fn(&str) -> bool) -> bool {
    let few = (1..=LONGEST).contains(&items.len());
    few && items.iter().enumerate().all(|(i, item)| {
        let before = items.get(..i).unwrap_or_default();
        item.as_str().is_some_and(&fits) && !before.contains(item)
    })
}

/// Whether a part of a URL has only letters and characters that are allowed everywhere in a URL.
fn is_harmless(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/_.-".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::draft::{Dialect, Draft};
    use super::super::meta;
    use super::super::validate::Validator;
    use super::*;

    const VALUES: [&str; 44] = [
        "null",
        "true",
        "false",
        "0",
        "1",
        "-1",
        "1.5",
        "1e2",
        "10",
        r#""""#,
        r#""a""#,
        r#""string""#,
        r#""object""#,
        r##""#""##,
        r##""#/a/b-c_d.e""##,
        r##""#a b""##,
        r##""#%zz""##,
        r#""(""#,
        r#""a+""#,
        r#""regex""#,
        r#""http://json-schema.org/draft-07/schema#""#,
        r#""https://json-schema.org/a/b""#,
        r#""http://json-schema.org/%zz""#,
        r#""x://y""#,
        "[]",
        "[null]",
        "[1]",
        r#"["a"]"#,
        r#"["a", "b"]"#,
        r#"["a", "a"]"#,
        r#"["string"]"#,
        r#"["string", "null"]"#,
        r#"["string", "string"]"#,
        "[{}]",
        "[true]",
        r#"[{"type": "x"}]"#,
        "{}",
        r#"{"a": {}}"#,
        r#"{"a": 1}"#,
        r#"{"a": true}"#,
        r#"{"type": "string"}"#,
        r#"{"type": "x"}"#,
        r#"{"a": {"type": 1}}"#,
        r#"{"a": ["b"]}"#,
    ];

    /// HE-SCHEMA-006: the metaschemas accept whatever is recognised here, for each of their keywords.
    #[test]
    fn schemas_considered_plain_are_valid() {
        let drafts = [Draft::D4, Draft::D6, Draft::D7, Draft::D2019, Draft::D2020];
        let parts = drafts.into_iter().flat_map(|draft| {
            let names = draft.vocabularies().iter();
            let parts = names.map(move |name| meta::vocabulary_address(draft, name));
            parts.chain([draft.address().to_owned()])
        });
        let mut keywords = BTreeSet::from(["unknown"]);
        for address in parts {
            let document = meta::document(&address).unwrap();
            let known = document.get("properties").and_then(Json::as_object);
            keywords.extend(known.unwrap().keys());
        }
        assert!(keywords.len() > 60, "{keywords:?}");
        let mut plain = 0;
        for draft in drafts {
            let dialect = Dialect::of(draft);
            let metaschemas = meta::metaschemas(std::slice::from_ref(&dialect)).unwrap();
            let root = metaschemas.roots[&dialect];
            for keyword in &keywords {
                for value in VALUES {
                    let text = format!(r#"{{"{keyword}": {value}}}"#);
                    let schema: Json<'_> = flux_yaml::json::read(text.as_bytes()).unwrap();
                    if is_schema(&schema) {
                        plain += 1;
                        let validator =
                            Validator::of_schema(&metaschemas.program, root, BTreeMap::new());
                        assert_eq!(validator.run(root, &schema), Ok(()), "{draft:?} {text}");
                    }
                }
            }
        }
        assert!(plain > 1_000, "{plain}");
    }
}
