//! This crate against the real libraries, on random documents and values.
//!
//! `FLUX_ORACLE_CASES` sets the number of cases per test, `FLUX_ORACLE_SEED` the first seed.

mod generate;

use flux_yaml::{Kind, Node, Style, Value, json, sigs, v3};
use generate::Random;
use oracle::{Answer, Oracle, base64};
use serde_json::{Value as Json, json};

/// Runs random cases: `make` generates the input, `mode` is asked of Go, `ours` does the same here.
fn compare<I: AsRef<[u8]>>(
    mode: &str,
    indent: u8,
    default: usize,
    make: impl Fn(&mut Random) -> I,
    ours: impl Fn(&I) -> Result<String, String>,
) {
    let Some(mut go) = Oracle::start("yaml") else {
        return;
    };
    let total = oracle::cases(default);
    let mut random = Random::new(oracle::seed());
    let mut failed = 0;
    let mut errors = 0;
    // Cases in which the end of a buffer decides which error comes first.
    let mut near = 0;
    for batch in 0..total.div_ceil(500) {
        let count = 500.min(total - batch * 500);
        let inputs: Vec<I> = (0..count).map(|_| make(&mut random)).collect();
        let questions: Vec<Json> = inputs
            .iter()
            .map(|input| json!({"mode": mode, "indent": indent, "input": base64(input.as_ref())}))
            .collect();
        let answers = go.ask_all(&questions);
        for (at, (input, answer)) in inputs.iter().zip(answers).enumerate() {
            // Go escapes bytes that are not UTF-8.
            let theirs = placed(answer)
                .text()
                .map(|text| text.replace("\\ufffd", "\u{FFFD}"));
            errors += usize::from(theirs.is_err());
            let ours = ours(input);
            if matches!(&ours, Err(error) if ours != theirs && READER_ERRORS.contains(&error.as_str()))
            {
                near += 1;
                continue;
            }
            let settled = ours == theirs
                || excused(&ours, &theirs)
                || ours.is_ok() && is_random(&mut go, &questions[at]);
            if !settled {
                failed += 1;
                if failed <= 10 {
                    report(mode, input.as_ref(), &ours, &theirs);
                }
            }
        }
    }
    println!(
        "{mode}: {total} cases, {errors} of them errors, {near} near a bad character, {failed} different"
    );
    assert_eq!(failed, 0, "{mode}: {failed} of {total} cases differ");
    assert!(
        near <= 2 + total / 500,
        "{mode}: {near} of {total} cases end at another bad character"
    );
}

/// Whether Go's answers vary: the order of some keys follows that of its maps (HE-YAML-004).
fn is_random(go: &mut Oracle, question: &Json) -> bool {
    let first = go.ask(question);
    (0..20).any(|_| go.ask(question) != first)
}

fn report(
    mode: &str,
    input: &[u8],
    ours: &Result<String, String>,
    theirs: &Result<String, String>,
) {
    let input = String::from_utf8_lossy(input);
    println!("---- {mode} {input:?}\n{input}\n-- theirs {theirs:?}\n-- ours   {ours:?}");
    if let (Ok(ours), Ok(theirs)) = (ours, theirs) {
        println!("-- theirs\n{theirs}\n-- ours\n{ours}");
    }
}

/// Errors about forbidden characters (HE-YAML-019).
const READER_ERRORS: &[&str] = &[
    "yaml: control characters are not allowed",
    "yaml: incomplete UTF-8 octet sequence",
    "yaml: invalid leading UTF-8 octet",
    "yaml: invalid trailing UTF-8 octet",
    "yaml: invalid length of a UTF-8 sequence",
    "yaml: invalid Unicode character",
    "yaml: incomplete UTF-16 character",
    "yaml: expected low surrogate area",
    "yaml: unexpected low surrogate area",
];

/// Where upstream panics, an error of ours is right. Of several bad keys it reports a random one, and it prints keys
/// with their Go types.
fn excused(ours: &Result<String, String>, theirs: &Result<String, String>) -> bool {
    if matches!(theirs, Err(error) if error.ends_with("value contains itself")) {
        // The oracle checks for cycles first, since kyaml would recurse forever: other errors may precede it, and an
        // alias below a text key `<<` is dropped before it is reached.
        return true;
    }
    let (Err(ours), Err(theirs)) = (ours, theirs) else {
        return false;
    };
    let both = |start: &str| ours.starts_with(start) && theirs.starts_with(start);
    theirs.starts_with("panic: ")
        || both("unsupported map key of type")
        || both("json: unsupported ")
        || both("yaml: invalid map key: ")
}

fn show<T>(result: Result<T, flux_yaml::Error>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

fn as_json(mut value: Value) -> Result<String, flux_yaml::Error> {
    value.sort_keys();
    json::to_string(&value, json::Escape::Html)
}

#[test]
fn sigs_reads_documents_as_in_go() {
    compare("sigs-to-json", 0, 3000, generate::bytes, |input| {
        show(sigs::yaml_to_json(input).and_then(as_json))
    });
}

#[test]
fn sigs_reads_documents_strictly_as_in_go() {
    compare("sigs-to-json-strict", 0, 2000, generate::bytes, |input| {
        show(sigs::yaml_to_json_strict(input).and_then(as_json))
    });
}

// HE-TEST-003
#[test]
fn sigs_writes_values_as_in_go() {
    compare(
        "sigs-from-json",
        0,
        3000,
        |r| generate::value(r, 4).to_string(),
        |input| show(sigs::json_to_yaml(input)),
    );
}

// HE-YAML-001 HE-YAML-017
#[test]
fn sigs_documents_round_trip_as_in_go() {
    compare(
        "sigs-round-trip",
        0,
        2000,
        |r| generate::value(r, 4).to_string(),
        |input| {
            show(sigs::from_str(input).and_then(|mut value| {
                value.floats_only();
                sigs::to_string(&value)
            }))
        },
    );
}

fn round_trip(input: &[u8], encoder: v3::Encoder) -> Result<String, String> {
    show(v3::parse_all(input).and_then(|documents: Vec<Node>| encoder.stream(&documents)))
}

#[test]
fn v3_documents_round_trip_as_in_go() {
    compare("v3-round-trip", 0, 3000, generate::bytes, |input| {
        round_trip(input, v3::Encoder::default())
    });
}

#[test]
fn v3_documents_with_two_columns_round_trip_as_in_go() {
    compare("v3-round-trip", 2, 2000, generate::bytes, |input| {
        round_trip(input, v3::Encoder::default().indent(2))
    });
}

#[test]
fn kyaml_documents_round_trip_as_in_go() {
    compare("kyaml-round-trip", 0, 3000, generate::bytes, |input| {
        round_trip(input, v3::Encoder::kyaml())
    });
}

// HE-YAML-021
#[test]
fn v3_writes_values_as_in_go() {
    compare(
        "v3-from-json",
        2,
        3000,
        |r| generate::value(r, 4).to_string(),
        |input| {
            show(json::from_str(input).and_then(|mut value| {
                value.floats_only();
                v3::Encoder::default().indent(2).value(&value)
            }))
        },
    );
}

#[test]
fn v3_reads_values_as_in_go() {
    compare("v3-to-json", 0, 2000, generate::bytes, |input| {
        let value = v3::parse(input).and_then(|document| match document {
            Some(document) => v3::to_value(&document),
            None => Ok(Value::Null),
        });
        show(value.and_then(as_json))
    });
}

#[test]
fn anchors_are_expanded_as_in_go() {
    compare("kyaml-deanchor", 0, 2000, generate::bytes, |input| {
        let Some(document) = show(v3::parse(input))? else {
            return Err("EOF".to_owned());
        };
        show(v3::expand(document, 100_000).and_then(|node| v3::to_string(&node)))
    });
}

/// An answer without the positions of omitted values: yaml.v3 takes them from a token that may have been overwritten.
fn placed(answer: Answer) -> Answer {
    fn clear(node: &mut Json) {
        if node["kind"] == "scalar" && node["value"] == "" && node["style"] == 0 {
            node["row"] = json!(0);
            node["column"] = json!(0);
        }
        for child in node["content"].as_array_mut().into_iter().flatten() {
            clear(child);
        }
    }
    match answer {
        Answer::Output(Json::Array(mut documents)) => {
            documents.iter_mut().for_each(clear);
            Answer::Output(Json::Array(documents))
        }
        other => other,
    }
}

/// A node in the oracle's form: everything yaml.v3 knows about it.
fn describe(node: &Node) -> Json {
    let kind = match node.kind {
        Kind::Document => "document",
        Kind::Mapping => "mapping",
        Kind::Sequence => "sequence",
        Kind::Scalar => "scalar",
        Kind::Alias => "alias",
    };
    let style: u32 = [
        (Style::TAGGED, 1),
        (Style::DOUBLE_QUOTED, 2),
        (Style::SINGLE_QUOTED, 4),
        (Style::LITERAL, 8),
        (Style::FOLDED, 16),
        (Style::FLOW, 32),
    ]
    .into_iter()
    .filter(|(style, _)| node.style.has(*style))
    .map(|(_, bit)| bit)
    .sum();
    let placed = u32::from(!(kind == "scalar" && node.value.is_empty() && style == 0));
    json!({
        "kind": kind, "style": style, "tag": node.tag, "value": node.value,
        "anchor": node.anchor.as_deref().unwrap_or_default(),
        "head": node.head_comment(), "line": node.line_comment(), "foot": node.foot_comment(),
        "row": node.line * placed, "column": node.column * placed,
        "content": node.content.iter().map(describe).collect::<Vec<_>>(),
    })
}

// Positions, styles, tags and comments of every node.
#[test]
fn v3_reads_trees_as_in_go() {
    compare("v3-tree", 0, 3000, generate::bytes, |input| {
        let documents = show(v3::parse_all(input))?;
        let trees: Json = documents.iter().map(describe).collect();
        Ok(trees.to_string())
    });
}
