//! Tests of the meaning of expressions, and of invalid ones.

use super::{CACHED, COPIES, Cache, Regex};

#[test]
fn expressions_match_as_in_go() {
    for (pattern, text, matches) in [
        ("^a.c$", "abc", true),
        (r"^\d+$", "١٢", false),
        (r"^\d{2}$", "12", true),
        (r"[[a]", "[", true),
        (r"^[a&&b]$", "&", true),
        (r"^[^]a]$", "]", false),
        (r"^a{b}$", "a{b}", true),
        (r"^a{,2}$", "a{,2}", true),
        (r"^\Qa.b\E$", "axb", false),
        (r"^[[:alpha:]]+$", "abc", true),
        (r"^[\w-]+$", "a-b", true),
        (r"^\pL$", "é", true),
        (r"^\p{Greek}$", "α", true),
    ] {
        assert_eq!(
            Regex::compile(pattern.as_bytes()).unwrap().is_match(text),
            matches,
            "{pattern}"
        );
    }
}

#[test]
fn expressions_refused_by_go_are_refused_with_its_message() {
    // KZ-PAT-010
    for (pattern, text) in [
        ("^(?:[)$", "missing closing ]: `[)$`"),
        ("^(?:()$", "missing closing ): `^(?:()$`"),
        ("^(?:))$", "unexpected ): `^(?:))$`"),
        ("^(?:*a)$", "missing argument to repetition operator: `*`"),
        ("^(?:a**)$", "invalid nested repetition operator: `**`"),
        (r"^(?:\y)$", r"invalid escape sequence: `\y`"),
        ("^(?:a{2,1})$", "invalid repeat count: `{2,1}`"),
        ("^(?:a{1001})$", "invalid repeat count: `{1001}`"),
        ("^(?:[z-a])$", "invalid character class range: `z-a`"),
        ("^(?:(?=a))$", "invalid or unsupported Perl syntax: `(?=`"),
        ("^(?:(?z))$", "invalid or unsupported Perl syntax: `(?z`"),
        (r"^(?:a\)$", r"missing closing ): `^(?:a\)$`"),
        (
            "^(?:[[:foo:]])$",
            "invalid character class range: `[:foo:]`",
        ),
        ("^(?:(?P<n)$", "invalid named capture: `(?P<n)$`"),
        (
            "^(?:x{2}{3})$",
            "invalid nested repetition operator: `{2}{3}`",
        ),
        ("^(?:++)$", "missing argument to repetition operator: `+`"),
        ("a\\", "trailing backslash at end of expression: ``"),
    ] {
        let expected = format!("error parsing regexp: {text}");
        assert_eq!(
            Regex::compile(pattern.as_bytes()).unwrap_err().to_string(),
            expected,
            "{pattern}"
        );
    }
}

#[test]
fn expressions_accepted_by_go_are_accepted() {
    // KZ-PAT-010
    for pattern in [
        "",
        "a|b",
        "(a)(?:b)(?P<n>c)(?<m>d)",
        "(?i)a",
        "(?i-s:a)",
        "[]a]",
        "[^]]",
        "[a-]",
        "[-a]",
        "[a-z0-9]",
        r"[\w-.]",
        r"[\d]+?",
        "a{",
        "a{,3}",
        "a{2}",
        "a{2,}",
        "a{2,3}?",
        r"\.",
        r"\Qa*\E*",
        r"\pL\p{Greek}\x41\x{1F600}",
        "[[:alpha:]]",
        "[[a]",
        "a*?",
        "é+",
        r"\07",
    ] {
        assert!(Regex::compile(pattern.as_bytes()).is_ok(), "{pattern}");
    }
}

#[test]
fn the_cache_is_bounded_by_bytes_and_evicts_the_oldest() {
    let mut cache = Cache::default();
    let regex = std::sync::Arc::new(Regex::compile(b"a").unwrap());
    let size = CACHED / COPIES / 4 - 10;
    for pattern in ["a", "b", "c"] {
        cache.insert(pattern.as_bytes(), regex.clone(), size);
    }
    cache.get(b"a").unwrap();
    for pattern in ["d", "e"] {
        cache.insert(pattern.as_bytes(), regex.clone(), size);
        assert!(cache.bytes <= CACHED);
    }
    let kept = ["a", "b", "c", "d", "e"].map(|pattern| cache.get(pattern.as_bytes()).is_some());
    assert_eq!(kept, [true, false, true, true, true]);
    cache.insert(b"huge", regex.clone(), CACHED);
    assert!(cache.get(b"huge").is_none() && cache.kept.len() == 4);
    // One expression counts once.
    let before = cache.bytes;
    cache.insert(b"a", regex, size);
    assert_eq!(cache.bytes, before);
}

#[test]
fn large_expressions_are_compiled_but_not_cached() {
    let pattern = r"\pL{10}".repeat(5);
    let (one, other) = (
        Regex::cached(pattern.as_bytes()).unwrap(),
        Regex::cached(pattern.as_bytes()).unwrap(),
    );
    assert!(!std::sync::Arc::ptr_eq(&one, &other));
    assert!(one.is_match("é".repeat(50)));
    let (one, other) = (Regex::cached(b"x+").unwrap(), Regex::cached(b"x+").unwrap());
    assert!(std::sync::Arc::ptr_eq(&one, &other));
}

// IR-POL-087, IR-POL-088
#[test]
fn a_template_expands_to_the_groups_of_the_first_match() {
    for (pattern, text, template, expected) in [
        (
            r"v(?P<minor>\d+)\.(\d+)",
            "app-v1.2-v3.4",
            "$minor",
            Some("1"),
        ),
        (
            r"v(?P<minor>\d+)\.(\d+)?",
            "v1.",
            "x${minor}y${2}z",
            Some("x1yz"),
        ),
        (r"(\d+)", "v12", "$1x", Some("")),
        (r"(\d+)", "v12", "${1}x-$$-$", Some("12x-$-$")),
        (r"^(\d+)$", "v12", "$1", None),
        (r"(.*)", "12345678", "$1$1", None),
    ] {
        let regex = Regex::compile(pattern.as_bytes()).unwrap();
        let found = regex.expand_first(text.as_bytes(), template.as_bytes(), 15);
        assert_eq!(
            found.as_deref(),
            expected.map(str::as_bytes),
            "{pattern} {template}"
        );
    }
}
