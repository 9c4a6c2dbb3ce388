//! The verdicts of upstream's matcher on each case in `verdicts.json`, and cases that are too long for that file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flux_ignore::{Filter, Patterns};
use serde::Deserialize;

#[derive(Deserialize)]
struct Verdicts {
    /// A path that ends in a slash is a folder.
    paths: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    files: Vec<File>,
    excluded: Vec<usize>,
}

#[derive(Deserialize)]
struct File {
    scope: String,
    text: String,
}

fn bytes(text: &str) -> Vec<u8> {
    BASE64.decode(text).unwrap()
}

fn excluded(files: &[(Vec<u8>, Vec<u8>)], paths: &[Vec<u8>]) -> Vec<usize> {
    let mut patterns = Patterns::new();
    for (scope, text) in files {
        patterns.read(scope, text).unwrap();
    }
    let filter = Filter::for_source(patterns);
    let is_excluded = |path: &Vec<u8>| match path.strip_suffix(b"/") {
        Some(folder) => filter.excludes(folder, true).unwrap(),
        None => filter.excludes(path, false).unwrap(),
    };
    (0..paths.len())
        .filter(|at| is_excluded(&paths[*at]))
        .collect()
}

/// Row, ignore file of the root, path, and whether it is excluded.
const ROWS: &[(&str, &[u8], &str, bool)] = &[
    ("SC-ART-071", b"x", ".git/", true),
    ("SC-ART-071", b"x", ".gitignore", true),
    ("SC-ART-071", b"x", "a/.gitmodules", true),
    ("SC-ART-072", b"", "a/pic.jpg", true),
    ("SC-ART-072", b"", ".github/", true),
    ("SC-ART-072", b"", ".travis.yml", true),
    ("SC-ART-073", b"x", "pic.jpg", false),
    ("SC-ART-073", b"!/.gitignore", ".gitignore", false),
    ("SC-ART-075", b"#a\n \nb", "#a", false),
    ("SC-ART-075", b"a  ", "a", true),
    ("SC-ART-075", b"a/", "a", false),
    ("SC-ART-075", b"a/", "a/", true),
    ("SC-ART-075", b"a\n!a", "a", false),
    ("SC-ART-075", b"/a", "b/a", false),
    ("SC-ART-075", b"a", "b/a", true),
    ("SC-ART-076", b"**/a", "b/c/a", true),
    ("SC-ART-076", b"a/**", "a/b/c", true),
    ("SC-ART-076", b"/a**", "ab", false),
    ("SC-ART-076", b"/a?[b-d]*", "axce", true),
    ("SC-ART-076", b"/[a", "[a", false),
    ("SC-ART-077", b"/deploy", "deploy/x", true),
    ("SC-ART-077", b"/deploy/", "deploy", false),
    ("SC-ART-077", b"/deploy/", "deploy/x", true),
    ("SC-ART-078", b"\xff\n[\nx", "x", true),
];

#[test]
fn rules_match_the_ledger() {
    for (row, text, path, want) in ROWS {
        let paths = [path.as_bytes().to_vec()];
        let found = excluded(&[(vec![], text.to_vec())], &paths);
        let text = String::from_utf8_lossy(text);
        assert_eq!(!found.is_empty(), *want, "{row}: {text:?} {path}");
    }
}

#[test]
fn results_match_the_real_matcher() {
    let verdicts: Verdicts = serde_json::from_str(include_str!("verdicts.json")).unwrap();
    let paths: Vec<_> = verdicts.paths.iter().map(|path| bytes(path)).collect();
    let show = |found: &[usize]| -> Vec<_> {
        found
            .iter()
            .map(|at| String::from_utf8_lossy(&paths[*at]))
            .collect()
    };
    assert!(verdicts.cases.len() > 150);
    for case in &verdicts.cases {
        let files: Vec<_> = case
            .files
            .iter()
            .map(|file| (bytes(&file.scope), bytes(&file.text)))
            .collect();
        let found = excluded(&files, &paths);
        let texts: Vec<_> = files
            .iter()
            .map(|(_, text)| String::from_utf8_lossy(text))
            .collect();
        assert_eq!(show(&found), show(&case.excluded), "{texts:?}");
    }
}

#[test]
fn a_line_that_is_too_long_ends_its_file() {
    let x = |count| "x".repeat(count);
    // Whether `a`, the last line, was read: the verdicts of the Go package.
    for (text, read) in [
        (format!("{}\na", x(65_535)), true),
        (format!("{}\na", x(65_536)), false),
        (format!("b\n{}\na", x(65_536)), false),
        (format!("{}\r\na", x(65_534)), true),
        (format!("{}\r\na", x(65_535)), false),
    ] {
        let found = excluded(&[(vec![], text.clone().into_bytes())], &[b"a".to_vec()]);
        assert_eq!(found == [0], read, "{} bytes", text.len());
    }
    // A file without anything else has no patterns, so the defaults apply.
    let found = excluded(&[(vec![], x(65_536).into_bytes())], &[b"pic.jpg".to_vec()]);
    assert_eq!(found, [0]);
}
