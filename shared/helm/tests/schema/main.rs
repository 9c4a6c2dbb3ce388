//! Values that violate schemas, with the messages of Helm's validator.

mod random;
#[path = "../support/mod.rs"]
mod support;

use flux_helm::{Chart, File, ParsedChart, RenderError, RenderOptions, load_values, render};
use oracle::{Answer, Oracle};
use serde_json::{Value, json};

/// Validates the values of a chart with this schema. The error is the message below the chart's name.
fn check(schema: &str, values: &Value) -> Result<(), String> {
    let chart = Chart::from_files(vec![
        File::new("Chart.yaml", "apiVersion: v2\nname: web\nversion: 1.0.0\n"),
        File::new("values.schema.json", schema.to_owned()),
    ])
    .unwrap();
    let values = load_values(values.to_string().as_bytes()).unwrap();
    let mut options = RenderOptions::new("web", "apps");
    loop {
        match render(&chart, &values, &options) {
            Ok(_) => return Ok(()),
            // Nothing is fetched in this test.
            Err(RenderError::Needs(addresses)) => {
                for address in addresses {
                    let why = "references must stay within the chart's schema".to_owned();
                    options.remotes.insert(address, Err(why));
                }
            }
            Err(error) => {
                let text = error.to_string();
                let (_, text) = text.split_once("web:\n").expect("the chart is named");
                return Err(text.to_owned());
            }
        }
    }
}

/// Keywords with values that violate them, one at a time.
const BROKEN: &[(&str, &str)] = &[
    (r#""type": "string""#, "5"),
    (r#""type": ["string", "null"]"#, "[]"),
    (r#""type": "integer""#, "1.5"),
    (r#""type": "integer""#, "1.0"),
    (r#""type": "boolean""#, "\"true\""),
    (r#""const": 5"#, "6"),
    (r#""const": {"a": 1}"#, "6"),
    (r#""const": null"#, "6"),
    (r#""enum": ["a", 1, null, true]"#, "\"b\""),
    (r#""enum": ["a"]"#, "\"it's\""),
    (r#""enum": [["a"], "b"]"#, "1"),
    (r#""minimum": 10"#, "1"),
    (r#""maximum": 10"#, "12345678.5"),
    (r#""maximum": 1000"#, "2000"),
    (r#""multipleOf": 0.5"#, "1.3"),
    (r#""multipleOf": 7"#, "1000"),
    (r#""minLength": 3"#, "\"éa\""),
    (r#""maxLength": 3"#, "\"four\""),
    (r#""pattern": "^[a-z]+$""#, "\"A'\\\"b\""),
    (r#""pattern": "^\\d+$""#, "\"a\""),
    (r#""minItems": 2"#, "[1]"),
    (r#""maxItems": 1"#, "[1, 2]"),
    (r#""uniqueItems": true"#, "[1, 2, {\"a\": 1}, {\"a\": 1.0}]"),
    (r#""items": {"type": "string"}"#, "[\"a\", 2, 3]"),
    (r#""contains": {"type": "string"}"#, "[]"),
    (r#""minProperties": 2"#, "{\"a\": 1}"),
    (r#""maxProperties": 1"#, "{\"a\": 1, \"b\": 2}"),
    (r#""required": ["x"]"#, "{}"),
    (r#""required": ["x", "y"]"#, "{}"),
    (
        r#""properties": {"a/b~c": {"type": "string"}}"#,
        "{\"a/b~c\": 1}",
    ),
    (
        r#""properties": {"a": {"properties": {"b": {"items": {"required": ["c"]}}}}}"#,
        "{\"a\": {\"b\": [{}, {\"c\": 1}, {}]}}",
    ),
    (
        r#""patternProperties": {"^x": {"type": "string"}}"#,
        "{\"x1\": 1}",
    ),
    (r#""additionalProperties": false"#, "{\"b\": 1}"),
    (
        r#""properties": {"a": {}}, "additionalProperties": {"type": "string"}"#,
        "{\"a\": 1, \"b\": 1}",
    ),
    (r#""propertyNames": {"maxLength": 2}"#, "{\"long\": 1}"),
    (r#""propertyNames": {"pattern": "^a"}"#, "{\"b\": 1}"),
    (r#""not": {"type": "string"}"#, "\"x\""),
    (r#""allOf": [{"minimum": 5}, {"multipleOf": 2}]"#, "3"),
    (r#""allOf": [{"minimum": 5}]"#, "3"),
    (r#""anyOf": [{"type": "string"}, {"minimum": 5}]"#, "3"),
    (r#""oneOf": [{"type": "string"}, {"minimum": 5}]"#, "3"),
    (
        r#""oneOf": [{"type": "number"}, {"type": "null"}, {"minimum": 1}]"#,
        "3",
    ),
    (r#""if": {"minimum": 1}, "then": {"multipleOf": 2}"#, "3"),
    (r#""if": {"minimum": 9}, "else": {"multipleOf": 2}"#, "3"),
    (r##""$ref": "#/definitions/short""##, "\"long\""),
    (
        r##""properties": {"a": {"$ref": "#/definitions/short"}, "b": {"$ref": "#/definitions/two"}}"##,
        "{\"a\": \"long\"}",
    ),
    (
        r##""properties": {"b": {"$ref": "#/definitions/two"}}"##,
        "{\"b\": 1}",
    ),
    (r##""allOf": [{"$ref": "#/definitions/two"}]"##, "1"),
    (
        r##""anyOf": [{"$ref": "#/definitions/short"}, {"$ref": "#/definitions/two"}]"##,
        "1",
    ),
    (r##""$ref": "#/definitions/none""##, "1"),
    (r#""minLength": "x""#, "1"),
    (r#""type": "strin""#, "1"),
    (r#""required": "x""#, "1"),
    (
        r#""type": "object", "required": ["a"], "minProperties": 3"#,
        "{\"b\": 1}",
    ),
    (
        r#""type": "array", "minItems": 3, "items": {"type": "string"}"#,
        "[1]",
    ),
    (r#""minimum": 12345678901234567890"#, "1"),
    (r#""minimum": 5, "exclusiveMinimum": true"#, "5"),
    (r#""dependencies": {"a": ["b", "c"]}"#, "{\"a\": 1}"),
    (
        r#""dependencies": {"a": {"required": ["b"]}}"#,
        "{\"a\": 1}",
    ),
    (
        r#""items": [{"type": "string"}], "additionalItems": false"#,
        "[\"a\", 2, 3]",
    ),
];

const DRAFTS: [&str; 6] = [
    "",
    "http://json-schema.org/draft-04/schema#",
    "http://json-schema.org/draft-06/schema#",
    "http://json-schema.org/draft-07/schema#",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];

/// Texts for every format: valid and invalid ones.
const FORMATS: [(&str, &[&str]); 21] = [
    ("json-pointer", &["", "/a/~0~1", "a", "/~", "/~2", "/a~"]),
    (
        "relative-json-pointer",
        &["0", "1/a", "2#", "", "a", "01", "1a", "1/~"],
    ),
    (
        "uuid",
        &[
            "2eb8aa08-AA98-11ea-b4aa-73b441d16380",
            "2eb8",
            "2eb8aa08-aa98-11ea-b4aa-73b441d1638",
            "2eb8aa0g-aa98-11ea-b4aa-73b441d16380",
        ],
    ),
    (
        "duration",
        &[
            "P1Y2M3DT4H5M6S",
            "P2W",
            "1Y",
            "P",
            "PW",
            "PxW",
            "P1",
            "PY",
            "P1DT",
            "P1M1Y",
            "P1X",
            "P1DT1HT1S",
            "PT1D",
            "P1é",
        ],
    ),
    (
        "period",
        &[
            "2024-01-01T00:00:00Z/P1D",
            "P1D/2024-01-01T00:00:00Z",
            "x",
            "P/x",
            "P1D/x",
            "x/P1D",
            "2024-01-01T00:00:00Z/P",
            "2024-01-01T00:00:00Z/x",
        ],
    ),
    (
        "ipv4",
        &[
            "1.2.3.4",
            "1.2.3",
            "01.2.3.4",
            "256.1.1.1",
            "a.1.1.1",
            "-1.1.1.1",
            "1..1.1",
            "99999999999999999999.1.1.1",
        ],
    ),
    (
        "ipv6",
        &[
            "::1",
            "::",
            "1::",
            "1:2:3:4:5:6:7:8",
            "::ffff:1.2.3.4",
            "1",
            "1:2",
            "12345::",
            "g::",
            ":::",
            "1::2::3",
            "::1%eth",
            "::1%",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7::8",
            "::1.2.3",
            "::1.2.3.400",
            "::1.2.3.4.5",
            "::01.2.3.4",
            "::1.2..3",
            "1.2.3.4:5",
            "1:1.2.3.4",
            "::1.a.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "1:",
            "1:2:3:4:5:6:7:",
        ],
    ),
    (
        "hostname",
        &["a.b-c", "a.", "-a", "a-", "a_b", "", "a..b", "aé"],
    ),
    (
        "email",
        &[
            "a@b",
            "a.b@c.d",
            "\"a b\"@c",
            "a",
            ".a@b",
            "a.@b",
            "a..b@c",
            "a b@c",
            "a@-b",
            "a@[1.2.3.4]",
            "a@[1.2.3]",
            "a@[IPv6:::1]",
            "a@[IPv6:1]",
            "\"a\\\"@b",
        ],
    ),
    (
        "date",
        &[
            "2024-02-29",
            "2023-02-29",
            "2024-13-01",
            "2024-1-01",
            "x",
            "2024/01/01",
            "2024-01-01x",
            "2024-01",
            "2024-01-1",
            "é",
        ],
    ),
    (
        "time",
        &[
            "00:00:00Z",
            "23:59:60Z",
            "22:59:60-01:00",
            "12:00:00.5+01:00",
            "12:00",
            "120000000Z",
            "aa:00:00Z",
            "24:00:00Z",
            "12:00:00.Z",
            "12:00:00+1",
            "12:00:00x01:00",
            "12:00:00+01-00",
            "12:00:00+aa:00",
            "12:00:00+24:00",
            "12:00:60Z",
            "-1:00:00Z",
        ],
    ),
    (
        "date-time",
        &[
            "2024-01-01T00:00:00Z",
            "2024-01-01t00:00:00z",
            "2024-01-01",
            "2024-01-01 00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-01T25:00:00Z",
        ],
    ),
    (
        "uri",
        &[
            "http://a/b?c#d",
            "mailto:a@b",
            "urn:x",
            "a",
            "/a",
            ":a",
            "http://a b",
            "http://[::1]/",
            "http://[::1",
            "http://a:x",
            "%zz",
            "http://a/%zz",
            "1a:b",
            "http://u ser@h/",
            "a\tb",
        ],
    ),
    ("iri", &["http://é/", "é"]),
    ("uri-reference", &["a/b", "#x", "a\\b", "%z", "a b"]),
    ("iri-reference", &["é", "a\\b"]),
    ("uri-template", &["http://a/{b}", "a"]),
    (
        "semver",
        &[
            "1.2.3",
            "1.2.3-a.1+b",
            "1.2",
            "01.2.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3+",
            "1.2.3+a..b",
            "1.2.3+é",
            "1.2.3-_",
            "1.x.3",
            "1..3",
        ],
    ),
    ("idn-email", &["x"]),
    ("idn-hostname", &["-"]),
    ("unheard-of", &["x"]),
];

fn cases() -> Vec<(String, Value)> {
    let mut cases = Vec::new();
    // HE-SCHEMA-002
    for draft in DRAFTS {
        let head = match draft {
            "" => String::new(),
            uri => format!("\"$schema\": \"{uri}\", "),
        };
        let definitions = r#""definitions": {"short": {"maxLength": 2}, "two": {"type": "string", "minLength": 2}}"#;
        let schema = |keywords: &str| {
            format!("{{{head}{definitions}, \"properties\": {{\"v\": {{{keywords}}}}}}}")
                .replace("#/definitions", "#/definitions")
        };
        for (keywords, value) in BROKEN.iter().copied() {
            let value: Value = serde_json::from_str(value).unwrap();
            cases.push((schema(keywords), json!({"v": value})));
        }
        for (format, texts) in FORMATS {
            for text in texts {
                cases.push((
                    schema(&format!("\"format\": \"{format}\"")),
                    json!({"v": text}),
                ));
            }
        }
    }
    // HE-SCHEMA-006: among them schemas that are invalid
    for schema in [
        "",
        " ",
        "{",
        "[]",
        "5",
        "true",
        "false",
        "null",
        r#"{"$schema": "https://json-schema.org/draft/2020-12/schema#", "type": "array"}"#,
        r#"{"required": ["a"], "properties": {"v": {"type": "string"}}}"#,
        r#"{"$ref": "urn:example:x"}"#,
        r#"{"$id": "https://example.com/root", "$defs": {"a": {"$id": "item", "type": "string"}}, "properties": {"v": {"$ref": "item"}}}"#,
        r##"{"$defs": {"a": {"$anchor": "here", "type": "string"}}, "properties": {"v": {"$ref": "#here"}}}"##,
        r#"{"properties": {"v": {"minContains": 2, "contains": {"type": "string"}}}}"#,
        r#"{"dependentRequired": {"v": ["x"]}}"#,
        r#"{"dependentSchemas": {"v": {"required": ["x"]}}}"#,
    ] {
        cases.push((schema.to_owned(), json!({"v": 1})));
    }
    cases
}

#[test]
fn schema_messages_match_helm() {
    // HE-SCHEMA-003
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let cases = cases();
    let questions: Vec<_> = cases
        .iter()
        .map(|(schema, values)| json!({"mode": "schema", "schema": schema, "values": values}))
        .collect();
    let mut different = Vec::new();
    for ((schema, values), answer) in cases.iter().zip(go.ask_all(&questions)) {
        let ours = match check(schema, values) {
            Ok(()) => Answer::Output(Value::Null),
            Err(text) => Answer::Error(text),
        };
        if ours != answer {
            different.push(format!(
                "{schema}\n{values}\n  ours:   {ours:?}\n  theirs: {answer:?}\n"
            ));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} differ:\n{}",
        different.len(),
        cases.len(),
        different.join("\n")
    );
}

#[test]
fn references_to_files_stay_within_the_chart() {
    // HE-SCHEMA-005
    for (reference, path) in [
        ("file:///etc/passwd", "/etc/passwd"),
        // It has no path to Go, which resolves nothing that has a scheme.
        ("file:other.json", ""),
        ("other.json", "/other.json"),
        ("../a/b.json#/c", "/a/b.json"),
    ] {
        let schema = format!(r#"{{"properties": {{"v": {{"$ref": "{reference}"}}}}}}"#);
        let error = check(&schema, &json!({"v": 1})).unwrap_err();
        assert!(
            error.starts_with("failing loading \"file:"),
            "{reference}: {error}"
        );
        let why = format!(
            ": open {path}: no such file or directory: references must stay within the chart's schema"
        );
        assert!(error.ends_with(&why), "{reference}: {error}");
    }
}

#[test]
fn remote_references_are_requested_transitively() {
    // HE-SCHEMA-001, HE-SCHEMA-005
    let chart = |dependencies| {
        Chart::from_files(vec![
            File::new(
                "Chart.yaml",
                format!("apiVersion: v2\nname: web\nversion: 1.0.0\n{dependencies}"),
            ),
            File::new(
                "values.schema.json",
                r#"{"$ref": "https://a.example/dir/a.json", "properties": {"v": {"$ref": "https://b.example/"}}}"#,
            ),
            File::new(
                "charts/sub/Chart.yaml",
                "apiVersion: v2\nname: sub\nversion: 1.0.0\n",
            ),
            File::new(
                "charts/sub/values.schema.json",
                r#"{"$ref": "http://c.example/c.json"}"#,
            ),
        ])
    };
    let chart = ParsedChart::new(chart("").unwrap());
    let values = load_values(b"v: 1").unwrap();
    let mut options = RenderOptions::new("web", "apps");
    let mut rounds = Vec::new();
    for _ in 0..10 {
        let Err(RenderError::Needs(addresses)) = chart.render(&values, &options) else {
            break;
        };
        for address in &addresses {
            let text = match address.as_str() {
                "https://a.example/dir/a.json" => r#"{"properties": {"v": {"$ref": "../d.json"}}}"#,
                "https://a.example/d.json" => r#"{"type": "string"}"#,
                _ => "{}",
            };
            options.remotes.insert(address.clone(), Ok(text.into()));
        }
        rounds.push(addresses.join(" "));
    }
    // The charts of a render ask in parallel, each for one document after the other.
    assert_eq!(
        rounds,
        [
            "http://c.example/c.json https://a.example/dir/a.json",
            "https://b.example/",
            "https://a.example/d.json"
        ]
    );
    let error = chart.render(&values, &options).unwrap_err().to_string();
    assert!(
        error.ends_with("web:\n- at '/v': got number, want string\n"),
        "{error}"
    );

    // What a document holds may be another text in another render of the same chart.
    let mut changed = options.clone();
    let text = r#"{"type": "number"}"#;
    let address = "https://a.example/d.json".to_owned();
    changed.remotes.insert(address, Ok(text.into()));
    assert!(chart.render(&values, &changed).is_ok());
    let again = chart.render(&values, &options).unwrap_err().to_string();
    assert_eq!(again, error);

    // Another render of the same chart asks for all of them at once.
    let fresh = RenderOptions::new("web", "apps");
    let Err(RenderError::Needs(addresses)) = chart.render(&values, &fresh) else {
        panic!("nothing was fetched for this render");
    };
    assert_eq!(addresses.len(), 4);
}

#[test]
fn random_schemas_validate_as_in_helm() {
    let Some(mut go) = Oracle::start("helm") else {
        return;
    };
    let mut random = support::Random::new(oracle::seed());
    let cases: Vec<_> = (0..oracle::cases(1500))
        .map(|_| random::case(&mut random))
        .collect();
    let question = |(schema, values): &(String, Value)| json!({"mode": "schema", "schema": schema, "values": values});
    let questions: Vec<_> = cases.iter().map(question).collect();
    let (mut different, mut broken, mut refused) = (Vec::new(), 0, 0);
    for (case, answer) in cases.iter().zip(go.ask_all(&questions)) {
        let (schema, values) = case;
        let ours = check(schema, values).err();
        let theirs = |answer| match answer {
            Answer::Output(_) => None,
            Answer::Error(text) | Answer::Panic(text) => Some(text),
        };
        let mut answer = theirs(answer);
        let alike = |theirs: &Option<String>| match (&ours, theirs) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => {
                random::ordered(ours) == random::ordered(theirs)
                    || random::excused(schema, ours, theirs)
            }
            _ => false,
        };
        // Of several errors in a schema Go reports a random one; with a map of two entries the second comes first once in
        // eight.
        for _ in 0..300 {
            if alike(&answer) {
                break;
            }
            answer = theirs(go.ask(&question(case)));
        }
        broken += usize::from(
            answer
                .as_ref()
                .is_some_and(|text| !text.starts_with("- at")),
        );
        refused += usize::from(answer.as_ref().is_some_and(|text| text.starts_with("- at")));
        if !alike(&answer) {
            different.push(format!(
                "{schema}\n{values}\n  ours:   {}\n  theirs: {}\n",
                ours.unwrap_or_default(),
                answer.unwrap_or_default()
            ));
        }
    }
    println!(
        "{} cases, {broken} broken schemas, {refused} refused values",
        cases.len()
    );
    let count = different.len();
    different.truncate(10);
    assert!(
        different.is_empty(),
        "{count} differ:\n{}",
        different.join("\n")
    );
}
