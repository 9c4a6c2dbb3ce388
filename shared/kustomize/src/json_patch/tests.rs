//! Tests of JSON patches against the library's results.

use super::*;

fn run(document: &str, patch: &str) -> std::result::Result<String, String> {
    let document = flux_yaml::json::from_str(document).unwrap();
    let meter = Meter::unlimited();
    JsonPatch::parse(patch.as_bytes(), false, &meter)
        .and_then(|patch| patch.apply(document, &meter))
        .map(|value| crate::go::json(&value))
        .map_err(|fail| fail.message)
}

#[test]
fn operations_match_the_library() {
    let ok = |text: &str| Ok(text.to_owned());
    let err = |text: &str| Err(text.to_owned());
    for (document, patch, want) in [
        // KZ-J69-003
        (
            r#"{"a":1}"#,
            r#"[{"op":"add","path":"/b","value":2}]"#,
            ok(r#"{"a":1,"b":2}"#),
        ),
        (
            "{}",
            r#"[{"op":"add","path":"/a/b","value":2}]"#,
            err(r#"add operation does not apply: doc is missing path: "/a/b": missing value"#),
        ),
        // KZ-J69-004, KZ-J69-009
        (
            r#"{"a":[1,2]}"#,
            r#"[{"op":"add","path":"/a/1","value":9}]"#,
            ok(r#"{"a":[1,9,2]}"#),
        ),
        (
            r#"{"a":[1,2]}"#,
            r#"[{"op":"add","path":"/a/-","value":9}]"#,
            ok(r#"{"a":[1,2,9]}"#),
        ),
        (
            r#"{"a":[1,2]}"#,
            r#"[{"op":"add","path":"/a/-1","value":9}]"#,
            ok(r#"{"a":[1,2,9]}"#),
        ),
        (
            r#"{"a":[1]}"#,
            r#"[{"op":"add","path":"/a/5","value":9}]"#,
            err(
                "error in add for path: '/a/5': Unable to access invalid index: 5: invalid index referenced",
            ),
        ),
        (
            r#"{"a":[1,2]}"#,
            r#"[{"op":"remove","path":"/a/-1"}]"#,
            ok(r#"{"a":[1]}"#),
        ),
        // KZ-J69-005
        (
            r#"{"a":1}"#,
            r#"[{"op":"remove","path":"/b"}]"#,
            err(
                "error in remove for path: '/b': Unable to remove nonexistent key: b: missing value",
            ),
        ),
        // KZ-J69-006
        (
            r#"{"a":1}"#,
            r#"[{"op":"replace","path":"/b","value":2}]"#,
            ok(r#"{"a":1,"b":2}"#),
        ),
        (
            r#"{"a":[]}"#,
            r#"[{"op":"replace","path":"/a/0","value":2}]"#,
            err("replace operation does not apply: doc is missing key: /a/0: missing value"),
        ),
        // KZ-J69-007, KZ-J69-008
        (
            r#"{"a":{"b":[1]}}"#,
            r#"[{"op":"test","path":"/a","value":{"b":[1]}}]"#,
            ok(r#"{"a":{"b":[1]}}"#),
        ),
        (
            r#"{"a":1}"#,
            r#"[{"op":"test","path":"/a","value":2}]"#,
            err("testing value /a failed: test failed"),
        ),
        (
            "{}",
            r#"[{"op":"test","path":"/a","value":null}]"#,
            ok("{}"),
        ),
        // KZ-J69-010
        (
            r#"{"a":{}}"#,
            r#"[{"op":"add","path":"/a/x~1y~0z","value":1}]"#,
            ok(r#"{"a":{"x/y~z":1}}"#),
        ),
        // KZ-J69-011
        (
            r#"{"a":1}"#,
            r#"[{"op":"replace","path":"","value":{"b":2}}]"#,
            ok(r#"{"b":2}"#),
        ),
        // KZ-J69-002
        (
            "{}",
            r#"[{"op":"frob","path":"/a"}]"#,
            err("Unexpected kind: frob"),
        ),
        (
            r#"{"a":1}"#,
            r#"[{"op":"move","from":"/a","path":"/b"}]"#,
            ok(r#"{"b":1}"#),
        ),
        (
            r#"{"a":1}"#,
            r#"[{"op":"copy","from":"/a","path":"/b"}]"#,
            ok(r#"{"a":1,"b":1}"#),
        ),
        // KZ-J69-001
        (
            r#"{"a":1}"#,
            "- op: add\n  path: /b\n  value: x",
            ok(r#"{"a":1,"b":"x"}"#),
        ),
    ] {
        assert_eq!(run(document, patch), want, "{patch}");
    }
}
