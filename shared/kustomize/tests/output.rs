//! The printed text of a build, row by row, as expected here and as the real library prints it.

use std::collections::BTreeMap;

use flux_kustomize::substitute::{SubstituteOptions, Variables, substitute_object};
use flux_kustomize::{Build, Options, Remotes, Resources, build};
use flux_tree::{Tree, TreePath};
use flux_yaml::{Value, sigs};
use oracle::{Answer, Oracle, base64};
use serde_json::json;

fn files(objects: &str) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("/kustomization.yaml", "resources: [all.yaml]\n".to_owned()),
        ("/all.yaml", objects.to_owned()),
    ])
}

fn built(objects: &str) -> Result<Resources, String> {
    let mut tree = Tree::new();
    for (path, text) in files(objects) {
        let path = TreePath::new(path.trim_start_matches('/')).unwrap();
        tree.insert_file(path, text, false).unwrap();
    }
    let root = TreePath::new("").unwrap();
    match build(&tree, &root, &Options::flux(), &Remotes::new()) {
        Ok(Build::Done(output)) => Ok(output.resources),
        Ok(Build::Needs(bases)) => Err(format!("needs {bases:?}")),
        Err(error) => Err(error.to_string()),
    }
}

/// The difference from our output, or from the expectation of upstream in this file.
fn judge(go: Option<&mut Oracle>, objects: &str, want: &str) {
    let ours = built(objects).map(|resources| resources.to_yaml());
    assert_eq!(ours.as_deref(), Ok(want), "{objects}");
    let Some(go) = go else { return };
    let encoded: BTreeMap<_, _> = files(objects)
        .into_iter()
        .map(|(path, text)| (path, base64(text)))
        .collect();
    let theirs = go.ask(&json!({"mode": "build", "files": encoded, "dir": "/", "flux": true}));
    assert_eq!(theirs, Answer::Output(json!(want)), "{objects}");
}

#[test]
fn objects_are_printed_in_the_layout_of_yaml_1_1() {
    const LONG: &str = "the quick brown fox jumps over the lazy dog and then some more words to pass the eightieth column of it";
    let cases: &[(&str, &str, &str)] = &[
        // KZ-YAML-002: letters by code point, others before letters, digits by their value, a prefix first.
        (
            "KZ-YAML-002",
            "{b: 1, a10: 1, a2: 1, a: 1, _x: 1, A: 1, ab: 1, a-b: 1}",
            "\n  _x: 1\n  A: 1\n  a: 1\n  a-b: 1\n  a2: 1\n  a10: 1\n  ab: 1\n  b: 1\n",
        ),
        // KZ-YAML-003: two columns a level, dashes at the column of their key.
        (
            "KZ-YAML-003",
            "{m: {l: [1, {k: v, w: x}, [2]]}}",
            "\n  m:\n    l:\n    - 1\n    - k: v\n      w: x\n    - - 2\n",
        ),
        // KZ-YAML-004: folded past 80 columns at a blank; text of several lines as a literal block.
        (
            "KZ-YAML-004",
            LONG,
            " the quick brown fox jumps over the lazy dog and then some more words to pass\n  the eightieth column of it\n",
        ),
        ("KZ-YAML-004", r#""a\nb""#, " |-\n  a\n  b\n"),
        ("KZ-YAML-004", r#""a\nb\n""#, " |\n  a\n  b\n"),
        ("KZ-YAML-004", r#""a\n\n""#, " |+\n  a\n\n"),
        ("KZ-YAML-004", r#"" a\nb""#, " |2-\n   a\n  b\n"),
        // KZ-YAML-005: what would read as another type is double-quoted, the rest only where syntax wants quotes.
        (
            "KZ-YAML-005",
            "['yes', '1', '1e3', '0x1', 'null', '~', '2001-01-01', '12:30:45', '<<', '0o7', '1_0', 'y', '']",
            "\n- \"yes\"\n- \"1\"\n- \"1e3\"\n- \"0x1\"\n- \"null\"\n- \"~\"\n- \"2001-01-01\"\n- \"12:30:45\"\n- <<\n- \"0o7\"\n- \"1_0\"\n- \"y\"\n- \"\"\n",
        ),
        (
            "KZ-YAML-005",
            r#"["a", 'a: b', '#a', ' a', '*', "it's", '{{ x }}', "a\tb", "1.2.3", "a,b"]"#,
            "\n- a\n- 'a: b'\n- '#a'\n- ' a'\n- '*'\n- it's\n- '{{ x }}'\n- \"a\\tb\"\n- 1.2.3\n- a,b\n",
        ),
        // KZ-YAML-006: empty values. An omitted value is null, except in a flow collection, where it is an empty
        // string.
        (
            "KZ-YAML-006",
            "{m: {}, l: [], s: '', n: null, e: }",
            "\n  e: \"\"\n  l: []\n  m: {}\n  \"n\": null\n  s: \"\"\n",
        ),
        (
            "KZ-YAML-006",
            "\n  m: {}\n  l: []\n  s: ''\n  n: ~\n  e:\n  d: [{a: [b: ]}]\n",
            "\n  d:\n  - a:\n    - b: \"\"\n  e: null\n  l: []\n  m: {}\n  \"n\": null\n  s: \"\"\n",
        ),
        // KZ-YAML-007: whole floats lose their fraction, exponents are normalised.
        (
            "KZ-YAML-007",
            "[1.0, 1e3, 1.5e+3, 0.25, 1E-7, 123456789012345678901234567890]",
            "\n- 1\n- 1000\n- 1500\n- 0.25\n- 1e-07\n- 1.2345678901234568e+29\n",
        ),
        // KZ-YAML-008: comments, anchors, order, quotes and flow style of the input are lost.
        (
            "KZ-YAML-008",
            "{z: &x 'a', # c\n  y: \"b\", x: *x}",
            "\n  x: a\n  \"y\": b\n  z: a\n",
        ),
    ];
    let mut go = Oracle::start("kustomize");
    for (row, spec, want) in cases {
        let objects =
            format!("apiVersion: example.com/v1\nkind: Test\nmetadata:\n  name: x\nspec: {spec}\n");
        println!("{row}");
        let want =
            format!("apiVersion: example.com/v1\nkind: Test\nmetadata:\n  name: x\nspec:{want}");
        judge(go.as_mut(), &objects, &want);
    }
}

// KZ-YAML-001
#[test]
fn documents_are_joined_by_a_line_of_dashes() {
    let mut go = Oracle::start("kustomize");
    judge(
        go.as_mut(),
        "---\n# first\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: b}\n---\n---\n{kind: ConfigMap, apiVersion: v1, metadata: {name: a}}",
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: b\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n",
    );
}

// KZ-YAML-007
#[test]
fn nan_and_infinities_are_errors() {
    for (text, name) in [(".inf", "+Inf"), ("-.inf", "-Inf"), (".nan", "NaN")] {
        let objects =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\nspec: {text}\n");
        let error = built(&objects).unwrap_err();
        assert!(
            error.contains(&format!("json: unsupported value: {name}")),
            "{error}"
        );
    }
}

// KZ-YAML-009 KZ-YAML-010
#[test]
fn the_same_objects_give_the_same_bytes_however_they_were_written() {
    let styles = [
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndata:\n  a: \"1\"\n  b: text\n  c: |\n    two\n    lines\n",
        "# other\n{kind: ConfigMap, data: {c: \"two\\nlines\\n\", b: 'text', a: '1'}, metadata: {name: x}, apiVersion: v1}\n",
    ];
    let first = built(styles[0]).unwrap().to_yaml();
    for objects in styles {
        assert_eq!(built(objects).unwrap().to_yaml(), first);
    }
    // Printing and building again changes nothing, byte for byte.
    assert_eq!(built(&first).unwrap().to_yaml(), first);
    assert_eq!(
        first,
        "apiVersion: v1\ndata:\n  a: \"1\"\n  b: text\n  c: |\n    two\n    lines\nkind: ConfigMap\nmetadata:\n  name: x\n"
    );
}

// KZ-YAML-010
#[test]
fn types_after_substitution_are_those_of_yaml_1_1() {
    let cases = [
        ("yes", Value::Bool(true)),
        ("Off", Value::Bool(false)),
        ("y", Value::Bool(true)),
        ("true", Value::Bool(true)),
        ("0777", Value::Int(511)),
        ("0o17", Value::Int(15)),
        ("08", Value::Int(8)),
        ("0x1F", Value::Int(31)),
        ("0b11", Value::Int(3)),
        ("1_000", Value::Int(1000)),
        ("12:30:45", Value::from("12:30:45")),
        ("1:20", Value::from("1:20")),
        ("2001-01-01", Value::from("2001-01-01")),
        ("1e3", Value::Int(1000)),
        ("1.10", Value::Float(1.1)),
        ("~", Value::Null),
        ("", Value::Null),
        ("1.2.3", Value::from("1.2.3")),
        ("18446744073709551615", Value::Uint(u64::MAX)),
    ];
    let object = sigs::from_str("spec: ${x}\n").unwrap();
    for (text, want) in cases {
        let variables: Variables = [("x", text)].into_iter().collect();
        let got = substitute_object(&object, &variables, SubstituteOptions::default());
        let got = got.unwrap().unwrap();
        assert_eq!(got.get("spec"), Some(&want), "{text}");
    }
}
