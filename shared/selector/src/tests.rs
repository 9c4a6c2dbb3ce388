//! Tests of what selectors match, and of invalid selectors.

use std::collections::BTreeMap;

use super::Selector;

#[test]
fn requirements_match_labels() {
    // KZ-PAT-013, RT-WAT-005
    let labels = BTreeMap::from([
        ("app", "web"),
        ("tier", "a"),
        ("n", "5"),
        ("x.io/y", ""),
        ("text", "x"),
    ]);
    for (text, holds) in [
        ("", true),
        (" ", true),
        ("app=web", true),
        ("app==web , tier in (a, b)", true),
        ("app!=web", false),
        ("other!=web", true),
        ("tier notin (b,c)", true),
        ("other notin (b)", true),
        ("tier in (b)", false),
        ("tier in (b,)", false),
        ("x.io/y in (b,)", true),
        ("x.io/y in ()", true),
        ("x.io/y", true),
        ("x.io/y=", true),
        ("!old", true),
        ("!app", false),
        ("n>4,n<6", true),
        ("n > 4", true),
        ("n>5", false),
        ("n<5", false),
        ("text>1", false),
        ("other>1", false),
        ("example.com/x=1", false),
        ("in in (in)", false),
    ] {
        let selector = Selector::parse(text).unwrap();
        assert_eq!(
            selector.matches(|key| labels.get(key).copied()),
            holds,
            "{text}"
        );
        assert_eq!(
            Selector::parse(&selector.to_string()),
            Ok(selector),
            "{text}"
        );
    }
}

#[test]
fn malformed_selectors_are_refused() {
    // RT-WAT-005
    for text in [
        "a b",
        "a in",
        "a in web",
        "=x",
        "a,",
        "a in (b",
        "a.b/c/d=x",
        "x=-",
        "a>b",
        "!a=b",
        "app=(web)",
        "tier of (a)",
        "a=b c",
        "a,,b",
        "/a=b",
        "-a",
        "a within (b)",
        "!",
        "A.b/c",
        "a=b_",
    ] {
        assert!(Selector::parse(text).is_err(), "{text}");
    }
}

#[test]
fn kustomize_selectors_have_their_own_error_messages() {
    // KZ-PAT-013
    for (text, message) in [
        ("a b", "found 'b', expected: '=', '!=', '==', 'in', notin'"),
        (
            "a>b",
            "for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ("a in (b", "found '', expected: ',' or ')'"),
        (
            "-a",
            "invalid label key \"-a\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        ),
        (
            "a=-",
            "invalid label value: \"-\": at key: \"a\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ),
    ] {
        let error = Selector::parse(text).unwrap_err();
        assert_eq!(
            error.kustomize_text(),
            format!("unable to parse requirement: {message}"),
            "{text}"
        );
    }
}
