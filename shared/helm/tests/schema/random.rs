//! Random schemas of every draft, with random values.

use serde_json::{Map, Value, json};

use crate::support::Random;

const DRAFTS: [&str; 6] = [
    "",
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

/// Targets of references; some do not exist.
const REFERENCES: [&str; 22] = [
    "#",
    "#/definitions/a",
    "#/definitions/b",
    "#/$defs/a",
    "#/$defs/b",
    "#/definitions/a/properties/a",
    "#mark",
    "#other",
    "inner",
    "inner#mark",
    "inner#/properties/a",
    "#/properties/a",
    "#/nowhere",
    "#/title/x",
    "#/default",
    "urn:example:thing",
    "urn:example:thing#/x",
    "odd:thing",
    "http://json-schema.org/draft-07/schema#/definitions/nonNegativeInteger",
    "http://json-schema.org/draft-04/schema#",
    "https://json-schema.org/draft/2020-12/schema",
    "https://json-schema.org/draft/2019-09/meta/validation#/$defs/stringArray",
];

const NAMES: [&str; 5] = ["a", "b", "c", "a/b~c d", "it's"];

const NUMBERS: [&str; 14] = [
    "0", "1", "2", "3", "-1", "1.0", "1.5", "0.1", "0.3", "10", "1e3", "2000", "1234567", "1e2",
];

/// Values that are invalid for a keyword.
const WRONG: [&str; 8] = ["5", "-1", "\"text\"", "null", "[]", "{}", "[1, 1]", "1.5"];

fn number(random: &mut Random) -> Value {
    serde_json::from_str(random.pick(&NUMBERS)).unwrap()
}

/// A value that schemas are likely to find errors in.
fn value(random: &mut Random, depth: usize) -> Value {
    match random.below(if depth == 0 { 5 } else { 9 }) {
        0 => json!(null),
        1 => json!(random.one_in(2)),
        2 | 3 => number(random),
        4 => json!(random.pick(&[
            "",
            "a",
            "b",
            "é…",
            "it's \"x\"",
            "1.2.3.4",
            "2024-01-01",
            "aaaa"
        ])),
        5 | 6 => {
            let count = random.below(4);
            Value::Array((0..count).map(|_| value(random, depth - 1)).collect())
        }
        _ => object(random, depth - 1),
    }
}

fn object(random: &mut Random, depth: usize) -> Value {
    let mut entries = Map::new();
    for name in NAMES {
        if random.one_in(2) {
            entries.insert(name.to_owned(), value(random, depth));
        }
    }
    Value::Object(entries)
}

/// A schema, and values for it.
pub(crate) fn case(random: &mut Random) -> (String, Value) {
    let draft = random.pick(&DRAFTS);
    let mut schema = match self::schema(random, 3, 5) {
        Value::Object(entries) => entries,
        _ => Map::new(),
    };
    if !draft.is_empty() {
        schema.insert("$schema".to_owned(), json!(draft));
    }
    if random.one_in(60) {
        let odd = [
            "http://example.com/schema",
            "file:///values.schema.json",
            "urn:meta",
            "https://json-schema.org/draft/2020-12/meta/core",
            "https://json-schema.org/draft/2019-09/meta/applicator",
            "http://json-schema.org/schema",
            ":",
        ];
        schema.insert("$schema".to_owned(), json!(random.pick(&odd)));
    }
    for keyword in ["definitions", "$defs"] {
        let each = [
            ("a".to_owned(), self::schema(random, 2, 3)),
            ("b".to_owned(), self::schema(random, 1, 2)),
        ];
        schema.insert(
            keyword.to_owned(),
            Value::Object(each.into_iter().collect()),
        );
    }
    let property = self::schema(random, 2, 4);
    let properties = schema.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.entry("a").or_insert(property);
    }
    let text = Value::Object(schema).to_string();
    // Messages contain the text of numbers.
    let text = text.replace("1000.0", "1e3").replace("100.0", "1e2");
    let values = object(random, 2);
    (text, values)
}

fn schema(random: &mut Random, depth: usize, keywords: usize) -> Value {
    if random.one_in(12) {
        return json!(random.one_in(2));
    }
    let mut out = Map::new();
    for _ in 0..random.below(keywords + 1) {
        let (keyword, value) = keyword(random, depth);
        let value = if random.one_in(250) {
            serde_json::from_str(random.pick(&WRONG)).unwrap()
        } else {
            value
        };
        out.insert(keyword.to_owned(), value);
    }
    Value::Object(out)
}

fn list(random: &mut Random, depth: usize) -> Value {
    let count = 1 + random.below(3);
    Value::Array((0..count).map(|_| schema(random, depth, 2)).collect())
}

fn names(random: &mut Random) -> Value {
    let mut names: Vec<_> = NAMES.into_iter().filter(|_| random.one_in(3)).collect();
    if names.is_empty() {
        names.push("missing");
    }
    json!(names)
}

fn keyword(random: &mut Random, depth: usize) -> (&'static str, Value) {
    const PLAIN: usize = 26;
    const NESTED: usize = 27;
    let choice = random.below(if depth == 0 { PLAIN } else { PLAIN + NESTED });
    let deeper = depth.saturating_sub(1);
    let small = |random: &mut Random| json!(random.below(4));
    match choice {
        0 | 1 => {
            let names = [
                "null", "boolean", "number", "integer", "string", "array", "object",
            ];
            let one = random.pick(&names);
            let two = random.pick(&names);
            let value = if one == two || random.one_in(2) {
                json!(one)
            } else {
                json!([one, two])
            };
            ("type", value)
        }
        2 => ("const", value(random, 1)),
        3 => {
            let mut options: Vec<Value> = Vec::new();
            for _ in 0..=random.below(3) {
                let option = value(random, 1);
                if !options.contains(&option) {
                    options.push(option);
                }
            }
            ("enum", Value::Array(options))
        }
        4 => ("minimum", number(random)),
        5 => ("maximum", number(random)),
        6 if random.one_in(8) => ("exclusiveMinimum", json!(random.one_in(2))),
        6 => ("exclusiveMinimum", number(random)),
        7 if random.one_in(8) => ("exclusiveMaximum", json!(random.one_in(2))),
        7 => ("exclusiveMaximum", number(random)),
        8 => {
            let steps = ["0.1", "0.5", "1", "3", "7e2", "0.3"];
            (
                "multipleOf",
                serde_json::from_str(random.pick(&steps)).unwrap(),
            )
        }
        9 => ("minLength", small(random)),
        10 => ("maxLength", small(random)),
        11 => {
            let patterns = ["^a", "b$", "^[a-z]+$", "\\d", "é", "\\p{Greek}", "a{2}"];
            let broken = ["(", "[b-a]", "a**"];
            let pattern = if random.one_in(20) {
                random.pick(&broken)
            } else {
                random.pick(&patterns)
            };
            ("pattern", json!(pattern))
        }
        12 => {
            let formats = [
                "ipv4",
                "date",
                "uri",
                "regex",
                "email",
                "uri-template",
                "unknown",
            ];
            ("format", json!(random.pick(&formats)))
        }
        13 => ("minItems", small(random)),
        14 => ("maxItems", small(random)),
        15 => ("uniqueItems", json!(true)),
        16 => ("minProperties", small(random)),
        17 => ("maxProperties", small(random)),
        18 => ("required", names(random)),
        19 => {
            let name = random.pick(&NAMES);
            ("dependentRequired", json!({name: names(random)}))
        }
        20 | 21 if random.one_in(10) => ("$ref", json!(random.pick(&REFERENCES))),
        20 | 21 => {
            let there = [
                "#/definitions/a",
                "#/definitions/b",
                "#/$defs/a",
                "#/$defs/b",
                "#/properties/a",
            ];
            ("$ref", json!(random.pick(&there)))
        }
        22..=25 if !random.one_in(4) => ("title", json!("x")),
        22 => ("$anchor", json!(random.pick(&["mark", "other"]))),
        23 => ("$dynamicAnchor", json!(random.pick(&["mark", "other"]))),
        24 => ("$recursiveAnchor", json!(random.one_in(2))),
        25 => {
            let ids = [
                "inner",
                "#mark",
                "http://example.com/x",
                "../up/inner",
                "urn:a:b",
            ];
            let keyword = if random.one_in(2) { "$id" } else { "id" };
            (keyword, json!(random.pick(&ids)))
        }
        26 | 27 => ("properties", map(random, deeper)),
        28 => {
            let pattern = random.pick(&["^a", "b", "c$", "/"]);
            (
                "patternProperties",
                json!({pattern: schema(random, deeper, 2)}),
            )
        }
        29 | 30 => ("additionalProperties", schema(random, deeper, 2)),
        31 => ("propertyNames", schema(random, deeper, 2)),
        32 => ("items", schema(random, deeper, 2)),
        33 => ("items", list(random, deeper)),
        34 => ("prefixItems", list(random, deeper)),
        35 => ("additionalItems", schema(random, deeper, 2)),
        36 | 37 => ("contains", schema(random, deeper, 2)),
        38 => ("minContains", small(random)),
        39 => ("maxContains", small(random)),
        40 => ("not", schema(random, deeper, 2)),
        41 => ("allOf", list(random, deeper)),
        42 => ("anyOf", list(random, deeper)),
        43 => ("oneOf", list(random, deeper)),
        44 => ("if", schema(random, deeper, 2)),
        45 => ("then", schema(random, deeper, 2)),
        46 => ("else", schema(random, deeper, 2)),
        47 => {
            let name = random.pick(&NAMES);
            ("dependentSchemas", json!({name: schema(random, deeper, 2)}))
        }
        48 => {
            let name = random.pick(&NAMES);
            let value = if random.one_in(2) {
                names(random)
            } else {
                schema(random, deeper, 2)
            };
            ("dependencies", json!({name: value}))
        }
        49 => ("unevaluatedProperties", schema(random, deeper, 2)),
        50 => ("unevaluatedItems", schema(random, deeper, 2)),
        51 => ("$recursiveRef", json!("#")),
        _ => {
            let targets = ["#mark", "#other", "#", "inner#mark", "#/$defs/a"];
            ("$dynamicRef", json!(random.pick(&targets)))
        }
    }
}

fn map(random: &mut Random, depth: usize) -> Value {
    let mut entries = Map::new();
    for name in NAMES {
        if random.one_in(3) {
            entries.insert(name.to_owned(), schema(random, depth, 3));
        }
    }
    Value::Object(entries)
}

/// A report in a fixed order, where Go's order is random: findings sorted by their position in the values, names in lists
/// sorted alphabetically.
pub(crate) fn ordered(report: &str) -> String {
    let mut lines = report.lines().peekable();
    let mut out = String::new();
    while let Some(line) = lines.next_if(|line| !line.trim_start().starts_with("- ")) {
        out.push_str(line);
        out.push('\n');
    }
    let lines = lines.map(|line| {
        let depth = line.len() - line.trim_start().len();
        (depth, names_in_order(line.trim_start()))
    });
    let lines: Vec<_> = lines.collect();
    write(&lines, &mut out);
    out
}

fn write(lines: &[(usize, String)], out: &mut String) {
    let Some(depth) = lines.first().map(|(depth, _)| *depth) else {
        return;
    };
    let starts: Vec<_> = (0..lines.len()).filter(|i| lines[*i].0 == depth).collect();
    let mut blocks: Vec<_> = starts
        .iter()
        .enumerate()
        .map(|(i, start)| {
            let end = starts.get(i + 1).copied().unwrap_or(lines.len());
            &lines[*start..end]
        })
        .collect();
    blocks.sort_by_key(|block| {
        let line = block[0].1.as_str();
        let (at, what) = line.split_once("': ").unwrap_or((line, ""));
        let name = what
            .starts_with("invalid propertyName")
            .then(|| what.to_owned());
        (at.to_owned(), name)
    });
    for block in blocks {
        out.push_str(&" ".repeat(depth));
        out.push_str(&block[0].1);
        out.push('\n');
        write(&block[1..], out);
    }
}

fn names_in_order(line: &str) -> String {
    const START: &str = "additional properties ";
    let Some((before, rest)) = line.split_once(START) else {
        return line.to_owned();
    };
    let Some((names, after)) = rest.rsplit_once(" not allowed") else {
        return line.to_owned();
    };
    let mut names: Vec<_> = names.split("', '").map(|n| n.trim_matches('\'')).collect();
    names.sort_unstable();
    format!("{before}{START}{} not allowed{after}", names.join("', '"))
}

/// Differences that are allowed: remote schemas are not fetched here (HE-SCHEMA-005), and which of several broken
/// references is reported first is random.
pub(crate) fn excused(schema: &str, ours: &str, theirs: &str) -> bool {
    const REASON: &str = ": references must stay within the chart's schema";
    const FAULTS: [&str; 3] = ["anchor in ", "json-pointer in ", "failing loading "];
    let fault = |text: &str| FAULTS.iter().any(|fault| text.starts_with(fault));
    if schema.matches("Ref\":").count() + schema.matches("$ref\":").count() > 1
        && fault(ours)
        && fault(theirs)
    {
        return true;
    }
    let loading = ours.split_once(REASON).map(|(loading, _)| loading);
    loading.is_some_and(|loading| theirs.starts_with(loading))
}
