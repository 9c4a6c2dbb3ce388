//! Depth and memory are bounded when little text expands to much, for reading and writing.

use flux_budget::Budget;
use flux_yaml::{Error, MAX_DEPTH, Node, Value, json, sigs, v3};

fn lists(levels: usize, inner: &str) -> String {
    format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn aliases_nest_no_deeper_than_what_is_written_out() {
    let expanded = |text: &str| v3::expand(v3::parse(text).unwrap().unwrap(), 1_000_000);
    let fits = format!("a: &a {}\nb: {}\n", lists(100, "x"), lists(155, "*a"));
    expanded(&fits).unwrap();
    for text in [
        format!("a: &a {}\nb: {}\n", lists(100, "x"), lists(156, "*a")),
        format!(
            "a: &a {{k: {}}}\nb: {}\n",
            lists(100, "x"),
            lists(200, "{<<: *a}")
        ),
        format!(
            "a: &a {}\nb: &b {}\nc: {}\n",
            lists(90, "x"),
            lists(90, "*a"),
            lists(90, "*b")
        ),
    ] {
        assert_eq!(
            expanded(&text),
            Err(Error::Limit(format!("exceeded max depth of {MAX_DEPTH}")))
        );
    }
}

#[test]
fn memory_of_documents_is_claimed() {
    let wide = format!("[{}]", vec!["1"; 100_000].join(","));
    let text = format!(
        "s: &s {}\nl: [{}]\n",
        "x".repeat(30_000),
        vec!["*s"; 1000].join(", ")
    );
    let named = format!(
        "s: &s [{}]\nl: [{}]\n",
        vec!["1"; 1000].join(","),
        vec!["*s"; 90].join(", ")
    );
    let budget = Budget::new(4 << 20);
    let claim = budget.claim();
    let memory = |error: Error| match error {
        Error::Convert(inner) => matches!(*inner, Error::Memory(_)),
        other => matches!(other, Error::Memory(_)),
    };
    for text in [&wide, &text, &named] {
        let read = v3::parse_within(text, &claim)
            .and_then(|document| v3::expand_within(document.unwrap(), 10_000_000, &claim));
        assert!(memory(read.unwrap_err()), "{text:.40}");
        claim.give_back(u64::MAX);
        for read in [
            sigs::yaml_to_json_within(text, &claim),
            sigs::from_str_within(text, &claim),
            sigs::from_str_strict_within(text, &claim),
        ] {
            assert!(memory(read.unwrap_err()), "{text:.40}");
            claim.give_back(u64::MAX);
        }
    }
    assert!(memory(json::from_str_within(&wide, &claim).unwrap_err()));
    claim.give_back(u64::MAX);

    // After reading, the claim holds only what is still there.
    let small = "s: &s [1, 2]\nl: [*s, *s]\nm: {a: b}\n";
    let many: String = (0..200)
        .map(|at| format!("k{at}: {{a: [1, 2], b: x}}\n"))
        .collect();
    let plain = sigs::yaml_to_json_within(&many, &claim).unwrap();
    let held = claim.held();
    claim.give_back(u64::MAX);
    let by_tree = sigs::yaml_to_json_within(format!("{many}z: !!str x\n"), &claim).unwrap();
    assert_eq!(plain.get("k7"), by_tree.get("k7"));
    assert!(
        held > 16 << 10 && claim.held() < 2 * held,
        "{held} {}",
        claim.held()
    );
    assert!(sigs::yaml_to_json_within(small, &claim).is_ok());
}

#[test]
fn values_nested_too_deep_are_not_written() {
    let mut value = Value::Null;
    let mut node = Node::null();
    for level in 0..700 {
        let written = [
            sigs::to_string(&value),
            sigs::to_string_in_order(&value),
            json::to_string(&value, json::Escape::Html),
            v3::Encoder::default().value(&value),
            v3::to_string(&node),
        ];
        for text in written {
            assert_eq!(text.is_ok(), level < 513, "{level}: {text:?}");
        }
        value = Value::Seq(vec![value]);
        node = Node::sequence([node]);
    }
    // What can be read as JSON can be written.
    let text = lists(511, "1");
    let read = json::from_str(&text).unwrap();
    assert_eq!(json::to_string(&read, json::Escape::Html).unwrap(), text);
}

#[test]
fn merges_take_as_long_as_what_they_merge() {
    // A hundred thousand keys with one lookup each, not a search among all others.
    let keys: String = (0..100_000).map(|at| format!("k{at}: 1\n")).collect();
    let text = format!("a: &a {{b: 1}}\nc:\n  <<: *a\n{}", keys.replace('k', "  k"));
    let document = v3::parse(&text).unwrap().unwrap();
    let expanded = v3::expand(document, 10_000_000).unwrap();
    let merged = expanded.root().unwrap().get("c").unwrap();
    assert_eq!(merged.entries().len(), 100_001);
    assert_eq!(merged.get("k99999").and_then(Node::as_str), Some("1"));

    // For a key repeated thousands of times not every pair is reported.
    let twice = "a: 1\n".repeat(5000);
    let document = v3::parse(&twice).unwrap().unwrap();
    let Err(Error::Unmarshal(problems)) = v3::to_value(&document) else {
        panic!("repeated keys are errors");
    };
    assert!(problems.len() < 3000, "{}", problems.len());
}

#[test]
fn the_size_of_what_is_written_is_not_underestimated() {
    for text in [
        "a: {b: {c: [1, 2.5, {d: null}, [x, [y]]]}}\n",
        "text: \"a\\nb\\n\\nc\"\nother: \"\\t\\x01\\u00e9\"\n",
        "a: {b: {c: \"one\\ntwo\\n\"}}\n'': ''\nyes: \"true\"\n",
        "a: {b: {c: {d: {e: 'WORDS'}}}}\n",
        "a: 123456789012345678\nb: -1.7976931348623157e308\nc: [[[[1]]]]\n",
    ] {
        let text = text.replace("WORDS", &"ab cd ".repeat(60));
        let value = sigs::from_str(&text).unwrap();
        let size = sigs::to_string(&value).unwrap().len() as u64;
        assert!(sigs::written_bound(&value) >= size, "{text}: {size}");
    }
}
