//! Ignore rules built to take long, or to take much memory.

use flux_ignore::{Filter, IgnoreError, MAX_TEXT, Patterns};

fn filter(text: &str) -> Filter {
    let mut patterns = Patterns::new();
    patterns.read("", text).unwrap();
    Filter::for_source(patterns)
}

/// How many of `count` paths a filter decides within a million steps.
fn answered(text: &str, count: usize, path: impl Fn(usize) -> String) -> usize {
    let filter = filter(text).with_steps(1_000_000);
    (0..count)
        .take_while(|number| filter.excludes(path(*number), false).is_ok())
        .count()
}

// SC-ART-074
#[test]
fn patterns_without_wildcards_cost_nothing_for_paths_that_do_not_have_their_names() {
    let names: String = (0..60_000).map(|number| format!("n{number}\n")).collect();
    let rooted: String = (0..60_000)
        .map(|number| format!("/n{number}/x\n"))
        .collect();
    for text in [names, rooted] {
        assert_eq!(
            answered(&text, 10_000, |number| format!("a/b{number}/c")),
            10_000
        );
        let filter = filter(&text);
        assert!(filter.excludes("n59999/x", false).unwrap());
        assert!(!filter.excludes("n60000/x", false).unwrap());
    }
}

#[test]
fn patterns_of_other_folders_cost_nothing() {
    let mut patterns = Patterns::new();
    for number in 0..20_000 {
        patterns.read(format!("d{number}"), "*.x*y\n").unwrap();
    }
    let filter = Filter::for_source(patterns).with_steps(1_000_000);
    for number in 0..20_000 {
        let excluded = filter.excludes(format!("d{number}/a.xy"), false);
        assert!(excluded.unwrap());
    }
}

// SC-ART-074
#[test]
fn matching_is_limited() {
    let wild: String = (0..30_000).map(|number| format!("*{number}*x\n")).collect();
    let stars = format!("{}b\n", "*a".repeat(2_000));
    let classes = format!("*{}b\n", "[a-z]".repeat(200));
    let folders = format!("{}x\n", "**/a*b/".repeat(500));
    for text in [&wild, &stars, &classes, &folders] {
        let long = "a".repeat(4_000);
        let count = answered(text, 100_000, |number| format!("{number}/{long}/{long}"));
        assert!(count < 100_000);
        let filter = filter(text).with_steps(10);
        assert!(matches!(
            filter.excludes(&long, false),
            Err(IgnoreError::TooSlow { .. })
        ));
    }
    let error = filter("*a*\n").with_steps(5).excludes("bbbbbbbb", false);
    assert_eq!(
        error.unwrap_err().to_string(),
        "matching 5 ignore patterns takes too long: use fewer patterns, or such without wildcards"
    );
}

// SC-ART-074
#[test]
fn rules_are_limited_in_size() {
    let line = format!("{}\n", "x".repeat(60_000));
    let mut patterns = Patterns::new();
    let count = MAX_TEXT / 60_000;
    patterns.read("a/b", line.repeat(count)).unwrap();
    assert_eq!(
        patterns.read("a/b", &line).unwrap_err().to_string(),
        "more than 1048576 bytes of ignore patterns, the last in 'a/b'"
    );
    // Comments are not counted.
    let mut patterns = Patterns::new();
    patterns.read("", format!("#{line}").repeat(100)).unwrap();
    // The names of folders are.
    let folder = "f".repeat(4_000);
    let read = (0..300).try_for_each(|number| patterns.read(format!("{number}{folder}"), "a\n"));
    assert!(matches!(read, Err(IgnoreError::TooLarge { .. })));
}
