//! Choosing among tags, and properties that hold for any text.

use flux_semver::{Constraints, Version, latest, parse_tag, sort_descending};
use proptest::prelude::*;

fn range(text: &str) -> Constraints {
    text.parse().unwrap()
}

#[test]
fn tags_need_three_parts() {
    // IR-POL-075, SC-OCI-046
    for tag in ["1.2.3", "v1.2.3", "2025.02.03-rc.1", "v01.2.3+build"] {
        assert_eq!(parse_tag(tag).unwrap().original(), tag);
    }
    for tag in ["1.2", "v1", "1.0.0.1", "1.0.0p", "b1.0.0", "latest", ""] {
        assert!(parse_tag(tag).is_err(), "{tag}");
    }
}

#[test]
fn invalid_ranges_are_errors() {
    // IR-POL-071
    for text in ["", "a", "1x", "x1", "-1", "1.0.0p", "*-*"] {
        assert!(Constraints::parse(text).is_err(), "{text:?}");
    }
}

#[test]
fn ranges_have_a_grammar() {
    for (row, text, version, want) in [
        ("IR-POL-072", "=1.2.3", "1.2.3", true),
        ("IR-POL-072", "!=1.2.3", "1.2.3", false),
        ("IR-POL-072", "=>1.2", "1.2.0", true),
        ("IR-POL-072", "=<1.2.3", "1.2.4", false),
        ("IR-POL-072", "~>1.2.3", "1.2.9", true),
        ("IR-POL-072", "^1.2.3", "2.0.0", false),
        ("IR-POL-072", "1.X", "1.9.0", true),
        ("IR-POL-072", "1.2 - 1.4", "1.3.0", true),
        ("IR-POL-072", ">1.2, <1.4", "1.4.0", false),
        ("IR-POL-072", ">1.2 <1.4", "1.3.0", true),
        ("IR-POL-072", "<1 || >2", "3.0.0", true),
        ("IR-POL-073", "1.0", "1.0.7", true),
        ("IR-POL-073", "1.0.x", "1.1.0", false),
        ("IR-POL-073", "1.0.0", "1.0.1", false),
        ("IR-POL-074", ">=1.0.0", "1.1.0-rc.1", false),
        ("IR-POL-074", ">=1.0.0-0", "1.1.0-rc.1", true),
        ("IR-POL-074", ">=1.0.0-0 <2.0.0", "1.1.0-rc.1", true),
        ("IR-POL-074", "<1.0.0-0 || >1.0.0", "1.1.0-rc.1", false),
        ("IR-POL-074", "^1.x-0", "1.1.0-rc.1", true),
    ] {
        let found = range(text).check(&Version::parse(version).unwrap());
        assert_eq!(found, want, "{row}: {version} in {text:?}");
    }
    // IR-POL-072
    let groups = |count: usize| Constraints::parse(&vec!["1"; count].join("||"));
    assert!(groups(32).is_ok() && groups(33).is_err());
    assert!(Constraints::parse(&format!("1{}", " ".repeat(512))).is_err());
    assert!(Version::parse(&format!("1.0.0-{}", "a".repeat(256))).is_err());
}

#[test]
fn the_highest_tag_in_range_keeps_its_spelling() {
    // IR-POL-076
    let tags = ["1.9.0", "v1.10.0", "v2.0.0-rc.1", "1.2"];
    assert_eq!(latest(&range("^1"), tags).unwrap().original(), "v1.10.0");
    assert_eq!(
        latest(&range(">1-0"), tags).unwrap().original(),
        "v2.0.0-rc.1"
    );
    assert!(latest(&range("^3"), tags).is_none());
}

#[test]
fn of_equal_versions_the_first_wins() {
    // IR-POL-077
    assert_eq!(
        latest(&range("*"), ["v1.0.0", "1.0.0"]).unwrap().original(),
        "v1.0.0"
    );
    let sorted = sort_descending(&range("*"), ["1.0.0+a", "2.0.0", "1.0.0+b"]);
    let sorted: Vec<_> = sorted.iter().map(Version::original).collect();
    assert_eq!(sorted, ["2.0.0", "1.0.0+a", "1.0.0+b"]);
}

proptest! {
    #[test]
    fn parsers_never_panic(text in "[0-9xX*v.+|<>=!~^, a-z\u{e9}\t-]{0,40}") {
        let range = Constraints::parse(&text);
        for read in [Version::parse(&text), Version::parse_strict(&text)].into_iter().flatten() {
            prop_assert_eq!(read.original(), &text);
            prop_assert_eq!(&Version::parse(&read.to_string()).unwrap(), &read);
            if let Ok(range) = &range {
                prop_assert_eq!(range.validate(&read).is_ok(), range.check(&read));
            }
        }
    }

    #[test]
    fn order_is_total(texts in prop::collection::vec("[0-2]\\.[0-2]\\.[0-2](-[a-b0-2]{1,2}(\\.[a-b1-2]{1,2})?)?", 3)) {
        let mut versions: Vec<_> = texts.iter().filter_map(|t| Version::parse(t).ok()).collect();
        versions.sort();
        for pair in versions.windows(2) {
            prop_assert!(pair[0] <= pair[1]);
            prop_assert_eq!(pair[0].cmp(&pair[1]), pair[1].cmp(&pair[0]).reverse());
        }
        if let [a, b, c] = versions.as_slice() {
            prop_assert!(a <= c && a <= b && b <= c);
        }
    }
}
