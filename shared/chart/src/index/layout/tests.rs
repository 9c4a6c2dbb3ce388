//! Which texts have a layout.

use std::io::Cursor;

use super::*;

fn layout(text: &str) -> Option<Layout> {
    find(
        &mut Cursor::new(text),
        &Budget::unlimited(),
        &Claim::unlimited(),
    )
    .unwrap()
}

/// The header and the parts of a text that has a layout.
fn parts(text: &str) -> Option<(String, Vec<(String, &str)>)> {
    let found = layout(text)?;
    let charts = found.charts.into_iter().flatten().map(|(name, range)| {
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        (name, text.get(range).unwrap())
    });
    Some((String::from_utf8(found.header).unwrap(), charts.collect()))
}

#[test]
fn charts_are_found_by_indentation() {
    let text = "apiVersion: v1\nentries:\n  a:\n  - name: a\n    description: |\n      b:\n\n  # comment\n  \"b-2\": # x\n    - name: b-2\ngenerated: x\nannotations:\n  c: d\n";
    let (header, charts) = parts(text).unwrap();
    assert_eq!(
        header,
        "apiVersion: v1\ngenerated: x\nannotations:\n  c: d\n"
    );
    assert_eq!(
        charts,
        [
            (
                "a".to_owned(),
                "  a:\n  - name: a\n    description: |\n      b:\n\n  # comment\n"
            ),
            ("b-2".to_owned(), "  \"b-2\": # x\n    - name: b-2\n"),
        ]
    );
}

#[test]
fn charts_are_found_by_brackets() {
    let text = r#" {"apiVersion":"v1" , "entries": {"a\n": [{"b":"}\"]"}] ,"b":null}, "x": [1, {"y": 2}]} "#;
    let (header, charts) = parts(text).unwrap();
    assert_eq!(header, r#"{"apiVersion":"v1" ,"x":[1, {"y": 2}]}"#);
    assert_eq!(
        charts,
        [
            ("a\n".to_owned(), r#"[{"b":"}\"]"}] "#),
            ("b".to_owned(), "null")
        ]
    );
}

#[test]
fn without_charts_there_are_none() {
    for text in [
        "apiVersion: v1\n",
        "apiVersion: v1\nentries:\n",
        "---\na: b",
        "{}",
    ] {
        assert_eq!(
            layout(text).map(|layout| layout.charts),
            Some(None),
            "{text}"
        );
    }
    let empty = layout(r#"{"entries": {}}"#).and_then(|layout| layout.charts);
    assert_eq!(empty, Some(Vec::new()));
}

#[test]
fn what_only_a_parser_can_judge_has_no_layout() {
    for text in [
        "a: b\n---\nc: d\n",
        "? a\n: b\n",
        "entries: {}\n",
        "entries: {a: []}\n",
        "entries:\n  a: &x\n  - b\n",
        "entries:\n  a: []\n",
        "entries:\n    a:\n    - b\n  c:\n    - d\n",
        "entries:\n  a:\nentries:\n  b:\n",
        "entries:\n  \"a\\n\":\n",
        "\"entries\":\n  a:\n",
        "%YAML 1.1\n---\na: b\n",
        "a: b\n\u{feff}c: d\n",
        "[1]",
        r#"{"entries": []}"#,
        r#"{"entries": {}, "entries": {}}"#,
        r#"{"Entries": {}}"#,
        r#"{"a": 1,}"#,
        r#"{"entries": {"a": [],}}"#,
        r#"{"a" 1}"#,
        r#"{"a": 1} x"#,
        r#"{"a": 1"#,
        r#"{"a"#,
    ] {
        assert_eq!(layout(text), None, "{text}");
    }
}

#[test]
fn nothing_is_not_an_index() {
    let found = find(
        &mut Cursor::new(""),
        &Budget::unlimited(),
        &Claim::unlimited(),
    );
    assert!(matches!(found, Err(IndexError::Empty)));
}
