//! Values composed of inline values and references, compared with the library that helm-controller uses.

mod support;

use std::collections::BTreeMap;

use flux_budget::{Budget, Claim};
use flux_helm::{
    ComposeError, ComposedValues, DEFAULT_VALUES_KEY, DigestAlgorithm, SourceData, ValuesReason,
    ValuesReferenceError, ValuesSource, compose_values, config_digest, is_config_of, load_values,
    to_go_json,
};
use oracle::{Answer, Oracle, base64, cases};
use serde_json::{Value, json};
use support::Random;

/// The data of an object, if it exists.
type Data = Option<Found>;
/// What its key holds, if it has the key.
type Found = Option<String>;

/// A reference with its data: `None` if the object does not exist, `Some(None)` if it lacks the key.
#[derive(Clone, Debug, Default)]
struct Reference {
    kind: &'static str,
    name: &'static str,
    path: Option<String>,
    literal: bool,
    optional: bool,
    data: Data,
}

fn map(name: &'static str, data: &str) -> Reference {
    Reference {
        kind: "ConfigMap",
        name,
        data: Some(Some(data.to_owned())),
        ..Reference::default()
    }
}

fn at(path: &str, name: &'static str, data: &str) -> Reference {
    Reference {
        path: Some(path.to_owned()),
        ..map(name, data)
    }
}

fn secret(reference: Reference) -> Reference {
    Reference {
        kind: "Secret",
        ..reference
    }
}

fn optional(reference: Reference) -> Reference {
    Reference {
        optional: true,
        ..reference
    }
}

fn compose(inline: &str, references: &[Reference]) -> Result<ComposedValues, ValuesReferenceError> {
    let composed = compose_within(inline, references, &Claim::unlimited());
    composed.map_err(|error| match error {
        ComposeError::Reference(error) => error,
        ComposeError::Memory(error) => panic!("{error}"),
    })
}

fn compose_within(
    inline: &str,
    references: &[Reference],
    claim: &Claim,
) -> Result<ComposedValues, ComposeError> {
    let sources: Vec<ValuesSource> = references
        .iter()
        .map(|reference| ValuesSource {
            kind: reference.kind.to_owned(),
            object: format!("apps/{}", reference.name),
            key: DEFAULT_VALUES_KEY.to_owned(),
            target_path: reference.path.clone(),
            literal: reference.literal,
            optional: reference.optional,
            data: match &reference.data {
                Some(Some(data)) => SourceData::Found(data.as_bytes().into()),
                Some(None) => SourceData::NoKey,
                None => {
                    let (kind, name) = (reference.kind.to_lowercase(), reference.name);
                    SourceData::NoObject(format!("{kind}s \"{name}\" not found"))
                }
            },
        })
        .collect();
    compose_values(&load_values(inline.as_bytes()).unwrap(), &sources, claim)
}

#[test]
fn the_memory_of_what_is_read_and_set_is_claimed() {
    let budget = Budget::new(8 << 20);
    let items = format!("a: [{}]\n", "1,".repeat(60_000));
    let sets: String = (0..40)
        .map(|number| format!("1,k{number}[65000]="))
        .collect();
    let list = format!("{{{}}}", ",".repeat(100_000));
    let tables = format!("1{}", ",a=".repeat(100_000));
    let ends: Vec<_> = (0..40)
        .map(|number| at(&format!("k{number}[65000]"), "c", "1"))
        .collect();
    for (what, references) in [
        ("read", vec![map("c", &items)]),
        ("set by the data", vec![at("a", "c", &sets)]),
        ("a list in the data", vec![at("a", "c", &list)]),
        ("entries in the data", vec![at("a", "c", &tables)]),
        ("set by paths", ends),
    ] {
        let claim = budget.claim();
        let composed = compose_within("", &references, &claim);
        let error = composed.err().map(|error| error.to_string());
        assert!(
            error
                .as_deref()
                .is_some_and(|error| error.contains("not enough memory")),
            "{what}: {error:?}"
        );
    }
    let claim = budget.claim();
    let ordinary = [map("c", "a: {b: [1, 2]}\n"), at("a.b[3]", "d", "x")];
    compose_within("c: 1", &ordinary, &claim).unwrap();
    assert!((1..64 << 10).contains(&claim.held()), "{}", claim.held());
}

/// The composed values as JSON with sorted keys, or the error.
fn text(inline: &str, references: &[Reference]) -> Result<String, String> {
    let composed = compose(inline, references).map_err(|error| error.to_string())?;
    let mut values = flux_yaml::Value::Map(composed.values);
    values.sort_keys();
    let json = flux_yaml::json::to_string(&values, flux_yaml::json::Escape::Plain);
    Ok(json.unwrap())
}

/// What upstream's library answers: the values as JSON, or the error.
fn theirs(go: &mut Oracle, inline: &str, references: &[Reference]) -> Result<Value, String> {
    let mut objects: BTreeMap<String, BTreeMap<&str, String>> = BTreeMap::new();
    let mut refs = Vec::new();
    for reference in references {
        let (kind, name) = (reference.kind, reference.name);
        if let Some(data) = &reference.data {
            let object = objects.entry(format!("{kind}/{name}")).or_default();
            object.extend(data.iter().map(|data| ("values.yaml", base64(data))));
        }
        refs.push(json!({
            "kind": kind, "name": name, "targetPath": reference.path.clone().unwrap_or_default(),
            "literal": reference.literal, "optional": reference.optional,
        }));
    }
    let inline = flux_yaml::Value::Map(load_values(inline.as_bytes()).unwrap());
    let inline = flux_yaml::json::to_string(&inline, flux_yaml::json::Escape::Plain).unwrap();
    let request =
        json!({ "mode": "values", "inline": inline, "objects": objects, "references": refs });
    match go.ask(&request) {
        Answer::Output(output) => Ok(output),
        Answer::Error(error) => Err(error),
        Answer::Panic(panic) => panic!("{panic}: {request}"),
    }
}

/// Compares both, the digests of the values too.
fn compare(go: &mut Oracle, inline: &str, references: &[Reference]) {
    let about = || format!("{inline}\n{references:?}");
    let ours = compose(inline, references);
    match (theirs(go, inline, references), ours) {
        (Ok(theirs), Ok(ours)) => {
            let json =
                String::from_utf8(to_go_json(&flux_chart::yaml::JsonRef(&sorted(&ours))).unwrap());
            assert_eq!(
                json.unwrap(),
                theirs["values"].as_str().unwrap(),
                "{}",
                about()
            );
            assert_eq!(
                theirs["skipped"],
                ours.skipped.len().to_string(),
                "{}",
                about()
            );
            for algorithm in ["sha256", "sha384", "sha512"] {
                let theirs = theirs["digests"][algorithm].as_str().unwrap();
                let named = DigestAlgorithm::named(algorithm).unwrap();
                let digest = config_digest(named, &ours.values);
                assert_eq!(digest.as_deref(), Some(theirs), "{}", about());
                assert!(is_config_of(theirs, &ours.values), "{}", about());
            }
        }
        (Err(theirs), Err(ours)) => {
            if ours.kind != "Secret" {
                assert_eq!(ours.to_string(), theirs, "{}", about());
            }
        }
        (theirs, ours) => panic!("{}\n{theirs:?}\n{:?}", about(), ours.map(|o| o.values)),
    }
}

fn sorted(composed: &ComposedValues) -> flux_yaml::Value {
    let mut values = flux_yaml::Value::Map(composed.values.clone());
    values.sort_keys();
    values
}

#[test]
fn references_are_merged_in_order_and_inline_values_last() {
    for (inline, references, want) in [
        // HC-VAL-001, RT-VAL-001
        (
            "a: 3",
            vec![map("x", "a: 1\nb: 1"), map("y", "b: 2\nc: 2")],
            r#"{"a":3,"b":2,"c":2}"#,
        ),
        (
            "",
            vec![
                map("x", "a: {b: 1, c: [1, 2]}"),
                map("y", "a: {c: [3], d: 4}"),
            ],
            r#"{"a":{"b":1,"c":[3],"d":4}}"#,
        ),
        // HC-VAL-002, RT-VAL-005
        (
            "a: null\nb: {c: 1}\nd: x",
            vec![map("x", "a: 1\nb: 2\nd: {e: 1}")],
            r#"{"a":null,"b":{"c":1},"d":"x"}"#,
        ),
        (
            "",
            vec![map("x", "a: {b: 1}"), map("y", "a: {b: null}")],
            r#"{"a":{"b":null}}"#,
        ),
        // HC-VAL-009, RT-VAL-004
        (
            "",
            vec![
                map("x", ""),
                map("y", "# nothing\n"),
                map("z", "a: yes\nb: on\nc: 0x10\na: no"),
            ],
            r#"{"a":false,"b":true,"c":16}"#,
        ),
        ("", vec![map("x", "a: 1\n---\nb: 2\n")], r#"{"a":1}"#),
        // HC-VAL-003
        (
            "list: [{name: a}, {name: b}]",
            vec![at("list[0].name", "x", "c"), map("y", "other: 1")],
            r#"{"list":[{"name":"c"},{"name":"b"}],"other":1}"#,
        ),
        (
            "image: {tag: a}",
            vec![at("image.tag", "x", "b")],
            r#"{"image":{"tag":"b"}}"#,
        ),
        // HC-VAL-004: a path at the root, and one whose table is in an earlier reference as well
        ("tag: a", vec![at("tag", "x", "b")], r#"{"tag":"a"}"#),
        (
            "image: {tag: a}",
            vec![map("y", "image: {name: web}"), at("image.tag", "x", "b")],
            r#"{"image":{"name":"web","tag":"a"}}"#,
        ),
        (
            "image: {tag: a}",
            vec![at("image.tag", "x", "b"), at("image.tag", "y", "c")],
            r#"{"image":{"tag":"b"}}"#,
        ),
        (
            "image: {tag: a}",
            vec![at("image.name", "x", "b"), at("image.tag", "y", "c")],
            r#"{"image":{"name":"b","tag":"a"}}"#,
        ),
        // HC-VAL-010, RT-VAL-003
        (
            "",
            vec![
                at("a", "x", "TRUE"),
                at("b", "y", "007"),
                at("c", "z", "12"),
                at("d", "w", "1.5"),
                at("e", "v", "Null"),
                at("f", "u", "0"),
            ],
            r#"{"a":true,"b":"007","c":12,"d":"1.5","e":null,"f":0}"#,
        ),
        (
            "",
            vec![at("a", "x", "{b,1,c}"), at("b", "y", "1,c.d=2")],
            r#"{"a":["b",1,"c"],"b":1,"c":{"d":2}}"#,
        ),
        // HC-VAL-011
        (
            "",
            vec![
                at("a", "x", "\"123\""),
                at("b", "y", "'true'"),
                at("c", "z", "'\"x\"'"),
                at("d", "w", "'"),
                at("e", "v", "\"x'"),
            ],
            r#"{"a":"123","b":"true","c":"x","d":"","e":"\"x'"}"#,
        ),
        // HC-VAL-012
        (
            "",
            vec![at(r"a\.b.c", "x", "1"), at("d[2]", "y", "z")],
            r#"{"a.b":{"c":1},"d":[null,null,"z"]}"#,
        ),
        // FR-H-011: inline keys are never split, paths are, except where a dot is escaped
        (
            "rbac.create: true",
            vec![at(
                r"controller.annotations.service\.beta\.example\.io/rg",
                "x",
                "main",
            )],
            r#"{"controller":{"annotations":{"service.beta.example.io/rg":"main"}},"rbac.create":true}"#,
        ),
    ] {
        assert_eq!(
            text(inline, &references).as_deref(),
            Ok(want),
            "{inline} {references:?}"
        );
    }
    // HC-VAL-013
    let verbatim = r"a\b,c[0]={d}=e # 'f' ";
    let literal = Reference {
        literal: true,
        ..at(r"x.y\.z", "x", &format!("{verbatim}\n"))
    };
    let composed = compose("", &[literal]).unwrap();
    let found = composed.values["x"]
        .get("y.z")
        .and_then(flux_yaml::Value::as_str);
    assert_eq!(found, Some(format!("{verbatim}\n").as_str()));
    // HC-VAL-014
    let literal = Reference {
        literal: true,
        ..map("x", "a: 1")
    };
    assert_eq!(text("", &[literal]).as_deref(), Ok(r#"{"a":1}"#));
}

#[test]
fn missing_references_are_errors_unless_they_are_optional() {
    let gone = |reference: Reference| Reference {
        data: None,
        ..reference
    };
    let lacks = |reference: Reference| Reference {
        data: Some(None),
        ..reference
    };
    let other = Reference {
        kind: "Pod",
        ..map("x", "")
    };
    for (references, reason, want) in [
        // HC-VAL-007, RT-VAL-002
        (
            vec![gone(map("x", ""))],
            ValuesReason::ObjectNotFound,
            "could not resolve ConfigMap chart values reference 'apps/x' with key 'values.yaml': configmaps \"x\" not found",
        ),
        (
            vec![lacks(secret(map("x", "")))],
            ValuesReason::KeyNotFound,
            "could not resolve Secret chart values reference 'apps/x' with key 'values.yaml': key not found",
        ),
        (
            vec![optional(other)],
            ValuesReason::UnsupportedKind,
            "could not resolve optional Pod chart values reference 'apps/x' with key 'values.yaml': unsupported values reference kind",
        ),
        (
            vec![map("x", "[1]")],
            ValuesReason::Unreadable,
            "could not resolve ConfigMap chart values reference 'apps/x' with key 'values.yaml': error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type common.Values",
        ),
        // HC-VAL-008
        (
            vec![optional(map("x", "a: ["))],
            ValuesReason::Unreadable,
            "could not resolve optional ConfigMap chart values reference 'apps/x' with key 'values.yaml': error converting YAML to JSON: yaml: line 1: did not find expected node content",
        ),
        (
            vec![at("a.b", "x", "1"), at("a.b.c", "y", "1")],
            ValuesReason::Unmergeable,
            "could not resolve ConfigMap chart values reference 'apps/y' with key 'values.yaml': unable to parse key: interface conversion: interface {} is int64, not map[string]interface {}",
        ),
        // HC-VAL-012
        (
            vec![at(&vec!["a"; 32].join("."), "x", "1")],
            ValuesReason::Unmergeable,
            "could not resolve ConfigMap chart values reference 'apps/x' with key 'values.yaml': value name nested level is greater than maximum supported nested level of 30",
        ),
        (
            vec![at("a[65537]", "x", "1")],
            ValuesReason::Unmergeable,
            "could not resolve ConfigMap chart values reference 'apps/x' with key 'values.yaml': index of 65537 is greater than maximum supported index of 65536",
        ),
    ] {
        let error = compose("", &references).err().unwrap();
        assert_eq!((error.to_string().as_str(), error.reason), (want, reason));
    }
    // An object is looked up once: the second reference does not have the server's words (HC-VAL-006).
    let twice = [
        optional(gone(map("x", ""))),
        optional(gone(map("x", ""))),
        map("y", "a: 1"),
    ];
    let composed = compose("", &twice).unwrap();
    assert_eq!(
        composed.skipped,
        [
            "could not resolve optional ConfigMap chart values reference 'apps/x' with key 'values.yaml': configmaps \"x\" not found"
        ]
    );
    assert_eq!(composed.values.len(), 1);
    let twice = [optional(gone(map("x", ""))), gone(map("x", ""))];
    let error = compose("", &twice).err().unwrap().to_string();
    assert!(error.ends_with(": resource not found"), "{error}");
}

#[test]
fn no_error_quotes_a_secret() {
    // HC-VAL-007
    for reference in [
        map("x", "hunter2: [\n"),
        map("x", "*hunter2"),
        map("x", "{hunter2: 1}: 2"),
        map("x", "!!int hunter2"),
        map("x", "hunter2"),
        at("a", "x", "1,hunter2"),
        at("a", "x", "1,hunter2[x]=1"),
        at("a", "x", "1,b[0]hunter2=1"),
    ] {
        let error = compose("", &[secret(reference.clone())]).err();
        let error = error.unwrap_or_else(|| panic!("{reference:?}")).to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_work_of_one_value_is_bounded() {
    let many: Vec<String> = (0..50_000).map(|i| format!("a{i}[65536]=1")).collect();
    let error = compose("", &[at("a", "x", &format!("1,{}", many.join(",")))]);
    let error = error.err().unwrap().to_string();
    assert!(
        error.ends_with("more than 1048576 list items set by one argument"),
        "{error}"
    );
    let deep = format!("1,b{}=1", "[0]".repeat(100_000));
    let error = compose("", &[at("a", "x", &deep)])
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.ends_with("more than 64 list indexes in one path"),
        "{error}"
    );
}

#[test]
fn digests_of_values_are_verified_by_their_own_algorithm() {
    // HC-VAL-019, RT-VAL-006
    let values = load_values(b"b: 1\na: {d: x, c: [1.5]}\n").unwrap();
    let empty = load_values(b"").unwrap();
    for name in ["sha256", "sha384", "sha512", "blake3", "sha1"] {
        let algorithm = DigestAlgorithm::named(name).unwrap();
        let digest = config_digest(algorithm, &values).unwrap();
        assert!(is_config_of(&digest, &values), "{digest}");
        assert!(!is_config_of(&digest, &empty), "{digest}");
        assert!(
            !is_config_of(&digest[..digest.len() - 1], &values),
            "{digest}"
        );
        assert!(!is_config_of(
            digest.trim_start_matches(|c| c != ':'),
            &values
        ));
    }
    assert!(!is_config_of("", &empty));
}

#[test]
fn composed_values_match_helm_controller() {
    // HC-VAL-018
    let Some(mut go) = Oracle::start("helm-values") else {
        return;
    };
    let inline = [
        "",
        "a: 1",
        "a: {b: 1, c: {d: 2}}\nl: [1, {x: 1, y: [1, 2]}]\nn: null",
        "l: [[1, 2], [3]]\na: {l: [{k: v}]}",
        "a: {b: {c: {d: {e: 1}}}}",
    ];
    let tables = [
        "a: {b: 2}",
        "a: {c: {d: 3, f: 4}}\nl: []",
        "l: [9]",
        "a: null",
        "n: {o: 1}",
        "a: x",
        "",
        "a: {b: {c: {z: 1}}}",
    ];
    let paths = [
        "a",
        "a.b",
        "a.c.d",
        "a.c.g",
        "l[0]",
        "l[1].x",
        "l[1].y[0]",
        "l[1].y[5]",
        "l[3]",
        "n",
        "n.o",
        "l[0][1]",
        "a.l[0].k",
        "a.b.c.d.e",
        "new",
        "new.x[1].y",
        r"a\.b",
        "l",
        "a.l[1].k",
        "l[2][0].q",
    ];
    let data = [
        "1",
        "x",
        "true",
        "null",
        "{p,q}",
        "'1'",
        "\"{a\"",
        "1,a.b=7",
        "",
        ",",
        "0",
        "01",
        "a=b",
        r"a\,b",
        "x[",
        "1.5",
        "v,l[0]=w",
        "{a",
        "9223372036854775808",
    ];
    let mut random = Random::new(77);
    for _ in 0..cases(600) {
        let count = random.below(4);
        let mut references = Vec::new();
        for index in 0..count {
            let name = ["r", "s", "t", "u"][index];
            let mut reference = if random.below(2) == 0 {
                map(name, tables[random.below(tables.len())])
            } else {
                at(
                    paths[random.below(paths.len())],
                    name,
                    data[random.below(data.len())],
                )
            };
            reference.literal = random.below(5) == 0;
            reference.optional = random.below(3) == 0;
            if random.below(12) == 0 {
                reference.data = [None, Some(None)][random.below(2)].clone();
            }
            if random.below(3) == 0 {
                reference = secret(reference);
            }
            references.push(reference);
        }
        compare(&mut go, inline[random.below(inline.len())], &references);
    }
}
