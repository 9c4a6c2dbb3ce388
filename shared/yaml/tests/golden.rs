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

// HE-YAML-002 HE-YAML-003 HE-YAML-004 HE-YAML-006 HE-YAML-008 HE-YAML-009 HE-YAML-010 HE-YAML-011 HE-YAML-012 HE-YAML-014
// HE-YAML-015 HE-YAML-016 HE-YAML-018 HE-YAML-019 HE-YAML-020
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
            let want = match want["error"].as_str() {
                Some(error) => Err(error.to_owned()),
                None => Ok(want["output"].as_str().unwrap().to_owned()),
            };
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
