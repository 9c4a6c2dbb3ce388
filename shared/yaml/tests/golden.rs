//! Documents with the recorded output of the real libraries, to test without Go.

use std::fmt::Write as _;

use flux_yaml::{Error, Value, json, sigs, v3};
use serde_json::Value as Json;

fn as_json(mut value: Value) -> Result<String, Error> {
    value.sort_keys();
    json::to_string(&value, json::Escape::Html)
}

fn ours(mode: &str, input: &str) -> Result<String, Error> {
    match mode {
        "sigs-to-json" => sigs::yaml_to_json(input).and_then(as_json),
        "sigs-to-json-strict" => sigs::yaml_to_json_strict(input).and_then(as_json),
        "sigs-round-trip" => sigs::from_str(input).and_then(|mut value| {
            value.floats_only();
            sigs::to_string(&value)
        }),
        "v3-round-trip" => v3::Encoder::default().stream(&v3::parse_all(input)?),
        "kyaml-round-trip" => v3::Encoder::kyaml().stream(&v3::parse_all(input)?),
        "v3-to-json" => match v3::parse(input)? {
            Some(document) => v3::to_value(&document).and_then(as_json),
            None => Ok("null".to_owned()),
        },
        other => panic!("unknown mode {other}"),
    }
}

/// The cases of each row, and the operation that shows it.
const ROWS: &[(&str, &str, &[&str])] = &[
    (
        "HE-YAML-002",
        "sigs-round-trip",
        &["odd indents", "comments in lists"],
    ),
    ("HE-YAML-003", "sigs-round-trip", &["flow", "empty"]),
    ("HE-YAML-004", "sigs-round-trip", &["natural order"]),
    ("HE-YAML-006", "sigs-round-trip", &["numbers"]),
    (
        "HE-YAML-008",
        "sigs-round-trip",
        &["strings that read as something else"],
    ),
    (
        "HE-YAML-009",
        "sigs-round-trip",
        &["strings that read as something else"],
    ),
    (
        "HE-YAML-010",
        "sigs-round-trip",
        &["emoji and other scripts"],
    ),
    (
        "HE-YAML-011",
        "sigs-round-trip",
        &["block scalars", "block scalar without a final newline"],
    ),
    ("HE-YAML-012", "sigs-round-trip", &["a long line"]),
    (
        "HE-YAML-014",
        "sigs-to-json",
        &["yaml 1.1 words", "numbers", "times stay text"],
    ),
    (
        "HE-YAML-015",
        "sigs-to-json",
        &["keys become text", "null key"],
    ),
    ("HE-YAML-016", "sigs-to-json", &["repeated keys"]),
    ("HE-YAML-016", "sigs-to-json-strict", &["repeated keys"]),
    (
        "HE-YAML-018",
        "sigs-to-json",
        &[
            "anchors",
            "merge before a key",
            "merge of several",
            "documents",
        ],
    ),
    (
        "HE-YAML-019",
        "sigs-to-json",
        &[
            "comments",
            "tab as indentation",
            "byte order mark",
            "directive of another version",
        ],
    ),
    (
        "HE-YAML-020",
        "sigs-to-json",
        &["plain text over lines", "block scalars", "tags"],
    ),
];

#[test]
fn documents_of_each_row_are_converted_as_by_the_real_libraries() {
    let cases: Json = serde_json::from_str(include_str!("golden/cases.json")).unwrap();
    for (row, mode, names) in ROWS {
        for name in *names {
            let mut all = cases.as_array().unwrap().iter();
            let case = all.find(|case| case["name"] == *name);
            let case = case.unwrap_or_else(|| panic!("{row}: no case {name:?}"));
            let got = ours(mode, case["input"].as_str().unwrap());
            let got = got.map_err(|error| error.to_string());
            assert_eq!(got, recorded(&case[mode]), "{row}: {name} {mode}");
        }
    }
}

/// The recorded result of an operation.
fn recorded(want: &Json) -> Result<String, String> {
    match want["error"].as_str() {
        Some(error) => Err(error.to_owned()),
        None => Ok(want["output"].as_str().unwrap().to_owned()),
    }
}

#[test]
fn documents_are_converted_as_by_the_real_libraries() {
    let cases: Json = serde_json::from_str(include_str!("golden/cases.json")).unwrap();
    let mut checked = 0;
    for case in cases.as_array().unwrap() {
        let input = case["input"].as_str().unwrap();
        for (mode, want) in case.as_object().unwrap() {
            if mode == "name" || mode == "input" {
                continue;
            }
            checked += 1;
            let got = ours(mode, input).map_err(|error| error.to_string());
            let want = recorded(want);
            assert_eq!(got, want, "{} {mode}", case["name"]);
        }
    }
    assert!(checked > 200, "only {checked} checks");
}

#[test]
fn errors_have_line_and_column() {
    let cases = [
        ("a: b: c\n", 1, 5),
        ("x: 1\na:\n\tb: 1\n", 3, 1),
        ("a: 1\n\u{1}", 2, 1),
        ("a: [1\nb: 2\n", 2, 2),
    ];
    for (input, line, column) in cases {
        let error = sigs::from_str(input).unwrap_err();
        assert_eq!(error.position(), Some((line, column)), "{input:?}: {error}");
    }
}

#[test]
fn limits_are_enforced() {
    let deep = "[".repeat(10_000);
    assert!(matches!(
        v3::parse(&deep).map(drop),
        Err(Error::Limit(_) | Error::Syntax { .. })
    ));
    let mut block = String::new();
    for indent in 0..5000 {
        block.extend(std::iter::repeat_n(' ', indent));
        block.push_str(
            "a:
",
        );
    }
    let error = sigs::from_str(&block).unwrap_err();
    assert!(error.to_string().contains("exceeded max depth"), "{error}");

    // HE-YAML-018: a document that expands to a billion values.
    let mut bomb = String::from("a: &a [x, x, x, x, x, x, x, x, x, x]\n");
    for (name, of) in ('b'..='i').zip('a'..) {
        let items = vec![format!("*{of}"); 10].join(", ");
        let _ = writeln!(bomb, "{name}: &{name} [{items}]");
    }
    let excessive = "yaml: document contains excessive aliasing";
    assert_eq!(
        sigs::yaml_to_json(&bomb).unwrap_err().to_string(),
        excessive
    );
    let document = v3::parse(&bomb).unwrap().unwrap();
    assert_eq!(v3::to_value(&document).unwrap_err().to_string(), excessive);
    assert!(matches!(v3::expand(document, 10_000), Err(Error::Limit(_))));

    // Few nodes, but each a megabyte.
    let megabyte = "x".repeat(1 << 20);
    let uses = vec!["*a"; 100].join(", ");
    let heavy = format!("a: &a {megabyte}\nb: [{uses}]\n");
    let told = "yaml: aliases bring more than 67108864 bytes";
    assert_eq!(sigs::yaml_to_json(&heavy).unwrap_err().to_string(), told);
    let document = v3::parse(&heavy).unwrap().unwrap();
    assert_eq!(v3::to_value(&document).unwrap_err().to_string(), told);
    assert!(matches!(v3::expand(document, 10_000), Err(Error::Limit(_))));
}

#[test]
fn large_floats_show_the_digits_json_shows() {
    // HE-YAML-006 HE-YAML-017
    let mut value = Value::Float(2.143_733_716_799_883_8e18);
    assert_eq!(
        sigs::to_string(&value).as_deref(),
        Ok("2143733716799883800\n")
    );
    value = sigs::from_str("1e20").unwrap();
    assert_eq!(sigs::to_string(&value).as_deref(), Ok("1e+20\n"));
}
