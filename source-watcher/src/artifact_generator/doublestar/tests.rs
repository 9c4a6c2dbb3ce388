//! Patterns of excludes and of tarballs.

use super::*;

fn matches(pattern: &str, path: &str) -> bool {
    let pattern = Doublestar::compile(pattern).unwrap();
    pattern.matches(path, &Steps::default()).unwrap()
}

// SW-GEN-170, SW-GEN-153
#[test]
fn patterns_match_as_doublestar_does() {
    for (pattern, path, expected) in [
        ("abc", "abc", true),
        ("abc", "ab", false),
        ("*", "abc", true),
        ("*", "a/b", false),
        ("*c", "abc", true),
        ("a*/b", "abc/b", true),
        ("a*/b", "a/c/b", false),
        ("a*b*c*d*e*", "axbxcxdxexxx", true),
        ("a*b?c*x", "abxbbxdbxebxczzy", false),
        ("a?c", "abc", true),
        ("a?c", "a/c", false),
        ("[a-c]x", "bx", true),
        ("[^a-c]x", "bx", false),
        ("[!a-c]x", "dx", true),
        ("[\\]a]x", "]x", true),
        ("[a-]x", "-x", true),
        ("a\\*b", "a*b", true),
        ("a\\*b", "axb", false),
        // `**` is for any number of folders, if it is a segment of its own
        ("**", "a/b/c", true),
        ("**/c", "c", true),
        ("**/c", "a/b/c", true),
        ("**/c", "a/b/xc", false),
        ("a/**", "a", true),
        ("a/**", "a/b/c", true),
        ("a/**", "ab", false),
        ("a/**/c", "a/c", true),
        ("a/**/c", "a/x/y/c", true),
        ("a/**/c", "ax/c", false),
        ("a/**/**/c", "a/c", true),
        ("a/**/*.md", "a/b/c.md", true),
        ("a**/c", "ab/c", true),
        ("a**/c", "a/b/c", false),
        ("**c", "abc", true),
        ("**c", "a/bc", false),
        ("a/**/", "a", true),
        // alternatives
        ("{a,b}", "b", true),
        ("{a,b}/c", "a/c", true),
        ("{a,b}/c", "x/c", false),
        ("a{,b}c", "ac", true),
        ("a{,b}c", "abc", true),
        ("{a,{b,c}d}", "cd", true),
        ("{a/b,c}/d", "a/b/d", true),
        ("{**,a}/b", "x/y/b", true),
        ("a/{**,x}", "a/y/z", true),
        ("*.{tar.gz,tgz}", "chart.tgz", true),
        ("{a\\,b,c}", "a,b", true),
        ("**/*.{md,txt}", "docs/a/b.txt", true),
        ("", "", true),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
    }
}

// SW-GEN-133, SW-GEN-154
#[test]
fn malformed_patterns_are_refused() {
    for pattern in ["[", "[]", "[^]", "[a", "{a", "a}", "{a,{b}", "a\\", "[a-\\"] {
        let error = Doublestar::compile(pattern).unwrap_err();
        assert_eq!(error, PatternError::Syntax, "{pattern}");
    }
    let nested = format!("{}{}", "{".repeat(21), "}".repeat(21));
    assert!(Doublestar::compile(&nested).is_err());
}

// SW-GEN-205
#[test]
fn alternatives_are_bounded_and_not_written_out() {
    let braces = |groups| "{a,b}".repeat(groups);
    let most = Doublestar::compile(&braces(20)).unwrap();
    let steps = Steps::new(100_000);
    assert!(most.matches(&"ab".repeat(10), &steps).unwrap());
    assert!(!most.matches(&"ac".repeat(10), &steps).unwrap());
    assert_eq!(
        Doublestar::compile(&braces(21)).unwrap_err(),
        PatternError::TooManyAlternatives(21)
    );
    // commas outside of braces, and escaped ones, do not count
    assert!(Doublestar::compile(&",".repeat(30)).is_ok());
    assert!(Doublestar::compile(&format!("{{{}}}", "\\,".repeat(30))).is_ok());
}

#[test]
fn patterns_that_backtrack_cost_the_product_of_the_lengths() {
    let pattern = Doublestar::compile(&"*a".repeat(200)).unwrap();
    let path = "a".repeat(199) + "b";
    assert!(!pattern.matches(&path, &Steps::new(1_000_000)).unwrap());
    assert_eq!(pattern.matches(&path, &Steps::new(100)), Err(TooSlow));
}
